//! Files of devrun's own: replaced atomically, locked so that a killed owner never blocks the next.
//!
//! Locks are flock(2) on a file that is never removed, so the kernel releases them with the process, however it dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::read::{self, Limit};

/// Something about one of our own files went wrong.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// Reading, writing or making it.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A folder that must be ours alone belongs to another user.
    #[error("{} belongs to another user (uid {owner})", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Somebody else holds the lock.
    #[error("{} is locked by another devrun for more than {} s", path.display(), waited.as_secs())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long we tried.
        waited: Duration,
    },
}

impl crate::error::Explain for FsError {
    fn code(&self) -> crate::error::Code {
        crate::error::Code::State
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            FsError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space on that disk, then run the same command again".into()
            }
            FsError::Foreign { .. } => {
                "set XDG_RUNTIME_DIR to a folder of your own (mode 0700, a short path), then run the same command again"
                    .into()
            }
            FsError::Io { path, .. } => format!("check owner and mode of {}", path.display()),
            FsError::Locked { .. } => "wait for the other devrun, or stop it".into(),
        })
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FsError {
    let path = path.to_path_buf();
    move |source| FsError::Io { action, path, source }
}

/// Makes `path` and its parents, readable by us alone where they are new.
pub fn make_private_dir(path: &Path) -> Result<(), FsError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error("create", path))
}

/// Makes `path` a 0700 folder of ours, and refuses one that is not (a stranger's in a shared temporary folder).
pub fn make_own_dir(path: &Path) -> Result<(), FsError> {
    make_private_dir(path)?;
    let meta = std::fs::symlink_metadata(path).map_err(io_error("look at", path))?;
    if meta.uid() != nix::unistd::geteuid().as_raw() {
        return Err(FsError::Foreign { path: path.into(), owner: meta.uid() });
    }
    if !meta.is_dir() {
        return Err(io_error("use", path)(io::ErrorKind::NotADirectory.into()));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
            .map_err(io_error("set the mode of", path))?;
    }
    Ok(())
}

/// Returns true when `path` is a folder, no link, that belongs to us and whose mode has none of the bits `forbidden`.
pub fn is_own_dir(path: &Path, forbidden: u32) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| {
        meta.is_dir()
            && meta.uid() == nix::unistd::geteuid().as_raw()
            && meta.permissions().mode() & forbidden == 0
    })
}

/// Returns true when `path` is a regular file, no link, that belongs to us.
pub fn is_own_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.uid() == nix::unistd::geteuid().as_raw())
}

/// Replaces `path` by `bytes` in one step: a reader, or a crash, sees the old file or the new one, whole.
/// `mode` is the permission of the new file; folders on the way are made.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FsError> {
    let file = beside(path, bytes, mode)?;
    file.as_file().sync_data().map_err(io_error("write", path))?;
    put(file, path)
}

/// The same without waiting for the disk: for what means nothing once the machine was down.
pub fn replace_for_now(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FsError> {
    let file = beside(path, bytes, mode)?;
    // Where one file takes the place of another, ext4 writes the new one out first; it does not when they change places.
    let exchange = rustix::fs::RenameFlags::EXCHANGE;
    match rustix::fs::renameat_with(rustix::fs::CWD, file.path(), rustix::fs::CWD, path, exchange) {
        // What was there is removed with the value, under the name it has now.
        Ok(()) => Ok(()),
        Err(_) => put(file, path),
    }
}

fn beside(path: &Path, bytes: &[u8], mode: u32) -> Result<tempfile::NamedTempFile, FsError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_private_dir(folder)?;
    let mut file = tempfile::Builder::new()
        .prefix(".devrun-")
        .permissions(std::fs::Permissions::from_mode(mode))
        .tempfile_in(folder)
        .map_err(io_error("write", path))?;
    file.write_all(bytes).map_err(io_error("write", path))?;
    Ok(file)
}

fn put(file: tempfile::NamedTempFile, path: &Path) -> Result<(), FsError> {
    file.persist(path).map_err(|error| io_error("replace", path)(error.error))?;
    Ok(())
}

