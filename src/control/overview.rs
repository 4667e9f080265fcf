//! Every stack of this user at once: each lock and socket asked side by side, the process table read once.
//!
//! One that does not answer is said to be silent and holds up nobody. Refuses to end anything: of what was killed and whose
//! worktree is gone it only says so.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::client::Client;
use super::registry::{self, Entry};
use super::status::Status;
use super::{Record, State, look, socket};
use crate::context::Dirs;
use crate::os::usage::{self, Usage};

/// How long a supervisor may take to answer.
const LIMIT: Duration = Duration::from_millis(250);

/// One stack.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stack {
    /// The repository's short name.
    pub repo: String,
    /// Path of the worktree, as text.
    pub worktree: String,
    /// The branch that was checked out at the start.
    pub branch: Option<String>,
    /// As in `devrun status`; or `silent` (its supervisor does not answer), `stale` (it was killed, nothing is cleaned up).
    pub state: String,
    /// Named ports.
    pub ports: BTreeMap<String, u16>,
    /// The first of its URLs.
    pub url: Option<String>,
    /// The process that answers for it.
    pub pid: Option<u32>,
    /// Seconds since its start.
    pub age_seconds: Option<u64>,
    /// How many processes belong to it.
    pub processes: usize,
    /// Resident memory of all its processes, in bytes; pages they share are counted in each.
    pub memory_bytes: u64,
    /// Processor time of all its processes that live.
    pub cpu_seconds: f64,
    /// The same in percent of one processor, as a mean since the start.
    pub cpu_percent: f64,
}

/// Every stack there is an entry of.
#[derive(Debug, Default)]
pub struct Overview {
    /// Those that run, or wait for somebody to clean up.
    pub stacks: Vec<Stack>,
    /// Those that nobody runs and whose worktree is gone: nobody will come by there to clean up.
    pub forsaken: Vec<Entry>,
}

/// What was learned of one entry.
enum Found {
    Gone,
    Forsaken,
    Stale,
    Runs(Box<(Option<Record>, Option<Status>)>),
}

/// Looks at every entry there is. Must run in a `LocalSet`.
pub async fn read(dirs: &Dirs) -> Overview {
    let asked: Vec<_> = registry::entries(dirs)
        .into_iter()
        .map(|entry| {
            let socket = registry::socket(dirs, &entry);
            tokio::task::spawn_local(async move { (ask(&entry, &socket).await, entry) })
        })
        .collect();
    // Read while they answer.
    let table = Table::read();
    let mut overview = Overview::default();
    for answer in asked {
        match answer.await {
            Ok((Found::Forsaken, entry)) => overview.forsaken.push(entry),
            Ok((found, entry)) => overview.stacks.extend(row(entry, found, &table)),
            Err(_) => {}
        }
    }
    overview
}

async fn ask(entry: &Entry, socket: &Path) -> Found {
    let record = match look(&entry.state, Duration::ZERO).await {
        // A state folder that is not this worktree's has nothing to say about it.
        Ok(State::Running(record)) if !record.is_of(&entry.worktree) => return Found::Gone,
        Ok(State::Running(record)) => Some(record),
        // It ended meanwhile.
        Ok(State::Free) if !entry.file.exists() => return Found::Gone,
        Ok(State::Free) | Err(_) if !entry.worktree.is_dir() => {
            // git removes the lock with the worktree, and then it is free while its holder still takes everything down.
            return if socket::is_deserted(socket).await { Found::Forsaken } else { Found::Gone };
        }
        Ok(State::Free) => return Found::Stale,
        Ok(State::Unknown) | Err(_) => None,
    };
    let socket = record.as_ref().and_then(|record| record.socket.clone());
    let status = match socket {
        Some(socket) => Client::new(&socket).status_within(LIMIT).await.ok(),
        None => None,
    };
    Found::Runs(Box::new((record, status)))
}

fn row(entry: Entry, found: Found, table: &Table) -> Option<Stack> {
    let mut stack = Stack {
        repo: entry.repo,
        worktree: entry.worktree.to_string_lossy().into_owned(),
        branch: entry.branch,
        state: "stale".into(),
        ports: BTreeMap::new(),
        url: None,
        pid: None,
        age_seconds: None,
        processes: 0,
        memory_bytes: 0,
        cpu_seconds: 0.0,
        cpu_percent: 0.0,
    };
    let (record, status) = match found {
        Found::Gone | Found::Forsaken => return None,
        Found::Stale => return Some(stack),
        Found::Runs(known) => *known,
    };
    stack.state = status.as_ref().map_or("silent", |status| status.state.word()).into();
    if let Some(record) = record {
        let (usage, processes) = table.below(record.pid);
        let age = now().saturating_sub(record.started);
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

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// To one decimal.
fn percent(cpu: Duration, age: u64) -> f64 {
    let share = cpu.as_secs_f64() / Duration::from_secs(age.max(1)).as_secs_f64() * 100.0;
    (share * 10.0).round() / 10.0
}

/// The process table by parents.
struct Table {
    children: HashMap<u32, Vec<(u32, Usage)>>,
    own: HashMap<u32, Usage>,
}

impl Table {
    fn read() -> Table {
        Table::new(usage::table().into_iter().map(|(entry, usage)| (entry.pid, entry.parent, usage)))
    }

    fn new(rows: impl Iterator<Item = (u32, u32, Usage)>) -> Table {
        let mut table = Table { children: HashMap::new(), own: HashMap::new() };
        for (pid, parent, usage) in rows {
            table.children.entry(parent).or_default().push((pid, usage));
            table.own.insert(pid, usage);
        }
        table
    }

    /// What `root` and everything below it use, and how many they are.
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
    fn a_stack_uses_what_all_its_processes_use() {
        let used = |memory| Usage { memory, cpu: Duration::from_secs(memory) };
        let rows = [(10, 1, used(1)), (11, 10, used(2)), (12, 11, used(4)), (20, 1, used(8))];
        let table = Table::new(rows.into_iter());
        assert_eq!(table.below(10), (used(7), 3));
        assert_eq!(table.below(99), (Usage::default(), 0));
    }

    #[test]
    fn processor_time_is_told_as_a_share_of_one_processor() {
        assert!((percent(Duration::from_millis(1234), 10) - 12.3).abs() < 1e-9);
        assert!(percent(Duration::ZERO, 0).abs() < 1e-9);
    }
}
