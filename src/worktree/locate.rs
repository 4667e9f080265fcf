//! Finds the worktree around the working directory, with one call of git, two simultaneous ones in linked worktrees,
//! and one or two more in rare layouts.

use std::path::{Path, PathBuf};

use super::git::{self, DirectoryKind, Main, git};
use super::rebased::rebased_branch;
use super::{Git, GitHead, Worktree, WorktreeError, slug, state_folder};
use crate::context::Context;
use crate::event::Ending;
use crate::os::cmd::{CmdError, Output};

/// Finds the worktree around [`Context::cwd`], and creates its state folders in the git directory. Outside git, that folder itself
/// is the worktree. Errors if the folder does not exist or is in no worktree of its repository, or if git fails.
pub async fn locate(ctx: &Context) -> Result<Worktree, WorktreeError> {
    let cwd = physical(&ctx.cwd)?;
    let list = || async { git(ctx, &cwd).args(["worktree", "list", "--porcelain", "-z"]).output().await };
    let place = git(ctx, &cwd).args(git::WHEREABOUTS);
    // Only linked worktrees need the list. Start it early if this seems to be one; only git's answer is certain.
    let early = async { if seems_linked(&cwd) { Some(list().await) } else { None } };
    let (place, early) = tokio::join!(place.output(), early);
    let answer = match place {
        Ok(output) => output,
        Err(CmdError::NotFound(_)) => {
            return match repository_above(&cwd) {
                Some(repository) => Err(WorktreeError::GitMissing { repository }),
                None => Ok(outside(ctx, cwd)),
            };
        }
        Err(error) => return Err(WorktreeError::Git { path: cwd, said: error.to_string() }),
    };
    let (up, dir, common_dir, head) = match DirectoryKind::parse(&answer.stdout) {
        Some(DirectoryKind::Inside { up, dir, common_dir, head }) => (up, dir, common_dir, head),
        Some(DirectoryKind::Bare) => return Err(WorktreeError::Bare { path: cwd }),
        Some(DirectoryKind::GitDirectory) => return Err(WorktreeError::InsideGitDirectory { path: cwd }),
        None if answer.ending.ok() => return Err(WorktreeError::Git { path: cwd, said: answer.text() }),
        None => {
            let said = answer.tail(5);
            return if git::is_outside(&said) { Ok(outside(ctx, cwd)) } else { Err(refusal(cwd, said)) };
        }
    };
    let path = physical(&cwd.join(up))?;
    let (dir, common_dir) = (physical(&cwd.join(dir))?, physical(&cwd.join(common_dir))?);
    let head = match head.filter(|_| answer.ending.ok()) {
        Some(head) => head,
        None => head_of(ctx, &path).await?,
    };
    let head = match head {
        GitHead::Detached => rebased_branch(&dir).map_or(GitHead::Detached, GitHead::Branch),
        head @ GitHead::Branch(_) => head,
    };
    let linked = dir != common_dir;
    let main_worktree = if linked {
        let list = match early {
            Some(list) => list,
            None => list().await,
        };
        let main = Main::parse(&checked(&cwd, list)?.stdout);
        main_worktree(ctx, main.as_ref(), &common_dir).await
    } else {
        Some(path.clone())
    };
    let unique = !linked || {
        let name = path.file_name();
        dir.file_name() == name && main_worktree.as_deref().and_then(Path::file_name) != name
    };
    Ok(Worktree {
        slug: slug::slug(&path, unique),
        state: state_folder::of_worktree(&ctx.dirs, &path, Some(&dir)),
        shared: state_folder::of_repository(&ctx.dirs, &common_dir),
        git: Some(Git { dir, common_dir, head, main_worktree }),
        path,
    })
}

fn physical(path: &Path) -> Result<PathBuf, WorktreeError> {
    std::fs::canonicalize(path).map_err(|source| WorktreeError::Folder { path: path.into(), source })
}

/// Returns the worktree for a folder outside git.
fn outside(ctx: &Context, path: PathBuf) -> Worktree {
    Worktree {
        slug: slug::slug(&path, true),
        state: state_folder::of_worktree(&ctx.dirs, &path, None),
        shared: state_folder::fallback_of_repository(&ctx.dirs, &path),
        git: None,
        path,
    }
}

/// Returns true if the nearest `.git` upwards is a file, as in linked worktrees and submodules.
fn seems_linked(cwd: &Path) -> bool {
    repository_above(cwd).is_some_and(|top| top.join(".git").is_file())
}

/// Returns the nearest folder upwards that contains a `.git`.
pub(super) fn repository_above(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|folder| folder.join(".git").symlink_metadata().is_ok()).map(Path::to_path_buf)
}

/// Returns the error for a git that failed with the output `said`.
pub(super) fn refusal(path: PathBuf, said: String) -> WorktreeError {
    match git::advice_on_owner(&said) {
        Some(advice) => WorktreeError::Untrusted { path, advice },
        None => WorktreeError::Git { path, said },
    }
}

pub(super) fn checked(cwd: &Path, answer: Result<Output, CmdError>) -> Result<Output, WorktreeError> {
    let failed = |said| WorktreeError::Git { path: cwd.into(), said };
    match answer {
        Ok(output) if output.ending.ok() => Ok(output),
        // git exits with 129 if it does not know an option.
        Ok(output) if output.ending == Ending::Code(129) => {
            Err(WorktreeError::GitTooOld { path: cwd.into() })
        }
        Ok(output) => Err(failed(output.tail(5))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Returns HEAD, also for a branch without a commit. Errors if git fails.
pub(super) async fn head_of(ctx: &Context, path: &Path) -> Result<GitHead, WorktreeError> {
    let asked = git(ctx, path).args(["symbolic-ref", "-q", "HEAD"]).output().await;
    match asked {
        Ok(output) if output.ending.ok() => {
            Ok(GitHead::Branch(git::short_name(output.stdout.trim_ascii_end())))
        }
        Ok(output) if output.ending == Ending::Code(1) => Ok(GitHead::Detached),
        other => Err(checked(path, other).err().unwrap_or_else(|| refusal(path.into(), String::new()))),
    }
}

/// Returns the top level of the main worktree, as seen from a linked one.
async fn main_worktree(ctx: &Context, main: Option<&Main>, common_dir: &Path) -> Option<PathBuf> {
    let main = main.filter(|main| !main.bare)?;
    if main.path != common_dir {
        return std::fs::canonicalize(&main.path).ok();
    }
    // The git directory is not in the worktree, for example in a submodule. Only its configuration names the worktree.
    let file = common_dir.join("config");
    let asked =
        git(ctx, common_dir).args(["config", "-z", "--file"]).arg(file).arg("core.worktree").ok().await;
    let answer = asked.ok()?.stdout;
    let path = answer.strip_suffix(b"\0").filter(|path| !path.is_empty())?;
    let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path);
    std::fs::canonicalize(common_dir.join(path)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain;

    #[test]
    fn an_old_git_is_reported_as_too_old() {
        let stderr = b"error: unknown switch `z'\nusage: git worktree list".to_vec();
        let output = Output { ending: Ending::Code(129), stdout: Vec::new(), stderr };
        let error = checked(Path::new("/w"), Ok(output)).unwrap_err();
        assert!(matches!(error, WorktreeError::GitTooOld { .. }), "{error:?}");
        assert_eq!(error.why().unwrap(), "this git is older than 2.36");
        assert_eq!(error.fix().unwrap(), "install git 2.36 or newer");
    }
}
