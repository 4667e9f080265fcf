//! Chooses the state folders of worktrees and repositories: in git's directories, with which they are removed, or in
//! the user's state directory if git's are not writable.

use std::path::{Path, PathBuf};

use super::slug::hash;
use crate::context::Dirs;
use crate::os::fs;

/// Hex digits of a path's hash that name its folder in the state directory.
const DIGITS: usize = 16;

/// Returns the state folder of the worktree at `path`, whose git directory is `git_dir`. Creates it in the git
/// directory.
pub fn of_worktree(dirs: &Dirs, path: &Path, git_dir: Option<&Path>) -> PathBuf {
    inside(git_dir).unwrap_or_else(|| fallback_of_worktree(dirs, path))
}

/// Returns the state folder of the repository with the common git directory `common_dir`. Creates it in the git
/// directory.
pub fn of_repository(dirs: &Dirs, common_dir: &Path) -> PathBuf {
    inside(Some(common_dir)).unwrap_or_else(|| fallback_of_repository(dirs, common_dir))
}

/// Returns the state folder of the worktree at `path` for the case that it has no writable git directory.
pub fn fallback_of_worktree(dirs: &Dirs, path: &Path) -> PathBuf {
    dirs.state.join("worktrees").join(&hash(path)[..DIGITS])
}

/// Returns the state folder of a repository for the case that it has no writable git directory. `path` is that
/// directory, or the worktree's folder outside git.
pub fn fallback_of_repository(dirs: &Dirs, path: &Path) -> PathBuf {
    dirs.state.join("repos").join(&hash(path)[..DIGITS])
}

/// Returns `<git_dir>/devrun` if a file can be created in it. Only an attempt is a reliable test, because the mode does
/// not show sandboxes and read-only mounts. The test file never has a name.
fn inside(git_dir: Option<&Path>) -> Option<PathBuf> {
    let folder = git_dir?.join("devrun");
    fs::make_private_dir(&folder).ok()?;
    tempfile::tempfile_in(&folder).ok()?;
    Some(folder)
}
