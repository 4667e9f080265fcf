//! Lists all stacks of this user. Queries their locks and sockets in parallel and reads the process table once.
//!
//! A supervisor that does not answer in time is listed as `silent`. This module ends nothing. Stacks that were killed and whose worktree
//! is gone are listed separately.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::client::Client;
use super::registry::{self, StackEntry};
use super::started_by::StartedBy;
use super::status::{self, Status};
use super::{LockHolder, RunRecord, lock_holder, socket};
use crate::context::Dirs;
use crate::os::clock;
use crate::os::usage::{self, Usage};

/// How long a supervisor may take to answer.
const LIMIT: Duration = Duration::from_millis(250);

/// The state of a stack in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StackState {
    /// The supervisor does not answer.
    Silent,
    /// The supervisor was killed before it cleaned up.
    Stale,
    /// The state that the supervisor answered.
    #[serde(untagged)]
    Answered(status::State),
}

impl StackState {
    /// Returns the word that is printed and used in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            StackState::Silent => "silent",
            StackState::Stale => "stale",
            StackState::Answered(state) => state.word(),
        }
    }
}

/// One stack in the list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stack {
    /// The repository's short name.
    pub repo: String,
    /// Path of the worktree, as text.
    pub worktree: String,
    /// The branch that was checked out at the start.
    pub branch: Option<String>,
    /// The state of the stack.
    pub state: StackState,
    /// The program that started it; absent if that is unknown.
    pub started_by: Option<StartedBy>,
    /// Named ports.
    pub ports: BTreeMap<String, u16>,
    /// The first of its URLs.
    pub url: Option<String>,
    /// The problem that a user should look at first, in one line.
    pub problem: Option<String>,
    /// The process to signal: the keeper.
    pub pid: Option<u32>,
    /// Seconds since its start.
    pub age_seconds: Option<u64>,
    /// The number of its processes, keeper and supervisor included.
    pub processes: usize,
    /// Resident memory of all its processes, in bytes. A page that several processes share is counted for each.
    pub memory_bytes: u64,
    /// Processor time that its living processes have used, in seconds.
    pub cpu_seconds: f64,
    /// Average use of the processor since the start, in percent of one core.
    pub cpu_percent: f64,
}

/// All stacks that have an entry in the registry.
#[derive(Debug, Default)]
pub struct Overview {
    /// Stacks that run or were killed and need to be cleaned up.
    pub stacks: Vec<Stack>,
    /// Stacks without a supervisor whose worktree is gone. No command will run in that worktree again and clean up.
    pub orphaned: Vec<StackEntry>,
}

/// The state of the stack of one entry.
enum EntryState {
    Gone,
    Orphaned,
    Stale,
    Runs(Box<(Option<RunRecord>, Option<Status>)>),
}

/// Queries the stack of every entry that `wanted` accepts, and that of `own`, the entry of this worktree, whose file may
/// have been removed. Must run in a `LocalSet`.
pub async fn read(dirs: &Dirs, own: Option<StackEntry>, wanted: impl Fn(&StackEntry) -> bool) -> Overview {
    let mut entries = registry::entries(dirs);
    let own = own.filter(|own| entries.iter().all(|entry| entry.worktree != own.worktree));
    entries.extend(own);
    entries.retain(wanted);
    let asked: Vec<_> = entries
        .into_iter()
        .map(|entry| {
            let socket = registry::socket(dirs, &entry);
            tokio::task::spawn_local(async move { (state_of(&entry, &socket).await, entry) })
        })
        .collect();
    // Read before the requests are sent: the tasks start at the first `await` below.
    let table = ProcessTree::read();
    let mut overview = Overview::default();
    for answer in asked {
        match answer.await {
            Ok((EntryState::Orphaned, entry)) => overview.orphaned.push(entry),
            Ok((found, entry)) => overview.stacks.extend(row(entry, found, &table)),
            Err(_) => {}
        }
    }
    overview
}

async fn state_of(entry: &StackEntry, socket: &Path) -> EntryState {
    let record = match lock_holder(&entry.state, Duration::ZERO).await {
        // The record is of another worktree, so it describes another stack.
        Ok(LockHolder::Running(record)) if !record.is_of(&entry.worktree) => return EntryState::Gone,
        // A command holds the lock for a short task, without a stack.
        Ok(LockHolder::Running(record)) if record.task.is_some() && !entry.file.exists() => {
            return EntryState::Gone;
        }
        Ok(LockHolder::Running(record)) => Some(record),
        // The stack ended and removed its entry.
        Ok(LockHolder::Free) if !entry.file.exists() => return EntryState::Gone,
        Ok(LockHolder::Free) | Err(_) if !entry.worktree.is_dir() => {
            // git deletes the lock with the worktree. The lock is free then, although its holder may still be stopping
            // the stack.
            return if socket::is_deserted(socket).await { EntryState::Orphaned } else { EntryState::Gone };
        }
        Ok(LockHolder::Free) => return EntryState::Stale,
        Ok(LockHolder::Unknown) | Err(_) => None,
    };
    let socket = record.as_ref().and_then(|record| record.socket.clone());
    let status = match socket {
        Some(socket) => Client::new(&socket).known_within(LIMIT).await.ok(),
        None => None,
    };
    EntryState::Runs(Box::new((record, status)))
}

