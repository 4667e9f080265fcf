//! Defines the errors of the local server and their hints.

use std::path::{Path, PathBuf};

use crate::database::catalogue::CatalogueError;
use crate::error::{Code, Explain, Fault};
use crate::os::cmd::CmdError;
use crate::os::fs::FsError;
use crate::text::quoted;

/// Programs of one major version, and a cluster of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MajorConflict {
    /// The major version that made the cluster.
    pub made_by: u32,
    /// The major version of the programs.
    pub holds: u32,
    /// The cluster's folder.
    pub cluster: PathBuf,
}

/// An error of the local server.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A file of devrun cannot be read or written.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A file or folder of the server cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The failed action, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// No server programs were found.
    #[error("no Postgres server (version {wanted}) was found, and none could be downloaded")]
    Missing {
        /// The major that is needed, or `15 or newer`.
        wanted: String,
        /// The attempts, one per line.
        tried: Vec<String>,
        /// The folder of the existing cluster, if it needs exactly this major.
        cluster: Option<PathBuf>,
    },
    /// `database.local.bin` is not usable.
    #[error("database.local.bin ({}) cannot be used: {reason}", path.display())]
    Setting {
        /// The setting's value.
        path: PathBuf,
        reason: String,
        /// Set if the programs are of another major version than the existing cluster.
        conflict: Option<MajorConflict>,
    },
    /// The server's programs cannot run as this user.
    #[error("Postgres cannot run as the current user: {reason}")]
    Account { reason: &'static str },
    /// The folder of the cluster is on a network file system.
    #[error("the local databases cannot be kept in {}: it is on a network file system ({kind})", folder.display())]
    NetworkDisk { folder: PathBuf, kind: &'static str },
    /// The cluster could not be created.
    #[error("the local Postgres cluster could not be created: {what}")]
    Init {
        /// One line.
        what: String,
        /// The last lines of the tool's output.
        tail: Option<String>,
    },
    /// The server does not start.
    #[error("the local Postgres server does not start: {what}")]
    Start {
        /// One line.
        what: String,
        /// The last lines of its log.
        tail: String,
        /// The path of the log.
        log: PathBuf,
    },
    /// The repository's id is damaged, and no cluster remembers the repository.
    #[error("the repository's id in {} is damaged, so its databases cannot be found", path.display())]
    Identity {
        /// The id's file.
        path: PathBuf,
        /// The folder of the clusters.
        clusters: PathBuf,
    },
    /// All ports that were tried are in use.
    #[error(
        "the local Postgres server has no free port: all {count} from {first} on are in use, {first} by {holder}"
    )]
    Ports {
        /// The first port.
        first: u16,
        /// The number of ports.
        count: u16,
        /// The process that holds the first port.
        holder: String,
    },
    /// A client has held a lock that keeps readers from a table of the parent.
    #[error("{name} cannot be copied: {holder} has locked a table for too long")]
    Locked {
        /// The parent's name.
        name: String,
        /// The program with the lock.
        holder: String,
    },
    /// The user wanted a copy of the snapshot, and there is none.
    #[error("there is no snapshot of {0}")]
    NoSnapshot(String),
    /// There is no `pg_dump` and `pg_restore` of the server's version, and they cannot be downloaded for this reason.
    #[error("there is no pg_dump and pg_restore of the server's version: {0}")]
    NoDumpTools(String),
    /// A dump could not be restored.
    #[error("{} could not be restored", file.display())]
    Restore {
        file: PathBuf,
        /// The last lines of the tool's output.
        tail: String,
    },
    /// A statement failed, or waited for too long.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

impl Explain for LocalError {
    fn code(&self) -> Code {
        match self {
            LocalError::Fs(error) => error.code(),
            LocalError::Io { .. } | LocalError::Identity { .. } => Code::State,
            LocalError::Missing { .. } | LocalError::Setting { .. } => Code::PostgresMissing,
            LocalError::Account { .. }
            | LocalError::NetworkDisk { .. }
            | LocalError::Start { .. }
            | LocalError::Ports { .. } => Code::DatabaseUnavailable,
            LocalError::Init { .. }
            | LocalError::Locked { .. }
            | LocalError::NoSnapshot(_)
            | LocalError::Restore { .. } => Code::DatabaseFailed,
            LocalError::NoDumpTools(_) => Code::ToolMissing,
            LocalError::Catalogue(error) => error.code(),
        }
    }

