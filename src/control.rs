//! One supervisor per worktree: the lock that says so, and the record of what runs.
//!
//! Refuses to start or stop processes: it tells who may, and who is there already.

pub mod record;

pub use record::{Claim, Journal, Record, State, claim, look, wait_until_free};
