//! A standard stream: what is written goes out whole, whoever reads slowly is waited for, and that he does is told.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::os::spawn;
use crate::supervisor::output::Gauge;

/// What a pipe takes at once when it takes anything (pipe(7), `PIPE_BUF`): writing no more than that never blocks.
const PIECE: usize = 4 << 10;
/// Time between two looks at whether a slow reader took something.
const LOOK: u16 = 100;
/// How long whoever writes all the time lets others go first, in turns of a tenth of a millisecond.
const POLITENESS: u32 = 20;

/// One stream, for several writers: what one of them writes stands together.
pub(super) struct Outlet {
    stream: Mutex<Stream>,
    gauge: Gauge,
    /// Writers that must not wait until those who write all the time pause.
    urgent: AtomicUsize,
}

struct Stream {
    file: File,
    /// Somebody reads it, perhaps slowly: no regular file.
    is_read: bool,
}

impl Outlet {
    pub(super) fn new(file: File) -> Outlet {
        let is_read = !file.metadata().is_ok_and(|meta| meta.is_file());
        Outlet {
            stream: Mutex::new(Stream { file, is_read }),
            gauge: Gauge::default(),
            urgent: AtomicUsize::new(0),
        }
    }

    /// Tells whether writing waits for a reader.
    pub(super) fn gauge(&self) -> Gauge {
        self.gauge.clone()
    }

    /// Writes something short in between.
    pub(super) fn say(&self, bytes: &[u8]) -> io::Result<()> {
        self.urgent.fetch_add(1, Ordering::Relaxed);
        let mut stream = self.lock();
        self.urgent.fetch_sub(1, Ordering::Relaxed);
        stream.write(bytes, &self.gauge)
    }

    /// Writes what is only a part of much.
    pub(super) fn pour(&self, bytes: &[u8]) -> io::Result<()> {
        for _ in 0..POLITENESS {
            if self.urgent.load(Ordering::Relaxed) == 0 {
                break;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        self.lock().write(bytes, &self.gauge)
    }

    fn lock(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    fn write(&mut self, mut bytes: &[u8], gauge: &Gauge) -> io::Result<()> {
        while !bytes.is_empty() {
            let piece = if self.is_read { &bytes[..bytes.len().min(PIECE)] } else { bytes };
            if self.is_read {
                self.wait(gauge)?;
            }
            match self.file.write(piece) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                // The stream is shared with whoever started us, and may have been made non-blocking.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until the reader takes something.
    fn wait(&self, gauge: &Gauge) -> io::Result<()> {
        let mut unread = None;
        loop {
            let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
            let limit = if unread.is_none() { PollTimeout::ZERO } else { LOOK.into() };
            match poll(&mut fds, limit) {
                Ok(0) => {}
                Ok(_) => {
                    if unread.is_some() {
                        gauge.flows();
                    }
                    return Ok(());
                }
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            // Less than a whole page may have been taken: then there is still no room, but it goes on.
            let now = Some(spawn::unread(self.file.as_fd()));
            if now != unread {
                gauge.waits();
                unread = now;
            }
        }
    }
}

/// True when both are the same file, pipe or terminal.
pub(super) fn are_one(one: &File, other: &File) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => {
            (one.dev(), one.ino(), one.rdev()) == (other.dev(), other.ino(), other.rdev())
        }
        _ => false,
    }
}
