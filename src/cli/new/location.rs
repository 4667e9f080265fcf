//! Chooses the folder of a new worktree.

use std::path::{Component, Path, PathBuf};

use crate::context::Context;
use crate::error::{Code, Report};
use crate::prepare;
use crate::worktree::git::git;
use crate::worktree::{Worktree, name, slug};

/// Digits of the hash that makes the name of a folder unique.
const DIGITS: usize = 6;

/// Returns the path of the new worktree. If the usual one is taken, its name gets a part of the branch's hash. Errors if that
/// is taken too.
pub(super) async fn free_path(
    ctx: &Context,
    here: &Worktree,
    main: &Path,
    branch: &str,
) -> Result<PathBuf, Report> {
    let folder = name::folder(branch);
    let marked = format!("{folder}-{}", &slug::hash(Path::new(branch))[..DIGITS]);
    for folder in [&folder, &marked] {
        let path = match prepare::worktree_path(ctx, here, folder).await? {
            Some(path) => path,
            None => Path::new("..").join(format!("{}.worktrees", here.repo())).join(folder),
        };
        let path = absolute(ctx, main, &path);
        let is_free = path.symlink_metadata().is_err()
            || std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none());
        if is_free {
            return Ok(path);
        }
    }
    let message = format!("the folders {folder} and {marked} for the new worktree exist already");
    Err(Report::new(Code::State, message).with_fix("remove one of them, or choose another name"))
}

/// Returns `path` below the home folder if it begins with `~/`, else relative to `main`, without `..`.
fn absolute(ctx: &Context, main: &Path, path: &Path) -> PathBuf {
    let path = match (path.strip_prefix("~"), ctx.var("HOME")) {
        (Ok(rest), Some(home)) => Path::new(home).join(rest),
        _ => main.join(path),
    };
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// Warns if git would show the new worktree as an untracked folder of the main worktree.
pub(super) async fn warn_of_untracked(ctx: &Context, main: &Path, path: &Path) {
    let ignored = git(ctx, main).args(["check-ignore", "--quiet"]).arg(path).ok().await.is_ok();
    let folder = path.parent().and_then(|parent| parent.strip_prefix(main).ok());
    if let (false, Some(folder)) = (ignored, folder) {
        ctx.events.warn(format!(
            "git shows {} as untracked in the main worktree: add the line /{}/ to .gitignore",
            path.display(),
            folder.display()
        ));
    }
}
