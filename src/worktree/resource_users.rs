//! Finds the worktrees of a repository that may use a resource of a git branch or of a folder.

use std::path::Path;

use super::Worktree;
use super::list::list_with_git_dirs;
use super::locate::locate;
use super::rebased::rebased_branch;
use crate::context::Context;

/// Returns the other worktrees of `own`'s repository that are on `branch`, rebase it, or are at `folder`. Returns none if git fails.
pub async fn users(
    ctx: &Context,
    own: &Worktree,
    branch: Option<&str>,
    folder: Option<&Path>,
) -> Vec<Worktree> {
    let Some(repository) = &own.git else { return Vec::new() };
    let listed = list_with_git_dirs(ctx, own).await.unwrap_or_default();
    let mut found = Vec::new();
    for super::ListedWorktree { path, branch: on, git_dir, .. } in listed {
        let on = on.or_else(|| rebased_branch(&git_dir?));
        let concerned = on.is_some_and(|on| Some(on.as_str()) == branch) || Some(path.as_path()) == folder;
        if path == own.path || !concerned {
            continue;
        }
        let there = Context { cwd: path, ..ctx.clone() };
        let Ok(worktree) = locate(&there).await else { continue };
        // git also lists removed folders, and their place may contain another repository now.
        if worktree.git.as_ref().is_some_and(|git| git.common_dir == repository.common_dir) {
            found.push(worktree);
        }
    }
    found
}
