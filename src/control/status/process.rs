//! One process of a stack, as told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{ProcessState, silence};
use crate::plan::Process;

/// What a process is doing, in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// Not started by itself.
    #[default]
    Idle,
    /// Waiting for steps or other processes.
    Waiting,
    /// Its child runs.
    Running,
    /// Ended, about to be started again.
    Restarting,
    /// Asked to stop.
    Stopping,
    /// Down because somebody asked for it.
    Stopped,
    /// Ended.
    Ended,
    /// Never started, because what it needs failed.
    Skipped,
}

impl Word {
    /// As printed and in JSON.
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
        }
    }
}

/// What is to be feared for one that runs and is not ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) enum Trouble {
    #[default]
    None,
    /// It should be ready by now.
    Overdue,
    /// It will not be, unless somebody corrects its code.
    Stuck,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProcessStatus {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: Word,
    /// Its probe passed; without a probe: it was started. A one-shot that ended well counts.
    pub ready: bool,
    /// Its process id while it runs.
    pub pid: Option<u32>,
    /// How often it was started again by itself.
    pub restarts: u32,
    /// How its last child ended: its code, or 128 + signal.
    pub exit: Option<i32>,
    /// What it waits for, the last answer of its probe, or why it was not started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many children it has had.
    #[serde(skip)]
    pub starts: u32,
    #[serde(skip)]
    pub(in crate::control) trouble: Trouble,
    #[serde(skip)]
    pub(in crate::control) probed: bool,
}

impl ProcessStatus {
    /// Of a process that has not begun.
    pub fn new(process: &Process) -> ProcessStatus {
        ProcessStatus {
            name: process.name.clone(),
            state: if process.autostart { Word::Waiting } else { Word::Idle },
            probed: process.ready.is_some(),
            ..ProcessStatus::default()
        }
    }

    /// Takes note of a change.
    pub(super) fn note(&mut self, state: &ProcessState) {
        self.reason = None;
        self.trouble = match state {
            ProcessState::Unready { .. } => Trouble::Overdue,
            ProcessState::Stuck { said: Some(_) } => Trouble::Stuck,
            _ => Trouble::None,
        };
        match state {
            ProcessState::Waiting { on } => {
                self.state = Word::Waiting;
                self.reason = Some(format!("waiting for {}", on.join(", ")));
            }
            ProcessState::Started { pid } => {
                (self.state, self.pid, self.ready) = (Word::Running, Some(*pid), !self.probed);
                self.starts += 1;
            }
            // How an earlier child ended says nothing any more.
            ProcessState::Ready => (self.ready, self.exit) = (true, None),
            ProcessState::Unready { why } => {
                self.ready = false;
                self.reason = Some(why.clone());
            }
            ProcessState::Stuck { said } => self.reason = Some(silence(said.as_deref())),
            ProcessState::Restarting { ended, attempt, .. } => {
                self.gone(Word::Restarting, Some(ended.status()));
                self.restarts = *attempt;
            }
            ProcessState::Stopping => (self.state, self.ready) = (Word::Stopping, false),
            ProcessState::Stopped(ended) => {
                self.gone(Word::Stopped, ended.map(crate::event::Ending::status).or(self.exit));
                self.restarts = 0;
            }
            // It was asked to: its end is no reason for anything.
            ProcessState::Ended(ended) if self.state == Word::Stopping => {
                self.gone(Word::Stopped, Some(ended.status()));
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

    /// Its probe answered something new; what it said itself is worth more.
    pub(super) fn not_yet(&mut self, answer: &str) {
        if self.trouble != Trouble::Stuck {
            self.reason = Some(answer.into());
        }
    }

    fn gone(&mut self, state: Word, exit: Option<i32>) {
        (self.state, self.pid, self.ready, self.exit) = (state, None, false, exit);
    }

    /// Nothing runs any more.
    pub(super) fn over(&mut self) {
        if matches!(self.state, Word::Running | Word::Stopping | Word::Restarting | Word::Waiting) {
            self.state = Word::Stopped;
        }
        (self.pid, self.ready) = (None, false);
    }

    /// True when there is nothing to wait for and nothing to complain about.
    pub fn is_fine(&self) -> bool {
        match self.state {
            Word::Idle | Word::Stopped => true,
            Word::Running | Word::Ended => self.ready,
            Word::Waiting | Word::Restarting | Word::Stopping | Word::Skipped => false,
        }
    }
}
