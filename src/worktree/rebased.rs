//! Reads from git's files which branch a git directory is on, also during a rebase. No call of git, because every verb needs it.

use std::path::Path;

use super::git::short_name;
use crate::os::read::{self, Limit};

/// Files that name the branch that a rebase began on.
const HEAD_NAMES: [&str; 2] = ["rebase-merge/head-name", "rebase-apply/head-name"];

/// Returns the branch that is being rebased in the worktree whose git directory is `dir`. HEAD is detached during a rebase.
pub fn rebased_branch(dir: &Path) -> Option<String> {
    HEAD_NAMES.iter().find_map(|name| {
        let bytes = read::file(&dir.join(name), Limit::SMALL).ok()?;
        let name = bytes.trim_ascii_end();
        name.starts_with(b"refs/heads/").then(|| short_name(name))
    })
}

/// Returns the branch that is checked out or being rebased in the worktree whose git directory is `dir`. `None` if HEAD is
/// detached, or git stores it in another form.
pub(super) fn branch_of(dir: &Path) -> Option<String> {
    let head = read::file(&dir.join("HEAD"), Limit::SMALL).ok()?;
    match head.trim_ascii_end().strip_prefix(b"ref: refs/heads/") {
        Some(b".invalid") => None,
        Some(name) => Some(short_name(name)),
        None => rebased_branch(dir),
    }
}
