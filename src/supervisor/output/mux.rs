//! The output thread: polls every pipe, reads, frames, hands on.

use std::cell::Cell;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::oneshot;

use super::stream::{Found, Source, Stream};
use super::{Gauge, Sink};

/// How long a reader who takes nothing may hold up others.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long one may hold up an end that nobody asked for: a person may be reading page by page.
const PAGER: Duration = Duration::from_mins(30);
/// Time between two looks at whether the reader took something.
const LOOK: Duration = Duration::from_millis(50);
/// What one read takes at most.
const CHUNK: usize = 256 << 10;

enum Order {
    Add(Source),
    /// The process ended: read what it left, then answer.
    Drain(usize, oneshot::Sender<()>),
    Finish,
}

/// Handle of the output thread. Dropping it drains every pipe and ends the thread; one that is stuck because nobody reads
/// what it writes is left behind.
pub struct Mux {
    orders: Sender<Order>,
    wake: std::io::PipeWriter,
    ended: Cell<Option<oneshot::Receiver<()>>>,
    gauge: Gauge,
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
        let gauge = sink.gauge();
        let worker = Worker {
            orders: received,
            waker,
            watched,
            outlet: Outlet { sink: Box::new(sink), closed: Some(Box::new(closed)) },
            streams: Vec::new(),
            drains: Vec::new(),
            finishing: false,
        };
        let (ending, ended) = oneshot::channel();
        std::thread::Builder::new().name("output".into()).spawn(move || {
            worker.work();
            let _ = ending.send(());
        })?;
        Ok(Mux { orders, wake, ended: Cell::new(Some(ended)), gauge })
    }

    /// Reads `source` from now on.
    pub fn add(&self, source: Source) {
        self.order(Order::Add(source));
    }

    /// Resolves when everything process number `process` wrote has been handed on, or when the reader takes nothing.
    pub async fn drain(&self, process: usize) {
        let (done, wait) = oneshot::channel();
        self.order(Order::Drain(process, done));
        self.patiently(wait, PATIENCE).await;
    }

    /// Reads what is left in every pipe, hands it on and ends the thread. However slow the reader is, this waits while it
    /// takes anything; one that takes nothing is waited for only briefly when the end is `hurried`.
    pub async fn finish(&self, hurried: bool) {
        self.order(Order::Finish);
        if let Some(ended) = self.ended.take() {
            self.patiently(ended, if hurried { PATIENCE } else { PAGER }).await;
        }
    }

    async fn patiently(&self, mut wait: oneshot::Receiver<()>, patience: Duration) {
        while tokio::time::timeout(LOOK, &mut wait).await.is_err() {
            if self.gauge.stuck_for() >= patience {
                return;
            }
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
        let Some(mut ended) = self.ended.take() else { return };
        self.order(Order::Finish);
        while ended.try_recv() == Err(oneshot::error::TryRecvError::Empty)
            && self.gauge.stuck_for() < PATIENCE
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

struct Worker {
    orders: Receiver<Order>,
    waker: std::io::PipeReader,
    watched: Option<OwnedFd>,
    outlet: Outlet,
    streams: Vec<Stream>,
    drains: Vec<(usize, oneshot::Sender<()>)>,
    finishing: bool,
}

/// The sink, and whom to tell when nobody reads what it writes.
struct Outlet {
    sink: Box<dyn Sink>,
    closed: Option<Box<dyn FnOnce() + Send>>,
}

/// What a look at all pipes showed.
#[derive(Default)]
struct Look {
    /// One flag for each stream: something can be read.
    ready: Vec<bool>,
    /// Somebody gave an order.
    woken: bool,
    /// False when the look failed: then it proves nothing.
    valid: bool,
}

impl Worker {
    fn work(mut self) {
        let mut buffer = vec![0; CHUNK];
        let mut look = Look::default();
        loop {
            self.answer();
            if self.finishing && self.streams.is_empty() {
                return;
            }
            // Taken before the look: what is empty then has been so since at least this moment, however long we are kept
            // from going on.
            let now = Instant::now();
            self.look(&mut look);
            // Last first, so that removing one does not move those still to come.
            for index in (0..look.ready.len()).rev() {
                if look.ready[index] {
                    self.read(index, &mut buffer);
                } else if look.valid && !look.woken {
                    self.settle(index, now);
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

    fn look(&mut self, look: &mut Look) {
        let deadline = self.streams.iter().filter_map(Stream::deadline).min();
        let mut fds = vec![PollFd::new(self.waker.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.streams.iter().map(|stream| PollFd::new(stream.fd(), PollFlags::POLLIN)));
        // No flag asked for: only the closing of the other end (POLLERR, POLLHUP) is reported.
        fds.extend(self.watched.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::empty())));
        look.valid = poll(&mut fds, timeout(deadline)).is_ok();
        let flag = |fd: &PollFd<'_>| look.valid && fd.any().unwrap_or(true);
        let count = self.streams.len();
        look.woken = flag(&fds[0]);
        look.ready.clear();
        look.ready.extend(fds[1..=count].iter().map(flag));
        if fds.get(count + 1).is_some_and(flag) {
            self.watched = None;
            self.outlet.reader_gone();
        }
    }

    fn obey(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Add(source) => self.streams.push(Stream::new(source)),
            Order::Drain(process, done) => {
                let streams = self.streams.iter_mut().filter(|stream| stream.process == process);
                streams.for_each(|stream| stream.must_be_read(now));
                self.drains.push((process, done));
            }
            Order::Finish => {
                self.finishing = true;
                self.streams.iter_mut().for_each(|stream| stream.must_be_read(now));
            }
        }
    }

    /// Answers whose process owes nothing any more. Something it left behind may hold the pipe for ever.
    fn answer(&mut self) {
        for index in (0..self.drains.len()).rev() {
            let process = self.drains[index].0;
            if !self.streams.iter().any(|stream| stream.process == process && stream.owes()) {
                let _ = self.drains.swap_remove(index).1.send(());
            }
        }
    }

    /// The stream was seen empty at `now`.
    fn settle(&mut self, index: usize, now: Instant) {
        let Worker { streams, outlet, .. } = self;
        let stream = &mut streams[index];
        let process = stream.process;
        stream.is_empty(now, |chunk, continued| outlet.lines(process, chunk, continued));
        if self.finishing && !self.streams[index].owes() {
            self.end(index);
        }
    }

    fn read(&mut self, index: usize, buffer: &mut [u8]) {
        let Worker { streams, outlet, .. } = self;
        let stream = &mut streams[index];
        let process = stream.process;
        match stream.read(buffer) {
            Found::Bytes(count) => {
                stream
                    .framer
                    .push(&buffer[..count], |chunk, continued| outlet.lines(process, chunk, continued));
                stream.has_been_read();
                if self.finishing && !self.streams[index].owes() {
                    self.end(index);
                }
            }
            Found::Nothing => {}
            Found::End => self.end(index),
        }
    }

    fn end(&mut self, index: usize) {
        let mut stream = self.streams.remove(index);
        stream.framer.flush(|chunk, continued| self.outlet.lines(stream.process, chunk, continued));
    }
}

impl Outlet {
    fn lines(&mut self, process: usize, chunk: &[u8], continued: bool) {
        if self.sink.lines(process, chunk, continued).is_err() {
            self.reader_gone();
        }
    }

    /// Output is read on all the same, so that no child blocks on its way out.
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
        // In whole milliseconds, rounded up: never too early.
        left => PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX),
    }
}

#[cfg(test)]
mod tests;
