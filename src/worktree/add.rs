//! Adds a worktree through git.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::git::git;
use super::list::list;
use super::{ListedWorktree, WorktreeError};
use crate::context::Context;
use crate::os::cmd::{CmdError, Output};

/// How long git may take to check out all files of a large repository, with the user's hooks.
const CHECKOUT: Duration = Duration::from_mins(10);

/// The commit that a new worktree begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartPoint {
    /// An existing branch.
    Branch,
    /// A new branch that follows `REMOTE/BRANCH`.
    Remote(String),
    /// A new branch at this commit, which follows no other.
    Commit(String),
}

/// The result of [`add`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWorktree {
    /// The worktree as git lists it.
    pub listed: ListedWorktree,
    /// The output of a hook that failed although the worktree exists.
    pub hook_failure: Option<String>,
}

/// Adds a worktree at `path` on `branch` to the repository around `folder`. git runs the hook `post-checkout` in it.
/// Errors if the worktree was not made.
pub async fn add(
    ctx: &Context,
    folder: &Path,
    path: &Path,
    branch: &str,
    start: &StartPoint,
) -> Result<NewWorktree, WorktreeError> {
    let cmd = git(ctx, folder).args(["worktree", "add"]).limit(CHECKOUT);
    let cmd = match start {
        StartPoint::Branch => cmd.arg(path).arg(branch),
        StartPoint::Remote(remote) => {
            cmd.args(["--track", "-b", branch]).arg(path).arg(format!("{remote}/{branch}"))
        }
        StartPoint::Commit(commit) => cmd.args(["--no-track", "-b", branch]).arg(path).arg(commit),
    };
    let failure = match cmd.output().await {
        Ok(output) if output.ending.ok() => None,
        Ok(output) => Some(output.tail(10)),
        Err(error) => Some(error.to_string()),
    };
    // If only a hook failed, git keeps the worktree.
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let all = list(ctx, folder).await?;
    let made = all.into_iter().find(|one| one.path == real && one.branch.as_deref() == Some(branch));
    match (made, failure) {
        (Some(listed), hook_failure) if real.is_dir() => Ok(NewWorktree { listed, hook_failure }),
        (_, said) => Err(refused(format!("make a worktree on {branch}"), said.unwrap_or_default())),
    }
}

/// Returns true if the repository has a local branch of this name.
pub async fn has_branch(ctx: &Context, folder: &Path, branch: &str) -> bool {
    let name = format!("refs/heads/{branch}");
    git(ctx, folder).args(["show-ref", "--verify", "--quiet", &name]).ok().await.is_ok()
}

/// Returns the only remote whose branch of this name was fetched. `None` if there is none or several.
pub async fn remote_of(ctx: &Context, folder: &Path, branch: &str) -> Option<String> {
    let remotes = git(ctx, folder).arg("remote").ok().await.ok()?.text();
    let mut found = Vec::new();
    for remote in remotes.lines() {
        let name = format!("refs/remotes/{remote}/{branch}");
        if git(ctx, folder).args(["show-ref", "--verify", "--quiet", &name]).ok().await.is_ok() {
            found.push(remote.to_string());
        }
    }
    if found.len() == 1 { found.pop() } else { None }
}

/// Returns the id of the commit that `reference` names. `None` if there is no such commit.
pub async fn commit_of(ctx: &Context, folder: &Path, reference: &str) -> Option<String> {
    let commit = format!("{reference}^{{commit}}");
    let asked = git(ctx, folder).args(["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]);
    Some(asked.ok().await.ok()?.text())
}

/// Returns the error of a git command that failed.
pub(super) fn refused(action: String, said: String) -> WorktreeError {
    WorktreeError::Refused { action, said }
}

/// Returns the output of a git command. Errors if it failed.
pub(super) fn done(action: &str, answer: Result<Output, CmdError>) -> Result<Output, WorktreeError> {
    match answer {
        Ok(output) if output.ending.ok() => Ok(output),
        Ok(output) => Err(refused(action.into(), output.tail(10))),
        Err(error) => Err(refused(action.into(), error.to_string())),
    }
}

/// Returns `path` without its last components that do not exist, and those components.
pub(super) fn existing_part(path: &Path) -> (PathBuf, PathBuf) {
    let exists = |folder: &&Path| folder.symlink_metadata().is_ok();
    let above = path.ancestors().find(exists).unwrap_or(Path::new("/"));
    (above.into(), path.strip_prefix(above).unwrap_or(Path::new("")).into())
}
