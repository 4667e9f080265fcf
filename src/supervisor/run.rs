//! Runs a plan: the loop that passes inputs to the state machine and carries out its effects.

mod stray_ports;
mod stuck;
mod watched_lines;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use self::stray_ports::StrayPorts;
use self::watched_lines::LineInspector;
use super::group::{self, ProcessGroup};
use super::inherited_sockets::Handover;
use super::output::{Mux, OutputSource, Sink};
use super::state_machine::{Effect, Input, Machine, Outcome, StopReason};
use super::stop_requests::StopRequests;
use super::terminals::Terminals;
use super::{readiness, sweep, wrong_port};
use crate::context::refused_database::RefusedDatabase;
use crate::error::{Code, Fault, Holder, RERUN, RESTART_STACK, Report};
use crate::event::{Broken, Event, Events, ProcessState};
use crate::os::cmd::ending;
use crate::os::{spawn, start_obstacle};
use crate::plan::{Need, Plan, PortUse, Probe};

/// Observes the ports of the plan's processes.
pub trait PortObserver {
    /// Records that a process that binds `port` itself is about to start.
    fn starting(&self, port: u16);

    /// Records that a process that binds `port` itself has started. Called only for processes without a readiness
    /// probe.
    fn started(&self, port: u16);

    /// Checks `port` of a process that has become ready. Returns a report if a process other than `leader` and its
    /// descendants listens there.
    fn ready(&self, port: u16, leader: u32) -> Option<Report>;

    /// Returns the addresses on which `leader`, its descendants and the orphans in its session listen.
    fn listening(&self, leader: u32) -> BTreeSet<SocketAddr>;

    /// Returns the process that listens on `port`.
    fn holder(&self, port: u16) -> Option<Holder>;

    /// Returns the command line of the process that listens on `port`.
    fn command_on(&self, port: u16) -> Option<String>;
}

/// The parts of a run.
pub struct Setup {
    /// The plan to run.
    pub plan: Arc<Plan>,
    /// Receives the events of the run.
    pub events: Events,
    /// The tag of this run: the worktree's tag, a dot and a unique suffix.
    pub tag: String,
    /// The listening sockets to hand to processes.
    pub sockets: Handover,
    /// The terminals of the processes, for clients that attach to them.
    pub terminals: Terminals,
    /// Receives the output lines.
    pub sink: Box<dyn Sink>,
    /// A copy of standard output, to notice when its reader closes the other end.
    pub watched: Option<OwnedFd>,
    /// Observes the ports of the processes.
    pub ports: Rc<dyn PortObserver>,
    /// The database servers that may outlive this run.
    pub shared: sweep::SharedServers,
    /// Returns the foreign server that a process asked for its database.
    pub refused: FindRefused,
    /// Called once when every process is ready.
    pub on_ready: Box<dyn FnMut()>,
}

/// Takes the name and the output of a process.
pub type FindRefused = Arc<dyn Fn(&str, &str) -> Option<RefusedDatabase> + Send + Sync>;

/// Receives the preparation steps that are done, or the report of one that failed.
pub type Gates = UnboundedReceiver<Result<Need, Report>>;

/// Receives the requests of clients to start, stop or restart processes.
pub type Orders = UnboundedReceiver<Input>;

