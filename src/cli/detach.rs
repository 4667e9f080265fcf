//! `devrun up -d`: runs the stack in the background. Starts another devrun, or finds the one that runs, and returns
//! when the stack is ready. `devrun with` and `devrun new --up` use the same steps.

use std::cell::Cell;
use std::fs::File;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::args;
use super::caller::{self, Caller};
use super::own_program::{self, this_program};
use super::up::replace;
use crate::context::Context;
use crate::control::client::Client;
use crate::control::protocol::Ask;
use crate::control::status::{BoundTo, Changed, Status};
use crate::control::{self, LockHolder, RunRecord};
use crate::error::{Code, Exit, REPLACE_SERVER, RERUN, Report, START};
use crate::event::Ending;
use crate::logs;
use crate::os::cmd::{Cmd, Detached};
use crate::os::deadline::Deadline;
use crate::os::{fs, read};
use crate::prepare;
use crate::supervisor::process_binding::ProcessBinding;
use crate::ui::console::Console;
use crate::worktree::Worktree;

/// How long the holder of the worktree's lock may take to write its record.
const RECORD_LIMIT: Duration = Duration::from_secs(30);
/// The least time that a new devrun gets until it has a socket, however short the timeout is.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// How long a supervisor may take to send its status before a stack is bound again, or after a start that failed.
const NOTICES: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(5);
/// The longest timeout that the command line accepts.
const LONGEST: Duration = Duration::from_hours(24);

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Up,
    as_json: bool,
) -> Result<Exit, Report> {
    let worktree = prepare::locate(ctx).await?;
    let started = StartedStack::default();
    let status = bring_up(ctx, console, args, as_json, &worktree, &started).await?;
    super::status::show_after(ctx, console, status, as_json)
}

/// The stack that a call of [`bring_up`] has started itself.
#[derive(Debug, Default)]
pub(super) struct StartedStack {
    keeper: Cell<Option<u32>>,
    /// The process that the stack is bound to if this call starts it. A stack that ran before is not bound to it.
    binding: Option<ProcessBinding>,
}

impl StartedStack {
    /// Returns a value with which [`bring_up`] starts a stack that ends as soon as this process ends, also if it is killed.
    pub(super) fn bound_to_this_process() -> StartedStack {
        // Where the system does not show processes, the stack outlives a killed devrun.
        let binding = caller::binding(std::process::id(), 0).ok();
        StartedStack { binding, ..StartedStack::default() }
    }

    /// Returns the process id in the record of that stack. `None` if another devrun had started the stack before.
    pub(super) fn pid(&self) -> Option<u32> {
        self.keeper.get()
    }
}

/// Starts the stack of `worktree` in the background, or finds the one that runs. Waits until it is ready, unless
/// `--no-wait` was given, and returns its status. Sets `started` as soon as another devrun runs in the background; if this
/// future is dropped before that devrun has a socket, that devrun gets SIGTERM.
pub(super) async fn bring_up(
    ctx: &Context,
    console: &Console,
    args: &args::Up,
    as_json: bool,
    worktree: &Worktree,
    started: &StartedStack,
) -> Result<Status, Report> {
    let deadline = Deadline::within(Duration::from_secs(args.timeout));
    let pid =
        args.with_pid.or_else(|| args.with_parent.then(|| nix::unistd::getppid().as_raw().cast_unsigned()));
    let binding = pid.map(|pid| caller::binding(pid, args.grace)).transpose()?;
    let record = loop {
        match control::lock_holder(&worktree.state, deadline.left().min(RECORD_LIMIT)).await? {
            LockHolder::Running(record) if record.ends_by_itself() => {
                give_way(ctx, worktree, &record, deadline).await?;
            }
            LockHolder::Running(record) => {
                ctx.events.note(format!("already running (pid {})", record.pid));
                if args.replace {
                    ctx.events
                        .warn(format!("--replace ends nothing while the stack runs: `{REPLACE_SERVER}`"));
                }
                bind_again(ctx, &record, binding.as_ref()).await?;
                if !record.is_elsewhere() {
                    restart_server(ctx).await?;
                }
                break record;
            }
            LockHolder::Unknown => return Err(super::unknown_lock_holder()),
            LockHolder::Free => {
                if args.replace {
                    replace::run(ctx, console, worktree, args.yes, as_json).await?;
                }
                let caller =
                    Caller::of(ctx, std::process::id()).bound_to(binding.or_else(|| started.binding.clone()));
                break begin(ctx, args, &caller, worktree, deadline, started).await?;
            }
        }
    };
    let client = Client::new(record.socket()?);
    if args.no_wait {
        return client.status().await;
    }
    match client.post("/wait", &Ask::within(Vec::new(), deadline.left())).await {
        Ok(status) => {
            if started.pid().is_some() {
                status.fetched.iter().for_each(|text| ctx.events.note(text));
            }
            Ok(status)
        }
        Err(report) => {
            let report = super::running::reason(worktree, report, deadline.left()).await;
            let known = match started.pid() {
                Some(_) => client.known_within(NOTICES).await.ok(),
                // The files of a stack that ran before may have changed since its start.
                None => client.status().await.ok(),
            };
            let status = known.or_else(|| control::last(&worktree.state));
            let changed = status.as_ref().and_then(|status| status.changed.clone());
            super::up::print_notices(ctx, status.map(|status| status.notices).unwrap_or_default());
            Err(match changed {
                Some(changed) => of_older_files(report, &changed),
                None => report,
            })
        }
    }
}

