//! Creates the Python environment of a worktree: a real `.venv`, made by uv, or by Poetry, PDM or pip if the project or
//! the user's settings need them.
//!
//! Refuses a linked `.venv`. Recreates one that was moved or copied here, because its scripts run the code of another
//! checkout.

mod installer;
mod interpreter;
mod lock;
mod referenced_files;
mod venv;
mod version;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::context::Context;
use crate::deps::failure_cause::InstallFiles;
use crate::deps::install_inputs::InstallInputs;
use crate::deps::install_record::{InstallRecord, RecordFiles};
use crate::deps::tool::PythonTool;
use crate::deps::{
    DepsError, Done, ToolEnv, bytecode, find, levels, off_thread, refuse_odd, refuse_unreadable, snapshot,
    tool, typed, up_to_date,
};
use crate::error::Explain;
use crate::event::{Event, Step};
use crate::os::cmd::{Cmd, CmdError};
use crate::os::fs::FsError;
use crate::plan::PythonInstall;

use self::installer::{Installer, InstallerChoice};
use self::lock::Difference;
use self::venv::{Action, InstallResult, LastInstall, Venv};

/// The time limit of an install.
const LIMIT: Duration = Duration::from_mins(15);
/// The time limit of uv's check of the lock file. uv uses the network only if the lock file seems out of date.
const CHECK: Duration = Duration::from_secs(20);

/// The environment to create.
#[derive(Clone, Debug)]
pub struct PythonRequest {
    /// Top level of the worktree. Folders above it are ignored.
    pub worktree: PathBuf,
    /// Absolute path of the Python project's folder, inside the worktree.
    pub directory: PathBuf,
    /// The worktree's state folder.
    pub state: PathBuf,
    /// The complete environment of the tools.
    pub env: ToolEnv,
    /// The environment of the main worktree at the same place, if this is another worktree. Compiled bytecode is shared with it where
    /// both have the same file.
    pub siblings: Vec<PathBuf>,
}

/// The facts that were found without starting a process.
struct PythonFindings {
    choice: InstallerChoice,
    inputs: InstallInputs,
    /// uv, if it is on PATH.
    uv: Option<PathBuf>,
    env: ToolEnv,
    venv: PathBuf,
}

/// Makes sure that the environment of `request` exists and is complete. If it is, this takes milliseconds and starts no
/// process.
pub async fn ensure(ctx: &Context, request: &PythonRequest) -> Result<Done, DepsError> {
    let (_, record, done) = gather(request).await?;
    if let Some(done) = done {
        return Ok(done);
    }
    let _lock = record.lock(ctx, Step::Python).await?;
    // Another devrun may have created it while we waited for the lock.
    let (mut situation, record, done) = gather(request).await?;
    if let Some(done) = done {
        return Ok(done);
    }
    interpreter::add_version_managers(&mut situation.env);
    install(ctx, request, &situation, &record).await
}

/// Reads the files of `request` on another thread, and checks whether the last install is still valid.
async fn gather(request: &PythonRequest) -> Result<(PythonFindings, RecordFiles, Option<Done>), DepsError> {
    let (folder, request) = (request.directory.clone(), request.clone());
    off_thread(&folder, move || {
        let situation = inspect(&request)?;
        let own = situation.inputs.files.iter().map(|file| request.worktree.join(file));
        // uv also searches all folders above for a workspace.
        let above = levels(&request.directory, &request.worktree)
            .flat_map(|level| ["pyproject.toml", "uv.toml"].map(|name| level.join(name)));
        refuse_odd(own.chain(above))?;
        let relative = request.directory.strip_prefix(&request.worktree).unwrap_or(&request.directory);
        let record = RecordFiles::new(&request.state, Step::Python, relative);
        let done = fresh(&record, &situation)?;
        Ok((situation, record, done))
    })
    .await?
}

/// Returns the path of the environment for the project in `directory`: beside the project or at the root of its uv
/// workspace, never outside `worktree`. Only reads files.
pub fn venv(directory: &Path, worktree: &Path) -> PathBuf {
    let home = installer::decide(directory, worktree).map(|choice| choice.home);
    home.as_deref().unwrap_or(directory).join(".venv")
}

