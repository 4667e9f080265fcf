//! One supervisor per worktree, many who ask: the lock that says so, the record of what runs, the socket to ask at.
//!
//! Refuses to start or stop processes itself: it tells who may, and hands orders to the supervisor.

pub mod attach;
pub mod client;
pub mod desk;
pub mod openapi;
pub mod overview;
pub mod protocol;
pub mod record;
pub mod registry;
pub mod server;
pub mod socket;
pub mod status;
pub mod story;

pub use record::{
    Claim, Journal, Record, State, Written, claim, is_state_of, last, last_written, look, wait_for_turn,
    wait_until_free,
};

/// `path`, if it is a file by which a supervisor is found; only the holder of the worktree's lock may remove it.
pub fn trace(path: &std::path::Path) -> Option<&std::path::Path> {
    let ending = path.extension()?.to_str()?;
    matches!(ending, "sock" | "stack").then_some(path)
}
