//! The Python environment of a worktree: a real `.venv` of its own, by uv, or by poetry or pip where the project or the
//! user's settings need them.
//!
//! Refuses a linked `.venv` and makes one anew that was moved or copied here: its scripts run another checkout's code.

mod interpreter;
mod venv;
mod way;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::context::Context;
use crate::deps::fingerprint::{Inputs, Snapshot};
use crate::deps::stamp::Record;
use crate::deps::{DepsError, Done, Env, bytecode, find, levels, off_thread, refuse_odd, tool, typed};
use crate::error::Explain;
use crate::event::{Event, Step};
use crate::os::cmd::{Cmd, CmdError};
use crate::os::fs::FsError;

use self::venv::{Action, Venv};
use self::way::{Choice, Way};

/// How long an install may take.
const LIMIT: Duration = Duration::from_mins(15);
/// How long uv may think about whether the lock file still fits; it asks the network only when it seems not to.
const CHECK: Duration = Duration::from_secs(20);

/// Which environment, where.
#[derive(Clone, Debug)]
pub struct PythonRequest {
    /// Top level of the worktree: nothing above it is looked at.
    pub worktree: PathBuf,
    /// Absolute folder of the Python project, inside the worktree.
    pub directory: PathBuf,
    /// The worktree's state folder.
    pub state: PathBuf,
    /// The environment to run the tools with, complete.
    pub env: Env,
    /// The environments of the repository's other worktrees at the same place: compiled bytecode is shared with one
    /// that has the very same packages.
    pub siblings: Vec<PathBuf>,
}

/// What was found out without running anything.
struct Situation {
    choice: Choice,
    inputs: Inputs,
    /// uv, where the user has it and the project can be installed with it.
    uv: Option<PathBuf>,
    env: Env,
    venv: PathBuf,
}

/// Makes sure that the environment of `request` is there and complete. Costs milliseconds and runs nothing when it is.
pub async fn ensure(ctx: &Context, request: &PythonRequest) -> Result<Done, DepsError> {
    let (_, record, done) = survey(request).await?;
    if let Some(done) = done {
        return Ok(done);
    }
    let _lock = record.lock(ctx, Step::Python).await?;
    // The holder of the lock may have made it.
    let (situation, record, done) = survey(request).await?;
    match done {
        Some(done) => Ok(done),
        None => install(ctx, request, &situation, &record).await,
    }
}

/// Looks at the files of `request` off this thread, and whether the last install still fits them.
async fn survey(request: &PythonRequest) -> Result<(Situation, Record, Option<Done>), DepsError> {
    let (folder, request) = (request.directory.clone(), request.clone());
    off_thread(&folder, move || {
        let situation = look(&request)?;
        let own = situation.inputs.files.iter().map(|file| request.worktree.join(file));
        // uv looks for a workspace in every folder above, too.
        let above = levels(&request.directory, &request.worktree)
            .flat_map(|level| ["pyproject.toml", "uv.toml"].map(|name| level.join(name)));
        refuse_odd(own.chain(above))?;
        let relative = request.directory.strip_prefix(&request.worktree).unwrap_or(&request.directory);
        let record = Record::new(&request.state, Step::Python, relative);
        let done = fresh(&record, &situation)?;
        Ok((situation, record, done))
    })
    .await?
}

/// Where the environment of the project in `directory` is or will be: beside it, or at the root of its uv workspace,
/// never outside `worktree`. Looks at files only.
pub fn venv(directory: &Path, worktree: &Path) -> PathBuf {
    let home = way::decide(directory, worktree).map(|choice| choice.home);
    home.as_deref().unwrap_or(directory).join(".venv")
}

fn look(request: &PythonRequest) -> Result<Situation, DepsError> {
    let (directory, worktree) = (&request.directory, &request.worktree);
    let Some(choice) = way::decide(directory, worktree) else {
        let wanted = "uv.lock, requirements.txt or pyproject.toml";
        return Err(DepsError::NoManifest { directory: directory.clone(), wanted });
    };
    let env = way::environment(&request.env);
    let uv = find(&env, "uv").filter(|_| choice.way != Way::Poetry);
    let tool = match choice.way {
        Way::Poetry => find(&env, "poetry"),
        Way::Requirements(_) => uv.clone().or_else(|| find(&env, "python3")),
        Way::UvLock | Way::Pyproject => uv.clone(),
    };
    let inputs = Inputs {
        root: worktree.clone(),
        files: way::files(&choice, directory, worktree),
        tools: tool.into_iter().collect(),
        settings: vec![format!("{:?} {}", choice.way, uv.is_none() && way::pip_has_an_index(&env))],
    };
    let venv = choice.home.join(".venv");
    Ok(Situation { choice, inputs, uv, env, venv })
}

