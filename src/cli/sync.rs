//! `devrun sync`: brings the branch of this worktree up to date with another one, then installs packages, runs the steps of `setup:`
//! whose inputs changed, and migrates the branch database. Starts no stack; with `--restart`, restarts processes of the running one.

mod stack;

use std::cell::Cell;

use serde_json::json;

use self::stack::StackAfterSync;
use super::db::{deaf, worktree_lock};
use super::{args, database_limit, printed};
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::event::Step;
use crate::prepare::{self, DoneStep};
use crate::supervisor::state_machine::Outcome;
use crate::supervisor::stop_requests::StopRequests;
use crate::ui::console::Console;
use crate::worktree::{self, Integration, SyncError, SyncTarget, Worktree};

/// Delays the end of the command while git changes the branch, because a killed git leaves its locks. `exit` is the status for a
/// signal that came during that time.
#[derive(Default)]
struct Interruption {
    git_works: Cell<bool>,
    exit: Cell<Option<Exit>>,
}

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::SyncArgs,
    as_json: bool,
) -> Result<Exit, Report> {
    let mut stops = StopRequests::listen(None).map_err(deaf)?;
    let interruption = Interruption::default();
    let work = Box::pin(sync(ctx, console, args, as_json, &interruption));
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            why = stops.next() => {
                let exit = Outcome::from(why).exit;
                if interruption.git_works.replace(false) {
                    ctx.events.note("git is changing the branch: devrun stops after that, or at the next Ctrl-C");
                    interruption.exit.set(Some(exit));
                } else {
                    return Ok(exit);
                }
            }
            done = &mut work => return done,
        }
    }
}

/// The result for the branch.
struct BranchUpdate {
    target: Option<SyncTarget>,
    from: Option<String>,
    to: Option<String>,
    /// The number of commits that were missing.
    behind: u64,
}

async fn sync(
    ctx: &Context,
    console: &Console,
    args: &args::SyncArgs,
    as_json: bool,
    interruption: &Interruption,
) -> Result<Exit, Report> {
    let worktree = prepare::locate(ctx).await?;
    let how = if args.merge { Integration::Merge } else { Integration::Rebase };
    check(ctx, &worktree).await?;
    let target = worktree::sync_target(ctx, &worktree, args.onto.as_deref()).await?;
    if let Some(remote) = target.as_ref().and_then(|target| target.remote.as_deref()) {
        ctx.events.note(format!("git fetch {remote}"));
        worktree::fetch(ctx, &worktree, remote).await?;
    }
    // A stack that starts now waits for the lock. A stack that runs already goes on, and the lock is `None`.
    let lock = worktree_lock::begin(ctx, &worktree, "syncing").await?;
    let update = update(ctx, &worktree, how, target, interruption).await?;
    ctx.events.note(sentence(&worktree, how, &update));
    if let Some(exit) = interruption.exit.get() {
        ctx.events.note("packages and database are not updated: run `devrun sync` again");
        return Ok(exit);
    }
    let refreshed = match prepare::refresh(ctx, lock.is_none()).await {
        Ok(refreshed) => refreshed,
        Err(report) => return Err(database_limit::explain(ctx, &worktree, report).await),
    };
    let changed = match (&update.from, &update.to) {
        (Some(from), Some(to)) if from != to => worktree::changed_files(ctx, &worktree, from, to).await,
        _ => Vec::new(),
    };
    drop(lock);
    let stack = stack::after_sync(ctx, &refreshed, &changed, args.restart).await?;
    printed(if as_json {
        console.print_json(&object(&worktree, how, &update, &refreshed.steps, stack.as_ref()))
    } else {
        console.print(&text(&worktree, how, &update, &refreshed.steps, stack.as_ref()))
    })
}

