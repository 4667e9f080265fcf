//! Defines the errors of the Neon provider, each with its cause and one next step. None contains the key.

use std::time::Duration;

use super::retry::ApiAnswer;
use super::wire::Problem;
use crate::error::{Code, Explain, Fault, RERUN, START};

/// An error answer that would be the same after a repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiRefusal {
    /// The request, as a verb: `create the branch dev-x`.
    pub doing: String,
    /// The HTTP status.
    pub status: u16,
    /// The service's error code, often empty.
    pub code: String,
    /// The service's message, or the beginning of the body if it is not JSON.
    pub message: String,
    /// The id by which the service knows the request.
    pub request_id: Option<String>,
}

impl ApiRefusal {
    pub(super) fn new(doing: &str, answer: &ApiAnswer) -> ApiRefusal {
        let problem: Problem = serde_json::from_slice(&answer.body).unwrap_or_default();
        let message = if problem.message.is_empty() { excerpt(&answer.body) } else { problem.message };
        ApiRefusal {
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

    /// Returns the status, code, message and request id in one line.
    pub(super) fn said(&self) -> String {
        let code = if self.code.is_empty() { String::new() } else { format!(" {}", self.code) };
        let words = if self.message.is_empty() { String::new() } else { format!(": {}", self.message) };
        format!("{}{code}{words}{}", self.status, numbered(self.request_id.as_deref()))
    }
}

/// Returns the request id in parentheses, to be appended to a message.
pub(super) fn numbered(request_id: Option<&str>) -> String {
    request_id.map_or_else(String::new, |id| format!(" (request {id})"))
}

/// Returns the beginning of a body that is not JSON, usually the page of a proxy.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// An error of the Neon provider.
#[derive(Debug, thiserror::Error)]
pub enum NeonError {
    /// The address of the API is invalid.
    #[error("NEON_API_HOST cannot be used: {0}")]
    Host(String),
    /// The proxy of the environment cannot be used.
    #[error("{0}")]
    Proxy(String),
    /// The address of the API comes from a place that is less trusted than the place of the key.
    #[error("NEON_API_HOST in {host} would choose the server that receives the key from {key}")]
    HostNotTrusted {
        /// The file that sets the address.
        host: String,
        /// The place of the key.
        key: String,
    },
    /// A required value is missing.
    #[error("the Neon provider needs {what}")]
    Missing {
        /// The value.
        what: &'static str,
        /// How to set it.
        fix: String,
    },
    /// The key is wrong or was revoked.
    #[error("Neon does not accept the key in {variable}")]
    Key {
        /// The variable, and where it is set.
        variable: String,
        /// The answer.
        refusal: ApiRefusal,
    },
    /// The key has no permission for the request.
    #[error("the key in {variable} may not {}", refusal.doing)]
    Forbidden {
        /// The variable, and where it is set.
        variable: String,
        /// The answer.
        refusal: ApiRefusal,
    },
    /// The project, or an object in it, does not exist.
    #[error("not found on Neon: cannot {}", refusal.doing)]
    NotFound {
        /// The project, and where its id was found.
        project: String,
        /// The answer.
        refusal: ApiRefusal,
    },
    /// The plan's limit is reached.
    #[error("the Neon project has reached its limit of branches: cannot {}", refusal.doing)]
    Limit {
        /// The answer.
        refusal: ApiRefusal,
        /// Names of branches that look like devrun's.
        candidates: Vec<String>,
    },
    /// The project does not allow `expires_in`.
    #[error("Neon refuses `database.neon.expires_in`: cannot {}", refusal.doing)]
    Expiry {
        /// The answer.
        refusal: ApiRefusal,
    },
    /// Any other refusal.
    #[error("Neon refuses to {}", refusal.doing)]
    Refused {
        /// The answer.
        refusal: ApiRefusal,
    },
    /// There was no usable answer within the time limit.
    #[error("Neon did not {doing} within {} s", waited.as_secs())]
    Silent {
        /// The request, as a verb.
        doing: String,
        /// The last answer or error.
        last: String,
        /// How long devrun tried.
        waited: Duration,
    },
    /// Work that Neon had started failed.
    #[error("Neon could not finish the branch {branch}: {action} {status}")]
    Operation {
        /// The branch, which exists.
        branch: String,
        /// The failed operation.
        action: String,
        status: String,
        /// Neon's message.
        said: Option<String>,
    },
    /// Other work depends on this branch.
    #[error("{name} is {what}: devrun does not use it")]
    Parent {
        /// The branch's name.
        name: String,
        /// The kind of branch: default, protected or parent.
        what: &'static str,
        /// True if the configuration names it literally.
        named: bool,
    },
    /// The branch does not have the database that the configuration names, or has not exactly one if it names none.
    #[error("the branch {branch} has {}", if found.is_empty() { "no database".into() } else { format!("several databases: {}", found.join(", ")) })]
    WhichDatabase {
        branch: String,
        /// The names of its databases.
        found: Vec<String>,
    },
    /// The name is empty, or is not specific to one branch.
    #[error("{0:?} cannot be the name of a branch database")]
    Name(String),
    /// The configured parent does not exist.
    #[error("there is no branch {0:?} in the Neon project to copy")]
    NoParent(String),
}

impl Explain for NeonError {
    fn code(&self) -> Code {
        match self {
            NeonError::Host(_)
            | NeonError::Proxy(_)
            | NeonError::HostNotTrusted { .. }
            | NeonError::Missing { .. }
            | NeonError::WhichDatabase { .. }
            | NeonError::Name(_)
            | NeonError::NoParent(_)
            | NeonError::Parent { .. } => Code::ConfigInvalid,
            NeonError::Silent { .. } => Code::DatabaseUnavailable,
            NeonError::Limit { .. } => Code::DatabaseLimit,
            _ => Code::DatabaseFailed,
        }
    }

    fn fault(&self) -> Option<Fault> {
        match self {
            NeonError::Expiry { .. } => Some(Fault::Configuration),
            // The id may be wrong, or the key may be that of another account.
            NeonError::NotFound { .. } => None,
            other => other.code().fault(),
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
            NeonError::Silent { last, .. } => Some(format!("the last result was: {last}")),
            NeonError::Operation { said, .. } => said.clone(),
            NeonError::HostNotTrusted { .. } => Some(
                "a file of the repository could send the key to any host; the address counts only from the \
                 environment, or from the file that holds the key itself"
                    .into(),
            ),
            NeonError::Parent { .. } => {
                Some("other work depends on it, and migrations cannot be undone".into())
            }
            _ => None,
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            NeonError::Host(_) => "leave it out, or write it as https://console.neon.tech/api/v2".into(),
            NeonError::Proxy(_) => {
                "name an HTTP proxy in HTTPS_PROXY, or except Neon with NO_PROXY=.neon.tech".into()
            }
            NeonError::HostNotTrusted { host, .. } => format!(
                "take NEON_API_HOST out of {host}; if you want this address, set it in the environment: export \
                 NEON_API_HOST=…"
            ),
            NeonError::Missing { fix, .. } => fix.clone(),
            NeonError::Key { .. } => {
                "this is the environment, not the code: set a valid key there (Neon console, Account settings, \
                 API keys)"
                    .into()
            }
            NeonError::Forbidden { .. } => "use a key of the project's owner, or another project".into(),
            NeonError::NotFound { project, .. } => format!("check the id of the project: {project}"),
            NeonError::Limit { candidates, .. } if candidates.is_empty() => {
                "delete a branch in the Neon console, or raise the plan".into()
            }
            NeonError::Limit { candidates, .. } => {
                format!(
                    "delete a branch that is no longer needed (devrun db delete NAME): {}",
                    candidates.join(", ")
                )
            }
            NeonError::Expiry { .. } => {
                "remove `expires_in`, or use at most 30d on a Neon plan that supports it".into()
            }
            NeonError::Refused { .. } => format!("follow Neon's message, then {RERUN}"),
            NeonError::Silent { .. } => {
                format!(
                    "this is the environment, not the code: check the network and https://neonstatus.com, then {RERUN}"
                )
            }
            NeonError::Operation { .. } => format!("{RERUN}: the branch exists and will be used"),
            NeonError::Parent { named: true, .. } => {
                format!("if that is what you want: {START} --allow-parent")
            }
            NeonError::Parent { named: false, .. } => {
                "choose another name in `database.branch`; --allow-parent works only with a name that is written there \
                 without ${…}"
                    .into()
            }
            NeonError::WhichDatabase { .. } => "name one: `database.neon.database`".into(),
            NeonError::Name(_) => "set `database.branch` to another name; the default is `dev-${branch}`".into(),
            NeonError::NoParent(_) => {
                "correct `database.parent`, or remove it to copy the default branch".into()
            }
        })
    }
}

/// The reason why a call failed, for callers that may be able to recover.
#[derive(Debug)]
pub(super) enum CallFailure {
    /// The service refused the request.
    Refused(ApiRefusal),
    /// A change that may or may not have been executed.
    Unsure {
        /// The last error.
        last: String,
        /// How long devrun tried.
        waited: Duration,
    },
    /// The caller cannot recover.
    Over(NeonError),
}

impl CallFailure {
    /// Turns the failure into an error for the user. `variable` names the origin of the key, `project` the project and
    /// the origin of its id.
    pub(super) fn into_error(self, doing: &str, variable: &str, project: &str) -> NeonError {
        let refusal = match self {
            CallFailure::Refused(refusal) => refusal,
            CallFailure::Unsure { last, waited } => {
                return NeonError::Silent { doing: doing.into(), last, waited };
            }
            CallFailure::Over(error) => return error,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_certain_is_blamed() {
        let error = |status, message: &str| {
            let refusal = ApiRefusal {
                doing: "create the branch x".into(),
                status,
                code: String::new(),
                message: message.into(),
                request_id: None,
            };
            CallFailure::Refused(refusal).into_error("create the branch x", "NEON_API_KEY", "p")
        };
        assert_eq!(error(400, "expires_at is not allowed").fault(), Some(Fault::Configuration));
        assert_eq!(error(404, "project not found").fault(), None);
        assert_eq!(error(401, "no").fault(), Some(Fault::Environment));
    }

    #[test]
    fn the_command_for_a_parent_returns() {
        let error = NeonError::Parent { name: "main".into(), what: "the default branch", named: true };
        assert_eq!(error.fix().as_deref(), Some("if that is what you want: devrun up -d --allow-parent"));
    }
}
