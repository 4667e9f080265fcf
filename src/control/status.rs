//! The status of a stack as one value, updated by the events of the run and shown by every command that queries the
//! stack.
//!
//! Pure. It contains no clock, so that two answers can be compared, and no secrets: database URLs are masked.

mod problem;
mod process;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Map;
use url::Url;

pub(in crate::control) use self::process::{LastProbe, ProcessTrouble};
pub use self::process::{ProcessStatus, Word};
use super::started_by::StartedBy;
use crate::error::{ErrorBody, RESET_STACK, RESTART_STACK};
use crate::event::{Event, ProcessState, Step};
use crate::isolation::Finding;
use crate::plan::{Away, Notice, Plan};
use crate::supervisor::process_binding::ProcessBinding;

/// The state of the whole stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing runs.
    #[default]
    Stopped,
    /// Dependencies, database and migrations are being updated; some processes may run already.
    Preparing,
    /// Preparation is done; some processes are not ready yet.
    Starting,
    /// Every process that should run is ready.
    Ready,
    /// The stack was ready, and some process no longer is.
    Degraded,
    /// The stack is being stopped.
    Stopping,
    /// The stack ended because something failed.
    Failed,
}

impl State {
    /// Returns the word that is printed and used in JSON.
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

    /// Returns true if the stack has ended.
    pub fn is_over(self) -> bool {
        matches!(self, State::Stopped | State::Failed)
    }
}

/// The branch database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseStatus {
    /// Its provider: `local`, `neon`, …
    pub provider: String,
    /// Name of the database within its server.
    pub name: String,
    /// The name of the branch database, as devrun and its user call it.
    pub branch: String,
    /// Its URL, without the password.
    pub url: String,
}

/// The state of a step of the preparation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// It works.
    Running,
    /// It has finished.
    Done,
    /// It failed.
    Failed,
}

impl StepState {
    /// Returns the word that is printed and used in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            StepState::Running => "running",
            StepState::Done => "done",
            StepState::Failed => "failed",
        }
    }
}

/// A step of the preparation that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepStatus {
    /// Its name.
    pub name: Step,
    /// The state of the step.
    pub state: StepState,
    /// The action it performs, or its result.
    pub detail: String,
}

/// A process that ended with status 0 and thereby ended the stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndedBy {
    /// Its name.
    pub process: String,
    /// The error that waiting clients receive.
    pub error: ErrorBody,
}

/// Files that the stack was made from and that changed since its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// Their names, relative to the worktree.
    pub files: Vec<String>,
    /// The command that applies them.
    pub fix: String,
}

impl Changed {
    /// Returns the change of `files`, or `None` if there are none.
    pub fn of(files: Vec<String>) -> Option<Changed> {
        (!files.is_empty()).then(|| Changed { files, fix: RESTART_STACK.into() })
    }

    /// Returns a notice with the names of the files.
    pub fn notice(&self) -> Notice {
        let text = format!(
            "changed since the start of the stack, which keeps the old values: {}",
            self.files.join(", ")
        );
        Notice { text, fix: Some(self.fix.clone()) }
    }
}

/// Migration files that changed since the branch database was last migrated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PendingMigrations {
    /// The names of the new and changed files, relative to the worktree.
    pub files: Vec<String>,
    /// The names of the removed files, relative to the worktree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// The next step. `devrun db migrate` works beside the running stack too.
    pub fix: String,
}

impl PendingMigrations {
    /// Returns the migrations that are pending because of the new and changed `files` and the `removed` ones; `None` if there are none.
    pub fn of(files: Vec<String>, removed: Vec<String>) -> Option<PendingMigrations> {
        let fix = match (files.is_empty(), removed.is_empty()) {
            (true, true) => return None,
            // A tool that does not find the file of the last migration fails.
            (true, false) => format!("bring them back, or {RESET_STACK}"),
            _ => "devrun db migrate".into(),
        };
        Some(PendingMigrations { files, removed, fix })
    }

