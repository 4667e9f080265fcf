//! Node packages of a worktree: its own `node_modules`, made by the project's own package manager from the lock file.
//!
//! Refuses linked `node_modules` and the global virtual store (Turbopack starts with neither), and never rewrites a
//! lock file that exists.

mod command;
mod manager;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::context::Context;
use crate::deps::fingerprint::{Inputs, Snapshot};
use crate::deps::stamp::Record;
use crate::deps::tool::{self, NpmTool};
use crate::deps::{DepsError, Done, Env, find, off_thread, refuse_odd, typed};
use crate::event::{Event, Step};
use crate::os::cmd::Cmd;

use self::manager::{Choice, Manager};

/// How long an install may take.
const LIMIT: Duration = Duration::from_mins(15);
/// How deep manifests are looked for below the worktree: `apps/web/package.json`.
const DEPTH: usize = 2;

/// Which packages, where.
#[derive(Clone, Debug)]
pub struct NodeRequest {
    /// Top level of the worktree: nothing above it is looked at.
    pub worktree: PathBuf,
    /// Absolute folder whose packages are wanted, inside the worktree.
    pub directory: PathBuf,
    /// The worktree's state folder.
    pub state: PathBuf,
    /// The environment to run the package manager with, complete.
    pub env: Env,
}

/// What was found out without running anything.
struct Situation {
    choice: Choice,
    inputs: Inputs,
    node: Option<PathBuf>,
    installed: Option<PathBuf>,
    /// Folders with a manifest.
    members: Vec<PathBuf>,
}

/// Makes sure that the packages of `request` are installed. Costs milliseconds and runs nothing when they are.
pub async fn ensure(ctx: &Context, request: &NodeRequest) -> Result<Done, DepsError> {
    let (_, record, done) = survey(request).await?;
    if let Some(done) = done {
        return Ok(done);
    }
    let _lock = record.lock(ctx, Step::Node).await?;
    // The holder of the lock may have installed them.
    let (situation, record, done) = survey(request).await?;
    match done {
        Some(done) => Ok(done),
        None => install(ctx, request, &situation, &record).await,
    }
}

/// Looks at the files of `request` off this thread, and whether the last install still fits them.
async fn survey(request: &NodeRequest) -> Result<(Situation, Record, Option<Done>), DepsError> {
    let (folder, request) = (request.directory.clone(), request.clone());
    off_thread(&folder, move || {
        if !request.directory.join("package.json").is_file() {
            return Err(DepsError::NoManifest { directory: request.directory, wanted: "package.json" });
        }
        let situation = look(&request);
        refuse_odd(situation.inputs.files.iter().map(|file| request.worktree.join(file)))?;
        let root = &situation.choice.root;
        for folder in [&request.directory, root] {
            refuse_link(&folder.join("node_modules"))?;
        }
        let relative = request.directory.strip_prefix(&request.worktree).unwrap_or(&request.directory);
        let record = Record::new(&request.state, Step::Node, relative);
        let done = record.fresh(root, &situation.inputs)?;
        Ok((situation, record, done))
    })
    .await?
}

fn look(request: &NodeRequest) -> Situation {
    let choice = manager::decide(&request.directory, &request.worktree);
    let members = members(&request.worktree);
    let node = find(&request.env, "node");
    let installed = find(&request.env, choice.manager.program());
    // As with a lock file: that one was missing is known from the files, and the install may have written it.
    let locked = Choice { lockfile: Some(PathBuf::new()), ..choice.clone() };
    let settings =
        vec![format!("{} {:?}", choice.manager.program(), choice.pin), command::arguments(&locked).join(" ")];
    let below = |path: &Path| path.strip_prefix(&request.worktree).unwrap_or(path).to_path_buf();
    let mut files: BTreeSet<PathBuf> =
        members.iter().map(|member| below(&member.join("package.json"))).collect();
    for folder in [&request.worktree, &choice.root, &request.directory] {
        files.extend(command::SETTINGS_FILES.iter().map(|name| below(&folder.join(name))));
    }
    files.extend(command::lockfiles(choice.manager).map(|name| below(&choice.root.join(name))));
    let tools = node.iter().chain(&installed).cloned().collect();
    let inputs = Inputs { root: request.worktree.clone(), files, tools, settings };
    Situation { choice, inputs, node, installed, members }
}

