//! `devrun down`: ends this worktree's stack, in the foreground or not, and returns when all its processes are gone.

mod all;
mod mine;
mod strays;

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::args;
use super::running;
use crate::cleanup::leftovers;
use crate::context::Context;
use crate::control::client::Client;
use crate::control::record::Supervisor;
use crate::control::{self, LockHolder, RunRecord};
use crate::error::{Code, Exit, Holder, Report};
use crate::os::deadline::Deadline;
use crate::os::fs::{FsError, Lock, LockKind};
use crate::os::{net, proc, spawn};
use crate::ports::{self, port_holder};
use crate::prepare;
use crate::ui::console::Console;
use crate::worktree::Worktree;

/// How long the command waits before it prints a note.
const SILENCE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(10);
/// How long devrun may take to end after SIGKILL: its keeper kills the remaining processes first, for at most 10 s.
const LEAVING: Duration = Duration::from_secs(12);

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Down,
    as_json: bool,
) -> Result<Exit, Report> {
    if args.all {
        return all::run(ctx, console, args, as_json).await;
    }
    if args.mine {
        return mine::run(ctx, console, args, as_json).await;
    }
    if args.strays {
        return strays::run(ctx, console, args, as_json).await;
    }
    let worktree = prepare::locate(ctx).await?;
    let stopped = take_down(ctx, &worktree, args.timeout).await?;
    super::printed(if as_json {
        let Stopped { has_run, leftovers, killed } = stopped;
        console.print_json(&json!({ "stopped": has_run, "leftovers": leftovers, "killed": killed }))
    } else {
        console.print(&stopped.text())
    })
}

/// The result of [`take_down`].
struct Stopped {
    /// True if a stack ran.
    has_run: bool,
    /// The number of processes of an earlier run that were killed.
    leftovers: usize,
    /// The ids of the devrun processes that had to be killed.
    killed: Vec<u32>,
}

impl Stopped {
    /// Returns true if there was nothing to do.
    fn is_nothing(&self) -> bool {
        !self.has_run && self.leftovers == 0
    }

    /// Returns a line for people.
    fn text(&self) -> String {
        match (self.has_run, self.leftovers) {
            (true, _) if !self.killed.is_empty() => "Killed.\n".to_string(),
            (true, _) => "Stopped.\n".to_string(),
            (false, 0) => "Nothing runs in this worktree.\n".to_string(),
            (false, 1) => "Ended 1 process that an earlier run left behind.\n".to_string(),
            (false, left) => format!("Ended {left} processes that an earlier run left behind.\n"),
        }
    }
}

/// Ends the stack of `worktree`, and removes what an earlier run left. Returns when the processes are gone and the ports are free.
/// After `timeout` seconds, kills a devrun that does not answer or has no process left, and errors if processes have not ended.
async fn take_down(ctx: &Context, worktree: &Worktree, timeout: u64) -> Result<Stopped, Report> {
    let deadline = Deadline::within(Duration::from_secs(timeout));
    let mut killed = Vec::new();
    let stopped = match control::lock_holder(&worktree.state, deadline.left()).await? {
        // The task ends soon by itself, and stopping it halfway would do harm.
        LockHolder::Running(RunRecord { task: Some(doing), pid, .. }) => {
            if !control::wait_until_free(&worktree.state, deadline.left()).await? {
                let message = format!("another devrun did not end within {} s", deadline.limit.as_secs());
                return Err(Report::new(Code::TimedOut, message)
                    .with_cause(format!("it (pid {pid}) is still {doing}"))
                    .with_fix("try again in a moment"));
            }
            false
        }
        LockHolder::Running(record) => {
            let ended = tokio::select! {
                ended = end(&worktree.state, &record, deadline) => ended?,
                never = announce_wait(ctx, &record) => match never {},
            };
            if !ended {
                match running::still_there(&record).await {
                    Some(names) if !names.is_empty() => return Err(late(&record, &names, deadline.limit)),
                    // The supervisor does not answer, or all its processes have ended.
                    _ => killed = kill_both(ctx, &worktree.state, &record, deadline.limit).await?,
                }
            }
            let ports = if killed.is_empty() { deadline } else { Deadline::within(LEAVING) };
            ports_free(&worktree.state, &record, ports).await?;
            true
        }
        LockHolder::Unknown => return Err(super::unknown_lock_holder()),
        LockHolder::Free => false,
    };
    let leftovers = match control::claim(&worktree.state)? {
        Some(claim) => leftovers::end_run(ctx, worktree, &claim)?,
        None => 0,
    };
    Ok(Stopped { has_run: stopped, leftovers, killed })
}

