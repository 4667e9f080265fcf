//! Writes to stdout or stderr without mixing the output of several writers. Waits while the reader is slow; a `Backpressure`
//! reports for how long.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::os::spawn;
use crate::supervisor::output::Backpressure;

/// The largest write that does not block if poll(2) reports room in a pipe (pipe(7), `PIPE_BUF`).
const PIECE: usize = 4 << 10;
/// Milliseconds between two checks whether a slow reader has read something.
const CHECK_INTERVAL_MS: u16 = 100;
/// How many pauses of 0.1 ms a bulk write makes to let short messages through.
const BULK_PAUSES: u32 = 20;

/// A stream with several writers. The bytes of one write are not mixed with others.
pub(super) struct SharedStream {
    stream: Mutex<StandardStream>,
    backpressure: Backpressure,
    /// The number of short messages that wait for the stream. Bulk writes pause for them.
    urgent: AtomicUsize,
}

struct StandardStream {
    file: File,
    /// False for a regular file, which has no reader to wait for.
    is_read: bool,
}

impl SharedStream {
    pub(super) fn new(file: File) -> SharedStream {
        let is_read = !file.metadata().is_ok_and(|meta| meta.is_file());
        SharedStream {
            stream: Mutex::new(StandardStream { file, is_read }),
            backpressure: Backpressure::default(),
            urgent: AtomicUsize::new(0),
        }
    }

    /// Returns the backpressure that shows whether a write waits for the reader.
    pub(super) fn backpressure(&self) -> Backpressure {
        self.backpressure.clone()
    }

    /// Writes a short message. Bulk writes let it through.
    pub(super) fn say(&self, bytes: &[u8]) -> io::Result<()> {
        self.urgent.fetch_add(1, Ordering::Relaxed);
        let mut stream = self.lock();
        self.urgent.fetch_sub(1, Ordering::Relaxed);
        stream.write(bytes, &self.backpressure)
    }

    /// Writes a part of bulk output. Lets short messages through first.
    pub(super) fn pour(&self, bytes: &[u8]) -> io::Result<()> {
        for _ in 0..BULK_PAUSES {
            if self.urgent.load(Ordering::Relaxed) == 0 {
                break;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        self.lock().write(bytes, &self.backpressure)
    }

    fn lock(&self) -> MutexGuard<'_, StandardStream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StandardStream {
    fn write(&mut self, mut bytes: &[u8], backpressure: &Backpressure) -> io::Result<()> {
        while !bytes.is_empty() {
            let piece = if self.is_read { &bytes[..bytes.len().min(PIECE)] } else { bytes };
            if self.is_read {
                self.wait(backpressure)?;
            }
            match self.file.write(piece) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                // The stream is shared with the process that started us, and may have been made non-blocking.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until the stream has room.
    fn wait(&self, backpressure: &Backpressure) -> io::Result<()> {
        let mut unread = None;
        loop {
            let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
            let limit = if unread.is_none() { PollTimeout::ZERO } else { CHECK_INTERVAL_MS.into() };
            match poll(&mut fds, limit) {
                Ok(0) => {}
                Ok(_) => {
                    if unread.is_some() {
                        backpressure.flows();
                    }
                    return Ok(());
                }
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            // The reader may have read less than a page: the pipe still has no room, but the reader makes progress.
            let now = Some(spawn::unread(self.file.as_fd()));
            if now != unread {
                backpressure.waits();
                unread = now;
            }
        }
    }
}

/// Returns true if both are the same file, pipe or terminal.
pub(super) fn are_one(one: &File, other: &File) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => {
            (one.dev(), one.ino(), one.rdev()) == (other.dev(), other.ino(), other.rdev())
        }
        _ => false,
    }
}
