//! Decides what `devrun prune` removes, and gives the reason for each thing. Pure.
//!
//! Each rule lists the reasons to keep a thing first. A thing is removed only if none of them holds, and a fact that is not
//! known is a reason to keep.

mod databases;
#[cfg(test)]
mod tests;
mod worktrees;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::databases::database_of_removed;
use super::facts::{BranchDatabaseFacts, CleanupFacts, ClusterFacts, MergeState, RunFacts};

/// How long a cluster must be unused at least: a repository that was moved and has not run devrun since looks the same as
/// one that was deleted.
const UNUSED_CLUSTER: Duration = Duration::from_hours(7 * 24);

/// The options of `devrun prune`.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Remove merged worktrees and branches too.
    pub merged: bool,
    /// The minimum age of worktrees with `--merged`, branches, databases and clusters.
    pub older_than: Duration,
}

/// A kind of thing that can be removed. The order is that of the output and of the removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftoverKind {
    /// A process of a run whose devrun is dead.
    Process,
    /// The socket of a run.
    Socket,
    /// The registry entry of a run.
    Entry,
    /// The record of a run.
    Record,
    /// The ports of a worktree.
    Lease,
    /// A worktree, or git's record of it.
    Worktree,
    /// A local branch.
    Branch,
    /// A branch database.
    Database,
    /// A local database cluster.
    Cluster,
}

/// The decision about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The kind of thing.
    pub kind: LeftoverKind,
    /// The name that the user sees.
    pub name: String,
    /// True if it is removed.
    pub removes: bool,
    /// Why.
    pub reason: String,
    /// Its position in the list of [`CleanupFacts`] that has things of this kind.
    pub index: usize,
}

/// A reason to keep something, as an error, or to remove it.
type Reasoned = Result<String, String>;

/// Decides about everything in `facts`. The result is grouped by kind.
pub fn decide(facts: &CleanupFacts, rules: &Rules) -> Vec<Decision> {
    let mut decisions = Vec::new();
    // Servers of killed runs end first, and then keep no worktree.
    let mut ended: BTreeSet<u32> = BTreeSet::new();
    for (index, run) in facts.runs.iter().enumerate() {
        let reasoned = end_of_run(run);
        if reasoned.is_ok() {
            ended.extend(run.processes.iter().map(|(process, _)| process.pid));
        }
        decide_run(&mut decisions, index, run, &reasoned);
    }
    let mut removed: BTreeSet<PathBuf> = BTreeSet::new();
    for (index, worktree) in facts.worktrees.iter().enumerate() {
        let reasoned = worktrees::worktree(worktree, &ended, rules);
        if reasoned.is_ok() {
            removed.insert(worktree.path.clone());
        }
        let name = shown(&worktree.path);
        decisions.push(Decision::new(LeftoverKind::Worktree, name, reasoned, index));
    }
    let mut deleted: BTreeSet<String> = BTreeSet::new();
    for (index, branch) in facts.branches.iter().enumerate().filter(|_| rules.merged) {
        let reasoned = worktrees::branch(branch, &removed, rules);
        if reasoned.is_ok() {
            deleted.insert(branch.name.clone());
        }
        decisions.push(Decision::new(LeftoverKind::Branch, branch.name.clone(), reasoned, index));
    }
    for (index, database) in facts.databases.iter().enumerate() {
        let reasoned = databases::database(database, &deleted, rules);
        decisions.push(Decision::new(LeftoverKind::Database, database.listed.name.clone(), reasoned, index));
    }
    for (index, cluster) in facts.clusters.iter().enumerate() {
        let name = shown(&cluster.cluster.folder);
        decisions.push(Decision::new(LeftoverKind::Cluster, name, decide_cluster(cluster, rules), index));
    }
    decisions.sort_by_key(|decision| decision.kind);
    decisions
}

/// Returns the reason to keep a database whose branch is gone by now. `facts` are new ones, gathered just before the deletion.
pub fn keeps_database(facts: &BranchDatabaseFacts, rules: &Rules) -> Option<String> {
    databases::database(facts, &BTreeSet::new(), rules).err()
}

impl Decision {
    fn new(kind: LeftoverKind, name: String, reasoned: Reasoned, index: usize) -> Decision {
        let removes = reasoned.is_ok();
        let (Ok(reason) | Err(reason)) = reasoned;
        Decision { kind, name, removes, reason, index }
    }
}

/// Returns the reason to remove or keep the leftovers of runs in one worktree. They hold no work, so their age does not count.
fn end_of_run(run: &RunFacts) -> Reasoned {
    if run.runs {
        Err("a stack runs there".into())
    } else if run.is_locked && run.is_gone {
        Err("git keeps its worktree locked".into())
    } else if run.is_gone {
        Ok("its worktree is gone".into())
    } else {
        Ok("its devrun was killed".into())
    }
}

/// Adds a decision for each leftover of runs in one worktree.
fn decide_run(decisions: &mut Vec<Decision>, index: usize, run: &RunFacts, reasoned: &Reasoned) {
    let mut push = |kind, name| decisions.push(Decision::new(kind, name, reasoned.clone(), index));
    for (process, command) in &run.processes {
        push(LeftoverKind::Process, format!("{} {command}", process.pid));
    }
    let name = || shown(&run.worktree);
    if run.has_socket {
        push(LeftoverKind::Socket, name());
    }
    if run.entry.is_some() {
        push(LeftoverKind::Entry, name());
    }
    if run.has_record {
        push(LeftoverKind::Record, name());
    }
    // A worktree that exists keeps its ports.
    if let Some(slot) = run.slot.filter(|_| run.is_gone) {
        push(LeftoverKind::Lease, format!("{} (slot {slot})", name()));
    }
}

fn decide_cluster(facts: &ClusterFacts, rules: &Rules) -> Reasoned {
    let repository = facts.cluster.repository.display();
    if facts.cluster.is_used {
        return Err("a devrun uses its server".into());
    }
    if let Some(place) = &facts.moved_to {
        return Err(format!("its repository was moved to {}", place.display()));
    }
    if !facts.has_parent {
        return Err(format!("the folder above {repository} is gone too: its disk may not be mounted"));
    }
    let limit = rules.older_than.max(UNUSED_CLUSTER);
    old_enough(facts.cluster.unused_for, limit, "used")?;
    Ok(format!("its repository {repository} is gone"))
}

/// Returns the reason to keep something whose age is unknown or less than `limit`. `verb` says what happened to it then.
fn old_enough(age: Option<Duration>, limit: Duration, verb: &str) -> Result<(), String> {
    match age {
        None => Err(format!("devrun cannot tell when it was last {verb}")),
        Some(age) if age < limit => Err(format!("it was {verb} less than {} ago", span(limit))),
        Some(_) => Ok(()),
    }
}

/// Returns the branch that has the work, or the reason to keep the work.
fn merged(state: &MergeState) -> Result<&crate::worktree::Merged, String> {
    match state {
        MergeState::Unknown => Err("git cannot tell whether its work is merged".into()),
        MergeState::Unmerged => Err("it has commits that are not merged".into()),
        MergeState::Untouched => Err("nothing was committed on it yet".into()),
        MergeState::Unproven(into) => {
            Err(format!("its commits are in {into}, but nothing shows that they were made on it"))
        }
        MergeState::Merged(merged) => Ok(merged),
    }
}

/// Formats a duration in the largest unit that is exact.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let plural = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    match seconds {
        0 => "0 s".into(),
        _ if seconds.is_multiple_of(86_400) => plural(seconds / 86_400, "day"),
        _ if seconds.is_multiple_of(3600) => plural(seconds / 3600, "hour"),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
