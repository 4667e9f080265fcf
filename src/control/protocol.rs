//! What client and supervisor say to each other: paths, bodies, versions. Values only.

use serde::{Deserialize, Serialize};

use crate::error::ErrorBody;

/// Before every path; another major version has another prefix.
pub const PREFIX: &str = "/v1";

/// What is asked of several processes, or of all when no name is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ask {
    /// Names of processes; empty means all.
    pub names: Vec<String>,
    /// How long to wait until it is done, in milliseconds.
    pub timeout_ms: u64,
}

/// How a failure is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong.
    pub error: ErrorBody,
}
