//! The one place where worktree, configuration, ports, dependencies and database meet: makes the plan and runs the steps.
//!
//! Decides the order of work and nothing about processes: it ends where the supervisor begins.

mod branch;
mod databases;
mod ground;
mod neon;
mod preview;
mod secrets;
mod steps;
mod tools;

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

pub use self::branch::{masked, stop_abandoned_servers, stop_unused_server};
pub use self::databases::{Databases, client_program, migrate};
pub use self::ground::{Ground, locate, place};
pub use self::preview::{Preview, look, preview};
use crate::config::model::Notice;
use crate::context::Context;
use crate::error::Report;
use crate::plan::{Need, Plan};
use crate::text::Mask;
use crate::worktree::Worktree;

/// What the user chose for this run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Fail instead of moving to other ports.
    pub strict_ports: bool,
    /// Work in the default, a protected or the parent branch of a provider, where the configuration names it literally.
    pub allow_parent: bool,
}

/// Takes something that must be settled after the run, however it ends: the folder of a database cluster, and the claim on
/// its server.
pub type Entrust<'a> = &'a mut dyn FnMut(PathBuf, OwnedFd) -> Result<(), Report>;

/// Resolves when every step is done, with how the schema came to be. An error means that a step failed.
pub type Prepared = oneshot::Receiver<Option<String>>;

/// Preparation under way, far enough that processes may start.
pub struct Work {
    /// What to run.
    pub plan: Arc<Plan>,
    /// What is done already, or was never to be done.
    pub open: Vec<Need>,
    /// The rest, as it gets done; an error ends the run.
    pub gates: UnboundedReceiver<Result<Need, Report>>,
    /// The end of it all.
    pub prepared: Prepared,
    /// Facts about what was recognised that a person should know once everything is ready.
    pub notices: Vec<Notice>,
    /// The steps; they are given up when this is dropped.
    pub tasks: Tasks,
}

/// Steps under way on this thread; dropping ends them and the commands they run.
#[derive(Debug, Default)]
pub struct Tasks {
    handles: Vec<tokio::task::AbortHandle>,
}

impl Tasks {
    fn spawn(&mut self, step: impl Future<Output = ()> + 'static) {
        self.handles.push(tokio::task::spawn_local(step).abort_handle());
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.handles.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

/// Who tells and who asks which needs are met. Cheap to clone.
#[derive(Clone)]
struct Progress {
    mask: Mask,
    gates: UnboundedSender<Result<Need, Report>>,
    met: Rc<watch::Sender<BTreeSet<Need>>>,
}

impl Progress {
    fn open(&self, need: Need) {
        self.met.send_modify(|met| {
            met.insert(need);
        });
        // Nobody listens when the run is over.
        let _ = self.gates.send(Ok(need));
    }

    fn fail(&self, report: Report) {
        let _ = self.gates.send(Err(self.mask.report(report)));
    }

    /// Waits until every one of `needs` is met.
    async fn until(&self, needs: &BTreeSet<Need>) {
        let mut met = self.met.subscribe();
        // The sender lives as long as we do, so this cannot fail.
        let _ = met.wait_for(|met| needs.is_subset(met)).await;
    }
}

/// Prepares `worktree` for a run. Returns as soon as the environment is complete, that is when the branch database exists;
/// the other steps go on.
pub async fn start(
    ctx: &Context,
    worktree: Worktree,
    options: &Options,
    entrust: Entrust<'_>,
) -> Result<Work, Report> {
    let ground = Rc::new(ground::lease(ctx, worktree, options).await?);
    let mask = ground.mask(ctx);
    let ctx = &Context { events: mask.events(&ctx.events), ..ctx.clone() };
    let (sender, mut gates) = unbounded_channel();
    let configured = ground.config.configured();
    let mut open: Vec<Need> = Need::ALL.into_iter().filter(|need| !configured.contains(need)).collect();
    let progress =
        Progress { mask, gates: sender, met: Rc::new(watch::Sender::new(open.iter().copied().collect())) };
    let mut tasks = Tasks::default();
    for need in [Need::Node, Need::Python] {
        if configured.contains(&need) {
            tasks.spawn(steps::install(ctx.clone(), ground.clone(), need, progress.clone()));
        }
    }
    let ensuring = branch::ensure(ctx, ground.clone(), progress.clone(), options.allow_parent, entrust);
    tokio::pin!(ensuring);
    let branch = loop {
        tokio::select! {
            biased;
            branch = &mut ensuring => break branch?,
            Some(gate) = gates.recv() => open.push(gate?),
        }
    };
    let plan = Arc::new(ground.plan(ctx, branch.as_ref())?);
    let notices = ground.config.provenance.notices.clone();
    let (done, prepared) = oneshot::channel();
    tasks.spawn(steps::finish(ctx.clone(), ground, plan.clone(), branch, progress, done));
    Ok(Work { plan, open, gates, prepared, notices, tasks })
}
