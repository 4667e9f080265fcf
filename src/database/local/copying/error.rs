//! Why a way to copy a database ended without a copy.

use tokio_postgres::Error;

use super::super::error::LocalError;
use crate::database::catalogue::{CatalogueError, words};

#[derive(Debug)]
pub(super) enum CopyFailure {
    /// This way is not possible. The caller tries the next one.
    Reason(String),
    /// The copy fails. The caller tries no other way.
    Error(LocalError),
}

impl From<Error> for CopyFailure {
    fn from(error: Error) -> CopyFailure {
        CopyFailure::Reason(words(&error))
    }
}

impl From<CatalogueError> for CopyFailure {
    fn from(error: CatalogueError) -> CopyFailure {
        match error {
            CatalogueError::Sql { reason, .. } => CopyFailure::Reason(reason),
            error @ (CatalogueError::Busy { .. } | CatalogueError::InUse { .. }) => {
                CopyFailure::Error(error.into())
            }
        }
    }
}

impl From<LocalError> for CopyFailure {
    fn from(error: LocalError) -> CopyFailure {
        match error {
            LocalError::Catalogue(error) => error.into(),
            error => CopyFailure::Error(error),
        }
    }
}