    /// Returns how the database and the code differ.
    pub fn remark(&self) -> &'static str {
        if self.files.is_empty() {
            "migration files of the database were removed"
        } else {
            "the database is behind the code"
        }
    }

    /// Returns a notice with the names of the files.
    pub fn notice(&self) -> Notice {
        let remark = self.remark();
        let (files, removed) = (self.files.join(", "), self.removed.join(", "));
        let text = match (files.as_str(), removed.as_str()) {
            ("", removed) => format!("{remark}: {removed}"),
            (files, "") => format!("{remark}: not migrated since a change of {files}"),
            (files, removed) => {
                format!("{remark}: not migrated since a change of {files} and the removal of {removed}")
            }
        };
        Notice { text, fix: Some(self.fix.clone()) }
    }
}

/// The process whose end ends the stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BoundTo {
    /// Its name.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// The time from its end to the end of the stack.
    pub grace_seconds: u64,
    /// When the stack will end, in seconds since 1970; absent while the process lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<u64>,
}

impl BoundTo {
    /// Returns the status of `binding` while its process lives.
    pub fn of(binding: &ProcessBinding) -> BoundTo {
        let ProcessBinding { name, process, grace_seconds } = binding;
        BoundTo { name: name.clone(), pid: process.pid, grace_seconds: *grace_seconds, ends_at: None }
    }
}

/// The status of one stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Status {
    /// Path of the worktree, as text.
    pub worktree: String,
    /// The branch that was checked out at the start.
    pub branch: Option<String>,
    /// The worktree's short name.
    pub slug: String,
    /// Slot of its ports; absent until they are leased.
    pub slot: Option<u16>,
    /// The reason why its ports are not those of the home slot; absent if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub away: Option<Away>,
    /// The state of the whole stack.
    pub state: State,
    /// The program that started it; absent if nothing runs, and from an older devrun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_by: Option<StartedBy>,
    /// The process whose end ends it (`--with-pid`, `--with-parent`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound_to: Option<BoundTo>,
    /// The pid namespace in which it runs, when that is not the client's: a container or a sandbox. Its process ids are those of
    /// other processes for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Named ports.
    pub ports: BTreeMap<String, u16>,
    /// Named URLs of the processes that were started, in the order they are printed.
    pub urls: Map<String, serde_json::Value>,
    /// URLs of its HTTP servers under the worktree's own host names, by the names in `urls`. Browsers keep cookies per host name.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub host_urls: Map<String, serde_json::Value>,
    /// The branch database, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseStatus>,
    /// The processes, in the order of the configuration.
    pub processes: Vec<ProcessStatus>,
    /// Steps of the preparation; absent once it is done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepStatus>,
    /// Connections to servers that do not belong to this worktree, checked for this answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub isolation: Vec<Finding>,
    /// Messages about the parts that devrun downloaded for this start, once for the machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fetched: Vec<String>,
    /// Remarks for the user: parts that were left out, addresses that no variable changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
    /// Files that the stack was made from and that changed since its start, checked for this answer; absent if there
    /// are none. `restart` does not apply them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<Changed>,
    /// Migration files that changed since the database was last migrated, checked for this answer; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingMigrations>,
    /// The error that ended the stack, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
    /// The process that ended the stack with status 0, which is not a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<EndedBy>,
    /// The URLs once every process was started.
    #[serde(skip)]
    all_urls: Map<String, serde_json::Value>,
    #[serde(skip)]
    told_ready: bool,
    /// True once the checks that follow readiness have added their notices.
    #[serde(skip)]
    pub(in crate::control) checked: bool,
}

impl Status {
    /// Returns the status of a worktree in which nothing runs.
    pub fn stopped(worktree: &Path, branch: Option<&str>, slug: &str) -> Status {
        Status {
            worktree: worktree.to_string_lossy().into_owned(),
            branch: branch.map(Into::into),
            slug: slug.into(),
            ..Status::default()
        }
    }

    /// Returns the status of a stack whose preparation is about to begin.
    pub fn preparing(worktree: &Path, branch: Option<&str>, slug: &str) -> Status {
        Status { state: State::Preparing, ..Status::stopped(worktree, branch, slug) }
    }

