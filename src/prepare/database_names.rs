//! The name of the database of any branch.

use super::ResolvedWorktree;
use crate::database::{Provider, names};
use crate::error::Report;

/// Returns the name of the database of `branch`, if the configuration names databases after branches.
pub(super) fn name_of(
    resolved: &ResolvedWorktree,
    provider: &dyn Provider,
    branch: &str,
) -> Result<Option<String>, Report> {
    let Some(database) = resolved.config.database.as_ref() else { return Ok(None) };
    if !database.branch.names().iter().any(|name| name == "branch") {
        return Ok(None);
    }
    let scope = resolved.scope.clone().with_branch(&names::branch(branch));
    Ok(Some(provider.safe_name(&database.branch.render(&scope)?)))
}
