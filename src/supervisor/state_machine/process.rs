//! The state of one process in the state machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Effect;
use crate::event::{Ending, Event, ProcessState};
use crate::plan::{Condition, Need, Process, Restart};

/// The stage of a process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessStage {
    /// Not started with the run. A user can start it.
    Idle,
    /// Stopped by a user. Stays down until a user starts it.
    Parked,
    /// Is started as soon as its preparation is done and its dependencies meet their conditions.
    Waiting,
    /// The child is being started.
    Starting,
    /// The child runs. `since` is the time of its start, or the time at which it last became ready.
    Running { since: Instant, ready: bool },
    /// The child ended. It is started again at `until`.
    Backoff { until: Instant },
    /// The process was asked to stop, or its child ended with `ending` and the processes that the child left were asked to stop.
    /// From `kill_at` on, all of them are killed until none is left. `ran` is how long the process had been ready.
    Stopping { kill_at: Instant, ending: Option<Ending>, ran: Duration },
    /// Ended and is not restarted.
    Ended(Ending),
    /// Ended, and has used up its restarts. Only the user starts it again. The other processes go on.
    GivenUp(Ending),
    /// Is not started any more, because a dependency failed or the run is being stopped.
    Skipped,
}

/// A process that was ready for this long has proved that it works. If it fails later and has used up its restarts, the run goes on
/// without it, provided that the stack was ready once and another process is left.
pub(super) const PROOF: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) state: ProcessStage,
    pub(super) needs: BTreeSet<Need>,
    pub(super) depends: Vec<(usize, Condition)>,
    pub(super) probed: bool,
    /// True if the current or last child has been ready.
    pub(super) was_ready: bool,
    /// The longest time for which one of its children was ready. A process without a probe is ready from its start.
    pub(super) longest: Duration,
    /// True if another process depends on its completion, so an end with 0 is no failure.
    pub(super) one_shot: bool,
    pub(super) restart: Restart,
    pub(super) restarts: u32,
    pub(super) grace: Duration,
    pub(super) told_waiting_on: Vec<String>,
    /// A user's request that waits for the end of the current child.
    pub(super) asked: Option<Asked>,
}

/// A user's request for one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Stop it and leave it down.
    Stop,
    Restart,
}

impl Unit {
    pub(super) fn report(&self, state: ProcessState) -> Effect {
        Effect::Tell(Event::Process { name: self.name.clone(), state })
    }

    /// Returns true if its child exists or is being started.
    pub(super) fn is_live(&self) -> bool {
        matches!(
            self.state,
            ProcessStage::Starting | ProcessStage::Running { .. } | ProcessStage::Stopping { .. }
        )
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, ProcessStage::Ended(_) | ProcessStage::GivenUp(_) | ProcessStage::Skipped)
    }

    /// Returns true if it has no child and is not going to be started.
    pub(super) fn is_down(&self) -> bool {
        self.is_over() || matches!(self.state, ProcessStage::Idle | ProcessStage::Parked)
    }

    /// Returns how long it has been ready, or zero if it is not ready.
    pub(super) fn health(&self, now: Instant) -> Duration {
        match self.state {
            ProcessStage::Running { since, ready: true } => now.saturating_duration_since(since),
            _ => Duration::ZERO,
        }
    }

    /// Starts the grace period, after which the process is killed.
    pub(super) fn leave(&mut self, now: Instant, ending: Option<Ending>) {
        let ran = self.health(now);
        self.state = ProcessStage::Stopping { kill_at: now + self.grace, ending, ran };
    }

    /// Returns true if the process meets `condition`, false if it never will, and `None` if both are still possible.
    pub(super) fn meets(&self, condition: Condition) -> Option<bool> {
        match (condition, &self.state) {
            // The child is about to be stopped.
            (_, ProcessStage::Running { .. }) if self.asked.is_some() => None,
            (
                Condition::Started,
                ProcessStage::Running { .. } | ProcessStage::Ended(_) | ProcessStage::GivenUp(_),
            )
            | (Condition::Ready, ProcessStage::Running { ready: true, .. }) => Some(true),
            (Condition::Completed, ProcessStage::Ended(ending)) => Some(ending.ok()),
            (Condition::Ready, ProcessStage::Ended(ending)) => Some(ending.ok() && self.was_ready),
            (_, ProcessStage::Skipped | ProcessStage::GivenUp(_)) => Some(false),
            _ => None,
        }
    }

    pub(super) fn depends_on(&self, index: usize) -> bool {
        self.depends.iter().any(|(other, _)| *other == index)
    }
}

/// Returns the units of `processes`. A process without `autostart` is started with the run if a process that is started
/// depends on it.
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
            state: if wanted.contains(&number) { ProcessStage::Waiting } else { ProcessStage::Idle },
            needs: process.needs.clone(),
            depends: depends[number].clone(),
            probed: process.ready.is_some(),
            was_ready: false,
            longest: Duration::ZERO,
            one_shot: one_shot(number),
            restart: process.restart,
            restarts: 0,
            grace: process.stop_grace,
            told_waiting_on: Vec::new(),
            asked: None,
        })
        .collect()
}
