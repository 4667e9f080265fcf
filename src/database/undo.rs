//! Decides which databases devrun may reset or delete. Pure.
//!
//! Databases that devrun created may be changed, unless other work depends on them. A database that devrun did not
//! create must be named in full. The default branch's database, a protected one and a parent of other databases are
//! never reset or deleted; only a restore or an import replaces their contents.

use super::ListedDatabase;
use crate::error::{Code, Explain};
use crate::text::quoted;

/// An operation that destroys the contents of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undoing {
    /// Replace the database by a new copy of its parent.
    Reset,
    /// Delete the database.
    Delete,
    /// Replace the database by one of its snapshots.
    Restore,
    /// Replace the database by another one.
    Import,
}

impl Undoing {
    /// Returns the verb of the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Undoing::Reset => "reset",
            Undoing::Delete => "delete",
            Undoing::Restore => "restore",
            Undoing::Import => "import",
        }
    }
}

/// The reason why a database is not reset or deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UndoError {
    /// The database does not exist.
    #[error("there is no branch database {0:?}")]
    Missing(String),
    /// Other work depends on it.
    #[error("{name} is {what}: devrun does not {} it", doing.word())]
    Kept {
        /// The database's name.
        name: String,
        /// The kind of database: default, protected or parent.
        what: &'static str,
        /// The requested operation.
        doing: Undoing,
    },
    /// It does not carry devrun's comment.
    #[error("{name} was not made by devrun")]
    Foreign {
        /// The database's name.
        name: String,
        /// The requested operation.
        doing: Undoing,
    },
    /// The provider keeps no snapshots of parents.
    #[error("the provider {provider} keeps no snapshots")]
    NoSnapshots {
        /// The provider.
        provider: &'static str,
        /// The database to reset.
        name: String,
    },
    /// devrun starts no server for the provider.
    #[error("devrun starts no database server for the provider {provider}")]
    NoServer {
        /// The provider.
        provider: &'static str,
    },
    /// The provider restores no dumps.
    #[error("the provider {provider} restores no dumps")]
    NoRestore {
        /// The provider.
        provider: &'static str,
    },
    /// The database is no Postgres.
    #[error("`{verb}` needs a Postgres, and {name} of the provider {provider} is none")]
    NoPostgres {
        /// The provider.
        provider: &'static str,
        /// The database.
        name: String,
        /// The command that needs it.
        verb: &'static str,
    },
    /// It was not copied from a parent.
    #[error("{0} has no parent to be copied from again")]
    Orphan(String),
}

impl Explain for UndoError {
    fn code(&self) -> Code {
        match self {
            UndoError::Missing(_) => Code::DatabaseMissing,
            UndoError::Kept { .. } | UndoError::Foreign { .. } | UndoError::Orphan(_) => Code::DatabaseKept,
            UndoError::NoSnapshots { .. }
            | UndoError::NoRestore { .. }
            | UndoError::NoServer { .. }
            | UndoError::NoPostgres { .. } => Code::DatabaseFailed,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            UndoError::Kept { .. } => {
                Some("other work depends on it, and deleted data cannot be restored".into())
            }
            UndoError::Foreign { .. } => {
                Some("devrun changes a database that it did not create only if its full name is given".into())
            }
            UndoError::Missing(_)
            | UndoError::Orphan(_)
            | UndoError::NoSnapshots { .. }
            | UndoError::NoServer { .. }
            | UndoError::NoPostgres { .. }
            | UndoError::NoRestore { .. } => None,
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            UndoError::Missing(_) => {
                "`devrun db list` lists the databases that exist; `devrun up -d` creates the one of this worktree".into()
            }
            UndoError::Kept { name, doing: Undoing::Reset, .. } => format!(
                "to empty it: devrun down, then {}; the next `devrun` migrates it (`devrun help database`)",
                empty_command(name)
            ),
            UndoError::Kept { .. } => {
                "if you must, do it with the tools of its server (`devrun help database`)".into()
            }
            UndoError::Foreign { name, doing } => {
                format!("if you mean it: devrun db {} {}", doing.word(), quoted(name))
            }
            UndoError::NoSnapshots { name, .. } => format!("devrun db reset {}", quoted(name)),
            UndoError::NoServer { .. } => "start and stop it with the tools of the service that has it".into(),
            UndoError::NoPostgres { name, .. } => {
                format!("use a client of that kind of database; its URL: devrun db url {} --reveal", quoted(name))
            }
            UndoError::NoRestore { .. } => "use the provider `local`, or restore it with the tools of the server".into(),
            UndoError::Orphan(name) => {
                format!("devrun db delete {}; the next `devrun` creates it again", quoted(name))
            }
        })
    }
}

/// Returns the command that empties the database `name`, with devrun's records of its migrations. The next run migrates it from
/// the start.
pub fn empty_command(name: &str) -> String {
    format!(
        "devrun db psql {} -- -c 'drop schema if exists public, _devrun cascade' -c 'create schema public'",
        quoted(name)
    )
}

/// Returns an error if `doing` is not allowed on `entry`. `named` is true if the user wrote its full name.
pub fn permit(entry: &ListedDatabase, doing: Undoing, named: bool) -> Result<(), UndoError> {
    let name = entry.name.clone();
    // These replace a parent by contents that the user names; the copies of it stay as they are.
    let replaces = matches!(doing, Undoing::Restore | Undoing::Import);
    if let Some(what) = entry.kept.filter(|_| !replaces) {
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
    fn own_databases_may_be_deleted_foreign_ones_by_name_and_parents_never() {
        let entry = |made_by_devrun, kept| ListedDatabase {
            name: "x".into(),
            made_by_devrun,
            kept,
            ..ListedDatabase::default()
        };
        let may = |entry: &ListedDatabase, named| permit(entry, Undoing::Delete, named);
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
