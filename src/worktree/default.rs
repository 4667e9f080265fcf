//! Which branch of a repository is the default one: asked only by those who need it.

use super::git::{self, git};
use super::locate::{checked, head_of};
use super::{Git, Head, Worktree, WorktreeError};
use crate::context::Context;

/// Name of the default branch, as far as it can be told: the remote's, else the first usual name that exists, else git's
/// configured name if there is such a branch, else whatever the main worktree or the bare repository has as HEAD. `None`
/// outside git. Fails when git does.
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
        Head::Branch(branch) => Some(branch),
        Head::Detached => None,
    })
}
