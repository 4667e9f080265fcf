//! Runs a plan: starts its processes when their time has come, watches, restarts and stops them, and leaves nothing.
//!
//! Knows a [`crate::plan::Plan`] and nothing of git, YAML, databases or port hashing. What happens is decided by a pure
//! state machine (`machine`); `run` carries its decisions out.

pub mod backoff;
pub mod diagnosis;
pub mod group;
pub mod handover;
pub mod keeper;
pub mod machine;
pub mod output;
pub mod readiness;
pub mod removal;
pub mod run;
pub mod signals;
pub mod sweep;
pub mod terminals;
pub mod watchdog;
