//! `devrun with -- COMMAND`: brings the stack up, runs a command in its environment, and takes the stack down if it was
//! not running before. Exits with the command's own status.

mod saved_logs;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::saved_logs::SavedLogs;
use super::args;
use super::detach::{self, StartedStack};
use super::exec::StackCommand;
use super::take_down;
use crate::context::Context;
use crate::control::{self, LockHolder, status::Status};
use crate::error::{Exit, Report};
use crate::logs::Timestamp;
use crate::prepare;
use crate::supervisor::state_machine::Outcome;
use crate::supervisor::stop_requests::StopRequests;
use crate::ui::console::Console;
use crate::worktree::Worktree;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::With,
    as_json: bool,
) -> Result<Exit, Report> {
    let mut stops = StopRequests::listen(None).map_err(super::db::deaf)?;
    let worktree = prepare::locate(ctx).await?;
    let logs = args.logs.as_ref().map(|folder| SavedLogs::begin(&ctx.cwd.join(folder), now())).transpose()?;
    let started = StartedStack::bound_to_this_process();
    let up = Box::pin(up(ctx, console, args, as_json, &worktree, &started));
    let ready = tokio::select! {
        biased;
        why = stops.next() => Ok(Some(Outcome::from(why).exit)),
        ready = up => ready.map(|()| None),
    };
    let result = match ready {
        Ok(Some(exit)) => Ok(exit),
        Ok(None) => {
            let result = command(ctx, console, args, stops).await;
            if let Some(pid) = started.pid() {
                warn_of_early_end(ctx, &worktree, pid).await;
            }
            result
        }
        Err(report) => Err(report),
    };
    if let Some(pid) = started.pid()
        && let Err(report) = take_down::stack_of(ctx, &worktree, pid).await
    {
        let cause = report.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        ctx.events.warn(format!("{}{cause}", report.message));
    }
    if let Some(error) = logs.and_then(|logs| logs.save(&worktree.state).err()) {
        ctx.events.warn(error.message);
    }
    result
}

/// Resets the database on request, and brings the stack up.
async fn up(
    ctx: &Context,
    console: &Console,
    args: &args::With,
    as_json: bool,
    worktree: &Worktree,
    started: &StartedStack,
) -> Result<(), Report> {
    if args.fresh
        && let Some(name) = super::db::reset::own_database(ctx).await?
    {
        ctx.events.note(format!("{name} is a copy of its parent again"));
    }
    let up = args::Up { detach: true, timeout: args.timeout, ..args::Up::default() };
    let status = detach::bring_up(ctx, console, &up, as_json, worktree, started).await?;
    if let Some(changed) = status.changed {
        ctx.events.warn(format!("{}: {}", changed.notice().text, changed.fix));
    }
    Ok(())
}

/// Runs the command and returns its status.
async fn command(
    ctx: &Context,
    console: &Console,
    args: &args::With,
    stops: StopRequests,
) -> Result<Exit, Report> {
    let command = StackCommand::resolve(ctx, &args.command).await?;
    // The command writes to the same terminal.
    console.flush();
    command.run_to_end(ctx, &args.command, stops).await
}

/// Warns if the stack that this command started has ended by itself, which may explain why the command failed.
async fn warn_of_early_end(ctx: &Context, worktree: &Worktree, pid: u32) {
    let holder = control::lock_holder(&worktree.state, Duration::ZERO).await;
    if !matches!(holder, Ok(LockHolder::Free)) {
        return;
    }
    let last = control::last(&worktree.state);
    if let Some(end) = last.as_ref().and_then(Status::end) {
        ctx.events.warn(format!("the stack (pid {pid}) has ended: {}", end.message));
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::at(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
