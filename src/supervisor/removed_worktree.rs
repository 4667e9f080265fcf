//! Notices that the worktree of a run was removed, moved, or replaced by another folder with the same name.
//!
//! This module only observes; the receiver ends the run. A folder that cannot be checked, for example because access is denied
//! or a file server does not answer, counts as present.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Code, Report};
use crate::os::blocking;

/// The interval between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How long one check may take before the next one starts. Each check that hangs occupies a thread.
const CHECK_LIMIT: Duration = Duration::from_hours(1);
/// The pause before a missing folder is checked again, because another program may have just replaced it.
const RECHECK: Duration = Duration::from_millis(250);

/// The folders that a run needs, with their identities at its start.
#[derive(Clone, Debug)]
pub struct WatchedFolders {
    worktree: PathBuf,
    folders: Vec<(PathBuf, Option<(u64, u64)>)>,
}

impl WatchedFolders {
    /// Remembers the worktree's folder and its state folder, which git removes together with the worktree.
    pub fn new(worktree: &Path, state: &Path) -> WatchedFolders {
        let known = |folder: &Path| Some((folder.to_path_buf(), Some(identity(folder).ok()?)));
        let folders = [worktree, state].into_iter().filter_map(known).collect();
        WatchedFolders { worktree: worktree.into(), folders }
    }

    /// Returns true if a folder is missing or is not the one it was at the start.
    pub fn is_gone(&self) -> bool {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        self.folders.iter().any(|(folder, known)| match identity(folder) {
            Ok(now) => Some(now) != *known,
            Err(error) => matches!(error.kind(), NotFound | NotADirectory),
        })
    }

    /// Calls [`WatchedFolders::is_gone`] on another thread. Returns false after `limit`: a file server that does not
    /// answer must not delay a Ctrl-C.
    pub async fn is_gone_now(&self, limit: Duration) -> bool {
        let folders = self.clone();
        blocking::run(limit, move || folders.is_gone()).await.unwrap_or(false)
    }

    /// Waits until a folder is gone.
    pub async fn vanishes(&self) {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            if self.is_gone_now(CHECK_LIMIT).await {
                tokio::time::sleep(RECHECK).await;
                if self.is_gone_now(CHECK_LIMIT).await {
                    return;
                }
            }
        }
    }

    /// Returns the report for the user.
    pub fn report(&self) -> Report {
        let worktree = self.worktree.display();
        Report::new(Code::WorktreeGone, format!("the worktree {worktree} is gone"))
            .with_cause("it was removed, moved or replaced while its stack ran, so the stack was ended")
            .with_fix("start devrun where the worktree is now")
    }
}

/// Returns device and inode of a folder, which do not depend on its path.
fn identity(folder: &Path) -> std::io::Result<(u64, u64)> {
    let meta = std::fs::metadata(folder)?;
    Ok((meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_moved_and_replaced_are_gone_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, state) = (dir.path().join("tree"), dir.path().join("state"));
        std::fs::create_dir(&tree).unwrap();
        std::fs::create_dir(&state).unwrap();
        let folders = WatchedFolders::new(&tree, &state);
        std::fs::File::create(tree.join("file")).unwrap();
        assert!(!folders.is_gone());
        std::fs::rename(&tree, dir.path().join("other")).unwrap();
        assert!(folders.is_gone());
        std::fs::create_dir(&tree).unwrap();
        assert!(folders.is_gone(), "another folder of the same name");
        std::fs::remove_dir(&tree).unwrap();
        std::fs::rename(dir.path().join("other"), &tree).unwrap();
        assert!(!folders.is_gone());
        std::fs::remove_dir(&state).unwrap();
        assert!(folders.is_gone(), "git removed its part, the folder resisted");
    }
}