/// Adds to the cause of `report` that files have `changed` since the start, and replaces its fix by that of `changed`: only a new start
/// shows whether the reason still holds.
fn of_older_files(report: Report, changed: &Changed) -> Report {
    let cause: Vec<String> = report.cause.into_iter().chain([changed.notice().text]).collect();
    Report { cause: Some(cause.join("\n")), fix: Some(changed.fix.clone()), ..report }
}

/// Starts the database server of a running stack again if it was killed.
pub(super) async fn restart_server(ctx: &Context) -> Result<(), Report> {
    if prepare::restart_killed_server(ctx).await? {
        ctx.events.note("the database server was not running; it was started again");
    }
    Ok(())
}

/// Binds the running stack of `record` to the process of `binding` if this session started the stack, or if the process that the stack
/// is bound to is gone. Without `binding`, ends the binding to a process that is gone, because the stack would end while it is used.
/// Errors if `binding` is given and the stack runs in another pid namespace.
async fn bind_again(
    ctx: &Context,
    record: &RunRecord,
    binding: Option<&ProcessBinding>,
) -> Result<(), Report> {
    if binding.is_some() && record.is_elsewhere() {
        let message = "the stack runs in another pid namespace, where the process has another id";
        return Err(Report::new(Code::Usage, message).with_fix("devrun up -d"));
    }
    // A stack that does not answer is reported by the wait that follows.
    let Ok(socket) = record.socket() else { return Ok(()) };
    let Ok(status) = Client::new(socket).known_within(NOTICES).await else { return Ok(()) };
    let gone = status.bound_to.as_ref().filter(|bound| bound.ends_at.is_some());
    let is_own = || {
        let caller = Caller::of(ctx, std::process::id());
        record.session.as_ref().is_some_and(|session| caller.is_same_session(session))
    };
    match (binding, gone) {
        (Some(binding), gone) if gone.is_some() || is_own() => {
            Client::new(socket).bind(Some(binding.clone())).await?;
        }
        (Some(binding), _) => {
            let pid = binding.process.pid;
            ctx.events.note(format!("another session started the stack: it is not bound to process {pid}"));
        }
        (None, Some(BoundTo { name, pid, .. })) => {
            Client::new(socket).bind(None).await?;
            ctx.events.note(format!("{name} (pid {pid}) is gone; the stack is no longer bound to it"));
        }
        (None, None) => {}
    }
    Ok(())
}

/// Returns the error for a timeout before a stack was started.
fn late(deadline: Deadline, cause: String) -> Report {
    Report::new(Code::TimedOut, format!("nothing was started within {} s", deadline.limit.as_secs()))
        .with_cause(cause)
        .with_fix(format!("{START} --timeout {}", (deadline.limit * 2).min(LONGEST).as_secs()))
}

/// Waits until the stack or task that holds the lock has ended. Starts nothing before that, so that after a timeout no
/// stack starts later by itself. Errors if `deadline` passes first.
async fn give_way(
    ctx: &Context,
    worktree: &Worktree,
    record: &RunRecord,
    deadline: Deadline,
) -> Result<(), Report> {
    let doing = record.doing();
    ctx.events.note(format!("{doing}: waiting for its end"));
    if control::wait_for_turn(&worktree.state, record.pid, deadline.left()).await? {
        return Ok(());
    }
    let names = super::running::still_there(record).await.unwrap_or_default();
    let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    Err(late(deadline, format!("{doing}{names}")))
}