/// Runs `setup.plan` to its end. `open` lists the preparation steps that are already done; the others arrive through
/// `gates`. When this function returns, no process of the run is alive.
pub async fn run(
    setup: Setup,
    open: Vec<Need>,
    mut gates: Gates,
    mut orders: Orders,
    stops: &mut StopRequests,
) -> Outcome {
    let (inputs, mut happened) = unbounded_channel();
    let asker = stops.asker();
    let lines = LineInspector::new(setup.sink, &setup.plan, setup.refused, inputs.clone());
    let tails = lines.tails();
    let mux = Mux::start(lines, setup.watched, move || {
        let _ = asker.send(StopReason::OutputClosed);
    });
    let mux = match mux {
        Ok(mux) => Rc::new(mux),
        Err(error) => {
            let report = start_obstacle::refused("the output thread did not start", &error);
            return report.into();
        }
    };
    let shared = setup.shared;
    let mut run = RunLoop {
        machine: Machine::new(&setup.plan, open),
        groups: setup.plan.processes.iter().map(|_| None).collect(),
        plan: setup.plan,
        events: setup.events,
        tag: setup.tag,
        sockets: setup.sockets,
        ports: setup.ports,
        on_ready: setup.on_ready,
        terminals: setup.terminals,
        mux,
        tails,
        inputs,
    };
    let mut deaths = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child()).ok();
    let mut input = Input::Tick;
    let mut hurried = false;
    loop {
        if let Some(outcome) = run.handle(input) {
            sweep::kill_descendants(std::time::Duration::from_secs(5), &shared);
            // Write all remaining output before the end of the run is reported. Another request to stop ends this wait.
            tokio::select! {
                () = run.mux.finish(hurried) => {}
                _ = stops.next() => {}
            }
            return outcome;
        }
        let deadline = run.machine.deadline();
        input = tokio::select! {
            biased;
            why = stops.next() => {
                hurried = true;
                // Only another signal means "kill now". A closed output is often a result of the same Ctrl-C. SIGHUP
                // does not count because a closing terminal can send it twice: from its shell and from the kernel.
                let again = matches!(why, StopReason::Signal(signal) if signal != nix::libc::SIGHUP);
                if run.machine.is_stopping() && again { Input::Kill } else { Input::Stop(why) }
            }
            Some(input) = happened.recv() => input,
            Some(gate) = gates.recv() => match gate {
                Ok(need) => Input::Gate(need),
                Err(report) => Input::Stop(StopReason::Failed(report)),
            },
            Some(order) = orders.recv() => order,
            () = child_died(&mut deaths) => run.look_for_gone_trees(),
            () = until(deadline) => Input::Tick,
        };
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

async fn child_died(deaths: &mut Option<tokio::signal::unix::Signal>) {
    match deaths {
        Some(deaths) => drop(deaths.recv().await),
        None => std::future::pending().await,
    }
}

/// A child that was started, and the state that belongs to it.
struct Live {
    group: ProcessGroup,
    leader_alive: bool,
    /// True once the leader has been reaped. Its id may then belong to another process, although its end is handled
    /// only when its output has been read.
    reaped: Rc<Cell<bool>>,
    asked: bool,
    /// The time just before its start, in milliseconds since 1970.
    started: u64,
    /// The write end of its standard input. While it is open, the child's reads block instead of ending.
    _input: Option<OwnedFd>,
    /// The running probe. It is aborted when the leader ends, because the next child gets a new deadline.
    probe: JoinSet<()>,
}

impl Live {
    fn signal(&mut self, signal: i32) {
        if self.reaped.get() {
            self.group.ask_leftovers(signal, self.asked);
        } else {
            self.group.signal(signal);
            self.asked = true;
        }
    }
}

/// Returns a sentence about the end of a process with `status`, if a signal from outside ended it.
fn killed(status: i32) -> Option<&'static str> {
    use nix::libc::{SIGHUP, SIGINT, SIGKILL, SIGTERM};
    match status - 128 {
        SIGKILL => Some("devrun did not kill it: another program did, or the machine ran out of memory"),
        SIGHUP | SIGINT | SIGTERM => Some("devrun did not send that signal: another program did"),
        _ => None,
    }
}

struct RunLoop {
    machine: Machine,
    groups: Vec<Option<Live>>,
    plan: Arc<Plan>,
    events: Events,
    tag: String,
    sockets: Handover,
    ports: Rc<dyn PortObserver>,
    on_ready: Box<dyn FnMut()>,
    terminals: Terminals,
    mux: Rc<Mux>,
    tails: watched_lines::Tails,
    inputs: UnboundedSender<Input>,
}

impl RunLoop {
    /// Passes `input` to the state machine and carries out the effects. Returns the outcome if the run is over.
    fn handle(&mut self, input: Input) -> Option<Outcome> {
        let input = self.enrich(input);
        for effect in self.machine.handle(input, Instant::now()) {
            match effect {
                Effect::Spawn(index) => self.spawn(index),
                Effect::Probe(index) => self.probe(index),
                Effect::Doubt(index) => self.doubt(index),
                Effect::Signal(index) => {
                    if let Some(live) = &mut self.groups[index] {
                        live.signal(self.plan.processes[index].stop_signal);
                    }
                }
                Effect::Kill(index) => {
                    if let Some(live) = &self.groups[index] {
                        live.group.kill();
                    }
                }
                Effect::Tell(event) => self.events.send(self.completed(event)),
                Effect::AllReady => (self.on_ready)(),
                Effect::Done(outcome) => return Some(self.explained(*outcome)),
            }
        }
        None
    }

