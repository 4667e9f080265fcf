//! Wraps the operating system: subprocesses, file replacement, locks, sockets and the process table.
//!
//! Kept thin on purpose: it knows nothing of worktrees, plans or databases.

pub mod blocking;
pub mod cgroup;
pub mod cmd;
pub mod deadline;
pub mod fs;
pub mod matching;
pub mod net;
pub mod proc;
pub mod process_identity;
pub mod read;
pub mod spawn;
pub mod tcp;
pub mod usage;

/// Reports that a unit test cannot run here. Writes to standard error directly, because the harness hides the output of a test that
/// passes.
#[cfg(test)]
pub(crate) fn skip(why: &str) {
    use std::io::Write;
    let name = std::thread::current().name().unwrap_or("a test").to_string();
    let _ = std::io::stderr().write_all(format!("SKIPPED: {name}: {why}\n").as_bytes());
}
