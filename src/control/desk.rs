//! The supervisor's side of the socket: what the stack is doing, and how to ask something of it.
//!
//! Knows nothing of HTTP. Orders reach the loop of the run as inputs of its state machine; nothing here starts or stops
//! a process by itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{broadcast, watch};

use super::status::{ProcessStatus, State, Status, Trouble, Word};
use crate::error::{Code, Report};
use crate::event::{Event, Events, ProcessState};
use crate::isolation::{self, Finding, Territory};
use crate::os::deadline::Deadline;
use crate::plan::Plan;
use crate::supervisor::machine::{Input, Why};
use crate::supervisor::terminals::Terminals;

/// How many events a client may lag behind before it misses some.
const BACKLOG: usize = 1024;
/// How long the end of a run waits for answers to reach those who wait.
const FAREWELL: Duration = Duration::from_millis(200);
/// How long somebody who has just come waits for a sign of life from a process that is stuck: it may have been mended.
const BENEFIT: Duration = Duration::from_secs(5);
/// How long a process without a probe must run to count as up for those who wait.
const FOOTHOLD: Duration = Duration::from_millis(200);

/// What may be asked of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Come up.
    Start,
    /// Go down and stay down.
    Stop,
    /// Go down, if up, and come up again.
    Restart,
}

/// Somebody who waits for an answer.
#[derive(Debug)]
pub struct Attendance {
    waiting: Arc<AtomicUsize>,
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Shared by everybody who asks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Desk {
    board: Arc<watch::Sender<Status>>,
    told: broadcast::Sender<Option<Arc<Event>>>,
    orders: UnboundedSender<Input>,
    stops: UnboundedSender<Why>,
    waiting: Arc<AtomicUsize>,
    terminals: Terminals,
    /// When the last process without a probe was started.
    youngest: Arc<Mutex<Option<Instant>>>,
    /// What belongs to the worktree, once the plan is made; its leaders are filled in for each audit.
    territory: Arc<Mutex<Option<Territory>>>,
}

impl Desk {
    /// A desk for a stack that begins as `status`; `stops` ends it. Orders arrive at the receiver.
    pub fn new(status: Status, stops: UnboundedSender<Why>) -> (Desk, UnboundedReceiver<Input>) {
        let (orders, received) = unbounded_channel();
        let board = Arc::new(watch::Sender::new(status));
        let told = broadcast::Sender::new(BACKLOG);
        (
            Desk {
                board,
                told,
                orders,
                stops,
                waiting: Arc::default(),
                terminals: Terminals::default(),
                youngest: Arc::default(),
                territory: Arc::default(),
            },
            received,
        )
    }

    /// Hears everything that is told to `events` from now on.
    pub fn listen(&self, events: Events) -> Events {
        let desk = self.clone();
        Events::new(move |event| {
            desk.note(&event);
            // Behind a pointer: there is room for many, and most are never sent.
            if desk.told.receiver_count() > 0 {
                let _ = desk.told.send(Some(Arc::new(event.clone())));
            }
            events.send(event);
        })
    }

