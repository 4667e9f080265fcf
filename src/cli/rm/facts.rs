//! Collects the facts for `devrun rm`.

use std::path::Path;

use super::decision::{DatabaseFact, RemovalFacts, RemovedHead};
use crate::cleanup::{decide, gather};
use crate::context::Context;
use crate::database::ListedDatabase;
use crate::database::undo::Undoing;
use crate::error::{Code, Report};
use crate::prepare::Databases;
use crate::worktree::{self, ListedWorktree, Unsaved, Worktree};

/// The facts, and the open databases if the database of the worktree is to be deleted.
pub(super) struct Collected {
    pub(super) facts: RemovalFacts,
    pub(super) databases: Option<Databases>,
    /// The worktree; `None` if its folder no longer exists.
    pub(super) worktree: Option<Worktree>,
}

/// Collects the facts about `target`, one of `all` worktrees of the repository at `main`. Starts the database server if it
/// is needed and down. With `keep_database`, reads nothing about databases.
pub(super) async fn collect(
    ctx: &Context,
    here: &Worktree,
    main: &Path,
    all: &[ListedWorktree],
    target: &ListedWorktree,
    keep_database: bool,
) -> Result<Collected, Report> {
    let is_gone = target.path.symlink_metadata().is_err();
    let there = Context { cwd: target.path.clone(), ..ctx.clone() };
    let worktree = if is_gone { None } else { Some(worktree::locate(&there).await?) };
    let mut unsaved = Unsaved::default();
    if let Some(git) = worktree.as_ref().and_then(|worktree| worktree.git.as_ref()) {
        unsaved = worktree::unsaved(ctx, &target.path, &git.dir).await?;
    }
    // git's record of the worktree has this folder even if the worktree is gone.
    let has_submodules = target.git_dir.as_ref().is_some_and(|dir| dir.join("modules").is_dir());
    let others = || all.iter().filter(|one| one.path != target.path && !one.is_bare);
    let inner = others().filter(|one| one.path.starts_with(&target.path));
    let on_it = others().filter(|one| one.branch.is_some() && one.branch == target.branch);
    let mut databases = None;
    let database = if keep_database {
        DatabaseFact::None
    } else if is_gone {
        opened(Databases::open(ctx).await, &mut databases, async |databases| {
            of_gone_folder(ctx, here, databases, target).await
        })
        .await
    } else {
        opened(Databases::open(&there).await, &mut databases, async |databases| {
            own(ctx, here, databases, target).await
        })
        .await
    };
    let facts = RemovalFacts {
        path: target.path.clone(),
        is_gone,
        locked: target.locked.clone(),
        unsaved,
        has_submodules,
        inner: inner.map(|one| one.path.clone()).collect(),
        sharing: on_it.map(|one| one.path.clone()).collect(),
        head: head(ctx, here, main, target).await?,
        database,
    };
    Ok(Collected { facts, databases, worktree })
}

async fn head(
    ctx: &Context,
    here: &Worktree,
    main: &Path,
    target: &ListedWorktree,
) -> Result<RemovedHead, Report> {
    let Some(commit) = target.commit.clone() else { return Ok(RemovedHead::Unborn) };
    let Some(name) = target.branch.clone() else {
        let is_reachable = worktree::is_reachable(ctx, main, &commit).await;
        return Ok(RemovedHead::Detached { commit, is_reachable });
    };
    let default = worktree::default_branch(ctx, here).await?;
    let merged = worktree::branch_merge(ctx, here, &name, &commit, default.as_deref()).await;
    let is_default = default.as_deref() == Some(name.as_str());
    Ok(RemovedHead::Branch { name, commit, merged, is_default })
}

