//! Inspects a `.venv` folder and decides what must be done with it. Reads files, starts no process.
//!
//! A virtual environment contains absolute paths (the first lines of its scripts). After a move or copy it still runs
//! the interpreter and the packages of its original place.

use std::path::{Path, PathBuf};

use crate::context::dependency_lists::site_packages;
use crate::deps::DepsError;
use crate::os::read::{self, Limit};

/// The state of a `.venv` folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Venv {
    /// It does not exist or is an empty folder.
    Missing,
    /// An environment that was created here, with an interpreter.
    Whole,
    /// An environment that was created for this other place.
    MadeFor(PathBuf),
    /// An environment whose interpreter no longer exists.
    Headless,
    /// A folder with contents but without `pyvenv.cfg`.
    Unknown,
}

/// The work before the install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Create the environment.
    Make,
    /// Remove and recreate it, for this reason.
    Remake(String),
    /// Install into the existing environment.
    Update {
        /// Install existing packages again, because they may be incomplete.
        distrust: bool,
    },
}

/// The last install into an environment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastInstall {
    /// True if devrun created the environment.
    pub ours: bool,
    pub result: InstallResult,
}

/// The result of the last install.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum InstallResult {
    /// All that it created is there, or nothing is known.
    #[default]
    Whole,
    /// The install did not finish.
    CutShort,
    /// Files that it created are gone.
    LacksFiles {
        /// True if the tool can install packages again that seem to be installed.
        can_repeat: bool,
    },
}

/// Inspects `path`. Errors if it is a link.
pub(super) fn inspect(path: &Path) -> Result<Venv, DepsError> {
    if let Ok(target) = std::fs::read_link(path) {
        return Err(DepsError::Linked { path: path.into(), target });
    }
    if !path.join("pyvenv.cfg").is_file() {
        let empty = std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none());
        return Ok(if empty { Venv::Missing } else { Venv::Unknown });
    }
    let script = read::file(&path.join("bin/activate"), Limit::SMALL).unwrap_or_default();
    if let Some(home) = made_for(&String::from_utf8_lossy(&script)) {
        let physical = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
        if physical(&home) != physical(path) {
            return Ok(Venv::MadeFor(home));
        }
    }
    // `is_file` follows the link: the interpreter may have been removed.
    Ok(if path.join("bin/python").is_file() { Venv::Whole } else { Venv::Headless })
}

/// Returns the path that an `activate` script names, or `None` for relocatable environments, which compute it. Skips lines
/// for Windows, which wrap it.
fn made_for(script: &str) -> Option<PathBuf> {
    let value = |line: &str| {
        let rest = line.trim().trim_start_matches("export ").strip_prefix("VIRTUAL_ENV=")?;
        let bare = rest.trim_matches(['\'', '"']);
        bare.starts_with('/').then(|| PathBuf::from(bare))
    };
    script.lines().find_map(value)
}

/// The most entries of `site-packages` that are listed.
const MOST: usize = 20_000;

/// Returns the paths in `venv` that an install has created: `pyvenv.cfg`, and each entry of `site-packages`.
pub(super) fn contents(venv: &Path) -> Vec<PathBuf> {
    // Python writes `__pycache__` later, and pip renames folders to `~…` before it removes them.
    let lasts = |name: &str| name != "__pycache__" && !name.starts_with('~');
    let packages =
        site_packages(venv).filter(|entry| entry.file_name().to_str().is_some_and(lasts)).take(MOST);
    std::iter::once(venv.join("pyvenv.cfg")).chain(packages.map(|entry| entry.path())).collect()
}

