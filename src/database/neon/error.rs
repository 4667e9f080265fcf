//! What can go wrong with Neon, for people: what happened, why, and the one thing to do next. Never holds the key.

use std::time::Duration;

use super::verdict::Answer;
use super::wire::Problem;
use crate::error::{Code, Explain};

/// An answer that is no success and that asking again would not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked for: `create the branch dev-x`.
    pub doing: String,
    /// The HTTP status.
    pub status: u16,
    /// The service's own name for it; often empty.
    pub code: String,
    /// The service's own words, or the beginning of what came in their place.
    pub message: String,
    /// By which the service knows the request.
    pub request_id: Option<String>,
}

impl Refusal {
    pub(super) fn new(doing: &str, answer: &Answer) -> Refusal {
        let problem: Problem = serde_json::from_slice(&answer.body).unwrap_or_default();
        let message = if problem.message.is_empty() { excerpt(&answer.body) } else { problem.message };
        Refusal {
            doing: doing.into(),
            status: answer.status,
            code: problem.code,
            message,
            request_id: problem.request_id.or_else(|| answer.request_id.clone()),
        }
    }

    pub(super) fn is_limit(&self) -> bool {
        self.status == 422 && (self.code.contains("LIMIT") || self.message.contains("limit"))
    }

    fn speaks_of(&self, word: &str) -> bool {
        self.code.to_ascii_lowercase().contains(word) || self.message.to_ascii_lowercase().contains(word)
    }

    /// What the service said, with what it takes to ask about it.
    pub(super) fn said(&self) -> String {
        let code = if self.code.is_empty() { String::new() } else { format!(" {}", self.code) };
        let words = if self.message.is_empty() { String::new() } else { format!(": {}", self.message) };
        format!("{}{code}{words}{}", self.status, numbered(self.request_id.as_deref()))
    }
}

/// What to say of a request's id, after other words.
pub(super) fn numbered(request_id: Option<&str>) -> String {
    request_id.map_or_else(String::new, |id| format!(" (request {id})"))
}

/// The beginning of what is no JSON: a page of some proxy, mostly.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// Why there is no branch.
#[derive(Debug, thiserror::Error)]
pub enum NeonError {
    /// The address of the API makes no sense.
    #[error("NEON_API_HOST cannot be used: {0}")]
    Host(String),
    /// The address of the API is from a place that is trusted less than the key.
    #[error("NEON_API_HOST in {host} would decide where the key from {key} goes")]
    HostNotTrusted {
        /// The file that names the address.
        host: String,
        /// Where the key is from.
        key: String,
    },
    /// Part of what is needed is missing.
    #[error("the Neon provider needs {what}")]
    Missing {
        /// What.
        what: &'static str,
        /// How to give it.
        fix: String,
    },
    /// The key is wrong, or was revoked.
    #[error("Neon does not accept the key in {variable}")]
    Key {
        /// Variable, and where it is set.
        variable: String,
        /// The answer.
        refusal: Refusal,
    },
    /// The key is good for something else.
    #[error("the key in {variable} may not {}", refusal.doing)]
    Forbidden {
        /// Variable, and where it is set.
        variable: String,
        /// The answer.
        refusal: Refusal,
    },
    /// The project, or something in it, does not exist.
    #[error("Neon knows no such thing: cannot {}", refusal.doing)]
    NotFound {
        /// Project, and where its id was found.
        project: String,
        /// The answer.
        refusal: Refusal,
    },
    /// The plan allows no more.
    #[error("Neon makes no more branches in this project: cannot {}", refusal.doing)]
    Limit {
        /// The answer.
        refusal: Refusal,
        /// Names of branches that look like devrun's.
        candidates: Vec<String>,
    },
    /// `expires_in` is not allowed there.
    #[error("Neon refuses `database.neon.expires_in`: cannot {}", refusal.doing)]
    Expiry {
        /// The answer.
        refusal: Refusal,
    },
    /// Anything else that is a plain no.
    #[error("Neon refuses to {}", refusal.doing)]
    Refused {
        /// The answer.
        refusal: Refusal,
    },
    /// No usable answer for too long.
    #[error("Neon did not {doing} within {} s", waited.as_secs())]
    Silent {
        /// What was asked for.
        doing: String,
        /// The last thing that came.
        last: String,
        /// How long we tried.
        waited: Duration,
    },
    /// Work that Neon had begun ended badly.
    #[error("Neon could not finish the branch {branch}: {action} {status}")]
    Operation {
        /// The branch, which exists.
        branch: String,
        /// What failed.
        action: String,
        /// How.
        status: String,
        /// In Neon's words.
        said: Option<String>,
    },
    /// It is the database others work with.
    #[error("{name} is {what}: devrun does not work there")]
    Parent {
        /// Its name.
        name: String,
        /// Default, protected or parent.
        what: &'static str,
        /// Whether the configuration names it literally.
        named: bool,
    },
    /// Several databases, and nobody says which.
    #[error("the branch {branch} has {}", if found.is_empty() { "no database".into() } else { format!("several databases: {}", found.join(", ")) })]
    WhichDatabase {
        /// The branch.
        branch: String,
        /// Their names.
        found: Vec<String>,
    },
    /// A name that stands for nothing or for everybody's.
    #[error("{0:?} cannot be the name of a branch database")]
    Name(String),
    /// The configured parent is not there.
    #[error("there is no branch {0:?} in the Neon project to copy")]
    NoParent(String),
}

