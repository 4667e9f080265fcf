//! Downloads package managers that are Python programs, with uv, into separate environments in devrun's cache.

use std::path::{Path, PathBuf};

use super::{ToolFolder, failure_text, fetch_uv, report_tool, run};
use crate::context::Context;
use crate::deps::DepsError;
use crate::error::RERUN;
use crate::event::Step;
use crate::os::cmd::Cmd;
use crate::os::fs;

/// A package manager that is a Python program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PythonTool {
    /// The program, which is also the tool's name.
    pub program: &'static str,
    version: &'static str,
    /// Every package of its environment, with the hashes of its files. Source: `uv pip compile --universal
    /// --generate-hashes`.
    list: &'static str,
    /// The page with install instructions.
    page: &'static str,
}

pub(crate) const POETRY: PythonTool = PythonTool {
    program: "poetry",
    version: "2.5.1",
    list: include_str!("poetry.txt"),
    page: "https://python-poetry.org/docs/#installation",
};

/// PDM. Its list pins the versions of the lock file in PDM's own repository.
pub(crate) const PDM: PythonTool = PythonTool {
    program: "pdm",
    version: "2.29.3",
    list: include_str!("pdm.txt"),
    page: "https://pdm-project.org/en/latest/#installation",
};

/// Returns the program of `tool`. Downloads it if it is not in the cache.
pub(crate) async fn fetch_python_tool(
    ctx: &Context,
    tool: &PythonTool,
    why: &str,
) -> Result<PathBuf, DepsError> {
    let PythonTool { program, version, list, page } = *tool;
    // The program is linked from a separate folder: on a PATH, the environment's `bin` would replace other programs,
    // such as `python`.
    let place = ToolFolder::new(ctx, program, version, Path::new("program").join(program));
    let found = || place.found().filter(|_| place.home.join("bin/python").is_file());
    if let Some(found) = found() {
        return Ok(found);
    }
    let missing = |why: String| DepsError::ToolMissing {
        tool: program.into(),
        why,
        fix: format!("install {program} ({page}), then {RERUN}"),
    };
    let uv = match ctx.which("uv") {
        Some(uv) => uv,
        None => fetch_uv(ctx, why).await?,
    };
    let _lock = place.lock().await?;
    if let Some(found) = found() {
        return Ok(found);
    }
    report_tool(ctx, Step::Python, &format!("{program} {version}"), why);
    let build = place.workshop()?;
    let make = Cmd::new(&uv)
        .args(["venv", "--quiet", "--no-project", "--relocatable", "--python", ">=3.10"])
        .arg(build.path());
    run(ctx, &make, build.path()).await.map_err(|error| missing(failure_text(why, &error)))?;
    let wanted = build.path().join("wanted.txt");
    fs::replace(&wanted, list.as_bytes(), 0o600)?;
    let install = Cmd::new(&uv)
        .args([
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--python",
        ])
        .arg(build.path().join("bin/python"))
        .arg("-r")
        .arg(&wanted);
    run(ctx, &install, build.path()).await.map_err(|error| missing(failure_text(why, &error)))?;
    let lacks = || missing(format!("{why}, and its package has no program for this machine"));
    let folder = build.path().join("program");
    std::fs::create_dir(&folder)
        .and_then(|()| std::os::unix::fs::symlink(Path::new("../bin").join(program), folder.join(program)))
        .map_err(|_| lacks())?;
    place.move_into_cache(build).ok_or_else(lacks)
}