    /// Adds to `outcome` why the process that ended the run ended: its last error or its last line, a port that it did
    /// not get, or a signal from another program.
    fn explained(&self, mut outcome: Outcome) -> Outcome {
        let is_it = |process: &crate::plan::Process| Some(&process.name) == outcome.process.as_ref();
        if let Some(index) = self.plan.processes.iter().position(is_it) {
            let explained = |report: Report| match killed(report.exit.status().into()) {
                // Its output does not explain a signal from outside.
                Some(cause) => Report { fault: None, ..report.and_cause(cause) },
                None => self.with_busy_port(index, self.tails.explain(index, report)),
            };
            outcome.report = outcome.report.map(explained);
            // The remark keeps its fix: the process ended with status 0, so no error of a shell ended it.
            outcome.remark = outcome.remark.map(|remark| {
                let (fix, fault) = (remark.fix.clone(), remark.fault);
                let mut explained = explained(remark);
                (explained.fix, explained.fault) = (fix, fault);
                explained
            });
        }
        outcome
    }

    /// Adds to `event` facts that the state machine does not have: the start time of a child, or the last error of, or
    /// the signal to, a process that was given up.
    fn completed(&self, event: Event) -> Event {
        let Event::Process { name, mut state } = event else { return event };
        if let Some(index) = self.plan.processes.iter().position(|process| process.name == name) {
            match &mut state {
                ProcessState::Started { at, .. } => {
                    *at = self.groups[index].as_ref().map(|live| live.started);
                }
                ProcessState::GaveUp { said, ended, .. } => {
                    *said = Some(killed(ended.status()).map_or_else(|| self.tails.said(index), Into::into));
                }
                _ => {}
            }
        }
        Event::Process { name, state }
    }

    /// Adds to the `report` on the end of process `index` the port that it did not get, and the process that has the port.
    fn with_busy_port(&self, index: usize, report: Report) -> Report {
        let Some(busy) = self.tails.busy(index) else { return report };
        let process = &self.plan.processes[index];
        let (cause, is_other) = wrong_port::busy(process, busy.port);
        let holder = busy.port.and_then(|port| self.ports.holder(port));
        let report = match holder {
            Some(holder) => report.with_holder(holder),
            None => report,
        };
        let report = report.and_cause(cause);
        if is_other {
            let fix = format!("{}, then {RERUN}", wrong_port::fix(process, None));
            report.with_fault(Fault::Configuration).with_fix(fix)
        } else {
            report.with_fix(format!("stop the process that has the port, then {RERUN}"))
        }
    }

    /// Adds to `input` facts that the state machine does not have: whether an ended leader left processes behind,
    /// whether another process uses the port of a ready process, and on which wrong ports a process listens that did not
    /// become ready.
    fn enrich(&mut self, input: Input) -> Input {
        match input {
            Input::LeaderEnded(index, ending, _) => {
                let Some(live) = &mut self.groups[index] else { return Input::Tick };
                live.leader_alive = false;
                live.probe.abort_all();
                spawn::forget_pid(live.group.leader);
                let leftovers = !sweep::is_without_strays() && !live.group.members().is_empty();
                if !leftovers {
                    self.groups[index] = None;
                }
                self.tails.watch(index, false);
                Input::LeaderEnded(index, ending, leftovers)
            }
            Input::Ready(index) => self.verified(index),
            Input::NotReady(index, report) => Input::NotReady(index, self.located(index, report)),
            other => other,
        }
    }

    /// Adds to `report` the ports on which process `index` listens although they are not its port. If there are none and
    /// no fault is known, adds how to give the process more time.
    fn located(&self, index: usize, report: Report) -> Report {
        let Some(live) = &self.groups[index] else { return report };
        let process = &self.plan.processes[index];
        let strays = wrong_port::strays(process, false, &self.ports.listening(live.group.leader));
        let command = strays.first().and_then(|address| self.ports.command_on(address.port()));
        match wrong_port::text(process, &strays, command.as_deref()) {
            Some(text) => {
                let fix = format!("{}, then {RERUN}", wrong_port::fix(process, command.as_deref()));
                report.and_cause(text).with_fault(Fault::Configuration).with_fix(fix)
            }
            None if report.fault.is_none() => {
                report.and_cause(format!("`ready: deadline:` can give {} more time", process.name))
            }
            None => report,
        }
    }

