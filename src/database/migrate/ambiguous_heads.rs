//! Refuses a migration of a history that Alembic cannot follow: two files with the same id, or two or more heads, of which
//! "upgrade head" would choose none.

use super::MigrateRequest;
use super::error::{self, MigrateError};
use crate::database::alembic_history::{self, History};

/// Errors if two files have the same id or, before a command that needs exactly one head, if there are several.
pub(super) fn forbid(request: &MigrateRequest<'_>, history: &History) -> Result<(), MigrateError> {
    if let Some(duplicate) = history.duplicate().filter(|duplicate| duplicate.is_certain())
        && alembic_history::upgrades(&request.command).is_some()
    {
        return Err(MigrateError::duplicate(&request.directory, duplicate));
    }
    match alembic_history::upgrades_to_head(&request.command).filter(|_| history.is_certain()) {
        Some(prefix) if history.heads().len() > 1 => {
            Err(error::several_heads(request, &prefix, history.heads()))
        }
        _ => Ok(()),
    }
}
