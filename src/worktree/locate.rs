//! Finding the worktree around the working directory: three questions to git at once, one or two more in rare layouts.

use std::path::{Path, PathBuf};

use super::git::{self, Record, Whereabouts, git};
use super::{Git, Head, Worktree, WorktreeError, place, slug};
use crate::context::Context;
use crate::event::Ending;
use crate::os::cmd::{CmdError, Output};

/// Finds the worktree around [`Context::cwd`]. Outside git that folder itself is the worktree.
pub async fn locate(ctx: &Context) -> Result<Worktree, WorktreeError> {
    let cwd = physical(&ctx.cwd)?;
    let list = git(ctx, &cwd).args(["worktree", "list", "--porcelain", "-z"]);
    let (place, refs) = (git(ctx, &cwd).args(git::WHEREABOUTS), git(ctx, &cwd).args(git::DEFAULTS));
    let (place, list, refs) = tokio::join!(place.output(), list.output(), refs.output());
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
    if !answer.ending.ok() {
        let said = answer.tail(5);
        return if git::is_outside(&said) { Ok(outside(ctx, cwd)) } else { Err(refusal(cwd, said)) };
    }
    let (up, dir, common_dir) = match Whereabouts::parse(&answer.stdout) {
        Some(Whereabouts::Inside { up, dir, common_dir }) => (up, dir, common_dir),
        Some(Whereabouts::Bare) => return Err(WorktreeError::Bare { path: cwd }),
        Some(Whereabouts::GitDirectory) => return Err(WorktreeError::InsideGitDirectory { path: cwd }),
        None => return Err(WorktreeError::Git { path: cwd, said: answer.text() }),
    };
    let path = physical(&cwd.join(up))?;
    let (dir, common_dir) = (physical(&cwd.join(dir))?, physical(&cwd.join(common_dir))?);
    let records = git::parse_records(&checked(&cwd, list)?.stdout);
    let linked = dir != common_dir;
    let main = records.first();
    let own = if linked { records.iter().find(|record| record.path == path) } else { main };
    let head = match own.and_then(|record| record.head.clone()) {
        Some(head) => head,
        None => head_of(ctx, &path).await?,
    };
    let main_worktree = if linked { main_worktree(ctx, main, &common_dir).await } else { Some(path.clone()) };
    let default_branch = match git::usual_default(&checked(&cwd, refs)?.stdout) {
        Some(branch) => Some(branch),
        None => unusual_default(ctx, &path, &common_dir, main).await,
    };
    let unique = !linked || {
        let name = path.file_name();
        dir.file_name() == name && main_worktree.as_deref().and_then(Path::file_name) != name
    };
    Ok(Worktree {
        slug: slug::slug(&path, unique),
        state: place::of_worktree(&ctx.dirs, &path, Some(&dir)),
        shared: place::of_repository(&ctx.dirs, &common_dir),
        git: Some(Git { dir, common_dir, head, main_worktree, default_branch }),
        path,
    })
}

fn physical(path: &Path) -> Result<PathBuf, WorktreeError> {
    std::fs::canonicalize(path).map_err(|source| WorktreeError::Folder { path: path.into(), source })
}

/// The worktree that a folder outside git is.
fn outside(ctx: &Context, path: PathBuf) -> Worktree {
    Worktree {
        slug: slug::slug(&path, true),
        state: place::of_worktree(&ctx.dirs, &path, None),
        shared: place::fallback_of_repository(&ctx.dirs, &path),
        git: None,
        path,
    }
}

/// The nearest folder upwards that holds a `.git`.
fn repository_above(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|folder| folder.join(".git").symlink_metadata().is_ok()).map(Path::to_path_buf)
}

fn refusal(path: PathBuf, said: String) -> WorktreeError {
    match git::advice_on_owner(&said) {
        Some(advice) => WorktreeError::Untrusted { path, advice },
        None => WorktreeError::Git { path, said },
    }
}

fn checked(cwd: &Path, answer: Result<Output, CmdError>) -> Result<Output, WorktreeError> {
    let failed = |said| WorktreeError::Git { path: cwd.into(), said };
    match answer {
        Ok(output) if output.ending.ok() => Ok(output),
        // git's status for options it does not know.
        Ok(output) if output.ending == Ending::Code(129) => Err(failed("this git is older than 2.36".into())),
        Ok(output) => Err(failed(output.tail(5))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// HEAD of a worktree that the list shows elsewhere: its folder was moved behind git's back.
async fn head_of(ctx: &Context, path: &Path) -> Result<Head, WorktreeError> {
    let asked = git(ctx, path).args(["symbolic-ref", "-q", "HEAD"]).output().await;
    match asked {
        Ok(output) if output.ending.ok() => Ok(Head::Branch(git::short_name(output.text().as_bytes()))),
        Ok(output) if output.ending == Ending::Code(1) => Ok(Head::Detached),
        other => Err(checked(path, other).err().unwrap_or_else(|| refusal(path.into(), String::new()))),
    }
}

/// The top level of the main worktree, as seen from a linked one.
async fn main_worktree(ctx: &Context, main: Option<&Record>, common_dir: &Path) -> Option<PathBuf> {
    let main = main.filter(|main| !main.bare)?;
    if main.path != common_dir {
        return std::fs::canonicalize(&main.path).ok();
    }
    // The git directory is apart from the files (a submodule's, for example): only its configuration says where they
    // are.
    let file = common_dir.join("config");
    let asked =
        git(ctx, common_dir).args(["config", "-z", "--file"]).arg(file).arg("core.worktree").ok().await;
    let answer = asked.ok()?.stdout;
    let path = answer.strip_suffix(b"\0").filter(|path| !path.is_empty())?;
    let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path);
    std::fs::canonicalize(common_dir.join(path)).ok()
}

/// The default branch when the remote does not tell and none of the usual names exists: git's configured name if there
/// is such a branch, else whatever the main worktree or the bare repository has as HEAD.
async fn unusual_default(
    ctx: &Context,
    path: &Path,
    common_dir: &Path,
    main: Option<&Record>,
) -> Option<String> {
    if let Ok(configured) = git(ctx, path).args(["config", "init.defaultBranch"]).ok().await {
        let branch = configured.text();
        let name = format!("refs/heads/{branch}");
        if git(ctx, path).args(["show-ref", "--verify", "--quiet", &name]).ok().await.is_ok() {
            return Some(branch);
        }
    }
    let main = main?;
    match &main.head {
        Some(Head::Branch(branch)) => Some(branch.clone()),
        _ if main.bare => match head_of(ctx, common_dir).await {
            Ok(Head::Branch(branch)) => Some(branch),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain;

    #[test]
    fn a_git_that_is_too_old_is_called_so() {
        let stderr = b"error: unknown switch `z'\nusage: git worktree list".to_vec();
        let output = Output { ending: Ending::Code(129), stdout: Vec::new(), stderr };
        let error = checked(Path::new("/w"), Ok(output)).unwrap_err();
        assert_eq!(error.fix().unwrap(), "install git 2.36 or newer");
    }
}