/// Returns the install of the project in `directory`, or `None` if there is none. Only reads files.
pub fn planned(directory: &Path, worktree: &Path) -> Option<PythonInstall> {
    let choice = installer::decide(directory, worktree)?;
    let list = choice.list(directory);
    Some(PythonInstall { directory: directory.into(), list, venv: choice.home.join(".venv") })
}

fn inspect(request: &PythonRequest) -> Result<PythonFindings, DepsError> {
    let (directory, worktree) = (&request.directory, &request.worktree);
    let Some(choice) = installer::decide(directory, worktree) else {
        refuse_unreadable(
            ["uv.lock", "requirements.txt", "pyproject.toml"].map(|name| directory.join(name)),
        )?;
        let wanted = "uv.lock, requirements.txt or pyproject.toml";
        return Err(DepsError::NoManifest { directory: directory.clone(), wanted });
    };
    let env = installer::environment(&request.env);
    let uv = find(&env, "uv");
    let tool = match choice.way {
        Installer::Poetry => find(&env, "poetry"),
        Installer::Pdm => find(&env, "pdm"),
        Installer::Requirements(_) => uv.clone().or_else(|| find(&env, "python3")),
        Installer::UvLock | Installer::Pyproject => uv.clone(),
    };
    let mut settings =
        vec![format!("{:?} {}", choice.way, uv.is_none() && installer::pip_has_an_index(&env))];
    settings.extend(installer::settings(&env));
    let inputs = InstallInputs {
        root: worktree.clone(),
        files: installer::files(&choice, directory, worktree),
        tools: tool.into_iter().collect(),
        settings,
    };
    let venv = choice.home.join(".venv");
    Ok(PythonFindings { choice, inputs, uv, env, venv })
}

fn fresh(record: &RecordFiles, situation: &PythonFindings) -> Result<Option<Done>, DepsError> {
    match venv::inspect(&situation.venv)? {
        Venv::Whole => up_to_date::last_install(record, &situation.venv, &situation.inputs),
        _ => Ok(None),
    }
}

async fn install(
    ctx: &Context,
    request: &PythonRequest,
    situation: &PythonFindings,
    record: &RecordFiles,
) -> Result<Done, DepsError> {
    let PythonFindings { choice, inputs, env, venv, .. } = situation;
    let known = record.read()?.filter(|last| last.target == venv.to_string_lossy());
    let previous = LastInstall {
        ours: known.as_ref().is_some_and(|last| last.ours),
        result: match &known {
            Some(last) if last.finished.is_none() => InstallResult::CutShort,
            Some(last) if last.missing().is_some() => InstallResult::LacksFiles {
                can_repeat: !matches!(choice.way, Installer::Poetry | Installer::Pdm),
            },
            _ => InstallResult::Whole,
        },
    };
    let action = venv::decide(&venv::inspect(venv)?, previous, venv)?;
    let ours = !matches!(action, Action::Update { .. }) || previous.ours;
    // Find the tool first: a missing tool must not cost the user a working environment.
    let (tool, fetched) = tool(ctx, situation).await?;
    let list = match &choice.way {
        Installer::Requirements(list) => list.clone(),
        _ => request.directory.join("pyproject.toml"),
    };
    let mut files = vec![list.clone()];
    files.extend(inputs.files.iter().map(|file| request.worktree.join(file)).filter(|file| *file != list));
    let folders = [request.directory.as_path(), choice.home.as_path()];
    let evidence = InstallFiles { files: &files, folders: &folders, worktree: &request.worktree };
    let (directory, worktree) = (&request.directory, &request.worktree);
    let mut run = CommandRunner { ctx, env, directory, worktree, evidence, packages: None };
    let before = snapshot(inputs).await?;
    record.begin(venv, ours)?;
    let distrust = action == Action::Update { distrust: true };
    if let Action::Remake(why) = &action {
        ctx.events.note(format!("{} is recreated: {why}", venv.display()));
        std::fs::remove_dir_all(venv).map_err(|source| {
            DepsError::from(FsError::Io { action: "remove", path: venv.clone(), source })
        })?;
    }
    let make = !matches!(action, Action::Update { .. });
    if let Some(path) = known.as_ref().and_then(InstallRecord::missing).filter(|_| !make) {
        ctx.events.note(format!("{} lacks {path}, so its packages are installed again", venv.display()));
    }
    let name = match tool {
        Tool::Poetry(poetry) => {
            run.own_venv(situation, make).await?;
            run.poetry(&poetry, venv, choice.home.join("poetry.lock").is_file()).await?
        }
        Tool::Pdm(pdm) => {
            run.own_venv(situation, make).await?;
            run.pdm(&pdm, venv).await?
        }
        Tool::Pip => run.pip_install(venv, make, &list, distrust).await?,
        Tool::Uv(uv) if choice.way == Installer::UvLock => run.uv_sync(&uv, &choice.home, distrust).await?,
        Tool::Uv(uv) => run.uv_install(&uv, venv, make, &list, distrust).await?,
    };
    let outcome = run.outcome(name);
    bytecode::adopt(venv, &request.siblings).await;
    let after = snapshot(inputs).await?;
    let listed = venv.clone();
    let contents = off_thread(venv, move || venv::contents(&listed)).await?;
    record.finish(venv, ours, before.with_new_files(&after), &contents, fetched.as_deref())?;
    Ok(Done { worked: true, outcome, fetched })
}