    fn note(&self, event: &Event) {
        self.board.send_modify(|status| status.note(event));
        if let Event::Process { name, state: ProcessState::Started { .. } } = event
            && self.board.borrow().process(name).is_some_and(|process| !process.probed)
        {
            *self.youngest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// Learns what is to run.
    pub fn plan(&self, plan: &Plan) {
        self.terminals.expect(&plan.processes);
        *self.territory.lock().unwrap_or_else(PoisonError::into_inner) = Some(Territory::of(plan));
        self.board.send_modify(|status| status.plan(plan));
    }

    /// The terminals of processes that have one.
    pub fn terminals(&self) -> &Terminals {
        &self.terminals
    }

    /// What the stack is doing.
    pub fn status(&self) -> Status {
        self.board.borrow().clone()
    }

    /// Returns the connections that leave the worktree now; none before the plan is made. Reads the sockets on another
    /// thread.
    pub async fn audit(&self) -> Vec<Finding> {
        let territory = self.territory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(mut territory) = territory else { return Vec::new() };
        territory.leaders = self
            .status()
            .processes
            .iter()
            .filter_map(|process| Some((process.pid?, process.name.clone())))
            .collect();
        tokio::task::spawn_blocking(move || isolation::audit(&territory)).await.unwrap_or_default()
    }

    /// Returns the status together with an audit.
    pub async fn audited(&self) -> Status {
        let isolation = self.audit().await;
        let mut status = self.status();
        status.isolation = isolation;
        status
    }

    /// Ends the run because of `report`.
    pub fn fail(&self, report: Report) {
        // A run that is over needs no asking.
        let _ = self.stops.send(Why::Failed(report));
    }

    /// Says that the run is over, and gives those who wait for something a moment to hear it.
    pub async fn close(&self, report: Option<&Report>) -> Status {
        self.board.send_modify(|status| {
            status.error = report.map(Into::into).or(status.error.take());
            status.over();
        });
        let _ = self.told.send(None);
        let start = Instant::now();
        while self.waiting.load(Ordering::Relaxed) > 0 && start.elapsed() < FAREWELL {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.status()
    }

    /// Counts somebody who waits for an answer, as long as the value lives.
    pub fn attend(&self) -> Attendance {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Attendance { waiting: self.waiting.clone() }
    }

    /// Everything told from now on; `None` when it is over.
    pub fn events(&self) -> broadcast::Receiver<Option<Arc<Event>>> {
        self.told.subscribe()
    }

    /// Takes the whole stack down.
    pub fn down(&self) {
        // A run that is over needs no asking.
        let _ = self.stops.send(Why::Signal(nix::libc::SIGTERM));
    }

    /// Gives `order` to the processes `names`, or to all, and waits until it is carried out: down, or ready. The status
    /// then; an error when `limit` passes first or a process fails meanwhile.
    pub async fn order(&self, order: Order, names: &[String], limit: Duration) -> Result<Status, Report> {
        let deadline = Deadline::within(limit);
        let before = self.status();
        let mut indexes = indexes(&before, names)?;
        if names.is_empty() {
            // Who names none means what is part of the stack as it stands.
            indexes.retain(|index| match (order, before.processes[*index].state) {
                (Order::Start, word) => word != Word::Idle,
                (Order::Restart, word) => !matches!(word, Word::Idle | Word::Stopped),
                (Order::Stop, _) => true,
            });
        }
        let these = indexes.clone();
        let input = match order {
            Order::Start => Input::StartThese(these),
            Order::Stop => Input::StopThese(these),
            Order::Restart => Input::RestartThese(these),
        };
        // A run that is over is noticed by the waiting.
        let _ = self.orders.send(input);
        let carried_out = |status: &Status| {
            indexes.iter().all(|index| {
                let (was, is) = (&before.processes[*index], &status.processes[*index]);
                match order {
                    Order::Stop => {
                        is.pid.is_none() && is.state != Word::Stopping && is.state != Word::Restarting
                    }
                    Order::Start => is.ready,
                    Order::Restart => is.ready && is.starts > was.starts,
                }
            })
        };
        let failed = |status: &Status| {
            let overdue = |index: &&usize| {
                let (was, is) = (&before.processes[**index], &status.processes[**index]);
                is.trouble != Trouble::None && (order == Order::Start || is.starts > was.starts)
            };
            doom(status, &indexes)
                .or_else(|| Some(not_ready(&status.processes[*indexes.iter().find(overdue)?])))
        };
        self.until(carried_out, failed, &indexes, deadline).await?;
        self.foothold(carried_out, failed, &indexes, deadline).await
    }

    /// Waits until the processes `names`, or the whole stack, are ready.
    pub async fn wait(&self, names: &[String], limit: Duration) -> Result<Status, Report> {
        let deadline = Deadline::within(limit);
        // Before the plan is made there are no names to know.
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
            let found = all.find(|(index, process)| process.trouble == Trouble::Stuck && is_meant(*index));
            found.map(|(_, process)| process.clone())
        };
        let failed = |status: &Status| doom(status, &indexes);
        let _ = tokio::time::timeout(
            deadline.left().min(BENEFIT),
            self.seen(|status| stuck(status).is_none() || ready(status) || failed(status).is_some()),
        )
        .await;
        let failed = |status: &Status| failed(status).or_else(|| stuck(status).as_ref().map(not_ready));
        self.until(ready, failed, &indexes, deadline).await?;
        self.foothold(ready, failed, &indexes, deadline).await
    }

    /// Nothing but its going on tells that a process without a probe has started well: waits until the youngest has run
    /// for a moment.
    async fn foothold(
        &self,
        done: impl Fn(&Status) -> bool,
        failed: impl Fn(&Status) -> Option<Report>,
        indexes: &[usize],
        deadline: Deadline,
    ) -> Result<Status, Report> {
        let youngest = *self.youngest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = youngest.and_then(|start| FOOTHOLD.checked_sub(start.elapsed())) {
            // Its end is what the next look sees.
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
        let mut board = self.board.subscribe();
        let seen = board.wait_for(wanted).await.map(|status| status.clone());
        // The sender lives in us.
        seen.unwrap_or_else(|_| self.status())
    }
}

/// Numbers of the processes `names`, or of all.
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

/// There is no process `name`.
pub fn unknown(status: &Status, name: &str) -> Report {
    let names: Vec<&str> = status.processes.iter().map(|process| process.name.as_str()).collect();
    Report::new(Code::ProcessUnknown, format!("there is no process `{name}`"))
        .with_fix(format!("use one of: {}", names.join(", ")))
}

/// Why what is waited for will not come.
fn doom(status: &Status, indexes: &[usize]) -> Option<Report> {
    if let Some(error) = &status.error {
        return Some(error.clone().into());
    }
    let failed = |process: &&ProcessStatus| {
        matches!(process.state, Word::Skipped) || (process.state == Word::Ended && !process.ready)
    };
    let Some(process) = indexes.iter().map(|index| &status.processes[*index]).find(failed) else {
        let over = matches!(status.state, State::Stopping | State::Stopped | State::Failed);
        return over.then(|| Report::new(Code::NotRunning, "the stack is being taken down"));
    };
    let ended = process.exit.map_or_else(String::new, |exit| format!(" with status {exit}"));
    let message = match process.state {
        Word::Skipped => format!("{} was not started", process.name),
        _ => format!("{} ended{ended}", process.name),
    };
    let report = Report::new(Code::ProcessEnded, message).with_fix(format!("devrun why {}", process.name));
    Some(match &process.reason {
        Some(reason) => report.with_cause(reason.clone()),
        None => report,
    })
}

/// A process is not ready and will not be by itself; the stack goes on.
fn not_ready(process: &ProcessStatus) -> Report {
    let name = &process.name;
    let report = Report::new(Code::NotReady, format!("{name} is not ready"));
    let report = report.with_fix(format!("devrun why {name}"));
    let reason = process.reason.iter().map(String::as_str);
    report.with_cause(reason.chain(["the stack goes on"]).collect::<Vec<_>>().join("\n"))
}

fn late(status: &Status, indexes: &[usize], limit: Duration) -> Report {
    let all = (0..status.processes.len()).collect::<Vec<_>>();
    let asked = if indexes.is_empty() { &all } else { indexes };
    let open = asked.iter().map(|index| &status.processes[*index]).filter(|process| !process.is_fine());
    let mut lines: Vec<String> = status
        .steps
        .iter()
        .filter(|step| step.state != "done")
        .map(|step| format!("{}: {}", step.name, step.detail))
        .collect();
    let mut first = None;
    for process in open {
        first = first.or(Some(process.name.clone()));
        let reason = process.reason.as_deref().map(|reason| format!(", {reason}")).unwrap_or_default();
        lines.push(format!("{} is {}{reason}", process.name, process.state.text()));
    }
    let report = Report::new(Code::TimedOut, format!("not ready within {} s", limit.as_secs()))
        .with_cause(lines.join("\n"));
    match first {
        Some(name) => report.with_fix(format!("devrun why {name}")),
        None => report.with_fix("devrun ps"),
    }
}
