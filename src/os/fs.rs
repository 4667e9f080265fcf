//! Handles devrun's own files: replaces them atomically, and locks them so that a killed owner does not block the next
//! one.
//!
//! A lock is flock(2) on a file that is never removed, so the kernel releases it when the process ends, even by a kill.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::deadline::Deadline;
use super::read::{self, Limit};
use crate::text::quoted;

/// An error of one of devrun's own files.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// The file could not be read, written or created.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The failed action, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A folder that must belong to us belongs to another user.
    #[error("{} belongs to another user (uid {owner})", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// The folder's owner.
        owner: u32,
    },
    /// Another process holds the lock.
    #[error("{} has been locked by another devrun for more than {} s", path.display(), waited.as_secs())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The time limit.
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
            FsError::Io { path, source, .. } if source.kind() == io::ErrorKind::TimedOut => {
                format!("check the disk or the network mount that holds {}", quoted(path))
            }
            FsError::Io { path, source, .. } => match home_variable(path).filter(|_| is_closed(source)) {
                Some(variable) => {
                    format!("set {variable} to a folder in which you may write, then run the same command again")
                }
                None => format!("check owner and mode of {}", quoted(path)),
            },
            FsError::Locked { .. } => "wait for the other devrun, or stop it".into(),
        })
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Returns the variable of the XDG base directory specification that moves `path` out of the home directory.
fn home_variable(path: &Path) -> Option<&'static str> {
    let folders =
        [(".local/state", "XDG_STATE_HOME"), (".local/share", "XDG_DATA_HOME"), (".cache", "XDG_CACHE_HOME")];
    let is_below = |folder: &str| path.ancestors().any(|above| above.ends_with(folder));
    folders.into_iter().find(|(folder, _)| is_below(folder)).map(|(_, variable)| variable)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FsError {
    let path = path.to_path_buf();
    move |source| FsError::Io { action, path, source }
}

/// Opens or creates a log, which only this user can read, to append to it: another process may still write to it. A log of at
/// least `most` bytes is emptied.
pub fn open_log(path: &Path, most: u64) -> Result<File, FsError> {
    let open = || {
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        if log.metadata()?.len() >= most {
            log.set_len(0)?;
        }
        Ok(log)
    };
    open().map_err(io_error("write", path))
}

/// Creates `path` and its missing parents, accessible by us alone.
pub fn make_private_dir(path: &Path) -> Result<(), FsError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error("create", path))
}

/// Creates the folder `path` with exactly `mode`, which it has from the moment it appears. Leaves a folder that exists as it is, also
/// an empty one: another process may be about to create a file in it.
pub fn make_dir(path: &Path, mode: u32) -> Result<(), FsError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let permissions = std::fs::Permissions::from_mode(mode);
    let new = tempfile::Builder::new().prefix(".devrun-").permissions(permissions.clone()).tempdir_in(parent);
    let new = new.map_err(io_error("create", path))?;
    // The umask has applied to the mode of the new folder.
    std::fs::set_permissions(new.path(), permissions.clone()).map_err(io_error("set the mode of", path))?;
    match renameat_with(CWD, new.path(), CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => {
            let _ = new.keep();
            Ok(())
        }
        Err(Errno::EXIST) if path.is_dir() => Ok(()),
        // Some file systems cannot refuse to replace. There, the folder is closed for a moment.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            make_private_dir(path)?;
            std::fs::set_permissions(path, permissions).map_err(io_error("set the mode of", path))
        }
        Err(errno) => Err(io_error("create", path)(errno.into())),
    }
}

/// Creates the folder `path` with mode 0700, or sets that mode if others have access to an existing folder. Errors if it
/// belongs to another user, which is possible in a shared temporary folder, or if it is no folder.
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

/// Returns true if `path` is a folder (not a link) that belongs to us, and whose mode has none of the bits in
/// `forbidden`.
pub fn is_own_dir(path: &Path, forbidden: u32) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| {
        meta.is_dir()
            && meta.uid() == nix::unistd::geteuid().as_raw()
            && meta.permissions().mode() & forbidden == 0
    })
}

/// Returns whether the file system of `folder` can share the content of two files until one of them changes. `None` if that cannot
/// be tried.
#[cfg(target_os = "linux")]
pub fn shares_content(folder: &Path) -> Option<bool> {
    use std::io::Write;
    let mut from = tempfile::tempfile_in(folder).ok()?;
    let to = tempfile::tempfile_in(folder).ok()?;
    from.write_all(&[0; 4096]).ok()?;
    Some(rustix::fs::ioctl_ficlone(&to, &from).is_ok())
}

/// Returns whether the file system of `folder` can share the content of two files. Not known here.
#[cfg(not(target_os = "linux"))]
pub fn shares_content(_folder: &Path) -> Option<bool> {
    None
}

/// Returns true if `path` is a regular file (not a link) that belongs to us.
pub fn is_own_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.uid() == nix::unistd::geteuid().as_raw())
}

/// Replaces `path` by `bytes` atomically: a reader, or the state after a crash, has either the old or the new file.
/// `mode` is the mode of the new file. Creates missing folders.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FsError> {
    let file = beside(path, bytes, mode)?;
    file.as_file().sync_data().map_err(io_error("write", path))?;
    put(file, path)
}

