//! What a stack is doing, as one value: kept up to date by the very events that are told, shown by every verb that asks.
//!
//! Pure. Holds no clocks, so that two answers can be compared, and no secrets: database URLs are masked.

mod process;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Map;

pub(in crate::control) use self::process::Trouble;
pub use self::process::{ProcessStatus, Word};
use crate::error::ErrorBody;
use crate::event::Event;
use crate::isolation::Finding;
use crate::plan::Plan;

/// What the stack as a whole is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing runs.
    #[default]
    Stopped,
    /// Dependencies, database and migrations are brought in step; processes may run already.
    Preparing,
    /// Prepared; not every process is ready yet.
    Starting,
    /// Every process that should run is ready.
    Ready,
    /// It was ready, and some process is not any more.
    Degraded,
    /// It is being taken down.
    Stopping,
    /// It ended because something failed.
    Failed,
}

impl State {
    /// The word, as printed and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            State::Stopped => "stopped",
            State::Preparing => "preparing",
            State::Starting => "starting",
            State::Ready => "ready",
            State::Degraded => "degraded",
            State::Stopping => "stopping",
            State::Failed => "failed",
        }
    }

    /// True when it will not change by itself any more.
    pub fn is_over(self) -> bool {
        matches!(self, State::Stopped | State::Failed)
    }
}

/// The branch database, as told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseStatus {
    /// Where it comes from: `local`, `neon`, …
    pub provider: String,
    /// Name of the database within its server.
    pub name: String,
    /// The branch, as a person knows it.
    pub branch: String,
    /// Its URL, without the password.
    pub url: String,
}

/// A piece of preparation that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepStatus {
    /// Its name: `node`, `python`, `database`, `migrate`.
    pub name: String,
    /// `running`, `done` or `failed`.
    pub state: String,
    /// What it does, or what came of it.
    pub detail: String,
}

/// One stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Status {
    /// Path of the worktree, as text.
    pub worktree: String,
    /// The branch that was checked out at the start.
    pub branch: Option<String>,
    /// The worktree's short name.
    pub slug: String,
    /// Slot of its ports; unknown until they are leased.
    pub slot: Option<u16>,
    /// What it is doing.
    pub state: State,
    /// Named ports.
    pub ports: BTreeMap<String, u16>,
    /// Named URLs, in the order they are printed.
    pub urls: Map<String, serde_json::Value>,
    /// The branch database, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseStatus>,
    /// The processes, in the order they are written.
    pub processes: Vec<ProcessStatus>,
    /// Preparation under way; left out once it is done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepStatus>,
    /// Connections to servers that are not this worktree's, as of this answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub isolation: Vec<Finding>,
    /// Why it ended, when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
    #[serde(skip)]
    told_ready: bool,
}

impl Status {
    /// Of a worktree in which nothing runs.
    pub fn stopped(worktree: &Path, branch: Option<&str>, slug: &str) -> Status {
        Status {
            worktree: worktree.to_string_lossy().into_owned(),
            branch: branch.map(Into::into),
            slug: slug.into(),
            ..Status::default()
        }
    }

    /// Of a stack that is about to be prepared there.
    pub fn preparing(worktree: &Path, branch: Option<&str>, slug: &str) -> Status {
        Status { state: State::Preparing, ..Status::stopped(worktree, branch, slug) }
    }

    /// Fills in what `plan` says; processes that are known already keep what they do.
    pub fn plan(&mut self, plan: &Plan) {
        self.worktree = plan.worktree.path.to_string_lossy().into_owned();
        self.branch = plan.worktree.head.branch().map(Into::into);
        self.slug.clone_from(&plan.worktree.slug);
        self.slot = Some(plan.slot);
        self.ports.clone_from(&plan.ports);
        self.urls = plan.urls.iter().map(|(name, url)| (name.clone(), url.as_str().into())).collect();
        self.database = plan.database.as_ref().map(|database| DatabaseStatus {
            provider: database.provider.clone(),
            name: name_in(&database.masked_url).unwrap_or(&database.name).into(),
            branch: database.name.clone(),
            url: database.masked_url.clone(),
        });
        self.processes = plan.processes.iter().map(ProcessStatus::new).collect();
    }

    /// Takes note of `event`.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::StepStarted { step, doing } => self.step(step.name(), "running", doing),
            Event::StepDone { step, outcome, .. } => self.step(step.name(), "done", outcome),
            Event::StepFailed { step } => self.step(step.name(), "failed", ""),
            Event::Process { name, state } => {
                if let Some(process) = self.process_mut(name) {
                    process.note(state);
                }
            }
            Event::NotYet { name, answer } => {
                if let Some(process) = self.process_mut(name) {
                    process.not_yet(answer);
                }
            }
            Event::Ready { .. } => {
                self.told_ready = true;
                self.steps.clear();
            }
            Event::Stopping { .. } => self.state = State::Stopping,
            Event::Failed(report) => self.error = Some(report.into()),
            Event::Note(_) | Event::Warning(_) | Event::StepProgress { .. } | Event::StopWaiting { .. } => {}
        }
        self.settle();
    }

    /// Says that it is over: failed when there was an error.
    pub fn over(&mut self) {
        self.state = if self.error.is_some() { State::Failed } else { State::Stopped };
        self.steps.clear();
        self.processes.iter_mut().for_each(ProcessStatus::over);
    }

    /// The process called `name`.
    pub fn process(&self, name: &str) -> Option<&ProcessStatus> {
        self.processes.iter().find(|process| process.name == name)
    }

    fn process_mut(&mut self, name: &str) -> Option<&mut ProcessStatus> {
        self.processes.iter_mut().find(|process| process.name == name)
    }

    fn step(&mut self, name: &str, state: &str, detail: &str) {
        let found = self.steps.iter_mut().find(|step| step.name == name);
        let step = StepStatus { name: name.into(), state: state.into(), detail: detail.into() };
        match found {
            Some(known) => *known = step,
            None => self.steps.push(step),
        }
    }

    fn settle(&mut self) {
        if matches!(self.state, State::Stopping | State::Stopped | State::Failed) {
            return;
        }
        let all = self.processes.iter().all(ProcessStatus::is_fine);
        self.state = match (self.told_ready, all) {
            (true, true) => State::Ready,
            (true, false) => State::Degraded,
            (false, _) if self.steps.iter().all(|step| step.state == "done") && self.slot.is_some() => {
                State::Starting
            }
            (false, _) => State::Preparing,
        };
    }
}

/// The name of the database that `url` leads to.
fn name_in(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let name = rest.split_once('/')?.1.split('?').next()?;
    Some(name).filter(|name| !name.is_empty())
}
