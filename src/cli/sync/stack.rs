//! The running stack after a sync: which of its processes have changed files, and their restart.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::running;
use crate::context::Context;
use crate::control::client::Client;
use crate::control::protocol::Ask;
use crate::error::Report;
use crate::event::Step;
use crate::plan::{Need, Plan};
use crate::prepare::{DoneStep, Refreshed};

/// How long the processes may take to become ready again.
const READY: Duration = Duration::from_mins(2);

/// The stack that ran during a sync.
#[derive(Debug, serde::Serialize)]
pub(super) struct StackAfterSync {
    /// The running processes whose files, packages or database changed.
    affected: Vec<String>,
    /// True if they were restarted.
    restarted: bool,
    /// The command that applies what the sync changed; `None` if nothing is left to do.
    fix: Option<String>,
}

impl StackAfterSync {
    pub(super) fn sentence(&self) -> String {
        let names = self.affected.join(", ");
        match &self.fix {
            Some(fix) => format!("runs with the old state; to apply the new one: {fix}"),
            None if self.restarted => format!("restarted {names}"),
            None => "runs, and nothing changed for its processes".into(),
        }
    }
}

/// Finds the stack of this worktree, and with `restart` restarts its processes that `changed` files or done steps concern, unless the
/// whole stack must be started again. Returns `None` if nothing runs.
pub(super) async fn after_sync(
    ctx: &Context,
    refreshed: &Refreshed,
    changed: &[PathBuf],
    restart: bool,
) -> Result<Option<StackAfterSync>, Report> {
    let found = running::find(ctx).await?;
    if found.record.is_none() {
        return Ok(None);
    }
    let status = found.status().await?;
    let runs =
        |name: &String| status.processes.iter().any(|process| process.name == *name && process.pid.is_some());
    let affected: Vec<String> =
        affected(&refreshed.plan, &refreshed.steps, changed).into_iter().filter(runs).collect();
    // A restarted process gets the values of the stack's start.
    if let Some(changed) = status.changed {
        return Ok(Some(StackAfterSync { affected, restarted: false, fix: Some(changed.fix) }));
    }
    if affected.is_empty() {
        return Ok(Some(StackAfterSync { affected, restarted: false, fix: None }));
    }
    if !restart {
        let fix = format!("devrun restart {}", affected.join(" "));
        return Ok(Some(StackAfterSync { affected, restarted: false, fix: Some(fix) }));
    }
    let ask = Ask::within(affected.clone(), READY);
    match Client::new(found.socket()?).post("/restart", &ask).await {
        Ok(_) => Ok(Some(StackAfterSync { affected, restarted: true, fix: None })),
        Err(report) => Err(running::reason(&found.worktree, report, READY).await),
    }
}

/// Returns the names of the processes of `plan` that a sync concerns: a file in their folder has changed, or a step did work that
/// they need.
fn affected(plan: &Plan, steps: &[DoneStep], changed: &[PathBuf]) -> Vec<String> {
    let worked: BTreeSet<Need> =
        steps.iter().filter(|done| done.worked).map(|done| need_of(done.step)).collect();
    let root = &plan.worktree.path;
    let concerned = plan.processes.iter().filter(|process| {
        let below = |file: &PathBuf| root.join(file).starts_with(&process.directory);
        !worked.is_disjoint(&process.needs) || changed.iter().any(below)
    });
    concerned.map(|process| process.name.clone()).collect()
}

const fn need_of(step: Step) -> Need {
    match step {
        Step::Node => Need::Node,
        Step::Python => Need::Python,
        Step::Database | Step::Migrate => Need::Database,
        Step::Setup => Need::Setup,
    }
}
