//! The status of one process.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::event::{Broken, Ending, ProcessState, given_up, stuck_reason};
use crate::plan::{PortUse, Process};

/// The state of a process, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// Not started yet, because it has `autostart: false`.
    #[default]
    Idle,
    /// Waiting for steps or other processes.
    Waiting,
    /// Its process runs.
    Running,
    /// Ended, about to be started again.
    Restarting,
    /// Asked to stop.
    Stopping,
    /// Stopped on request.
    Stopped,
    /// Ended.
    Ended,
    /// Never started, because what it needs failed.
    Skipped,
    /// Ended more often than it may be restarted; the other processes keep running.
    Failed,
}

impl Word {
    /// Returns the word that is printed and used in JSON.
    pub const fn text(self) -> &'static str {
        match self {
            Word::Idle => "idle",
            Word::Waiting => "waiting",
            Word::Running => "running",
            Word::Restarting => "restarting",
            Word::Stopping => "stopping",
            Word::Stopped => "stopped",
            Word::Ended => "ended",
            Word::Skipped => "skipped",
            Word::Failed => "failed",
        }
    }
}

/// The trouble of a process that runs and is not ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) enum ProcessTrouble {
    #[default]
    None,
    /// It should be ready by now.
    Overdue,
    /// It will not become ready until its code is fixed.
    Stuck,
}

/// The probe of a ready process for the present answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) enum LastProbe {
    #[default]
    Passed,
    /// It did not answer. It may be busy.
    Silent,
}

/// The status of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProcessStatus {
    /// Its name.
    pub name: String,
    /// The state of the process.
    pub state: Word,
    /// True if its probe passed, or it has no probe and was started, or it ended with status 0.
    pub ready: bool,
    /// Its process id while it runs.
    pub pid: Option<u32>,
    /// How often devrun restarted it because it had ended.
    pub restarts: u32,
    /// How its process last ended: its exit code, or 128 + signal. Null if it stopped cleanly on request.
    pub exit: Option<i32>,
    /// When its current or last process was started, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// When its current process was first ready, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_ready: Option<u64>,
    /// The steps or processes it waits for, the last answer of its probe, or why it failed or was not started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `file:line` of the code to correct first; absent where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correct: Option<String>,
    /// The step that makes it ready; absent where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Where the fault lies if it does not become ready by itself; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// The steps and processes it waits for; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting_on: Vec<String>,
    /// Ports on which other machines can reach it; absent if there are none.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed: BTreeSet<u16>,
    /// How often it was started.
    #[serde(skip)]
    pub starts: u32,
    #[serde(skip)]
    pub(in crate::control) trouble: ProcessTrouble,
    #[serde(skip)]
    pub(in crate::control) probed: bool,
    /// Its port.
    #[serde(skip)]
    pub(in crate::control) port: Option<u16>,
    #[serde(skip)]
    pub(in crate::control) last_probe: LastProbe,
    /// True if it listens only on ports that are not its own, checked for this answer.
    #[serde(skip)]
    pub(in crate::control) astray: bool,
}

impl ProcessStatus {
    /// Returns the status of a process that has not been started.
    pub fn new(process: &Process) -> ProcessStatus {
        ProcessStatus {
            name: process.name.clone(),
            state: if process.autostart { Word::Waiting } else { Word::Idle },
            probed: process.ready.is_some(),
            port: process.port.as_ref().map(PortUse::port),
            ..ProcessStatus::default()
        }
    }

