//! One process as the state machine sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Effect;
use crate::event::{Ending, Event, ProcessState};
use crate::plan::{Condition, Need, Process, Restart};

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not to be started until somebody asks.
    Idle,
    /// Down because a person wanted it so.
    Parked,
    /// To be started when its time has come.
    Waiting,
    /// The child is being made.
    Starting,
    /// The child runs, since then, or is ready since then.
    Running { since: Instant, ready: bool },
    /// Ended; to be started again.
    Backoff { until: Instant },
    /// Asked to stop, or its child ended and what that started is asked to. Killed from `kill_at` on, until it is gone.
    Stopping { kill_at: Instant, ending: Option<Ending>, ran: Duration },
    /// Over.
    Ended(Ending),
    /// Never started.
    Skipped,
}

#[derive(Debug)]
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) state: State,
    pub(super) needs: BTreeSet<Need>,
    pub(super) depends: Vec<(usize, Condition)>,
    pub(super) probed: bool,
    /// The present or last child was.
    pub(super) was_ready: bool,
    /// Somebody waits for its completion: ending with 0 is its purpose.
    pub(super) one_shot: bool,
    pub(super) restart: Restart,
    pub(super) restarts: u32,
    pub(super) grace: Duration,
    pub(super) told_waiting_on: Vec<String>,
    /// What a person asked for, while its child is still there.
    pub(super) asked: Option<Asked>,
}

/// What a person asked of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Stay down.
    Stop,
    /// Come up again.
    Restart,
}

impl Unit {
    pub(super) fn tell(&self, state: ProcessState) -> Effect {
        Effect::Tell(Event::Process { name: self.name.clone(), state })
    }

    /// A child of it exists or is being made.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, State::Starting | State::Running { .. } | State::Stopping { .. })
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Ended(_) | State::Skipped)
    }

    /// Nothing of it runs or is about to.
    pub(super) fn is_down(&self) -> bool {
        matches!(self.state, State::Idle | State::Parked | State::Ended(_) | State::Skipped)
    }

    /// For how long it has been ready.
    pub(super) fn health(&self, now: Instant) -> Duration {
        match self.state {
            State::Running { since, ready: true } => now.saturating_duration_since(since),
            _ => Duration::ZERO,
        }
    }

    /// From now on it is given its grace to go.
    pub(super) fn leave(&mut self, now: Instant, ending: Option<Ending>) {
        let ran = self.health(now);
        self.state = State::Stopping { kill_at: now + self.grace, ending, ran };
    }

    /// Whether this process is where `condition` wants it; `None` while that is open.
    pub(super) fn meets(&self, condition: Condition) -> Option<bool> {
        match (condition, &self.state) {
            // It is about to go.
            (_, State::Running { .. }) if self.asked.is_some() => None,
            (Condition::Started, State::Running { .. } | State::Ended(_))
            | (Condition::Ready, State::Running { ready: true, .. }) => Some(true),
            (Condition::Completed, State::Ended(ending)) => Some(ending.ok()),
            (Condition::Ready, State::Ended(ending)) => Some(ending.ok() && self.was_ready),
            (_, State::Skipped) => Some(false),
            _ => None,
        }
    }

    pub(super) fn depends_on(&self, index: usize) -> bool {
        self.depends.iter().any(|(other, _)| *other == index)
    }
}

/// The units of `processes`. One that is not started by itself is, when something that is depends on it.
pub(super) fn units(processes: &[Process]) -> Vec<Unit> {
    let numbers: BTreeMap<&str, usize> =
        processes.iter().enumerate().map(|(number, process)| (process.name.as_str(), number)).collect();
    let depends: Vec<Vec<(usize, Condition)>> = processes
        .iter()
        .map(|process| {
            let known = process.depends_on.iter();
            known.filter_map(|(name, condition)| Some((*numbers.get(name.as_str())?, *condition))).collect()
        })
        .collect();
    let mut wanted: BTreeSet<usize> = processes
        .iter()
        .enumerate()
        .filter(|(_, process)| process.autostart)
        .map(|(number, _)| number)
        .collect();
    let mut open: Vec<usize> = wanted.iter().copied().collect();
    while let Some(number) = open.pop() {
        open.extend(depends[number].iter().map(|(other, _)| *other).filter(|other| wanted.insert(*other)));
    }
    let one_shot =
        |number: usize| depends.iter().flatten().any(|edge| *edge == (number, Condition::Completed));
    processes
        .iter()
        .enumerate()
        .map(|(number, process)| Unit {
            name: process.name.clone(),
            state: if wanted.contains(&number) { State::Waiting } else { State::Idle },
            needs: process.needs.clone(),
            depends: depends[number].clone(),
            probed: process.ready.is_some(),
            was_ready: false,
            one_shot: one_shot(number),
            restart: process.restart,
            restarts: 0,
            grace: process.stop_grace,
            told_waiting_on: Vec::new(),
            asked: None,
        })
        .collect()
}
