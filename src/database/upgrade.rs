//! The result and the errors of moving the local databases to another major version of Postgres.

use std::path::PathBuf;

use crate::error::{Code, Explain};
use crate::text::quoted;

/// The result of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgraded {
    /// The major version before.
    pub from: u32,
    /// The major version now. If it is the same, nothing was changed.
    pub to: u32,
    /// The number of databases that were moved, without snapshots.
    pub databases: usize,
    /// The number of snapshots that were moved.
    pub snapshots: usize,
    /// The number of tables that were compared.
    pub tables: usize,
    /// The number of rows in these tables.
    pub rows: u64,
    /// The folder of the old data, if it was kept.
    pub kept: Option<PathBuf>,
}

/// The databases were not moved. The old ones are as they were.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    #[error("the provider {provider} has no server that devrun could upgrade")]
    NotSupported { provider: &'static str },
    #[error("this repository has no local database server yet")]
    NoCluster,
    #[error("the local database server is in use")]
    InUse,
    #[error("the databases were made by Postgres {from}, and the newest Postgres here is {newest}")]
    Older { from: u32, newest: u32 },
    #[error("there is no pg_dump and pg_restore of Postgres {least} to {most}")]
    NoTools {
        least: u32,
        most: u32,
        /// The reason why they could not be fetched.
        reason: String,
    },
    #[error("Postgres {major} has no extension `{name}`, which the database {database} has")]
    Extension {
        name: String,
        database: String,
        major: u32,
        /// The folder of the server's programs.
        bin: PathBuf,
    },
    /// `pg_dump` or `pg_restore` failed.
    #[error("{program} failed with the database {database}")]
    Tool { program: &'static str, database: String, tail: String },
    #[error("the database {database} is not the same after the move: {difference}")]
    Differs { database: String, difference: String },
}

impl Explain for UpgradeError {
    fn code(&self) -> Code {
        match self {
            UpgradeError::NoCluster => Code::DatabaseMissing,
            UpgradeError::InUse => Code::AlreadyRunning,
            UpgradeError::NoTools { .. } => Code::ToolMissing,
            UpgradeError::Older { .. } => Code::PostgresMissing,
            UpgradeError::NotSupported { .. }
            | UpgradeError::Extension { .. }
            | UpgradeError::Tool { .. }
            | UpgradeError::Differs { .. } => Code::DatabaseFailed,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            UpgradeError::Tool { tail, .. } => Some(tail.clone()).filter(|tail| !tail.is_empty()),
            UpgradeError::NoTools { reason, .. } => Some(reason.clone()),
            UpgradeError::Differs { .. } => Some("the old databases are still in use, unchanged".into()),
            _ => None,
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            UpgradeError::NotSupported { .. } => "upgrade it with the tools of the service that has it".into(),
            UpgradeError::NoCluster => "the next `devrun` makes one of the newest version".into(),
            UpgradeError::InUse => {
                "stop what uses it (`devrun ls` lists the stacks, `devrun down` stops one), then the same again".into()
            }
            UpgradeError::Older { .. } => {
                "set database.local.bin to the bin folder of a newer Postgres, or install one".into()
            }
            UpgradeError::NoTools { most, .. } => format!(
                "install the client programs (Debian: postgresql-client-{most}, Homebrew: postgresql@{most})"
            ),
            UpgradeError::Extension { name, database, major, bin } => format!(
                "install it for Postgres {major} ({}), or drop it: devrun db psql {} -- -c {}",
                bin.display(),
                quoted(database),
                quoted(format!("drop extension \"{name}\""))
            ),
            UpgradeError::Tool { .. } | UpgradeError::Differs { .. } => return None,
        })
    }
}