/// Replaces `path` like [`replace`], without waiting for the disk, for a file that is worthless after a crash of the
/// machine.
pub fn replace_for_now(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FsError> {
    let file = beside(path, bytes, mode)?;
    // ext4 flushes a file when it replaces another one by rename, but not when two files are exchanged.
    match renameat_with(CWD, file.path(), CWD, path, RenameFlags::EXCHANGE) {
        // The old file now has the temporary name and is removed with this value.
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

/// Reads a file of at most 64 MiB. Returns `None` if it does not exist. See [`super::read`] for files that are refused.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FsError> {
    read::optional(path, Limit::LARGE).map_err(|error| io_error("read", path)(error.into()))
}

/// Opens the file `path`, which exists, to write new contents.
pub fn open_to_fill(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).truncate(true).open(path)
}

/// Writes all cached data of the file system that contains the folder `path` to the disk.
#[cfg(target_os = "linux")]
pub fn sync_around(path: &Path) -> io::Result<()> {
    Ok(nix::unistd::syncfs(File::open(path)?)?)
}

/// Whether other processes may hold the lock too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// No other process.
    Exclusive,
    /// Other processes that take the same kind.
    Shared,
}

/// A held lock. It is released when dropped or when the process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock at `path`. Returns `None` if another process holds it. Errors if the file cannot be made or opened.
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

    /// Takes the lock at `path`. Waits at most `limit`, then errors.
    pub async fn take(path: &Path, kind: LockKind, limit: Duration) -> Result<Lock, FsError> {
        let deadline = Deadline::within(limit);
        let mut pause = Duration::from_millis(2);
        loop {
            if let Some(lock) = Lock::try_take(path, kind)? {
                return Ok(lock);
            }
            if deadline.left().is_zero() {
                return Err(FsError::Locked { path: path.into(), waited: limit });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Takes the lock like [`Lock::take`], for code without a runtime.
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

    /// Returns another descriptor of the same lock for a second process. The lock is held until both are closed.
    pub fn share(&self) -> Result<OwnedFd, FsError> {
        self.file.try_clone().map(OwnedFd::from).map_err(io_error("share", &self.path))
    }
}

/// Turns a shared lock that `descriptor` holds into an exclusive one if no other process holds it. Otherwise returns
/// `None` and gives up our share. The lock stays exclusive until [`File::unlock`] is called or its last descriptor is
/// closed.
pub fn upgrade_if_last(descriptor: OwnedFd) -> Option<File> {
    let file = File::from(descriptor);
    file.try_lock().is_ok().then_some(file)
}

/// Returns `path` with symbolic links resolved; its last components need not exist.
pub fn physical(path: &Path) -> PathBuf {
    let mut parents = path.ancestors();
    let found = parents.find_map(|parent| Some((std::fs::canonicalize(parent).ok()?, parent)));
    let rest = |parent: &Path| path.strip_prefix(parent).map(Path::to_path_buf).unwrap_or_default();
    found.map_or_else(|| path.into(), |(real, parent)| real.join(rest(parent)).components().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fix_for_a_disk_that_does_not_answer_is_to_check_the_disk() {
        use crate::error::Explain;
        let source = crate::os::blocking::Stuck::TimedOut(Duration::from_secs(1)).into();
        let error = FsError::Io { action: "read", path: "/w/a".into(), source };
        assert_eq!(error.fix().as_deref(), Some("check the disk or the network mount that holds /w/a"));
    }

    #[test]
    fn a_new_folder_is_never_seen_closed_and_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        for round in 0..200 {
            let path = root.path().join(round.to_string());
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    let path = &path;
                    scope.spawn(move || {
                        make_dir(path, 0o711).unwrap();
                        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o711);
                        // Fails in a folder that another thread has replaced.
                        std::fs::File::create(path.join(thread.to_string())).unwrap();
                    });
                }
                scope.spawn(|| {
                    let seen = std::iter::repeat_with(|| path.metadata()).find_map(Result::ok).unwrap();
                    assert_eq!(seen.permissions().mode() & 0o777, 0o711);
                });
            });
            assert_eq!(std::fs::read_dir(&path).unwrap().count(), 4);
        }
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 200, "a temporary folder is left");
    }

    #[test]
    fn a_home_that_cannot_be_written_names_the_variable_that_helps() {
        let closed = |path: &str, kind: io::ErrorKind| {
            let error = FsError::Io { action: "create", path: path.into(), source: kind.into() };
            crate::error::Explain::fix(&error).unwrap()
        };
        let state = closed("/home/u/.local/state/devrun-worktree/x", io::ErrorKind::ReadOnlyFilesystem);
        assert!(state.starts_with("set XDG_STATE_HOME to a folder"), "{state}");
        let cache = closed("/home/u/.cache/devrun-worktree", io::ErrorKind::PermissionDenied);
        assert!(cache.starts_with("set XDG_CACHE_HOME"), "{cache}");
        let similar = closed("/srv/.cached/x", io::ErrorKind::PermissionDenied);
        assert!(similar.starts_with("check owner and mode"), "{similar}");
        assert!(closed("/srv/state", io::ErrorKind::PermissionDenied).starts_with("check owner and mode"));
    }

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
    fn an_exclusive_lock_excludes_others_and_a_shared_one_does_not() {
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

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_lock_ends_at_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::try_take(&path, LockKind::Exclusive).unwrap().unwrap();
        let (start, limit) = (tokio::time::Instant::now(), Duration::from_mins(2));
        let error = Lock::take(&path, LockKind::Exclusive, limit).await.unwrap_err();
        assert!(matches!(error, FsError::Locked { .. }));
        assert!(
            (limit..limit + Duration::from_millis(60)).contains(&start.elapsed()),
            "{:?}",
            start.elapsed()
        );
        let release = async {
            tokio::time::sleep(limit / 2).await;
            drop(held);
        };
        let (taken, ()) = tokio::join!(Lock::take(&path, LockKind::Exclusive, limit), release);
        assert!(taken.is_ok());
    }
}
