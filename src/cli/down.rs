//! `devrun down`: ends this worktree's stack, whoever started it, and returns when nothing of it is left.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::args;
use crate::context::Context;
use crate::control::{self, Claim, Record, State, registry, socket};
use crate::error::{Code, Exit, Report};
use crate::os::net;
use crate::ports::guard;
use crate::prepare;
use crate::supervisor::sweep;
use crate::ui::console::Console;
use crate::worktree::Worktree;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Down,
    as_json: bool,
) -> Result<Exit, Report> {
    let worktree = prepare::locate(ctx).await?;
    let limit = Duration::from_secs(args.timeout);
    let start = Instant::now();
    let stopped = match control::look(&worktree.state, limit).await? {
        // It is over by itself in a moment, and half of it would be worse.
        State::Running(Record { errand: Some(doing), pid, .. }) => {
            if !control::wait_until_free(&worktree.state, limit).await? {
                let message = format!("another devrun (pid {pid}) is still {doing}");
                return Err(Report::new(Code::AlreadyRunning, message).with_fix("try again in a moment"));
            }
            false
        }
        State::Running(record) => {
            stop(&worktree.state, &record, limit).await?;
            ports_free(&record, limit.saturating_sub(start.elapsed())).await?;
            true
        }
        State::Unknown => return Err(super::nobody_knows()),
        State::Free => false,
    };
    let left = match control::claim(&worktree.state)? {
        Some(claim) => clean_up(ctx, &worktree, &claim)?,
        None => 0,
    };
    let text = match (stopped, left) {
        (true, _) => "Stopped.\n".to_string(),
        (false, 0) => "Nothing runs in this worktree.\n".to_string(),
        (false, left) => format!("Ended {left} processes that an earlier run left behind.\n"),
    };
    let printed = if as_json {
        console.print_json(&json!({ "stopped": stopped, "leftovers": left }))
    } else {
        console.print(&text)
    };
    super::printed(printed)
}

/// Ends what a supervisor and a keeper left that were both killed: only its tag betrays it. Says how many processes that were.
pub(super) fn clean_up(ctx: &Context, worktree: &Worktree, claim: &Claim) -> Result<usize, Report> {
    if !claim.unclean {
        return Ok(0);
    }
    let tag = sweep::worktree_tag(&worktree.path);
    let left = sweep::kill_leftovers(&tag);
    for trace in [socket::path(&ctx.dirs, &tag), registry::file(&ctx.dirs, &tag)] {
        // Nobody finds anything by it any more.
        let _ = std::fs::remove_file(trace);
    }
    prepare::stop_unused_server(ctx, worktree)?;
    claim.clear();
    Ok(left)
}

async fn stop(state: &std::path::Path, record: &Record, limit: Duration) -> Result<(), Report> {
    // One whose keeper was killed takes everything down by itself, and the keeper's id may be another's by now.
    if record.is_current() {
        let _ = kill(Pid::from_raw(record.pid.cast_signed()), Signal::SIGTERM);
    }
    if control::wait_until_free(state, limit).await? {
        return Ok(());
    }
    Err(Report::new(Code::AlreadyRunning, format!("the stack did not end within {} s", limit.as_secs()))
        .with_fix(format!("kill -9 {}; what it leaves is cleaned up by the next `devrun`", record.pid)))
}

async fn ports_free(record: &Record, limit: Duration) -> Result<(), Report> {
    let start = Instant::now();
    loop {
        let Some(port) = record.ports.values().find(|port| !net::is_free(**port)) else { return Ok(()) };
        if start.elapsed() >= limit {
            let report = Report::new(
                Code::PortBusy,
                format!("port {port} is still held after everything was stopped"),
            );
            return Err(match guard::holder(*port) {
                Some(holder) => report.with_holder(holder),
                None => report,
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
