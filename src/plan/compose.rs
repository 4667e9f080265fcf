//! A service of a compose file, compared with the services of the worktree. Values only.

use serde::Serialize;

use super::FileLine;

/// A service of a compose file that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComposeService {
    /// Its name in the compose file.
    pub name: String,
    /// Where it is written.
    pub at: FileLine,
    pub image: Option<String>,
    /// The ports that it publishes on this machine, which are the same for every worktree.
    pub ports: Vec<u16>,
    /// The part of the stack that takes its place; absent if it remains for a container engine.
    pub provided_by: Option<ComposeProvider>,
}

/// The part of the stack that takes the place of a compose service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ComposeProvider {
    /// The branch database.
    Database,
    /// A server that several worktrees share, by the name of its service.
    Shared(String),
    /// A process or service.
    Process(String),
}
