//! `devrun down`: ends this worktree's stack, whoever started it, and returns when nothing of it is left.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::args;
use super::running;
use crate::context::Context;
use crate::control::record::Supervisor;
use crate::control::{self, Claim, Record, State, registry, socket};
use crate::error::{Code, Exit, Report};
use crate::os::deadline::Deadline;
use crate::os::fs::{FsError, Lock, LockKind};
use crate::os::{net, proc, spawn};
use crate::ports::guard;
use crate::prepare;
use crate::supervisor::sweep;
use crate::ui::console::Console;
use crate::worktree::Worktree;

/// How long is waited in silence.
const SILENCE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(10);
/// How long a killed devrun may take to go: its keeper kills what is left first, for at most 10 s.
const LEAVING: Duration = Duration::from_secs(12);

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Down,
    as_json: bool,
) -> Result<Exit, Report> {
    let worktree = prepare::locate(ctx).await?;
    let deadline = Deadline::within(Duration::from_secs(args.timeout));
    let mut killed = Vec::new();
    let stopped = match control::look(&worktree.state, deadline.left()).await? {
        // It is over by itself in a moment, and half of it would be worse.
        State::Running(Record { errand: Some(doing), pid, .. }) => {
            if !control::wait_until_free(&worktree.state, deadline.left()).await? {
                let message = format!("another devrun did not end within {} s", deadline.limit.as_secs());
                return Err(Report::new(Code::TimedOut, message)
                    .with_cause(format!("it (pid {pid}) is still {doing}"))
                    .with_fix("try again in a moment"));
            }
            false
        }
        State::Running(record) => {
            let ended = tokio::select! {
                ended = end(&worktree.state, &record, deadline) => ended?,
                never = tell(ctx, &record) => match never {},
            };
            if !ended {
                match running::still_there(&record).await {
                    Some(names) if !names.is_empty() => return Err(late(&record, &names, deadline.limit)),
                    // It does not answer, or has nothing left to wait for.
                    _ => killed = kill_both(ctx, &worktree.state, &record, deadline.limit).await?,
                }
            }
            let ports = if killed.is_empty() { deadline } else { Deadline::within(LEAVING) };
            ports_free(&worktree.state, &record, ports).await?;
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
        (true, _) if !killed.is_empty() => "Killed.\n".to_string(),
        (true, _) => "Stopped.\n".to_string(),
        (false, 0) => "Nothing runs in this worktree.\n".to_string(),
        (false, left) => format!("Ended {left} processes that an earlier run left behind.\n"),
    };
    let printed = if as_json {
        console.print_json(&json!({ "stopped": stopped, "leftovers": left, "killed": killed }))
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

/// Ends the stack that `known` tells of; false when it is still there after `deadline`.
async fn end(state: &Path, known: &Record, deadline: Deadline) -> Result<bool, FsError> {
    // One after the other, until it says that it is ending: a second signal would mean "now".
    let turn = match Lock::take(&state.join("down.lock"), LockKind::Exclusive, deadline.left()).await {
        Ok(turn) => turn,
        Err(FsError::Locked { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut asked = false;
    loop {
        match control::look(state, Duration::ZERO).await? {
            State::Running(record) if record.pid == known.pid && !asked => {
                ask(&record);
                asked = true;
                if record.ending {
                    break;
                }
            }
            State::Running(record) if record.pid == known.pid && !record.ending => {}
            State::Unknown => {}
            _ => break,
        }
        if deadline.left().is_zero() {
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
    drop(turn);
    control::wait_for_turn(state, known.pid, deadline.left()).await
}

/// Asks it to end, unless it is at it. One that was stopped (Ctrl-Z) must go on to do so.
fn ask(record: &Record) {
    // The keeper's id may be another's by now.
    let target = if record.is_current() {
        record.pid
    } else {
        match record.supervisor {
            Some(supervisor) if supervisor.lives() => supervisor.pid,
            _ => return,
        }
    };
    let target = Pid::from_raw(target.cast_signed());
    if !record.ending {
        let _ = kill(target, Signal::SIGTERM);
    }
    let _ = kill(target, Signal::SIGCONT);
}

/// Kills the supervisor, whose end makes the keeper kill everything else, and the keeper when that does not end it. Returns
/// the ids of what was killed, and says them.
async fn kill_both(
    ctx: &Context,
    state: &Path,
    record: &Record,
    limit: Duration,
) -> Result<Vec<u32>, Report> {
    let mut killed = Vec::new();
    let supervisor = record.supervisor.filter(Supervisor::lives).map(|found| (found.pid, found.born));
    let keeper = record.is_current().then_some((record.pid, record.born));
    let mut ended = false;
    for (pid, born) in supervisor.into_iter().chain(keeper) {
        let is_it = || proc::entry(pid).is_some_and(|entry| born == 0 || entry.started == born);
        if !ended && spawn::signal_exactly(pid, Signal::SIGKILL, is_it) {
            killed.push(pid);
            ended = control::wait_for_turn(state, record.pid, LEAVING).await?;
        }
    }
    let pids = killed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    if !ended {
        let message = format!("the stack did not end within {} s", limit.as_secs());
        let cause = if killed.is_empty() {
            "its devrun cannot be signalled".to_string()
        } else {
            format!("kill -9 of devrun (pid {pids}) did not end it: the system holds it in a call")
        };
        return Err(Report::new(Code::TimedOut, message)
            .with_cause(cause)
            .with_fix("check disks and network mounts, then run `devrun down` again"));
    }
    ctx.events.warn(format!("devrun (pid {pids}) did not end within {} s and was killed", limit.as_secs()));
    Ok(killed)
}

/// Says once who is awaited, when it takes long.
async fn tell(ctx: &Context, record: &Record) -> std::convert::Infallible {
    let start = Instant::now();
    tokio::time::sleep(SILENCE).await;
    let there = running::still_there(record).await;
    let who = match &there {
        Some(names) if !names.is_empty() => names.join(", "),
        _ => format!("devrun (pid {})", record.pid),
    };
    let since = start.elapsed().as_secs_f64();
    ctx.events.note(format!("waiting for {who} to end since {since:.0} s"));
    if there.is_some_and(|names| names.is_empty()) && record.is_current() {
        // It waits for somebody to read its output: there is nothing left that a second signal could cut short.
        let _ = kill(Pid::from_raw(record.pid.cast_signed()), Signal::SIGTERM);
    }
    std::future::pending().await
}

/// The report on a stack whose processes `names` still end. Killed alone, the supervisor leaves the rest to the keeper.
fn late(record: &Record, names: &[String], limit: Duration) -> Report {
    let pid = record.supervisor.map_or(record.pid, |supervisor| supervisor.pid);
    Report::new(Code::TimedOut, format!("the stack did not end within {} s", limit.as_secs()))
        .with_cause(format!("still there: {}", names.join(", ")))
        .with_fix(format!(
            "kill -9 {pid} ends everything at once; `devrun down --timeout SECONDS` waits longer"
        ))
}

/// Waits until nobody holds the ports that the stack of `record` had, or the next stack begins.
async fn ports_free(state: &Path, record: &Record, deadline: Deadline) -> Result<(), Report> {
    loop {
        let Some(port) = record.ports.values().find(|port| !net::is_free(**port)) else { return Ok(()) };
        if !matches!(control::look(state, Duration::ZERO).await?, State::Free) {
            return Ok(());
        }
        if deadline.left().is_zero() {
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
