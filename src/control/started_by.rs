//! Describes what started a stack, and the session that it belongs to. Only values.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::os::process_identity::ProcessIdentity;

/// The kind of program that called devrun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StarterKind {
    /// A user at a terminal.
    Terminal,
    /// A coding agent.
    Agent,
    /// A hook of git or of an agent.
    Hook,
    /// Another program.
    Other,
}

/// The program that started a stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StartedBy {
    /// The kind of program that called devrun.
    pub kind: StarterKind,
    /// The name of the agent, if one was recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

impl std::fmt::Display for StartedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let agent = self.agent.as_deref();
        match self.kind {
            StarterKind::Terminal => f.write_str("terminal"),
            StarterKind::Agent => f.write_str(agent.unwrap_or("agent")),
            StarterKind::Hook => match agent {
                Some(agent) => write!(f, "hook ({agent})"),
                None => f.write_str("hook"),
            },
            StarterKind::Other => f.write_str("a program"),
        }
    }
}

/// The identity of a session. Two commands with the same value belong to one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Session {
    /// The process that the stack is bound to.
    Bound(ProcessIdentity),
    /// A session of an agent: a hash of the variable that names it.
    Agent(String),
    /// The process of an agent that does not name its sessions.
    Process(ProcessIdentity),
    /// The leader of a session of the system, usually the shell of a terminal.
    Leader(ProcessIdentity),
}