    fn verified(&self, index: usize) -> Input {
        let process = &self.plan.processes[index];
        let (Some(live), Some(port)) = (&self.groups[index], &process.port) else {
            return self.ready(index);
        };
        match self.ports.ready(port.port(), live.group.leader) {
            Some(report) => Input::NotReady(index, report),
            None => self.ready(index),
        }
    }

    /// Returns [`Input::Ready`] for process `index`. From now on its output may cause a new probe, because an edit
    /// of its code can break it.
    fn ready(&self, index: usize) -> Input {
        self.tails.watch(index, true);
        Input::Ready(index)
    }

    fn spawn(&mut self, index: usize) {
        let process = &self.plan.processes[index];
        if let Some(PortUse::Binds { port, .. }) = process.port {
            self.ports.starting(port);
        }
        let handed = match self.sockets.hand(process, &self.plan.env) {
            Ok(handed) => handed,
            Err(error) => {
                let report = group::system_refused(process, &error);
                let _ = self.inputs.send(Input::SpawnFailed(index, report));
                return;
            }
        };
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        match group::spawn(process, &self.plan.env, &self.tag, handed) {
            Ok(spawned) => {
                let leader = spawned.group.leader;
                let reaped = Rc::new(Cell::new(false));
                self.groups[index] = Some(Live {
                    group: spawned.group,
                    leader_alive: true,
                    reaped: reaped.clone(),
                    asked: false,
                    started: u64::try_from(started).unwrap_or(u64::MAX),
                    _input: spawned.input,
                    probe: JoinSet::new(),
                });
                let (inputs, mux, mut child) = (self.inputs.clone(), self.mux.clone(), spawned.child);
                let _ = inputs.send(Input::Spawned(index, leader));
                if let (Some(PortUse::Binds { port, .. }), None) = (&process.port, &process.ready) {
                    self.ports.started(*port);
                }
                self.tails.begin(index);
                // Set the pattern before the output is read, because the first line may match it.
                if let Some(Probe::Log(pattern)) = process.ready.as_ref().map(|ready| &ready.probe) {
                    self.tails.expect(index, pattern.clone());
                }
                let side = || spawned.output.try_clone();
                let tap = process.tty.then(|| self.terminals.begin(&process.name, side())).flatten();
                self.mux.add(OutputSource { process: index, tap, pipe: spawned.output });
                tokio::task::spawn_local(async move {
                    let status = child.wait().await;
                    reaped.set(true);
                    mux.drain(index).await;
                    drop(mux);
                    if let Ok(status) = status {
                        let _ = inputs.send(Input::LeaderEnded(index, ending(status), false));
                    }
                });
            }
            Err(report) => {
                let _ = self.inputs.send(Input::SpawnFailed(index, report));
            }
        }
    }

    fn probe(&mut self, index: usize) {
        let (plan, inputs, tails) = (self.plan.clone(), self.inputs.clone(), self.tails.clone());
        let events = self.events.clone();
        let (Some(broken), Some(repeated)) = (self.obstacle(index), self.repeated_error(index)) else {
            return;
        };
        let Some(live) = &mut self.groups[index] else { return };
        live.probe.spawn_local(async move {
            let process = &plan.processes[index];
            let Some(ready) = &process.ready else { return };
            let tell = |answer: &str| {
                events.send(Event::NotYet { name: process.name.clone(), answer: answer.into() });
            };
            let answer = tokio::select! {
                answer = readiness::wait(process, ready, &plan.env, tell) => answer,
                never = stuck::watch(&process.name, || tails.written(index), &broken, &repeated, &events) => match never {},
            };
            let input = match answer {
                Ok(()) => Input::Ready(index),
                Err(last) => {
                    let message =
                        format!("{} did not become ready within {:?}", process.name, ready.deadline);
                    let report = Report::new(Code::NotReady, message)
                        .with_cause(format!("last answer: {last}"))
                        .about(&process.name);
                    Input::NotReady(index, tails.explain(index, report))
                }
            };
            let _ = inputs.send(input);
        });
    }