fn row(entry: StackEntry, found: EntryState, table: &ProcessTree) -> Option<Stack> {
    let mut stack = Stack {
        repo: entry.repo,
        worktree: entry.worktree.to_string_lossy().into_owned(),
        branch: entry.branch,
        state: StackState::Stale,
        started_by: None,
        ports: BTreeMap::new(),
        url: None,
        problem: None,
        pid: None,
        age_seconds: None,
        processes: 0,
        memory_bytes: 0,
        cpu_seconds: 0.0,
        cpu_percent: 0.0,
    };
    let (record, status) = match found {
        EntryState::Gone | EntryState::Orphaned => return None,
        EntryState::Stale => return Some(stack),
        EntryState::Runs(known) => *known,
    };
    stack.problem = status.as_ref().and_then(Status::problem);
    stack.state = status.map_or(StackState::Silent, |status| StackState::Answered(status.state));
    if let Some(record) = record {
        let (usage, processes) =
            if record.is_elsewhere() { Default::default() } else { table.below(record.pid) };
        let age = clock::unix_seconds().saturating_sub(record.started);
        stack.started_by = record.started_by;
        stack.pid = Some(record.pid);
        stack.age_seconds = Some(age);
        stack.processes = processes;
        stack.memory_bytes = usage.memory;
        stack.cpu_seconds = usage.cpu.as_secs_f64();
        stack.cpu_percent = percent(usage.cpu, age);
        stack.url = record.urls.into_iter().next().map(|(_, url)| url);
        stack.ports = record.ports;
    }
    Some(stack)
}

/// Returns `cpu` in percent of `age` seconds, rounded to one decimal.
fn percent(cpu: Duration, age: u64) -> f64 {
    let share = cpu.as_secs_f64() / Duration::from_secs(age.max(1)).as_secs_f64() * 100.0;
    (share * 10.0).round() / 10.0
}

/// The process table, indexed by parent.
struct ProcessTree {
    children: HashMap<u32, Vec<(u32, Usage)>>,
    own: HashMap<u32, Usage>,
}

impl ProcessTree {
    fn read() -> ProcessTree {
        ProcessTree::new(usage::table().into_iter().map(|(entry, usage)| (entry.pid, entry.parent, usage)))
    }

    fn new(rows: impl Iterator<Item = (u32, u32, Usage)>) -> ProcessTree {
        let mut table = ProcessTree { children: HashMap::new(), own: HashMap::new() };
        for (pid, parent, usage) in rows {
            table.children.entry(parent).or_default().push((pid, usage));
            table.own.insert(pid, usage);
        }
        table
    }

    /// Returns the sum of the usage of `root` and its descendants, and their number.
    fn below(&self, root: u32) -> (Usage, usize) {
        let Some(own) = self.own.get(&root) else { return (Usage::default(), 0) };
        let (mut sum, mut count, mut open) = (*own, 1, vec![root]);
        while let Some(parent) = open.pop() {
            for (pid, usage) in self.children.get(&parent).into_iter().flatten() {
                sum += *usage;
                count += 1;
                open.push(*pid);
            }
        }
        (sum, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_stack_is_one_word_in_json() {
        for (state, word) in [
            (StackState::Silent, "silent"),
            (StackState::Stale, "stale"),
            (StackState::Answered(status::State::Ready), "ready"),
        ] {
            assert_eq!((serde_json::json!(state), state.word()), (word.into(), word));
        }
    }

    #[test]
    fn usage_of_a_stack_is_the_sum_of_its_processes() {
        let used = |memory| Usage { memory, cpu: Duration::from_secs(memory) };
        let rows = [(10, 1, used(1)), (11, 10, used(2)), (12, 11, used(4)), (20, 1, used(8))];
        let table = ProcessTree::new(rows.into_iter());
        assert_eq!(table.below(10), (used(7), 3));
        assert_eq!(table.below(99), (Usage::default(), 0));
    }

    #[test]
    fn processor_time_is_a_share_of_one_processor() {
        assert!((percent(Duration::from_millis(1234), 10) - 12.3).abs() < 1e-9);
        assert!(percent(Duration::ZERO, 0).abs() < 1e-9);
    }
}