/// The tool that installs.
enum Tool {
    Uv(PathBuf),
    Pip,
    Poetry(PathBuf),
    Pdm(PathBuf),
}

/// Returns the tool to use, and its folder if devrun downloaded it.
async fn tool(ctx: &Context, situation: &PythonFindings) -> Result<(Tool, Option<PathBuf>), DepsError> {
    let why = match (&situation.choice.way, &situation.uv) {
        (Installer::Poetry, _) => {
            let (poetry, folder) = python_tool(ctx, situation, &tool::POETRY).await?;
            return Ok((Tool::Poetry(poetry), folder));
        }
        (Installer::Pdm, _) => {
            let (pdm, folder) = python_tool(ctx, situation, &tool::PDM).await?;
            return Ok((Tool::Pdm(pdm), folder));
        }
        (_, Some(uv)) => return Ok((Tool::Uv(uv.clone()), None)),
        (Installer::Requirements(_), None) => return Ok(uv_or_pip(ctx, &situation.env).await),
        (Installer::UvLock, None) => "the project has a uv.lock and uv is not installed",
        (Installer::Pyproject, None) => "the project has nothing but pyproject.toml and uv is not installed",
    };
    let uv = tool::fetch_uv(ctx, why).await?;
    let folder = uv.parent().map(Into::into);
    Ok((Tool::Uv(uv), folder))
}

/// Returns the tool for a requirements file, and its folder if devrun downloaded it. It is uv, downloaded if needed, because pip
/// takes tens of seconds for the packages that uv links in one second. It is pip if uv cannot be downloaded, or if pip's settings name
/// a package index: uv does not read them, and must not use the public index instead.
async fn uv_or_pip(ctx: &Context, env: &ToolEnv) -> (Tool, Option<PathBuf>) {
    if installer::pip_has_an_index(env) {
        return (Tool::Pip, None);
    }
    match tool::fetch_uv(ctx, "uv is not installed, and pip is slow").await {
        Ok(uv) => {
            let folder = uv.parent().map(Into::into);
            (Tool::Uv(uv), folder)
        }
        Err(error) => {
            let why =
                error.why().and_then(|why| why.lines().next().map(Into::into)).unwrap_or(error.to_string());
            ctx.events.note(format!("installing with pip: {why}"));
            (Tool::Pip, None)
        }
    }
}

/// Returns the user's own Poetry or PDM, or else one from devrun's cache and its folder.
async fn python_tool(
    ctx: &Context,
    situation: &PythonFindings,
    wanted: &PythonTool,
) -> Result<(PathBuf, Option<PathBuf>), DepsError> {
    if let Some(own) = find(&situation.env, wanted.program) {
        return Ok((own, None));
    }
    let why = format!("the project uses {0}, and {0} is not installed", wanted.program);
    let fetched = tool::fetch_python_tool(ctx, wanted, &why).await?;
    let folder = fetched.parent().map(Into::into);
    Ok((fetched, folder))
}

/// Runs the commands of one install.
struct CommandRunner<'a> {
    ctx: &'a Context,
    env: &'a ToolEnv,
    directory: &'a Path,
    worktree: &'a Path,
    evidence: InstallFiles<'a>,
    packages: Option<usize>,
}

