//! Writes to the standard streams. Standard output gets the lines of the processes and the requested answers; standard
//! error gets devrun's own messages.
//!
//! Sending an event never waits for the terminal: a separate thread writes, so that a reader that has stopped reading
//! cannot block Ctrl-C. If standard output is not read, standard error is still written.

mod question;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::compact;
use super::prefixes::Prefixes;
use super::screen::{ProgressDisplay, ReaderFolder, Screen};
use super::shared_stream::{SharedStream, are_one};
use super::style::Style;
use crate::error::Report;
use crate::event::{Event, Events};
use crate::supervisor::output::{Backpressure, Sink};
use crate::text::{escaped, in_folder};

/// How long the end of the program waits for a terminal that does not accept the remaining output.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Time between two checks whether the terminal has another size.
const REFRESH: Duration = Duration::from_millis(250);

/// A shared handle to the standard streams.
#[derive(Clone)]
pub struct Console {
    out: Arc<SharedStream>,
    err: Arc<SharedStream>,
    progress_display: ProgressDisplay,
    json: Arc<AtomicBool>,
    tell: Sender<ConsoleMessage>,
    style: Style,
    /// The current folder of a coding agent, for which answers are short.
    short_in: Option<String>,
    /// The folder that the commands of fixes name, because it is not the reader's.
    elsewhere: Arc<OnceLock<PathBuf>>,
}

enum ConsoleMessage {
    Event(Event),
    /// Bytes for standard output.
    Answer(Vec<u8>),
    /// A request to keep the status line at the bottom until the next flush.
    KeepStatus,
    /// A request for a reply as soon as everything before it was written.
    Flush(Sender<()>),
}

impl Console {
    /// Returns a console on the program's own standard streams. With `short`, answers are short, without colours and moving lines,
    /// and have paths relative to the current folder.
    pub fn new(env: &BTreeMap<OsString, OsString>, short: bool) -> io::Result<Console> {
        let folder =
            || std::env::current_dir().ok().and_then(|folder| folder.into_os_string().into_string().ok());
        let short_in = short.then(|| folder().unwrap_or_default());
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let first = File::from(stdout.as_fd().try_clone_to_owned()?);
        let second = File::from(stderr.as_fd().try_clone_to_owned()?);
        let style_of = |is_terminal| if short { Style::PLAIN } else { Style::of(is_terminal, env) };
        let (style, told_style) = (style_of(stdout.is_terminal()), style_of(stderr.is_terminal()));
        let together = are_one(&first, &second);
        let out = Arc::new(SharedStream::new(first));
        let err = if together { out.clone() } else { Arc::new(SharedStream::new(second)) };
        let json = Arc::<AtomicBool>::default();
        let elsewhere = Arc::<OnceLock<PathBuf>>::default();
        let shown_in = ReaderFolder { short_in: short_in.clone(), elsewhere: elsewhere.clone() };
        let screen = Screen::new(err.clone(), style, told_style, json.clone(), shown_in);
        let progress_display = screen.progress_display();
        let (tell, told) = channel();
        let shown = out.clone();
        std::thread::Builder::new().name("ui".into()).spawn(move || show(screen, &shown, together, &told))?;
        Ok(Console { out, err, progress_display, json, tell, style, short_in, elsewhere })
    }

    /// Returns the style of standard output.
    pub fn style(&self) -> Style {
        self.style
    }

    /// Returns true if answers are to be short, for a coding agent.
    pub fn is_short(&self) -> bool {
        self.short_in.is_some()
    }

    /// Returns `text` as this console prints it: for a coding agent with paths relative to the current folder.
    pub fn shortened(&self, text: &str) -> String {
        self.short_in.as_ref().map_or_else(|| text.into(), |folder| compact::relative(text, folder))
    }

    /// Makes the commands of fixes name `folder`, in which devrun works for a reader in another one.
    pub fn works_in(&self, folder: &Path) {
        // A second folder would come from a second command line.
        let _ = self.elsewhere.set(folder.into());
    }

    /// Returns `fix` with commands that the reader can run in the current folder.
    pub fn located(&self, fix: &str) -> String {
        self.elsewhere.get().map_or_else(|| fix.into(), |folder| in_folder(fix, folder))
    }

    /// Makes this console write errors as JSON to standard output.
    pub fn speak_json(&self) {
        self.json.store(true, Ordering::Relaxed);
    }

    /// Returns a subscriber for events.
    pub fn events(&self) -> Events {
        let tell = Mutex::new(self.tell.clone());
        Events::new(move |event| {
            let tell = tell.lock().unwrap_or_else(PoisonError::into_inner);
            // Fails only after the writing thread has ended, which needs all senders to be gone.
            let _ = tell.send(ConsoleMessage::Event(event));
        })
    }

    /// Returns a sink for the lines of processes with these names. With JSON output the lines go to standard error.
    pub fn sink(&self, names: &[&str]) -> impl Sink + use<> {
        LineSink {
            stream: if self.json.load(Ordering::Relaxed) { self.err.clone() } else { self.out.clone() },
            progress_display: self.progress_display.clone(),
            prefixes: Prefixes::new(names, self.style),
            buffer: Vec::new(),
            state: SinkState::Open,
            tell: self.tell.clone(),
        }
    }

