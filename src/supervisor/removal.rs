//! Notices that the worktree is taken away under a run: removed, moved, or replaced by another folder of its name.
//!
//! Looks only; ending the run is whoever listens' part. Folders that cannot be looked at (another user's, a server that
//! does not answer) count as there.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Code, Report};
use crate::os::blocking;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(2);
/// How long one look may take before the next is tried: each that hangs occupies a thread.
const PATIENCE: Duration = Duration::from_hours(1);
/// After this a folder that was missing has not just been exchanged by somebody.
const AGAIN: Duration = Duration::from_millis(250);

/// Folders that a run cannot do without, as they are at its start.
#[derive(Clone, Debug)]
pub struct Ground {
    worktree: PathBuf,
    folders: Vec<(PathBuf, Option<(u64, u64)>)>,
}

impl Ground {
    /// Remembers the worktree's folder and that of its state, which git takes away with it.
    pub fn new(worktree: &Path, state: &Path) -> Ground {
        let known = |folder: &Path| Some((folder.to_path_buf(), Some(identity(folder).ok()?)));
        let folders = [worktree, state].into_iter().filter_map(known).collect();
        Ground { worktree: worktree.into(), folders }
    }

    /// True when one of them is no longer what it was.
    pub fn is_gone(&self) -> bool {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        self.folders.iter().any(|(folder, known)| match identity(folder) {
            Ok(now) => Some(now) != *known,
            Err(error) => matches!(error.kind(), NotFound | NotADirectory),
        })
    }

    /// As [`Ground::is_gone`], off this thread: a server that does not answer must not hold up a Ctrl-C.
    pub async fn is_gone_now(&self, limit: Duration) -> bool {
        let ground = self.clone();
        blocking::run(limit, move || ground.is_gone()).await.unwrap_or(false)
    }

    /// Resolves when they are gone.
    pub async fn vanishes(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if self.is_gone_now(PATIENCE).await {
                tokio::time::sleep(AGAIN).await;
                if self.is_gone_now(PATIENCE).await {
                    return;
                }
            }
        }
    }

    /// What to tell about it.
    pub fn report(&self) -> Report {
        let worktree = self.worktree.display();
        Report::new(Code::WorktreeGone, format!("the worktree {worktree} is gone"))
            .with_cause("it was removed, moved or replaced while its stack ran, so the stack was ended")
            .with_fix("start devrun where the worktree is now")
    }
}

/// What names a folder however it is called.
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
        let ground = Ground::new(&tree, &state);
        std::fs::File::create(tree.join("file")).unwrap();
        assert!(!ground.is_gone());
        std::fs::rename(&tree, dir.path().join("other")).unwrap();
        assert!(ground.is_gone());
        std::fs::create_dir(&tree).unwrap();
        assert!(ground.is_gone(), "another folder of the same name");
        std::fs::remove_dir(&tree).unwrap();
        std::fs::rename(dir.path().join("other"), &tree).unwrap();
        assert!(!ground.is_gone());
        std::fs::remove_dir(&state).unwrap();
        assert!(ground.is_gone(), "git removed its part, the folder resisted");
    }
}
