//! Brings packages, the files of `setup:` and `env_out`, and the branch database up to date, without starting processes.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use super::databases::ServerClaims;
use super::{DatabaseConditions, PreparationSteps, included_files, preview};
use crate::context::Context;
use crate::error::Report;
use crate::event::{Event, Events, Step};
use crate::plan::Plan;

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DoneStep {
    /// The step.
    pub step: Step,
    /// False if there was nothing to do.
    pub worked: bool,
    /// A few words.
    pub outcome: String,
}

/// The result of [`refresh`].
pub struct Refreshed {
    /// The plan that the next run would have.
    pub plan: Arc<Plan>,
    /// The steps, in the order in which they ended.
    pub steps: Vec<DoneStep>,
}

/// Runs the steps of [`super::start`] for the worktree of the current folder, and waits for their end. Leases no other ports,
/// and works beside a running stack; `beside_stack` is true if there is one.
pub async fn refresh(ctx: &Context, beside_stack: bool) -> Result<Refreshed, Report> {
    let done = Arc::<Mutex<Vec<DoneStep>>>::default();
    let ctx = &Context { events: recording(&ctx.events, &done), ..ctx.clone() };
    let resolved = preview::resolve_without_starting(ctx).await?;
    Box::pin(included_files::copy_once(ctx, &resolved.worktree)).await;
    // Dropped after the steps, which use the server.
    let mut claims = ServerClaims::default();
    let mut entrust = claims.receiver();
    let conditions = DatabaseConditions { allow_parent: false, beside_stack };
    let begun = Box::pin(super::begin(ctx, Rc::new(resolved), conditions, &mut entrust)).await?;
    let PreparationSteps { plan, mut gates, mut prepared, tasks, .. } = begun;
    loop {
        tokio::select! {
            biased;
            Some(gate) = gates.recv() => drop(gate?),
            _ = &mut prepared => break,
        }
    }
    drop(tasks);
    let steps = std::mem::take(&mut *done.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Refreshed { plan, steps })
}

/// Returns `events`, with the results of steps also added to `done`.
fn recording(events: &Events, done: &Arc<Mutex<Vec<DoneStep>>>) -> Events {
    let (events, done) = (events.clone(), done.clone());
    Events::new(move |event| {
        if let Event::StepDone { step, outcome, worked, .. } = &event {
            let result = DoneStep { step: *step, worked: *worked, outcome: outcome.clone() };
            done.lock().unwrap_or_else(PoisonError::into_inner).push(result);
        }
        events.send(event);
    })
}
