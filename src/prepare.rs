//! Prepares a run: combines worktree, configuration, ports, dependencies and database into a plan, and runs the steps.
//!
//! Decides the order of the steps. Starts no process of the run; that is the supervisor's task.

mod address_lines;
mod branch_database;
mod command_env;
mod compose;
mod database_names;
mod database_record;
mod databases;
mod env_out;
mod extension_advice;
pub mod files;
mod former_database;
mod given_databases;
mod given_variables;
mod host_label;
mod included_files;
mod list_heads;
mod login_shell;
mod migrated_files;
mod preview;
mod provider_variables;
mod ready_database;
mod refresh;
mod resolved_worktree;
mod run_inputs;
mod schema_drift;
mod secrets;
mod seed;
mod service_plan;
mod service_programs;
mod services;
mod setup;
mod steps;
mod tools;

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

pub use self::address_lines::AddressLines;
pub use self::branch_database::{stop_abandoned_servers, unreachable_database};
pub use self::database_record::recorded_database;
pub use self::databases::{
    Databases, migrate, restart_killed_server, start_server, stop_server, upgrade_server,
};
pub use self::env_out::{WrittenFiles, env_out_variables};
pub use self::files::Files;
pub use self::included_files::copy_included_files;
pub use self::list_heads::{MigrationHeads, migration_heads};
pub use self::preview::{Preview, preview, preview_without_lease, resolve_without_starting};
use self::ready_database::ReadyDatabase;
pub use self::refresh::{DoneStep, Refreshed, refresh};
pub use self::resolved_worktree::{
    ResolvedWorktree, configuration, env_file_names, locate, move_home, recognition_paths, started_by_hand,
    worktree_path,
};
pub use self::run_inputs::RunInputs;
pub use self::schema_drift::schema_drift;
pub use self::services::missing_services;
pub use self::steps::install_packages;
use crate::context::Context;
use crate::database::Entrust;
use crate::database::sessions::ServerSessions;
use crate::error::{Code, Fault, RERUN, Report};
use crate::os::blocking::{self, Stuck};
use crate::plan::{Need, Notice, Plan};
use crate::ports::Reserved;
use crate::text::Mask;
use crate::worktree::Worktree;

/// The user's options for this run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Fail if a port is taken, instead of moving to other ports.
    pub strict_ports: bool,
    /// Allow work in a provider's default, protected or parent branch, if the configuration names that branch
    /// literally.
    pub allow_parent: bool,
}

/// The conditions under which the branch database is used.
#[derive(Clone, Copy, Debug)]
struct DatabaseConditions {
    /// As in [`Options`].
    allow_parent: bool,
    /// True if a stack of this worktree runs, so that its database keeps the name that it has.
    beside_stack: bool,
}

/// Resolves when every step is done, with a few words on the migrations. An error means that a step failed.
pub type Prepared = oneshot::Receiver<Option<String>>;

/// A running preparation, far enough that processes may start.
pub struct Work {
    /// The plan for the supervisor.
    pub plan: Arc<Plan>,
    /// The ports that no other program can take before the processes start.
    pub reserved: Reserved,
    /// Needs that are met already, or that the configuration does not have.
    pub open: Vec<Need>,
    /// Receives each of the other needs when it is met; an error ends the run.
    pub gates: UnboundedReceiver<Result<Need, Report>>,
    /// True if the configuration asks for a daily prune.
    pub prunes_daily: bool,
    /// The files that the plan is made from.
    pub inputs: RunInputs,
    /// The env files that the programs may read themselves.
    pub address_lines: AddressLines,
    /// The sessions of the branch database's server, if it is a Postgres on this machine.
    pub sessions: Option<ServerSessions>,
    /// Resolves when all steps are done.
    pub prepared: Prepared,
    /// The env files that are read in place of missing ones. The user has seen them as notes.
    pub env_files: Vec<Notice>,
    /// Facts about the recognised parts, to show once everything is ready.
    pub notices: Vec<Notice>,
    /// The steps. Dropping this aborts them.
    pub tasks: Tasks,
}

/// Steps that run on this thread. Dropping this aborts them and the commands they run.
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

/// Records which needs are met, and lets steps wait for them. Cheap to clone.
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
        // The receiver is gone when the run is over.
        let _ = self.gates.send(Ok(need));
    }

    fn fail(&self, report: Report) {
        let _ = self.gates.send(Err(self.mask.report(report)));
    }

    /// Waits until every one of `needs` is met.
    async fn until(&self, needs: &BTreeSet<Need>) {
        let mut met = self.met.subscribe();
        // `self` keeps the sender alive, so this cannot fail.
        let _ = met.wait_for(|met| needs.is_subset(met)).await;
    }
}

