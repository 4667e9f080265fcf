//! The output thread: polls and reads every pipe, cuts the output into lines and passes them to the sink.

use std::cell::Cell;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::oneshot;

use super::stream::{OutputSource, OutputStream, ReadOutcome};
use super::{Backpressure, Sink};

/// How long a reader that takes nothing may delay other work.
const READER_LIMIT: Duration = Duration::from_secs(2);
/// How long such a reader may delay an end of the run that the user did not request. The reader may be a pager.
const PAGER: Duration = Duration::from_mins(30);
/// The interval between checks whether the reader has taken something.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// The largest read, in bytes.
const CHUNK: usize = 256 << 10;

enum MuxCommand {
    Add(OutputSource),
    /// The process has ended: read its remaining output, then answer.
    Drain(usize, oneshot::Sender<()>),
    Finish,
}

/// Handle of the output thread. Dropping it reads the rest of every pipe and ends the thread. If the reader takes
/// nothing for `READER_LIMIT`, the thread is left running.
pub struct Mux {
    orders: Sender<MuxCommand>,
    wake: std::io::PipeWriter,
    ended: Cell<Option<oneshot::Receiver<()>>>,
    backpressure: Backpressure,
}

impl Mux {
    /// Starts the thread. Calls `closed` once when the reader of the sink's output has gone. `watched` is a copy of
    /// that output; the thread polls it, so that it notices a closed reader even while nothing is written. Errors if
    /// the thread cannot be started.
    pub fn start(
        sink: impl Sink + 'static,
        watched: Option<OwnedFd>,
        closed: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Mux> {
        let (orders, received) = channel();
        let (waker, wake) = std::io::pipe()?;
        let backpressure = sink.backpressure();
        let worker = Worker {
            orders: received,
            waker,
            watched,
            output: OutputSink { sink: Box::new(sink), closed: Some(Box::new(closed)) },
            streams: Vec::new(),
            drains: Vec::new(),
            finishing: false,
        };
        let (ending, ended) = oneshot::channel();
        std::thread::Builder::new().name("output".into()).spawn(move || {
            worker.work();
            let _ = ending.send(());
        })?;
        Ok(Mux { orders, wake, ended: Cell::new(Some(ended)), backpressure })
    }

    /// Adds `source` to the pipes that the thread reads.
    pub fn add(&self, source: OutputSource) {
        self.order(MuxCommand::Add(source));
    }

    /// Waits until everything that process number `process` wrote has been passed to the sink, or until the reader has
    /// taken nothing for `READER_LIMIT`.
    pub async fn drain(&self, process: usize) {
        let (done, wait) = oneshot::channel();
        self.order(MuxCommand::Drain(process, done));
        until_stuck(wait, &self.backpressure, READER_LIMIT).await;
    }

    /// Reads the rest of every pipe, passes it to the sink and ends the thread. Waits as long as the reader takes
    /// something, however slow it is. If it takes nothing, gives up after `READER_LIMIT` if `hurried`, otherwise after
    /// `PAGER`.
    pub async fn finish(&self, hurried: bool) {
        self.order(MuxCommand::Finish);
        if let Some(ended) = self.ended.take() {
            until_stuck(ended, &self.backpressure, if hurried { READER_LIMIT } else { PAGER }).await;
        }
    }

    fn order(&self, order: MuxCommand) {
        use std::io::Write;
        // Both fail only if the thread has ended, and then nothing is left to read.
        let _ = self.orders.send(order);
        let _ = (&self.wake).write(&[0]);
    }
}

/// Waits for `wait`, or until the reader behind `backpressure` has taken nothing for `limit`.
async fn until_stuck(mut wait: oneshot::Receiver<()>, backpressure: &Backpressure, limit: Duration) {
    while tokio::time::timeout(CHECK_INTERVAL, &mut wait).await.is_err() {
        if backpressure.stuck_for() >= limit {
            return;
        }
    }
}

impl Drop for Mux {
    fn drop(&mut self) {
        let Some(mut ended) = self.ended.take() else { return };
        self.order(MuxCommand::Finish);
        while ended.try_recv() == Err(oneshot::error::TryRecvError::Empty)
            && self.backpressure.stuck_for() < READER_LIMIT
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

struct Worker {
    orders: Receiver<MuxCommand>,
    waker: std::io::PipeReader,
    watched: Option<OwnedFd>,
    output: OutputSink,
    streams: Vec<OutputStream>,
    drains: Vec<(usize, oneshot::Sender<()>)>,
    finishing: bool,
}

/// The sink, and the function to call when the reader of its output has gone.
struct OutputSink {
    sink: Box<dyn Sink>,
    closed: Option<Box<dyn FnOnce() + Send>>,
}

/// The result of one poll of all pipes.
#[derive(Default)]
struct PollResult {
    /// One flag for each stream: true if it can be read.
    ready: Vec<bool>,
    /// True if an order has arrived.
    woken: bool,
    /// False if the poll failed, so that a stream without data is not known to be empty.
    valid: bool,
}

impl Worker {
    fn work(mut self) {
        let mut buffer = vec![0; CHUNK];
        let mut look = PollResult::default();
        loop {
            self.answer();
            if self.finishing && self.streams.is_empty() {
                return;
            }
            // Take the time before the poll. Only this thread empties the pipes, so a stream that the poll finds empty
            // was already empty now, however long this thread is held up in between.
            let now = Instant::now();
            self.read_stream(&mut look);
            // From the last to the first, because removing a stream moves those after it.
            for index in (0..look.ready.len()).rev() {
                if look.ready[index] {
                    self.read(index, &mut buffer);
                } else if look.valid && !look.woken {
                    self.handle_empty(index, now);
                }
            }
            if look.woken {
                let _ = self.waker.read(&mut buffer);
                while let Ok(order) = self.orders.try_recv() {
                    self.obey(order);
                }
            }
        }
    }

    fn read_stream(&mut self, look: &mut PollResult) {
        let deadline = self.streams.iter().filter_map(OutputStream::deadline).min();
        let mut fds = vec![PollFd::new(self.waker.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.streams.iter().map(|stream| PollFd::new(stream.fd(), PollFlags::POLLIN)));
        // No event is requested, so the poll reports only that the other end has closed (POLLERR, POLLHUP).
        fds.extend(self.watched.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::empty())));
        look.valid = poll(&mut fds, timeout(deadline)).is_ok();
        let flag = |fd: &PollFd<'_>| look.valid && fd.any().unwrap_or(true);
        let count = self.streams.len();
        look.woken = flag(&fds[0]);
        look.ready.clear();
        look.ready.extend(fds[1..=count].iter().map(flag));
        if fds.get(count + 1).is_some_and(flag) {
            self.watched = None;
            self.output.reader_gone();
        }
    }

    fn obey(&mut self, order: MuxCommand) {
        let now = Instant::now();
        match order {
            MuxCommand::Add(source) => self.streams.push(OutputStream::new(source)),
            MuxCommand::Drain(process, done) => {
                let streams = self.streams.iter_mut().filter(|stream| stream.process == process);
                streams.for_each(|stream| stream.must_be_read(now));
                self.drains.push((process, done));
            }
            MuxCommand::Finish => {
                self.finishing = true;
                self.streams.iter_mut().for_each(|stream| stream.must_be_read(now));
            }
        }
    }

    /// Answers the drain orders of processes whose output has been read. Does not wait for the end of a pipe, because a
    /// process that was left behind may hold it open forever.
    fn answer(&mut self) {
        for index in (0..self.drains.len()).rev() {
            let process = self.drains[index].0;
            if !self.streams.iter().any(|stream| stream.process == process && stream.owes()) {
                let _ = self.drains.swap_remove(index).1.send(());
            }
        }
    }

    /// Handles a stream that was empty at `now`.
    fn handle_empty(&mut self, index: usize, now: Instant) {
        let Worker { streams, output, .. } = self;
        let stream = &mut streams[index];
        let process = stream.process;
        stream.handle_empty(now, |chunk, continued| output.lines(process, chunk, continued));
        if self.finishing && !self.streams[index].owes() {
            self.end(index);
        }
    }

    fn read(&mut self, index: usize, buffer: &mut [u8]) {
        let Worker { streams, output, .. } = self;
        let stream = &mut streams[index];
        let process = stream.process;
        match stream.read(buffer) {
            ReadOutcome::Bytes(count) => {
                stream
                    .framer
                    .push(&buffer[..count], |chunk, continued| output.lines(process, chunk, continued));
                stream.has_been_read();
                if self.finishing && !self.streams[index].owes() {
                    self.end(index);
                }
            }
            ReadOutcome::Nothing => {}
            ReadOutcome::End => self.end(index),
        }
    }

    fn end(&mut self, index: usize) {
        let mut stream = self.streams.remove(index);
        stream.framer.flush(|chunk, continued| self.output.lines(stream.process, chunk, continued));
    }
}

impl OutputSink {
    fn lines(&mut self, process: usize, chunk: &[u8], continued: bool) {
        if self.sink.lines(process, chunk, continued).is_err() {
            self.reader_gone();
        }
    }

    /// Calls `closed` once. The pipes are still read, so that no child blocks on a full pipe.
    fn reader_gone(&mut self) {
        if let Some(closed) = self.closed.take() {
            closed();
        }
    }
}

fn timeout(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => PollTimeout::ZERO,
        // Round up to whole milliseconds, so that the poll does not end too early.
        left => PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX),
    }
}

#[cfg(test)]
mod tests;
