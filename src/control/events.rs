//! The messages of the event stream, as JSON objects with their kind in `event`. `docs/events.md` describes each one,
//! and a test compares it with the schema of these types.

#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::Serialize;

use super::status::Status;
use crate::error::ErrorBody;
use crate::event::{Ending, Event, ProcessState, Step, given_up, stuck_reason};

/// One line of the event stream.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventMessage {
    /// The status of the stack. The first message of every stream.
    Status {
        /// The status, as `GET /status?known=true` answers it.
        status: Box<Status>,
    },
    /// The client read too slowly and lost events.
    Missed {
        /// The number of lost events.
        count: u64,
    },
    /// Information: a choice and its reason. Never a failure.
    Note {
        /// The information.
        text: String,
    },
    /// A problem that the user should solve at some time.
    Warning {
        /// The problem.
        text: String,
    },
    /// The state of a step of the preparation has changed.
    Step {
        /// The step.
        step: Step,
        /// The new state.
        #[serde(flatten)]
        state: StepMessage,
    },
    /// The state of a process has changed, or a new answer of its probe shows that it is still not ready.
    Process {
        /// The name of the process.
        name: String,
        /// The new state.
        #[serde(flatten)]
        state: ProcessMessage,
    },
    /// Everything that must be ready is ready.
    Ready,
    /// The stack is being stopped.
    Stopping {
        /// The reason in a few words.
        why: String,
    },
    /// Some processes that were asked to stop have still not ended.
    StopWaiting {
        /// The names of the processes.
        names: Vec<String>,
    },
    /// The stack failed and ends.
    Failed {
        /// The error.
        error: Box<ErrorBody>,
    },
}

/// The new state of a step.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum StepMessage {
    /// It has started to work.
    Running {
        /// The work in a few words.
        detail: String,
    },
    /// It has finished.
    Done {
        /// The result in a few words.
        detail: String,
        /// False if there was nothing to do.
        worked: bool,
    },
    /// It failed.
    Failed,
}

/// The new state of a process.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ProcessMessage {
    /// It waits for steps or other processes.
    Waiting {
        /// The names of the steps and processes.
        on: Vec<String>,
    },
    /// It was started.
    Running {
        /// Its process id.
        pid: u32,
    },
    /// It is ready.
    Ready,
    /// It runs and is not ready, or no longer ready.
    NotReady {
        /// The answer of its probe, or the error that it printed.
        reason: String,
    },
    /// It ended and will be started again.
    Restarting {
        /// Its exit code, or 128 + signal.
        exit: i32,
        /// The number of the next restart, counted from 1.
        attempt: u32,
    },
    /// It was asked to stop.
    Stopping,
    /// It was stopped on request.
    Stopped {
        /// Its exit code, or 128 + signal; null if it did not run.
        exit: Option<i32>,
    },
    /// It ended and will not be started again.
    Ended {
        /// Its exit code, or 128 + signal.
        exit: i32,
    },
    /// It ended more often than it may be restarted.
    Failed {
        /// Its last exit code, or 128 + signal.
        exit: i32,
        /// The number of its restarts and the error that it printed.
        reason: String,
    },
    /// It was not started.
    Skipped {
        /// The reason.
        reason: String,
    },
}

impl EventMessage {
    /// Returns the message for `event`, or `None` for events that only a terminal shows.
    pub fn of(event: &Event) -> Option<EventMessage> {
        let step = |step: &Step, state| EventMessage::Step { step: *step, state };
        let process = |name: &String, state| EventMessage::Process { name: name.clone(), state };
        Some(match event {
            Event::Note(text) | Event::Fetched(text) => EventMessage::Note { text: text.clone() },
            Event::Warning(text) => EventMessage::Warning { text: text.clone() },
            Event::StepStarted { step: of, doing } => {
                step(of, StepMessage::Running { detail: doing.clone() })
            }
            Event::StepProgress { .. } => return None,
            Event::StepDone { step: of, outcome, worked, .. } => {
                step(of, StepMessage::Done { detail: outcome.clone(), worked: *worked })
            }
            Event::StepFailed { step: of } => step(of, StepMessage::Failed),
            Event::Process { name, state } => process(name, state.into()),
            Event::NotYet { name, answer } => {
                process(name, ProcessMessage::NotReady { reason: answer.clone() })
            }
            Event::Ready { .. } => EventMessage::Ready,
            Event::Stopping { why, .. } => EventMessage::Stopping { why: why.clone() },
            Event::StopWaiting { names, .. } => EventMessage::StopWaiting { names: names.clone() },
            Event::Failed(report) => EventMessage::Failed { error: Box::new(report.into()) },
        })
    }
}

impl From<&ProcessState> for ProcessMessage {
    fn from(state: &ProcessState) -> ProcessMessage {
        match state {
            ProcessState::Waiting { on } => ProcessMessage::Waiting { on: on.clone() },
            ProcessState::Started { pid, .. } => ProcessMessage::Running { pid: *pid },
            ProcessState::Ready => ProcessMessage::Ready,
            ProcessState::Unready { why, .. } => ProcessMessage::NotReady { reason: why.clone() },
            ProcessState::Stuck { broken } => {
                ProcessMessage::NotReady { reason: stuck_reason(broken.as_ref()) }
            }
            ProcessState::Restarting { ended, attempt, .. } => {
                ProcessMessage::Restarting { exit: ended.status(), attempt: *attempt }
            }
            ProcessState::Stopping => ProcessMessage::Stopping,
            ProcessState::Stopped(ended) => ProcessMessage::Stopped { exit: ended.map(Ending::status) },
            ProcessState::Ended(ended) => ProcessMessage::Ended { exit: ended.status() },
            ProcessState::GaveUp { ended, restarts, said } => ProcessMessage::Failed {
                exit: ended.status(),
                reason: given_up(*ended, *restarts, said.as_deref()),
            },
            ProcessState::Skipped { why } => ProcessMessage::Skipped { reason: why.clone() },
        }
    }
}
