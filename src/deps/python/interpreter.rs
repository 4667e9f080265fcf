//! Which Python makes the environment when uv is not there to choose one.

use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::deps::{DepsError, Env, find};
use crate::os::cmd::Cmd;

/// Oldest version that is taken without a word.
const OLDEST: (u32, u32) = (3, 11);
/// Programs, in the order in which they are tried.
const PROGRAMS: [&str; 6] = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"];

/// The first Python on PATH that is new enough. What `python3` is counts whatever its version when the project says
/// so itself (`.python-version`), and with a warning when there is nothing newer.
pub(super) async fn choose(ctx: &Context, env: &Env, directory: &Path) -> Result<PathBuf, DepsError> {
    let said = directory.ancestors().any(|level| level.join(".python-version").is_file());
    let mut old = None;
    for program in PROGRAMS {
        let Some(path) = find(env, program) else { continue };
        let Some(version) = version(env, &path, directory).await else { continue };
        if version >= OLDEST || (said && version.0 == 3) {
            return Ok(path);
        }
        if version.0 == 3 && old.is_none() {
            old = Some((path, version));
        }
    }
    let Some((path, (major, minor))) = old else {
        return Err(DepsError::ToolMissing {
            tool: "python3".into(),
            why: "there is no working `python3` on PATH, nor uv".into(),
            fix: "install Python 3.11 or later (Debian and Ubuntu: apt install python3 python3-venv; macOS: brew \
                  install python), then run devrun again"
                .into(),
        });
    };
    ctx.events.warn(format!("Python {major}.{minor} is all there is; 3.11 or later is better supported"));
    Ok(path)
}

async fn version(env: &Env, path: &Path, directory: &Path) -> Option<(u32, u32)> {
    let asked = Cmd::new(path).arg("--version").only_env(env).directory(directory).ok().await.ok()?;
    parse(&asked.text())
}

fn parse(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix("Python ")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Debian takes pip's bootstrap out of its Python and puts it into a package of its own.
pub(super) fn explain(error: DepsError) -> DepsError {
    match error {
        DepsError::InstallFailed { said: Some(said), .. } if said.contains("ensurepip") => {
            DepsError::ToolMissing {
                tool: "python3-venv".into(),
                why: said,
                fix: "apt install python3-venv (or install uv), then run devrun again".into(),
            }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parse("Python 3.11.7"), Some((3, 11)));
        assert!(parse("Python 3.9.18").unwrap() < OLDEST);
        assert!(parse("Python 3.14.0rc1").unwrap() > OLDEST);
        assert_eq!(parse("pyenv: python3.12: command not found"), None);
    }
}
