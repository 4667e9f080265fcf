//! Gathers the leftovers of runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::cleanup::facts::RunFacts;
use crate::cleanup::leftovers::Leftovers;
use crate::cleanup::servers::SearchRoot;
use crate::context::{Context, variables};
use crate::control::registry::{self, StackEntry};
use crate::control::{LockHolder, lock_holder, socket};
use crate::error::Report;
use crate::os::cgroup::ControlGroup;
use crate::os::fs;
use crate::os::proc::{self, ProcessEntry};
use crate::ports::{self, table};
use crate::supervisor::sweep;
use crate::worktree::{ListedWorktree, Worktree, state_folder};

/// Gathers the leftovers in every path that is or was a worktree of the repository of `own`: `own` itself, those that git
/// lists, those that have a lease, and those that have a registry entry. Errors if the leases cannot be read.
pub(super) async fn gather(
    ctx: &Context,
    own: &Worktree,
    records: &[ListedWorktree],
) -> Result<Vec<RunFacts>, Report> {
    let common_dir = own.git.as_ref().map(|git| git.common_dir.as_path());
    let mut known: BTreeMap<PathBuf, Option<&ListedWorktree>> = BTreeMap::from([(own.path.clone(), None)]);
    for record in records.iter().filter(|record| !record.is_bare) {
        known.insert(fs::physical(&record.path), Some(record));
    }
    let mut slots = BTreeMap::new();
    for row in ports::list(ctx)? {
        if common_dir.is_some() && row.repository.as_deref() == common_dir
            || known.contains_key(&row.worktree)
        {
            slots.insert(row.worktree.clone(), row.slot);
            known.entry(row.worktree).or_default();
        }
    }
    let mut entries = BTreeMap::new();
    for entry in registry::entries(&ctx.dirs) {
        if common_dir.is_some_and(|folder| entry.state.starts_with(folder))
            || known.contains_key(&entry.worktree)
        {
            known.entry(entry.worktree.clone()).or_default();
            entries.insert(entry.worktree.clone(), entry);
        }
    }
    let mut found = Vec::new();
    for (path, record) in known {
        let (slot, entry) = (slots.get(&path).copied(), entries.remove(&path));
        found.push(one(ctx, path, record, slot, entry).await);
    }
    add_processes(&mut found);
    Ok(found)
}

async fn one(
    ctx: &Context,
    path: PathBuf,
    record: Option<&ListedWorktree>,
    slot: Option<u16>,
    entry: Option<StackEntry>,
) -> RunFacts {
    let leftovers = Leftovers::of(&ctx.dirs, &path);
    let is_gone = !table::exists(&path);
    let fallback = state_folder::fallback_of_worktree(&ctx.dirs, &path);
    let own = record.and_then(|record| record.git_dir.as_ref()).map(|folder| folder.join("devrun"));
    let states: Vec<PathBuf> =
        own.into_iter().chain([fallback.clone()]).filter(|path| path.is_dir()).collect();
    let has_socket = leftovers.socket.exists();
    // git deletes the lock with the worktree. Its holder may still be stopping the stack, and listens until then.
    let mut runs = has_socket && !socket::is_deserted(&leftovers.socket).await;
    let mut has_record = is_gone && fallback.is_dir();
    let mut holders = BTreeSet::new();
    for state in &states {
        let holder = lock_holder(state, Duration::ZERO).await;
        runs |= !matches!(holder, Ok(LockHolder::Free));
        if let Ok(LockHolder::Running(record)) = holder {
            holders.extend(record.processes());
        }
        has_record |= state.join("run.json").exists();
    }
    RunFacts {
        is_gone,
        is_locked: record.is_some_and(|record| record.locked.is_some()),
        runs,
        holders,
        state: states.into_iter().next(),
        has_record,
        has_socket,
        slot,
        entry,
        processes: Vec::new(),
        worktree: path,
    }
}

/// Adds the processes that carry the tag of a worktree in which no stack runs, or that are in the control groups of its
/// registry entry.
fn add_processes(runs: &mut [RunFacts]) {
    let idle = runs.iter().enumerate().filter(|(_, run)| !run.runs);
    let tags: BTreeMap<String, usize> =
        idle.map(|(at, run)| (sweep::worktree_tag(&run.worktree), at)).collect();
    let (me, own) = (nix::unistd::geteuid().as_raw(), sweep::lineage());
    let is_ours = |entry: &ProcessEntry| {
        !entry.has_ended() && !own.contains(&entry.pid) && proc::user_of(entry.pid) == Some(me)
    };
    let tag_of = |pid: u32| -> Option<usize> {
        let run = proc::env_of(pid, variables::RUN)?;
        tags.get(run.to_str()?.split_once('.')?.0).copied()
    };
    let mut found: BTreeSet<(usize, u32)> = BTreeSet::new();
    for entry in proc::table().iter().filter(|entry| is_ours(entry)) {
        found.extend(tag_of(entry.pid).map(|at| (at, entry.pid)));
    }
    for (tag, at) in &tags {
        let Some(entry) = &runs[*at].entry else { continue };
        let groups = ControlGroup::left(&entry.groups, tag);
        let members = groups.iter().flat_map(ControlGroup::members).filter(|pid| !own.contains(pid));
        found.extend(members.map(|pid| (*at, pid)));
    }
    for (at, pid) in found {
        if let Some(entry) = proc::entry(pid) {
            runs[at].processes.push((entry, proc::command_of(pid).unwrap_or_default()));
        }
    }
}

/// Returns the worktrees of `runs`, to search servers in.
pub fn search_roots(runs: &[RunFacts]) -> Vec<SearchRoot> {
    let root = |run: &RunFacts| SearchRoot {
        path: run.worktree.clone(),
        tag: sweep::worktree_tag(&run.worktree),
        runs: run.runs,
        holders: run.holders.clone(),
    };
    runs.iter().map(root).collect()
}