/// Reads a file of at most 64 MiB; `None` when it does not exist. See [`super::read`] for what is refused.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FsError> {
    read::optional(path, Limit::LARGE).map_err(|error| io_error("read", path)(error.into()))
}

/// Writes everything of the file system that holds the folder `path` to the disk.
#[cfg(target_os = "linux")]
pub fn sync_around(path: &Path) -> io::Result<()> {
    Ok(nix::unistd::syncfs(File::open(path)?)?)
}

/// Whether others may hold the lock too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Nobody else.
    Exclusive,
    /// Others who ask for the same kind.
    Shared,
}

/// A held lock; released when dropped or when the process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock at `path` if nobody holds it; `None` when somebody does.
    pub fn try_take(path: &Path, kind: LockKind) -> Result<Option<Lock>, FsError> {
        if let Some(folder) = path.parent() {
            make_private_dir(folder)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(io_error("open", path))?;
        let taken = match kind {
            LockKind::Exclusive => file.try_lock(),
            LockKind::Shared => file.try_lock_shared(),
        };
        match taken {
            Ok(()) => Ok(Some(Lock { file, path: path.into() })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(io_error("lock", path)(error)),
        }
    }

    /// Takes the lock at `path`, waiting at most `limit`.
    pub async fn take(path: &Path, kind: LockKind, limit: Duration) -> Result<Lock, FsError> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(2);
        loop {
            if let Some(lock) = Lock::try_take(path, kind)? {
                return Ok(lock);
            }
            if start.elapsed() >= limit {
                return Err(FsError::Locked { path: path.into(), waited: limit });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// As [`Lock::take`], for code without a runtime.
    pub fn take_blocking(path: &Path, kind: LockKind, limit: Duration) -> Result<Lock, FsError> {
        let start = Instant::now();
        loop {
            if let Some(lock) = Lock::try_take(path, kind)? {
                return Ok(lock);
            }
            if start.elapsed() >= limit {
                return Err(FsError::Locked { path: path.into(), waited: limit });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where the lock file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Another handle on the same lock, to be kept by a second process: it is held until both are gone.
    pub fn share(&self) -> Result<OwnedFd, FsError> {
        self.file.try_clone().map(OwnedFd::from).map_err(io_error("share", &self.path))
    }

    /// Replaces the text in the lock file, for people who wonder who holds it.
    pub fn write(&self, text: &str) -> Result<(), FsError> {
        use std::os::unix::fs::FileExt;
        self.file
            .set_len(0)
            .and_then(|()| self.file.write_all_at(text.as_bytes(), 0))
            .map_err(io_error("write", &self.path))
    }
}

/// Turns a shared lock held through `descriptor` (and perhaps by others) into an exclusive one, when we are its last
/// holder; `None` when somebody else holds it, and then ours is gone. It stays exclusive until [`File::unlock`] is called
/// or the last handle on it is closed.
pub fn upgrade_if_last(descriptor: OwnedFd) -> Option<File> {
    let file = File::from(descriptor);
    file.try_lock().is_ok().then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_keeps_the_mode_and_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/file");
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_file_is_not_an_error() {
        assert_eq!(read(Path::new("/nonexistent/devrun")).unwrap(), None);
    }

    #[test]
    fn exclusive_excludes_and_shared_shares() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::try_take(&path, LockKind::Shared).unwrap().unwrap();
        let second = Lock::try_take(&path, LockKind::Shared).unwrap().unwrap();
        assert!(Lock::try_take(&path, LockKind::Exclusive).unwrap().is_none());
        drop(first);
        assert!(upgrade_if_last(second.share().unwrap()).is_some());
    }

    #[test]
    fn a_shared_lock_is_not_upgraded_while_another_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::try_take(&path, LockKind::Shared).unwrap().unwrap();
        let _second = Lock::try_take(&path, LockKind::Shared).unwrap().unwrap();
        assert!(upgrade_if_last(first.share().unwrap()).is_none());
    }

    #[tokio::test]
    async fn waiting_for_a_lock_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let _held = Lock::try_take(&path, LockKind::Exclusive).unwrap().unwrap();
        let error = Lock::take(&path, LockKind::Exclusive, Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(error, FsError::Locked { .. }));
    }
}
