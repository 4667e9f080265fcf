//! Decides what a run does next: a pure state machine over the processes of one run.
//!
//! Takes inputs with the time at which they arrived and returns effects to carry out. [`Machine::deadline`] returns
//! when it must be called again. It never touches a process, a clock or a socket. The grace period between a signal and the kill is
//! that of the plan; `config::process` has its default.
//!
//! Invariants: at most one child of each process of the plan runs at a time. Each start is followed by exactly one end. When the run
//! is stopped, a process is signalled only after all processes that depend on it have ended.

mod outcome;
mod process;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(in crate::supervisor) use tests::process as bare;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub use outcome::{Outcome, StopReason};
use process::{Asked, ProcessStage, Unit};

use crate::error::{Code, Report};
use crate::event::{Ending, Event, ProcessState};
use crate::plan::{Condition, Need, Plan, RestartPolicy};
use crate::supervisor::backoff;

/// How long a stop may take before the processes that are still alive are reported.
const SILENT_STOP: Duration = Duration::from_secs(1);
/// Interval between two kills of the same process. A child may have been forked during the previous kill.
const KILL_AGAIN: Duration = Duration::from_millis(100);

/// An input of the state machine. Numbers are indexes into the plan's processes.
#[derive(Clone, Debug)]
pub enum Input {
    /// A step of the preparation is done.
    Gate(Need),
    /// The child of this process exists and has this process id.
    Spawned(usize, u32),
    /// The child could not be started.
    SpawnFailed(usize, Report),
    /// The readiness probe passed.
    Ready(usize),
    /// The process did not become ready. The report gives the reason.
    NotReady(usize, Report),
    /// A line of its output suggests that it is no longer ready.
    Doubt(usize),
    /// It was ready and no longer answers, for this reason. It is probed until it answers again.
    Unready(usize, String),
    /// Its child ended. The flag is true if processes that the child started are still alive.
    LeaderEnded(usize, Ending, bool),
    /// No process that the ended child started is alive any more.
    TreeGone(usize),
    /// Start these processes on request, with their dependencies, each as soon as its conditions hold.
    StartThese(Vec<usize>),
    /// Stop these processes on request. They stay down.
    StopThese(Vec<usize>),
    /// Restart these processes on request.
    RestartThese(Vec<usize>),
    /// Stop the whole run.
    Stop(StopReason),
    /// Kill the whole run now.
    Kill,
    /// Only time has passed.
    Tick,
}

/// An effect to carry out.
#[derive(Debug)]
pub enum Effect {
    /// Start a child of this process.
    Spawn(usize),
    /// Start to probe it until it is ready.
    Probe(usize),
    /// Probe a process that was ready, unless a probe is running.
    Doubt(usize),
    /// Send its stop signal to its process group, or to the processes that its ended leader left behind.
    Signal(usize),
    /// Kill all of its processes that are alive.
    Kill(usize),
    /// Report this event.
    Tell(Event),
    /// Every process that must be ready is ready.
    AllReady,
    /// The run is over.
    Done(Box<Outcome>),
}

/// The state of one run.
#[derive(Debug)]
pub struct Machine {
    units: Vec<Unit>,
    gates: BTreeSet<Need>,
    stopping: Option<(StopReason, Instant)>,
    reported: Reported,
    /// True once processes get no time to stop.
    killing: bool,
    done: bool,
}

/// The reports that are made only once.
#[derive(Debug, Default)]
struct Reported {
    waiting: bool,
    ready: bool,
}

impl Machine {
    /// Creates the state of a run of `plan`. The steps in `open` of the preparation are already done.
    pub fn new(plan: &Plan, open: impl IntoIterator<Item = Need>) -> Machine {
        Machine {
            units: process::units(&plan.processes),
            gates: open.into_iter().collect(),
            stopping: None,
            reported: Reported::default(),
            killing: false,
            done: false,
        }
    }

