//! The one writer: standard output gets the lines of the processes and what was asked for, standard error what devrun has
//! to say meanwhile.
//!
//! Whoever tells an event never waits for the terminal: a thread of its own writes, so that a reader who stopped reading
//! cannot keep a Ctrl-C from being obeyed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::lines::Prefixes;
use super::screen::Screen;
use super::style::Style;
use crate::error::Report;
use crate::event::{Event, Events};
use crate::os::spawn::standard;
use crate::supervisor::output::Sink;

/// How long the end of the program waits for a terminal that does not take what is still to be said.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shared handle on the terminal.
#[derive(Clone)]
pub struct Console {
    screen: Arc<Mutex<Screen>>,
    tell: Sender<Told>,
    style: Style,
}

enum Told {
    Event(Event),
    /// Everything before this has been written when the answer comes.
    Flush(Sender<()>),
}

impl Console {
    /// On the program's own standard streams.
    pub fn new(env: &BTreeMap<OsString, OsString>) -> io::Result<Console> {
        let duplicate = |fd| Ok::<_, io::Error>(File::from(standard(fd).try_clone_to_owned()?));
        let style = |fd| Style::of(io::IsTerminal::is_terminal(&standard(fd)), env);
        let screen = Arc::new(Mutex::new(Screen::new(duplicate(1)?, style(1), duplicate(2)?, style(2))));
        let (tell, told) = channel();
        let shown = screen.clone();
        std::thread::Builder::new().name("ui".into()).spawn(move || {
            for message in told {
                match message {
                    Told::Event(event) => lock(&shown).show(&event),
                    Told::Flush(done) => drop(done.send(())),
                }
            }
        })?;
        Ok(Console { screen, tell, style: style(1) })
    }

    /// The style of standard output.
    pub fn style(&self) -> Style {
        self.style
    }

    /// From now on errors are told as JSON on standard output.
    pub fn speak_json(&self) {
        lock(&self.screen).json = true;
    }

    /// A subscriber for events.
    pub fn events(&self) -> Events {
        let tell = Mutex::new(self.tell.clone());
        Events::new(move |event| {
            let tell = tell.lock().unwrap_or_else(PoisonError::into_inner);
            // The thread lives as long as anybody can tell it something.
            let _ = tell.send(Told::Event(event));
        })
    }

    /// A sink for the lines of processes with these names.
    pub fn sink(&self, names: &[&str]) -> impl Sink + use<> {
        LineSink { screen: self.screen.clone(), prefixes: Prefixes::new(names, self.style) }
    }

    /// A descriptor whose closing at the other end means that nobody reads standard output any more.
    pub fn watched_output(&self) -> Option<OwnedFd> {
        standard(1).try_clone_to_owned().ok()
    }

    /// Writes what was asked for to standard output; bytes, as paths need not be text.
    pub fn print(&self, text: &(impl AsRef<[u8]> + ?Sized)) -> io::Result<()> {
        lock(&self.screen).out.write_all(text.as_ref())
    }

    /// Writes a value as one JSON document to standard output.
    pub fn print_json(&self, value: &serde_json::Value) -> io::Result<()> {
        self.print(&format!("{value:#}\n"))
    }

    /// Tells a failure.
    pub fn fail(&self, report: &Report) {
        let _ = self.tell.send(Told::Event(Event::Failed(report.clone())));
    }

    /// Waits until everything told so far is written, but not for ever.
    pub fn flush(&self) {
        let (done, written) = channel();
        if self.tell.send(Told::Flush(done)).is_ok() {
            let _ = written.recv_timeout(PATIENCE);
        }
    }
}

fn lock(screen: &Mutex<Screen>) -> MutexGuard<'_, Screen> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

struct LineSink {
    screen: Arc<Mutex<Screen>>,
    prefixes: Prefixes,
}

impl Sink for LineSink {
    fn lines(&mut self, process: usize, chunk: &[u8], continued: bool) -> io::Result<()> {
        lock(&self.screen).lines(&self.prefixes, process, chunk, continued)
    }
}
