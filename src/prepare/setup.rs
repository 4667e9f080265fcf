//! Runs the steps of `setup:` that have no inputs, or whose inputs changed since they last succeeded.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Progress, ResolvedWorktree, command_env};
use crate::config::guessed_needs;
use crate::config::model::SetupStep;
use crate::context::missing_settings::{self, ProgramPlace};
use crate::context::{Context, code_place};
use crate::deps::install_inputs::{InstallInputs, Snapshot};
use crate::deps::install_record::RecordFiles;
use crate::deps::{DepsError, up_to_date};
use crate::error::{Code, Fault, RERUN, Report};
use crate::event::{Event, Step};
use crate::os::cmd::{Cmd, CmdError};
use crate::os::{blocking, glob};
use crate::plan::{Need, Plan};
use crate::text::{diagnosis, traceback};

/// The time limit of one step.
const LIMIT: Duration = Duration::from_mins(15);
/// The time limit for finding the inputs of a step, and for reading them.
const READING: Duration = Duration::from_secs(30);
/// The maximum number of inputs of a step.
const MOST: usize = 20_000;
/// How many of the last lines of a failed step are reported.
const TAIL: usize = 30;

/// Runs the steps one after the other, and marks [`Need::Setup`] as met. The first failure ends the run.
pub(super) async fn run(ctx: Context, resolved: Rc<ResolvedWorktree>, plan: Arc<Plan>, progress: Progress) {
    let start = Instant::now();
    let mut worked = Vec::new();
    for step in &resolved.config.setup {
        match update(&ctx, &resolved, &plan, &progress, step).await {
            Ok(true) => worked.push(step.name.as_str()),
            Ok(false) => {}
            Err(report) => {
                ctx.events.send(Event::StepFailed { step: Step::Setup });
                return progress.fail(report);
            }
        }
    }
    let outcome = if worked.is_empty() { "unchanged".into() } else { worked.join(", ") };
    let (worked, took) = (!worked.is_empty(), start.elapsed());
    ctx.events.send(Event::StepDone { step: Step::Setup, outcome, worked, took });
    progress.open(Need::Setup);
}

/// Runs `step`, unless it has `inputs` and they have not changed since it succeeded. Returns true if it ran.
async fn update(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    plan: &Plan,
    progress: &Progress,
    step: &SetupStep,
) -> Result<bool, Report> {
    progress.until(&needs_of(resolved, step)).await;
    let directory = resolved.folder(&step.directory);
    let record = RecordFiles::new(&resolved.worktree.state, Step::Setup, Path::new(&step.name));
    let _lock = record.lock(ctx, Step::Setup).await?;
    let inputs = gather(resolved, step).await?;
    let Some(before) = stale(step, &record, &directory, inputs).await? else { return Ok(false) };
    record.begin(&directory, true)?;
    let vars = command_env::of(ctx, resolved, &plan.env, &directory, &step.run)?;
    let doing = format!("{}: {}", step.name, step.run);
    ctx.events.send(Event::StepStarted { step: Step::Setup, doing });
    let mask = progress.mask.clone();
    let mut tail = VecDeque::new();
    let mut on_line = |line: &str| {
        let detail = mask.apply(line);
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(detail.clone());
        ctx.events.send(Event::StepProgress { step: Step::Setup, detail });
    };
    let command = Cmd::of(&step.run).only_env(&vars).directory(&directory).limit(LIMIT);
    if let Err(error) = command.watched(&mut on_line).await {
        let tail = Vec::from(tail).join("\n");
        let set = missing_settings::set_names(vars.keys());
        let place = ProgramPlace { directory: &directory, root: &resolved.worktree.path, set: &set };
        return Err(failed(step, &place, &error, &tail));
    }
    // A file that changed while the step ran makes the step run again.
    record.finish(&directory, true, before, &[], None)?;
    Ok(true)
}

/// Returns the preparation that `step` waits for. By default that is the packages that its command uses, because most steps
/// generate code and need no database.
fn needs_of(resolved: &ResolvedWorktree, step: &SetupStep) -> BTreeSet<Need> {
    if let Some((needs, _)) = &step.needs {
        return needs.clone();
    }
    let mut needs = guessed_needs::infer(&step.run, &resolved.config.configured(), false);
    needs.retain(|need| matches!(need, Need::Node | Need::Python));
    needs
}

