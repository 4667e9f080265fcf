//! The operations of git that take several commands, and the one that is under way in a worktree.

use std::fmt;
use std::path::Path;

/// An operation of git that is under way between two commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitOperation {
    Rebase,
    Merge,
    CherryPick,
    Revert,
    Bisect,
}

/// Files in the git directory that exist during an operation.
const FILES: [(&str, GitOperation); 6] = [
    ("rebase-merge", GitOperation::Rebase),
    ("rebase-apply", GitOperation::Rebase),
    ("MERGE_HEAD", GitOperation::Merge),
    ("CHERRY_PICK_HEAD", GitOperation::CherryPick),
    ("REVERT_HEAD", GitOperation::Revert),
    ("BISECT_LOG", GitOperation::Bisect),
];

impl GitOperation {
    /// Returns the verb of git.
    pub const fn verb(self) -> &'static str {
        match self {
            GitOperation::Rebase => "rebase",
            GitOperation::Merge => "merge",
            GitOperation::CherryPick => "cherry-pick",
            GitOperation::Revert => "revert",
            GitOperation::Bisect => "bisect",
        }
    }
}

impl fmt::Display for GitOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}", self.verb())
    }
}

/// Returns the operation that is under way in the worktree whose git directory is `dir`.
pub fn operation(dir: &Path) -> Option<GitOperation> {
    let found = FILES.iter().find(|(file, _)| dir.join(file).symlink_metadata().is_ok());
    found.map(|(_, operation)| *operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_is_found_by_its_file() {
        for (file, wanted) in FILES {
            let dir = tempfile::tempdir().unwrap();
            assert_eq!(operation(dir.path()), None);
            crate::os::fs::replace(&dir.path().join(file), b"", 0o600).unwrap();
            assert_eq!(operation(dir.path()), Some(wanted));
        }
        assert_eq!(GitOperation::CherryPick.to_string(), "a cherry-pick");
    }
}
