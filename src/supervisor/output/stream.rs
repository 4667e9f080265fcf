//! One output stream: reads it, decides when an unfinished line is shown, and tracks whether earlier output is still
//! unread.

use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::Framer;
use crate::supervisor::terminals::Tap;

/// How long an unfinished line waits for its newline before it is shown.
const PARTIAL: Duration = Duration::from_millis(100);
/// The same for a line that is probably no prompt: it ends where a block ends or is longer than one.
const PARTIAL_LONG: Duration = Duration::from_secs(1);
/// The same for a line that is overwritten repeatedly, such as a progress bar.
const PARTIAL_REDRAWN: Duration = Duration::from_secs(2);
/// Programs whose output is no terminal write blocks of this size or a multiple of it, which may end within a line.
const BLOCK: usize = 4 << 10;
/// How long bytes that were written to a terminal may take to become readable. A pipe has no such delay.
const TERMINAL: Duration = Duration::from_millis(50);
/// The size to which a pipe is enlarged, so that writer and reader wake up less often. No more, because once a user's
/// pipes hold 64 MiB in all, the kernel makes new ones small (pipe(7), `pipe-user-pages-soft`).
#[cfg(target_os = "linux")]
const PIPE: i32 = 256 << 10;
/// The assumed size of a pipe if the system does not report it.
const CAPACITY: usize = 1 << 20;

/// One stream to read.
#[derive(Debug)]
pub struct OutputSource {
    /// Number of the process, as passed to the sink.
    pub process: usize,
    /// The read end. The caller has made it non-blocking.
    pub pipe: OwnedFd,
    /// Receives all bytes as they are read, in addition to the sink.
    pub tap: Option<Tap>,
}

/// The result of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    Bytes(usize),
    Nothing,
    End,
}

pub(super) struct OutputStream {
    pub(super) process: usize,
    pub(super) framer: Framer,
    tap: Option<Tap>,
    pipe: File,
    last_read: Instant,
    /// True if the last read was a multiple of [`BLOCK`], so that the line may have been cut by its writer's buffer.
    at_edge: bool,
    /// How many bytes the pipe can hold. Once that many were read, everything that was in it before has been read.
    capacity: usize,
    /// How long after a write the stream may still seem empty.
    delay: Duration,
    owed: Option<PendingBytes>,
}

/// An obligation to read everything that was written before `since`. At most `left` bytes of it are unread.
struct PendingBytes {
    since: Instant,
    left: usize,
}

impl OutputStream {
    pub(super) fn new(source: OutputSource) -> OutputStream {
        let pipe = File::from(source.pipe);
        let delay = if pipe.is_terminal() { TERMINAL } else { Duration::ZERO };
        OutputStream {
            process: source.process,
            framer: Framer::default(),
            tap: source.tap,
            last_read: Instant::now(),
            at_edge: false,
            capacity: widen(&pipe),
            delay,
            owed: None,
            pipe,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> ReadOutcome {
        match self.pipe.read(buffer) {
            Ok(0) => ReadOutcome::End,
            Ok(count) => {
                if let Some(tap) = self.tap.as_ref().filter(|tap| tap.receiver_count() > 0) {
                    let _ = tap.send(buffer[..count].to_vec());
                }
                self.at_edge = count.is_multiple_of(BLOCK);
                if let Some(owed) = &mut self.owed {
                    owed.left = owed.left.saturating_sub(count);
                }
                ReadOutcome::Bytes(count)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                ReadOutcome::Nothing
            }
            // A terminal whose other side has closed returns an error and not an end of file.
            Err(_) => ReadOutcome::End,
        }
    }

    /// Records that the last read was handed on. The time without output counts from now.
    pub(super) fn has_been_read(&mut self) {
        self.last_read = Instant::now();
    }

    /// Demands that everything written before `now` is read.
    pub(super) fn must_be_read(&mut self, now: Instant) {
        self.owed = Some(PendingBytes { since: now, left: self.capacity });
    }

    /// Returns true while output from before the last call of [`OutputStream::must_be_read`] may be unread or not shown.
    pub(super) fn owes(&self) -> bool {
        self.owed.as_ref().is_some_and(|owed| owed.left > 0)
    }

    /// Returns the time at which [`OutputStream::handle_empty`] must be called if no output arrives.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let owed = self.owed.as_ref().filter(|owed| owed.left > 0).map(|owed| {
            let settled = owed.since + self.delay;
            if self.framer.is_waiting() { settled.max(self.last_read + PARTIAL) } else { settled }
        });
        let shown = self.framer.is_waiting().then(|| self.last_read + self.patience());
        owed.into_iter().chain(shown).min()
    }

    /// Handles a stream that was empty at `now`. If its deadline has passed, shows the unfinished line and ends the
    /// obligation to read.
    pub(super) fn handle_empty(&mut self, now: Instant, hand_on: impl FnMut(&[u8], bool)) {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            self.framer.flush(hand_on);
            self.owed = None;
        }
    }

    fn patience(&self) -> Duration {
        if self.framer.is_redrawn() {
            PARTIAL_REDRAWN
        } else if self.at_edge || self.framer.pending() > BLOCK {
            PARTIAL_LONG
        } else {
            PARTIAL
        }
    }
}

/// Enlarges the pipe if that is allowed. Returns how many bytes it can hold.
#[cfg(target_os = "linux")]
fn widen(pipe: &File) -> usize {
    use nix::fcntl::{FcntlArg, fcntl};
    let held = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(PIPE)).or_else(|_| fcntl(pipe, FcntlArg::F_GETPIPE_SZ));
    held.ok().and_then(|held| usize::try_from(held).ok()).unwrap_or(CAPACITY)
}

#[cfg(not(target_os = "linux"))]
fn widen(_pipe: &File) -> usize {
    CAPACITY
}
