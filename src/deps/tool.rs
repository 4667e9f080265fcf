//! Package managers that the user lacks, fetched into devrun's own cache with what every Node or Python comes with
//! (npm, pip). The system and the user's folders stay as they are.
//!
//! A tool appears in the cache whole or not at all: it is built beside its place under a lock, then renamed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::context::Context;
use crate::deps::{DepsError, Env, find};
use crate::event::{Event, Step};
use crate::os::cmd::{Cmd, CmdError, NPM_MARKS};
use crate::os::fs::{self, FsError, Lock, LockKind};

const LIMIT: Duration = Duration::from_mins(5);

/// A tool as npm delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NpmTool<'a> {
    /// The program and its name here.
    pub program: &'static str,
    /// The npm package that holds it.
    pub package: &'static str,
    /// Exact version.
    pub version: &'a str,
}

/// Version of uv that is fetched when there is none.
const UV: &str = "0.13.8";

/// The program of `tool`, fetched with the user's npm if need be.
pub(crate) async fn fetch_from_npm(
    ctx: &Context,
    env: &Env,
    tool: &NpmTool<'_>,
    why: &str,
) -> Result<PathBuf, DepsError> {
    let NpmTool { program, package, version } = *tool;
    let place = Place::new(ctx, program, version, Path::new("node_modules/.bin").join(program));
    if let Some(found) = place.found() {
        return Ok(found);
    }
    let missing = |why: String| DepsError::ToolMissing {
        tool: format!("{program} {version}"),
        why,
        fix: format!("npm install --global {package}@{version}, then run devrun again"),
    };
    let Some(npm) = find(env, "npm") else {
        return Err(missing(format!("{why}, and there is no npm to fetch it with")));
    };
    let _lock = place.lock().await?;
    if let Some(found) = place.found() {
        return Ok(found);
    }
    tell(ctx, Step::Node, &format!("{program} {version}"), why);
    let build = place.workshop()?;
    let install = Cmd::new(npm)
        .args(["install", "--no-save", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"])
        .arg("--prefix")
        .arg(build.path())
        .arg(format!("{package}@{version}"));
    run(&install, env, build.path()).await.map_err(|error| missing(told(why, &error)))?;
    place.settle(build).ok_or_else(|| missing(format!("{why}, and the package {package} does not have it")))
}

/// uv, fetched with the user's Python if need be.
pub(crate) async fn fetch_uv(ctx: &Context, env: &Env, why: &str) -> Result<PathBuf, DepsError> {
    let place = Place::new(ctx, "uv", UV, PathBuf::from("bin/uv"));
    if let Some(found) = place.found() {
        return Ok(found);
    }
    let missing = |why: String| DepsError::ToolMissing {
        tool: "uv".into(),
        why,
        fix: "install uv (https://docs.astral.sh/uv/getting-started/installation/), then run devrun again"
            .into(),
    };
    let Some(python) = find(env, "python3") else {
        return Err(missing(format!("{why}, and there is no python3 to fetch it with")));
    };
    let _lock = place.lock().await?;
    if let Some(found) = place.found() {
        return Ok(found);
    }
    tell(ctx, Step::Python, &format!("uv {UV}"), why);
    let build = place.workshop()?;
    let pip = |cmd: Cmd| cmd.args(["install", "--quiet", "--no-deps", "--only-binary=:all:"]);
    let wanted = format!("uv=={UV}");
    let direct = pip(Cmd::new(&python).args(["-m", "pip"])).arg("--target").arg(build.path()).arg(&wanted);
    let mut ended = run(&direct, env, build.path()).await;
    if ended.is_err() {
        // Debian's python3 has no pip of its own, and an older pip refuses to touch a managed Python.
        let make = Cmd::new(&python).args(["-m", "venv", "--clear"]).arg(build.path());
        ended = run(&make, env, build.path()).await;
        if ended.is_ok() {
            ended = run(&pip(Cmd::new(build.path().join("bin/pip"))).arg(&wanted), env, build.path()).await;
        }
    }
    ended.map_err(|error| missing(told(why, &error)))?;
    place
        .settle(build)
        .ok_or_else(|| missing(format!("{why}, and its package has no program for this machine")))
}

fn tell(ctx: &Context, step: Step, what: &str, why: &str) {
    ctx.events.note(format!("fetching {what} into devrun's cache: {why}"));
    ctx.events.send(Event::StepProgress { step, detail: format!("fetching {what}") });
}

fn told(why: &str, error: &CmdError) -> String {
    let said = error.marked(&NPM_MARKS, 4).or_else(|| error.tail(12));
    let said = said.map(|tail| format!("\n{tail}")).unwrap_or_default();
    format!("{why}, and it could not be fetched: {error}{said}")
}

async fn run(cmd: &Cmd, env: &Env, directory: &Path) -> Result<(), CmdError> {
    // `only_env` starts the list anew, so nothing of ours leaks in.
    cmd.clone().only_env(env).directory(directory).limit(LIMIT).ok().await.map(drop)
}

/// One version of one tool in the cache.
struct Place {
    folder: PathBuf,
    home: PathBuf,
    name: String,
    program: PathBuf,
}

impl Place {
    fn new(ctx: &Context, program: &str, version: &str, below: PathBuf) -> Place {
        let folder = ctx.dirs.cache.join("tools");
        let name = format!("{program}-{version}");
        Place { home: folder.join(&name), folder, name, program: below }
    }

    fn found(&self) -> Option<PathBuf> {
        Some(self.home.join(&self.program)).filter(|program| program.is_file())
    }

    async fn lock(&self) -> Result<Lock, DepsError> {
        Ok(Lock::take(&self.folder.join(format!("{}.lock", self.name)), LockKind::Exclusive, LIMIT * 2)
            .await?)
    }

    /// An empty folder beside the place; removed unless it is settled. What killed builds left goes first.
    fn workshop(&self) -> Result<tempfile::TempDir, DepsError> {
        fs::make_private_dir(&self.folder)?;
        let prefix = format!(".{}.", self.name);
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let made = tempfile::Builder::new().prefix(&prefix).tempdir_in(&self.folder);
        made.map_err(|source| FsError::Io { action: "create", path: self.folder.clone(), source }.into())
    }

    /// Moves a finished build to its place; `None` when it lacks the program or cannot be moved.
    fn settle(&self, build: tempfile::TempDir) -> Option<PathBuf> {
        if !build.path().join(&self.program).is_file() {
            return None;
        }
        let _ = std::fs::remove_dir_all(&self.home);
        std::fs::rename(build.keep(), &self.home).ok()?;
        self.found()
    }
}
