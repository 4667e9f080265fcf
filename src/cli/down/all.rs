//! `devrun down --all`: takes down the stacks of all worktrees of this repository, at the same time.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{POLL, Stopped, take_down};
use crate::cleanup::facts::RunFacts;
use crate::cleanup::gather::repository_runs;
use crate::cleanup::leftovers::{self, Leftovers};
use crate::cli::{args, printed};
use crate::context::Context;
use crate::control::{self, LockHolder, socket};
use crate::error::{Code, Exit, Report};
use crate::os::deadline::Deadline;
use crate::ports::table;
use crate::prepare;
use crate::ui::console::Console;
use crate::ui::style::harmless;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Down,
    as_json: bool,
) -> Result<Exit, Report> {
    let own = prepare::locate(ctx).await?;
    let runs = repository_runs(ctx, &own).await?;
    let mut tasks = JoinSet::new();
    for run in runs.into_iter().filter(has_something) {
        let (ctx, timeout) = (ctx.clone(), args.timeout);
        tasks.spawn_local(async move { (run.worktree.clone(), end(&ctx, run, timeout).await) });
    }
    let mut ended: Vec<(PathBuf, Result<Stopped, Report>)> = Vec::new();
    while let Some(done) = tasks.join_next().await {
        ended.push(done.map_err(|error| Report::bug(error.to_string()))?);
    }
    report(console, ended, "Nothing runs in this repository.", as_json)
}

/// Prints the result of each stack, or `nothing` if there is none. If a stack has not ended, errors, or with JSON returns its exit code.
pub(super) fn report(
    console: &Console,
    mut ended: Vec<(PathBuf, Result<Stopped, Report>)>,
    nothing: &str,
    as_json: bool,
) -> Result<Exit, Report> {
    ended.sort_by(|(one, _), (other, _)| one.cmp(other));
    ended.retain(|(_, result)| !matches!(result, Ok(stopped) if stopped.is_nothing()));
    if as_json {
        printed(console.print_json(&json!({ "stacks": ended.iter().map(object).collect::<Vec<_>>() })))?;
        // The errors are in the answer.
        let failed = ended.iter().find_map(|(_, result)| Some(result.as_ref().err()?.exit));
        return Ok(failed.unwrap_or(Exit::Ok));
    }
    if ended.is_empty() {
        printed(console.print(&format!("{nothing}\n")))?;
        return Ok(Exit::Ok);
    }
    printed(console.print(&text(&ended)))?;
    let failed = ended.into_iter().find_map(|(path, result)| {
        let report = result.err()?;
        let message = format!("{}: {}", path.display(), report.message);
        Some(Report { message, ..report })
    });
    failed.map_or(Ok(Exit::Ok), Err)
}

/// Returns true if a stack runs there, or if a killed one left something.
fn has_something(run: &RunFacts) -> bool {
    run.runs || run.has_record || run.has_socket || run.entry.is_some() || !run.processes.is_empty()
}

async fn end(ctx: &Context, run: RunFacts, timeout: u64) -> Result<Stopped, Report> {
    if !run.is_gone {
        let there = Context { cwd: run.worktree.clone(), ..ctx.clone() };
        let stopped = match prepare::locate(&there).await {
            Ok(worktree) => take_down(ctx, &worktree, timeout).await,
            Err(report) => Err(report),
        };
        // A worktree that was removed during this call is treated like one that was gone before.
        if stopped.is_ok() || table::exists(&run.worktree) {
            return stopped;
        }
    }
    let leftovers = Leftovers::of(&ctx.dirs, &run.worktree);
    if run.runs {
        wait_for_end(&run, &leftovers, Deadline::within(Duration::from_secs(timeout))).await?;
    }
    let killed = run.entry.and_then(|entry| leftovers::end_orphaned(ctx, &entry)).unwrap_or(0);
    Ok(Stopped { has_run: run.runs, leftovers: killed, killed: Vec::new() })
}

/// Waits until the stack of a worktree that is gone has ended. Its supervisor notices that the worktree is gone and ends by
/// itself; another request would cut the grace periods of its processes short. Errors at `deadline`.
async fn wait_for_end(run: &RunFacts, leftovers: &Leftovers, deadline: Deadline) -> Result<(), Report> {
    loop {
        let is_free = match &run.state {
            Some(state) => matches!(control::lock_holder(state, Duration::ZERO).await?, LockHolder::Free),
            None => true,
        };
        if is_free && socket::is_deserted(&leftovers.socket).await {
            return Ok(());
        }
        if deadline.left().is_zero() {
            let seconds = deadline.limit.as_secs();
            let message = format!("the stack of a worktree that is gone did not end within {seconds} s");
            let report = Report::new(Code::TimedOut, message);
            let pids: Vec<String> = run.holders.iter().map(ToString::to_string).collect();
            return Err(if pids.is_empty() {
                report.with_fix("`devrun down --all --timeout SECONDS` waits longer")
            } else {
                report.with_fix(format!(
                    "`devrun down --all --timeout SECONDS` waits longer; kill -9 {} ends it at once",
                    pids.join(" ")
                ))
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

fn object((path, result): &(PathBuf, Result<Stopped, Report>)) -> Value {
    let worktree = path.to_string_lossy();
    match result {
        Ok(Stopped { has_run, leftovers, killed }) => {
            json!({ "worktree": worktree, "stopped": has_run, "leftovers": leftovers, "killed": killed })
        }
        Err(report) => json!({ "worktree": worktree, "stopped": false, "error": report.message }),
    }
}

fn text(ended: &[(PathBuf, Result<Stopped, Report>)]) -> String {
    let line = |(path, result): &(PathBuf, Result<Stopped, Report>)| {
        let path = harmless(&path.to_string_lossy());
        match result {
            Ok(stopped) => format!("{path}: {}", stopped.text()),
            Err(report) => format!("{path}: {}\n", harmless(&report.message)),
        }
    };
    ended.iter().map(line).collect()
}
