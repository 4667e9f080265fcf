//! `devrun rm`: throws a worktree away, with its stack, ports, branch database and branch.
//!
//! `facts` collects the facts, `decision` decides, this file asks the user, and `act` carries the steps out. The facts are
//! collected again after the answer, which may take minutes.

mod act;
mod changes;
mod decision;
mod facts;
mod output;
mod refusal;

use std::path::Path;

use self::decision::{Allowed, Removal};
use self::facts::Collected;
use self::output::{answer, text};
use self::refusal::{confirm_removal, refused};
use super::args;
use super::new::{LOCK, LOCK_WAIT, ambiguous, repository_folder};
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::os::fs::{Lock, LockKind};
use crate::supervisor::state_machine::Outcome;
use crate::supervisor::stop_requests::StopRequests;
use crate::text::quoted;
use crate::ui::console::Console;
use crate::worktree::{self, ListedWorktree, Worktree};

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Rm,
    as_json: bool,
) -> Result<Exit, Report> {
    let mut stops = StopRequests::listen(None).map_err(super::db::deaf)?;
    tokio::select! {
        biased;
        why = stops.next() => Ok(Outcome::from(why).exit),
        answer = Box::pin(throw_away(ctx, console, args, as_json)) => answer,
    }
}

/// The facts about a worktree, and the decision.
struct Planned {
    collected: Collected,
    removal: Removal,
}

async fn throw_away(
    ctx: &Context,
    console: &Console,
    args: &args::Rm,
    as_json: bool,
) -> Result<Exit, Report> {
    let here = worktree::locate(ctx).await?;
    let main = repository_folder(&here)?;
    let take_lock = async || Lock::take(&here.shared.join(LOCK), LockKind::Exclusive, LOCK_WAIT).await;
    // If the user is asked, the lock is taken after the answer, because other commands would wait for it.
    let mut lock = if args.yes && !args.dry_run { Some(take_lock().await?) } else { None };
    let mut planned = plan(ctx, &here, &main, args).await?;
    if !as_json {
        super::printed(console.print(&text(&planned.collected.facts, &planned.removal)))?;
    }
    if args.dry_run {
        return answer(console, &planned.collected.facts, &planned.removal, false, as_json);
    }
    if lock.is_none() {
        confirm_removal(console, &planned.collected.facts, args, as_json).await?;
        lock = Some(take_lock().await?);
        planned = planned_again(ctx, &here, &main, args, planned).await?;
    }
    act::act(ctx, &here, &main, &planned).await?;
    drop(lock);
    let Planned { collected: Collected { facts, .. }, removal } = &planned;
    if ctx.cwd.starts_with(&facts.path) {
        ctx.events.note(format!("the current folder is gone: cd {}", quoted(&main)));
    }
    answer(console, facts, removal, true, as_json)
}

/// Collects the facts about the worktree that `args` name, and decides. Errors if the worktree must not be removed.
async fn plan(ctx: &Context, here: &Worktree, main: &Path, args: &args::Rm) -> Result<Planned, Report> {
    let all = worktree::list_with_git_dirs(ctx, here).await?;
    let target = match target(ctx, here, &all, args.name.as_deref()) {
        Err(report) if report.code == Code::WorktreeUnknown => {
            let name =
                args.name.as_deref().filter(|name| all.iter().all(|one| one.branch.as_deref() != Some(name)));
            return Err(with_way_to_branch(ctx, main, name, report).await);
        }
        target => target?,
    };
    if target.is_main {
        let message = format!("{} is the main worktree: devrun does not remove it", target.path.display());
        return Err(Report::new(Code::WorktreeKept, message)
            .with_fix("name another worktree: `git worktree list` lists them"));
    }
    let collected = facts::collect(ctx, here, main, &all, &target, args.keep_database).await?;
    let allowed = Allowed {
        uncommitted: args.uncommitted,
        unmerged: args.unmerged,
        locked: args.locked,
        keep_database: args.keep_database,
        keep_branch: args.keep_branch,
    };
    let facts = &collected.facts;
    let removal = decision::decide(facts, allowed).map_err(|refusals| refused(facts, &refusals, args))?;
    Ok(Planned { collected, removal })
}

/// Returns `report` with a fix that names what an interrupted removal left, if `name` is a branch without a worktree.
async fn with_way_to_branch(ctx: &Context, main: &Path, name: Option<&str>, report: Report) -> Report {
    match name {
        Some(name) if worktree::has_branch(ctx, main, name).await => report.with_fix(format!(
            "no worktree is on the branch {0}: `git branch -d {0}` deletes it, and `devrun db list` shows its database",
            quoted(name)
        )),
        _ => report,
    }
}

/// Collects the facts again after the user has agreed to `planned`. Errors if something has changed.
async fn planned_again(
    ctx: &Context,
    here: &Worktree,
    main: &Path,
    args: &args::Rm,
    planned: Planned,
) -> Result<Planned, Report> {
    let before = &planned.collected.facts;
    let all = worktree::list_with_git_dirs(ctx, here).await?;
    let Some(target) = all.iter().find(|one| one.path == before.path) else {
        return Err(act::changed(before, "git does not list it any more".into()));
    };
    let now = facts::collect(ctx, here, main, &all, target, args.keep_database).await?;
    let changes = changes::changes(before, &now.facts);
    if !changes.is_empty() {
        return Err(act::changed(before, changes.join("\n")));
    }
    Ok(Planned { collected: now, removal: planned.removal })
}

/// Returns the worktree that `name` names, or the one around the current folder. Errors if there is none, or several.
fn target(
    ctx: &Context,
    here: &Worktree,
    all: &[ListedWorktree],
    name: Option<&str>,
) -> Result<ListedWorktree, Report> {
    let Some(name) = name else {
        let own = all.iter().find(|one| one.path == here.path);
        return own.cloned().ok_or_else(|| Report::bug("git does not list the worktree it is in"));
    };
    let path = ctx.cwd.join(name);
    let path = std::fs::canonicalize(&path).unwrap_or(path);
    match worktree::find(all, name, &path).as_slice() {
        [one] => Ok((*one).clone()),
        [] if path.is_dir() => {
            let message = format!("{} is not a worktree of this repository", path.display());
            Err(Report::new(Code::WorktreeUnknown, message)
                .with_fix("run it in a worktree of that repository"))
        }
        [] => Err(Report::new(Code::WorktreeUnknown, format!("there is no worktree {name:?}"))
            .with_fix("`git worktree list` lists them; name one by its branch, folder or path")),
        several => Err(ambiguous(name, several)),
    }
}