fn fresh(record: &Record, situation: &Situation) -> Result<Option<Done>, DepsError> {
    match venv::inspect(&situation.venv)? {
        Venv::Whole => record.fresh(&situation.venv, &situation.inputs),
        _ => Ok(None),
    }
}

async fn install(
    ctx: &Context,
    request: &PythonRequest,
    situation: &Situation,
    record: &Record,
) -> Result<Done, DepsError> {
    let Situation { choice, inputs, env, venv, .. } = situation;
    let known = record.read()?.filter(|stamp| stamp.target == venv.to_string_lossy());
    let action = venv::decide(&venv::inspect(venv)?, known.as_ref(), venv)?;
    let ours = !matches!(action, Action::Update { .. }) || known.is_some_and(|stamp| stamp.ours);
    // The tool first: a missing one must not cost the user an environment that works.
    let (tool, fetched) = tool(ctx, situation).await?;
    let mut run = Run { ctx, env, directory: &request.directory, packages: None };
    let (before, _) = Snapshot::take(inputs, None);
    record.begin(venv, ours)?;
    let distrust = action == Action::Update { distrust: true };
    if let Action::Remake(why) = &action {
        ctx.events.note(format!("{} is made anew: {why}", venv.display()));
        std::fs::remove_dir_all(venv).map_err(|source| {
            DepsError::from(FsError::Io { action: "remove", path: venv.clone(), source })
        })?;
    }
    let make = !matches!(action, Action::Update { .. });
    let list = match &choice.way {
        Way::Requirements(list) => list.clone(),
        _ => request.directory.join("pyproject.toml"),
    };
    let name = match tool {
        Tool::Poetry(poetry) => run.poetry(&poetry).await?,
        Tool::Pip => run.pip_install(venv, make, &list, distrust).await?,
        Tool::Uv(uv) if choice.way == Way::UvLock => run.uv_sync(&uv, &choice.home, distrust).await?,
        Tool::Uv(uv) => run.uv_install(&uv, venv, make, &list, distrust).await?,
    };
    let outcome = run.outcome(name);
    bytecode::adopt(venv, &request.siblings).await;
    let (after, _) = Snapshot::take(inputs, None);
    record.finish(
        venv,
        ours,
        before.with_new_files(&after),
        &[venv.join("pyvenv.cfg")],
        fetched.as_deref(),
    )?;
    Ok(Done { worked: true, outcome, fetched })
}

/// What installs.
enum Tool {
    Uv(PathBuf),
    Pip,
    Poetry(PathBuf),
}

/// The tool to use, and its folder where it had to be fetched.
async fn tool(ctx: &Context, situation: &Situation) -> Result<(Tool, Option<PathBuf>), DepsError> {
    let why = match (&situation.choice.way, &situation.uv) {
        (Way::Poetry, _) => return Ok((Tool::Poetry(poetry(&situation.env)?), None)),
        (_, Some(uv)) => return Ok((Tool::Uv(uv.clone()), None)),
        (Way::Requirements(_), None) => return Ok((uv_or_pip(ctx, &situation.env).await, None)),
        (Way::UvLock, None) => "the project has a uv.lock and uv is not installed",
        (Way::Pyproject, None) => "the project has nothing but pyproject.toml and uv is not installed",
    };
    let uv = tool::fetch_uv(ctx, why).await?;
    let folder = uv.parent().map(Into::into);
    Ok((Tool::Uv(uv), folder))
}

/// For a requirements file: uv, fetched if need be, because pip takes tens of seconds for what uv links in one; pip
/// where its settings name an index, which uv does not read and must not replace by the public one.
async fn uv_or_pip(ctx: &Context, env: &Env) -> Tool {
    if way::pip_has_an_index(env) {
        return Tool::Pip;
    }
    match tool::fetch_uv(ctx, "uv is not installed, and pip is slow").await {
        Ok(uv) => Tool::Uv(uv),
        Err(error) => {
            let why =
                error.why().and_then(|why| why.lines().next().map(Into::into)).unwrap_or(error.to_string());
            ctx.events.note(format!("installing with pip: {why}"));
            Tool::Pip
        }
    }
}

fn poetry(env: &Env) -> Result<PathBuf, DepsError> {
    find(env, "poetry").ok_or_else(|| DepsError::ToolMissing {
        tool: "poetry".into(),
        why: "the project has a poetry.lock".into(),
        fix: "install poetry (https://python-poetry.org/docs/#installation), then run devrun again".into(),
    })
}

/// The commands of one install.
struct Run<'a> {
    ctx: &'a Context,
    env: &'a Env,
    directory: &'a Path,
    packages: Option<usize>,
}