    /// Updates the status with a new state.
    pub(super) fn note(&mut self, state: &ProcessState) {
        self.reason = None;
        self.correct = None;
        self.fix = None;
        self.fault = None;
        self.waiting_on.clear();
        self.trouble = match state {
            ProcessState::Unready { .. } => ProcessTrouble::Overdue,
            ProcessState::Stuck { broken: Some(_) } => ProcessTrouble::Stuck,
            _ => ProcessTrouble::None,
        };
        match state {
            ProcessState::Waiting { on } => {
                self.state = Word::Waiting;
                self.reason = Some(format!("waiting for {}", on.join(", ")));
                self.waiting_on.clone_from(on);
            }
            ProcessState::Started { pid, at } => {
                (self.state, self.pid, self.ready) = (Word::Running, Some(*pid), !self.probed);
                (self.started, self.first_ready) = (*at, None);
                self.starts += 1;
            }
            // The end of an earlier process no longer matters.
            ProcessState::Ready => (self.ready, self.exit) = (true, None),
            ProcessState::Unready { why, fault } => {
                self.ready = false;
                (self.reason, self.fault) = (Some(why.clone()), *fault);
            }
            ProcessState::Stuck { broken } => {
                self.reason = Some(stuck_reason(broken.as_ref()));
                if let Some(Broken { fault, correct, fix, .. }) = broken.clone() {
                    (self.fault, self.correct, self.fix) = (Some(fault), correct, Some(fix));
                }
            }
            ProcessState::Restarting { ended, attempt, .. } => {
                self.gone(Word::Restarting, Some(ended.status()));
                self.restarts = *attempt;
            }
            ProcessState::Stopping => (self.state, self.ready) = (Word::Stopping, false),
            ProcessState::Stopped(ended) => {
                self.gone(Word::Stopped, ended.map_or(self.exit, unasked));
                self.restarts = 0;
            }
            // It ended because it was asked to, so its end is no error.
            ProcessState::Ended(ended) if self.state == Word::Stopping => {
                self.gone(Word::Stopped, unasked(*ended));
            }
            ProcessState::GaveUp { ended, restarts, said } => {
                self.gone(Word::Failed, Some(ended.status()));
                self.restarts = *restarts;
                self.reason = Some(given_up(*ended, *restarts, said.as_deref()));
            }
            ProcessState::Ended(ended) => {
                self.gone(Word::Ended, Some(ended.status()));
                self.ready = ended.ok();
            }
            ProcessState::Skipped { why } => {
                self.gone(Word::Skipped, self.exit);
                self.reason = Some(why.clone());
            }
        }
    }

    /// Records the time `now`, in milliseconds since 1970, if the process is ready for the first time.
    pub(in crate::control) fn note_time(&mut self, now: u64) {
        self.first_ready = self.first_ready.or(self.ready.then_some(now));
    }

    /// Records a new answer of its probe, unless it is stuck: its own error explains more.
    pub(super) fn not_yet(&mut self, answer: &str) {
        if self.trouble != ProcessTrouble::Stuck {
            self.reason = Some(answer.into());
        }
    }

    fn gone(&mut self, state: Word, exit: Option<i32>) {
        (self.state, self.pid, self.ready, self.exit) = (state, None, false, exit);
    }

    /// Marks the process as ended with the stack.
    pub(super) fn over(&mut self) {
        if self.state == Word::Waiting {
            // It never started, and waits for nothing any more.
            self.reason = None;
            self.waiting_on.clear();
        }
        if matches!(self.state, Word::Running | Word::Stopping | Word::Restarting | Word::Waiting) {
            self.state = Word::Stopped;
        }
        (self.pid, self.ready) = (None, false);
    }

    /// Returns true if the process is ready and has answered the probe for the present answer.
    pub fn is_surely_ready(&self) -> bool {
        self.ready && (self.state != Word::Running || self.reason.is_none())
    }

    /// Returns true if the process is ready, or is down on request or because it was never to start.
    pub fn is_fine(&self) -> bool {
        match self.state {
            Word::Idle | Word::Stopped => true,
            Word::Running | Word::Ended => self.ready,
            Word::Waiting | Word::Restarting | Word::Stopping | Word::Skipped | Word::Failed => false,
        }
    }
}

/// Returns the exit status of a process that was asked to stop, or `None` if the request alone explains it: status 0,
/// or the end by SIGINT or SIGTERM.
fn unasked(ended: Ending) -> Option<i32> {
    use nix::libc::{SIGINT, SIGTERM};
    let status = ended.status();
    (!ended.ok() && status != 128 + SIGINT && status != 128 + SIGTERM).then_some(status)
}
