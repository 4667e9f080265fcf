//! The supervisor's side of the socket: keeps the status of the stack and carries out the requests of clients.
//!
//! This module does not depend on HTTP. It sends requests to the run loop as inputs of the state machine, and does not
//! start or stop a process itself.

mod reports;
mod start;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

pub use self::reports::unknown;
use self::reports::{failure_of, late, not_ready};
use super::reprobe::{self, FailedProbe};
use super::status::{
    Changed, EndedBy, LastProbe, PendingMigrations, ProcessStatus, ProcessTrouble, State, Status, Word,
};
use crate::error::{Code, Fault, RESTART_STACK, Report};
use crate::event::{Event, Events, ProcessState};
use crate::isolation::audit_facts::AuditFacts;
use crate::isolation::{self, Finding, Survey, Territory};
use crate::os::blocking;
use crate::os::deadline::Deadline;
use crate::plan::{Notice, Plan, Process};
use crate::supervisor::process_binding::ProcessBinding;
use crate::supervisor::state_machine::{Input, StopReason};
use crate::supervisor::terminals::Terminals;
use crate::supervisor::wrong_port;

/// How many events a client may lag behind before it loses some.
const BACKLOG: usize = 1024;
/// How long the end of a run waits until open connections have received their answers.
const CLOSE_LIMIT: Duration = Duration::from_millis(200);
/// How long `wait` waits for a process that is stuck when the request arrives: its code may have been fixed since.
const STUCK_LIMIT: Duration = Duration::from_secs(5);
/// How long the checks after readiness may take; a preflight request may take two seconds.
const CHECKS: Duration = Duration::from_secs(3);
/// How long a process may listen only on ports that are not its own before `wait` fails.
const WRONG_PORT_LIMIT: Duration = Duration::from_secs(2);
/// Time between two checks of a process that listens only on ports that are not its own.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// How long the second probe of a process that did not answer may delay a status.
const SECOND_PROBE_LIMIT: Duration = Duration::from_secs(3);
/// How long after the first probes the processes that passed are probed again while another one is silent.
const SECOND_ROUND_AFTER: Duration = Duration::from_secs(1);
/// How long the state machine may take to record that a process does not answer.
const RECORD_LIMIT: Duration = Duration::from_secs(1);
/// How long a check of the files that the stack was made from may take.
const INPUT_CHECK_LIMIT: Duration = Duration::from_secs(2);
/// How long the last round of probes of `wait` may take when its deadline has passed.
const LAST_PROBE_LIMIT: Duration = Duration::from_secs(2);
/// How long a process without a probe must run before `start`, `restart` and `wait` count it as up.
const STABLE_AFTER: Duration = Duration::from_millis(200);

/// A request that changes the state of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessRequest {
    /// Starts processes.
    Start,
    /// Stops processes and keeps them down.
    Stop,
    /// Stops processes that run, then starts them again.
    Restart,
}

/// Counts one open connection in [`StackHandle`] until it is dropped.
#[derive(Debug)]
pub struct OpenConnection {
    waiting: Arc<AtomicUsize>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The names of files that changed while the stack runs.
#[derive(Clone, Debug, Default)]
pub struct ChangedFiles {
    /// Files that the stack was made from.
    pub inputs: Vec<String>,
    /// Migration files that are new or changed since the database was last migrated.
    pub migrations: Vec<String>,
    /// Migration files that were removed since.
    pub removed_migrations: Vec<String>,
}

/// A function that returns the files that changed. It blocks.
#[derive(Clone)]
struct ChangedInputs(Arc<dyn Fn() -> ChangedFiles + Send + Sync>);

impl std::fmt::Debug for ChangedInputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChangedInputs")
    }
}

