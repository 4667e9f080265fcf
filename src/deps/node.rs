//! Installs the Node packages of a worktree: its own `node_modules`, created by the project's package manager from the
//! lock file.
//!
//! Refuses a linked `node_modules` and disables the global virtual store, because Turbopack does not start with either.
//! Never rewrites an existing lock file.

mod command;
mod engine;
mod lockfile;
mod manager;
mod members;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::context::Context;
use crate::deps::failure_cause::{Cause, InstallFiles};
use crate::deps::install_inputs::InstallInputs;
use crate::deps::install_record::{InstallRecord, RecordFiles};
use crate::deps::tool::{self, NpmTool};
use crate::deps::{
    DepsError, Done, ToolEnv, find, levels, off_thread, refuse_odd, refuse_unreadable, snapshot, typed,
    up_to_date,
};
use crate::error::RERUN;
use crate::event::{Event, Step};
use crate::os::cmd::{Cmd, CmdError};
use crate::os::fs;
use crate::os::read::{self, Limit};

pub(crate) use self::manager::decide as choose_manager;
pub(crate) use self::manager::{Manager, ManagerChoice};

/// The time limit of an install.
const LIMIT: Duration = Duration::from_mins(15);

/// The packages to install.
#[derive(Clone, Debug)]
pub struct NodeRequest {
    /// Top level of the worktree. Folders above it are ignored.
    pub worktree: PathBuf,
    /// Absolute path of the folder whose packages are wanted, inside the worktree.
    pub directory: PathBuf,
    /// The worktree's state folder.
    pub state: PathBuf,
    /// The complete environment of the package manager.
    pub env: ToolEnv,
}

/// The facts that were found without starting a process.
struct NodeFindings {
    choice: ManagerChoice,
    inputs: InstallInputs,
    node: Option<PathBuf>,
    installed: Option<PathBuf>,
    /// Folders with a manifest.
    members: Vec<PathBuf>,
}

/// Makes sure that the packages of `request` are installed. If they are, this takes milliseconds and starts no process.
pub async fn ensure(ctx: &Context, request: &NodeRequest) -> Result<Done, DepsError> {
    let (_, record, done) = gather(request).await?;
    if let Some(done) = done {
        return Ok(done);
    }
    let _lock = record.lock(ctx, Step::Node).await?;
    // Another devrun may have installed them while we waited for the lock.
    let (situation, record, done) = gather(request).await?;
    match done {
        Some(done) => Ok(done),
        None => install(ctx, request, &situation, &record).await,
    }
}

/// Reads the files of `request` on another thread, and checks whether the last install is still valid.
async fn gather(request: &NodeRequest) -> Result<(NodeFindings, RecordFiles, Option<Done>), DepsError> {
    let (folder, request) = (request.directory.clone(), request.clone());
    off_thread(&folder, move || {
        let manifest = request.directory.join("package.json");
        refuse_unreadable([manifest.clone()])?;
        if !manifest.is_file() {
            return Err(DepsError::NoManifest { directory: request.directory, wanted: "package.json" });
        }
        let situation = inspect(&request);
        refuse_odd(situation.inputs.files.iter().map(|file| request.worktree.join(file)))?;
        let root = &situation.choice.root;
        for folder in [&request.directory, root] {
            refuse_link(&folder.join("node_modules"))?;
        }
        let relative = request.directory.strip_prefix(&request.worktree).unwrap_or(&request.directory);
        let record = RecordFiles::new(&request.state, Step::Node, relative);
        let done = up_to_date::last_install(&record, root, &situation.inputs)?;
        Ok((situation, record, done))
    })
    .await?
}

fn inspect(request: &NodeRequest) -> NodeFindings {
    let choice = manager::decide(&request.directory, &request.worktree);
    let members = members::find(&request.worktree, &choice.root);
    let node = find(&request.env, "node");
    let installed = find(&request.env, choice.manager.program());
    // The arguments must not depend on whether a lock file exists: `inputs.files` records that already, and the install
    // may have written the file.
    let locked = ManagerChoice { lockfile: Some(PathBuf::new()), ..choice.clone() };
    let mut settings =
        vec![format!("{} {:?}", choice.manager.program(), choice.pin), command::arguments(&locked).join(" ")];
    settings.extend(command::settings(&command::environment(&request.env)));
    let below = |path: &Path| path.strip_prefix(&request.worktree).unwrap_or(path).to_path_buf();
    let mut files: BTreeSet<PathBuf> =
        members.iter().map(|member| below(&member.join("package.json"))).collect();
    for folder in [&request.worktree, &choice.root, &request.directory] {
        files.extend(command::SETTINGS_FILES.iter().map(|name| below(&folder.join(name))));
    }
    files.extend(members.iter().flat_map(|member| members::local(member)).map(|file| below(&file)));
    files.extend(command::lockfiles(choice.manager).map(|name| below(&choice.root.join(name))));
    let tools = node.iter().chain(&installed).cloned().collect();
    let inputs = InstallInputs { root: request.worktree.clone(), files, tools, settings };
    NodeFindings { choice, inputs, node, installed, members }
}