/// Starts a devrun in the background and waits until it, or another that was faster, has a socket. Returns its record.
/// Errors if it ends or takes too long.
async fn begin(
    ctx: &Context,
    args: &args::Up,
    caller: &Caller,
    worktree: &Worktree,
    deadline: Deadline,
    started: &StartedStack,
) -> Result<RunRecord, Report> {
    fs::make_private_dir(&worktree.state)?;
    let log = worktree.state.join("up.log");
    let unusable = |source| fs::FsError::Io { action: "write", path: log.clone(), source };
    let err = File::create(&log).map_err(unusable)?;
    let this = this_program()?;
    let cmd = Cmd::new(this)
        .arg("up")
        .args(args.strict_ports.then_some("--strict-ports"))
        .args(args.strict_isolation.map(|strict| format!("--strict-isolation={strict}")))
        .args(args.allow_parent.then_some("--allow-parent"))
        .arg("--caller")
        .arg(serde_json::to_string(caller).unwrap_or_default())
        .directory(&worktree.path)
        .only_env(&ctx.env);
    let before = control::last_written(&worktree.state);
    let child = cmd
        .detach(std::process::Stdio::null(), err)
        .map_err(|error| own_program::not_in_background(&error))?;
    started.keeper.set(Some(child.pid));
    let mut starting = StartingDevrun(Some(child));
    let (start, enough) = (Instant::now(), deadline.left().max(FIRST_ANSWER));
    loop {
        let Some(child) = &starting.0 else {
            return Err(Report::bug("the devrun in the background is lost"));
        };
        // Read before the lock: a devrun that ends in between is seen in the next round.
        let over = child.ended.is_finished();
        let state = control::lock_holder(&worktree.state, Duration::ZERO).await?;
        let is_late = start.elapsed() >= enough;
        match state {
            LockHolder::Running(record) if !record.ends_by_itself() && record.socket.is_some() => {
                if record.pid != child.pid {
                    started.keeper.set(None);
                }
                starting.0 = None;
                return Ok(record);
            }
            LockHolder::Free if over => {
                let Some(child) = starting.0.take() else { continue };
                return Err(failed(worktree, before, &log, child).await);
            }
            LockHolder::Unknown if over && (is_late || start.elapsed() >= RECORD_LIMIT) => {
                return Err(super::unknown_lock_holder());
            }
            _ if !is_late => tokio::time::sleep(POLL).await,
            LockHolder::Running(record) if record.pid == child.pid => {
                // A second signal would mean "kill now".
                starting.0 = None;
                let message = "the stack that was started is being taken down";
                return Err(Report::new(Code::NotRunning, message).with_fix("devrun why"));
            }
            // Dropping `starting` ends the devrun, or the stack would start after the command has failed.
            _ => return Err(late(deadline, "the devrun in the background did not start in time".into())),
        }
    }
}

/// A devrun in the background that has no socket yet. Dropping this value sends it SIGTERM unless it has ended.
struct StartingDevrun(Option<Detached>);

impl Drop for StartingDevrun {
    fn drop(&mut self) {
        if let Some(child) = self.0.take().filter(|child| !child.ended.is_finished()) {
            let _ = kill(Pid::from_raw(child.pid.cast_signed()), Signal::SIGTERM);
        }
    }
}

/// Returns why the devrun in the background ended. `before` is the version of the final status before it started. If
/// the version is still the same, the new devrun wrote no status, and the error quotes its output.
async fn failed(
    worktree: &Worktree,
    before: Option<control::FileVersion>,
    log: &std::path::Path,
    child: Detached,
) -> Report {
    let is_new = control::last_written(&worktree.state) != before;
    let last = control::last(&worktree.state).filter(|_| is_new);
    if let Some(error) = last.as_ref().and_then(Status::end) {
        return error.clone().into();
    }
    // The task that waits for the child fails only if it panics.
    let ending = child.ended.await.unwrap_or(Ending::Code(255));
    let said = read::tail(log, 64 << 10).unwrap_or_default();
    ended_early(ending, &String::from_utf8_lossy(&said))
}

fn ended_early(ending: Ending, said: &str) -> Report {
    own_program::ended_early(format!("the devrun in the background ended with {ending}"), ending, said)
        .with_fix(format!("`devrun logs {}` shows what it did; then {RERUN}", logs::OWN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;

    #[test]
    fn a_devrun_that_ends_in_the_background_is_not_blamed_on_the_code() {
        let killed = ended_early(Ending::Code(137), "");
        assert_eq!((killed.fault, killed.cause), (None, None));
        assert_eq!(
            killed.fix.as_deref(),
            Some("`devrun logs devrun` shows what it did; then run `devrun up -d`")
        );
        assert_eq!(ended_early(Ending::Code(101), "panicked").fault, Some(Fault::Devrun));
    }

    #[test]
    fn a_late_start_names_a_complete_command() {
        let report = late(Deadline::within(Duration::from_mins(10)), "slow".into());
        assert_eq!(report.fix.as_deref(), Some("devrun up -d --timeout 1200"));
    }
}