impl Run<'_> {
    async fn uv_sync(&mut self, uv: &Path, home: &Path, distrust: bool) -> Result<&'static str, DepsError> {
        let again = distrust.then_some("--reinstall");
        self.go("uv sync", &Cmd::new(uv).args(["sync", "--frozen", "--no-progress"]).args(again)).await?;
        let check = Cmd::new(uv).args(["lock", "--check"]).limit(CHECK);
        let checked = check.only_env(self.env).directory(self.directory).ok().await;
        if checked.is_err_and(|error| error.tail(20).is_some_and(|said| said.contains("needs to be updated")))
        {
            // Only said: with a mirror of the package index uv says so of every lock file.
            let lock = home.join("uv.lock");
            let shown = find(self.env, "uv").map_or_else(|| uv.display().to_string(), |_| "uv".into());
            let run = typed(self.directory, &format!("{shown} lock"));
            self.ctx.events.warn(format!("{} does not match pyproject.toml: {run}", lock.display()));
        }
        Ok("uv")
    }

    async fn uv_install(
        &mut self,
        uv: &Path,
        venv: &Path,
        make: bool,
        list: &Path,
        distrust: bool,
    ) -> Result<&'static str, DepsError> {
        if make {
            let undecided = !self.directory.join("pyproject.toml").exists()
                && !self.directory.ancestors().any(|level| level.join(".python-version").exists());
            let at_least = if undecided { &["--python", ">=3.11"][..] } else { &[] };
            self.go("uv venv", &Cmd::new(uv).args(["venv", "--no-progress"]).args(at_least).arg(venv))
                .await?;
        }
        let install =
            Cmd::new(uv).args(["pip", "install", "--no-progress", "--python"]).arg(venv.join("bin/python"));
        self.go("uv pip install", &install.args(distrust.then_some("--reinstall")).arg("-r").arg(list))
            .await?;
        Ok("uv")
    }

    async fn pip_install(
        &mut self,
        venv: &Path,
        make: bool,
        list: &Path,
        distrust: bool,
    ) -> Result<&'static str, DepsError> {
        if make {
            let python = interpreter::choose(self.ctx, self.env, self.directory).await?;
            let bare = Cmd::new(python).args(["-m", "venv"]).arg(venv);
            self.go("python -m venv", &bare).await.map_err(interpreter::explain)?;
        }
        let install =
            Cmd::new(venv.join("bin/python")).args(["-m", "pip", "install", "--progress-bar", "off"]);
        self.go("pip install", &install.args(distrust.then_some("--force-reinstall")).arg("-r").arg(list))
            .await?;
        Ok("pip")
    }

    async fn poetry(&mut self, poetry: &Path) -> Result<&'static str, DepsError> {
        self.go("poetry install", &Cmd::new(poetry).args(["install", "--no-interaction"])).await?;
        Ok("poetry")
    }

    async fn go(&mut self, doing: &str, cmd: &Cmd) -> Result<(), DepsError> {
        let step = Step::Python;
        self.ctx.events.send(Event::StepStarted { step, doing: doing.into() });
        let mut packages = self.packages;
        let mut hear = |line: &str| {
            packages = count(line).or(packages);
            self.ctx.events.send(Event::StepProgress { step, detail: line.into() });
        };
        let by_hand = typed(self.directory, &cmd.to_string());
        let cmd = cmd.clone().only_env(self.env).directory(self.directory).limit(LIMIT);
        let ended = cmd.watched(&mut hear).await;
        self.packages = packages;
        ended.map(drop).map_err(|error| self.failed(&error, by_hand))
    }

    fn failed(&self, error: &CmdError, by_hand: String) -> DepsError {
        match error.tail(12) {
            Some(said) if said.contains("poetry.lock was last generated") => DepsError::LockfileStale {
                lockfile: self.directory.join("poetry.lock"),
                said,
                run: typed(self.directory, "poetry lock"),
            },
            _ => DepsError::failed(error, by_hand),
        }
    }

    /// `uv, 34 packages`, with what is known.
    fn outcome(&self, tool: &str) -> String {
        match self.packages {
            None => tool.into(),
            Some(1) => format!("{tool}, 1 package"),
            Some(count) => format!("{tool}, {count} packages"),
        }
    }
}

/// How many packages a line of uv's or pip's output says were installed.
fn count(line: &str) -> Option<usize> {
    if let Some(names) = line.strip_prefix("Successfully installed ") {
        return Some(names.split_whitespace().count());
    }
    let rest = line.strip_prefix("Installed ")?;
    rest.contains("package").then(|| rest.split_whitespace().next()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
