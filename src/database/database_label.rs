//! The label of a branch database: the branch or worktree that it was made for. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The beginning of the stored label of a database that was made for a detached HEAD. No branch can have such a name.
const DETACHED_LABEL: &str = "detached at ";

/// The branch or worktree that a branch database was made for. Stored and shown as one line: the name of the branch, or
/// `detached at <worktree slug>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum DatabaseLabel {
    /// A git branch, or a parent of which only its own name is known.
    Branch(String),
    /// A worktree with a detached HEAD, by its slug.
    Detached(String),
}

impl DatabaseLabel {
    /// Returns the git branch; `None` for a detached HEAD.
    pub fn branch(&self) -> Option<&str> {
        match self {
            DatabaseLabel::Branch(branch) => Some(branch),
            DatabaseLabel::Detached(_) => None,
        }
    }

    /// Returns true if the database was made for a detached HEAD.
    pub fn is_detached(&self) -> bool {
        self.branch().is_none()
    }
}

impl From<&str> for DatabaseLabel {
    fn from(stored: &str) -> DatabaseLabel {
        match stored.strip_prefix(DETACHED_LABEL) {
            Some(slug) => DatabaseLabel::Detached(slug.into()),
            None => DatabaseLabel::Branch(stored.into()),
        }
    }
}

impl From<String> for DatabaseLabel {
    fn from(stored: String) -> DatabaseLabel {
        stored.as_str().into()
    }
}

impl From<DatabaseLabel> for String {
    fn from(label: DatabaseLabel) -> String {
        label.to_string()
    }
}

impl fmt::Display for DatabaseLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseLabel::Branch(branch) => f.write_str(branch),
            DatabaseLabel::Detached(slug) => write!(f, "{DETACHED_LABEL}{slug}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_labels_of_earlier_versions_stay_readable() {
        for (stored, label) in [
            ("feature/x", DatabaseLabel::Branch("feature/x".into())),
            ("detached-at", DatabaseLabel::Branch("detached-at".into())),
            ("detached at login", DatabaseLabel::Detached("login".into())),
        ] {
            assert_eq!(DatabaseLabel::from(stored), label);
            assert_eq!(label.is_detached(), label.branch().is_none());
            let json = serde_json::to_value(&label).unwrap();
            assert_eq!(json, stored);
            assert_eq!(serde_json::from_value::<DatabaseLabel>(json).unwrap(), label);
        }
    }
}
