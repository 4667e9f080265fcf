//! Which databases may be taken away: those that devrun made and nobody else works with. Pure.
//!
//! A database that somebody else made must be named in full; the default branch's, a protected one and the one that others
//! are copied from are never touched, whatever is said.

use super::Entry;
use crate::error::{Code, Explain};

/// What is to be done to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undoing {
    /// Made a copy of its parent again.
    Reset,
    /// Deleted.
    Delete,
}

impl Undoing {
    /// The verb.
    pub const fn word(self) -> &'static str {
        match self {
            Undoing::Reset => "reset",
            Undoing::Delete => "delete",
        }
    }
}

/// Why it is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UndoError {
    /// There is none.
    #[error("there is no branch database {0:?}")]
    Missing(String),
    /// Others work with it.
    #[error("{name} is {what}: devrun does not {} it", doing.word())]
    Kept {
        /// Its name.
        name: String,
        /// Default, protected or parent.
        what: &'static str,
        /// What was asked for.
        doing: Undoing,
    },
    /// It carries no remark of devrun's.
    #[error("{name} was not made by devrun")]
    Foreign {
        /// Its name.
        name: String,
        /// What was asked for.
        doing: Undoing,
    },
    /// It is nobody's copy.
    #[error("{0} has no parent to be copied from again")]
    Orphan(String),
}

impl Explain for UndoError {
    fn code(&self) -> Code {
        match self {
            UndoError::Missing(_) => Code::DatabaseMissing,
            UndoError::Kept { .. } | UndoError::Foreign { .. } | UndoError::Orphan(_) => Code::DatabaseKept,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            UndoError::Kept { .. } => {
                Some("others work with it, and what is gone cannot be brought back".into())
            }
            UndoError::Foreign { .. } => {
                Some("what somebody else made is only touched when it is named in full".into())
            }
            UndoError::Missing(_) | UndoError::Orphan(_) => None,
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            UndoError::Missing(_) => {
                "`devrun db list` shows those there are; `devrun up -d` makes this worktree's".into()
            }
            UndoError::Kept { .. } => {
                "if you must, do it with the tools of its server: see docs/database.md".into()
            }
            UndoError::Foreign { name, doing } => {
                format!("if you mean it: devrun db {} {name}", doing.word())
            }
            UndoError::Orphan(name) => format!("devrun db delete {name}; the next `devrun` makes it anew"),
        })
    }
}

/// Says whether `entry` may be taken away. `named` is true when the user wrote its whole name.
pub fn permit(entry: &Entry, doing: Undoing, named: bool) -> Result<(), UndoError> {
    let name = entry.name.clone();
    if let Some(what) = entry.kept {
        return Err(UndoError::Kept { name, what, doing });
    }
    if !entry.made_by_devrun && !named {
        return Err(UndoError::Foreign { name, doing });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_may_go_a_strangers_only_by_name_and_a_parent_never() {
        let entry =
            |made_by_devrun, kept| Entry { name: "x".into(), made_by_devrun, kept, ..Entry::default() };
        let may = |entry: &Entry, named| permit(entry, Undoing::Delete, named);
        assert_eq!(may(&entry(true, None), false), Ok(()));
        assert!(matches!(may(&entry(false, None), false), Err(UndoError::Foreign { .. })));
        assert_eq!(may(&entry(false, None), true), Ok(()));
        for made in [true, false] {
            assert!(matches!(
                may(&entry(made, Some("a protected branch")), true),
                Err(UndoError::Kept { .. })
            ));
        }
    }
}
