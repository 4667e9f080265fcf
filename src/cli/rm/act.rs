//! Carries out a removal.
//!
//! The worktree's lock is held from the end of its stack on, so that no stack starts in between. The database is deleted after the
//! folder: until git has removed the folder, nothing is lost that cannot come back.

use std::path::{Path, PathBuf};

use super::Planned;
use super::decision::{DatabaseFact, RemovalFacts, RemovalStep, RemovedHead};
use super::facts::Collected;
use crate::cleanup::{browser, decide, gather};
use crate::cli::db::worktree_lock::{self, MaintenanceLock};
use crate::cli::take_down;
use crate::context::Context;
use crate::error::{Code, Report};
use crate::ports;
use crate::prepare::{Databases, WrittenFiles};
use crate::text::quoted;
use crate::worktree::{self, Worktree, state_folder};

/// The task that the records of the held locks name.
const DOING: &str = "removing the worktree";

/// Does the steps of `planned`. The caller holds the repository's lock of commands that add or remove worktrees. Must run in a
/// `LocalSet`.
pub(super) async fn act(
    ctx: &Context,
    here: &Worktree,
    main: &Path,
    planned: &Planned,
) -> Result<(), Report> {
    let Planned { collected: Collected { facts, databases, worktree }, removal } = planned;
    let databases = databases.as_ref();
    if removal.steps.contains(&RemovalStep::TakeDown) {
        take_down::stack(ctx, &facts.path).await?;
    }
    let _held = hold(ctx, here, worktree.as_ref(), facts, databases).await?;
    let mut failed = None;
    for step in &removal.steps {
        match step {
            RemovalStep::TakeDown => {}
            RemovalStep::Unlock => worktree::unlock(ctx, main, &facts.path).await?,
            RemovalStep::RemoveWorktree { force, .. } => {
                let state = worktree::state_of_listed(ctx, here, &facts.path).await;
                let written = WrittenFiles::of(ctx, &state);
                browser::close(&state).await;
                worktree::remove(ctx, main, &facts.path, *force).await?;
                written.take_back(ctx);
                delete_traces(ctx, here, &facts.path);
            }
            RemovalStep::DeleteDatabase { name, .. } => {
                let Some(databases) = databases else { continue };
                failed =
                    databases.delete(name).await.err().map(|report| remaining(here, facts, name, report));
            }
            RemovalStep::ReleasePorts => drop(ports::release(ctx, &facts.path).await?),
            // Without the branch, `prune` would treat the database that could not be deleted as a leftover.
            RemovalStep::DeleteBranch { .. } if failed.is_some() => {}
            RemovalStep::DeleteBranch { name, commit, .. } => {
                worktree::delete_branch(ctx, main, name, commit).await?;
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Takes the locks of the worktree and of the others that may use its database, and checks that what was decided still holds.
async fn hold(
    ctx: &Context,
    here: &Worktree,
    worktree: Option<&Worktree>,
    facts: &RemovalFacts,
    databases: Option<&Databases>,
) -> Result<Vec<MaintenanceLock>, Report> {
    let mut locks = Vec::new();
    let mut held = vec![facts.path.clone()];
    if let Some(worktree) = worktree {
        locks.push(worktree_lock::begin(ctx, worktree, DOING).await?.ok_or_else(|| {
            let message = format!("a stack was started in {}", worktree.path.display());
            Report::new(Code::AlreadyRunning, message).with_fix("run this command again")
        })?);
        let commit = worktree::commit_of(ctx, &facts.path, "HEAD").await;
        if commit.as_deref() != facts.head.commit() {
            return Err(changed(facts, "another commit is checked out".into()));
        }
    }
    let (Some(databases), DatabaseFact::Own { name, id, .. }) = (databases, &facts.database) else {
        return Ok(locks);
    };
    let Some(entry) = databases.describe(name).await? else { return Ok(locks) };
    let mut users = worktree::users(ctx, here, entry.branch(), entry.worktree.as_deref()).await;
    // The list leaves out the worktree in which devrun was called.
    users.extend((entry.worktree.as_deref() == Some(&here.path)).then(|| here.clone()));
    for user in users.iter().filter(|user| user.path != facts.path) {
        // If a stack runs there, `check_database` finds out which database it uses.
        if let Some(lock) = worktree_lock::begin(ctx, user, DOING).await? {
            locks.push(lock);
            held.push(user.path.clone());
        }
    }
    check_database(ctx, here, databases, (name, id), facts, &held).await?;
    Ok(locks)
}

/// Errors if the database `name` no longer has the id `id`, or if it must be kept.
async fn check_database(
    ctx: &Context,
    here: &Worktree,
    databases: &Databases,
    (name, id): (&str, &str),
    facts: &RemovalFacts,
    held: &[PathBuf],
) -> Result<(), Report> {
    let listed = databases.list().await?;
    let now = gather::database(ctx, here, (databases, &listed), name, held, &[]).await?;
    let Some(now) = now else { return Ok(()) };
    if now.listed.id != id {
        return Err(changed(facts, format!("its database {name} was deleted and created again")));
    }
    decide::database_of_removed(&now)
        .map_err(|why| changed(facts, format!("its database {name} stays: {why}")))
}

/// Returns the error for a worktree that is not as it was when its removal was decided.
pub(super) fn changed(facts: &RemovalFacts, what: String) -> Report {
    let message = format!("{} changed while `rm` was running; it was not removed", facts.path.display());
    Report::new(Code::WorktreeKept, message).with_cause(what).with_fix("run this command again")
}

/// Returns the error for a database that could not be deleted after its worktree was removed.
fn remaining(here: &Worktree, facts: &RemovalFacts, name: &str, report: Report) -> Report {
    let message = format!("the worktree is removed, but not its database: {}", report.message);
    let main = here.git.as_ref().and_then(|git| git.main_worktree.as_deref());
    // A bare repository has no worktree that is certain to stay.
    let (place, option) = match main {
        Some(main) => ("", format!("-C {} ", quoted(main))),
        None => ("in another worktree: ", String::new()),
    };
    let branch = match &facts.head {
        RemovedHead::Branch { name, .. } => format!(" && git {option}branch -D {}", quoted(name)),
        RemovedHead::Detached { .. } | RemovedHead::Unborn => String::new(),
    };
    let fix = format!("{place}devrun {option}db delete {}{branch}", quoted(name));
    Report { message, ..report }.with_fix(fix)
}

/// Deletes what devrun keeps outside git's folders, and the folder of worktrees if it is empty now.
fn delete_traces(ctx: &Context, here: &Worktree, path: &Path) {
    // The folders are harmless if they stay.
    let _ = std::fs::remove_dir_all(state_folder::fallback_of_worktree(&ctx.dirs, path));
    let parent = path.parent().filter(|parent| parent.ends_with(format!("{}.worktrees", here.repo())));
    let _ = parent.map(std::fs::remove_dir);
}
