//! Reads files that a repository or another user may have put there.
//!
//! Only regular files, up to a size, within a time, on a thread that may block ([`super::blocking`]). A device or a named
//! pipe is not even opened: opening alone can have an effect on the other end. Only [`inside_or_pipe`] reads a pipe.
//! `tests/architecture.rs` forbids other ways to read a file by its path.

use std::collections::BTreeMap;
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::blocking::{self, Stuck};
use super::deadline::Deadline;

/// How much of a file is accepted, and how long reading it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// A larger file is an error.
    pub bytes: usize,
    /// Reading for longer is an error.
    pub time: Duration,
}

impl Limit {
    /// Configuration, manifests, records, source files: 4 MiB in 5 s.
    pub const SMALL: Limit = Limit::mebibytes(4);
    /// Lock files of package managers, migrations with data, output of tools: 64 MiB in 5 s.
    pub const LARGE: Limit = Limit::mebibytes(64);

    /// Accepts `count` MiB, in 5 s.
    pub const fn mebibytes(count: usize) -> Limit {
        Limit { bytes: count << 20, time: Duration::from_secs(5) }
    }
}

/// A file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is a folder.
    #[error("it is a folder")]
    Folder,
    /// It is neither a file nor a folder; holds the kind with its article.
    #[error("it is {0}, not a regular file")]
    NotRegular(&'static str),
    /// It is larger than the limit.
    #[error("it is larger than {} MiB", .0 >> 20)]
    TooLarge(usize),
    /// It is a named pipe, and its writer did not write all in time.
    #[error("it is a named pipe, and no program wrote all of it within {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// Links lead out of the folders that it must lie in.
    #[error("it leads out of the worktree, to {}", .0.display())]
    Outside(PathBuf),
    /// The disk or the network did not answer in time.
    #[error("reading it failed: {0}")]
    Stuck(#[from] Stuck),
    /// Opening or reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ReadError {
    /// Returns true when there is no such file. A folder of that name is something else.
    pub fn is_missing(&self) -> bool {
        matches!(self, ReadError::Io(error) if is_missing(error))
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> io::Error {
        let kind = match error {
            ReadError::Io(error) => return error,
            ReadError::Stuck(stuck) => return stuck.into(),
            ReadError::Folder => io::ErrorKind::IsADirectory,
            ReadError::NotRegular(_) => io::ErrorKind::InvalidInput,
            ReadError::TooLarge(_) => io::ErrorKind::FileTooLarge,
            ReadError::Silent(_) => io::ErrorKind::TimedOut,
            ReadError::Outside(_) => io::ErrorKind::PermissionDenied,
        };
        io::Error::new(kind, error)
    }
}

/// Reads `path`, following links wherever they lead.
pub fn file(path: &Path, limit: Limit) -> Result<Vec<u8>, ReadError> {
    let path = path.to_path_buf();
    blocking::within(limit.time, move || whole(&path, limit.bytes))?
}

/// As [`file()`]; `None` when it does not exist.
pub fn optional(path: &Path, limit: Limit) -> Result<Option<Vec<u8>>, ReadError> {
    match file(path, limit) {
        Err(error) if error.is_missing() => Ok(None),
        read => read.map(Some),
    }
}

/// As [`file()`], and the file must be UTF-8.
pub fn text(path: &Path, limit: Limit) -> Result<String, ReadError> {
    let bytes = file(path, limit)?;
    String::from_utf8(bytes)
        .map_err(|_| ReadError::Io(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8")))
}

/// As [`file()`], and links may lead only to places below one of `roots`.
pub fn inside(roots: &[&Path], path: &Path, limit: Limit) -> Result<Vec<u8>, ReadError> {
    let (path, roots) = (path.to_path_buf(), owned(roots));
    blocking::within(limit.time, move || whole(&resolved(&roots, &path)?, limit.bytes))?
}

/// As [`inside`], and a named pipe is read until its writers close it. Its content is kept: a second read of the same
/// pipe by this process returns the same bytes, as its writer may write only once.
pub fn inside_or_pipe(roots: &[&Path], path: &Path, limit: Limit) -> Result<Vec<u8>, ReadError> {
    let (path, roots) = (path.to_path_buf(), owned(roots));
    // The pipe has the whole time for itself, so the thread gets more.
    blocking::within(limit.time + Limit::SMALL.time, move || {
        let path = resolved(&roots, &path)?;
        if std::fs::metadata(&path)?.file_type().is_fifo() {
            piped(&path, limit)
        } else {
            whole(&path, limit.bytes)
        }
    })?
}

/// Returns the physical path of `path` when it lies below one of `roots`, all links followed.
pub fn resolve_inside(roots: &[&Path], path: &Path) -> Result<PathBuf, ReadError> {
    let (path, roots) = (path.to_path_buf(), owned(roots));
    blocking::within(Limit::SMALL.time, move || resolved(&roots, &path))?
}

/// Reads the first `bytes` bytes of `path`, or all when it has fewer.
pub fn head(path: &Path, bytes: usize) -> Result<Vec<u8>, ReadError> {
    part(path, bytes, false)
}

/// Reads the last `bytes` bytes of `path`, or all when it has fewer.
pub fn tail(path: &Path, bytes: usize) -> Result<Vec<u8>, ReadError> {
    part(path, bytes, true)
}

fn part(path: &Path, bytes: usize, from_end: bool) -> Result<Vec<u8>, ReadError> {
    let path = path.to_path_buf();
    blocking::within(Limit::SMALL.time, move || {
        let mut file = opened(&path)?;
        if from_end {
            let size = file.metadata()?.len();
            file.seek(SeekFrom::Start(size.saturating_sub(bytes as u64)))?;
        }
        let mut read = Vec::new();
        file.take(bytes as u64).read_to_end(&mut read)?;
        Ok(read)
    })?
}

/// Opens `path` as [`file()`] does, without a limit on its size.
pub fn open(path: &Path) -> Result<File, ReadError> {
    let path = path.to_path_buf();
    blocking::within(Limit::SMALL.time, move || opened(&path))?
}

fn owned(roots: &[&Path]) -> Vec<PathBuf> {
    roots.iter().map(|root| root.to_path_buf()).collect()
}

fn resolved(roots: &[PathBuf], path: &Path) -> Result<PathBuf, ReadError> {
    let real = std::fs::canonicalize(path)?;
    let is_inside = |root: &PathBuf| std::fs::canonicalize(root).is_ok_and(|root| real.starts_with(root));
    if roots.iter().any(is_inside) { Ok(real) } else { Err(ReadError::Outside(real)) }
}

fn whole(path: &Path, most: usize) -> Result<Vec<u8>, ReadError> {
    let file = opened(path)?;
    let size = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if size > most {
        return Err(ReadError::TooLarge(most));
    }
    let mut bytes = Vec::with_capacity(size);
    // One byte more than is accepted: the file may grow while it is read.
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most { Err(ReadError::TooLarge(most)) } else { Ok(bytes) }
}

/// Path, inode and time of birth: the number of an inode is used again for a later pipe.
type PipeId = (PathBuf, u64, Option<SystemTime>);

/// Named pipes that were read, with their content.
static PIPES: Mutex<BTreeMap<PipeId, Vec<u8>>> = Mutex::new(BTreeMap::new());

fn piped(path: &Path, limit: Limit) -> Result<Vec<u8>, ReadError> {
    // Held while it is read: two readers would get a part each.
    let mut known = PIPES.lock().unwrap_or_else(PoisonError::into_inner);
    let meta = std::fs::metadata(path)?;
    let key = (path.to_path_buf(), meta.ino(), meta.created().ok());
    if let Some(bytes) = known.get(&key) {
        return Ok(bytes.clone());
    }
    let deadline = Deadline::within(limit.time);
    let mut pipe = open_without_waiting(path)?;
    if !pipe.metadata()?.file_type().is_fifo() {
        return Err(ReadError::NotRegular("no longer a named pipe"));
    }
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let left = PollTimeout::try_from(deadline.left()).unwrap_or(PollTimeout::ZERO);
        // Before the first writer there is nothing to wait for but its bytes: only then is the end an end.
        match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], left) {
            Ok(0) => return Err(ReadError::Silent(limit.time)),
            Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(io::Error::from(errno).into()),
            Ok(_) => {}
        }
        match pipe.read(&mut part) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&part[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error.into()),
        }
        if bytes.len() > limit.bytes {
            return Err(ReadError::TooLarge(limit.bytes));
        }
    }
    known.insert(key, bytes.clone());
    Ok(bytes)
}

