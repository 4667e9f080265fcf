//! The door to the operating system: every subprocess, file replacement, lock, socket and process-table question.
//!
//! Thin on purpose: it knows nothing of worktrees, plans or databases.

pub mod blocking;
pub mod cmd;
pub mod deadline;
pub mod fs;
pub mod net;
pub mod proc;
pub mod read;
pub mod spawn;
pub mod tcp;
pub mod usage;
