//! Gathers the facts for the findings. Changes nothing in the repository, executes nothing from it, and sends no request except to
//! the container engine of the database.
//!
//! Every gatherer, except the search for servers, has its own time limit. A gatherer that does not finish leaves its facts empty, and
//! `unfinished` names it.

mod code;
mod configuration;
mod ignored;
mod machine;
mod nested;
mod packages;
mod tools;

use std::future::Future;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::facts::DoctorFacts;
use crate::cleanup::gather::{repository_runs, search_roots};
use crate::cleanup::servers;
use crate::context::Context;
use crate::error::Report;
use crate::event::Events;
use crate::os::blocking::{self, Stuck};
use crate::ports::table;
use crate::worktree::{self, Worktree};

/// The time limit of one gatherer.
const LIMIT: Duration = Duration::from_secs(5);
/// The most folders with packages that are checked.
const FOLDERS: usize = 20;

/// Gathers all facts about the worktree `own`, except for those about hooks. Must run in a `LocalSet`.
pub async fn gather(ctx: &Context, own: &Worktree) -> DoctorFacts {
    // The findings replace the notes and warnings of the functions that are called here.
    let ctx = &Context { events: Events::discarded(), ..ctx.clone() };
    let mut facts = DoctorFacts { root: own.path.clone(), ..DoctorFacts::default() };
    let mut late = Vec::new();
    let (configuration, code, worktrees, runs, machine) = tokio::join!(
        limited(configuration::gather(ctx, own)),
        code::gather(ctx, own),
        limited(worktree::list_with_git_dirs(ctx, own)),
        limited(repository_runs(ctx, own)),
        machine::gather(ctx, own),
    );
    let (configuration, resolved) = kept("the configuration", configuration, &mut late);
    facts.configuration = configuration;
    facts.code = kept("the code", code, &mut late);
    facts.machine = kept("disks and limits", machine, &mut late);
    let worktrees = kept("the worktrees", worktrees.and_then(flat), &mut late);
    facts.worktrees = worktrees.into_iter().map(|one| (one.clone(), table::exists(&one.path))).collect();
    facts.runs = kept("leftovers", runs.and_then(flat), &mut late);
    facts.servers = servers::find(&search_roots(&facts.runs));
    let folders = Folders::of(&facts);
    let (database, tools, packages, nested, ignored) = tokio::join!(
        limited(configuration::unreachable_database(ctx, resolved.as_ref())),
        limited(tools::gather(ctx, own, &facts.configuration, &folders)),
        packages::gather(own, &folders),
        nested::gather(own, &facts, &folders),
        limited(ignored::gather(ctx, own, &facts)),
    );
    facts.configuration.unreachable_database = kept("the database provider", database, &mut late);
    facts.tools = kept("tools", tools, &mut late);
    (facts.packages, facts.venvs) = kept("installed packages", packages, &mut late);
    facts.nested = kept("nested worktrees", nested, &mut late);
    facts.ignored = kept("ignored files", ignored.and_then(|done| done), &mut late);
    late.extend(facts.code.limits.drain(..).map(|limit| ("the code", limit)));
    facts.unfinished = late;
    facts
}

/// Folders with packages, relative to the worktree.
#[derive(Clone, Debug)]
struct Folders {
    node: Vec<PathBuf>,
    python: Vec<PathBuf>,
}

impl Folders {
    fn of(facts: &DoctorFacts) -> Folders {
        let plain =
            |folder: &PathBuf| folder.components().filter(|part| *part != Component::CurDir).collect();
        let configuration = &facts.configuration;
        let mut node: Vec<PathBuf> = configuration.node.iter().map(plain).collect();
        let processes = configuration.processes.iter().map(|process| plain(&process.directory));
        for folder in processes.chain([PathBuf::new()]) {
            if !node.contains(&folder) && facts.root.join(&folder).join("package.json").is_file() {
                node.push(folder);
            }
        }
        node.truncate(FOLDERS);
        Folders { node, python: configuration.python.iter().map(plain).take(FOLDERS).collect() }
    }
}

/// Waits for `work` at most the time limit.
async fn limited<T>(work: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(LIMIT, Box::pin(work)).await.map_err(|_| too_long())
}

/// Runs `work` on another thread, at most for the time limit.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    blocking::run(LIMIT, work).await.map_err(|stuck| match stuck {
        Stuck::TimedOut(_) => too_long(),
        stuck @ Stuck::NoThread(_) => stuck.to_string(),
    })
}

fn too_long() -> String {
    format!("it took longer than {} s", LIMIT.as_secs())
}

fn flat<T, E: Into<Report>>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.into().message)
}

/// Returns the facts, or empty ones after adding the reason to `late`.
fn kept<T: Default>(
    check: &'static str,
    result: Result<T, String>,
    late: &mut Vec<(&'static str, String)>,
) -> T {
    result.unwrap_or_else(|why| {
        late.push((check, why));
        T::default()
    })
}

/// Returns `path` relative to `root` if it is inside, else `path`.
fn relative(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).map_or_else(|_| path.into(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_gatherer_that_hangs_is_named_and_leaves_its_facts_empty() {
        let mut late = Vec::new();
        let hanging = limited(std::future::pending::<Vec<u32>>()).await;
        assert_eq!(kept("tools", hanging, &mut late), [0_u32; 0]);
        assert_eq!(late, [("tools", "it took longer than 5 s".to_string())]);
    }
}