/// Prepares `worktree` for a run. Returns as soon as the environment is complete, that is, when the branch database
/// exists and the files of `env_out` are written; the other steps continue in [`Work::tasks`].
pub async fn start(
    ctx: &Context,
    worktree: Worktree,
    options: &Options,
    entrust: Entrust<'_>,
) -> Result<Work, Report> {
    Box::pin(included_files::copy_once(ctx, &worktree)).await;
    let (resolved, reserved) = resolved_worktree::lease(ctx, worktree, options).await?;
    Box::pin(services::prepare(ctx, &resolved)).await.map_err(|report| resolved.mask().report(report))?;
    let inputs = {
        let (ctx, root, resolved) = (ctx.clone(), resolved.worktree.path.clone(), resolved.clone());
        let read = blocking::run(resolved_worktree::READING, move || RunInputs::of(&ctx, &resolved)).await;
        read.map_err(|stuck| unread(&root, &stuck))?
    };
    let prunes_daily = resolved.config.prunes_daily;
    let address_lines = AddressLines::of(&resolved);
    let conditions = DatabaseConditions { allow_parent: options.allow_parent, beside_stack: false };
    let begun = begin(ctx, Rc::new(resolved), conditions, entrust).await?;
    let PreparationSteps { plan, sessions, open, gates, prepared, env_files, notices, tasks } = begun;
    Ok(Work {
        plan,
        reserved,
        open,
        gates,
        prunes_daily,
        inputs,
        address_lines,
        sessions,
        prepared,
        env_files,
        notices,
        tasks,
    })
}

/// Returns the error for a disk that did not answer while the configuration of the worktree at `root` was read.
fn unread(root: &Path, stuck: &Stuck) -> Report {
    Report::new(Code::ConfigInvalid, format!("the configuration cannot be read: {stuck}"))
        .with_fault(Fault::Environment)
        .with_fix(format!("{}, then {RERUN}", stuck.fix(root)))
}

/// The steps of a preparation, which run until this value is dropped. The fields are as in [`Work`].
struct PreparationSteps {
    plan: Arc<Plan>,
    sessions: Option<ServerSessions>,
    open: Vec<Need>,
    gates: UnboundedReceiver<Result<Need, Report>>,
    prepared: Prepared,
    env_files: Vec<Notice>,
    notices: Vec<Notice>,
    tasks: Tasks,
}

/// Starts all steps for `resolved`. Returns as soon as the branch database exists and the files of `env_out` are written.
async fn begin(
    ctx: &Context,
    resolved: Rc<ResolvedWorktree>,
    conditions: DatabaseConditions,
    entrust: Entrust<'_>,
) -> Result<PreparationSteps, Report> {
    let mask = resolved.mask();
    let ctx = &resolved.discreet(ctx);
    let (sender, mut gates) = unbounded_channel();
    let configured = resolved.config.configured();
    let mut open: Vec<Need> = Need::ALL.into_iter().filter(|need| !configured.contains(need)).collect();
    let progress =
        Progress { mask, gates: sender, met: Rc::new(watch::Sender::new(open.iter().copied().collect())) };
    let mut tasks = Tasks::default();
    for need in [Need::Node, Need::Python] {
        if configured.contains(&need) {
            tasks.spawn(steps::install(ctx.clone(), resolved.clone(), need, progress.clone()));
        }
    }
    let ensuring = branch_database::ensure(ctx, resolved.clone(), progress.clone(), conditions, entrust);
    tokio::pin!(ensuring);
    let branch = loop {
        tokio::select! {
            biased;
            branch = &mut ensuring => break branch.map_err(|report| progress.mask.report(report))?,
            Some(gate) = gates.recv() => open.push(gate?),
        }
    };
    let plan = Arc::new(resolved.plan(ctx, branch.as_ref())?);
    let address = branch.as_ref().map(ReadyDatabase::address);
    let written = Box::pin(env_out::write(ctx, &resolved, &plan, address)).await;
    let written = written.map_err(|report| progress.mask.report(report))?;
    let (env_files, mut notices) = (resolved.env_file_notices(), resolved.notices(&plan));
    notices.extend(written);
    if configured.contains(&Need::Setup) {
        tasks.spawn(setup::run(ctx.clone(), resolved.clone(), plan.clone(), progress.clone()));
    }
    let sessions = branch.as_ref().and_then(|ready| ServerSessions::of(&ready.branch));
    let (done, prepared) = oneshot::channel();
    tasks.spawn(steps::finish(ctx.clone(), resolved, plan.clone(), branch, progress, done));
    Ok(PreparationSteps { plan, sessions, open, gates, prepared, env_files, notices, tasks })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_disk_that_does_not_answer_is_not_blamed_on_the_configuration() {
        let report = unread(Path::new("/w/a"), &Stuck::TimedOut(Duration::from_secs(30)));
        assert_eq!(report.fault, Some(Fault::Environment));
        let fix = "check the disk or the network mount that holds /w/a, then run `devrun up -d`";
        assert_eq!(report.fix.as_deref(), Some(fix));
    }
}
