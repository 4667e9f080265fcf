//! Defines the errors of the `command` provider and their hints.

use super::action::ProviderAction;
use crate::error::{Code, Explain, Fault, RERUN};
use crate::os::fs::FsError;

/// An error of the `command` provider.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandProviderError {
    /// The configuration lacks a command.
    #[error("the database provider `command` needs `database.command.{0}`")]
    NoCommand(&'static str),
    /// A file of devrun cannot be read or written.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A command failed.
    #[error("`database.command.{}` failed: `{command}` {ending}", action.word())]
    Failed {
        action: ProviderAction,
        /// The command, without secrets.
        command: String,
        /// How it ended, as in [`crate::os::cmd::CmdError::ending`].
        ending: String,
        /// True if a program does not exist.
        is_missing: bool,
        /// The last lines of its standard error, without secrets.
        tail: String,
    },
    /// The answer of a command cannot be used.
    #[error("the answer of `database.command.{}` cannot be used: {reason}", action.word())]
    Answer {
        action: ProviderAction,
        /// The command, without secrets.
        command: String,
        /// The reason, without any part of the answer.
        reason: String,
    },
}

impl Explain for CommandProviderError {
    fn code(&self) -> Code {
        match self {
            CommandProviderError::NoCommand(_) => Code::ConfigInvalid,
            CommandProviderError::Fs(error) => error.code(),
            CommandProviderError::Failed { .. } | CommandProviderError::Answer { .. } => Code::DatabaseFailed,
        }
    }

    fn fault(&self) -> Option<Fault> {
        match self {
            // The command may be wrong in devrun.yaml, or be a script of the repository, or the service may have failed.
            CommandProviderError::Failed { .. } | CommandProviderError::Answer { .. } => None,
            other => other.code().fault(),
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            CommandProviderError::Failed { tail, .. } => Some(tail.clone()).filter(|tail| !tail.is_empty()),
            CommandProviderError::Answer { command, .. } => Some(format!("the command is `{command}`")),
            CommandProviderError::NoCommand(_) | CommandProviderError::Fs(_) => None,
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            CommandProviderError::NoCommand(_) => {
                "write `database.command.create` and `database.command.delete`; `devrun help database` describes them".into()
            }
            CommandProviderError::Fs(error) => return error.fix(),
            CommandProviderError::Failed { is_missing: true, .. } => format!(
                "install the program, or correct the command: it runs in the worktree, before packages are \
                 installed; then {RERUN}"
            ),
            CommandProviderError::Failed { .. } => {
                format!("correct the cause or the command, then {RERUN}")
            }
            CommandProviderError::Answer { action: ProviderAction::List, .. } => {
                r#"let it print {"databases": ["NAME"]} and nothing else on standard output"#.into()
            }
            CommandProviderError::Answer { .. } => {
                r#"let it print {"url": "SCHEME:…"} and nothing else on standard output"#.into()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_blamed_for_a_command_that_may_fail_for_any_reason() {
        let failed = CommandProviderError::Failed {
            action: ProviderAction::Create,
            command: "make-db".into(),
            ending: "ended with exit code 1".into(),
            is_missing: false,
            tail: String::new(),
        };
        let answer = CommandProviderError::Answer {
            action: ProviderAction::Create,
            command: "make-db".into(),
            reason: "it has no `url`".into(),
        };
        assert_eq!([failed.fault(), answer.fault()], [None, None]);
        assert_eq!(CommandProviderError::NoCommand("create").fault(), Some(Fault::Configuration));
    }
}
