//! Finds servers that work in the worktrees of a repository and that devrun does not supervise, and ends some of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::Serialize;

use crate::context::variables;
use crate::os::deadline::Deadline;
use crate::os::proc::{self, ProcessEntry};
use crate::os::tcp::{self, SocketState};
use crate::supervisor::sweep;

/// How long a server may take to end after SIGTERM, and then after SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);
/// How many ancestors of a process are checked.
const DEEPEST: usize = 100;

/// A worktree in which servers are searched.
#[derive(Clone, Debug)]
pub struct SearchRoot {
    /// Its top level.
    pub path: PathBuf,
    /// The part of a run's tag that identifies it.
    pub tag: String,
    /// True if a stack runs in it, so that devrun supervises the processes that carry its tag.
    pub runs: bool,
    /// The devrun processes that hold its lock: keeper and supervisor of the stack.
    pub holders: BTreeSet<u32>,
}

/// A server that devrun does not supervise.
#[derive(Clone, Debug, Serialize)]
pub struct StrayServer {
    /// Its process.
    #[serde(skip)]
    pub entry: ProcessEntry,
    /// Its process id.
    pub pid: u32,
    /// The TCP ports on which it listens.
    pub ports: Vec<u16>,
    /// Seconds since its start.
    pub age_seconds: Option<u64>,
    /// Its command line.
    pub command: String,
    /// The worktree in which it works.
    pub worktree: PathBuf,
    /// True if that worktree is gone.
    pub worktree_is_gone: bool,
    /// True if a run of devrun that was killed started it.
    pub is_left_by_a_run: bool,
    /// The command that would end it.
    pub end: String,
}

/// Returns the servers of this user that work in one of `roots`. Leaves out this process and its ancestors, such as the editor
/// or agent that called devrun, and every devrun that holds the lock of a worktree, with its descendants. Returns none on
/// systems without `/proc`.
pub fn find(roots: &[SearchRoot]) -> Vec<StrayServer> {
    let me = nix::unistd::geteuid().as_raw();
    let listening = |socket: &tcp::TcpSocket| socket.state == SocketState::Listening && socket.user == me;
    let ports: BTreeMap<u64, u16> = tcp::rows(&[SocketState::Listening])
        .iter()
        .filter(|row| listening(row))
        .map(|row| (row.inode, row.local.port()))
        .collect();
    if ports.is_empty() {
        return Vec::new();
    }
    let callers = sweep::lineage();
    let holders: BTreeSet<u32> = roots.iter().flat_map(|root| root.holders.iter().copied()).collect();
    let table = proc::table();
    let parents: BTreeMap<u32, u32> = table.iter().map(|entry| (entry.pid, entry.parent)).collect();
    // Pid 1 may be the program that the user of a container works in.
    let is_spared = |pid: u32| pid == 1 || callers.contains(&pid) || is_below(pid, &holders, &parents);
    let others = table.into_iter().filter(|entry| !is_spared(entry.pid));
    let mut found: Vec<StrayServer> = others.filter_map(|entry| stray(entry, roots, &ports, me)).collect();
    found.sort_by_key(|server| server.pid);
    found
}

fn stray(
    entry: ProcessEntry,
    roots: &[SearchRoot],
    ports: &BTreeMap<u64, u16>,
    me: u32,
) -> Option<StrayServer> {
    let pid = entry.pid;
    let root = root_of(&proc::last_directory_of(pid)?, roots)?;
    if proc::user_of(pid) != Some(me) || is_supervised(pid, roots) {
        return None;
    }
    let open: BTreeSet<u16> =
        proc::sockets_of(pid).into_iter().filter_map(|inode| ports.get(&inode).copied()).collect();
    if open.is_empty() {
        return None;
    }
    Some(StrayServer {
        entry,
        pid,
        ports: open.into_iter().collect(),
        age_seconds: proc::age_of(pid).map(|age| age.as_secs()),
        command: proc::command_of(pid).unwrap_or_default(),
        worktree: root.path.clone(),
        worktree_is_gone: !root.path.is_dir(),
        is_left_by_a_run: proc::env_of(pid, variables::RUN).is_some(),
        end: format!("kill {pid}"),
    })
}

