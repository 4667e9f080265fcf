//! The parameters, the result and the errors of an import of another database into a parent.

use std::path::{Path, PathBuf};

use super::masking::{ColumnMask, MaskSyntaxError, RULES};
use crate::error::{Code, Explain, Fault};
use crate::os::read::ReadError;
use crate::text::is_postgres_url;
use crate::text::quoted;

/// The first bytes of a dump in Postgres' custom format.
pub const DUMP_MAGIC: &[u8] = b"PGDMP";

/// The database to import, as the user names it.
#[derive(Clone, PartialEq, Eq)]
pub enum SourceName {
    /// The URL of a database, which may contain a password.
    Url(String),
    File(PathBuf),
}

impl SourceName {
    /// Reads `text`: a URL, or a file relative to `directory`.
    pub fn of(text: &str, directory: &Path) -> SourceName {
        if is_postgres_url(text) {
            SourceName::Url(text.into())
        } else {
            SourceName::File(directory.join(text))
        }
    }
}

/// The database to import.
#[derive(Clone, PartialEq, Eq)]
pub enum ImportSource {
    Server(SourceServer),
    /// A file of SQL, or a dump in Postgres' custom format.
    File(PathBuf),
}

/// A Postgres server that has answered.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceServer {
    /// The URL of the database, possibly with a password.
    pub url: String,
    /// The major version.
    pub major: u32,
    /// The extensions in the database, each with its schema.
    pub extensions: Vec<(String, String)>,
    /// The variables with which the programs of Postgres connect to it, and only read there.
    pub variables: Vec<(&'static str, String)>,
}

/// An import.
#[derive(Clone, PartialEq, Eq)]
pub struct ImportRequest {
    pub source: ImportSource,
    /// Leave out all rows.
    pub schema_only: bool,
    /// Patterns of tables, as `pg_dump` reads them, whose rows are left out.
    pub exclude_table_data: Vec<String>,
    /// The rules that replace values, and the file that has them.
    pub masks: Vec<ColumnMask>,
    pub mask_file: PathBuf,
}

/// The result of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The size of the new database in bytes.
    pub size: u64,
    /// The number of tables.
    pub tables: u64,
    /// The number of columns to which a rule was applied.
    pub masked: usize,
    /// Kinds of objects that were left out, because only a superuser can create them.
    pub left_out: Vec<String>,
}

/// An import failed. The parent is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the provider {provider} imports no databases")]
    NotSupported { provider: &'static str },
    #[error("{}:{}:{}: {}", file.display(), error.line, error.column, error.reason)]
    MaskSyntax { file: PathBuf, error: MaskSyntaxError },
    #[error("{}:{line}: the imported database has no column {column}", file.display())]
    MaskColumn { file: PathBuf, line: usize, column: String },
    #[error("{}: the rules for {table} cannot be applied: {reason}", file.display())]
    Mask { file: PathBuf, table: String, reason: String },
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: ReadError },
    #[error("the source is Postgres {source_major}, which is newer than the local Postgres {local_major}")]
    Newer { source_major: u32, local_major: u32 },
    #[error("there is no pg_dump and pg_restore of Postgres {least} to {most}")]
    NoTools {
        least: u32,
        most: u32,
        /// The reason why they could not be fetched.
        reason: String,
    },
    #[error("the local server has no extension `{name}`, which the source has")]
    Extension {
        name: String,
        /// The next step.
        fix: String,
    },
    /// `pg_dump` or `pg_restore` failed. The message has no secrets.
    #[error("{program} failed")]
    Tool { program: &'static str, tail: String },
    #[error("{}:{line}: {reason}", file.display())]
    Statement { file: PathBuf, line: u32, reason: String },
}

impl Explain for ImportError {
    fn code(&self) -> Code {
        match self {
            ImportError::MaskSyntax { .. } | ImportError::MaskColumn { .. } => Code::Usage,
            ImportError::NoTools { .. } => Code::ToolMissing,
            ImportError::NotSupported { .. }
            | ImportError::Mask { .. }
            | ImportError::Unreadable { .. }
            | ImportError::Newer { .. }
            | ImportError::Extension { .. }
            | ImportError::Tool { .. }
            | ImportError::Statement { .. } => Code::DatabaseFailed,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            ImportError::Tool { tail, .. } => Some(tail.clone()).filter(|tail| !tail.is_empty()),
            ImportError::NoTools { reason, .. } => Some(reason.clone()),
            _ => None,
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            ImportError::NotSupported { .. } => {
                "use the provider `local`, or the tools of the service that has the parent".into()
            }
            ImportError::MaskSyntax { .. } => {
                let rules: Vec<String> =
                    RULES.iter().map(|(rule, writes)| format!("{rule} ({writes})")).collect();
                format!("write `table.column: rule`, with one of the rules {}", rules.join(", "))
            }
            ImportError::MaskColumn { .. } => "correct the line: [SCHEMA.]TABLE.COLUMN: RULE".into(),
            ImportError::Mask { .. } => {
                "choose rules that fit the types and constraints of the columns".into()
            }
            ImportError::Unreadable { path, .. } => {
                format!("check kind, owner and mode of {}", quoted(path))
            }
            ImportError::Newer { source_major, .. } => format!(
                "set `database.local.bin` to the programs of Postgres {source_major} or newer, then move the databases that \
                 exist: devrun db upgrade"
            ),
            ImportError::NoTools { most, .. } => format!(
                "install the client programs (Debian: postgresql-client-{most}, Homebrew: postgresql@{most})"
            ),
            ImportError::Extension { fix, .. } => fix.clone(),
            ImportError::Tool { .. } | ImportError::Statement { .. } => return None,
        })
    }

    fn correct(&self) -> Option<String> {
        match self {
            ImportError::MaskSyntax { file, error } => Some(format!("{}:{}", file.display(), error.line)),
            ImportError::MaskColumn { file, line, .. } => Some(format!("{}:{line}", file.display())),
            ImportError::Statement { file, line, .. } => Some(format!("{}:{line}", file.display())),
            _ => None,
        }
    }

    fn fault(&self) -> Option<Fault> {
        match self {
            ImportError::Statement { .. } => None,
            other => other.code().fault(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_server_and_everything_else_a_file() {
        let of = |text: &str| SourceName::of(text, Path::new("/w"));
        for url in ["postgres://u@h/d", "postgresql+asyncpg://u@h/d"] {
            assert!(of(url) == SourceName::Url(url.into()), "{url}");
        }
        for (text, file) in
            [("dump.sql", "/w/dump.sql"), ("/x/dump", "/x/dump"), ("mysql://h/d", "/w/mysql://h/d")]
        {
            assert!(of(text) == SourceName::File(file.into()), "{text}");
        }
    }
}
