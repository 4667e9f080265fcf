//! The steps that run while the first processes start: package installs and migrations.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::branch_database;
use super::ready_database::ReadyDatabase;
use super::{Progress, ResolvedWorktree, tools};
use crate::context::Context;
use crate::deps::node::{self, NodeRequest};
use crate::deps::python::{self, PythonRequest};
use crate::deps::{DepsError, Done};
use crate::error::Report;
use crate::event::{Event, Step};
use crate::plan::{Need, Plan};

/// Installs the packages for `need` and marks it as met, or reports the failure.
pub(super) async fn install(ctx: Context, resolved: Rc<ResolvedWorktree>, need: Need, progress: Progress) {
    let step = if need == Need::Node { Step::Node } else { Step::Python };
    let start = Instant::now();
    match install_all(&ctx, &resolved, step).await {
        Ok((worked, outcome)) => {
            ctx.events.send(Event::StepDone { step, outcome, worked, took: start.elapsed() });
            progress.open(need);
        }
        Err(report) => {
            ctx.events.send(Event::StepFailed { step });
            progress.fail(report);
        }
    }
}

/// Installs the packages of all folders, without starting anything.
pub async fn install_packages(ctx: &Context, resolved: &ResolvedWorktree) -> Result<(), Report> {
    let mask = resolved.mask();
    let ctx = &resolved.discreet(ctx);
    let configured = resolved.config.configured();
    for (need, step) in [(Need::Node, Step::Node), (Need::Python, Step::Python)] {
        if configured.contains(&need) {
            let start = Instant::now();
            let (worked, outcome) =
                install_all(ctx, resolved, step).await.map_err(|report| mask.report(report))?;
            ctx.events.send(Event::StepDone { step, outcome, worked, took: start.elapsed() });
        }
    }
    Ok(())
}

/// Installs the packages of each folder, one after the other. Returns true if there was work, and a summary.
async fn install_all(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    step: Step,
) -> Result<(bool, String), Report> {
    let dependencies = &resolved.config.dependencies;
    let folders = if step == Step::Node { &dependencies.node } else { &dependencies.python };
    let mut all = Vec::new();
    for (index, folder) in folders.iter().enumerate() {
        let done = match step {
            Step::Node => install_node(ctx, resolved, folder).await?,
            _ => install_python(ctx, resolved, folder).await?,
        };
        let link = tools::link_name(step, index);
        tools::link_tool(&resolved.worktree.state, &link, done.fetched.as_deref())?;
        all.push((folder, done));
    }
    Ok(summary(&all))
}

/// Returns true if an install did work, and the outcomes of those that did, with their folders. A single install has its outcome alone.
fn summary(all: &[(&PathBuf, Done)]) -> (bool, String) {
    if let [(_, Done { worked, outcome, .. })] = all {
        return (*worked, outcome.clone());
    }
    let worked: Vec<String> = all
        .iter()
        .filter(|(_, done)| done.worked)
        .map(|(folder, done)| format!("{} in {}", done.outcome, folder.display()))
        .collect();
    if worked.is_empty() { (false, "unchanged".into()) } else { (true, worked.join("; ")) }
}

async fn install_node(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    directory: &Path,
) -> Result<Done, DepsError> {
    let request = NodeRequest {
        worktree: resolved.worktree.path.clone(),
        directory: resolved.folder(directory),
        state: resolved.worktree.state.clone(),
        env: resolved.install_env(),
    };
    node::ensure(ctx, &request).await
}

async fn install_python(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    directory: &Path,
) -> Result<Done, DepsError> {
    let root = &resolved.worktree.path;
    let directory = resolved.folder(directory);
    let main = resolved.worktree.git.as_ref().and_then(|git| git.main_worktree.as_ref());
    let venv = python::venv(&directory, root);
    let venv = venv.strip_prefix(root).ok();
    let siblings = main.filter(|main| *main != root).zip(venv).map(|(main, venv)| main.join(venv));
    let request = PythonRequest {
        worktree: resolved.worktree.path.clone(),
        directory,
        state: resolved.worktree.state.clone(),
        env: resolved.install_env(),
        siblings: siblings.into_iter().collect(),
    };
    python::ensure(ctx, &request).await
}

/// Migrates the branch database, waits until every need is met, and then sends `done`.
pub(super) async fn finish(
    ctx: Context,
    resolved: Rc<ResolvedWorktree>,
    plan: Arc<Plan>,
    settled: Option<ReadyDatabase>,
    progress: Progress,
    done: oneshot::Sender<Option<String>>,
) {
    let migrated = match &settled {
        Some(settled) => {
            match branch_database::migrate(
                &ctx,
                &resolved,
                &plan.env,
                &*settled.provider,
                &settled.branch,
                &progress,
            )
            .await
            {
                Ok(migrated) => migrated,
                Err(report) => return fail(&ctx, &progress, report),
            }
        }
        None => None,
    };
    if settled.is_some() {
        progress.open(Need::Database);
    }
    progress.until(&Need::ALL.into()).await;
    let _ = done.send(migrated);
}

fn fail(ctx: &Context, progress: &Progress, report: Report) {
    ctx.events.send(Event::StepFailed { step: Step::Migrate });
    progress.fail(report);
}