    /// Returns a copy of standard output. Polling it shows when the reader has closed the other end.
    pub fn watched_output() -> Option<OwnedFd> {
        io::stdout().as_fd().try_clone_to_owned().ok()
    }

    /// Writes an answer to standard output. The bytes need not be UTF-8, because paths need not be.
    pub fn print(&self, text: &(impl AsRef<[u8]> + ?Sized)) -> io::Result<()> {
        self.out.say(text.as_ref())
    }

    /// Writes a value as one JSON document to standard output.
    pub fn print_json(&self, value: &serde_json::Value) -> io::Result<()> {
        self.print(&format!("{}\n", escaped(&format!("{value:#}"))))
    }

    /// Keeps a status line at the bottom until [`Console::flush`], if standard output and standard error are one terminal.
    pub fn keep_status(&self) {
        let _ = self.tell.send(ConsoleMessage::KeepStatus);
    }

    /// Shows a failure.
    pub fn fail(&self, report: &Report) {
        let _ = self.tell.send(ConsoleMessage::Event(Event::Failed(report.clone())));
    }

    /// Waits until everything sent so far is written, or until the limit has passed.
    pub fn flush(&self) {
        let (done, written) = channel();
        if self.tell.send(ConsoleMessage::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH_LIMIT);
        }
    }
}

/// Runs on the writing thread and shows what it receives.
fn show(mut screen: Screen, out: &Arc<SharedStream>, together: bool, told: &Receiver<ConsoleMessage>) {
    // Started when first needed. Writes to standard output wait on that thread, so that they do not delay standard
    // error.
    let mut aside = None;
    loop {
        let message = match told.recv_timeout(REFRESH) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => {
                screen.bottom().refresh();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        match message {
            ConsoleMessage::KeepStatus if together => screen.keep_status(),
            ConsoleMessage::KeepStatus => {}
            ConsoleMessage::Event(event) => match screen.show(&event) {
                // With one stream for both, the order counts and no other stream is delayed.
                Some(answer) if together => drop(screen.bottom().above(|| out.say(&answer))),
                Some(answer) => {
                    let aside = aside.get_or_insert_with(|| answer_aside(out.clone()));
                    let _ = aside.send(ConsoleMessage::Answer(answer));
                }
                None => {}
            },
            ConsoleMessage::Answer(answer) => drop(out.say(&answer)),
            ConsoleMessage::Flush(done) => {
                screen.bottom().end();
                match &aside {
                    Some(aside) if out.backpressure().stuck_for() < FLUSH_LIMIT => {
                        drop(aside.send(ConsoleMessage::Flush(done)));
                    }
                    _ => drop(done.send(())),
                }
            }
        }
    }
}

fn answer_aside(out: Arc<SharedStream>) -> Sender<ConsoleMessage> {
    let (answer, answers) = channel();
    // If the thread cannot be started, answers are lost. The system has no threads left, and devrun will report that.
    let _ = std::thread::Builder::new().name("ui-out".into()).spawn(move || {
        for message in answers {
            match message {
                ConsoleMessage::Answer(answer) => drop(out.say(&answer)),
                ConsoleMessage::Flush(done) => drop(done.send(())),
                ConsoleMessage::Event(_) | ConsoleMessage::KeepStatus => {}
            }
        }
    });
    answer
}

struct LineSink {
    stream: Arc<SharedStream>,
    progress_display: ProgressDisplay,
    prefixes: Prefixes,
    buffer: Vec<u8>,
    state: SinkState,
    tell: Sender<ConsoleMessage>,
}

#[derive(PartialEq, Eq)]
enum SinkState {
    Open,
    /// Writing fails at the moment, for example on a full disk. The user was warned.
    Dammed,
    /// The reader has closed the stream.
    Closed,
}

impl Sink for LineSink {
    fn lines(&mut self, process: usize, chunk: &[u8], continued: bool) -> io::Result<()> {
        if self.state == SinkState::Closed {
            return Ok(());
        }
        let LineSink { stream, progress_display, prefixes, buffer, .. } = self;
        let written = prefixes.write(buffer, process, chunk, continued, |piece| {
            progress_display.run_hidden(|| stream.pour(piece))
        });
        match written {
            Err(error) if is_closed(&error) => {
                self.state = SinkState::Closed;
                Err(error)
            }
            Err(error) => {
                if self.state == SinkState::Open {
                    self.state = SinkState::Dammed;
                    let text = format!("lines are lost: they cannot be written to the output: {error}");
                    let _ = self.tell.send(ConsoleMessage::Event(Event::Warning(text)));
                }
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn backpressure(&self) -> Backpressure {
        self.stream.backpressure()
    }
}

/// Returns true if the other end of a pipe, terminal or socket was closed.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset | ConnectionAborted)
        || error.raw_os_error() == Some(nix::libc::EIO)
}
