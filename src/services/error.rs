//! The errors of services, with the place of each in the configuration.

use crate::error::{Code, Explain, Fault, RERUN};
use crate::os::fs::FsError;

/// A service cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// None of its programs is installed.
    #[error("{at}: {programs} is not on PATH, so the service `{service}` cannot start")]
    ProgramMissing {
        /// Where the service is written.
        at: String,
        service: String,
        /// The names of the programs.
        programs: String,
        /// How to install one of them.
        install: &'static str,
    },
    /// The URL of a shared server cannot be used.
    #[error("{at}: the URL of the shared server of `{service}` cannot be used: {reason}")]
    SharedUrl {
        at: String,
        service: String,
        /// The reason, without the URL.
        reason: &'static str,
    },
    /// The shared server does not answer.
    #[error("{at}: the shared server of `{service}` at {address} does not answer: {reason}")]
    Unreachable { at: String, service: String, address: String, reason: String },
    /// The shared server refuses the connection.
    #[error("{at}: the shared server of `{service}` at {address} refuses: {answer}")]
    Refused { at: String, service: String, address: String, answer: String },
    /// The shared server has no database with the number of the slot.
    #[error(
        "{at}: this worktree has slot {slot}, and the shared server of `{service}` at {address} has no database {slot}{}",
        databases.map(|count| format!(": it has {count}, from 0 to {}", count.saturating_sub(1))).unwrap_or_default()
    )]
    NoDatabase {
        at: String,
        service: String,
        address: String,
        slot: u16,
        /// The number of databases, if the server reports it.
        databases: Option<u16>,
    },
    /// The folder of the data cannot be prepared.
    #[error(transparent)]
    Data(#[from] FsError),
}

impl Explain for ServiceError {
    fn code(&self) -> Code {
        match self {
            ServiceError::ProgramMissing { .. } => Code::ServiceMissing,
            ServiceError::SharedUrl { .. } => Code::ConfigInvalid,
            ServiceError::Unreachable { .. } | ServiceError::Refused { .. } => Code::ServiceUnavailable,
            ServiceError::NoDatabase { .. } => Code::ServiceLimit,
            ServiceError::Data(error) => error.code(),
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            ServiceError::ProgramMissing { install, .. } => (*install).into(),
            ServiceError::SharedUrl { .. } => {
                "write redis://HOST:PORT, or redis://USER:PASSWORD@HOST:PORT".into()
            }
            ServiceError::Unreachable { service, .. } => {
                format!(
                    "start that server, or leave out `shared` of `{service}` to give each worktree a server"
                )
            }
            ServiceError::Refused { answer, .. } if is_about_password(answer) => {
                "correct user and password in the URL".into()
            }
            ServiceError::Refused { .. } => format!("correct what the server reports, then {RERUN}"),
            ServiceError::NoDatabase { service, .. } => format!(
                "start that server with `--databases 100`, write `shared: {{ url: URL, by: prefix }}`, or leave out \
                 `shared` of `{service}` to give each worktree a server"
            ),
            ServiceError::Data(error) => return error.fix(),
        })
    }

    fn fault(&self) -> Option<Fault> {
        match self {
            ServiceError::Refused { answer, .. } if is_about_password(answer) => Some(Fault::Configuration),
            other => other.code().fault(),
        }
    }
}

/// Returns true if the server refuses user or password, and not the connection as such.
fn is_about_password(answer: &str) -> bool {
    ["NOAUTH", "WRONGPASS", "NOPERM", "AUTH ", "invalid password", "AUTH,"]
        .iter()
        .any(|word| answer.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_password_is_the_configurations_fault_and_a_full_server_is_not() {
        for (answer, fault, fix) in [
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                Fault::Configuration,
                "password",
            ),
            ("NOAUTH Authentication required.", Fault::Configuration, "password"),
            ("ERR Client sent AUTH, but no password is set", Fault::Configuration, "password"),
            ("ERR max number of clients reached", Fault::Environment, "what the server reports"),
            ("LOADING Redis is loading the dataset in memory", Fault::Environment, "what the server reports"),
        ] {
            let error = ServiceError::Refused {
                at: "devrun.yaml:2:3".into(),
                service: "redis".into(),
                address: "h:1".into(),
                answer: answer.into(),
            };
            assert_eq!(error.fault(), Some(fault), "{answer}");
            assert!(error.fix().is_some_and(|text| text.contains(fix)), "{answer}");
        }
    }
}