    fn fault(&self) -> Option<Fault> {
        match self {
            LocalError::Setting { .. } => Some(Fault::Configuration),
            LocalError::Catalogue(error) => error.fault(),
            other => other.code().fault(),
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            LocalError::Missing { tried, .. } => Some(tried.join("\n")),
            LocalError::Init { tail, .. } => tail.clone(),
            LocalError::Restore { tail, .. } => Some(tail.clone()),
            LocalError::Start { tail, .. } => Some(tail.clone()).filter(|tail| !tail.is_empty()),
            _ => None,
        }
    }

    fn fix(&self) -> Option<String> {
        match self {
            LocalError::Fs(error) => error.fix(),
            LocalError::Io { path, .. } => Some(format!("check owner and mode of {}", quoted(path))),
            LocalError::Missing { cluster: Some(folder), wanted, .. } => Some(format!(
                "install Postgres {wanted} or set database.local.bin to its bin folder; or give up the local \
                 databases by removing {}",
                quoted(folder)
            )),
            LocalError::Missing { cluster: None, .. } => Some(
                "set database.local.bin to the bin folder of a Postgres 15 or newer, or install Postgres, or make npm \
                 and its registry reachable, or choose another database.provider"
                    .into(),
            ),
            LocalError::Setting { conflict: Some(MajorConflict { made_by, holds, .. }), .. } if holds > made_by => Some(format!(
                "devrun db upgrade, which moves all databases to Postgres {holds}; or set it to the programs of a Postgres {made_by}"
            )),
            LocalError::Setting { conflict: Some(MajorConflict { made_by, cluster, .. }), .. } => Some(format!(
                "set it to the programs of a Postgres {made_by}; or run `devrun down` in every worktree and remove {}, which \
                 deletes all local databases of this repository",
                quoted(cluster)
            )),
            LocalError::Setting { conflict: None, .. } => {
                Some("set it to a folder that holds postgres and initdb of one version, 15 or newer".into())
            }
            LocalError::Account { .. } => {
                Some("run as a user listed in /etc/passwd, or choose another database.provider".into())
            }
            LocalError::NetworkDisk { .. } => {
                Some("set XDG_DATA_HOME to a folder on a disk of this machine, or choose another database.provider".into())
            }
            LocalError::Start { log, .. } => Some(format!("read {}", quoted(log))),
            LocalError::Identity { path, clusters } => Some(format!(
                "write the name of this repository's folder in {} into it; or remove {} to begin with a new, empty server",
                quoted(clusters),
                quoted(path)
            )),
            LocalError::Ports { first, .. } => {
                Some(format!("end the processes that hold these ports (`ss -lntp` lists those that listen), {first} first"))
            }
            LocalError::Catalogue(error) => error.fix(),
            LocalError::Locked { .. } => {
                Some("wait until its migration or transaction has ended, or end that program".into())
            }
            LocalError::NoSnapshot(_) => {
                Some("leave out `--from snapshot` to copy the database as it is now".into())
            }
            LocalError::NoDumpTools(_) => Some(
                "install the client programs of the server's major version (Debian: postgresql-client-NN)".into(),
            ),
            LocalError::Init { .. } | LocalError::Restore { .. } => None,
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
        let explained = CatalogueError::sql(doing);
        move |error| explained(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_setting_is_the_configurations_fault() {
        let error =
            LocalError::Setting { path: "/opt/pg".into(), reason: "it is empty".into(), conflict: None };
        assert_eq!((error.code(), error.fault()), (Code::PostgresMissing, Some(Fault::Configuration)));
        let error = LocalError::Missing { wanted: "17".into(), tried: Vec::new(), cluster: None };
        assert_eq!(error.fault(), Some(Fault::Environment));
    }
}
