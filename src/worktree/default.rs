//! Finds the default branch of a repository. Callers use it only where they need it, because it calls git.

use super::git::{self, git};
use super::locate::{checked, head_of};
use super::{Git, GitHead, Worktree, WorktreeError};
use crate::context::Context;

/// Returns the name of the default branch: the remote's, else the first usual name that exists, else git's configured
/// name if there is such a branch, else the HEAD of the main worktree or the bare repository. Returns `None` outside
/// git, or if that HEAD is detached. Errors if git fails.
pub async fn default_branch(ctx: &Context, worktree: &Worktree) -> Result<Option<String>, WorktreeError> {
    let Some(Git { common_dir, .. }) = &worktree.git else { return Ok(None) };
    let refs = git(ctx, &worktree.path).args(git::DEFAULTS).output().await;
    if let Some(branch) = git::usual_default(&checked(&worktree.path, refs)?.stdout) {
        return Ok(Some(branch));
    }
    if let Ok(configured) = git(ctx, &worktree.path).args(["config", "init.defaultBranch"]).ok().await {
        let branch = configured.text();
        let name = format!("refs/heads/{branch}");
        if git(ctx, &worktree.path).args(["show-ref", "--verify", "--quiet", &name]).ok().await.is_ok() {
            return Ok(Some(branch));
        }
    }
    Ok(match head_of(ctx, common_dir).await? {
        GitHead::Branch(branch) => Some(branch),
        GitHead::Detached => None,
    })
}
