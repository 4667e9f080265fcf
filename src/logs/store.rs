//! Writes lines to the logs, on a separate thread. A process's output is delayed only if the disk is much slower than
//! the output.
//!
//! Lines that were read together share one time, and no line needs an allocation. The first write error is reported;
//! after that, lines that cannot be written are dropped, because the stack matters more than its log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::file::LogFile;
use super::timestamp::{self, Timestamp};
use super::{OWN, current, events, name_of_process};
use crate::event::Event;
use crate::os::fs;
use crate::plan::LogLimits;
use crate::supervisor::output::{Backpressure, Sink};

/// The most bytes that wait to be written.
const ROOM: usize = 1 << 20;
/// The bytes of one write.
const PIECE: usize = 512 << 10;
/// How long a caller, or the end of devrun, waits for a disk that accepts no data.
const DISK_LIMIT: Duration = Duration::from_secs(2);

/// The writing thread. Dropping this value writes the remaining lines.
pub struct Store {
    queue: Arc<Queue>,
    ended: Receiver<()>,
}

/// The data that wait to be written.
struct Queue {
    batch: Mutex<Batch>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    items: Vec<Item>,
    /// Files to open, in the order of their numbers.
    names: Vec<(String, LogLimits)>,
    known: usize,
    /// True if the disk accepts no data. Lines that do not fit in are dropped.
    hung: bool,
    over: bool,
}

/// A part of the bytes: whole lines of one file, read at one time.
struct Item {
    file: usize,
    length: usize,
    continued: bool,
    /// Milliseconds since 1970.
    millis: u64,
}

impl Store {
    /// Starts to write below `folder`, which is created. The writing thread calls `complain` at most once, with the
    /// reason why a line could not be written.
    pub fn open(folder: &Path, complain: impl FnOnce(String) + Send + 'static) -> Store {
        let queue =
            Arc::new(Queue { batch: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new() });
        queue.add(OWN.into(), LogLimits::default());
        let writer = Writer {
            queue: queue.clone(),
            folder: folder.to_path_buf(),
            files: Vec::new(),
            complain: Some(Box::new(complain)),
            lines: Vec::new(),
        };
        let (ending, ended) = channel();
        // Without the thread nothing is written and no caller waits.
        let started = std::thread::Builder::new().name("logs".into()).spawn(move || {
            writer.work();
            let _ = ending.send(());
        });
        if started.is_err() {
            queue.lock().over = true;
        }
        Store { queue, ended }
    }

    /// Returns a sink that logs the lines of processes with these `names` and passes them on to `sink`.
    pub fn before<S: Sink>(&self, names: &[&str], limits: LogLimits, sink: S) -> impl Sink + use<S> {
        let files = names.iter().map(|name| self.queue.add(name_of_process(name), limits)).collect();
        // Create the files before their first line, so that a reader that follows them finds them.
        self.queue.filled.notify_one();
        Tee { queue: self.queue.clone(), files, sink }
    }

