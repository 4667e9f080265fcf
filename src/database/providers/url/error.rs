//! Defines the errors of the `url` provider and their hints.

use crate::database::catalogue::identifier;
use crate::error::{Code, Explain, RERUN};
use crate::text::quoted;

/// An error of the `url` provider.
#[derive(Debug, thiserror::Error)]
pub(super) enum UrlError {
    /// The configuration does not name the variable with the server's URL.
    #[error("the database provider `url` needs `database.url.admin_env`")]
    NoSetting,
    /// The variable is not set, or empty.
    #[error("{0}, which holds the URL of the database server, is not set")]
    NoVariable(String),
    /// The variable holds no URL of a Postgres server.
    #[error("{name} ({place}) cannot be used: {reason}")]
    Unusable {
        /// The variable's name.
        name: String,
        /// The place that sets it.
        place: String,
        /// The reason, without the URL.
        reason: String,
    },
    /// Neither the URL nor the configuration names a database to copy.
    #[error("there is no database to copy: the URL in {0} names none, and neither does `database.parent`")]
    NoParent(String),
    /// The database to copy does not exist.
    #[error("the database {0}, which is to be copied, does not exist")]
    ParentMissing(String),
    /// The worktree's database is the one that others are copied from.
    #[error("{0} is the database that others are copied from: devrun does not work in it")]
    Parent(String),
    /// The database is not devrun's to use or change.
    #[error("{name} is {what}: devrun does not {doing} it")]
    Kept {
        /// The database's name.
        name: String,
        /// The kind of database.
        what: &'static str,
        /// The requested operation, as a verb.
        doing: &'static str,
    },
    /// Sessions in the parent prevent the copy.
    #[error("{parent} cannot be copied while other programs are connected to it")]
    InUse {
        parent: String,
        /// The sessions in words.
        sessions: Vec<String>,
    },
    /// Sessions in a branch database or a snapshot prevent its copy.
    #[error("{name} cannot be copied while programs are connected to it")]
    Busy {
        name: String,
        /// The sessions in words.
        sessions: Vec<String>,
    },
    /// The role may not copy the parent.
    #[error("the role in the URL may not copy {parent}: {reason}")]
    NotPermitted {
        parent: String,
        /// The reason, in the server's words.
        reason: String,
    },
}

impl Explain for UrlError {
    fn code(&self) -> Code {
        match self {
            UrlError::NoSetting
            | UrlError::NoVariable(_)
            | UrlError::Unusable { .. }
            | UrlError::NoParent(_) => Code::ConfigInvalid,
            UrlError::Parent(_) | UrlError::Kept { .. } => Code::DatabaseKept,
            UrlError::ParentMissing(_)
            | UrlError::InUse { .. }
            | UrlError::Busy { .. }
            | UrlError::NotPermitted { .. } => Code::DatabaseFailed,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            UrlError::InUse { sessions, .. } | UrlError::Busy { sessions, .. } => Some(format!(
                "Postgres copies only a database without sessions. Connected: {}",
                sessions.join(", ")
            )),
            _ => None,
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            UrlError::NoSetting => {
                "name the variable: `database: { provider: url, url: { admin_env: DEV_SERVER_URL } }`".into()
            }
            UrlError::NoVariable(name) => {
                format!("set {name} in the environment or in an env file that is not committed")
            }
            UrlError::Unusable { .. } => "write it as postgresql://user:password@host:port/database".into(),
            UrlError::NoParent(_) => "set `database.parent`, or end the URL with the database's name".into(),
            UrlError::ParentMissing(name) => {
                format!("create {name} on the server, or name another database in `database.parent`")
            }
            UrlError::Parent(_) => {
                "choose other names for branch databases in `database.branch`, such as `dev-${branch}`".into()
            }
            UrlError::Kept { name, .. } => format!(
                "choose another name in `database.branch`, or remove {} with the tools of its server",
                quoted(name)
            ),
            UrlError::InUse { parent, .. } => format!(
                "close these connections and {RERUN}; or copy {parent} once to a database that nothing \
                 connects to, and name that one in `database.parent`"
            ),
            UrlError::Busy { .. } => {
                "end them (`devrun down`, psql, a stack of another worktree), then run this command again"
                    .into()
            }
            UrlError::NotPermitted { parent, .. } => format!(
                "make the role the owner of {parent}, or mark it as a template, as its owner: ALTER DATABASE {} \
                 IS_TEMPLATE true; the role also needs CREATEDB",
                identifier(parent)
            ),
        })
    }
}