/// Ends the stack of `known`. Returns false if it still runs at `deadline`.
async fn end(state: &Path, known: &RunRecord, deadline: Deadline) -> Result<bool, FsError> {
    // Holds a lock until the stack is marked as ending: a second `down` would send a second signal, which means "kill
    // now".
    let turn = match Lock::take(&state.join("down.lock"), LockKind::Exclusive, deadline.left()).await {
        Ok(turn) => turn,
        Err(FsError::Locked { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut asked = false;
    loop {
        match control::lock_holder(state, Duration::ZERO).await? {
            LockHolder::Running(record) if record.pid == known.pid && !asked => {
                request_end(&record).await;
                asked = true;
                if record.ending {
                    break;
                }
            }
            LockHolder::Running(record) if record.pid == known.pid && !record.ending => {}
            LockHolder::Unknown => {}
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

/// Sends SIGTERM, unless the stack is already ending, and SIGCONT, because a stopped process (Ctrl-Z) cannot end. Asks a stack in
/// another pid namespace through its socket, because its process ids name other processes here.
async fn request_end(record: &RunRecord) {
    if record.is_elsewhere() {
        if let Some(socket) = &record.socket {
            // The caller waits for the end in any case.
            let _ = Client::new(socket).down().await;
        }
        return;
    }
    // The keeper may be gone, and another process may have its id.
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

/// Kills the supervisor, after which the keeper kills the remaining processes. Kills the keeper too if that is not
/// enough. Returns the ids of the killed processes. Errors if the stack still does not end, or runs in another pid namespace.
async fn kill_both(
    ctx: &Context,
    state: &Path,
    record: &RunRecord,
    limit: Duration,
) -> Result<Vec<u32>, Report> {
    if let Some(namespace) = record.namespace.as_ref().filter(|_| record.is_elsewhere()) {
        let message = format!("the stack did not end within {} s", limit.as_secs());
        return Err(Report::new(Code::TimedOut, message)
            .with_cause(format!("it runs in another pid namespace ({namespace}), a container or sandbox"))
            .with_fix("run `devrun down` in there, or end the container"));
    }
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

/// After a second, prints once what the command still waits for. Sends the stack one more SIGTERM when all its processes have ended.
/// Never returns.
async fn announce_wait(ctx: &Context, record: &RunRecord) -> std::convert::Infallible {
    let start = Instant::now();
    tokio::time::sleep(SILENCE).await;
    let mut there = running::still_there(record).await;
    let who = match &there {
        Some(names) if !names.is_empty() => names.join(", "),
        _ => format!("devrun (pid {})", record.pid),
    };
    let since = start.elapsed().as_secs_f64();
    ctx.events.note(format!("still waiting for {who} to end ({since:.0} s)"));
    // A busy supervisor may not answer at once.
    while there.is_none_or(|names| !names.is_empty()) {
        tokio::time::sleep(SILENCE).await;
        there = running::still_there(record).await;
    }
    if record.is_current() && !record.is_elsewhere() {
        // The supervisor waits until its output is read, and no process is left that a second signal could cut short.
        let _ = kill(Pid::from_raw(record.pid.cast_signed()), Signal::SIGTERM);
    }
    std::future::pending().await
}

/// Returns the error for a stack whose processes `names` have not ended in time. The fix kills the supervisor, because the
/// keeper kills the rest once the supervisor is gone.
fn late(record: &RunRecord, names: &[String], limit: Duration) -> Report {
    let pid = record.supervisor.map_or(record.pid, |supervisor| supervisor.pid);
    let place = record.namespace.as_ref().filter(|_| record.is_elsewhere());
    let place = place.map_or_else(String::new, |namespace| format!(" in the pid namespace {namespace}"));
    Report::new(Code::TimedOut, format!("the stack did not end within {} s", limit.as_secs()))
        .with_cause(format!("still there: {}", names.join(", ")))
        .with_fix(format!(
            "kill -9 {pid}{place} ends everything at once; `devrun down --timeout SECONDS` waits longer"
        ))
}

/// Waits until the ports of `record` are free, or the next stack has started. Errors at `deadline`.
async fn ports_free(state: &Path, record: &RunRecord, deadline: Deadline) -> Result<(), Report> {
    loop {
        let Some(port) = record.ports.values().find(|port| !net::is_free(**port)) else { return Ok(()) };
        if !matches!(control::lock_holder(state, Duration::ZERO).await?, LockHolder::Free) {
            return Ok(());
        }
        if deadline.left().is_zero() {
            return Err(still_held(*port, port_holder::of(*port)));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the error for a port that `holder` still has after the end of the stack.
fn still_held(port: u16, holder: Option<Holder>) -> Report {
    let message = format!("port {port} is still held after everything was stopped");
    let report = Report::new(Code::PortBusy, message);
    match holder {
        Some(holder) => {
            let end = ports::how_to_end(&holder);
            report.with_holder(holder).with_fix(end)
        }
        None => report.with_fix(format!("`ss -lntp 'sport = :{port}'`, as root, names its holder")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_stays_busy_has_a_next_step() {
        let holder = Holder { pid: Some(7), command: Some("node x".into()), ..Holder::default() };
        assert_eq!(still_held(3147, Some(holder)).fix.as_deref(), Some("stop pid 7 (`kill 7`)"));
        assert!(still_held(3147, None).fix.is_some_and(|fix| fix.contains("sport = :3147")));
    }
}
