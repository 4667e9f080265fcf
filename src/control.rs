//! The control of a running stack: the lock that allows one supervisor per worktree, the record of the run, and the
//! socket on which the supervisor answers clients.
//!
//! This module does not start or stop processes. It passes requests to the supervisor.

pub mod attach;
pub mod client;
pub mod events;
pub mod openapi;
pub mod overview;
pub mod protocol;
pub mod record;
pub mod registry;
mod reprobe;
pub mod routes;
pub mod server;
pub mod socket;
pub mod stack_handle;
pub mod started_by;
pub mod status;

pub use record::{
    Claim, FileVersion, Journal, LockHolder, RunRecord, claim, is_state_of, last, last_written, lock_holder,
    wait_for_turn, wait_until_free,
};
