//! `devrun down --mine`: takes down the stacks that this session started, in all repositories, at the same time.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{Stopped, all, take_down};
use crate::cleanup::leftovers::Leftovers;
use crate::cli::args;
use crate::cli::caller::Caller;
use crate::context::Context;
use crate::control::{self, LockHolder, registry};
use crate::error::{Exit, Report};
use crate::event::Events;
use crate::prepare;
use crate::ui::console::Console;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Down,
    as_json: bool,
) -> Result<Exit, Report> {
    let caller = Caller::of(ctx, std::process::id());
    let mut entries = registry::entries(&ctx.dirs);
    // The entry of this worktree may have been removed with the runtime folder. Outside of a worktree there is nothing to add.
    let quiet = Context { events: Events::discarded(), ..ctx.clone() };
    if let Ok(own) = prepare::locate(&quiet).await
        && entries.iter().all(|entry| entry.worktree != own.path)
    {
        entries.push(Leftovers::of(&ctx.dirs, &own.path).registry_entry(&own, Vec::new()));
    }
    let mut tasks = JoinSet::new();
    let mut others = 0;
    for entry in entries {
        let Ok(LockHolder::Running(record)) = control::lock_holder(&entry.state, Duration::ZERO).await else {
            continue;
        };
        let is_mine = record.session.as_ref().is_some_and(|session| caller.is_same_session(session));
        // The process ids of another namespace mean other processes here.
        let is_stack = record.task.is_none() && record.is_of(&entry.worktree);
        others += usize::from(is_stack && !is_mine);
        if !is_mine || !is_stack || record.is_elsewhere() {
            continue;
        }
        let (ctx, timeout) = (Context { cwd: entry.worktree, ..ctx.clone() }, args.timeout);
        tasks.spawn_local(async move {
            let ended = match prepare::locate(&ctx).await {
                Ok(worktree) => take_down(&ctx, &worktree, timeout).await,
                Err(error) => Err(error),
            };
            (ctx.cwd.clone(), ended)
        });
    }
    let mut ended: Vec<(PathBuf, Result<Stopped, Report>)> = Vec::new();
    while let Some(done) = tasks.join_next().await {
        ended.push(done.map_err(|error| Report::bug(error.to_string()))?);
    }
    let none = match others {
        0 => "No stack runs.".to_string(),
        1 => "1 stack runs and is not known to be of this session: `devrun ls` names it.".into(),
        _ => format!("{others} stacks run, and none is known to be of this session: `devrun ls` lists them."),
    };
    all::report(console, ended, &none, as_json)
}
