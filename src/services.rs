//! Prepares the services of a worktree before a run: creates the folders of their data, and checks the Redis that several worktrees
//! share.
//!
//! Receives values, never the configuration. Starts no process: the supervisor runs a service like any other process.

pub mod data;
pub mod error;
mod resp;
pub mod shared_redis;

pub use error::ServiceError;
