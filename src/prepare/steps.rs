//! The steps that go on while the first processes start: packages, migrations.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::branch::{self, Settled};
use super::{Ground, Progress, tools};
use crate::context::Context;
use crate::deps::node::{self, NodeRequest};
use crate::deps::python::{self, PythonRequest};
use crate::deps::{DepsError, Done};
use crate::error::Report;
use crate::event::{Event, Step};
use crate::plan::{Need, Plan};

/// Installs the packages that `need` stands for, and opens its gate.
pub(super) async fn install(ctx: Context, ground: Rc<Ground>, need: Need, progress: Progress) {
    let step = if need == Need::Node { Step::Node } else { Step::Python };
    let start = Instant::now();
    let installed = match need {
        Need::Node => install_node(&ctx, &ground).await,
        _ => install_python(&ctx, &ground).await,
    };
    let settled = installed.map_err(Report::from).and_then(|done| {
        tools::settle(&ground.worktree.state, step, done.fetched.as_deref())?;
        Ok(done)
    });
    match settled {
        Ok(Done { worked, outcome, .. }) => {
            ctx.events.send(Event::StepDone { step, outcome, worked, took: start.elapsed() });
            progress.open(need);
        }
        Err(report) => {
            ctx.events.send(Event::StepFailed { step });
            progress.fail(report);
        }
    }
}

async fn install_node(ctx: &Context, ground: &Ground) -> Result<Done, DepsError> {
    let directory = ground.config.dependencies.node.clone().unwrap_or_default();
    let request = NodeRequest {
        worktree: ground.worktree.path.clone(),
        directory: ground.folder(&directory),
        state: ground.worktree.state.clone(),
        env: ground.install_env(ctx),
    };
    node::ensure(ctx, &request).await
}

async fn install_python(ctx: &Context, ground: &Ground) -> Result<Done, DepsError> {
    let directory = ground.config.dependencies.python.clone().unwrap_or_default();
    let root = &ground.worktree.path;
    let main = ground.worktree.git.as_ref().and_then(|git| git.main_worktree.as_ref());
    let venv = ground.venv().and_then(|venv| Some(venv.strip_prefix(root).ok()?.to_path_buf()));
    let siblings = main.filter(|main| *main != root).zip(venv).map(|(main, venv)| main.join(venv));
    let request = PythonRequest {
        worktree: ground.worktree.path.clone(),
        directory: ground.folder(&directory),
        state: ground.worktree.state.clone(),
        env: ground.install_env(ctx),
        siblings: siblings.into_iter().collect(),
    };
    python::ensure(ctx, &request).await
}

/// Brings the branch database's schema in step, waits for everything else, and says that all is done.
pub(super) async fn finish(
    ctx: Context,
    ground: Rc<Ground>,
    plan: Arc<Plan>,
    settled: Option<Settled>,
    progress: Progress,
    done: oneshot::Sender<Option<String>>,
) {
    let migrated = match &settled {
        Some(settled) => match branch::migrate(&ctx, &ground, &plan.env, &settled.branch, &progress).await {
            Ok(migrated) => migrated,
            Err(report) => return fail(&ctx, &progress, report),
        },
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
