//! The output thread: polls every pipe, reads, frames, hands on.

use std::cell::Cell;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Framer, Sink};

/// How long the beginning of a line may wait for its end before it is shown.
const PARTIAL: Duration = Duration::from_millis(100);
/// A beginning longer than this is no prompt, but a long line whose writer was held up: it gets more time.
const PROMPT: usize = 4 << 10;
const PARTIAL_LONG: Duration = Duration::from_secs(1);
/// How long a pipe that outlives its process is still read when nothing comes.
const QUIET: Duration = Duration::from_millis(200);
/// How long a reader who does not read may hold up the end.
const PATIENCE: Duration = Duration::from_secs(2);
/// What one read takes at most.
const CHUNK: usize = 64 << 10;

/// One stream to read.
#[derive(Debug)]
pub struct Source {
    /// Number of the process, as the sink knows it.
    pub process: usize,
    /// The reading end; made non-blocking by the caller.
    pub pipe: OwnedFd,
}

enum Order {
    Add(Source),
    /// The process ended: read what is left, then answer.
    Drain(usize, tokio::sync::oneshot::Sender<()>),
    Finish,
}

/// Handle of the output thread. Dropping it drains every pipe and ends the thread; one that is stuck because nobody reads
/// what it writes is left behind.
pub struct Mux {
    orders: Sender<Order>,
    wake: std::io::PipeWriter,
    ended: Receiver<()>,
    /// Somebody waited in vain before: nobody waits again.
    stuck: Cell<bool>,
}

impl Mux {
    /// Starts the thread. `closed` is called once when nobody reads the sink's other end any more; `watched` is that
    /// other end, so that its closing is noticed even while nothing is printed.
    pub fn start(
        sink: impl Sink + 'static,
        watched: Option<OwnedFd>,
        closed: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Mux> {
        let (orders, received) = channel();
        let (waker, wake) = std::io::pipe()?;
        let worker = Worker {
            orders: received,
            waker,
            watched,
            sink: Box::new(sink),
            closed: Some(Box::new(closed)),
            streams: Vec::new(),
            drains: Vec::new(),
            finishing: false,
        };
        let (ending, ended) = channel();
        std::thread::Builder::new().name("output".into()).spawn(move || {
            worker.work();
            let _ = ending.send(());
        })?;
        Ok(Mux { orders, wake, ended, stuck: Cell::new(false) })
    }

    /// Reads `source` from now on.
    pub fn add(&self, source: Source) {
        self.order(Order::Add(source));
    }

    /// Resolves when everything process number `process` wrote has been handed on, or when nobody takes it.
    pub async fn drain(&self, process: usize) {
        let (done, wait) = tokio::sync::oneshot::channel();
        self.order(Order::Drain(process, done));
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            self.stuck.set(true);
        }
    }

    fn order(&self, order: Order) {
        use std::io::Write;
        // Both fail only when the thread is gone, and then there is nothing left to read.
        let _ = self.orders.send(order);
        let _ = (&self.wake).write(&[0]);
    }
}

impl Drop for Mux {
    fn drop(&mut self) {
        self.order(Order::Finish);
        if !self.stuck.get() {
            let _ = self.ended.recv_timeout(PATIENCE);
        }
    }
}

struct Stream {
    process: usize,
    pipe: std::fs::File,
    framer: Framer,
    last_read: Instant,
}

impl Stream {
    /// When the beginning of a line that waits for its end is shown.
    fn shown_at(&self) -> Option<Instant> {
        let patience = if self.framer.pending() > PROMPT { PARTIAL_LONG } else { PARTIAL };
        (self.framer.pending() > 0).then(|| self.last_read + patience)
    }
}

struct Worker {
    orders: Receiver<Order>,
    waker: std::io::PipeReader,
    watched: Option<OwnedFd>,
    sink: Box<dyn Sink>,
    closed: Option<Box<dyn FnOnce() + Send>>,
    streams: Vec<Stream>,
    drains: Vec<(usize, Instant, tokio::sync::oneshot::Sender<()>)>,
    finishing: bool,
}

impl Worker {
    fn work(mut self) {
        let mut buffer = vec![0; CHUNK];
        let mut ready = Vec::new();
        loop {
            self.settle(Instant::now());
            if self.finishing && self.streams.is_empty() {
                return;
            }
            self.wait(&mut ready);
            if ready.first() == Some(&true) {
                let _ = self.waker.read(&mut buffer);
                while let Ok(order) = self.orders.try_recv() {
                    self.obey(order);
                }
            }
            // Newest first, so that removing one does not move those still to come.
            for index in (0..ready.len().saturating_sub(1)).rev() {
                if ready[index + 1] {
                    self.read(index, &mut buffer);
                }
            }
        }
    }