fn open_without_waiting(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn opened(path: &Path) -> Result<File, ReadError> {
    regular(std::fs::metadata(path)?.file_type())?;
    let file = open_without_waiting(path)?;
    // Asked again of what was opened: another may have taken its place since.
    regular(file.metadata()?.file_type())?;
    Ok(file)
}

fn regular(kind: FileType) -> Result<(), ReadError> {
    if kind.is_file() {
        Ok(())
    } else if kind.is_dir() {
        Err(ReadError::Folder)
    } else if kind.is_fifo() {
        Err(ReadError::NotRegular("a named pipe"))
    } else if kind.is_socket() {
        Err(ReadError::NotRegular("a socket"))
    } else {
        Err(ReadError::NotRegular("a device"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;

    use super::*;
    use crate::os::fs::replace;

    #[test]
    fn devices_pipes_sockets_and_folders_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        nix::unistd::mkfifo(&path("pipe"), Mode::S_IRWXU).unwrap();
        symlink("/dev/zero", path("zero")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for name in ["pipe", "zero", "socket"] {
            assert!(matches!(file(&path(name), Limit::SMALL), Err(ReadError::NotRegular(_))), "{name}");
        }
        assert!(matches!(file(dir.path(), Limit::SMALL), Err(ReadError::Folder)));
    }

    #[test]
    fn a_refused_pipe_was_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        assert!(file(&pipe, Limit::SMALL).is_err());
        // A writer that does not wait is refused as long as no reader has it open.
        let writer = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&pipe);
        assert_eq!(writer.unwrap_err().raw_os_error(), Some(libc::ENXIO));
    }

    #[test]
    fn a_file_is_read_up_to_the_limit_and_not_beyond() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let limit = Limit { bytes: 4, ..Limit::SMALL };
        replace(&path, b"four", 0o600).unwrap();
        assert_eq!(file(&path, limit).unwrap(), b"four");
        replace(&path, b"fives", 0o600).unwrap();
        assert!(matches!(file(&path, limit), Err(ReadError::TooLarge(4))));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_that_claims_to_be_empty_has_a_limit_too() {
        // Files of /proc have size 0 and content.
        let limit = Limit { bytes: 1, ..Limit::SMALL };
        let read = file(Path::new("/proc/self/status"), limit);
        assert!(matches!(read, Err(ReadError::TooLarge(1))), "{read:?}");
    }

    #[test]
    fn both_ends_of_a_file_are_read_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        replace(&path, b"abc", 0o600).unwrap();
        for (count, first, last) in [(2, &b"ab"[..], &b"bc"[..]), (9, b"abc", b"abc")] {
            assert_eq!(
                (head(&path, count).unwrap(), tail(&path, count).unwrap()),
                (first.into(), last.into())
            );
        }
    }

    #[test]
    fn a_missing_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        replace(&dir.path().join("file"), b"", 0o600).unwrap();
        for name in ["missing", "file/below"] {
            assert!(optional(&dir.path().join(name), Limit::SMALL).unwrap().is_none(), "{name}");
        }
    }

    #[test]
    fn a_pipe_is_read_to_its_end_and_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || {
                let mut pipe = OpenOptions::new().write(true).open(pipe).unwrap();
                io::Write::write_all(&mut pipe, &vec![b'a'; 100_000]).unwrap();
            }
        });
        let read = || inside_or_pipe(&[dir.path()], &pipe, Limit::SMALL).unwrap();
        assert_eq!(read(), vec![b'a'; 100_000]);
        writer.join().unwrap();
        assert_eq!(read(), vec![b'a'; 100_000], "it has no writer any more");
    }

    #[test]
    fn a_pipe_that_no_program_fills_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let limit = Limit { time: Duration::from_millis(20), ..Limit::SMALL };
        assert!(matches!(inside_or_pipe(&[dir.path()], &pipe, limit), Err(ReadError::Silent(_))));
        // One that is open and never closed, too.
        let _writer = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        assert!(matches!(inside_or_pipe(&[dir.path()], &pipe, limit), Err(ReadError::Silent(_))));
    }

    #[test]
    fn links_lead_no_further_than_the_roots() {
        let dir = tempfile::tempdir().unwrap();
        let (root, other) = (dir.path().join("root"), dir.path().join("root-other"));
        replace(&root.join("file"), b"in", 0o600).unwrap();
        replace(&other.join("file"), b"out", 0o600).unwrap();
        symlink("file", root.join("near")).unwrap();
        symlink("../root-other/file", root.join("far")).unwrap();
        symlink("../root-other", root.join("folder")).unwrap();
        let read = |roots: &[&Path], name: &str| inside(roots, &root.join(name), Limit::SMALL);
        assert_eq!(read(&[&root], "near").unwrap(), b"in");
        for name in ["far", "folder/file", "../root-other/file"] {
            assert!(matches!(read(&[&root], name), Err(ReadError::Outside(_))), "{name}");
            assert_eq!(read(&[&root, &other], name).unwrap(), b"out", "{name}");
        }
    }
}
