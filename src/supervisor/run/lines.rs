//! Listens in on the lines on their way to the sink: remembers the last of each process, and tells when one matches.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memchr::memmem::Finder;
use regex::bytes::Regex;
use tokio::sync::mpsc::UnboundedSender;

use crate::error::{Fault, Report};
use crate::supervisor::diagnosis::{self, Diagnosis};
use crate::supervisor::machine::Input;
use crate::supervisor::output::{Gauge, Sink};

/// How much of each process's output is remembered, in bytes.
const REMEMBERED: usize = 4 << 10;

/// A sink between the output thread and the real one.
pub(super) struct Lines {
    sink: Box<dyn Sink>,
    tails: Tails,
    inputs: UnboundedSender<Input>,
}

/// What is remembered of every process; shared with the loop of the run.
#[derive(Clone)]
pub(super) struct Tails {
    shared: Arc<Shared>,
}

struct Shared {
    processes: Vec<Mutex<Tail>>,
    /// True while any pattern is waited for: the common case must not pay for it.
    expecting: AtomicBool,
    alarms: Alarms,
}

#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    /// How many bytes there were in all, and how many when the present child was started.
    written: u64,
    begun: u64,
    pattern: Option<Regex>,
    /// It is ready: what it writes may say that it no longer is.
    watched: bool,
}

/// What servers write when code was changed under them or broke: Python, uvicorn's reloader, Node and Next.js.
const ALARMS: [&str; 5] =
    ["Traceback (most recent call last)", "Reloading...", "SyntaxError", "Failed to compile", "\u{2a2f} "];

struct Alarms {
    finders: [Finder<'static>; ALARMS.len()],
}

impl Alarms {
    fn sound(&self, chunk: &[u8]) -> bool {
        self.finders.iter().any(|finder| finder.find(chunk).is_some())
    }
}

impl Lines {
    pub(super) fn new(sink: Box<dyn Sink>, processes: usize, inputs: UnboundedSender<Input>) -> Lines {
        let processes = (0..processes).map(|_| Mutex::default()).collect();
        let alarms = Alarms { finders: ALARMS.map(Finder::new) };
        let shared = Arc::new(Shared { processes, expecting: AtomicBool::new(false), alarms });
        Lines { sink, tails: Tails { shared }, inputs }
    }

    pub(super) fn tails(&self) -> Tails {
        self.tails.clone()
    }
}

impl Sink for Lines {
    fn lines(&mut self, process: usize, chunk: &[u8], continued: bool) -> io::Result<()> {
        {
            let mut tail = self.tails.lock(process);
            tail.remember(chunk);
            if tail.watched && self.tails.shared.alarms.sound(chunk) {
                let _ = self.inputs.send(Input::Doubt(process));
            }
            if self.tails.shared.expecting.load(Ordering::Relaxed)
                && tail
                    .pattern
                    .as_ref()
                    .is_some_and(|pattern| chunk.split(|b| *b == b'\n').any(|l| pattern.is_match(l)))
            {
                tail.pattern = None;
                let _ = self.inputs.send(Input::Ready(process));
            }
        }
        self.sink.lines(process, chunk, continued)
    }

    fn gauge(&self) -> Gauge {
        self.sink.gauge()
    }
}

impl Tails {
    fn lock(&self, process: usize) -> MutexGuard<'_, Tail> {
        self.shared.processes[process].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, a line of `process` that matches makes it ready.
    pub(super) fn expect(&self, process: usize, pattern: Regex) {
        self.lock(process).pattern = Some(pattern);
        self.shared.expecting.store(true, Ordering::Relaxed);
    }

    /// From now on, what `process` writes may raise a doubt whether it still is ready; or no longer.
    pub(super) fn watch(&self, process: usize, watched: bool) {
        self.lock(process).watched = watched;
    }

    /// What is written from now on is written by a new child of `process`.
    pub(super) fn begin(&self, process: usize) {
        let mut tail = self.lock(process);
        tail.begun = tail.written;
    }

    /// How many bytes `process` has written.
    pub(super) fn written(&self, process: usize) -> u64 {
        self.lock(process).written
    }

    /// The error that the present child of `process` told last, with its place; `None` when it is none of the project's own code.
    pub(super) fn broken(&self, process: usize) -> Option<String> {
        let tail = self.lock(process);
        let own = usize::try_from(tail.written - tail.begun).unwrap_or(usize::MAX);
        let text = String::from_utf8_lossy(&tail.bytes[tail.bytes.len().saturating_sub(own)..]);
        match diagnosis::read(text.lines())? {
            Diagnosis { said, fault: Fault::Code, place: Some(place), .. } => {
                Some(format!("{said} ({place})"))
            }
            _ => None,
        }
    }

    /// `report` of `process` with the line in which it says what went wrong; all of its lines are elsewhere.
    pub(super) fn explain(&self, process: usize, report: Report) -> Report {
        let tail = self.lock(process);
        let text = String::from_utf8_lossy(&tail.bytes);
        match diagnosis::read(text.lines()) {
            Some(Diagnosis { said, fault, place, .. }) => {
                let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
                report.and_cause(format!("it said: {said}{place}")).with_fault(fault)
            }
            None => match diagnosis::last_words(text.lines()) {
                Some(said) => report.and_cause(format!("it said: {said}")),
                None => report.and_cause("it said nothing"),
            },
        }
    }
}

impl Tail {
    fn remember(&mut self, chunk: &[u8]) {
        self.written += chunk.len() as u64;
        let new = &chunk[chunk.len().saturating_sub(REMEMBERED)..];
        let keep = REMEMBERED - new.len();
        let surplus = self.bytes.len().saturating_sub(keep);
        self.bytes.drain(..surplus);
        self.bytes.extend_from_slice(new);
    }
}