    /// Handles one input and returns the effects to carry out, in order.
    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Gate(need) => {
                self.gates.insert(need);
            }
            Input::Spawned(index, pid) => self.spawned(index, pid, now, &mut effects),
            Input::SpawnFailed(index, report) => {
                self.units[index].state = ProcessStage::Ended(Ending::Code(127));
                self.stop(StopReason::Failed(report), now, &mut effects);
            }
            Input::Ready(index) => self.ready(index, now, &mut effects),
            Input::NotReady(index, report) => self.not_ready(index, report, now, &mut effects),
            Input::Doubt(index) => {
                let unit = &self.units[index];
                if unit.probed && matches!(unit.state, ProcessStage::Running { ready: true, .. }) {
                    effects.push(Effect::Doubt(index));
                }
            }
            Input::Unready(index, why) => self.unready(index, why, &mut effects),
            Input::LeaderEnded(index, ending, leftovers) => {
                self.leader_ended(index, ending, leftovers, now, &mut effects);
            }
            Input::TreeGone(index) => {
                if let ProcessStage::Stopping { ending: Some(ending), .. } = self.units[index].state {
                    self.ended(index, ending, now, &mut effects);
                }
            }
            Input::StartThese(these) => {
                for index in these {
                    self.start_one(index);
                }
            }
            Input::StopThese(these) => {
                for index in these {
                    self.down_one(index, Asked::Stop, &mut effects);
                }
            }
            Input::RestartThese(these) => {
                for index in these {
                    self.down_one(index, Asked::Restart, &mut effects);
                }
            }
            Input::Stop(why) => self.stop(why, now, &mut effects),
            Input::Kill => self.kill_all(now, &mut effects),
            Input::Tick => {}
        }
        self.emit_effects(now, &mut effects);
        effects
    }

    /// Returns the time at which [`Input::Tick`] must be handled at the latest, or `None` if no timer runs.
    pub fn deadline(&self) -> Option<Instant> {
        let units = self.units.iter().filter_map(|unit| match unit.state {
            ProcessStage::Backoff { until, .. } => Some(until),
            ProcessStage::Stopping { kill_at, .. } => Some(kill_at),
            _ => None,
        });
        let waiting =
            self.stopping.as_ref().filter(|_| !self.reported.waiting).map(|(_, since)| *since + SILENT_STOP);
        units.chain(waiting).min()
    }

    /// Returns true once the run is being stopped.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    fn spawned(&mut self, index: usize, pid: u32, now: Instant, effects: &mut Vec<Effect>) {
        let unit = &mut self.units[index];
        unit.state = ProcessStage::Running { since: now, ready: !unit.probed };
        unit.was_ready = !unit.probed;
        effects.push(unit.report(ProcessState::Started { pid, at: None }));
        if unit.probed {
            effects.push(Effect::Probe(index));
        }
        if self.stopping.is_some() {
            self.ask_to_stop(now, effects);
        }
    }

    fn ready(&mut self, index: usize, now: Instant, effects: &mut Vec<Effect>) {
        let unit = &mut self.units[index];
        if let ProcessStage::Running { ready: false, .. } = unit.state {
            unit.state = ProcessStage::Running { since: now, ready: true };
            unit.was_ready = true;
            effects.push(unit.report(ProcessState::Ready));
        }
    }

    /// Handles a process that did not become ready. Before the stack was ready for the first time, it fails the run.
    /// Later the run goes on and the process is probed until it answers, because the user is probably fixing it. Any
    /// other failure, such as a port that another process has taken, ends the run at any time.
    fn not_ready(&mut self, index: usize, report: Report, now: Instant, effects: &mut Vec<Effect>) {
        let unit = &self.units[index];
        if !matches!(unit.state, ProcessStage::Running { ready: false, .. }) {
            return;
        }
        if self.reported.ready && report.code == Code::NotReady {
            let (why, fault) = (report.cause.unwrap_or(report.message), report.fault);
            effects.push(unit.report(ProcessState::Unready { why, fault }));
            effects.push(Effect::Doubt(index));
        } else {
            self.stop(StopReason::Failed(report), now, effects);
        }
    }

    fn unready(&mut self, index: usize, why: String, effects: &mut Vec<Effect>) {
        let unit = &mut self.units[index];
        if let ProcessStage::Running { ready: ready @ true, .. } = &mut unit.state {
            *ready = false;
            effects.push(unit.report(ProcessState::Unready { why, fault: None }));
            effects.push(Effect::Doubt(index));
        }
    }

    fn leader_ended(
        &mut self,
        index: usize,
        ending: Ending,
        leftovers: bool,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        if !leftovers {
            return self.ended(index, ending, now, effects);
        }
        let unit = &mut self.units[index];
        match &mut unit.state {
            ProcessStage::Stopping { ending: known, .. } => {
                *known = Some(ending);
                effects.push(Effect::Signal(index));
            }
            ProcessStage::Running { .. } => {
                if !unit.one_shot {
                    let why =
                        format!("it ended with {ending}; the processes that it started are being stopped");
                    effects.push(unit.report(ProcessState::Unready { why, fault: None }));
                }
                unit.leave(now, Some(ending));
                effects.push(Effect::Signal(index));
            }
            _ => {}
        }
    }

    /// Marks the process for a start, together with those of its dependencies that are down. If it is being stopped, it
    /// is started again after its end. Cancels a stop request that has not been carried out.
    fn start_one(&mut self, index: usize) {
        if self.stopping.is_some() {
            return;
        }
        let unit = &mut self.units[index];
        match unit.state {
            _ if unit.is_down() || matches!(unit.state, ProcessStage::Backoff { .. }) => {
                unit.restarts = 0;
                unit.state = ProcessStage::Waiting;
                unit.told_waiting_on.clear();
                self.start_what_it_needs(index);
            }
            ProcessStage::Stopping { .. } if unit.asked.is_some() => {
                unit.asked = Some(Asked::Restart);
                self.start_what_it_needs(index);
            }
            ProcessStage::Running { .. } if unit.asked == Some(Asked::Stop) => unit.asked = None,
            _ => {}
        }
    }

    fn start_what_it_needs(&mut self, index: usize) {
        for (other, condition) in self.units[index].depends.clone() {
            if self.units[other].is_down() && self.units[other].meets(condition) != Some(true) {
                self.start_one(other);
            }
        }
    }

    /// Records a request to stop or restart a process. A running process is signalled by [`Machine::settle_orders`].
    fn down_one(&mut self, index: usize, asked: Asked, effects: &mut Vec<Effect>) {
        let unit = &mut self.units[index];
        match unit.state {
            _ if self.stopping.is_some() => {}
            ProcessStage::Running { .. } | ProcessStage::Stopping { .. } | ProcessStage::Starting => {
                unit.asked = Some(asked);
                if asked == Asked::Restart {
                    self.start_what_it_needs(index);
                }
            }
            _ if asked == Asked::Restart => self.start_one(index),
            ProcessStage::Waiting | ProcessStage::Backoff { .. } => {
                unit.state = ProcessStage::Parked;
                effects.push(unit.report(ProcessState::Stopped(None)));
            }
            ProcessStage::Idle
            | ProcessStage::Parked
            | ProcessStage::Ended(_)
            | ProcessStage::GivenUp(_)
            | ProcessStage::Skipped => {}
        }
    }

    /// Handles the end of a child and of everything that it started: restarts the process or records its end.
    fn ended(&mut self, index: usize, ending: Ending, now: Instant, effects: &mut Vec<Effect>) {
        let stopping = self.stopping.is_some();
        // A process that has used up its restarts is given up only if the stack has been ready once and another process
        // is left. Otherwise its end ends the run.
        let others_go_on = self.reported.ready
            && self.units.iter().enumerate().any(|(other, unit)| other != index && !unit.is_over());
        let wanted_ready = self.units.iter().any(|unit| unit.depends.contains(&(index, Condition::Ready)));
        let unit = &mut self.units[index];
        let asked = unit.asked.take();
        if let (Some(asked), false) = (asked, stopping) {
            unit.restarts = 0;
            unit.state = if asked == Asked::Stop { ProcessStage::Parked } else { ProcessStage::Waiting };
            effects.push(unit.report(ProcessState::Stopped(Some(ending))));
            return;
        }
        let ran = match unit.state {
            ProcessStage::Running { .. } => unit.health(now),
            ProcessStage::Stopping { ran, .. } => ran,
            _ => return,
        };
        unit.longest = unit.longest.max(ran);
        let again = match unit.restart.policy {
            RestartPolicy::No => false,
            RestartPolicy::OnFailure => !ending.ok(),
            RestartPolicy::Always => true,
        };
        if again && !stopping {
            if ran >= backoff::HEALTHY {
                unit.restarts = 0;
            }
            if unit.restarts < unit.restart.max {
                unit.restarts += 1;
                let delay = backoff::delay(unit.restarts);
                unit.state = ProcessStage::Backoff { until: now + delay };
                effects.push(unit.report(ProcessState::Restarting {
                    ended: ending,
                    delay,
                    attempt: unit.restarts,
                }));
                return;
            }
            if others_go_on && unit.longest >= process::PROOF {
                unit.state = ProcessStage::GivenUp(ending);
                let restarts = unit.restarts;
                effects.push(unit.report(ProcessState::GaveUp { ended: ending, restarts, said: None }));
                return;
            }
        }
        unit.state = ProcessStage::Ended(ending);
        let told = unit.report(ProcessState::Ended(ending));
        let may_end = unit.one_shot || unit.restart.policy == RestartPolicy::OnFailure;
        let fine = ending.ok() && may_end && (unit.was_ready || !wanted_ready);
        if !stopping && !fine {
            // Report `Stopping` before `Ended`, so that clients see this end as the cause of the shutdown and not as
            // its result.
            let why = StopReason::Ended { name: unit.name.clone(), ending, restarts: unit.restarts };
            self.stop(why, now, effects);
        }
        effects.push(told);
    }

    fn stop(&mut self, why: StopReason, now: Instant, effects: &mut Vec<Effect>) {
        if self.stopping.is_some() {
            return;
        }
        effects.push(Effect::Tell(Event::Stopping { why: why.to_string(), failure: why.is_failure() }));
        self.stopping = Some((why, now));
        for unit in &mut self.units {
            if matches!(
                unit.state,
                ProcessStage::Waiting
                    | ProcessStage::Idle
                    | ProcessStage::Parked
                    | ProcessStage::Backoff { .. }
            ) {
                unit.state = ProcessStage::Skipped;
            }
        }
        self.ask_to_stop(now, effects);
    }

    /// Signals every running process that has no live dependents.
    fn ask_to_stop(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for index in 0..self.units.len() {
            let needed = self.units.iter().any(|unit| unit.is_live() && unit.depends_on(index));
            if needed || !matches!(self.units[index].state, ProcessStage::Running { .. }) {
                continue;
            }
            let unit = &mut self.units[index];
            if self.killing {
                unit.grace = Duration::ZERO;
            }
            unit.leave(now, None);
            effects.push(unit.report(ProcessState::Stopping));
            effects.push(Effect::Signal(index));
        }
    }

    fn kill_all(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.stop(StopReason::Killed, now, effects);
        self.killing = true;
        for unit in &mut self.units {
            match &mut unit.state {
                ProcessStage::Stopping { kill_at, .. } => *kill_at = now,
                ProcessStage::Running { .. } => {
                    unit.grace = Duration::ZERO;
                    unit.leave(now, None);
                }
                _ => {}
            }
        }
    }

    /// Emits all effects that follow from the current state: kills that are due, stop signals, starts, reports and the
    /// end of the run.
    fn emit_effects(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (index, unit) in self.units.iter_mut().enumerate() {
            if let ProcessStage::Stopping { kill_at, .. } = &mut unit.state
                && now >= *kill_at
            {
                *kill_at = now + KILL_AGAIN;
                effects.push(Effect::Kill(index));
            }
        }
        if let Some((_, since)) = self.stopping {
            self.settle_stop(since, now, effects);
        } else {
            self.settle_orders(now, effects);
            self.settle_start(now, effects);
        }
        let over = self.units.iter().all(|unit| unit.is_over() || (unit.state == ProcessStage::Idle));
        if over && !self.done {
            self.done = true;
            let why = self.stopping.take().map_or_else(|| self.end_of_all(), |(why, _)| why);
            effects.push(Effect::Done(Box::new(Outcome::from(why))));
        }
    }

    /// Returns why the run is over when no stop was requested: the first process that used up its restarts, or that
    /// all processes have ended.
    fn end_of_all(&self) -> StopReason {
        let given_up = self.units.iter().find_map(|unit| match unit.state {
            ProcessStage::GivenUp(ending) => {
                Some(StopReason::Ended { name: unit.name.clone(), ending, restarts: unit.restarts })
            }
            _ => None,
        });
        given_up.unwrap_or(StopReason::AllEnded)
    }

    fn settle_stop(&mut self, since: Instant, now: Instant, effects: &mut Vec<Effect>) {
        self.ask_to_stop(now, effects);
        if !self.reported.waiting && now >= since + SILENT_STOP {
            self.reported.waiting = true;
            let names: Vec<String> =
                self.units.iter().filter(|unit| unit.is_live()).map(|unit| unit.name.clone()).collect();
            if !names.is_empty() {
                effects.push(Effect::Tell(Event::StopWaiting { names, since: now - since }));
            }
        }
    }

    /// Signals the processes that are to stop or restart on request. A process is signalled only after its dependents that must also
    /// stop have ended.
    fn settle_orders(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for index in 0..self.units.len() {
            let unit = &self.units[index];
            let wanted = unit.asked.is_some() && matches!(unit.state, ProcessStage::Running { .. });
            let leaves = |unit: &Unit| unit.is_live() && unit.asked.is_some() && unit.depends_on(index);
            if !wanted || self.units.iter().any(leaves) {
                continue;
            }
            let unit = &mut self.units[index];
            unit.leave(now, None);
            effects.push(unit.report(ProcessState::Stopping));
            effects.push(Effect::Signal(index));
        }
    }

    fn settle_start(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for index in 0..self.units.len() {
            match self.units[index].state {
                ProcessStage::Backoff { until } if now >= until => {
                    self.units[index].state = ProcessStage::Starting;
                    effects.push(Effect::Spawn(index));
                }
                ProcessStage::Waiting => self.settle_waiting(index, effects),
                _ => {}
            }
        }
        let all_up = self.units.iter().all(|unit| match unit.state {
            ProcessStage::Running { ready, .. } => ready,
            ProcessStage::Ended(ending) => ending.ok(),
            ProcessStage::Idle | ProcessStage::Parked => true,
            _ => false,
        });
        if all_up && !self.reported.ready {
            self.reported.ready = true;
            effects.push(Effect::AllReady);
        }
    }

    fn settle_waiting(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let mut on: Vec<String> = self.units[index]
            .needs
            .iter()
            .filter(|need| !self.gates.contains(need))
            .map(|need| need.name().to_string())
            .collect();
        for (other, condition) in self.units[index].depends.clone() {
            match self.units[other].meets(condition) {
                Some(true) => {}
                Some(false) => {
                    let why = format!("{} never got that far", self.units[other].name);
                    self.units[index].state = ProcessStage::Skipped;
                    effects.push(self.units[index].report(ProcessState::Skipped { why }));
                    return;
                }
                None => on.push(self.units[other].name.clone()),
            }
        }
        if on.is_empty() {
            self.units[index].state = ProcessStage::Starting;
            effects.push(Effect::Spawn(index));
        } else if self.units[index].told_waiting_on != on {
            self.units[index].told_waiting_on.clone_from(&on);
            effects.push(self.units[index].report(ProcessState::Waiting { on }));
        }
    }
}
