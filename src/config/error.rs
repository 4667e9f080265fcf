//! Errors in a configuration, with the place of each.

use std::path::{Path, PathBuf};

use crate::config::source::ConfigPosition;
use crate::error::{Code, Explain, Fault};
use crate::os::read::ReadError;
use crate::text::quoted;

/// The smallest devrun.yaml that works, shown in errors about a missing or empty one.
pub const SMALLEST: &str = "ports: { web: 3000 }\nprocesses:\n  web:\n    run: npm run dev\n    port: web\n";

/// An error in a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no configuration, and nothing was recognised.
    #[error("{} has no devrun.yaml and no Procfile, and devrun does not recognise how to run it", root.display())]
    Missing {
        /// Top level of the worktree.
        root: PathBuf,
        /// Where recognition looked, or why it left parts out.
        found: String,
    },
    /// The configuration is invalid.
    #[error("{at}: {message}")]
    Invalid {
        /// Place of the error.
        at: ConfigPosition,
        /// Description of the error.
        message: String,
        /// How to fix it.
        fix: Option<String>,
    },
    /// A value needs an environment variable that is not set.
    #[error("{at}: {name} is not set{}", message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Variable {
        /// Place of the value.
        at: ConfigPosition,
        name: String,
        /// The message from `${NAME:?message}`.
        message: Option<String>,
    },
    /// A folder must be on PATH, but its name contains a `:`.
    #[error("{} cannot be on PATH: its name contains a `:`", folder.display())]
    NotOnPath { folder: PathBuf },
    /// A file exists but cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// The reason.
        source: ReadError,
    },
}

impl ConfigError {
    /// Returns an error about the value at `at`.
    pub fn invalid(at: &ConfigPosition, message: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { at: at.clone(), message: message.into(), fix: None }
    }

    /// Returns the error with a fix. Only [`ConfigError::Invalid`] takes one.
    #[must_use]
    pub fn with_fix(self, text: impl Into<String>) -> ConfigError {
        match self {
            ConfigError::Invalid { at, message, .. } => {
                ConfigError::Invalid { at, message, fix: Some(text.into()) }
            }
            other => other,
        }
    }
}

impl Explain for ConfigError {
    fn code(&self) -> Code {
        match self {
            ConfigError::Missing { .. } => Code::ConfigMissing,
            ConfigError::Variable { .. } => Code::VariableMissing,
            ConfigError::Invalid { .. } | ConfigError::NotOnPath { .. } | ConfigError::Unreadable { .. } => {
                Code::ConfigInvalid
            }
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            ConfigError::Missing { found, .. } => Some(found.clone()),
            ConfigError::Invalid { at, .. } | ConfigError::Variable { at, .. } => {
                at.shown_line().map(|line| format!("{} | {line}", at.line))
            }
            ConfigError::NotOnPath { .. } => {
                Some("`:` separates the folders in PATH; without this folder, processes would run other programs with the same names".into())
            }
            ConfigError::Unreadable { .. } => None,
        }
    }

    fn fix(&self) -> Option<String> {
        match self {
            ConfigError::Missing { .. } => Some(format!(
                "run `devrun init`, or write a devrun.yaml; this is the smallest that works:\n\n{SMALLEST}"
            )),
            ConfigError::Invalid { fix, .. } => fix.clone(),
            ConfigError::Variable { name, .. } => Some(format!(
                "set {name} in .env or in the shell, or give it a default: ${{{name}:-default}}"
            )),
            ConfigError::NotOnPath { .. } => {
                Some("give the folder a name without `:`; `git worktree move` renames a worktree".into())
            }
            ConfigError::Unreadable { path, source } => Some(unreadable_fix(path, source)),
        }
    }

    fn fault(&self) -> Option<Fault> {
        match self {
            // The disk does not answer, or the program that writes to the pipe.
            ConfigError::Unreadable { source: ReadError::Stuck(_) | ReadError::Silent(_), .. } => {
                Some(Fault::Environment)
            }
            other => other.code().fault(),
        }
    }
}

fn unreadable_fix(path: &Path, error: &ReadError) -> String {
    let shown = quoted(path);
    match error {
        ReadError::Silent(_) => format!(
            "start the program that writes to {shown} (1Password, for example), or leave the file out of `env_files`"
        ),
        ReadError::NotRegular(_) | ReadError::Folder => format!("put a file in the place of {shown}"),
        ReadError::TooLarge(_) => format!("shorten {shown}"),
        ReadError::Outside(_) => format!("put a copy of the file in the place of the link {shown}"),
        ReadError::Stuck(stuck) => stuck.fix(path),
        ReadError::Io(_) => format!("check owner, mode and encoding (UTF-8) of {shown}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::os::blocking::Stuck;

    #[test]
    fn a_disk_that_does_not_answer_is_no_fault_of_the_configuration() {
        let limit = Duration::from_secs(1);
        for (source, fault) in [
            (Stuck::TimedOut(limit).into(), Fault::Environment),
            (ReadError::Silent(limit), Fault::Environment),
            (ReadError::Folder, Fault::Configuration),
        ] {
            let error = ConfigError::Unreadable { path: "/w/.env".into(), source };
            assert_eq!(error.fault(), Some(fault), "{error}");
            assert!(error.fix().is_some_and(|fix| fix.contains("/w/.env")), "{error}");
        }
    }
}
