//! The protocol between client and supervisor: its version and bodies. Contains only values.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ErrorBody;
use crate::supervisor::process_binding::ProcessBinding;

/// The prefix of every path. Each major version of the protocol has its own.
pub const PREFIX: &str = "/v1";

/// A request about some processes, or about all when no name is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Ask {
    /// Names of processes; empty means all.
    pub names: Vec<String>,
    /// How long the supervisor waits until the request is done, in milliseconds.
    pub timeout_ms: u64,
}

impl Ask {
    /// Returns a request about the processes `names` with `left` as its timeout.
    pub fn within(names: Vec<String>, left: Duration) -> Ask {
        Ask { names, timeout_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Returns the timeout.
    pub fn limit(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// A request to bind the stack to a process, or to no process any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Bind {
    /// The process; without it, the stack is bound to none.
    pub binding: Option<ProcessBinding>,
}

/// The body of an answer that reports an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// The error.
    pub error: ErrorBody,
}