/// The status of a stack and the channels to its run loop, shared by all connections. A clone is cheap.
#[derive(Clone, Debug)]
pub struct StackHandle {
    status_sender: Arc<watch::Sender<Status>>,
    event_sender: broadcast::Sender<Option<Arc<Event>>>,
    orders: UnboundedSender<Input>,
    stops: UnboundedSender<StopReason>,
    /// The process whose end ends the stack.
    binding: Arc<watch::Sender<Option<ProcessBinding>>>,
    waiting: Arc<AtomicUsize>,
    terminals: Terminals,
    /// The plan of the run; `None` until it is made.
    plan: Arc<Mutex<Option<Arc<Plan>>>>,
    /// Finds the files that changed since the stack was made from them; `None` until the preparation has set it.
    inputs: Arc<Mutex<Option<ChangedInputs>>>,
    /// The time of the last start of a process without a probe.
    youngest: Arc<Mutex<Option<Instant>>>,
    /// The ports and the database of the worktree; `None` until the plan is made. Each audit fills in the leaders and the sessions on
    /// other databases.
    territory: Arc<Mutex<Option<Territory>>>,
}

impl StackHandle {
    /// Returns the handle of a stack with the status `status`, and the receiver of the inputs for its state machine. The
    /// handle ends the run through `stops`.
    pub fn new(
        status: Status,
        stops: UnboundedSender<StopReason>,
    ) -> (StackHandle, UnboundedReceiver<Input>) {
        let (orders, received) = unbounded_channel();
        let board = Arc::new(watch::Sender::new(status));
        let told = broadcast::Sender::new(BACKLOG);
        (
            StackHandle {
                status_sender: board,
                event_sender: told,
                orders,
                stops,
                binding: Arc::default(),
                waiting: Arc::default(),
                terminals: Terminals::default(),
                plan: Arc::default(),
                inputs: Arc::default(),
                youngest: Arc::default(),
                territory: Arc::default(),
            },
            received,
        )
    }

    /// Returns a sender that records each event in the status, sends it to the subscribers of [`StackHandle::events`], and
    /// passes it on to `events`.
    pub fn listen(&self, events: Events) -> Events {
        let stack = self.clone();
        Events::new(move |event| {
            stack.note(&event);
            // Most of the channel's room stays unused, so it holds pointers.
            if stack.event_sender.receiver_count() > 0 {
                let _ = stack.event_sender.send(Some(Arc::new(event.clone())));
            }
            events.send(event);
        })
    }

    fn note(&self, event: &Event) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.status_sender.send_modify(|status| {
            status.note(event);
            for process in &mut status.processes {
                process.note_time(u64::try_from(now).unwrap_or(u64::MAX));
            }
        });
        if let Event::Process { name, state: ProcessState::Started { .. } } = event
            && self.status_sender.borrow().process(name).is_some_and(|process| !process.probed)
        {
            *self.youngest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// Records the plan of the run in the status. Audits use `facts` for what the plan does not have.
    pub fn plan(&self, plan: &Arc<Plan>, facts: AuditFacts) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(plan.clone());
        self.terminals.expect(&plan.processes);
        *self.territory.lock().unwrap_or_else(PoisonError::into_inner) = Some(Territory::of(plan, facts));
        self.status_sender.send_modify(|status| status.plan(plan));
    }

    /// Adds `notices` to the status.
    pub fn notify(&self, notices: &[Notice]) {
        self.status_sender.send_modify(|status| status.notices.extend_from_slice(notices));
    }

    /// Records that the checks that follow readiness are done.
    pub fn checked(&self) {
        self.status_sender.send_modify(|status| status.checked = true);
    }

    /// Returns the terminals of the processes that have one.
    pub fn terminals(&self) -> &Terminals {
        &self.terminals
    }

    /// Returns a copy of the current status.
    pub fn status(&self) -> Status {
        self.status_sender.borrow().clone()
    }

    /// Returns the current connections that leave the worktree; none before the plan is made.
    pub async fn audit(&self) -> Vec<Finding> {
        self.survey(isolation::audit).await
    }