/// Errors if the worktree has no repository, uncommitted changes, or an operation of git under way.
async fn check(ctx: &Context, worktree: &Worktree) -> Result<(), Report> {
    let Some(git) = &worktree.git else {
        let message = format!("{} is not in a git repository", worktree.path.display());
        return Err(Report::new(Code::GitFailed, message).with_fix("run it in a worktree of the repository"));
    };
    let unsaved = worktree::uncommitted(ctx, &worktree.path, &git.dir).await?;
    if let Some(operation) = unsaved.operation {
        return Err(SyncError::InProgress(operation).into());
    }
    if unsaved.count > 0 {
        return Err(SyncError::Uncommitted(unsaved).into());
    }
    Ok(())
}

/// Brings the commits of `target` into the branch.
async fn update(
    ctx: &Context,
    worktree: &Worktree,
    how: Integration,
    target: Option<SyncTarget>,
    interruption: &Interruption,
) -> Result<BranchUpdate, Report> {
    let head = async || worktree::commit_of(ctx, &worktree.path, "HEAD").await;
    let from = head().await;
    let Some(wanted) = &target else {
        return Ok(BranchUpdate { target, to: from.clone(), from, behind: 0 });
    };
    let Some(commit) = worktree::commit_of(ctx, &worktree.path, &wanted.name).await else {
        return Err(SyncError::NoCommit(wanted.name.clone()).into());
    };
    if let Some(published) = &wanted.published {
        let foreign = worktree::commits_between(ctx, worktree, "HEAD", published, true).await;
        if foreign > 0 {
            let some = commits(foreign);
            let advice = format!("bring them in first, before a push: devrun sync --onto {published}");
            ctx.events.warn(format!("{published} has {some} that this branch lacks: {advice}"));
        }
    }
    let behind = worktree::commits_between(ctx, worktree, "HEAD", &commit, false).await;
    if behind > 0 {
        interruption.git_works.set(true);
        let done = worktree::integrate(ctx, worktree, how, &wanted.name).await;
        interruption.git_works.set(false);
        done?;
    }
    Ok(BranchUpdate { from, to: head().await, behind, target })
}

fn commits(count: u64) -> String {
    format!("{count} commit{}", if count == 1 { "" } else { "s" })
}

fn sentence(worktree: &Worktree, how: Integration, update: &BranchUpdate) -> String {
    let branch = worktree.git.as_ref().and_then(|git| git.branch()).unwrap_or("HEAD");
    let Some(target) = &update.target else {
        return format!("{branch} is the default branch, and there is no remote: it stays as it is");
    };
    let (name, count) = (&target.name, commits(update.behind));
    match (update.behind, how) {
        (0, _) => format!("{branch} has all commits of {name}"),
        (_, Integration::Rebase) => format!("{branch} was rebased onto {name}, which had {count} more"),
        (_, Integration::Merge) => format!("{name}, which had {count} more, was merged into {branch}"),
    }
}

fn text(
    worktree: &Worktree,
    how: Integration,
    update: &BranchUpdate,
    steps: &[DoneStep],
    stack: Option<&StackAfterSync>,
) -> String {
    let named = steps.iter().map(|done| (done.step.name(), done.outcome.as_str()));
    let rows: Vec<(&str, String)> = [("branch", sentence(worktree, how, update))]
        .into_iter()
        .chain(named.map(|(name, outcome)| (name, outcome.to_string())))
        .chain(stack.map(|stack| ("stack", stack.sentence())))
        .collect();
    super::columns(&rows)
}

fn object(
    worktree: &Worktree,
    how: Integration,
    update: &BranchUpdate,
    steps: &[DoneStep],
    stack: Option<&StackAfterSync>,
) -> serde_json::Value {
    let database = steps.iter().find(|done| done.step == Step::Database).map(|done| &done.outcome);
    json!({
        "worktree": worktree.path.to_string_lossy(),
        "branch": worktree.git.as_ref().and_then(|git| git.branch()),
        "onto": update.target.as_ref().map(|target| &target.name),
        "fetched": update.target.as_ref().and_then(|target| target.remote.as_ref()),
        "how": how,
        "behind": update.behind,
        "from": update.from,
        "to": update.to,
        "moved": update.from != update.to,
        "steps": steps,
        "database": database,
        "stack": stack,
    })
}
