//! What happens next: a pure state machine over the processes of one run.
//!
//! Takes inputs with the time they came, returns effects to carry out, and says when it wants to be asked again. Never
//! touches a process, a clock or a socket. Invariants: never two live children of one process, every start ends in
//! exactly one end, a process is asked to stop only after those that depend on it are gone.

mod outcome;
mod process;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub use outcome::{Outcome, Why};
use process::{Asked, State, Unit};

use crate::error::{Code, Report};
use crate::event::{Ending, Event, ProcessState};
use crate::plan::{Condition, Need, Plan, RestartPolicy};
use crate::supervisor::backoff;

/// How long a stop is waited for in silence.
const SILENT_STOP: Duration = Duration::from_secs(1);
/// Time between one kill and the next: something may have been born while the first was under way.
const KILL_AGAIN: Duration = Duration::from_millis(100);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A piece of preparation is done.
    Gate(Need),
    /// The child of this process exists.
    Spawned(usize, u32),
    /// It could not be made.
    SpawnFailed(usize, Report),
    /// Its readiness probe passed.
    Ready(usize),
    /// It will not become ready.
    NotReady(usize, Report),
    /// Something it wrote says that it may not be ready any more.
    Doubt(usize),
    /// It was ready and no longer answers, for this reason; it is probed on.
    Unready(usize, String),
    /// Its child ended; the flag says that something it started is still alive.
    LeaderEnded(usize, Ending, bool),
    /// Nothing that its child started is alive any more.
    TreeGone(usize),
    /// A person wants these up, with what they depend on: when their time has come, as at the start.
    StartThese(Vec<usize>),
    /// A person wants these down, and to stay down.
    StopThese(Vec<usize>),
    /// A person wants these down and up again.
    RestartThese(Vec<usize>),
    /// Take everything down.
    Stop(Why),
    /// Take everything down now.
    Kill,
    /// Time has passed.
    Tick,
}

/// Something to do.
#[derive(Debug)]
pub enum Effect {
    /// Start a child of this process.
    Spawn(usize),
    /// Begin to probe it.
    Probe(usize),
    /// Probe it once more: it was ready.
    Doubt(usize),
    /// Send its stop signal to whatever is left of it.
    Signal(usize),
    /// Kill whatever is left of it.
    Kill(usize),
    /// Tell this.
    Tell(Event),
    /// Everything that must be ready is.
    AllReady,
    /// The run is over.
    Done(Outcome),
}

/// The state of one run.
#[derive(Debug)]
pub struct Machine {
    units: Vec<Unit>,
    gates: BTreeSet<Need>,
    stopping: Option<(Why, Instant)>,
    told: Told,
    /// Nobody is given time to stop any more.
    killing: bool,
    done: bool,
}

/// What is told once.
#[derive(Debug, Default)]
struct Told {
    waiting: bool,
    ready: bool,
}

impl Machine {
    /// A run of `plan` for which the preparation in `open` is done already.
    pub fn new(plan: &Plan, open: impl IntoIterator<Item = Need>) -> Machine {
        Machine {
            units: process::units(&plan.processes),
            gates: open.into_iter().collect(),
            stopping: None,
            told: Told::default(),
            killing: false,
            done: false,
        }
    }

