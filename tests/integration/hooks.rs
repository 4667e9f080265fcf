//! `devrun hook`, with real git and the real devrun.

use crate::support::{LIMIT, Sandbox, wait_for};

#[path = "hooks/agent.rs"]
mod agent;
#[path = "hooks/post_checkout.rs"]
mod post_checkout;

/// Waits until no process of the sandbox runs: the preparation in the background has ended.
#[track_caller]
fn wait_for_background(sandbox: &Sandbox) {
    // One search can miss a new process whose parent ends after `/proc` was listed and before the parent is read.
    let mut empty = 0;
    wait_for("the end of the background processes", LIMIT, || {
        let processes = sandbox.processes();
        empty = if processes.is_empty() { empty + 1 } else { 0 };
        if empty == 5 { Ok(()) } else { Err(format!("{} processes", processes.len())) }
    });
}
