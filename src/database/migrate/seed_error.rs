//! Defines the errors of a seed.

use std::path::PathBuf;

use super::error::MigrateError;
use crate::database::connect::ConnectError;
use crate::error::{Code, Explain, Fault, RERUN, Report};
use crate::text::quoted;

/// A database could not be seeded. It stays as its migrations left it, except for rows that a failed command wrote. The next start seeds it
/// again.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The command failed.
    #[error("seeding {name} failed: `{what}` {how}")]
    Failed {
        /// The database.
        name: String,
        /// The command or file, without secrets.
        what: String,
        /// How it ended.
        how: String,
        /// The last lines of its output, without secrets.
        tail: String,
        /// The folder in which it ran.
        directory: PathBuf,
        /// True if a program does not exist.
        is_missing: bool,
    },
    /// The dump could not be restored.
    #[error("seeding {name} failed: {report}")]
    Restore { name: String, report: Box<Report> },
    /// The database did not answer, or its record could not be written.
    #[error(transparent)]
    Database(#[from] MigrateError),
}

impl From<ConnectError> for SeedError {
    fn from(error: ConnectError) -> SeedError {
        MigrateError::from(error).into()
    }
}

impl Explain for SeedError {
    fn code(&self) -> Code {
        match self {
            SeedError::Failed { .. } | SeedError::Restore { .. } => Code::SeedFailed,
            SeedError::Database(error) => error.code(),
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            SeedError::Failed { tail, .. } => Some(tail.clone()).filter(|tail| !tail.is_empty()),
            SeedError::Restore { report, .. } => report.cause.clone(),
            SeedError::Database(error) => error.why(),
        }
    }

    fn fix(&self) -> Option<String> {
        match self {
            SeedError::Failed { is_missing: true, .. } => {
                Some(format!("install the program that the seed needs, then {RERUN}"))
            }
            SeedError::Failed { directory, .. } => Some(format!(
                "correct the seed in {}, then {RERUN}: it seeds the database again",
                quoted(directory)
            )),
            SeedError::Restore { report, .. } => {
                report.fix.clone().or_else(|| Some(format!("correct the dump, then {RERUN}")))
            }
            SeedError::Database(error) => error.fix(),
        }
    }

    fn fault(&self) -> Option<Fault> {
        match self {
            SeedError::Failed { is_missing: true, .. } => Some(Fault::Environment),
            SeedError::Failed { .. } => Some(Fault::Code),
            SeedError::Restore { report, .. } => report.fault,
            SeedError::Database(error) => error.fault(),
        }
    }
}