/// Folders with a `package.json`: what a workspace can consist of, found without understanding its globs.
fn members(worktree: &Path) -> Vec<PathBuf> {
    let skipped = |name: &OsStr| {
        let name = name.to_string_lossy();
        name.starts_with('.') || ["node_modules", "dist", "build", "out", "target", "venv"].contains(&&*name)
    };
    let mut found = Vec::new();
    let mut open = vec![(worktree.to_path_buf(), 0)];
    while let Some((folder, depth)) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            // A folder with `.git` of its own is another worktree or repository.
            if is_folder && depth < DEPTH && !skipped(&name) && !entry.path().join(".git").exists() {
                open.push((entry.path(), depth + 1));
            } else if name == "package.json" {
                found.push(folder.clone());
            }
        }
    }
    found.sort();
    found
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
    situation: &Situation,
    record: &Record,
) -> Result<Done, DepsError> {
    let Situation { choice, inputs, node, installed, members } = situation;
    let (root, program) = (&choice.root, choice.manager.program());
    if node.is_none() && choice.manager != Manager::Bun {
        return Err(node_missing());
    }
    let known = record.read()?.filter(|stamp| stamp.target == root.to_string_lossy());
    let ours = known.map_or(!root.join("node_modules").exists(), |stamp| stamp.ours);
    record.begin(root, ours)?;
    let (before, _) = Snapshot::take(inputs, None);
    let doing = format!("{program} {}", command::arguments(choice)[0]);
    ctx.events.send(Event::StepStarted { step: Step::Node, doing });
    if choice.lockfile.is_none() {
        ctx.events.note(format!(
            "{} has no lock file: {program} chooses versions now and writes one",
            root.display()
        ));
    }

    let mut env = command::environment(&request.env);
    let (tool, fetched) = tool(ctx, &env, choice, installed.as_deref()).await?;
    command::append_path(&mut env, fetched.as_deref());
    let mut arguments = command::arguments(choice);
    if ours && choice.manager == Manager::Pnpm {
        // Without a terminal pnpm refuses to replace node_modules of another layout, unless told that it may.
        arguments.push("--config.confirmModulesPurge=false".into());
    }
    let shown = if fetched.is_none() { program.into() } else { tool.display().to_string() };
    let by_hand = typed(root, &format!("{shown} {}", arguments.join(" ")));
    let cmd = Cmd::new(&tool).args(&arguments).only_env(&env).directory(root).limit(LIMIT);
    let mut told = command::Told::default();
    let mut hear = |line: &str| {
        told.hear(line);
        ctx.events.send(Event::StepProgress { step: Step::Node, detail: line.into() });
    };
    let output = match cmd.watched(&mut hear).await {
        Ok(output) => output,
        Err(error) => {
            let lockfile = choice.lockfile.clone().filter(|_| command::is_stale(&error));
            return Err(match lockfile {
                Some(lockfile) => DepsError::LockfileStale {
                    lockfile,
                    said: error.tail(12).unwrap_or_default(),
                    run: typed(root, &format!("{shown} install")),
                },
                None => DepsError::failed(&error, by_hand),
            });
        }
    };
    if let Some(ignored) = command::ignored_builds(&output) {
        ctx.events.warn(format!(
            "build scripts were not run: {ignored}; decide with `{}`",
            typed(root, &format!("{shown} approve-builds"))
        ));
    }

    let (after, _) = Snapshot::take(inputs, None);
    let marks = choice.manager.marks().iter().map(|mark| root.join(mark));
    let folders = members.iter().filter(|member| member.starts_with(root)).map(|m| m.join("node_modules"));
    let evidence: Vec<PathBuf> = marks.chain(folders).collect();
    record.finish(root, ours, before.with_new_files(&after), &evidence, fetched.as_deref())?;
    let version = told.version.clone().or_else(|| choice.pin.clone().filter(|_| fetched.is_some()));
    Ok(Done { worked: true, outcome: told.outcome(program, version.as_deref()), fetched })
}

/// The program to run, and its folder where it had to be fetched.
async fn tool(
    ctx: &Context,
    env: &Env,
    choice: &Choice,
    installed: Option<&Path>,
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
    let fetched = tool::fetch_from_npm(ctx, &wanted, &why).await?;
    let folder = fetched.parent().map(Into::into);
    Ok((fetched, folder))
}

/// Why the installed manager will not do; `None` when it will. Only asked where a major version is wanted.
async fn unfit(env: &Env, choice: &Choice, path: &Path) -> Option<String> {
    let program = choice.manager.program();
    let wanted = match choice.manager {
        Manager::Npm => return None,
        Manager::YarnClassic => "1",
        Manager::Yarn | Manager::Pnpm | Manager::Bun => manager::major(choice.pin.as_deref()?),
    };
    // pnpm asked inside the project would fetch the pinned version itself; yarn must be, it may come with the project.
    let directory = if choice.manager == Manager::Pnpm { Path::new("/") } else { &choice.root };
    let asked = Cmd::new(path).arg("--version").only_env(env).directory(directory).ok().await;
    let version = asked.map_or_else(|error| error.to_string(), |output| output.text());
    let fits = manager::major(&version) == wanted;
    (!fits).then(|| match &choice.pin {
        Some(pin) => format!("the project pins {program} {pin}, installed is {version}"),
        None => format!("the lock file is of {program} {wanted}, installed is {version}"),
    })
}

fn node_missing() -> DepsError {
    DepsError::ToolMissing {
        tool: "node".into(),
        why: "there is no `node` on PATH, and the packages are for it".into(),
        fix: "install Node.js 20 or later (https://nodejs.org/en/download, or `nvm install --lts`), then run devrun \
              again"
            .into(),
    }
}

fn npm_missing() -> DepsError {
    DepsError::ToolMissing {
        tool: "npm".into(),
        why: "there is no `npm` on PATH; it normally comes with Node.js".into(),
        fix: "install npm (Debian and Ubuntu: apt install npm), then run devrun again".into(),
    }
}

#[cfg(test)]
mod tests;
