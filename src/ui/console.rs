//! The one writer: standard output gets the lines of the processes and what was asked for, standard error what devrun has
//! to say meanwhile.
//!
//! Whoever tells an event never waits for the terminal: a thread of its own writes, so that a reader who stopped reading
//! cannot keep a Ctrl-C from being obeyed. Nor does one who stopped reading standard output keep standard error from
//! being written.

mod question;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::lines::Prefixes;
use super::outlet::{Outlet, are_one};
use super::screen::{Curtain, Screen};
use super::style::Style;
use crate::error::Report;
use crate::event::{Event, Events};
use crate::supervisor::output::{Gauge, Sink};
use crate::text::escaped;

/// How long the end of the program waits for a terminal that does not take what is still to be said.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shared handle on the terminal.
#[derive(Clone)]
pub struct Console {
    out: Arc<Outlet>,
    err: Arc<Outlet>,
    curtain: Curtain,
    json: Arc<AtomicBool>,
    tell: Sender<Told>,
    style: Style,
}

enum Told {
    Event(Event),
    /// Something for standard output.
    Answer(Vec<u8>),
    /// Everything before this has been written when the answer comes.
    Flush(Sender<()>),
}

impl Console {
    /// On the program's own standard streams.
    pub fn new(env: &BTreeMap<OsString, OsString>) -> io::Result<Console> {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let first = File::from(stdout.as_fd().try_clone_to_owned()?);
        let second = File::from(stderr.as_fd().try_clone_to_owned()?);
        let (style, told_style) =
            (Style::of(stdout.is_terminal(), env), Style::of(stderr.is_terminal(), env));
        let together = are_one(&first, &second);
        let out = Arc::new(Outlet::new(first));
        let err = if together { out.clone() } else { Arc::new(Outlet::new(second)) };
        let json = Arc::<AtomicBool>::default();
        let screen = Screen::new(err.clone(), style, told_style, json.clone());
        let curtain = screen.curtain();
        let (tell, told) = channel();
        let shown = out.clone();
        std::thread::Builder::new().name("ui".into()).spawn(move || show(screen, &shown, together, told))?;
        Ok(Console { out, err, curtain, json, tell, style })
    }

    /// The style of standard output.
    pub fn style(&self) -> Style {
        self.style
    }

    /// From now on errors are told as JSON on standard output.
    pub fn speak_json(&self) {
        self.json.store(true, Ordering::Relaxed);
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

    /// A sink for the lines of processes with these names. Whoever asked for JSON reads nothing else from standard output.
    pub fn sink(&self, names: &[&str]) -> impl Sink + use<> {
        LineSink {
            outlet: if self.json.load(Ordering::Relaxed) { self.err.clone() } else { self.out.clone() },
            curtain: self.curtain.clone(),
            prefixes: Prefixes::new(names, self.style),
            buffer: Vec::new(),
            state: Flow::Open,
            tell: self.tell.clone(),
        }
    }

    /// A descriptor whose closing at the other end means that nobody reads standard output any more.
    pub fn watched_output(&self) -> Option<OwnedFd> {
        io::stdout().as_fd().try_clone_to_owned().ok()
    }

    /// Writes what was asked for to standard output; bytes, as paths need not be text.
    pub fn print(&self, text: &(impl AsRef<[u8]> + ?Sized)) -> io::Result<()> {
        self.out.say(text.as_ref())
    }

    /// Writes a value as one JSON document to standard output.
    pub fn print_json(&self, value: &serde_json::Value) -> io::Result<()> {
        self.print(&format!("{}\n", escaped(&format!("{value:#}"))))
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

/// The thread that shows what is told.
fn show(mut screen: Screen, out: &Arc<Outlet>, together: bool, told: Receiver<Told>) {
    // Made when first needed: what goes to standard output waits there, so that it does not hold up standard error.
    let mut aside = None;
    for message in told {
        match message {
            Told::Event(event) => match screen.show(&event) {
                // In one stream the order counts, and there is nothing to hold up.
                Some(answer) if together => drop(out.say(&answer)),
                Some(answer) => {
                    let aside = aside.get_or_insert_with(|| answer_aside(out.clone()));
                    let _ = aside.send(Told::Answer(answer));
                }
                None => {}
            },
            Told::Answer(answer) => drop(out.say(&answer)),
            Told::Flush(done) => match &aside {
                Some(aside) if out.gauge().stuck_for() < PATIENCE => drop(aside.send(Told::Flush(done))),
                _ => drop(done.send(())),
            },
        }
    }
}

fn answer_aside(out: Arc<Outlet>) -> Sender<Told> {
    let (answer, answers) = channel();
    // Without the thread nothing is answered: the system has no more of them, and devrun is about to say so.
    let _ = std::thread::Builder::new().name("ui-out".into()).spawn(move || {
        for message in answers {
            match message {
                Told::Answer(answer) => drop(out.say(&answer)),
                Told::Flush(done) => drop(done.send(())),
                Told::Event(_) => {}
            }
        }
    });
    answer
}

struct LineSink {
    outlet: Arc<Outlet>,
    curtain: Curtain,
    prefixes: Prefixes,
    buffer: Vec<u8>,
    state: Flow,
    tell: Sender<Told>,
}

#[derive(PartialEq, Eq)]
enum Flow {
    Open,
    /// It cannot be written at the moment, as on a full disk, and that was said.
    Dammed,
    /// Nobody reads.
    Closed,
}

impl Sink for LineSink {
    fn lines(&mut self, process: usize, chunk: &[u8], continued: bool) -> io::Result<()> {
        if self.state == Flow::Closed {
            return Ok(());
        }
        let LineSink { outlet, curtain, prefixes, buffer, .. } = self;
        let written =
            prefixes.write(buffer, process, chunk, continued, |piece| curtain.lift(|| outlet.pour(piece)));
        match written {
            Err(error) if is_closed(&error) => {
                self.state = Flow::Closed;
                Err(error)
            }
            Err(error) => {
                if self.state == Flow::Open {
                    self.state = Flow::Dammed;
                    let text = format!("lines are lost: they cannot be written to the output: {error}");
                    let _ = self.tell.send(Told::Event(Event::Warning(text)));
                }
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn gauge(&self) -> Gauge {
        self.outlet.gauge()
    }
}

/// Nobody is at the other end any more: of a pipe, of a terminal, of a socket.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset | ConnectionAborted)
        || error.raw_os_error() == Some(nix::libc::EIO)
}
