//! What can be wrong with a configuration, with the place where it is wrong.

use std::path::{Path, PathBuf};

use crate::config::source::At;
use crate::error::{Code, Explain};
use crate::os::read::ReadError;

/// The smallest devrun.yaml that works, shown where there is none.
pub const SMALLEST: &str = "ports: { web: 3000 }\nprocesses:\n  web:\n    run: npm run dev\n    port: web\n";

/// What can be wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is none, and nothing was recognised.
    #[error("{} has no devrun.yaml and no Procfile, and its shape is none that devrun knows", root.display())]
    Missing {
        /// Top level of the worktree.
        root: PathBuf,
        /// What was looked for and what was found of it.
        found: String,
    },
    /// Something in it is wrong.
    #[error("{at}: {message}")]
    Invalid {
        /// Where.
        at: At,
        /// What.
        message: String,
        /// What to do about it.
        fix: Option<String>,
    },
    /// A value needs an environment variable that is not set.
    #[error("{at}: {name} is not set{}", message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Variable {
        /// Where it is needed.
        at: At,
        /// Its name.
        name: String,
        /// What its author says about it (`${NAME:?message}`).
        message: Option<String>,
    },
    /// A file is there and cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
}

impl ConfigError {
    /// Something at `at` is wrong.
    pub fn invalid(at: &At, message: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { at: at.clone(), message: message.into(), fix: None }
    }

    /// The same, with what to do about it.
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
            ConfigError::Invalid { .. } | ConfigError::Unreadable { .. } => Code::ConfigInvalid,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            ConfigError::Missing { found, .. } => Some(found.clone()),
            ConfigError::Invalid { at, .. } | ConfigError::Variable { at, .. } => {
                at.shown_line().map(|line| format!("{} | {line}", at.line))
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
            ConfigError::Unreadable { path, source } => Some(unreadable_fix(path, source)),
        }
    }
}

fn unreadable_fix(path: &Path, error: &ReadError) -> String {
    let path = path.display();
    match error {
        ReadError::Silent(_) => format!(
            "start the program that writes to {path} (1Password, for example), or leave the file out of `env_files`"
        ),
        ReadError::NotRegular(_) | ReadError::Folder => format!("put a file in the place of {path}"),
        ReadError::TooLarge(_) => format!("shorten {path}"),
        ReadError::Outside(_) => format!("put a copy of the file in the place of the link {path}"),
        ReadError::Stuck(_) => format!("check the disk or the network mount that holds {path}"),
        ReadError::Io(_) => format!("check owner, mode and encoding (UTF-8) of {path}"),
    }
}