impl Explain for NeonError {
    fn code(&self) -> Code {
        match self {
            NeonError::Host(_)
            | NeonError::HostNotTrusted { .. }
            | NeonError::Missing { .. }
            | NeonError::WhichDatabase { .. }
            | NeonError::Name(_)
            | NeonError::NoParent(_)
            | NeonError::Parent { .. } => Code::ConfigInvalid,
            NeonError::Silent { .. } => Code::DatabaseUnavailable,
            _ => Code::DatabaseFailed,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            NeonError::Key { refusal, .. }
            | NeonError::Forbidden { refusal, .. }
            | NeonError::NotFound { refusal, .. }
            | NeonError::Limit { refusal, .. }
            | NeonError::Expiry { refusal }
            | NeonError::Refused { refusal } => Some(format!("Neon answered {}", refusal.said())),
            NeonError::Silent { last, .. } => Some(format!("the last thing heard was: {last}")),
            NeonError::Operation { said, .. } => said.clone(),
            NeonError::HostNotTrusted { .. } => Some(
                "a file of the repository could send the key to any host; the address counts only from the \
                 environment, or from the file that holds the key itself"
                    .into(),
            ),
            NeonError::Parent { .. } => {
                Some("others work with it, and migrations cannot be taken back".into())
            }
            _ => None,
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            NeonError::Host(_) => "leave it out, or write it as https://console.neon.tech/api/v2".into(),
            NeonError::HostNotTrusted { host, .. } => format!(
                "take NEON_API_HOST out of {host}; if you want this address, set it in the environment: export \
                 NEON_API_HOST=…"
            ),
            NeonError::Missing { fix, .. } => fix.clone(),
            NeonError::Key { .. } => {
                "this is the environment, not the code: put a key that is valid there (Neon console, Account \
                 settings, API keys)"
                    .into()
            }
            NeonError::Forbidden { .. } => "use a key of the project's owner, or another project".into(),
            NeonError::NotFound { project, .. } => format!("check the id of the project: {project}"),
            NeonError::Limit { candidates, .. } if candidates.is_empty() => {
                "delete a branch in the Neon console, or raise the plan".into()
            }
            NeonError::Limit { candidates, .. } => {
                format!("delete one that nobody needs (devrun db delete NAME): {}", candidates.join(", "))
            }
            NeonError::Expiry { .. } => "leave `expires_in` out, or use at most 30d and a plan that has it".into(),
            NeonError::Refused { .. } => "see what Neon says, then run `devrun` again".into(),
            NeonError::Silent { .. } => {
                "this is the environment, not the code: check the network and https://neonstatus.com, then run \
                 `devrun` again"
                    .into()
            }
            NeonError::Operation { .. } => "run `devrun` again: the branch is there and is taken up".into(),
            NeonError::Parent { named: true, .. } => {
                "if that is what you want: devrun up --allow-parent".into()
            }
            NeonError::Parent { named: false, .. } => {
                "let `database.branch` give another name; only one that is written there without ${…} may be \
                 used with --allow-parent"
                    .into()
            }
            NeonError::WhichDatabase { .. } => "name one: `database.neon.database`".into(),
            NeonError::Name(_) => "write one as `database.branch`; `dev-${branch}` is the default".into(),
            NeonError::NoParent(_) => "correct `database.parent`, or leave it out: then it is the default branch".into(),
        })
    }
}

/// Why a call came to nothing, for those who can still do something about it.
#[derive(Debug)]
pub(super) enum Failure {
    /// A plain no.
    Refused(Refusal),
    /// A change that may have happened or not.
    Unsure {
        /// The last thing heard.
        last: String,
        /// How long we tried.
        waited: Duration,
    },
    /// It is over.
    Over(NeonError),
}

impl Failure {
    /// The error for people. `variable` tells where the key came from, `project` where the project did.
    pub(super) fn told(self, doing: &str, variable: &str, project: &str) -> NeonError {
        let refusal = match self {
            Failure::Refused(refusal) => refusal,
            Failure::Unsure { last, waited } => {
                return NeonError::Silent { doing: doing.into(), last, waited };
            }
            Failure::Over(error) => return error,
        };
        match refusal.status {
            401 => NeonError::Key { variable: variable.into(), refusal },
            403 if !refusal.speaks_of("expir") => NeonError::Forbidden { variable: variable.into(), refusal },
            404 => NeonError::NotFound { project: project.into(), refusal },
            400..=499 if refusal.speaks_of("expir") => NeonError::Expiry { refusal },
            _ => NeonError::Refused { refusal },
        }
    }
}