    /// Calls `look` on another thread, with the leaders of all running processes and the sessions on other databases.
    /// Returns the default before the plan is made.
    async fn survey<T: Default + Send + 'static>(&self, look: fn(&Territory) -> T) -> T {
        let territory = self.territory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(mut territory) = territory else { return T::default() };
        territory.leaders = self
            .status()
            .processes
            .iter()
            .filter_map(|process| Some((process.pid?, process.name.clone())))
            .collect();
        territory.elsewhere = territory.facts.sessions().await;
        tokio::task::spawn_blocking(move || look(&territory)).await.unwrap_or_default()
    }

    /// Returns the status with an audit, the changed files, and the ports that other machines can reach. First probes
    /// every process that the status calls ready. If the last process has just become ready, waits up to three seconds
    /// for the notices of the checks that follow.
    pub async fn audited(&self) -> Status {
        let is_checked = |status: &Status| match status.state {
            State::Ready => status.checked,
            State::Starting => !status.processes.iter().all(ProcessStatus::is_fine),
            _ => true,
        };
        let (_, silent) = tokio::join!(tokio::time::timeout(CHECKS, self.seen(is_checked)), self.refresh());
        let Survey { findings, mut listening } = self.survey(isolation::survey).await;
        let mut status = self.status();
        status.isolation = findings;
        let changed = self.changed().await;
        status.changed = Changed::of(changed.inputs);
        // While the stack is prepared, its migrations are still to come.
        let is_prepared = matches!(status.state, State::Starting | State::Ready | State::Degraded);
        status.pending =
            PendingMigrations::of(changed.migrations, changed.removed_migrations).filter(|_| is_prepared);
        let plan = self.known_plan();
        for (index, process) in status.processes.iter_mut().enumerate() {
            if process.ready && silent.contains(&index) {
                process.last_probe = LastProbe::Silent;
                process.reason = Some(format!("no answer within {:?}: it may be busy", reprobe::LIMIT));
            }
            let addresses = listening.remove(&process.name).unwrap_or_default();
            let outside = addresses.iter().filter(|address| !address.ip().is_loopback());
            process.exposed = outside.map(SocketAddr::port).collect();
            let planned = plan.as_ref().and_then(|plan| plan.processes.get(index));
            if let Some(planned) = planned.filter(|_| process.state == Word::Running) {
                mark_wrong_port(planned, process, &addresses).await;
            }
        }
        if status.processes.iter().any(|process| process.astray) {
            status.update_state();
        }
        status
    }

    /// Sets the function that finds changed input files.
    pub fn inputs(&self, changed: impl Fn() -> ChangedFiles + Send + Sync + 'static) {
        *self.inputs.lock().unwrap_or_else(PoisonError::into_inner) = Some(ChangedInputs(Arc::new(changed)));
    }

    async fn changed(&self) -> ChangedFiles {
        let look = self.inputs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(ChangedInputs(look)) = look else { return ChangedFiles::default() };
        // If a folder does not answer in time, the status reports no change.
        blocking::run(INPUT_CHECK_LIMIT, move || look()).await.unwrap_or_default()
    }

    fn known_plan(&self) -> Option<Arc<Plan>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns a warning for each process that listens only on ports that are not its own.
    pub async fn wrong_ports(&self) -> Vec<String> {
        let status = self.audited().await;
        let astray = status.processes.iter().filter(|process| process.astray);
        let said = |process: &ProcessStatus| {
            format!("{}: {}", process.name, process.reason.as_deref().unwrap_or_default())
        };
        astray.map(said).collect()
    }

    /// Probes each process that the status calls ready. Reports a process that does not answer to the state machine,
    /// and returns when the status shows it, at the latest after one second. A process that may only be busy is probed a second
    /// time. Returns the indexes of these processes. Takes six seconds at most: two for the first probes, four for the second ones.
    ///
    /// The other processes are probed a second time during that wait: a page that needs a backend answers late because the
    /// backend has just died, and by then the first answer of the backend is old.
    async fn refresh(&self) -> Vec<usize> {
        let (Some(plan), before) = (self.known_plan(), self.status()) else { return Vec::new() };
        let failed = reprobe::failed(&plan, &before).await;
        let silent = self.report_probes(&failed);
        if silent.is_empty() {
            self.noted(&before, &failed, RECORD_LIMIT).await;
            return silent;
        }
        let again = async {
            tokio::time::sleep(SECOND_ROUND_AFTER).await;
            let mut others = before.clone();
            for (index, _) in &failed {
                others.processes[*index].ready = false;
            }
            let failed = reprobe::failed(&plan, &others).await;
            let silent = self.report_probes(&failed);
            self.noted(&others, &failed, RECORD_LIMIT).await;
            silent
        };
        let ((), more) = tokio::join!(self.noted(&before, &failed, SECOND_PROBE_LIMIT), again);
        [silent, more].concat()
    }

    /// Sends the failed probes to the state machine. Returns the indexes of the processes that did not answer.
    fn report_probes(&self, failed: &[(usize, FailedProbe)]) -> Vec<usize> {
        let mut silent = Vec::new();
        for (index, answer) in failed {
            // The send fails only when the run is over.
            let _ = self.orders.send(match answer {
                FailedProbe::Answered(answer) => Input::Unready(*index, answer.clone()),
                FailedProbe::Silent => {
                    silent.push(*index);
                    Input::Doubt(*index)
                }
            });
        }
        silent
    }

    /// Waits until the status shows each process of `failed` as not ready or started again since `before`, for `limit`
    /// at most.
    async fn noted(&self, before: &Status, failed: &[(usize, FailedProbe)], limit: Duration) {
        let is_noted = |status: &Status| {
            failed.iter().all(|(index, _)| {
                let (was, is) = (&before.processes[*index], &status.processes[*index]);
                !is.ready || is.starts != was.starts
            })
        };
        let _ = tokio::time::timeout(limit, self.seen(is_noted)).await;
    }

    /// Ends the run because of `report`.
    pub fn fail(&self, report: Report) {
        // The send fails only when the run is over.
        let _ = self.stops.send(StopReason::Failed(report));
    }

    /// Records that `process` ended the stack with status 0. Waiting clients receive `report`.
    pub fn ended_by(&self, process: &str, report: &Report) {
        let ended = EndedBy { process: process.into(), error: report.into() };
        self.status_sender.send_modify(|status| status.ended_by = Some(ended));
    }

    /// Records that the run is over, ends all event streams, and gives open connections a moment to receive their
    /// answers.
    pub async fn close(&self, report: Option<&Report>) -> Status {
        self.status_sender.send_modify(|status| {
            status.error = report.map(Into::into).or(status.error.take());
            status.over();
        });
        let _ = self.event_sender.send(None);
        let start = Instant::now();
        while self.waiting.load(Ordering::Relaxed) > 0 && start.elapsed() < CLOSE_LIMIT {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.status()
    }

    /// Counts an open connection for as long as the returned value lives.
    pub fn open_connection(&self) -> OpenConnection {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        OpenConnection { waiting: self.waiting.clone() }
    }

    /// Subscribes to all events from now on; `None` means that the run is over.
    pub fn events(&self) -> broadcast::Receiver<Option<Arc<Event>>> {
        self.event_sender.subscribe()
    }

    /// Asks the run loop to stop the whole stack. Does not wait.
    pub fn down(&self) {
        // The send fails only when the run is over.
        let _ = self.stops.send(StopReason::Signal(nix::libc::SIGTERM));
    }

    /// Applies `order` to the processes `names`, or to all, and waits until they are down or ready. Returns the status
    /// at that time. Errors if a name is unknown, there is no plan yet, `limit` passes first, or a process fails before that.
    pub async fn order(
        &self,
        order: ProcessRequest,
        names: &[String],
        limit: Duration,
    ) -> Result<Status, Report> {
        let deadline = Deadline::within(limit);
        let before = self.status();
        let mut indexes = indexes(&before, names)?;
        if names.is_empty() {
            // Without names, an order leaves out processes that were never started, and `restart` leaves out stopped
            // ones too.
            indexes.retain(|index| match (order, before.processes[*index].state) {
                (ProcessRequest::Start, word) => word != Word::Idle,
                (ProcessRequest::Restart, word) => !matches!(word, Word::Idle | Word::Stopped),
                (ProcessRequest::Stop, _) => true,
            });
        }
        let these = indexes.clone();
        let input = match order {
            ProcessRequest::Start => Input::StartThese(these),
            ProcessRequest::Stop => Input::StopThese(these),
            ProcessRequest::Restart => Input::RestartThese(these),
        };
        // If the run is over, the send fails and the wait below returns the reason.
        let _ = self.orders.send(input);
        let carried_out = |status: &Status| {
            indexes.iter().all(|index| {
                let (was, is) = (&before.processes[*index], &status.processes[*index]);
                match order {
                    ProcessRequest::Stop => {
                        is.pid.is_none() && is.state != Word::Stopping && is.state != Word::Restarting
                    }
                    ProcessRequest::Start => is.ready,
                    ProcessRequest::Restart => is.ready && is.starts > was.starts,
                }
            })
        };
        let failed = |status: &Status| {
            let overdue = |index: &&usize| {
                let (was, is) = (&before.processes[**index], &status.processes[**index]);
                is.trouble != ProcessTrouble::None
                    && (order == ProcessRequest::Start || is.starts > was.starts)
            };
            // A process that had failed before keeps that state until the order reaches it.
            let is_reached = |index: &usize| {
                let (was, is) = (&before.processes[*index], &status.processes[*index]);
                was.state != Word::Failed || is.starts > was.starts
            };
            let reached: Vec<usize> = indexes.iter().copied().filter(is_reached).collect();
            failure_of(status, &reached)
                .or_else(|| Some(not_ready(&status.processes[*indexes.iter().find(overdue)?])))
        };
        self.until(carried_out, failed, &indexes, deadline).await?;
        self.wait_until_stable(carried_out, failed, &indexes, deadline).await
    }

    /// Waits until the processes `names`, or the whole stack, are ready and have answered a last probe. Returns the
    /// status with an audit. Errors if a name is unknown, `limit` passes first, or a process fails, is stuck, or
    /// listens on a wrong port.
    pub async fn wait(&self, names: &[String], limit: Duration) -> Result<Status, Report> {
        let deadline = Deadline::within(limit);
        // Process names are unknown until the plan is made.
        let _ = tokio::time::timeout(
            deadline.left(),
            self.seen(|status| !status.processes.is_empty() || status.state.is_over()),
        )
        .await;
        let indexes = if names.is_empty() { Vec::new() } else { indexes(&self.status(), names)? };
        let ready = |status: &Status| {
            if indexes.is_empty() {
                status.state == State::Ready
            } else {
                indexes.iter().all(|index| status.processes[*index].ready)
            }
        };
        let stuck = |status: &Status| {
            let is_meant = |index| indexes.is_empty() || indexes.contains(&index);
            let mut all = status.processes.iter().enumerate();
            let found =
                all.find(|(index, process)| process.trouble == ProcessTrouble::Stuck && is_meant(*index));
            found.map(|(_, process)| process.clone())
        };
        let failed = |status: &Status| {
            let given_up = status.processes.iter().position(|process| process.state == Word::Failed);
            let given_up = given_up.filter(|_| indexes.is_empty());
            given_up.map_or_else(|| failure_of(status, &indexes), |index| failure_of(status, &[index]))
        };
        let _ = tokio::time::timeout(
            deadline.left().min(STUCK_LIMIT),
            self.seen(|status| stuck(status).is_none() || ready(status) || failed(status).is_some()),
        )
        .await;
        let failed = |status: &Status| failed(status).or_else(|| stuck(status).as_ref().map(not_ready));
        let mut since_wrong = None;
        loop {
            self.until(ready, failed, &indexes, deadline).await?;
            self.wait_until_stable(ready, failed, &indexes, deadline).await?;
            // The client gives up soon after the deadline, so a slow probe must not take longer.
            let Ok(status) =
                tokio::time::timeout(deadline.left().max(LAST_PROBE_LIMIT), self.audited()).await
            else {
                return Err(late(&self.status(), &indexes, deadline.limit));
            };
            let is_meant = |index| indexes.is_empty() || indexes.contains(&index);
            // A process that did not answer counts only after its second probe.
            let mut all = status.processes.iter().enumerate();
            if ready(&status)
                && !all.any(|(index, process)| process.last_probe == LastProbe::Silent && is_meant(index))
            {
                return Ok(status);
            }
            let mut all = status.processes.iter().enumerate();
            if let Some((_, process)) = all.find(|(index, process)| process.astray && is_meant(*index)) {
                // The process may still open its own port.
                let since: Instant = *since_wrong.get_or_insert_with(Instant::now);
                if since.elapsed() >= WRONG_PORT_LIMIT.min(deadline.limit) {
                    return Err(not_ready(process));
                }
                tokio::time::sleep(CHECK_INTERVAL).await;
            }
        }
    }

    /// Waits until the process without a probe that was started last has run for [`STABLE_AFTER`], then calls
    /// [`StackHandle::until`] again. Without a probe, only staying alive shows that a process has started well.
    async fn wait_until_stable(
        &self,
        done: impl Fn(&Status) -> bool,
        failed: impl Fn(&Status) -> Option<Report>,
        indexes: &[usize],
        deadline: Deadline,
    ) -> Result<Status, Report> {
        let youngest = *self.youngest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = youngest.and_then(|start| STABLE_AFTER.checked_sub(start.elapsed())) {
            // If a process ends during this time, `until` finds its end in the status.
            let _ = tokio::time::timeout(left, self.seen(|status| !done(status))).await;
        }
        self.until(done, failed, indexes, deadline).await
    }

    async fn until(
        &self,
        done: impl Fn(&Status) -> bool,
        failed: impl Fn(&Status) -> Option<Report>,
        indexes: &[usize],
        deadline: Deadline,
    ) -> Result<Status, Report> {
        let settled = |status: &Status| done(status) || failed(status).is_some();
        match tokio::time::timeout(deadline.left(), self.seen(settled)).await {
            Ok(status) => match failed(&status) {
                Some(report) if !done(&status) => Err(report),
                _ => Ok(status),
            },
            Err(_) => Err(late(&self.status(), indexes, deadline.limit)),
        }
    }

    async fn seen(&self, wanted: impl FnMut(&Status) -> bool) -> Status {
        let mut board = self.status_sender.subscribe();
        let seen = board.wait_for(wanted).await.map(|status| status.clone());
        // The sender is a field of this handle, so the channel cannot be closed.
        seen.unwrap_or_else(|_| self.status())
    }
}