    /// Takes one input and returns what to do, in order.
    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Gate(need) => {
                self.gates.insert(need);
            }
            Input::Spawned(index, pid) => self.spawned(index, pid, now, &mut effects),
            Input::SpawnFailed(index, report) => {
                self.units[index].state = State::Ended(Ending::Code(127));
                self.stop(Why::Failed(report), now, &mut effects);
            }
            Input::Ready(index) => self.ready(index, now, &mut effects),
            Input::NotReady(index, report) => self.not_ready(index, report, now, &mut effects),
            Input::Doubt(index) => {
                let unit = &self.units[index];
                if unit.probed && matches!(unit.state, State::Running { ready: true, .. }) {
                    effects.push(Effect::Doubt(index));
                }
            }
            Input::Unready(index, why) => self.unready(index, why, &mut effects),
            Input::LeaderEnded(index, ending, leftovers) => {
                self.leader_ended(index, ending, leftovers, now, &mut effects);
            }
            Input::TreeGone(index) => {
                if let State::Stopping { ending: Some(ending), .. } = self.units[index].state {
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
        self.settle(now, &mut effects);
        effects
    }

    /// When to call again with [`Input::Tick`], at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let units = self.units.iter().filter_map(|unit| match unit.state {
            State::Backoff { until, .. } => Some(until),
            State::Stopping { kill_at, .. } => Some(kill_at),
            _ => None,
        });
        let waiting =
            self.stopping.as_ref().filter(|_| !self.told.waiting).map(|(_, since)| *since + SILENT_STOP);
        units.chain(waiting).min()
    }

    /// True once the run is being taken down.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    fn spawned(&mut self, index: usize, pid: u32, now: Instant, effects: &mut Vec<Effect>) {
        let unit = &mut self.units[index];
        unit.state = State::Running { since: now, ready: !unit.probed };
        unit.was_ready = !unit.probed;
        effects.push(unit.tell(ProcessState::Started { pid }));
        if unit.probed {
            effects.push(Effect::Probe(index));
        }
        if self.stopping.is_some() {
            self.ask_to_stop(now, effects);
        }
    }

    fn ready(&mut self, index: usize, now: Instant, effects: &mut Vec<Effect>) {
        let unit = &mut self.units[index];
        if let State::Running { ready: false, .. } = unit.state {
            unit.state = State::Running { since: now, ready: true };
            unit.was_ready = true;
            effects.push(unit.tell(ProcessState::Ready));
        }
    }

    /// Before everything was ready once, the run has failed. A stack that stands goes on without the one that does not come
    /// back, which is probed on: somebody is mending it.
    fn not_ready(&mut self, index: usize, report: Report, now: Instant, effects: &mut Vec<Effect>) {
        let unit = &self.units[index];
        if !matches!(unit.state, State::Running { ready: false, .. }) {
            return;
        }
        if self.told.ready && report.code == Code::NotReady {
            let why = report.cause.unwrap_or(report.message);
            effects.push(unit.tell(ProcessState::Unready { why }));
            effects.push(Effect::Doubt(index));
        } else {
            self.stop(Why::Failed(report), now, effects);
        }
    }

    fn unready(&mut self, index: usize, why: String, effects: &mut Vec<Effect>) {
        let unit = &mut self.units[index];
        if let State::Running { ready: ready @ true, .. } = &mut unit.state {
            *ready = false;
            effects.push(unit.tell(ProcessState::Unready { why }));
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
            State::Stopping { ending: known, .. } => {
                *known = Some(ending);
                effects.push(Effect::Signal(index));
            }
            State::Running { .. } => {
                if !unit.one_shot {
                    let why = format!("it ended with {ending}, and what it started is ended too");
                    effects.push(unit.tell(ProcessState::Unready { why }));
                }
                unit.leave(now, Some(ending));
                effects.push(Effect::Signal(index));
            }
            _ => {}
        }
    }

    /// Starts it and what it depends on, as far as that is down.
    fn start_one(&mut self, index: usize) {
        if self.stopping.is_some() {
            return;
        }
        let unit = &mut self.units[index];
        match unit.state {
            State::Idle | State::Parked | State::Ended(_) | State::Skipped | State::Backoff { .. } => {
                unit.restarts = 0;
                unit.state = State::Waiting;
                unit.told_waiting_on.clear();
                self.start_what_it_needs(index);
            }
            State::Stopping { .. } if unit.asked.is_some() => {
                unit.asked = Some(Asked::Restart);
                self.start_what_it_needs(index);
            }
            State::Running { .. } if unit.asked == Some(Asked::Stop) => unit.asked = None,
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

    /// One that runs is asked to stop when those are gone that depend on it and have to leave as well.
    fn down_one(&mut self, index: usize, asked: Asked, effects: &mut Vec<Effect>) {
        let unit = &mut self.units[index];
        match unit.state {
            _ if self.stopping.is_some() => {}
            State::Running { .. } | State::Stopping { .. } | State::Starting => {
                unit.asked = Some(asked);
                if asked == Asked::Restart {
                    self.start_what_it_needs(index);
                }
            }
            _ if asked == Asked::Restart => self.start_one(index),
            State::Waiting | State::Backoff { .. } => {
                unit.state = State::Parked;
                effects.push(unit.tell(ProcessState::Stopped(None)));
            }
            State::Idle | State::Parked | State::Ended(_) | State::Skipped => {}
        }
    }

    /// The end of one child with all it started: again, or for good.
    fn ended(&mut self, index: usize, ending: Ending, now: Instant, effects: &mut Vec<Effect>) {
        let stopping = self.stopping.is_some();
        let wanted_ready = self.units.iter().any(|unit| unit.depends.contains(&(index, Condition::Ready)));
        let unit = &mut self.units[index];
        let asked = unit.asked.take();
        if let (Some(asked), false) = (asked, stopping) {
            unit.restarts = 0;
            unit.state = if asked == Asked::Stop { State::Parked } else { State::Waiting };
            effects.push(unit.tell(ProcessState::Stopped(Some(ending))));
            return;
        }
        let ran = match unit.state {
            State::Running { .. } => unit.health(now),
            State::Stopping { ran, .. } => ran,
            _ => return,
        };
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
                unit.state = State::Backoff { until: now + delay };
                effects.push(unit.tell(ProcessState::Restarting {
                    ended: ending,
                    delay,
                    attempt: unit.restarts,
                }));
                return;
            }
        }
        unit.state = State::Ended(ending);
        let told = unit.tell(ProcessState::Ended(ending));
        let may_end = unit.one_shot || unit.restart.policy == RestartPolicy::OnFailure;
        let fine = ending.ok() && may_end && (unit.was_ready || !wanted_ready);
        if !stopping && !fine {
            // Told first: then its end is known to be the reason and not what came of it.
            let why = Why::Ended { name: unit.name.clone(), ending, restarts: unit.restarts };
            self.stop(why, now, effects);
        }
        effects.push(told);
    }

    fn stop(&mut self, why: Why, now: Instant, effects: &mut Vec<Effect>) {
        if self.stopping.is_some() {
            return;
        }
        effects.push(Effect::Tell(Event::Stopping { why: why.to_string(), failure: why.is_failure() }));
        self.stopping = Some((why, now));
        for unit in &mut self.units {
            if matches!(unit.state, State::Waiting | State::Idle | State::Parked | State::Backoff { .. }) {
                unit.state = State::Skipped;
            }
        }
        self.ask_to_stop(now, effects);
    }

    /// Asks those to stop on whom nobody alive depends.
    fn ask_to_stop(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for index in 0..self.units.len() {
            let needed = self.units.iter().any(|unit| unit.is_live() && unit.depends_on(index));
            if needed || !matches!(self.units[index].state, State::Running { .. }) {
                continue;
            }
            let unit = &mut self.units[index];
            if self.killing {
                unit.grace = Duration::ZERO;
            }
            unit.leave(now, None);
            effects.push(unit.tell(ProcessState::Stopping));
            effects.push(Effect::Signal(index));
        }
    }

    fn kill_all(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.stop(Why::Killed, now, effects);
        self.killing = true;
        for unit in &mut self.units {
            match &mut unit.state {
                State::Stopping { kill_at, .. } => *kill_at = now,
                State::Running { .. } => {
                    unit.grace = Duration::ZERO;
                    unit.leave(now, None);
                }
                _ => {}
            }
        }
    }

    /// Everything that follows from the state as it is: starts, kills that are due, announcements, the end.
    fn settle(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (index, unit) in self.units.iter_mut().enumerate() {
            if let State::Stopping { kill_at, .. } = &mut unit.state
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
        let over = self.units.iter().all(|unit| unit.is_over() || (unit.state == State::Idle));
        if over && !self.done {
            self.done = true;
            let why = self.stopping.take().map_or(Why::AllEnded, |(why, _)| why);
            effects.push(Effect::Done(Outcome::from(why)));
        }
    }

    fn settle_stop(&mut self, since: Instant, now: Instant, effects: &mut Vec<Effect>) {
        self.ask_to_stop(now, effects);
        if !self.told.waiting && now >= since + SILENT_STOP {
            self.told.waiting = true;
            let names: Vec<String> =
                self.units.iter().filter(|unit| unit.is_live()).map(|unit| unit.name.clone()).collect();
            if !names.is_empty() {
                effects.push(Effect::Tell(Event::StopWaiting { names, since: now - since }));
            }
        }
    }

    /// Asks those to stop that a person wants down, once nobody depends on them who has to leave as well.
    fn settle_orders(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for index in 0..self.units.len() {
            let unit = &self.units[index];
            let wanted = unit.asked.is_some() && matches!(unit.state, State::Running { .. });
            let leaves = |unit: &Unit| unit.is_live() && unit.asked.is_some() && unit.depends_on(index);
            if !wanted || self.units.iter().any(leaves) {
                continue;
            }
            let unit = &mut self.units[index];
            unit.leave(now, None);
            effects.push(unit.tell(ProcessState::Stopping));
            effects.push(Effect::Signal(index));
        }
    }

    fn settle_start(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for index in 0..self.units.len() {
            match self.units[index].state {
                State::Backoff { until } if now >= until => {
                    self.units[index].state = State::Starting;
                    effects.push(Effect::Spawn(index));
                }
                State::Waiting => self.settle_waiting(index, effects),
                _ => {}
            }
        }
        let all_up = self.units.iter().all(|unit| match unit.state {
            State::Running { ready, .. } => ready,
            State::Ended(ending) => ending.ok(),
            State::Idle | State::Parked => true,
            _ => false,
        });
        if all_up && !self.told.ready {
            self.told.ready = true;
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
                    self.units[index].state = State::Skipped;
                    effects.push(self.units[index].tell(ProcessState::Skipped { why }));
                    return;
                }
                None => on.push(self.units[other].name.clone()),
            }
        }
        if on.is_empty() {
            self.units[index].state = State::Starting;
            effects.push(Effect::Spawn(index));
        } else if self.units[index].told_waiting_on != on {
            self.units[index].told_waiting_on.clone_from(&on);
            effects.push(self.units[index].tell(ProcessState::Waiting { on }));
        }
    }
}