    /// Returns a function that returns why the process `index` does not become ready by itself: the error that it wrote, or the port
    /// that it opened in place of the planned one. Returns `None` if the process does not run.
    fn obstacle(&self, index: usize) -> Option<impl Fn() -> Option<Broken> + use<>> {
        let leader = self.groups[index].as_ref()?.group.leader;
        let (plan, tails, ports) = (self.plan.clone(), self.tails.clone(), self.ports.clone());
        // The error is looked up only after new output, and the command once, because both may read many files.
        let (errors, strays) = (RefCell::new(None), RefCell::new((StrayPorts::default(), None)));
        Some(move || {
            let (mut errors, written) = (errors.borrow_mut(), tails.written(index));
            if !matches!(*errors, Some((known, _)) if known == written) {
                *errors = Some((written, tails.broken(index)));
            }
            let error = errors.as_ref().and_then(|(_, error): &(u64, Option<Broken>)| error.clone());
            error.or_else(|| {
                let process = &plan.processes[index];
                let (strays, command) = &mut *strays.borrow_mut();
                let now = tokio::time::Instant::now();
                let found = strays.stable(process, now, || ports.listening(leader));
                let first = found.first()?.port();
                let command = command.get_or_insert_with(|| ports.command_on(first)).as_deref();
                let reason = wrong_port::text(process, &found, command)?;
                let fix = format!("{}, then `{RESTART_STACK}`", wrong_port::fix(process, command));
                Some(Broken { reason, fault: Fault::Configuration, correct: None, fix })
            })
        })
    }

    /// Returns a function that returns the error in the project's code which the process `index` writes while it listens on its own
    /// port and all other processes are ready. A process that is not ready yet may be the reason for the error.
    fn repeated_error(&self, index: usize) -> Option<impl Fn() -> Option<Broken> + use<>> {
        let leader = self.groups[index].as_ref()?.group.leader;
        let own = self.plan.processes[index].port.as_ref().map(crate::plan::PortUse::port);
        let (tails, ports) = (self.tails.clone(), self.ports.clone());
        Some(move || {
            // The error is read last, because that may read many files.
            let serves = || ports.listening(leader).iter().any(|address| Some(address.port()) == own);
            if tails.others_are_ready(index) && serves() { tails.repeated(index) } else { None }
        })
    }

    /// Probes a process that was ready. If it does not answer, reports that and probes it until it does.
    fn doubt(&mut self, index: usize) {
        let (plan, inputs, tails) = (self.plan.clone(), self.inputs.clone(), self.tails.clone());
        let events = self.events.clone();
        let (Some(broken), Some(repeated)) = (self.obstacle(index), self.repeated_error(index)) else {
            return;
        };
        let Some(live) = &mut self.groups[index] else { return };
        // A line that was seen once says nothing about the present. Otherwise, at most one probe runs at a time.
        if matches!(plan.processes[index].ready.as_ref().map(|ready| &ready.probe), Some(Probe::Log(_))) {
            return;
        }
        if !live.probe.is_empty() && live.probe.try_join_next().is_none() {
            return;
        }
        live.probe.spawn_local(async move {
            let process = &plan.processes[index];
            let Some(ready) = &process.ready else { return };
            if let Err(answer) = readiness::recheck(process, ready, &plan.env).await {
                let _ = inputs.send(Input::Unready(index, answer));
                tokio::select! {
                    () = readiness::until_ready(process, ready, &plan.env) => {}
                    never = stuck::watch(&process.name, || tails.written(index), &broken, &repeated, &events) => match never {},
                }
            }
            // Sent even if the first probe passed, because a client's request may have just found the process not
            // ready.
            let _ = inputs.send(Input::Ready(index));
        });
    }

    /// Reaps orphans after a child has died, and sends `TreeGone` for each ended process of which nothing is left.
    fn look_for_gone_trees(&mut self) -> Input {
        sweep::reap_strays();
        for (index, slot) in self.groups.iter_mut().enumerate() {
            let gone =
                slot.as_ref().is_some_and(|live| !live.leader_alive && live.group.members().is_empty());
            if gone {
                *slot = None;
                let _ = self.inputs.send(Input::TreeGone(index));
            }
        }
        Input::Tick
    }
}