    /// Fills `ready` with one flag for the waker and one for each stream.
    fn wait(&mut self, ready: &mut Vec<bool>) {
        let now = Instant::now();
        let until = self.next_deadline(now);
        let mut fds = vec![PollFd::new(self.waker.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.streams.iter().map(|stream| PollFd::new(stream.pipe.as_fd(), PollFlags::POLLIN)));
        // No flag asked for: only the closing of the other end (POLLERR, POLLHUP) is reported.
        fds.extend(self.watched.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::empty())));
        let timeout = until.map_or(PollTimeout::NONE, |until| {
            let left = until.saturating_duration_since(now) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let polled = poll(&mut fds, timeout);
        ready.clear();
        let count = 1 + self.streams.len();
        ready.extend(fds[..count].iter().map(|fd| polled.is_ok() && fd.any().unwrap_or(true)));
        let gone = fds.get(count).is_some_and(|fd| polled.is_ok() && fd.any().unwrap_or(false));
        if gone {
            self.reader_gone();
        }
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let partial = self.streams.iter().filter_map(Stream::shown_at);
        let drains = self.drains.iter().map(|(_, until, _)| *until);
        let finish = self.finishing.then_some(now + QUIET);
        partial.chain(drains).chain(finish).min()
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Add(source) => self.streams.push(Stream {
                process: source.process,
                pipe: source.pipe.into(),
                framer: Framer::default(),
                last_read: Instant::now(),
            }),
            Order::Drain(process, done) => self.drains.push((process, Instant::now() + QUIET, done)),
            Order::Finish => {
                self.finishing = true;
                // What was written before this moment has not been read yet, however long the stream was quiet.
                self.streams.iter_mut().for_each(|stream| stream.last_read = Instant::now());
            }
        }
    }

    /// Shows lines that waited long enough, ends what is drained, gives up what is quiet.
    fn settle(&mut self, now: Instant) {
        for index in 0..self.streams.len() {
            let stream = &self.streams[index];
            if stream.shown_at().is_some_and(|at| now >= at) {
                self.flush(index);
            }
        }
        if self.finishing {
            for index in (0..self.streams.len()).rev() {
                if now >= self.streams[index].last_read + QUIET {
                    self.flush(index);
                    self.streams.remove(index);
                }
            }
        }
        let (streams, drains) = (&self.streams, std::mem::take(&mut self.drains));
        let mut answered = Vec::new();
        for (process, until, done) in drains {
            let last = streams.iter().filter(|stream| stream.process == process).map(|s| s.last_read).max();
            match last {
                Some(last) if now < until.max(last + QUIET) => {
                    self.drains.push((process, until.max(last + QUIET), done));
                }
                _ => answered.push((process, done)),
            }
        }
        for (process, done) in answered {
            // Something it left behind may hold the pipe for ever; its beginning of a line is shown all the same.
            for index in 0..self.streams.len() {
                if self.streams[index].process == process {
                    self.flush(index);
                }
            }
            let _ = done.send(());
        }
    }

    fn read(&mut self, index: usize, buffer: &mut [u8]) {
        let stream = &mut self.streams[index];
        match stream.pipe.read(buffer) {
            Ok(0) => {
                self.flush(index);
                self.streams.remove(index);
            }
            Ok(count) => {
                stream.last_read = Instant::now();
                let (sink, process) = (&mut self.sink, stream.process);
                let handed = stream
                    .framer
                    .push(&buffer[..count], |chunk, continued| sink.lines(process, chunk, continued));
                if handed.is_err() {
                    self.reader_gone();
                }
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted
                ) => {}
            // A terminal whose other side closed answers with an error instead of an end.
            Err(_) => {
                self.flush(index);
                self.streams.remove(index);
            }
        }
    }

    fn flush(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        let (sink, process) = (&mut self.sink, stream.process);
        if stream.framer.flush(|chunk, continued| sink.lines(process, chunk, continued)).is_err() {
            self.reader_gone();
        }
    }

    /// From now on output is read and dropped, so that no child blocks on its way out.
    fn reader_gone(&mut self) {
        struct Nowhere;
        impl Sink for Nowhere {
            fn lines(&mut self, _: usize, _: &[u8], _: bool) -> std::io::Result<()> {
                Ok(())
            }
        }
        self.watched = None;
        self.sink = Box::new(Nowhere);
        if let Some(closed) = self.closed.take() {
            closed();
        }
    }
}
