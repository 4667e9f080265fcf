//! Lists the top levels of a repository's other worktrees, and those on the same branch, without calling git, because every verb
//! needs the first list.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Worktree;
use super::rebased::branch_of;
use crate::os::read::{self, Limit};

/// The most worktrees that are listed.
const MOST: usize = 1000;

/// Returns the physical top levels of the other worktrees of `own`'s repository. Leaves out folders that no longer
/// exist. The main worktree comes first, then the others in the order of their paths, as in `git worktree list`.
pub fn others(own: &Worktree) -> Vec<PathBuf> {
    let Some(git) = &own.git else { return Vec::new() };
    let entries = std::fs::read_dir(git.common_dir.join("worktrees")).into_iter().flatten().flatten();
    let linked = entries.take(MOST).filter_map(|entry| top(&entry.path()));
    let mut linked: Vec<PathBuf> = linked.collect();
    linked.sort();
    let mut all: Vec<PathBuf> = git.main_worktree.iter().cloned().chain(linked).collect();
    all.retain(|path| *path != own.path);
    all
}

/// Returns the other worktrees of `own`'s repository that have its branch checked out, as `git worktree add --force` makes them, or
/// rebase it.
pub fn on_same_branch(own: &Worktree) -> Vec<PathBuf> {
    let Some((git, branch)) = own.git.as_ref().and_then(|git| Some((git, git.branch()?))) else {
        return Vec::new();
    };
    let main = git.main_worktree.clone().map(|path| (path, git.common_dir.clone()));
    let entries = std::fs::read_dir(git.common_dir.join("worktrees")).into_iter().flatten().flatten();
    let linked = entries.take(MOST).filter_map(|entry| Some((top(&entry.path())?, entry.path())));
    let is_on = |dir: &Path| branch_of(dir).as_deref() == Some(branch);
    let all = main.into_iter().chain(linked);
    let mut found: Vec<PathBuf> =
        all.filter(|(path, dir)| *path != own.path && is_on(dir)).map(|(path, _)| path).collect();
    found.sort();
    found
}

/// Returns the worktree of the administrative folder `folder`, whose file `gitdir` names the worktree's `.git`.
fn top(folder: &Path) -> Option<PathBuf> {
    let bytes = read::file(&folder.join("gitdir"), Limit::SMALL).ok()?;
    // The path is relative to the folder if git is configured so.
    let file = folder.join(Path::new(OsStr::from_bytes(bytes.trim_ascii_end())));
    std::fs::canonicalize(file.parent()?).ok()
}
