//! Reads files that a repository or another user may have created.
//!
//! Reads only regular files, up to a size and within a time limit, on a thread that may block ([`super::blocking`]). A
//! device or a named pipe is not even opened, because opening it can have an effect on the other end. Only
//! [`inside_or_pipe`] reads a pipe. `tests/architecture.rs` forbids other ways to read a file by its path.

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

/// The limits of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The maximum size in bytes. A larger file is an error.
    pub bytes: usize,
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

/// The reason why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("it is a folder")]
    Folder,
    /// It is neither a file nor a folder. The value is its kind, with an article.
    #[error("it is {0}, not a regular file")]
    NotRegular(&'static str),
    /// It is larger than the limit.
    #[error("it is larger than {} MiB", .0 >> 20)]
    TooLarge(usize),
    /// It is a named pipe, and its writer did not write everything in time.
    #[error("it is a named pipe, and no program wrote all of it within {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// Links lead out of the folders that must contain it.
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
    /// Returns true if no such file exists. A folder of that name does not count as missing.
    pub fn is_missing(&self) -> bool {
        matches!(self, ReadError::Io(error) if is_missing(error))
    }

    /// Returns true if a folder, a pipe or a device has that name.
    pub fn is_special(&self) -> bool {
        matches!(self, ReadError::Folder | ReadError::NotRegular(_))
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

/// Reads `path`. Follows links to any place. Errors if it is no regular file or exceeds `limit`.
pub fn file(path: &Path, limit: Limit) -> Result<Vec<u8>, ReadError> {
    let path = path.to_path_buf();
    blocking::within(limit.time, move || whole(&path, limit.bytes))?
}

/// Reads `path` like [`file()`]. Returns `None` if it does not exist.
pub fn optional(path: &Path, limit: Limit) -> Result<Option<Vec<u8>>, ReadError> {
    match file(path, limit) {
        Err(error) if error.is_missing() => Ok(None),
        read => read.map(Some),
    }
}

/// Reads `path` like [`file()`]. Errors if it is neither UTF-8 nor UTF-16 with a byte order mark.
pub fn text(path: &Path, limit: Limit) -> Result<String, ReadError> {
    decoded(file(path, limit)?)
        .ok_or_else(|| ReadError::Io(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8")))
}

/// Returns `bytes` as text if they are UTF-8, or UTF-16 with a byte order mark, which the PowerShell of Windows writes.
pub fn decoded(bytes: Vec<u8>) -> Option<String> {
    let pairs = |number: fn([u8; 2]) -> u16| -> Option<String> {
        let units = bytes.get(2..)?.chunks_exact(2);
        String::from_utf16(&units.map(|pair| number([pair[0], pair[1]])).collect::<Vec<u16>>()).ok()
    };
    match bytes.as_slice() {
        [0xff, 0xfe, ..] => pairs(u16::from_le_bytes),
        [0xfe, 0xff, ..] => pairs(u16::from_be_bytes),
        _ => String::from_utf8(bytes).ok(),
    }
}

/// Reads `path` like [`file()`]. Errors if links lead out of `roots`.
pub fn inside(roots: &[&Path], path: &Path, limit: Limit) -> Result<Vec<u8>, ReadError> {
    let (path, roots) = (path.to_path_buf(), owned(roots));
    blocking::within(limit.time, move || whole(&resolved(&roots, &path)?, limit.bytes))?
}

/// Reads `path` like [`inside`], and also a named pipe, until its writers close it. The content is kept: reading the
/// same pipe again in this process returns the same bytes, because its writer may write only once.
pub fn inside_or_pipe(roots: &[&Path], path: &Path, limit: Limit) -> Result<Vec<u8>, ReadError> {
    let (path, roots) = (path.to_path_buf(), owned(roots));
    // The pipe may use the whole time limit, so the thread gets more time.
    blocking::within(limit.time + Limit::SMALL.time, move || {
        let path = resolved(&roots, &path)?;
        if std::fs::metadata(&path)?.file_type().is_fifo() {
            piped(&path, limit)
        } else {
            whole(&path, limit.bytes)
        }
    })?
}

/// Returns the physical path of `path` with all links followed. Errors if it is not below one of `roots`.
pub fn resolve_inside(roots: &[&Path], path: &Path) -> Result<PathBuf, ReadError> {
    let (path, roots) = (path.to_path_buf(), owned(roots));
    blocking::within(Limit::SMALL.time, move || resolved(&roots, &path))?
}

/// Reads the first `bytes` bytes of `path`, or the whole file if it is shorter.
pub fn head(path: &Path, bytes: usize) -> Result<Vec<u8>, ReadError> {
    part(path, bytes, false)
}

/// Reads the last `bytes` bytes of `path`, or the whole file if it is shorter.
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

/// Opens `path` like [`file()`], without a limit on its size.
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
    // Read one byte more than the limit, because the file may grow during the read.
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most { Err(ReadError::TooLarge(most)) } else { Ok(bytes) }
}

/// Path, inode and creation time. The inode alone is not enough, because a later pipe may reuse it.
type PipeId = (PathBuf, u64, Option<SystemTime>);

/// Contents of named pipes that were read.
static PIPES: Mutex<BTreeMap<PipeId, Vec<u8>>> = Mutex::new(BTreeMap::new());

fn piped(path: &Path, limit: Limit) -> Result<Vec<u8>, ReadError> {
    // Locked during the read: two readers of a pipe would get a part each.
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
        // Before the first writer opens the pipe, a read returns 0 like at the end. poll(2) waits until there are bytes
        // or a writer has closed.
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
    // Check the opened file too: it may have been replaced after the first check.
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
    fn a_byte_order_mark_makes_utf_16_text() {
        let units: Vec<u16> = "fastapi é\r\n".encode_utf16().collect();
        let little = [vec![0xff, 0xfe], units.iter().flat_map(|unit| unit.to_le_bytes()).collect()].concat();
        let big = [vec![0xfe, 0xff], units.iter().flat_map(|unit| unit.to_be_bytes()).collect()].concat();
        assert_eq!(decoded(little).as_deref(), Some("fastapi é\r\n"));
        assert_eq!(decoded(big).as_deref(), Some("fastapi é\r\n"));
        assert_eq!(decoded(b"fastapi".to_vec()).as_deref(), Some("fastapi"));
        assert_eq!(decoded(vec![0x66, 0xe9]), None);
    }

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
    fn a_refused_pipe_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        assert!(file(&pipe, Limit::SMALL).is_err());
        // Opening the writing end without blocking fails while no reader has the pipe open.
        let writer = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&pipe);
        assert_eq!(writer.unwrap_err().raw_os_error(), Some(libc::ENXIO));
    }

    #[test]
    fn a_file_above_the_size_limit_is_an_error() {
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
    fn the_limit_holds_for_a_file_that_claims_to_be_empty() {
        // Files in /proc have size 0 and content.
        let limit = Limit { bytes: 1, ..Limit::SMALL };
        let read = file(Path::new("/proc/self/status"), limit);
        assert!(matches!(read, Err(ReadError::TooLarge(1))), "{read:?}");
    }

    #[test]
    fn the_start_and_the_end_of_a_file_can_be_read_separately() {
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
    fn a_pipe_that_no_program_fills_is_an_error_at_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let limit = Limit { time: Duration::from_millis(20), ..Limit::SMALL };
        assert!(matches!(inside_or_pipe(&[dir.path()], &pipe, limit), Err(ReadError::Silent(_))));
        // The same for a pipe that is open for writing and never closed.
        let _writer = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        assert!(matches!(inside_or_pipe(&[dir.path()], &pipe, limit), Err(ReadError::Silent(_))));
    }

    #[test]
    fn links_must_not_lead_out_of_the_roots() {
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