/// Decides what to do with the environment at `path`, in the state `found`.
pub(super) fn decide(found: &Venv, last: LastInstall, path: &Path) -> Result<Action, DepsError> {
    let LastInstall { ours, result } = last;
    let cut_short = result == InstallResult::CutShort;
    match found {
        Venv::Missing => Ok(Action::Make),
        Venv::MadeFor(other) => Ok(Action::Remake(format!("it was made for {}", other.display()))),
        Venv::Headless => Ok(Action::Remake("its Python interpreter is gone".into())),
        Venv::Unknown if ours => Ok(Action::Remake("it was never completed".into())),
        Venv::Unknown => Err(DepsError::NotAVenv(path.into())),
        Venv::Whole if ours && cut_short => Ok(Action::Remake("the last install was cut short".into())),
        Venv::Whole if ours && result == (InstallResult::LacksFiles { can_repeat: false }) => {
            Ok(Action::Remake("files of its packages are gone".into()))
        }
        Venv::Whole => Ok(Action::Update { distrust: result != InstallResult::Whole }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fs::replace;

    fn venv(path: &Path, activate: &str) {
        replace(&path.join("pyvenv.cfg"), b"home = /usr/bin\n", 0o644).unwrap();
        replace(&path.join("bin/activate"), activate.as_bytes(), 0o644).unwrap();
        std::os::unix::fs::symlink("/bin/sh", path.join("bin/python")).unwrap();
    }

    #[test]
    fn every_state_of_a_venv_folder_is_recognised() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".venv");
        assert_eq!(inspect(&path).unwrap(), Venv::Missing);
        std::fs::create_dir(&path).unwrap();
        assert_eq!(inspect(&path).unwrap(), Venv::Missing);
        replace(&path.join("bin/something"), b"", 0o600).unwrap();
        assert_eq!(inspect(&path).unwrap(), Venv::Unknown);
        venv(&path, &format!("VIRTUAL_ENV='{}'\n", path.display()));
        assert_eq!(inspect(&path).unwrap(), Venv::Whole);
        std::fs::remove_file(path.join("bin/python")).unwrap();
        std::os::unix::fs::symlink("/gone/python", path.join("bin/python")).unwrap();
        assert_eq!(inspect(&path).unwrap(), Venv::Headless);
        let moved = dir.path().join("moved");
        std::fs::rename(&path, &moved).unwrap();
        assert_eq!(inspect(&moved).unwrap(), Venv::MadeFor(path.clone()));
        std::os::unix::fs::symlink(&moved, &path).unwrap();
        assert!(matches!(inspect(&path), Err(DepsError::Linked { target, .. }) if target == moved));
    }

    #[test]
    fn every_dialect_of_activate_is_read() {
        let uv = "VIRTUAL_ENV='/w/.venv'\nif cygwin; then\n    VIRTUAL_ENV=$(cygpath -u \"$VIRTUAL_ENV\")\n";
        let old = "VIRTUAL_ENV=\"/w/.venv\"\nexport VIRTUAL_ENV\n";
        let new = "  VIRTUAL_ENV=$(cygpath \"/w/.venv\")\n   export VIRTUAL_ENV=/w/.venv\n";
        for script in [uv, old, new] {
            assert_eq!(made_for(script), Some("/w/.venv".into()));
        }
        assert_eq!(made_for("VIRTUAL_ENV=''\"$(dirname -- \"$SCRIPT_PATH\")\"''\n"), None);
    }

    #[test]
    fn only_broken_environments_and_those_of_devrun_are_recreated() {
        let decide = |found: &Venv, last| decide(found, last, Path::new("/w/.venv"));
        let update = |distrust| Action::Update { distrust };
        let foreign = LastInstall::default();
        let ours = LastInstall { ours: true, ..foreign };
        let cut_short = |last| LastInstall { result: InstallResult::CutShort, ..last };
        let lacks_files =
            |last, can_repeat| LastInstall { result: InstallResult::LacksFiles { can_repeat }, ..last };
        assert_eq!(decide(&Venv::Missing, foreign).unwrap(), Action::Make);
        for (last, action) in [
            (foreign, update(false)),
            (ours, update(false)),
            (cut_short(foreign), update(true)),
            (lacks_files(foreign, false), update(true)),
            (lacks_files(ours, true), update(true)),
        ] {
            assert_eq!(decide(&Venv::Whole, last).unwrap(), action, "{last:?}");
        }
        for last in [cut_short(ours), lacks_files(ours, false)] {
            assert!(matches!(decide(&Venv::Whole, last).unwrap(), Action::Remake(_)), "{last:?}");
        }
        assert!(matches!(decide(&Venv::MadeFor("/o".into()), foreign).unwrap(), Action::Remake(_)));
        assert!(matches!(decide(&Venv::Unknown, cut_short(ours)).unwrap(), Action::Remake(_)));
        assert!(matches!(decide(&Venv::Unknown, foreign), Err(DepsError::NotAVenv(_))));
    }

    #[test]
    fn packages_are_part_of_an_environment_and_caches_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let packages = dir.path().join("lib/python3.12/site-packages");
        for name in ["six.py", "a/__init__.py", "a-1.dist-info/RECORD", "__pycache__/six.pyc", "~b/x"] {
            replace(&packages.join(name), b"", 0o600).unwrap();
        }
        let mut found = contents(dir.path());
        found.sort();
        let wanted = ["a", "a-1.dist-info", "six.py"].map(|name| packages.join(name));
        assert_eq!(found, [&wanted[..], &[dir.path().join("pyvenv.cfg")]].concat());
    }
}