/// Returns true if `pid` or one of its ancestors is in `holders`. A descendant of a supervisor may have changed its environment,
/// and so carry no tag.
fn is_below(pid: u32, holders: &BTreeSet<u32>, parents: &BTreeMap<u32, u32>) -> bool {
    let chain = std::iter::successors(Some(pid), |pid| parents.get(pid).copied());
    chain.take_while(|pid| *pid > 1).take(DEEPEST).any(|pid| holders.contains(&pid))
}

/// Returns the innermost worktree that contains `folder`.
fn root_of<'a>(folder: &Path, roots: &'a [SearchRoot]) -> Option<&'a SearchRoot> {
    let containing = roots.iter().filter(|root| folder.starts_with(&root.path));
    containing.max_by_key(|root| root.path.components().count())
}

/// Returns true if the process carries the tag of a run that may still be supervised: one in a worktree of `roots` where a
/// stack runs, or one of another repository.
fn is_supervised(pid: u32, roots: &[SearchRoot]) -> bool {
    let Some(run) = proc::env_of(pid, variables::RUN) else { return false };
    let tag = run.to_str().and_then(|run| Some(run.split_once('.')?.0)).unwrap_or_default();
    roots.iter().find(|root| root.tag == tag).is_none_or(|root| root.runs)
}

/// Ends `entries` with SIGTERM, and with SIGKILL after 5 s. Returns false if one of them still lives 5 s later.
pub async fn end(entries: &[ProcessEntry]) -> bool {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        sweep::signal(entries, signal);
        if are_gone(entries).await {
            return true;
        }
    }
    false
}

/// Returns true while that same process exists and has not ended.
fn still_runs(entry: &ProcessEntry) -> bool {
    proc::entry(entry.pid).is_some_and(|now| now.started == entry.started && !now.has_ended())
}

/// Waits until none of `entries` is alive. Returns false after [`GRACE`].
async fn are_gone(entries: &[ProcessEntry]) -> bool {
    let deadline = Deadline::within(GRACE);
    while entries.iter().any(still_runs) {
        if deadline.left().is_zero() {
            return false;
        }
        tokio::time::sleep(POLL).await;
    }
    true
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn reused_process_id_is_not_the_same_process() {
        let this = proc::entry(std::process::id()).unwrap();
        assert!(still_runs(&this));
        let earlier = ProcessEntry { started: this.started - 1, ..this };
        assert!(!still_runs(&earlier));
        // Without the check in `signal`, this would kill the test.
        sweep::signal(&[earlier], Signal::SIGKILL);
    }

    #[test]
    fn processes_below_a_supervisor_and_the_caller_are_no_strays() {
        let parents = BTreeMap::from([(7, 5), (5, 3), (3, 1), (9, 8), (8, 1)]);
        let is_below = |pid| is_below(pid, &BTreeSet::from([5]), &parents);
        assert_eq!([7, 5, 3, 9, 1].map(is_below), [true, true, false, false, false]);

        let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let path = std::env::current_dir().unwrap().canonicalize().unwrap();
        let root = SearchRoot { path, tag: String::new(), runs: false, holders: BTreeSet::new() };
        let found = find(&[root]);
        assert!(found.iter().all(|server| server.pid != std::process::id()), "{found:#?}");
        drop(own);
    }

    #[test]
    fn a_server_belongs_to_the_innermost_worktree_around_it() {
        let root = |path: &str| SearchRoot {
            path: path.into(),
            tag: String::new(),
            runs: false,
            holders: BTreeSet::new(),
        };
        let roots = [root("/r"), root("/r/.claude/worktrees/a"), root("/r-other")];
        let of = |folder: &str| root_of(Path::new(folder), &roots).map(|root| root.path.clone());
        assert_eq!(of("/r/.claude/worktrees/a/web"), Some("/r/.claude/worktrees/a".into()));
        assert_eq!(of("/r/.claude/worktrees/ab"), Some("/r".into()));
        assert_eq!(of("/rr"), None);
    }
}