fn refuse_link(path: &Path) -> Result<(), DepsError> {
    match std::fs::read_link(path) {
        Ok(target) => Err(DepsError::Linked { path: path.into(), target }),
        Err(_) => Ok(()),
    }
}

async fn install(
    ctx: &Context,
    request: &NodeRequest,
    situation: &NodeFindings,
    record: &RecordFiles,
) -> Result<Done, DepsError> {
    let NodeFindings { choice, inputs, node, installed, members } = situation;
    let (root, program) = (&choice.root, choice.manager.program());
    if node.is_none() && choice.manager != Manager::Bun {
        return Err(node_missing());
    }
    let known = record.read()?.filter(|last| last.target == root.to_string_lossy());
    let ours = known.as_ref().map_or(!root.join("node_modules").exists(), |last| last.ours);
    if let Some(path) = known.as_ref().and_then(InstallRecord::missing) {
        ctx.events.note(format!("{} lacks {path}, so its packages are installed again", root.display()));
        if choice.manager == Manager::YarnClassic {
            // While `.yarn-integrity` exists, yarn reports that all is up to date. Without the file it compares the packages.
            choice.manager.marks().iter().for_each(|mark| drop(std::fs::remove_file(root.join(mark))));
        }
    }
    record.begin(root, ours)?;
    let before = snapshot(inputs).await?;
    let doing = format!("{program} {}", command::arguments(choice)[0]);
    ctx.events.send(Event::StepStarted { step: Step::Node, doing });
    if let Some(remark) = &choice.remark {
        ctx.events.note(remark);
    }
    if choice.lockfile.is_none() {
        ctx.events.note(format!(
            "{} has no lock file: {program} chooses versions now and writes one",
            root.display()
        ));
    }

    let mut env = command::environment(&request.env);
    let (tool, fetched) = tool(ctx, &env, choice, installed.as_deref(), &request.worktree).await?;
    command::append_path(&mut env, fetched.as_deref());
    let mut arguments = command::arguments(choice);
    if ours && choice.manager == Manager::Pnpm {
        // Without a terminal pnpm refuses to replace a `node_modules` of another layout, unless this setting allows it.
        arguments.push("--config.confirmModulesPurge=false".into());
    }
    if choice.manager == Manager::YarnClassic {
        // Two installs at once damage yarn's cache, which all worktrees share.
        fs::make_private_dir(&ctx.dirs.cache)?;
        arguments.extend(["--mutex".into(), format!("file:{}", ctx.dirs.cache.join("yarn.lock").display())]);
    }
    let shown = if fetched.is_none() { program.into() } else { tool.display().to_string() };
    let by_hand = typed(root, &format!("{shown} {}", arguments.join(" ")));
    let cmd = Cmd::new(&tool).args(&arguments).only_env(&env).directory(root).limit(LIMIT);
    let mut told = command::InstallOutput::default();
    let mut hear = |line: &str| {
        told.hear(line);
        ctx.events.send(Event::StepProgress { step: Step::Node, detail: line.into() });
    };
    let ended = cmd.watched(&mut hear).await;
    let output = ended.map_err(|error| failure(request, situation, &error, &shown, by_hand))?;
    if let Some(ignored) = command::ignored_builds(&output) {
        ctx.events.warn(format!(
            "build scripts were not run: {ignored}; decide with `{}`",
            typed(root, &format!("{shown} approve-builds"))
        ));
    }

    let after = snapshot(inputs).await?;
    let marks = choice.manager.marks().iter().map(|mark| root.join(mark));
    let members = members.iter().filter(|member| member.starts_with(root));
    let folders = members.clone().map(|member| member.join("node_modules"));
    let packages = members.flat_map(|member| members::packages(member, root));
    let evidence: Vec<PathBuf> = marks.chain(folders).chain(packages).collect();
    record.finish(root, ours, before.with_new_files(&after), &evidence, fetched.as_deref())?;
    let version = told.version.clone().or_else(|| choice.pin.clone().filter(|_| fetched.is_some()));
    Ok(Done { worked: true, outcome: told.outcome(program, version.as_deref()), fetched })
}

/// Returns the error for a failed install. `shown` is the program as the user would type it.
fn failure(
    request: &NodeRequest,
    situation: &NodeFindings,
    error: &CmdError,
    shown: &str,
    by_hand: String,
) -> DepsError {
    let choice = &situation.choice;
    if let Some(unfit) = engine::unfit(error, choice.manager.program(), situation.node.as_deref()) {
        return unfit;
    }
    if let Some(lockfile) = choice.lockfile.clone().filter(|_| command::is_stale(error)) {
        let run = typed(&choice.root, &format!("{shown} install"));
        let said = command::differences(error).or_else(|| error.tail(12)).unwrap_or_default();
        return DepsError::LockfileStale { lockfile, said, run };
    }
    let files = read_by(request, situation);
    let folders = [request.directory.as_path(), choice.root.as_path()];
    let evidence = InstallFiles { files: &files, folders: &folders, worktree: &request.worktree };
    DepsError::failed(error, by_hand, &evidence)
}

