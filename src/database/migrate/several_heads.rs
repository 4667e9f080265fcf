//! Refuses a migration of a history with two or more Alembic heads, because "upgrade head" would be ambiguous.

use super::MigrateRequest;
use super::error::{self, MigrateError};
use crate::database::alembic_history::History;

/// Returns an error if there are several heads, before a command that needs exactly one starts.
pub(super) fn forbid(
    request: &MigrateRequest<'_>,
    prefix: &str,
    history: &History,
) -> Result<(), MigrateError> {
    match history.heads() {
        heads if heads.len() < 2 => Ok(()),
        heads => Err(error::several_heads(request, prefix, heads)),
    }
}
