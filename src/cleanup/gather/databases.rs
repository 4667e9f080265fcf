//! Gathers the facts about branch databases.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{GitFacts, since};
use crate::cleanup::facts::{BranchDatabaseFacts, BranchState, Creator, RunFacts};
use crate::context::Context;
use crate::control::client::Client;
use crate::control::{LockHolder, lock_holder};
use crate::database::ListedDatabase;
use crate::database::database_label::DatabaseLabel;
use crate::error::{Code, Report};
use crate::ports::table;
use crate::prepare::{Databases, recorded_database};
use crate::worktree::Worktree;

/// How long a supervisor may take to name its database.
const ANSWER: Duration = Duration::from_millis(500);

/// Opens the provider and lists its databases. Returns `None` if there is no branch database. Errors if the provider fails.
pub(super) async fn open(
    ctx: &Context,
    own: &Worktree,
) -> Result<Option<(Databases, Vec<ListedDatabase>)>, Report> {
    let databases = match Databases::open_without_lease(ctx, own).await {
        Ok(databases) => databases,
        Err(report) if report.code == Code::DatabaseMissing => return Ok(None),
        Err(report) => return Err(report),
    };
    let listed = databases.list().await?;
    Ok(Some((databases, listed)))
}

/// The database that a running stack uses.
struct UsedDatabase {
    worktree: PathBuf,
    branch: Option<String>,
    /// `None` if the supervisor does not answer or has no database.
    name: Option<String>,
}

/// Gathers the facts about `listed`.
pub(super) async fn gather(
    own: &Worktree,
    databases: &Databases,
    listed: Vec<ListedDatabase>,
    git: &GitFacts,
    runs: &[RunFacts],
) -> Vec<BranchDatabaseFacts> {
    let used = used(git, runs).await;
    let renamed = renamed(own, git);
    let children: BTreeMap<String, String> =
        listed.iter().filter_map(|entry| Some((entry.parent.clone()?, entry.name.clone()))).collect();
    let (named, recorded) = (names(databases, git), recorded(git));
    let facts = listed.into_iter().map(|mut listed| {
        if let Some(branch) = named.get(&listed.name).filter(|_| listed.made_by_devrun) {
            listed.label = Some(DatabaseLabel::Branch(branch.clone()));
        }
        let creator = listed.worktree.as_deref();
        let (label, branch) = (listed.label.as_ref(), listed.branch());
        let concerns = |stack: &UsedDatabase| match &stack.name {
            Some(name) => *name == listed.name,
            None => {
                (branch.is_some() && stack.branch.as_deref() == branch)
                    || Some(stack.worktree.as_path()) == creator
            }
        };
        let is_locked =
            |run: &RunFacts| run.is_locked && run.is_gone && Some(run.worktree.as_path()) == creator;
        BranchDatabaseFacts {
            is_shared: databases.is_shared(),
            branch: branch_state(label, git, &renamed),
            // A worktree that was moved is no longer at the path at which it created its database.
            creator: match creator {
                _ if label.is_some_and(DatabaseLabel::is_detached) && recorded.contains(&listed.name) => {
                    Creator::Here
                }
                Some(path) => creator_state(path, runs),
                None => Creator::Unknown,
            },
            is_locked: runs.iter().any(is_locked),
            runs: used.iter().any(concerns),
            is_current: listed.name == databases.own.name,
            child: children.get(&listed.name).filter(|child| **child != listed.name).cloned(),
            age: listed.created.and_then(since),
            listed,
        }
    });
    facts.collect()
}

/// Returns the local branches by the names of their databases. A database keeps the label of its first branch on some services.
fn names(databases: &Databases, git: &GitFacts) -> BTreeMap<String, String> {
    let branches = git.branches.local.keys();
    branches.filter_map(|branch| Some((databases.name_of(branch)?, branch.clone()))).collect()
}

/// Returns the databases that the worktrees whose folders exist used last.
fn recorded(git: &GitFacts) -> BTreeSet<String> {
    let there = git.records.iter().filter(|record| table::exists(&record.path));
    let states = there.filter_map(|record| Some(record.git_dir.as_ref()?.join("devrun")));
    states.filter_map(|state| recorded_database(&state)).collect()
}

fn branch_state(
    label: Option<&DatabaseLabel>,
    git: &GitFacts,
    renamed: &BTreeMap<String, String>,
) -> BranchState {
    let branch = match label {
        Some(DatabaseLabel::Branch(branch)) => branch,
        Some(DatabaseLabel::Detached(_)) => return BranchState::Detached,
        None => return BranchState::Gone,
    };
    let remote = git.branches.on_a_remote(branch).map(String::from);
    if git.branches.local.contains_key(branch) {
        return BranchState::Local { remote };
    }
    if let Some(name) = remote {
        return BranchState::Remote(name);
    }
    renamed.get(branch).map_or(BranchState::Gone, |name| BranchState::Renamed(name.clone()))
}

/// Returns the present names of branches, by their earlier ones.
fn renamed(own: &Worktree, git: &GitFacts) -> BTreeMap<String, String> {
    let Some(repository) = &own.git else { return BTreeMap::new() };
    let names = git.branches.local.iter().flat_map(|(name, branch)| {
        let earlier = branch.earlier_names(&repository.common_dir).into_iter();
        earlier.map(|earlier| (earlier.name, name.clone()))
    });
    names.collect()
}

fn creator_state(path: &Path, runs: &[RunFacts]) -> Creator {
    match (runs.iter().find(|run| run.worktree == path), table::exists(path)) {
        (Some(run), _) if run.is_gone => Creator::Gone,
        (Some(_), _) => Creator::Here,
        (None, true) => Creator::OtherClone,
        (None, false) => Creator::Unknown,
    }
}

/// Asks each running stack for its database.
async fn used(git: &GitFacts, runs: &[RunFacts]) -> Vec<UsedDatabase> {
    let mut found = Vec::new();
    for run in runs.iter().filter(|run| run.runs) {
        let record = git.records.iter().find(|record| record.path == run.worktree);
        let entry = run.entry.as_ref();
        found.push(UsedDatabase {
            worktree: run.worktree.clone(),
            branch: entry
                .and_then(|entry| entry.branch.clone())
                .or_else(|| record.and_then(|record| record.branch.clone())),
            name: name_of(run).await,
        });
    }
    found
}

async fn name_of(run: &RunFacts) -> Option<String> {
    let state = run.state.as_ref()?;
    let Ok(LockHolder::Running(record)) = lock_holder(state, Duration::ZERO).await else { return None };
    let status = Client::new(record.socket.as_deref()?).known_within(ANSWER).await.ok()?;
    status.database.map(|database| database.branch)
}
