//! Chooses the Python for a new environment if uv is not available to choose one, and adds the Pythons of version managers
//! to PATH.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::deps::{DepsError, ToolEnv, find};
use crate::error::RERUN;
use crate::os::cmd::Cmd;

/// The oldest version that is used without a warning if no `.python-version` exists.
const OLDEST: (u32, u32) = (3, 11);
/// The maximum number of versions of one version manager.
const MOST: usize = 50;
/// Programs, in the order in which they are tried.
const PROGRAMS: [&str; 6] = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"];

/// Folders of version managers below the home folder, each with a folder per installed version.
const VERSION_MANAGERS: [&str; 3] =
    [".pyenv/versions", ".local/share/mise/installs/python", ".asdf/installs/python"];

/// Appends the Pythons of version managers to PATH, newest first. The managers' shims run only the version
/// that is switched on, so that neither uv nor devrun would find the others.
pub(super) fn add_version_managers(env: &mut ToolEnv) {
    let Some(home) = env.get(OsStr::new("HOME")).map(PathBuf::from) else { return };
    let pyenv = env.get(OsStr::new("PYENV_ROOT")).map(|root| PathBuf::from(root).join("versions"));
    let below = VERSION_MANAGERS.iter().map(|folder| home.join(folder)).chain(pyenv);
    let mut found: Vec<PathBuf> = below
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|versions| versions.flatten().take(MOST).map(|version| version.path().join("bin")))
        .filter(|bin| bin.join("python3").is_file())
        .collect();
    found.sort_by_cached_key(|bin| (version_of_folder(bin), bin.clone()));
    found.dedup();
    let path = env.get(OsStr::new("PATH")).cloned().unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(found.into_iter().rev());
    if let Ok(path) = std::env::join_paths(folders) {
        env.insert("PATH".into(), path);
    }
}

/// Returns the numbers in the name of the folder above `bin`: 3, 13 and 0 for `3.13.0`, none for `pypy3.10`.
fn version_of_folder(bin: &Path) -> Vec<u32> {
    let name = bin.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    name.split('.').map_while(|part| part.parse().ok()).collect()
}

/// Returns the first Python on PATH that is new enough. If `directory` or a folder above it has a `.python-version`, returns
/// the first Python 3, even an old one. If there is no newer one, returns an old one with a warning.
pub(super) async fn choose(ctx: &Context, env: &ToolEnv, directory: &Path) -> Result<PathBuf, DepsError> {
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
            why: "neither a working `python3` nor uv is on PATH".into(),
            fix: format!(
                "install Python 3.11 or later (Debian and Ubuntu: apt install python3 python3-venv; macOS: brew \
                  install python), then {RERUN}"
            ),
        });
    };
    ctx.events.warn(format!("only Python {major}.{minor} was found; 3.11 or later is better supported"));
    Ok(path)
}

async fn version(env: &ToolEnv, path: &Path, directory: &Path) -> Option<(u32, u32)> {
    let asked = Cmd::new(path).arg("--version").only_env(env).directory(directory).ok().await.ok()?;
    parse(&asked.text())
}

fn parse(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix("Python ")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Adds a hint for Debian, which has pip's bootstrap in a separate package.
pub(super) fn explain(error: DepsError) -> DepsError {
    match error {
        DepsError::InstallFailed { said: Some(said), .. } if said.contains("ensurepip") => {
            DepsError::ToolMissing {
                tool: "python3-venv".into(),
                why: said,
                fix: format!("apt install python3-venv (or install uv), then {RERUN}"),
            }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_of_version_managers_come_last() {
        let home = tempfile::tempdir().unwrap();
        let bin = |name: &str| home.path().join(".pyenv/versions").join(name).join("bin");
        for name in ["3.9.18", "3.12.1", "3.13.0"] {
            crate::os::fs::replace(&bin(name).join("python3"), b"", 0o755).unwrap();
        }
        std::fs::create_dir_all(bin("empty")).unwrap();
        let mut env =
            ToolEnv::from([("HOME".into(), home.path().into()), ("PATH".into(), "/usr/bin".into())]);
        add_version_managers(&mut env);
        let path: Vec<PathBuf> = std::env::split_paths(&env[OsStr::new("PATH")]).collect();
        assert_eq!(path, [Path::new("/usr/bin"), &bin("3.13.0"), &bin("3.12.1"), &bin("3.9.18")]);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parse("Python 3.11.7"), Some((3, 11)));
        assert!(parse("Python 3.9.18").unwrap() < OLDEST);
        assert!(parse("Python 3.14.0rc1").unwrap() > OLDEST);
        assert_eq!(parse("pyenv: python3.12: command not found"), None);
    }
}
