//! Carries out what the state machine decides: the one loop of a run.

mod lines;
mod stuck;

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use self::lines::Lines;
use super::group::{self, Group};
use super::handover::Handover;
use super::machine::{Effect, Input, Machine, Outcome, Why};
use super::output::{Mux, Sink, Source};
use super::signals::Stops;
use super::terminals::Terminals;
use super::{readiness, sweep};
use crate::error::{Code, Report};
use crate::event::{Event, Events};
use crate::os::cmd::ending;
use crate::os::spawn;
use crate::plan::{Need, Plan, Probe};

/// Looks whether what listens on this port is below this process id; a report when it is somebody else's.
pub type Verify = Box<dyn Fn(u16, u32) -> Option<Report>>;

/// What a run consists of, beside its plan.
pub struct Setup {
    /// What to run.
    pub plan: Arc<Plan>,
    /// Where to tell things.
    pub events: Events,
    /// Tag of this run: the worktree's tag, a dot, something unique.
    pub tag: String,
    /// Sockets that already listen.
    pub sockets: Handover,
    /// Where terminals of processes are found by those who attach.
    pub terminals: Terminals,
    /// Where lines go.
    pub sink: Box<dyn Sink>,
    /// The other end of standard output, to notice its closing.
    pub watched: Option<OwnedFd>,
    /// Checks the listener of a ready process.
    pub verify: Verify,
    /// Servers that outlive this run.
    pub shared: sweep::Shared,
    /// Called once when all is ready.
    pub on_ready: Box<dyn FnMut()>,
}

/// Preparation reports here what is done, or that it failed.
pub type Gates = UnboundedReceiver<Result<Need, Report>>;

/// What clients ask of single processes.
pub type Orders = UnboundedReceiver<Input>;

