//! Removes a worktree and its branch through git, and lists what would be lost.

use std::path::Path;
use std::time::Duration;

use super::WorktreeError;
use super::add::done;
use super::generated;
use super::git::git;
use super::git_operation::{GitOperation, operation};
use super::locate::checked;
use crate::context::Context;

/// How long git may take to delete a folder with all packages in it.
const DELETION: Duration = Duration::from_mins(10);
/// How long git may take to compare all files of a large worktree with its index.
const STATUS: Duration = Duration::from_mins(2);
/// The most files that are listed.
const LISTED: usize = 10;

/// Work in a worktree that no commit contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsaved {
    /// The number of files that were changed, added or deleted.
    pub count: usize,
    /// The first ten of them.
    pub files: Vec<String>,
    /// An operation that is under way.
    pub operation: Option<GitOperation>,
}

/// Returns the changed and untracked files of the worktree at `path`, whose git directory is `dir`, without generated ones. Errors if
/// git fails.
pub async fn unsaved(ctx: &Context, path: &Path, dir: &Path) -> Result<Unsaved, WorktreeError> {
    inspect(ctx, path, dir, ["--untracked-files=normal", "--ignore-submodules=none"]).await
}

/// Returns [`unsaved`] without untracked files and without changes inside submodules: git rebases although they exist.
pub async fn uncommitted(ctx: &Context, path: &Path, dir: &Path) -> Result<Unsaved, WorktreeError> {
    inspect(ctx, path, dir, ["--untracked-files=no", "--ignore-submodules=dirty"]).await
}

async fn inspect(
    ctx: &Context,
    path: &Path,
    dir: &Path,
    options: [&str; 2],
) -> Result<Unsaved, WorktreeError> {
    let status = git(ctx, path)
        .args(["-c", "core.fsmonitor=false", "status", "--porcelain", "-z", "--no-renames"])
        .args(options)
        .limit(STATUS);
    let output = checked(path, status.output().await)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_framework_file = |field: &str| {
        field.strip_prefix("?? ").is_some_and(|file| generated::is_framework_file(&path.join(file)))
    };
    let fields = text.split('\0').filter(|field| !is_framework_file(field));
    let files: Vec<&str> = fields.filter_map(|field| field.get(3..)).collect();
    Ok(Unsaved {
        count: files.len(),
        files: files.into_iter().take(LISTED).map(Into::into).collect(),
        operation: operation(dir),
    })
}

/// Removes the worktree at `path` from the repository around `folder`. If its folder no longer exists, removes only the
/// record of it. `force` removes uncommitted work and submodules too. Errors if git refuses.
pub async fn remove(ctx: &Context, folder: &Path, path: &Path, force: bool) -> Result<(), WorktreeError> {
    if !force {
        generated::delete(ctx, path).await;
    }
    let cmd = git(ctx, folder).args(["worktree", "remove"]).args(force.then_some("--force"));
    done("remove the worktree", cmd.arg(path).limit(DELETION).output().await).map(drop)
}

/// Undoes `git worktree lock`. Errors if git refuses.
pub async fn unlock(ctx: &Context, folder: &Path, path: &Path) -> Result<(), WorktreeError> {
    done("unlock the worktree", git(ctx, folder).args(["worktree", "unlock"]).arg(path).output().await)
        .map(drop)
}

/// Deletes `branch` if it still points to `commit`. Errors if it does not, or if a worktree has it checked out.
pub async fn delete_branch(
    ctx: &Context,
    folder: &Path,
    branch: &str,
    commit: &str,
) -> Result<(), WorktreeError> {
    let action = format!("delete the branch {branch}");
    let name = format!("refs/heads/{branch}");
    let now = git(ctx, folder).args(["rev-parse", "--verify", &name]).output().await;
    let now = done(&action, now)?.text();
    if now != commit {
        return Err(super::add::refused(action, format!("it has moved to {now}")));
    }
    let cmd = git(ctx, folder).args(["branch", "-D", "--end-of-options", branch]);
    done(&action, cmd.output().await).map(drop)
}

/// Returns true if a branch, a remote branch or a tag contains `commit`. Returns false if git fails.
pub async fn is_reachable(ctx: &Context, folder: &Path, commit: &str) -> bool {
    let kinds = ["refs/heads", "refs/remotes", "refs/tags"];
    let cmd = git(ctx, folder).args(["for-each-ref", "--count=1", "--contains", commit]).args(kinds);
    cmd.ok().await.is_ok_and(|output| !output.text().is_empty())
}
