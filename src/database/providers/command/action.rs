//! The tasks of the user's commands.

use std::time::Duration;

/// The time limit of a command that copies data, and of any other.
const LIMITS: [Duration; 2] = [Duration::from_mins(10), Duration::from_mins(2)];

/// The task of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProviderAction {
    Create,
    Url,
    Reset,
    Delete,
    List,
}

impl ProviderAction {
    /// Returns the key in devrun.yaml, which is also the value of `DEVRUN_ACTION`.
    pub(super) const fn word(self) -> &'static str {
        match self {
            ProviderAction::Create => "create",
            ProviderAction::Url => "url",
            ProviderAction::Reset => "reset",
            ProviderAction::Delete => "delete",
            ProviderAction::List => "list",
        }
    }

    /// Returns the time limit.
    pub(super) const fn limit(self) -> Duration {
        match self {
            ProviderAction::Create | ProviderAction::Reset => LIMITS[0],
            ProviderAction::Url | ProviderAction::Delete | ProviderAction::List => LIMITS[1],
        }
    }
}
