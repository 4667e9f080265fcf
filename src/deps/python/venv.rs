//! What a `.venv` folder really is, and what must be done about it. Looks at files, runs nothing.
//!
//! A virtual environment holds absolute paths (its scripts' first lines), so one that was moved or copied runs the
//! interpreter and the packages of the place it came from.

use std::path::{Path, PathBuf};

use crate::deps::DepsError;
use crate::deps::stamp::Stamp;
use crate::os::read::{self, Limit};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Venv {
    /// Nothing, or an empty folder.
    Missing,
    /// An environment made here, with an interpreter.
    Whole,
    /// One made for this other place.
    MadeFor(PathBuf),
    /// One whose interpreter is gone.
    Headless,
    /// Something without `pyvenv.cfg`.
    Unknown,
}

/// What to do before installing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Make it.
    Make,
    /// Remove it and make it anew, because of this.
    Remake(String),
    /// Install into what is there; packages that are there may be incomplete when `distrust`.
    Update {
        /// Install them again.
        distrust: bool,
    },
}

/// Looks at `path`; a link is an error.
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
    // Follows the link: the interpreter it was made with may have been removed.
    Ok(if path.join("bin/python").is_file() { Venv::Whole } else { Venv::Headless })
}

/// The path that an `activate` script names. Relocatable environments compute it, and lines for Windows wrap it.
fn made_for(script: &str) -> Option<PathBuf> {
    let value = |line: &str| {
        let rest = line.trim().trim_start_matches("export ").strip_prefix("VIRTUAL_ENV=")?;
        let bare = rest.trim_matches(['\'', '"']);
        bare.starts_with('/').then(|| PathBuf::from(bare))
    };
    script.lines().find_map(value)
}

/// Decides. `known` is the record of the last install.
pub(super) fn decide(found: &Venv, known: Option<&Stamp>, path: &Path) -> Result<Action, DepsError> {
    let ours = known.is_some_and(|stamp| stamp.ours);
    let cut_short = known.is_some_and(|stamp| stamp.finished.is_none());
    match found {
        Venv::Missing => Ok(Action::Make),
        Venv::MadeFor(other) => Ok(Action::Remake(format!("it was made for {}", other.display()))),
        Venv::Headless => Ok(Action::Remake("its Python interpreter is gone".into())),
        Venv::Unknown if ours => Ok(Action::Remake("it was never completed".into())),
        Venv::Unknown => Err(DepsError::NotAVenv(path.into())),
        Venv::Whole if ours && cut_short => Ok(Action::Remake("the last install was cut short".into())),
        Venv::Whole => Ok(Action::Update { distrust: cut_short }),
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

    fn stamp(ours: bool, finished: bool) -> Stamp {
        let snapshot =
            crate::deps::fingerprint::Snapshot::take(&crate::deps::fingerprint::Inputs::default(), None).0;
        let finished =
            finished.then(|| serde_json::json!({"snapshot": snapshot, "evidence": [], "fetched": null}));
        serde_json::from_value(
            serde_json::json!({"version": 1, "target": "/x", "ours": ours, "finished": finished}),
        )
        .unwrap()
    }

    #[test]
    fn what_lies_there_is_told_apart() {
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
    fn only_what_is_dead_or_ours_is_made_anew() {
        let decide =
            |found: &Venv, known: Option<Stamp>| decide(found, known.as_ref(), Path::new("/w/.venv"));
        assert_eq!(decide(&Venv::Missing, None).unwrap(), Action::Make);
        assert_eq!(decide(&Venv::Whole, None).unwrap(), Action::Update { distrust: false });
        assert_eq!(
            decide(&Venv::Whole, Some(stamp(true, true))).unwrap(),
            Action::Update { distrust: false }
        );
        assert_eq!(
            decide(&Venv::Whole, Some(stamp(false, false))).unwrap(),
            Action::Update { distrust: true }
        );
        assert!(matches!(decide(&Venv::Whole, Some(stamp(true, false))).unwrap(), Action::Remake(_)));
        assert!(matches!(decide(&Venv::MadeFor("/o".into()), None).unwrap(), Action::Remake(_)));
        assert!(matches!(decide(&Venv::Unknown, Some(stamp(true, false))).unwrap(), Action::Remake(_)));
        assert!(matches!(decide(&Venv::Unknown, None), Err(DepsError::NotAVenv(_))));
    }
}
