//! Where a worktree's and a repository's own state lives: in git's directories, where it vanishes with them, or in
//! the user's state directory where git's cannot be written. Refuses to know what is kept there.

use std::path::{Path, PathBuf};

use super::slug::hash;
use crate::context::Dirs;
use crate::os::fs;

/// Hex digits of a path's hash that name its folder in the state directory.
const DIGITS: usize = 16;

/// The folder for the state of the worktree at `path`, whose git directory is `git_dir`. Made if need be.
pub fn of_worktree(dirs: &Dirs, path: &Path, git_dir: Option<&Path>) -> PathBuf {
    inside(git_dir).unwrap_or_else(|| fallback_of_worktree(dirs, path))
}

/// The folder for the state of the repository whose common git directory is `common_dir`. Made if need be.
pub fn of_repository(dirs: &Dirs, common_dir: &Path) -> PathBuf {
    inside(Some(common_dir)).unwrap_or_else(|| fallback_of_repository(dirs, common_dir))
}

/// Where the state of the worktree at `path` is kept when its git directory cannot be written, or it has none.
pub fn fallback_of_worktree(dirs: &Dirs, path: &Path) -> PathBuf {
    dirs.state.join("worktrees").join(&hash(path)[..DIGITS])
}

/// Where the state of a repository is kept when its git directory cannot be written, or it has none; `path` is that
/// directory, or outside git the worktree's own folder.
pub fn fallback_of_repository(dirs: &Dirs, path: &Path) -> PathBuf {
    dirs.state.join("repos").join(&hash(path)[..DIGITS])
}

/// `<git_dir>/devrun`, when a file can be made in it. Trying is the only sure test: sandboxes and read-only mounts do
/// not show in modes. The file never has a name.
fn inside(git_dir: Option<&Path>) -> Option<PathBuf> {
    let folder = git_dir?.join("devrun");
    fs::make_private_dir(&folder).ok()?;
    tempfile::tempfile_in(&folder).ok()?;
    Some(folder)
}