    /// Fills in the values of `plan`. Replaces the processes.
    pub fn plan(&mut self, plan: &Plan) {
        self.worktree = plan.worktree.path.to_string_lossy().into_owned();
        self.branch = plan.worktree.head.branch().map(Into::into);
        self.slug.clone_from(&plan.worktree.slug);
        self.slot = Some(plan.slot);
        self.away.clone_from(&plan.away);
        self.ports.clone_from(&plan.ports);
        let named =
            |urls: Vec<(String, String)>| urls.into_iter().map(|(name, url)| (name, url.into())).collect();
        self.urls = named(plan.started_urls());
        self.all_urls = named(plan.urls.clone());
        self.host_urls = named(plan.host_urls.clone());
        self.database = plan.database.as_ref().map(|database| DatabaseStatus {
            provider: database.provider.clone(),
            name: name_in(&database.masked_url).unwrap_or_else(|| database.name.clone()),
            branch: database.name.clone(),
            url: database.masked_url.clone(),
        });
        self.processes = plan.processes.iter().map(ProcessStatus::new).collect();
    }

    /// Updates the status with `event`.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::StepStarted { step, doing } => self.step(*step, StepState::Running, doing),
            Event::StepDone { step, outcome, .. } => self.step(*step, StepState::Done, outcome),
            Event::StepFailed { step } => self.step(*step, StepState::Failed, ""),
            Event::Process { name, state } => {
                if let Some(process) = self.process_mut(name) {
                    process.note(state);
                }
                if matches!(state, ProcessState::Started { .. }) && self.urls.len() < self.all_urls.len() {
                    self.show_urls_of(name);
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
            Event::Fetched(text) => self.fetched.push(text.clone()),
            Event::Note(_) | Event::Warning(_) | Event::StepProgress { .. } | Event::StopWaiting { .. } => {}
        }
        self.update_state();
    }

    /// Marks the stack as ended: failed if there is an error, else stopped.
    pub fn over(&mut self) {
        self.state = if self.error.is_some() { State::Failed } else { State::Stopped };
        self.steps.clear();
        self.processes.iter_mut().for_each(ProcessStatus::over);
    }

    /// Adds the URLs of the process `name`, which was started by hand.
    fn show_urls_of(&mut self, name: &str) {
        let Some(process) = self.process(name) else { return };
        let Some(port) = process.port else { return };
        let leads = |url: &serde_json::Value| {
            url.as_str().and_then(|url| url::Url::parse(url).ok()?.port()) == Some(port)
        };
        let (urls, all) = (self.urls.clone(), self.all_urls.clone());
        let is_shown = |name: &String, url: &serde_json::Value| urls.contains_key(name) || leads(url);
        self.urls = all.into_iter().filter(|(name, url)| is_shown(name, url)).collect();
    }

    /// Returns why the stack ended: its failure, or the process that ended it with status 0.
    pub fn end(&self) -> Option<&ErrorBody> {
        self.error.as_ref().or_else(|| Some(&self.ended_by.as_ref()?.error))
    }

    /// Returns the process called `name`.
    pub fn process(&self, name: &str) -> Option<&ProcessStatus> {
        self.processes.iter().find(|process| process.name == name)
    }

    fn process_mut(&mut self, name: &str) -> Option<&mut ProcessStatus> {
        self.processes.iter_mut().find(|process| process.name == name)
    }

    /// Returns the steps of the preparation that have begun and are not done.
    pub fn open_steps(&self) -> impl Iterator<Item = &StepStatus> {
        self.steps.iter().filter(|step| step.state != StepState::Done)
    }

    fn step(&mut self, name: Step, state: StepState, detail: &str) {
        let found = self.steps.iter_mut().find(|step| step.name == name);
        let step = StepStatus { name, state, detail: detail.into() };
        match found {
            Some(known) => *known = step,
            None => self.steps.push(step),
        }
    }

    pub(in crate::control) fn update_state(&mut self) {
        if matches!(self.state, State::Stopping | State::Stopped | State::Failed) {
            return;
        }
        let all = self.processes.iter().all(ProcessStatus::is_fine);
        self.state = match (self.told_ready, all) {
            (true, true) => State::Ready,
            (true, false) => State::Degraded,
            (false, _) if self.open_steps().next().is_none() && self.slot.is_some() => State::Starting,
            (false, _) => State::Preparing,
        };
    }
}

/// Returns the name of the database in `url`.
fn name_in(url: &str) -> Option<String> {
    let url = Url::parse(url).ok().filter(|url| url.scheme().starts_with("postgres"))?;
    let name = url.path().strip_prefix('/')?;
    Some(name.to_string()).filter(|name| !name.is_empty())
}