/// Marks `process` as not ready if it listens on `addresses` but not on the port that `planned` gives it.
async fn mark_wrong_port(planned: &Process, process: &mut ProcessStatus, addresses: &BTreeSet<SocketAddr>) {
    let strays = wrong_port::strays(planned, process.ready, addresses);
    let Some(port) = strays.first().map(SocketAddr::port) else { return };
    let command = tokio::task::spawn_blocking(move || isolation::command_on(port)).await.ok().flatten();
    if let Some(text) = wrong_port::text(planned, &strays, command.as_deref()) {
        process.fix =
            Some(format!("{}, then `{RESTART_STACK}`", wrong_port::fix(planned, command.as_deref())));
        (process.astray, process.ready, process.fault) = (true, false, Some(Fault::Configuration));
        process.reason = Some(text);
    }
}

/// Returns the indexes of the processes `names`, or of all. Errors if a name is unknown or there is no plan yet.
fn indexes(status: &Status, names: &[String]) -> Result<Vec<usize>, Report> {
    if status.processes.is_empty() {
        return Err(Report::new(
            Code::TimedOut,
            "the stack is still being prepared: its processes are not known yet",
        )
        .with_fix("devrun wait"));
    }
    if names.is_empty() {
        return Ok((0..status.processes.len()).collect());
    }
    let find = |name: &String| {
        status.processes.iter().position(|process| process.name == *name).ok_or_else(|| unknown(status, name))
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests;