    /// Returns a function that logs events. It may outlive the store and then does nothing.
    pub fn listener(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let queue = self.queue.clone();
        move |event| {
            if let Some(text) = events::text(event) {
                queue.push(0, text.as_bytes(), false, false);
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.queue.lock().over = true;
        self.queue.filled.notify_one();
        let _ = self.ended.recv_timeout(DISK_LIMIT);
    }
}

struct Tee<S> {
    queue: Arc<Queue>,
    files: Vec<usize>,
    sink: S,
}

impl<S: Sink> Sink for Tee<S> {
    fn lines(&mut self, process: usize, chunk: &[u8], continued: bool) -> io::Result<()> {
        self.queue.push(self.files[process], chunk, continued, true);
        self.sink.lines(process, chunk, continued)
    }

    fn backpressure(&self) -> Backpressure {
        self.sink.backpressure()
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the file `name` and returns its number.
    fn add(&self, name: String, limits: LogLimits) -> usize {
        let mut batch = self.lock();
        batch.names.push((name, limits));
        batch.known += 1;
        batch.known - 1
    }

    fn push(&self, file: usize, chunk: &[u8], continued: bool, may_wait: bool) {
        let millis = timestamp::millis(SystemTime::now());
        let mut batch = self.lock();
        let is_full = |batch: &Batch| !batch.items.is_empty() && batch.bytes.len() + chunk.len() > ROOM;
        if may_wait && is_full(&batch) && !batch.hung && !batch.over {
            batch = self
                .emptied
                .wait_timeout_while(batch, DISK_LIMIT, |batch| is_full(batch))
                .map_or_else(|poisoned| poisoned.into_inner().0, |(batch, _)| batch);
            batch.hung = is_full(&batch);
        }
        if batch.over || (may_wait && is_full(&batch)) {
            return;
        }
        let was_empty = batch.items.is_empty();
        batch.bytes.extend_from_slice(chunk);
        batch.items.push(Item { file, length: chunk.len(), continued, millis });
        drop(batch);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Clears `done`, which was written, and exchanges it for the waiting data. Waits for data if there are none.
    /// Returns false at the end.
    fn exchange(&self, done: &mut Batch) -> bool {
        done.bytes.clear();
        done.bytes.shrink_to(ROOM);
        done.items.clear();
        done.names.clear();
        let waiting = |batch: &mut Batch| batch.items.is_empty() && batch.names.is_empty() && !batch.over;
        let mut batch = self.filled.wait_while(self.lock(), waiting).unwrap_or_else(PoisonError::into_inner);
        let lost = batch.hung;
        std::mem::swap(&mut batch.bytes, &mut done.bytes);
        std::mem::swap(&mut batch.items, &mut done.items);
        std::mem::swap(&mut batch.names, &mut done.names);
        batch.hung = false;
        done.hung = lost;
        self.emptied.notify_all();
        !(done.items.is_empty() && done.names.is_empty())
    }
}

/// The part that runs on the writing thread.
struct Writer {
    queue: Arc<Queue>,
    folder: PathBuf,
    files: Vec<Option<LogFile>>,
    complain: Option<Box<dyn FnOnce(String) + Send>>,
    /// Formatted lines for the next write.
    lines: Vec<u8>,
}

impl Writer {
    fn work(mut self) {
        if let Err(error) = fs::make_own_dir(&self.folder) {
            self.complain(&error.to_string());
        }
        let mut batch = Batch::default();
        while self.queue.clone().exchange(&mut batch) {
            for (name, limits) in &batch.names {
                let opened = LogFile::open(current(&self.folder, name), *limits);
                let file = opened.map_err(|error| self.complain(&format!("{name}.log: {error}"))).ok();
                self.files.push(file);
            }
            self.write(&batch);
            if batch.hung {
                self.complain("the disk accepted no data for some time");
            }
        }
    }

    /// Writes one file after the other, because few large writes cost less than many small ones.
    fn write(&mut self, batch: &Batch) {
        for file in 0..self.files.len() {
            if self.files[file].is_none() {
                continue;
            }
            let mut rest = batch.bytes.as_slice();
            let (mut millis, mut timestamp) = (0, Timestamp::at(0));
            for item in &batch.items {
                let (chunk, after) = rest.split_at(item.length);
                rest = after;
                if item.file != file {
                    continue;
                }
                if item.millis != millis {
                    (millis, timestamp) = (item.millis, Timestamp::at(item.millis));
                }
                self.add(item, &timestamp, chunk);
            }
            self.flush(file);
        }
    }

    fn add(&mut self, item: &Item, timestamp: &Timestamp, chunk: &[u8]) {
        let mut start = 0;
        let mut prefix = [0; Timestamp::LENGTH + 1];
        prefix[..Timestamp::LENGTH].copy_from_slice(timestamp.as_bytes());
        prefix[Timestamp::LENGTH] = if item.continued { b'+' } else { b' ' };
        for end in memchr::memchr_iter(b'\n', chunk) {
            self.lines.extend_from_slice(&prefix);
            self.lines.extend_from_slice(&chunk[start..=end]);
            prefix[Timestamp::LENGTH] = b' ';
            start = end + 1;
            if self.lines.len() >= PIECE {
                self.flush(item.file);
            }
        }
    }

    fn flush(&mut self, file: usize) {
        if self.lines.is_empty() {
            return;
        }
        if let Some(Some(file)) = self.files.get_mut(file)
            && let Err(error) = file.append(&self.lines)
        {
            self.complain(&error.to_string());
        }
        self.lines.clear();
        self.lines.shrink_to(2 * PIECE);
    }

    fn complain(&mut self, why: &str) {
        if let Some(complain) = self.complain.take() {
            complain(format!("not all output is written to {}: {why}", self.folder.display()));
        }
    }
}

#[cfg(test)]
mod tests;
