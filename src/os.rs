//! Wraps the operating system: subprocesses, control groups, limited reads, file replacement, locks, sockets and the process table.
//!
//! Kept thin on purpose: it contains nothing about worktrees or databases.

pub mod blocking;
pub mod cgroup;
pub mod clock;
pub mod cmd;
pub mod deadline;
pub mod fs;
pub mod glob;
pub mod net;
pub mod proc;
pub mod process_identity;
pub mod read;
pub mod spawn;
pub mod start_obstacle;
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

/// Reports that a unit test is skipped because `tool` is missing. Panics if `DEVRUN_TEST_REQUIRE` names the tool, as
/// `scripts/test` does in CI for each tool that is installed.
#[cfg(test)]
pub(crate) fn skip_without(tool: &str) {
    let required = std::env::var("DEVRUN_TEST_REQUIRE").unwrap_or_default();
    assert!(
        !required.split_whitespace().any(|name| name == tool),
        "there is no {tool}, and it is required: {required}"
    );
    skip(&format!("there is no {tool}"));
}
