//! Gathers the facts about one repository: from git, the folders of devrun, the process table and the provider of its
//! databases. Changes nothing.

mod databases;
mod git;
mod runs;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use self::runs::search_roots;

use super::decide::Rules;
use super::facts::{BranchDatabaseFacts, CleanupFacts, ClusterFacts, Creator, RunFacts};
use crate::context::Context;
use crate::database::{ListedDatabase, providers};
use crate::error::Report;
use crate::ports;
use crate::prepare::Databases;
use crate::worktree::{self, BranchList, ListedWorktree, Worktree};

/// The facts, and what is needed to act on them.
pub struct Gathered {
    /// The facts.
    pub facts: CleanupFacts,
    /// The open provider, if the repository has branch databases.
    pub databases: Option<Databases>,
    /// Why some facts are missing.
    pub problems: Vec<Report>,
}

/// The answers of git about a repository.
struct GitFacts {
    records: Vec<ListedWorktree>,
    branches: BranchList,
    default_branch: Option<String>,
}

/// Gathers the facts about the repository of `own`. Whether work is merged is checked only if `rules` ask for it. Errors if
/// git fails. Must run in a `LocalSet`.
pub async fn gather(ctx: &Context, own: &Worktree, rules: &Rules) -> Result<Gathered, Report> {
    let records = worktree::list_with_git_dirs(ctx, own).await?;
    let runs = runs::gather(ctx, own, &records).await?;
    let (branches, default_branch, opened) = tokio::join!(
        worktree::branches(ctx, own),
        worktree::default_branch(ctx, own),
        databases::open(ctx, own)
    );
    let git = GitFacts { records, branches: branches?, default_branch: default_branch? };
    let mut problems = Vec::new();
    let servers = super::servers::find(&search_roots(&runs));
    let mut facts = CleanupFacts::default();
    (facts.worktrees, facts.branches) = git::gather(ctx, own, &git, &runs, &servers, rules).await;
    let databases = match opened {
        Ok(Some((databases, listed))) => {
            facts.databases = databases::gather(own, &databases, listed, &git, &runs).await;
            Some(databases)
        }
        Ok(None) => None,
        Err(report) => {
            problems.push(report);
            None
        }
    };
    facts.clusters = clusters(ctx, own);
    facts.runs = runs;
    Ok(Gathered { facts, databases, problems })
}

fn clusters(ctx: &Context, own: &Worktree) -> Vec<ClusterFacts> {
    let abandoned = providers::abandoned(ctx);
    if abandoned.is_empty() {
        return Vec::new();
    }
    let leased = ports::list(ctx).unwrap_or_default().into_iter().filter_map(|row| row.repository);
    let mut shared: Vec<PathBuf> = leased.map(|repository| repository.join("devrun")).collect();
    shared.push(own.shared.clone());
    let facts = abandoned.into_iter().map(|cluster| {
        let has_id = |folder: &&PathBuf| providers::repository_id(folder).as_ref() == Some(&cluster.id);
        let moved_to = shared.iter().find(has_id).cloned();
        // `<folder>/<repository>/.git/devrun`, or `<folder>/<repository>.git/devrun`.
        let mut above = cluster.repository.ancestors().skip(1);
        let git_dir = above.next().filter(|folder| folder.ends_with(".git"));
        let repository = if git_dir.is_some() { above.next() } else { cluster.repository.parent() };
        let has_parent = repository.and_then(Path::parent).is_some_and(Path::is_dir);
        ClusterFacts { cluster, has_parent, moved_to }
    });
    facts.collect()
}

/// Gathers the facts about the database `name` just before it is deleted. `listed` are the databases from a list of a moment ago,
/// without `name`, which is read again. The caller holds the locks of the worktrees in `held`, so no stack runs there. `known` are
/// worktrees that this repository had until the caller removed them. `None` if the database no longer exists. Errors if git or the
/// provider fails. Must run in a `LocalSet`.
pub async fn database(
    ctx: &Context,
    own: &Worktree,
    (databases, listed): (&Databases, &[ListedDatabase]),
    name: &str,
    held: &[PathBuf],
    known: &[PathBuf],
) -> Result<Option<BranchDatabaseFacts>, Report> {
    let Some(entry) = databases.describe(name).await? else { return Ok(None) };
    let others = listed.iter().filter(|other| other.name != name).cloned();
    let listed: Vec<ListedDatabase> = others.chain([entry]).collect();
    let records = worktree::list_with_git_dirs(ctx, own).await?;
    let mut runs = runs::gather(ctx, own, &records).await?;
    for run in runs.iter_mut().filter(|run| held.contains(&run.worktree)) {
        run.runs = false;
    }
    let branches = worktree::branches(ctx, own).await?;
    let git = GitFacts { records, branches, default_branch: None };
    let facts = databases::gather(own, databases, listed, &git, &runs).await;
    let mut found = facts.into_iter().find(|facts| facts.listed.name == name);
    if let Some(facts) = &mut found {
        let is_known = facts.listed.worktree.as_ref().is_some_and(|creator| known.contains(creator));
        if facts.creator == Creator::Unknown && is_known {
            facts.creator = Creator::Gone;
        }
    }
    Ok(found)
}

/// Returns the leftovers of runs in all worktrees of the repository of `own`, including worktrees that are gone. Errors if
/// git fails. Must run in a `LocalSet`.
pub async fn repository_runs(ctx: &Context, own: &Worktree) -> Result<Vec<RunFacts>, Report> {
    let records = worktree::list_with_git_dirs(ctx, own).await?;
    runs::gather(ctx, own, &records).await
}

/// Returns the time since the newest of `files` was changed.
fn unused_for(files: impl IntoIterator<Item = PathBuf>) -> Option<Duration> {
    let changed = |file: PathBuf| file.metadata().and_then(|meta| meta.modified()).ok();
    let newest = files.into_iter().filter_map(changed).max()?;
    SystemTime::now().duration_since(newest).ok()
}

/// Returns the time since `seconds` after 1970. `None` if that is in the future.
fn since(seconds: u64) -> Option<Duration> {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).ok()
}
