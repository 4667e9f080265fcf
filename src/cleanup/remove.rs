//! Removes what `decide` chose. Checks again whether each thing is still unused, because minutes may pass before the user
//! confirms.

use std::collections::BTreeMap;

use super::browser;
use super::decide::{self, Decision, LeftoverKind, Rules};
use super::facts::{FolderState, RunFacts, WorktreeFacts};
use super::gather::{self, Gathered};
use super::leftovers::{self, Leftovers};
use crate::context::Context;
use crate::control::{self, socket};
use crate::database::{ListedDatabase, providers};
use crate::error::{Code, Report};
use crate::os::cgroup::ControlGroup;
use crate::os::fs::FsError;
use crate::ports::table;
use crate::prepare::{self, WrittenFiles};
use crate::worktree::{self, Worktree};

/// Removes everything that `decisions` choose by `rules`, in their order. Returns the error of each decision that could not be
/// carried out, with its position. The caller holds the repository's lock of commands that add or remove worktrees. Must run in a
/// `LocalSet`.
pub async fn remove(
    ctx: &Context,
    own: &Worktree,
    gathered: &Gathered,
    decisions: &[Decision],
    rules: &Rules,
) -> Vec<(usize, Report)> {
    let facts = &gathered.facts;
    let mut failures = Vec::new();
    // Several decisions may be about one run, which is ended once.
    let mut ended: BTreeMap<usize, Option<Report>> = BTreeMap::new();
    // Listed at the first database: a server may have hundreds.
    let mut listed: Option<Vec<ListedDatabase>> = None;
    for (at, decision) in decisions.iter().enumerate().filter(|(_, decision)| decision.removes) {
        let index = decision.index;
        let result = match decision.kind {
            LeftoverKind::Process | LeftoverKind::Socket | LeftoverKind::Entry | LeftoverKind::Record => {
                let known = ended.get(&index).cloned();
                let error = match known {
                    Some(error) => error,
                    None => end_run(ctx, &facts.runs[index]).await.err(),
                };
                ended.insert(index, error.clone());
                error.map_or(Ok(()), Err)
            }
            LeftoverKind::Lease => release(ctx, &facts.runs[index]).await,
            LeftoverKind::Worktree => remove_worktree(ctx, own, &facts.worktrees[index]).await,
            LeftoverKind::Branch => {
                let branch = &facts.branches[index];
                worktree::delete_branch(ctx, &own.path, &branch.name, &branch.branch.commit)
                    .await
                    .map_err(Report::from)
            }
            LeftoverKind::Database => delete(ctx, own, gathered, index, rules, &mut listed).await,
            LeftoverKind::Cluster => match providers::remove_abandoned(&facts.clusters[index].cluster) {
                Ok(true) => Ok(()),
                Ok(false) => Err(in_use("the cluster is used again")),
                Err(report) => Err(report),
            },
        };
        failures.extend(result.err().map(|report| (at, report)));
    }
    failures
}

fn in_use(message: impl Into<String>) -> Report {
    Report::new(Code::AlreadyRunning, message).with_fix("devrun prune --dry-run")
}

/// Ends what a killed run left.
async fn end_run(ctx: &Context, run: &RunFacts) -> Result<(), Report> {
    let running = || in_use(format!("a stack runs in {}", run.worktree.display()));
    let leftovers = Leftovers::of(&ctx.dirs, &run.worktree);
    if !run.is_gone {
        let there = Context { cwd: run.worktree.clone(), ..ctx.clone() };
        let worktree = prepare::locate(&there).await?;
        let claim = control::claim(&worktree.state)?.ok_or_else(running)?;
        leftovers::end_run(ctx, &worktree, &claim)?;
        // Processes and files without a record are left if the runtime folder or the record was deleted.
        leftovers.end_processes(&ctx.dirs, &groups(run, &leftovers));
        leftovers.remove_files();
        claim.clear();
        return Ok(());
    }
    if table::exists(&run.worktree) || !socket::is_deserted(&leftovers.socket).await {
        return Err(running());
    }
    if let Some(entry) = &run.entry {
        leftovers::end_orphaned(ctx, entry).ok_or_else(running)?;
    } else {
        leftovers.end_processes(&ctx.dirs, &groups(run, &leftovers));
        leftovers.remove_files();
    }
    if let Some(state) = run.state.as_ref().filter(|state| state.starts_with(&ctx.dirs.state)) {
        let claim = control::claim(state)?.ok_or_else(running)?;
        browser::close(state).await;
        std::fs::remove_dir_all(state).map_err(|source| FsError::Io {
            action: "delete",
            path: state.clone(),
            source,
        })?;
        drop(claim);
    }
    Ok(())
}

