//! Everything that can be told to a person or a client, as values.
//!
//! Whoever does something worth telling sends an [`Event`]; the terminal, the log files, the clients and the tests
//! are subscribers. Lines of children do not travel here one by one: `supervisor::output` hands them over in batches.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Report;
use crate::plan::Plan;

/// Something worth telling.
#[derive(Clone, Debug)]
pub enum Event {
    /// A remark: what was chosen and why. Never a failure.
    Note(String),
    /// Something the user should act upon one day.
    Warning(String),
    /// A step of preparation began to do real work.
    StepStarted {
        /// Which.
        step: Step,
        /// What it does, in a few words (`pnpm install`).
        doing: String,
    },
    /// A line of detail from a running step, for terminals.
    StepProgress {
        /// Which.
        step: Step,
        /// The detail.
        detail: String,
    },
    /// A step is done.
    StepDone {
        /// Which.
        step: Step,
        /// What came of it, in a few words.
        outcome: String,
        /// False when there was nothing to do.
        worked: bool,
        /// How long it took.
        took: Duration,
    },
    /// A step failed; the report itself ends the run.
    StepFailed {
        /// Which.
        step: Step,
    },
    /// A process came into another state.
    Process {
        /// Its name.
        name: String,
        /// The new state.
        state: ProcessState,
    },
    /// A process is not ready yet; told when the answer of its probe changes.
    NotYet {
        /// Its name.
        name: String,
        /// The answer.
        answer: String,
    },
    /// Everything that must be ready is.
    Ready {
        /// What is running.
        plan: Arc<Plan>,
        /// How the branch database got its schema.
        migrated: Option<String>,
        /// Time since the start of devrun.
        took: Duration,
    },
    /// The run is being taken down.
    Stopping {
        /// Why, in a few words.
        why: String,
        /// It is a failure, which a report tells at the end.
        failure: bool,
    },
    /// Still waiting for these processes to end.
    StopWaiting {
        /// Their names.
        names: Vec<String>,
        /// Since when.
        since: Duration,
    },
    /// Something failed for good.
    Failed(Report),
}

/// A piece of preparation, as told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Node packages.
    Node,
    /// Python environment.
    Python,
    /// Branch database.
    Database,
    /// Migrations.
    Migrate,
}

impl Step {
    /// Its name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Step::Node => "node",
            Step::Python => "python",
            Step::Database => "database",
            Step::Migrate => "migrate",
        }
    }
}

/// What a process is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// Waiting for these steps and processes.
    Waiting {
        /// Their names.
        on: Vec<String>,
    },
    /// Running, not known to be ready.
    Started {
        /// Its process id, also its group and session.
        pid: u32,
    },
    /// Running and ready.
    Ready,
    /// Running, was ready, and no longer answers.
    Unready {
        /// The last answer.
        why: String,
    },
    /// Running, not ready, and silent since it told an error of its code.
    Stuck {
        /// The error and its place; `None` when it writes again.
        said: Option<String>,
    },
    /// Ended, to be started again.
    Restarting {
        /// How it ended.
        ended: Ending,
        /// The wait before the next start.
        delay: Duration,
        /// Which start this will be, counted from 1.
        attempt: u32,
    },
    /// Asked to stop.
    Stopping,
    /// Down because somebody asked for it, with how its child ended if it had one.
    Stopped(Option<Ending>),
    /// Ended for good.
    Ended(Ending),
    /// Never started, because of this.
    Skipped {
        /// Why.
        why: String,
    },
}

/// What [`ProcessState::Stuck`] says, in words.
pub fn silence(said: Option<&str>) -> String {
    said.map_or_else(|| "it writes again".into(), |said| format!("silent since it said: {said}"))
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
    /// As a shell reports it: the code, or 128 + signal.
    pub fn status(self) -> i32 {
        match self {
            Ending::Code(code) => code,
            Ending::Signal(signal) => 128 + signal,
        }
    }

    /// True for exit code 0.
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

/// Where events are sent. Cheap to clone; sending never blocks for long and never fails.
#[derive(Clone)]
pub struct Events {
    subscriber: Arc<dyn Fn(Event) + Send + Sync>,
}

impl Events {
    /// Sends everything to `subscriber`.
    pub fn new(subscriber: impl Fn(Event) + Send + Sync + 'static) -> Events {
        Events { subscriber: Arc::new(subscriber) }
    }

    /// Sends nothing anywhere.
    pub fn silent() -> Events {
        Events::new(|_| {})
    }

    /// Tells one event.
    pub fn send(&self, event: Event) {
        (self.subscriber)(event);
    }

    /// Tells a remark.
    pub fn note(&self, text: impl Into<String>) {
        self.send(Event::Note(text.into()));
    }

    /// Tells a warning.
    pub fn warn(&self, text: impl Into<String>) {
        self.send(Event::Warning(text.into()));
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}