/// Returns the files that the install read. The manifest of `request` comes first.
fn read_by(request: &NodeRequest, situation: &NodeFindings) -> Vec<PathBuf> {
    let own = [&request.directory, &situation.choice.root].map(|folder| folder.join("package.json"));
    let all = situation.inputs.files.iter().map(|file| request.worktree.join(file));
    let mut files: Vec<PathBuf> = own.into_iter().collect();
    files.dedup();
    let rest: Vec<PathBuf> = all.filter(|file| !files.contains(file)).collect();
    files.extend(rest);
    files
}

/// Returns the program to run, and its folder if devrun downloaded it.
async fn tool(
    ctx: &Context,
    env: &ToolEnv,
    choice: &ManagerChoice,
    installed: Option<&Path>,
    worktree: &Path,
) -> Result<(PathBuf, Option<PathBuf>), DepsError> {
    let (manager, program) = (choice.manager, choice.manager.program());
    let why = match installed {
        Some(path) => match unfit(env, choice, path).await {
            None => return Ok((path.into(), None)),
            Some(why) => why,
        },
        None if manager == Manager::Npm => return Err(npm_missing()),
        None => format!("{program} is not installed"),
    };
    let version = choice.pin.as_deref().unwrap_or(choice.fallback);
    let wanted = NpmTool { program, package: manager.package(), version, pin: choice.hash.as_ref() };
    let fetched = tool::fetch_from_npm(ctx, &wanted, &why).await;
    let fetched = fetched.map_err(|error| of_pin(error, choice, worktree))?;
    let folder = fetched.parent().map(Into::into);
    Ok((fetched, folder))
}

/// Returns the error for a package manager that cannot be fetched: if the registry does not have the version that the manifest
/// pins, the manifest is wrong.
fn of_pin(error: DepsError, choice: &ManagerChoice, worktree: &Path) -> DepsError {
    let DepsError::ToolMissing { tool, why, .. } = &error else { return error };
    let is_absent =
        ["ETARGET", "notarget", "No matching version found"].iter().any(|sign| why.contains(sign));
    let Some(pin) = choice.pin.as_ref().filter(|_| is_absent) else { return error };
    let package = format!("{}@{pin}", choice.manager.package());
    let at = levels(&choice.root, worktree).find_map(|level| {
        let file = level.join("package.json");
        let text = read::text(&file, Limit::SMALL).ok()?;
        let row = text.lines().position(|line| line.contains(&format!("@{pin}")))?;
        Some(format!("{}:{}", file.strip_prefix(worktree).unwrap_or(&file).display(), row + 1))
    });
    DepsError::InstallFailed {
        what: format!("{tool} cannot be fetched"),
        said: Some(why.clone()),
        run: String::new(),
        cause: Some(Cause::NoVersion { package, at }),
    }
}

/// Returns the reason why the installed manager is not suitable, or `None` if it is. Starts the manager only if a
/// certain major version is wanted.
async fn unfit(env: &ToolEnv, choice: &ManagerChoice, path: &Path) -> Option<String> {
    let program = choice.manager.program();
    let wanted = match choice.manager {
        Manager::Npm => return None,
        Manager::YarnClassic => "1",
        Manager::Yarn | Manager::Pnpm | Manager::Bun => manager::major(choice.pin.as_deref()?),
    };
    // Inside the project pnpm would download the pinned version itself. yarn must run there, because it may be part of
    // the project.
    let directory = if choice.manager == Manager::Pnpm { Path::new("/") } else { &choice.root };
    let asked = Cmd::new(path).arg("--version").only_env(env).directory(directory).ok().await;
    let version = asked.map_or_else(|error| error.to_string(), |output| output.text());
    let fits = manager::major(&version) == wanted;
    (!fits).then(|| match &choice.pin {
        Some(pin) => format!("the project pins {program} {pin}, installed is {version}"),
        None => format!("the lock file is for {program} {wanted}, installed is {version}"),
    })
}

fn node_missing() -> DepsError {
    DepsError::ToolMissing {
        tool: "node".into(),
        why: "there is no `node` on PATH, and the packages need it".into(),
        fix: format!(
            "install Node.js 20 or later (https://nodejs.org/en/download, or `nvm install --lts`), then {RERUN}"
        ),
    }
}

fn npm_missing() -> DepsError {
    DepsError::ToolMissing {
        tool: "npm".into(),
        why: "there is no `npm` on PATH; it normally comes with Node.js".into(),
        fix: format!("install npm (Debian and Ubuntu: apt install npm), then {RERUN}"),
    }
}

#[cfg(test)]
mod tests;
