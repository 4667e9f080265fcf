//! Asks git whether it ignores a file, before devrun writes values of one worktree into it or reads a link there.

use std::path::Path;

use super::WorktreeError;
use super::git::{self, git};
use super::locate::{refusal, repository_above};
use crate::context::Context;
use crate::event::Ending;
use crate::os::cmd::{Cmd, CmdError, Output};

/// The treatment of a path by git.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitTreatment {
    /// It is ignored, or the folder is in no repository.
    Ignored,
    /// It would show up as untracked.
    Shown,
    /// It is tracked.
    Tracked,
}

/// Returns what git does with `path`, relative to `folder` or absolute. Errors if git is missing or fails in a repository: then the
/// answer is not known.
pub async fn git_treatment(ctx: &Context, folder: &Path, path: &Path) -> Result<GitTreatment, WorktreeError> {
    let inside = match git(ctx, folder).args(["rev-parse", "--is-inside-work-tree"]).output().await {
        Ok(inside) => inside,
        Err(CmdError::NotFound(_)) => {
            return match repository_above(folder) {
                Some(repository) => Err(WorktreeError::GitMissing { repository }),
                None => Ok(GitTreatment::Ignored),
            };
        }
        Err(error) => return Err(WorktreeError::Git { path: folder.into(), said: error.to_string() }),
    };
    match (inside.ending.ok(), inside.text().as_str()) {
        (true, "true") => {}
        // In a git directory, no file is part of a worktree.
        (true, "false") => return Ok(GitTreatment::Ignored),
        _ if git::is_outside(&inside.tail(5)) => return Ok(GitTreatment::Ignored),
        _ => return Err(refusal(folder.into(), inside.tail(5))),
    }
    let ask = |words: [&str; 3]| git(ctx, folder).args(words).arg(path);
    if answer(ask(["check-ignore", "--quiet", "--"]), path).await? {
        return Ok(GitTreatment::Ignored);
    }
    let is_tracked = answer(ask(["ls-files", "--error-unmatch", "--"]), path).await?;
    Ok(if is_tracked { GitTreatment::Tracked } else { GitTreatment::Shown })
}

/// The most links that the system follows.
const MOST_LINKS: usize = 40;

/// Returns true if `path`, relative to `root`, is a link that the user made: git ignores it, and each link in `root` that it leads
/// to. Returns false if a commit may have made one of them, or if git fails.
pub async fn is_own_link(ctx: &Context, root: &Path, path: &Path) -> bool {
    let mut at = root.join(path);
    for hop in 0..MOST_LINKS {
        let Ok(target) = std::fs::read_link(&at) else { return hop > 0 };
        let folder = at.parent().unwrap_or(root);
        if at.starts_with(root) && !matches!(git_treatment(ctx, root, &at).await, Ok(GitTreatment::Ignored)) {
            return false;
        }
        let next = folder.join(target);
        let (Some(folder), Some(name)) = (next.parent(), next.file_name()) else { return false };
        at = std::fs::canonicalize(folder).map_or_else(|_| next.clone(), |folder| folder.join(name));
    }
    false
}

/// Runs a command that answers by its status: 0 means yes, 1 means no.
async fn answer(command: Cmd, path: &Path) -> Result<bool, WorktreeError> {
    let failed = |said: String| WorktreeError::Refused {
        action: format!("say whether it ignores {}", path.display()),
        said,
    };
    match command.output().await {
        Ok(Output { ending: Ending::Code(0), .. }) => Ok(true),
        Ok(Output { ending: Ending::Code(1), .. }) => Ok(false),
        Ok(output) => Err(failed(output.tail(5))),
        Err(error) => Err(failed(error.to_string())),
    }
}