impl CommandRunner<'_> {
    async fn uv_sync(&mut self, uv: &Path, home: &Path, distrust: bool) -> Result<&'static str, DepsError> {
        self.check_lock(uv, home).await?;
        let again = distrust.then_some("--reinstall");
        // `--frozen` although the lock file was checked: with a mirror of the package index uv would refuse every lock
        // file.
        self.go("uv sync", &Cmd::new(uv).args(["sync", "--frozen", "--no-progress"]).args(again)).await?;
        Ok("uv")
    }

    /// Errors if uv.lock lacks a package that its manifests want, or has other versions. Warns about other differences.
    async fn check_lock(&self, uv: &Path, home: &Path) -> Result<(), DepsError> {
        let check = Cmd::new(uv).args(["lock", "--check"]).limit(CHECK);
        let Err(error) = check.only_env(self.env).directory(self.directory).ok().await else { return Ok(()) };
        let lockfile = home.join("uv.lock");
        let differs = lock::difference(home, &lockfile);
        let is_refused = error.tail(20).is_some_and(|said| said.contains("needs to be updated"));
        let shown = find(self.env, "uv").map_or_else(|| uv.display().to_string(), |_| "uv".into());
        let run = typed(self.directory, &format!("{shown} lock"));
        let stale =
            |said| Err(DepsError::LockfileStale { lockfile: lockfile.clone(), said, run: run.clone() });
        match differs {
            Some(Difference::Missing(said)) => stale(said),
            Some(Difference::Surplus(said)) => {
                self.ctx.events.warn(format!("{said}: {run}"));
                Ok(())
            }
            None if is_refused
                && !installer::uv_has_an_index(self.env)
                && lock::wants_other_versions(home, &lockfile) =>
            {
                stale(error.tail(12).unwrap_or_default())
            }
            None if is_refused => {
                let shown = lockfile.display();
                self.ctx
                    .events
                    .warn(format!("{shown} does not match its manifests exactly; to update it: {run}"));
                Ok(())
            }
            // The check failed for another reason, such as no network. The names of the packages match, so continue.
            None => Ok(()),
        }
    }

    /// Creates `.venv` with the Python version that the project states. uv downloads that version if the machine lacks
    /// it. If that fails and the version is only a wish, another version is used, with a warning.
    async fn make_venv(&mut self, uv: &Path, venv: &Path) -> Result<(), DepsError> {
        let (directory, worktree) = (self.directory.to_path_buf(), self.worktree.to_path_buf());
        let stated = off_thread(self.directory, move || version::stated(&directory, &worktree)).await?;
        let bare = Cmd::new(uv).args(["venv", "--no-progress"]);
        if let Some(stated) = &stated {
            let wanted = bare.clone().args(["--python", &stated.request]).arg(venv);
            match self.go("uv venv", &wanted).await {
                Err(error) if stated.is_wish => {
                    let said = error.why().and_then(|why| why.lines().last().map(Into::into));
                    self.ctx.events.warn(format!(
                        "{} names Python {}, which this machine lacks: {}; another version is used",
                        stated.file,
                        stated.request,
                        said.unwrap_or_else(|| error.to_string())
                    ));
                }
                ended => return ended,
            }
        }
        let undecided = !self.directory.join("pyproject.toml").exists()
            && !self.directory.ancestors().any(|level| level.join(".python-version").exists());
        let at_least = if undecided { &["--python", ">=3.11"][..] } else { &[] };
        self.go("uv venv", &bare.args(at_least).arg(venv)).await
    }

    /// Creates the environment that Poetry or PDM will use, if there is none. Without it they would use the Python that
    /// they run with.
    async fn own_venv(&mut self, situation: &PythonFindings, make: bool) -> Result<(), DepsError> {
        if !make {
            return Ok(());
        }
        let uv = match &situation.uv {
            Some(uv) => uv.clone(),
            None => {
                tool::fetch_uv(self.ctx, "uv is not installed, and is needed to create the environment")
                    .await?
            }
        };
        self.make_venv(&uv, &situation.venv).await
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
            self.make_venv(uv, venv).await?;
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

    /// Installs with Poetry: as locked, or only the dependencies if there is no lock file, which Poetry then writes.
    async fn poetry(
        &mut self,
        poetry: &Path,
        venv: &Path,
        is_locked: bool,
    ) -> Result<&'static str, DepsError> {
        let install = Cmd::new(poetry).args(["install", "--no-interaction"]);
        let alone = install.clone().arg("--no-root");
        if !is_locked {
            self.ctx.events.note(format!(
                "{} has no lock file: poetry chooses versions now and writes one",
                self.directory.display()
            ));
            self.go_in(venv, "poetry install", &alone).await?;
            return Ok("poetry");
        }
        match self.go_in(venv, "poetry install", &install).await {
            // Many applications use Poetry only for their dependencies, without declaring that.
            Err(DepsError::InstallFailed { said: Some(said), .. })
                if said.contains("current project could not be installed") =>
            {
                let note = "the project itself cannot be installed, so only its dependencies are";
                self.ctx.events.note(format!(
                    "{note}; set `package-mode = false` in pyproject.toml to skip this attempt"
                ));
                self.go_in(venv, "poetry install", &alone).await?;
            }
            ended => ended?,
        }
        Ok("poetry")
    }

    /// Installs with PDM, as locked. Errors if pdm.lock lacks a package that the manifest wants.
    async fn pdm(&mut self, pdm: &Path, venv: &Path) -> Result<&'static str, DepsError> {
        let saved = self.directory.join(".pdm-python");
        let was_saved = saved.exists();
        if let Some(said) = lock::missing_in_pdm(self.directory) {
            let shown = find(self.env, "pdm").map_or_else(|| pdm.display().to_string(), |_| "pdm".into());
            let run = typed(self.directory, &format!("{shown} lock"));
            return Err(DepsError::LockfileStale { lockfile: self.directory.join("pdm.lock"), said, run });
        }
        let install = Cmd::new(pdm).args(["install", "--frozen-lockfile"]);
        let ended = self.go_in(venv, "pdm install", &install).await;
        if !was_saved {
            let _ = std::fs::remove_file(&saved);
        }
        ended.map(|()| "pdm")
    }

    /// Runs a command like [`CommandRunner::go`], with `venv` as the active environment.
    async fn go_in(&mut self, venv: &Path, doing: &str, cmd: &Cmd) -> Result<(), DepsError> {
        let mut env = self.env.clone();
        env.insert("VIRTUAL_ENV".into(), venv.into());
        self.run(doing, cmd, &env).await
    }

    async fn go(&mut self, doing: &str, cmd: &Cmd) -> Result<(), DepsError> {
        self.run(doing, cmd, self.env).await
    }

    async fn run(&mut self, doing: &str, cmd: &Cmd, env: &ToolEnv) -> Result<(), DepsError> {
        let step = Step::Python;
        self.ctx.events.send(Event::StepStarted { step, doing: doing.into() });
        let mut packages = self.packages;
        let mut hear = |line: &str| {
            packages = count(line).or(packages);
            self.ctx.events.send(Event::StepProgress { step, detail: line.into() });
        };
        let by_hand = typed(self.directory, &cmd.to_string());
        let program = cmd.to_string().split(' ').next().unwrap_or_default().to_string();
        let cmd = cmd.clone().only_env(env).directory(self.directory).limit(LIMIT);
        let ended = cmd.watched(&mut hear).await;
        self.packages = packages;
        ended.map(drop).map_err(|error| self.failed(&error, by_hand, &program))
    }

    fn failed(&self, error: &CmdError, by_hand: String, program: &str) -> DepsError {
        let shown = |name: &str| find(self.env, name).map_or_else(|| program.into(), |_| name.to_string());
        match error.tails(12) {
            Some(said) if said.contains("poetry.lock was last generated") => DepsError::LockfileStale {
                lockfile: self.directory.join("poetry.lock"),
                said,
                run: typed(self.directory, &format!("{} lock", shown("poetry"))),
            },
            _ => DepsError::failed(error, by_hand, &self.evidence),
        }
    }

    /// Returns `uv, 34 packages`, or less if the number is unknown.
    fn outcome(&self, tool: &str) -> String {
        match self.packages {
            None => tool.into(),
            Some(1) => format!("{tool}, 1 package"),
            Some(count) => format!("{tool}, {count} packages"),
        }
    }
}

/// Returns the number of installed packages that a line of uv's or pip's output reports.
fn count(line: &str) -> Option<usize> {
    if let Some(names) = line.strip_prefix("Successfully installed ") {
        return Some(names.split_whitespace().count());
    }
    let rest = line.strip_prefix("Installed ")?;
    rest.contains("package").then(|| rest.split_whitespace().next()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