/// Runs `setup.plan` to its end. `open` is the preparation done already; the rest arrives through `gates`.
/// When this returns, no process of the run is alive.
pub async fn run(
    setup: Setup,
    open: Vec<Need>,
    mut gates: Gates,
    mut orders: Orders,
    stops: &mut Stops,
) -> Outcome {
    let (inputs, mut happened) = unbounded_channel();
    let asker = stops.asker();
    let lines = Lines::new(setup.sink, setup.plan.processes.len(), inputs.clone());
    let tails = lines.tails();
    let mux = Mux::start(lines, setup.watched, move || {
        let _ = asker.send(Why::OutputClosed);
    });
    let mux = match mux {
        Ok(mux) => Rc::new(mux),
        Err(error) => {
            let report = Report::bug(format!("the output thread did not start: {error}"));
            return report.into();
        }
    };
    let shared = setup.shared;
    let mut run = Run {
        machine: Machine::new(&setup.plan, open),
        groups: setup.plan.processes.iter().map(|_| None).collect(),
        plan: setup.plan,
        events: setup.events,
        tag: setup.tag,
        sockets: setup.sockets,
        verify: setup.verify,
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
            // Everything that was written is shown before the end is told, unless somebody will not wait for its reader.
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
                // Only another request by a person means "now". A closed output beside a signal does not, nor does a terminal
                // that goes: its shell and the kernel both tell of it.
                let again = matches!(why, Why::Signal(signal) if signal != nix::libc::SIGHUP);
                if run.machine.is_stopping() && again { Input::Kill } else { Input::Stop(why) }
            }
            Some(input) = happened.recv() => input,
            Some(gate) = gates.recv() => match gate {
                Ok(need) => Input::Gate(need),
                Err(report) => Input::Stop(Why::Failed(report)),
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

/// A started child: its tree, whether its leader still runs, whether its group was asked to stop, and its probe.
struct Live {
    group: Group,
    leader_alive: bool,
    /// Its leader's id may be another's by now, although its end is not known yet: output is still read.
    reaped: Rc<Cell<bool>>,
    asked: bool,
    /// Ended with the leader: the next child has a deadline of its own.
    probe: JoinSet<()>,
}

impl Live {
    fn ask(&mut self, signal: i32) {
        if self.reaped.get() {
            self.group.ask_leftovers(signal, self.asked);
        } else {
            self.group.ask(signal);
            self.asked = true;
        }
    }
}

struct Run {
    machine: Machine,
    groups: Vec<Option<Live>>,
    plan: Arc<Plan>,
    events: Events,
    tag: String,
    sockets: Handover,
    verify: Verify,
    on_ready: Box<dyn FnMut()>,
    terminals: Terminals,
    mux: Rc<Mux>,
    tails: lines::Tails,
    inputs: UnboundedSender<Input>,
}

impl Run {
    /// Gives one input to the machine and does what it says; the outcome when the run is over.
    fn handle(&mut self, input: Input) -> Option<Outcome> {
        let input = self.enrich(input);
        for effect in self.machine.handle(input, Instant::now()) {
            match effect {
                Effect::Spawn(index) => self.spawn(index),
                Effect::Probe(index) => self.probe(index),
                Effect::Doubt(index) => self.doubt(index),
                Effect::Signal(index) => {
                    if let Some(live) = &mut self.groups[index] {
                        live.ask(self.plan.processes[index].stop_signal);
                    }
                }
                Effect::Kill(index) => {
                    if let Some(live) = &self.groups[index] {
                        live.group.kill();
                    }
                }
                Effect::Tell(event) => self.events.send(event),
                Effect::AllReady => (self.on_ready)(),
                Effect::Done(outcome) => return Some(self.explained(outcome)),
            }
        }
        None
    }

    /// Adds what the process said that ended the run.
    fn explained(&self, mut outcome: Outcome) -> Outcome {
        let is_it = |process: &crate::plan::Process| Some(&process.name) == outcome.process.as_ref();
        if let Some(index) = self.plan.processes.iter().position(is_it) {
            outcome.report = outcome.report.map(|report| self.tails.explain(index, report));
        }
        outcome
    }

    /// Adds what only this side knows: whether a leader left something behind, whether a listener is ours.
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
            other => other,
        }
    }

    fn verified(&self, index: usize) -> Input {
        let process = &self.plan.processes[index];
        let (Some(live), Some(port)) = (&self.groups[index], &process.port) else {
            return self.ready(index);
        };
        match (self.verify)(port.port(), live.group.leader) {
            Some(report) => Input::NotReady(index, report),
            None => self.ready(index),
        }
    }

    /// From here on doubts are welcome: somebody may edit its code under it.
    fn ready(&self, index: usize) -> Input {
        self.tails.watch(index, true);
        Input::Ready(index)
    }

    fn spawn(&mut self, index: usize) {
        let process = &self.plan.processes[index];
        let handed = match self.sockets.hand(process, &self.plan.env) {
            Ok(handed) => handed,
            Err(error) => {
                let report =
                    Report::bug(format!("the socket of {} cannot be handed over: {error}", process.name));
                let _ = self.inputs.send(Input::SpawnFailed(index, report));
                return;
            }
        };
        match group::spawn(process, &self.plan.env, &self.tag, handed) {
            Ok(spawned) => {
                let leader = spawned.group.leader;
                let reaped = Rc::new(Cell::new(false));
                self.groups[index] = Some(Live {
                    group: spawned.group,
                    leader_alive: true,
                    reaped: reaped.clone(),
                    asked: false,
                    probe: JoinSet::new(),
                });
                let (inputs, mux, mut child) = (self.inputs.clone(), self.mux.clone(), spawned.child);
                let _ = inputs.send(Input::Spawned(index, leader));
                self.tails.begin(index);
                // Before its output is read: the line that is waited for may be its first.
                if let Some(Probe::Log(pattern)) = process.ready.as_ref().map(|ready| &ready.probe) {
                    self.tails.expect(index, pattern.clone());
                }
                let side = || spawned.output.try_clone();
                let tap = process.tty.then(|| self.terminals.begin(&process.name, side())).flatten();
                self.mux.add(Source { process: index, tap, pipe: spawned.output });
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
        let Some(live) = &mut self.groups[index] else { return };
        live.probe.spawn_local(async move {
            let process = &plan.processes[index];
            let Some(ready) = &process.ready else { return };
            let tell = |answer: &str| {
                events.send(Event::NotYet { name: process.name.clone(), answer: answer.into() });
            };
            let answer = tokio::select! {
                answer = readiness::wait(process, ready, &plan.env, tell) => answer,
                never = stuck::watch(&tails, index, &process.name, &events) => match never {},
            };
            let input = match answer {
                Ok(()) => Input::Ready(index),
                Err(last) => {
                    let message =
                        format!("{} did not become ready within {:?}", process.name, ready.deadline);
                    let report = Report::new(Code::NotReady, message)
                        .with_cause(format!("last answer: {last}"))
                        .with_fix(format!("devrun why {}", process.name));
                    let more = format!("`ready: deadline:` of {} allows more time", process.name);
                    Input::NotReady(index, tails.explain(index, report).and_cause(more))
                }
            };
            let _ = inputs.send(input);
        });
    }

    /// Probes a process that was ready once more; when it does not answer, says so, and probes on until it does.
    fn doubt(&mut self, index: usize) {
        let (plan, inputs, tails) = (self.plan.clone(), self.inputs.clone(), self.tails.clone());
        let events = self.events.clone();
        let Some(live) = &mut self.groups[index] else { return };
        // A line that was seen once says nothing about now; and one doubt at a time.
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
                    never = stuck::watch(&tails, index, &process.name, &events) => match never {},
                }
                let _ = inputs.send(Input::Ready(index));
            }
        });
    }

    /// After some child of ours died: reap strays, and say which trees are gone.
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