/// Finds the files that match the step's globs. The packages that it waits for are inputs too, because a new install may delete
/// what the step generated.
async fn gather(resolved: &ResolvedWorktree, step: &SetupStep) -> Result<InstallInputs, Report> {
    let directory = resolved.folder(&step.directory);
    let mut settings = vec![step.run.to_string()];
    let dependencies = &resolved.config.dependencies;
    for need in needs_of(resolved, step) {
        let (install, folders) = match need {
            Need::Node => (Step::Node, &dependencies.node),
            Need::Python => (Step::Python, &dependencies.python),
            Need::Database | Need::Setup => continue,
        };
        for folder in folders {
            settings.extend(RecordFiles::new(&resolved.worktree.state, install, folder).digest()?);
        }
    }
    let (root, globs) = (directory.clone(), step.inputs.clone());
    let files = off_thread(step, &directory, move || {
        let mut found = BTreeSet::new();
        for pattern in &globs {
            glob::files(&root, pattern, MOST, &mut found);
        }
        found
    });
    let files = files.await?;
    if files.len() > MOST {
        let message = format!("setup.{}: `inputs` match more than {MOST} files", step.name);
        return Err(Report::new(Code::ConfigInvalid, message).with_fix("write narrower patterns"));
    }
    Ok(InstallInputs { root: directory, files, settings, ..InstallInputs::default() })
}

/// Returns the state of `inputs` before the step; `None` if the step has inputs, and they have not changed since it succeeded.
async fn stale(
    step: &SetupStep,
    record: &RecordFiles,
    directory: &Path,
    inputs: InstallInputs,
) -> Result<Option<Snapshot>, Report> {
    let (record, place, has_inputs) = (record.clone(), directory.to_path_buf(), !step.inputs.is_empty());
    let read = move || {
        let is_fresh = has_inputs && up_to_date::last_install(&record, &place, &inputs)?.is_some();
        Ok((!is_fresh).then(|| Snapshot::take(&inputs, None).0))
    };
    off_thread(step, directory, read).await?.map_err(|error: DepsError| error.into())
}

/// Runs `work`, which reads inputs of `step` below `place`, on another thread.
async fn off_thread<T: Send + 'static>(
    step: &SetupStep,
    place: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Report> {
    blocking::run(READING, work).await.map_err(|stuck| {
        Report::new(Code::SetupFailed, format!("the inputs of setup.{} cannot be read: {stuck}", step.name))
            .with_fault(Fault::Environment)
            .with_fix(format!("{}, then {RERUN}", stuck.fix(place)))
    })
}

fn failed(step: &SetupStep, place: &ProgramPlace<'_>, error: &CmdError, tail: &str) -> Report {
    let how = match error {
        CmdError::Failed { output, .. } => format!("`{}` ended with {}", step.run, output.ending),
        other => other.to_string(),
    };
    let report = Report::new(Code::SetupFailed, format!("setup.{}: {how}", step.name));
    let report = if tail.is_empty() { report } else { report.with_cause(traceback::condense(tail)) };
    if error.is_missing_program() {
        let fix = format!("install the program, or correct `setup.{}.run`, then {RERUN}", step.name);
        return report.with_fault(Fault::Environment).with_fix(fix);
    }
    let found = diagnosis::read(tail.lines(), place.root);
    let settings = found.as_ref().map(|found| found.settings.clone()).unwrap_or_default();
    let settings = missing_settings::with_examples(settings, place);
    let of_settings = missing_settings::fault(&settings);
    let fault = of_settings.or(found.as_ref().map(|found| found.fault)).unwrap_or(Fault::Code);
    if of_settings == Some(Fault::Configuration) {
        let fix = format!("{}, then {RERUN}", missing_settings::fix(&settings));
        return report.with_fault(Fault::Configuration).with_fix(fix);
    }
    let mut report = report.with_fault(fault).with_fix(format!("correct the error, then {RERUN}"));
    let correct = found.and_then(|found| found.place).filter(|_| fault == Fault::Code);
    report.correct = correct.map(|correct| code_place::whole(&correct, place.directory, place.root));
    report
}
