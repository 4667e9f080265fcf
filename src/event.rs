//! Defines the events that devrun reports to users and clients, as values.
//!
//! Code that does something worth reporting sends an [`Event`]. The terminal, the log files, the clients and the tests
//! subscribe. Output lines of children are not events: `supervisor::output` passes them on in batches.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Fault, Report};
use crate::plan::Plan;

/// A reported event.
#[derive(Clone, Debug)]
pub enum Event {
    /// Information: a choice and its reason. Never a failure.
    Note(String),
    /// Something is downloaded, once for the machine.
    Fetched(String),
    /// A problem that the user should solve at some time.
    Warning(String),
    /// A step of the preparation has started to work.
    StepStarted {
        /// The step.
        step: Step,
        /// The work in a few words (`pnpm install`).
        doing: String,
    },
    /// A line of detail from a running step, for terminals.
    StepProgress {
        /// The step.
        step: Step,
        /// The detail.
        detail: String,
    },
    /// A step has finished.
    StepDone {
        /// The step.
        step: Step,
        /// The result in a few words.
        outcome: String,
        /// False if there was nothing to do.
        worked: bool,
        /// How long it took.
        took: Duration,
    },
    /// A step failed. The report that ends the run follows separately.
    StepFailed {
        /// The step.
        step: Step,
    },
    /// The state of a process has changed.
    Process {
        /// The process's name.
        name: String,
        /// The new state.
        state: ProcessState,
    },
    /// A process is not ready yet. Sent when the answer of its probe changes.
    NotYet {
        /// The process's name.
        name: String,
        /// The probe's answer.
        answer: String,
    },
    /// Everything that must be ready is ready.
    Ready {
        /// The running plan.
        plan: Arc<Plan>,
        /// How the branch database got its schema.
        migrated: Option<String>,
        /// The time since the start of devrun.
        took: Duration,
    },
    /// The run is being stopped.
    Stopping {
        /// The reason in a few words.
        why: String,
        /// True for a failure, which a report describes at the end.
        failure: bool,
    },
    /// Some processes have still not ended.
    StopWaiting {
        /// The names of the processes.
        names: Vec<String>,
        /// The time since they were asked to stop.
        since: Duration,
    },
    /// A permanent failure.
    Failed(Report),
}

/// A piece of the preparation, as it is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Node packages.
    Node,
    /// Python environment.
    Python,
    /// Branch database.
    Database,
    /// Migrations.
    Migrate,
    /// The steps of `setup:`.
    Setup,
}

impl Step {
    /// Returns the name that is printed and used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Step::Node => "node",
            Step::Python => "python",
            Step::Database => "database",
            Step::Migrate => "migrate",
            Step::Setup => "setup",
        }
    }
}

/// The state of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// Waiting for these steps and processes.
    Waiting {
        /// The names of the steps and processes.
        on: Vec<String>,
    },
    /// Running, but not known to be ready.
    Started {
        /// The process id, which is also its group and session.
        pid: u32,
        /// A time just before its start, in milliseconds since 1970. The state machine has no clock and sets `None`.
        at: Option<u64>,
    },
    /// Running and ready.
    Ready,
    /// Running and was ready, but no longer answers.
    Unready {
        /// The last answer.
        why: String,
        /// Where the fault lies, if that is known.
        fault: Option<Fault>,
    },
    /// Running, not ready, and not going to be: it is silent since it printed an error, answers with the same error again and
    /// again, or listens on another port.
    Stuck {
        /// The reason; `None` if it no longer applies.
        broken: Option<Broken>,
    },
    /// Ended, and will be started again.
    Restarting {
        /// How it ended.
        ended: Ending,
        /// The wait before the next start.
        delay: Duration,
        /// The number of the next restart, counted from 1.
        attempt: u32,
    },
    /// Asked to stop.
    Stopping,
    /// Stopped on request, with the end of its process if it had one.
    Stopped(Option<Ending>),
    /// Ended and will not be restarted.
    Ended(Ending),
    /// Ended, and may not be restarted again. The other processes keep running.
    GaveUp {
        /// How it ended.
        ended: Ending,
        /// The number of its restarts.
        restarts: u32,
        /// The line of its output with the error. The state machine does not know the output and sets `None`.
        said: Option<String>,
    },
    /// Not started.
    Skipped {
        /// The reason.
        why: String,
    },
}

/// Why a process that runs does not become ready by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The reason in one phrase, such as `no answer since its error: KeyError: 'x' (app.py:3)`.
    pub reason: String,
    /// Where the fault lies.
    pub fault: Fault,
    /// `file:line` of the code to correct first.
    pub correct: Option<String>,
    /// The step that makes it ready.
    pub fix: String,
}

/// Returns the text for [`ProcessState::Stuck`].
pub fn stuck_reason(broken: Option<&Broken>) -> String {
    broken.map_or_else(|| "it has new output since its last error".into(), |broken| broken.reason.clone())
}

/// Returns the text for [`ProcessState::GaveUp`].
pub fn given_up(ended: Ending, restarts: u32, said: Option<&str>) -> String {
    let said = said.map(|said| format!("; {said}")).unwrap_or_default();
    let times = if restarts == 1 { "restart" } else { "restarts" };
    format!("gave up after {restarts} {times}: it ended with {ended}{said}")
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Ending {
    /// Returns the status as a shell reports it: the code, or 128 + signal.
    pub fn status(self) -> i32 {
        match self {
            Ending::Code(code) => code,
            Ending::Signal(signal) => 128 + signal,
        }
    }

    /// Returns true for exit code 0.
    pub fn ok(self) -> bool {
        self == Ending::Code(0)
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ending::Code(code) => write!(f, "exit code {code}"),
            Ending::Signal(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(name) => write!(f, "signal {}", name.as_str()),
                Err(_) => write!(f, "signal {signal}"),
            },
        }
    }
}

/// The receiver of events. Cheap to clone. Sending never blocks for long and never fails.
#[derive(Clone)]
pub struct Events {
    subscriber: Arc<dyn Fn(Event) + Send + Sync>,
}

impl Events {
    /// Returns a value that sends every event to `subscriber`.
    pub fn new(subscriber: impl Fn(Event) + Send + Sync + 'static) -> Events {
        Events { subscriber: Arc::new(subscriber) }
    }

    /// Returns a value that discards every event.
    pub fn discarded() -> Events {
        Events::new(|_| {})
    }

    /// Sends one event.
    pub fn send(&self, event: Event) {
        (self.subscriber)(event);
    }

    /// Sends a note.
    pub fn note(&self, text: impl Into<String>) {
        self.send(Event::Note(text.into()));
    }

    /// Sends a [`Event::Fetched`].
    pub fn fetched(&self, text: impl Into<String>) {
        self.send(Event::Fetched(text.into()));
    }

    /// Sends a warning.
    pub fn warn(&self, text: impl Into<String>) {
        self.send(Event::Warning(text.into()));
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}
