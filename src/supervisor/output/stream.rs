//! One stream that is read: what it has not finished, when that is shown, and whether it owes something.

use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::Framer;
use crate::supervisor::terminals::Tap;

/// How long the beginning of a line may wait for its end before it is shown.
const PARTIAL: Duration = Duration::from_millis(100);
/// The same for a beginning that is no prompt, but a line whose writer was held up or writes block by block.
const PARTIAL_LONG: Duration = Duration::from_secs(1);
/// The same for one that is drawn over all the time, such as a progress bar.
const PARTIAL_REDRAWN: Duration = Duration::from_secs(2);
/// Programs that do not know a terminal write blocks of this size, or a multiple of it, wherever that cuts a line.
const BLOCK: usize = 4 << 10;
/// How long what was written to a terminal may take to arrive on its other side. Through a pipe it is there at once.
const TERMINAL: Duration = Duration::from_millis(50);
/// What a pipe holds when it can be had: fewer wake-ups, for the writer and for us. No more, because a user's pipes
/// together may hold 64 MiB before all further ones shrink (pipe(7), `pipe-user-pages-soft`).
#[cfg(target_os = "linux")]
const PIPE: i32 = 256 << 10;
/// What one may hold at most when nobody says.
const CAPACITY: usize = 1 << 20;

/// One stream to read.
#[derive(Debug)]
pub struct Source {
    /// Number of the process, as the sink knows it.
    pub process: usize,
    /// The reading end; made non-blocking by the caller.
    pub pipe: OwnedFd,
    /// Where everything goes as it comes, beside the sink.
    pub tap: Option<Tap>,
}

/// What came of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Bytes(usize),
    Nothing,
    End,
}

pub(super) struct Stream {
    pub(super) process: usize,
    pub(super) framer: Framer,
    tap: Option<Tap>,
    pipe: File,
    last_read: Instant,
    /// The last reading ended where a block does.
    at_edge: bool,
    /// What it can hold: all that was written before some moment has been read after that much.
    capacity: usize,
    /// How long after that moment it may seem empty without being so.
    delay: Duration,
    owed: Option<Owed>,
}

/// What was written before `since` must be read.
struct Owed {
    since: Instant,
    left: usize,
}

impl Stream {
    pub(super) fn new(source: Source) -> Stream {
        let pipe = File::from(source.pipe);
        let delay = if pipe.is_terminal() { TERMINAL } else { Duration::ZERO };
        Stream {
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

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Found {
        match self.pipe.read(buffer) {
            Ok(0) => Found::End,
            Ok(count) => {
                if let Some(tap) = self.tap.as_ref().filter(|tap| tap.receiver_count() > 0) {
                    let _ = tap.send(buffer[..count].to_vec());
                }
                self.at_edge = count.is_multiple_of(BLOCK);
                if let Some(owed) = &mut self.owed {
                    owed.left = owed.left.saturating_sub(count);
                }
                Found::Bytes(count)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Found::Nothing
            }
            // A terminal whose other side closed answers with an error instead of an end.
            Err(_) => Found::End,
        }
    }

    /// What was read has been handed on: from now on it counts how long nothing comes.
    pub(super) fn has_been_read(&mut self) {
        self.last_read = Instant::now();
    }

    /// Everything written before now must be read.
    pub(super) fn must_be_read(&mut self, now: Instant) {
        self.owed = Some(Owed { since: now, left: self.capacity });
    }

    /// True while something written before the last call of [`Stream::must_be_read`] may be unread or unshown.
    pub(super) fn owes(&self) -> bool {
        self.owed.as_ref().is_some_and(|owed| owed.left > 0)
    }

    /// When something is to be done about this stream although nothing comes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let owed = self.owed.as_ref().filter(|owed| owed.left > 0).map(|owed| {
            let settled = owed.since + self.delay;
            if self.framer.is_waiting() { settled.max(self.last_read + PARTIAL) } else { settled }
        });
        let shown = self.framer.is_waiting().then(|| self.last_read + self.patience());
        owed.into_iter().chain(shown).min()
    }

    /// The stream was seen empty at `now`: shows the beginning of a line that waited long enough, and settles what is owed.
    pub(super) fn is_empty(&mut self, now: Instant, hand_on: impl FnMut(&[u8], bool)) {
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

/// Makes the pipe larger when that is allowed; what it holds.
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
