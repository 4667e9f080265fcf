//! What goes wrong with the local server, and what to do about it.

use std::path::{Path, PathBuf};

use crate::error::{Code, Explain};
use crate::os::cmd::CmdError;
use crate::os::fs::FsError;

/// Why the local server cannot give a database.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A file of devrun's own.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A folder of the server's.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// No server binaries.
    #[error("no Postgres server (version {wanted}) was found or could be fetched")]
    Missing {
        /// The major needed, or `15 or newer`.
        wanted: String,
        /// What was tried, a line each.
        tried: Vec<String>,
        /// True when an existing cluster needs that very major.
        cluster: Option<PathBuf>,
    },
    /// `database.local.bin` points to something that will not do.
    #[error("database.local.bin ({}) cannot be used: {reason}", path.display())]
    Setting {
        /// Its value.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The server's programs refuse to run as this user.
    #[error("Postgres cannot run as the current user: {reason}")]
    Account {
        /// Why not.
        reason: &'static str,
    },
    /// The cluster could not be made.
    #[error("the local Postgres cluster could not be made: {what}")]
    Init {
        /// One line.
        what: String,
        /// The tool's last lines.
        tail: Option<String>,
    },
    /// The server does not come up.
    #[error("the local Postgres server does not start: {what}")]
    Start {
        /// One line.
        what: String,
        /// The last lines of its log.
        tail: String,
        /// Its log.
        log: PathBuf,
    },
    /// The repository's id makes no sense, and no cluster remembers the repository.
    #[error("the repository's id in {} is damaged, so its databases cannot be found", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// Where the clusters are.
        clusters: PathBuf,
    },
    /// Every port that was tried is taken.
    #[error(
        "the local Postgres server has no port: {count} in a row from {first} on are taken, {first} by {holder}"
    )]
    Ports {
        /// The first that was tried.
        first: u16,
        /// How many were tried.
        count: u16,
        /// Who holds the first.
        holder: String,
    },
    /// A statement failed.
    #[error("cannot {doing}: {reason}")]
    Sql {
        /// What was tried.
        doing: String,
        /// The server's words.
        reason: String,
    },
    /// Another devrun has been making a database for too long.
    #[error("another devrun has been making a database for more than {seconds} s")]
    Busy {
        /// How long we waited.
        seconds: u64,
    },
}

impl Explain for LocalError {
    fn code(&self) -> Code {
        match self {
            LocalError::Fs(error) => error.code(),
            LocalError::Io { .. } | LocalError::Identity { .. } => Code::State,
            LocalError::Missing { .. } | LocalError::Setting { .. } => Code::PostgresMissing,
            LocalError::Account { .. } | LocalError::Start { .. } | LocalError::Ports { .. } => {
                Code::DatabaseUnavailable
            }
            LocalError::Init { .. } | LocalError::Sql { .. } | LocalError::Busy { .. } => {
                Code::DatabaseFailed
            }
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            LocalError::Missing { tried, .. } => Some(tried.join("\n")),
            LocalError::Init { tail, .. } => tail.clone(),
            LocalError::Start { tail, .. } => Some(tail.clone()).filter(|tail| !tail.is_empty()),
            _ => None,
        }
    }

    fn fix(&self) -> Option<String> {
        match self {
            LocalError::Fs(error) => error.fix(),
            LocalError::Io { path, .. } => Some(format!("check owner and mode of {}", path.display())),
            LocalError::Missing { cluster: Some(folder), wanted, .. } => Some(format!(
                "install Postgres {wanted} or set database.local.bin to its bin folder; or give up the local \
                 databases by removing {}",
                folder.display()
            )),
            LocalError::Missing { cluster: None, .. } => Some(
                "set database.local.bin to the bin folder of a Postgres 15 or newer, or install Postgres, or make npm \
                 and its registry reachable, or choose another database.provider"
                    .into(),
            ),
            LocalError::Setting { .. } => {
                Some("set it to a folder that holds postgres and initdb of one version, 15 or newer".into())
            }
            LocalError::Account { .. } => {
                Some("run as a user listed in /etc/passwd, or choose another database.provider".into())
            }
            LocalError::Start { log, .. } => Some(format!("read {}", log.display())),
            LocalError::Identity { path, clusters } => Some(format!(
                "write the name of this repository's folder in {} into it; or remove {} to begin with a new, empty server",
                clusters.display(),
                path.display()
            )),
            LocalError::Ports { first, .. } => {
                Some(format!("end the processes that hold these ports (`ss -lntp` lists those that listen), {first} first"))
            }
            LocalError::Busy { .. } => Some("wait for it, or stop it".into()),
            LocalError::Init { .. } | LocalError::Sql { .. } => None,
        }
    }
}

impl LocalError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LocalError {
        let path = path.to_path_buf();
        move |source| LocalError::Io { action, path, source }
    }

    pub(super) fn init(what: &'static str) -> impl FnOnce(CmdError) -> LocalError {
        move |error| LocalError::Init { what: format!("{what}: {error}"), tail: error.tail(8) }
    }

    pub(super) fn sql(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> LocalError {
        let doing = doing.into();
        move |error| LocalError::Sql { doing, reason: words(&error) }
    }
}

/// What the server said, without the wrapping.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => match db.detail() {
            Some(detail) => format!("{} ({detail})", db.message()),
            None => db.message().to_string(),
        },
        None => std::error::Error::source(error)
            .map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")),
    }
}