fn groups(run: &RunFacts, leftovers: &Leftovers) -> Vec<ControlGroup> {
    let recorded = run.entry.as_ref().map(|entry| entry.groups.clone()).unwrap_or_default();
    ControlGroup::left(&recorded, &leftovers.tag)
}

async fn release(ctx: &Context, run: &RunFacts) -> Result<(), Report> {
    if table::exists(&run.worktree) {
        return Err(in_use(format!("{} exists again", run.worktree.display())));
    }
    Leftovers::of(&ctx.dirs, &run.worktree).release_lease(ctx).await.map(drop)
}

async fn remove_worktree(ctx: &Context, own: &Worktree, facts: &WorktreeFacts) -> Result<(), Report> {
    let path = &facts.path;
    if facts.folder == FolderState::Gone {
        if table::exists(path) {
            return Err(in_use(format!("{} exists again", path.display())));
        }
        let state = worktree::state_of_listed(ctx, own, path).await;
        let written = WrittenFiles::of(ctx, &state);
        browser::close(&state).await;
        worktree::remove(ctx, &own.path, path, false).await?;
        written.take_back(ctx);
        return Ok(());
    }
    let there = Context { cwd: path.clone(), ..ctx.clone() };
    let located = prepare::locate(&there).await?;
    // Held until the worktree is gone, so that no stack starts in it.
    let claim = control::claim(&located.state)?
        .ok_or_else(|| in_use(format!("a stack runs in {}", path.display())))?;
    if worktree::commit_of(ctx, path, "HEAD").await != facts.commit {
        return Err(in_use(format!("another commit is checked out in {} now", path.display())));
    }
    // git itself refuses uncommitted files, but not this.
    if let Some(operation) = located.git.as_ref().and_then(|git| worktree::operation(&git.dir)) {
        return Err(in_use(format!("{operation} is in progress in {}", path.display())));
    }
    leftovers::end_run(ctx, &located, &claim)?;
    let written = WrittenFiles::of(ctx, &located.state);
    browser::close(&located.state).await;
    worktree::remove(ctx, &own.path, path, false).await?;
    written.take_back(ctx);
    Leftovers::of(&ctx.dirs, path).release_lease(ctx).await.map(drop)
}

/// Deletes a database if the decision about it still holds. Holds the locks of the worktrees that may use it, so that no stack
/// starts there. `present` are the databases that are left.
async fn delete(
    ctx: &Context,
    own: &Worktree,
    gathered: &Gathered,
    index: usize,
    rules: &Rules,
    present: &mut Option<Vec<ListedDatabase>>,
) -> Result<(), Report> {
    let Some(databases) = &gathered.databases else { return Ok(()) };
    let listed = &gathered.facts.databases[index].listed;
    let name = &listed.name;
    let (mut claims, mut held) = (Vec::new(), Vec::new());
    for user in worktree::users(ctx, own, listed.branch(), listed.worktree.as_deref()).await {
        if let Some(claim) = control::claim(&user.state)? {
            claims.push(claim);
            held.push(user.path);
        }
    }
    // Their leases and git's records of them may have been removed a moment ago.
    let known: Vec<_> = gathered.facts.runs.iter().map(|run| run.worktree.clone()).collect();
    let present = match present {
        Some(present) => present,
        None => present.insert(databases.list().await?),
    };
    let now = gather::database(ctx, own, (databases, present), name, &held, &known).await?;
    let Some(now) = now else { return Ok(()) };
    if now.listed.id != listed.id {
        return Err(in_use(format!("{name} was deleted and created again")));
    }
    if let Some(reason) = decide::keeps_database(&now, rules) {
        return Err(in_use(format!("{name} stays now: {reason}")));
    }
    databases.delete(name).await?;
    present.retain(|other| other.name != *name);
    Ok(())
}
