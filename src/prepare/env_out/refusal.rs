//! The reasons why a file of `env_out` is not written.

use std::fmt;

use crate::config::ConfigError;
use crate::config::env_template::TemplateError;
use crate::error::Report;
use crate::worktree::WorktreeError;

/// The reason why a file is not written.
#[derive(Debug)]
pub(super) enum OutputRefusal {
    /// The configuration, the file or its template is the reason.
    Config(ConfigError),
    /// A template names something that devrun does not know.
    Placeholder(ConfigError),
    /// git is missing or failed, so it is not known whether it ignores the file.
    Git(WorktreeError),
}

impl From<ConfigError> for OutputRefusal {
    fn from(error: ConfigError) -> OutputRefusal {
        OutputRefusal::Config(error)
    }
}

impl From<WorktreeError> for OutputRefusal {
    fn from(error: WorktreeError) -> OutputRefusal {
        OutputRefusal::Git(error)
    }
}

impl From<TemplateError> for OutputRefusal {
    fn from(error: TemplateError) -> OutputRefusal {
        match error {
            TemplateError::Unknown(error) => OutputRefusal::Placeholder(error),
            TemplateError::Other(error) => OutputRefusal::Config(error),
        }
    }
}

impl From<OutputRefusal> for Report {
    fn from(refusal: OutputRefusal) -> Report {
        match refusal {
            OutputRefusal::Config(error) | OutputRefusal::Placeholder(error) => error.into(),
            OutputRefusal::Git(error) => error.into(),
        }
    }
}

impl fmt::Display for OutputRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutputRefusal::Config(error) | OutputRefusal::Placeholder(error) => error.fmt(f),
            OutputRefusal::Git(error) => error.fmt(f),
        }
    }
}