/// Returns the fact that `find` returns for the databases; [`DatabaseFact::None`] for a project without databases or without a
/// configuration. Keeps the databases open in `kept` if one may be deleted.
async fn opened(
    databases: Result<Databases, Report>,
    kept: &mut Option<Databases>,
    find: impl AsyncFnOnce(&Databases) -> Result<DatabaseFact, Report>,
) -> DatabaseFact {
    let databases = match databases {
        Ok(databases) => databases,
        Err(report) if matches!(report.code, Code::DatabaseMissing | Code::ConfigMissing) => {
            return DatabaseFact::None;
        }
        Err(report) => return DatabaseFact::Unknown(report.message),
    };
    let found = find(&databases).await.unwrap_or_else(|report| DatabaseFact::Unknown(report.message));
    if matches!(found, DatabaseFact::Own { .. }) {
        *kept = Some(databases);
    }
    found
}

/// Finds the database of the worktree whose configuration `databases` has read.
async fn own(
    ctx: &Context,
    here: &Worktree,
    databases: &Databases,
    target: &ListedWorktree,
) -> Result<DatabaseFact, Report> {
    let name = databases.own.name.clone();
    let Some(entry) = databases.describe(&name).await? else { return Ok(DatabaseFact::None) };
    let keep = |why: String| Ok(DatabaseFact::Kept { name: name.clone(), why });
    let template = databases.resolved.config.database.as_ref().map(|database| database.branch.names());
    let is_own = |name: &String| matches!(name.as_str(), "branch" | "slug" | "worktree" | "slot");
    if !template.is_some_and(|names| names.iter().any(is_own)) {
        return keep("all worktrees use it".into());
    }
    if let Err(report) = databases.permitted(&name, Undoing::Delete, false).await {
        return keep(report.message);
    }
    if !belongs(&entry, target) {
        let owner = entry.label.map(|label| format!("branch {label}"));
        return keep(format!("it was made for another {}", owner.unwrap_or_else(|| "worktree".into())));
    }
    removable(ctx, here, databases, target, entry).await
}

/// Finds the database of a worktree whose folder, and so its configuration, no longer exists.
async fn of_gone_folder(
    ctx: &Context,
    here: &Worktree,
    databases: &Databases,
    target: &ListedWorktree,
) -> Result<DatabaseFact, Report> {
    let all = databases.list().await?;
    let found = all
        .into_iter()
        .find(|entry| entry.made_by_devrun && entry.creator.is_none() && belongs(entry, target));
    let Some(entry) = found else { return Ok(DatabaseFact::None) };
    match databases.permitted(&entry.name, Undoing::Delete, false).await {
        Ok(_) => removable(ctx, here, databases, target, entry).await,
        Err(report) => Ok(DatabaseFact::Kept { name: entry.name, why: report.message }),
    }
}

/// Returns the database `entry`, and whether another clone, worktree or database may need it.
async fn removable(
    ctx: &Context,
    here: &Worktree,
    databases: &Databases,
    target: &ListedWorktree,
    entry: ListedDatabase,
) -> Result<DatabaseFact, Report> {
    let name = entry.name;
    // The stack of the worktree itself is taken down.
    let held = [target.path.clone()];
    let listed = databases.list().await?;
    let facts = gather::database(ctx, here, (databases, &listed), &name, &held, &[]).await?;
    let Some(facts) = facts else { return Ok(DatabaseFact::None) };
    Ok(match decide::database_of_removed(&facts) {
        Ok(()) => DatabaseFact::Own { provider: databases.provider, name, id: facts.listed.id },
        Err(why) => DatabaseFact::Kept { name, why },
    })
}

/// Returns true if `entry` was made for the branch of `target`, or for its detached HEAD.
fn belongs(entry: &ListedDatabase, target: &ListedWorktree) -> bool {
    match (&entry.label, &target.branch) {
        (Some(of), Some(branch)) => of.branch() == Some(branch),
        (Some(of), None) => {
            // A parent that was made from this folder names another branch.
            of.is_detached() && entry.worktree.as_deref() == Some(target.path.as_path())
        }
        (None, _) => false,
    }
}
