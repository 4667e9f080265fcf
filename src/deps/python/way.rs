//! By which tool a Python project is installed, and from which files. Looks at files, runs nothing, never looks above
//! the worktree.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::deps::{Env, levels};
use crate::os::read::{self, Limit};

/// The way to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// `uv.lock`: uv, exactly as locked.
    UvLock,
    /// `poetry.lock`: poetry.
    Poetry,
    /// A requirements file: uv or pip.
    Requirements(PathBuf),
    /// `pyproject.toml` without a lock: its dependencies, by uv. The project itself is not built: flat layouts cannot be,
    /// and a build leaves files behind that git shows.
    Pyproject,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub way: Way,
    /// Where `.venv` belongs: the project's folder, or the root of its uv workspace.
    pub home: PathBuf,
}

/// Requirements files, best first, when there are several.
const REQUIREMENTS: [&str; 5] = [
    "requirements.txt",
    "requirements-dev.txt",
    "requirements/dev.txt",
    "requirements/base.txt",
    "requirements.lock",
];

/// Variables that would send an install somewhere else than into the worktree's own environment.
const FOREIGN: [&str; 12] = [
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
    "UV_PROJECT_ENVIRONMENT",
    "UV_SYSTEM_PYTHON",
    "PIP_TARGET",
    "PIP_PREFIX",
    "FORCE_COLOR",
    "CLICOLOR_FORCE",
];

/// Decides for `directory` inside `worktree`; `None` when nothing there says Python.
pub(super) fn decide(directory: &Path, worktree: &Path) -> Option<Choice> {
    let has = |name: &str| directory.join(name).is_file();
    let here = |way| Some(Choice { way, home: directory.into() });
    if has("uv.lock") {
        return here(Way::UvLock);
    }
    if has("poetry.lock") {
        return here(Way::Poetry);
    }
    if has("pyproject.toml") {
        let root = levels(directory, worktree).skip(1).find(|level| is_workspace(level));
        if let Some(root) = root {
            return Some(Choice { way: Way::UvLock, home: root.into() });
        }
    }
    if let Some(name) = REQUIREMENTS.into_iter().find(|name| has(name)) {
        return here(Way::Requirements(directory.join(name)));
    }
    if has("pyproject.toml") { here(Way::Pyproject) } else { None }
}

fn is_workspace(level: &Path) -> bool {
    let manifest = read::text(&level.join("pyproject.toml"), Limit::SMALL).unwrap_or_default();
    manifest.contains("[tool.uv.workspace]") && level.join("uv.lock").is_file()
}

/// The files that count, below `worktree`.
pub(super) fn files(choice: &Choice, directory: &Path, worktree: &Path) -> BTreeSet<PathBuf> {
    let names =
        ["pyproject.toml", "uv.lock", "uv.toml", "poetry.lock", "poetry.toml", "setup.py", "setup.cfg"];
    let mut files: BTreeSet<PathBuf> = [directory, &choice.home]
        .into_iter()
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .collect();
    files.extend(levels(directory, worktree).map(|level| level.join(".python-version")));
    files.extend(REQUIREMENTS.map(|name| directory.join(name)));
    // Requirements files name each other; those beside them are counted without being understood.
    for folder in [directory.to_path_buf(), directory.join("requirements")] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        files.extend(entries.filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let whole_folder = path.parent() != Some(directory);
            let lists = ["requirements", "constraints"].iter().any(|word| name.contains(word));
            (lists || whole_folder) && path.extension().is_some_and(|end| end == "txt" || end == "in")
        }));
    }
    files.into_iter().map(|path| path.strip_prefix(worktree).unwrap_or(&path).to_path_buf()).collect()
}

/// `env` without another environment's traces: its variables, and its `bin` on PATH.
pub(super) fn environment(env: &Env) -> Env {
    let mut clean = env.clone();
    let active = ["VIRTUAL_ENV", "CONDA_PREFIX"].map(|name| env.get(OsStr::new(name)).map(PathBuf::from));
    let bins: Vec<PathBuf> =
        active.into_iter().flatten().filter(|home| home.is_absolute()).map(|home| home.join("bin")).collect();
    if let Some(path) = env.get(OsStr::new("PATH")) {
        let kept = std::env::split_paths(path).filter(|folder| !bins.contains(folder));
        if let Ok(joined) = std::env::join_paths(kept) {
            clean.insert("PATH".into(), joined);
        }
    }
    for name in FOREIGN {
        clean.remove(OsStr::new(name));
    }
    let fixed = [
        // The user's pip.conf may ask for both.
        ("PIP_REQUIRE_VIRTUALENV", "0"),
        ("PIP_USER", "0"),
        ("PIP_NO_INPUT", "1"),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ("POETRY_VIRTUALENVS_CREATE", "true"),
        ("POETRY_VIRTUALENVS_IN_PROJECT", "true"),
        ("NO_COLOR", "1"),
    ];
    clean.extend(fixed.map(|(name, value)| (name.into(), value.into())));
    clean
}

/// True when the user told pip, by variable or file, where packages come from.
pub(super) fn pip_has_an_index(env: &Env) -> bool {
    const VARIABLES: [&str; 4] = ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_CONFIG_FILE"];
    if VARIABLES.iter().any(|name| env.get(OsStr::new(name)).is_some_and(|value| !value.is_empty())) {
        return true;
    }
    let folder = |name: &str| env.get(OsStr::new(name)).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = folder("HOME");
    let below = |name: &str| home.as_ref().map(|home| home.join(name));
    let files = [
        Some("/etc/pip.conf".into()),
        Some("/etc/xdg/pip/pip.conf".into()),
        folder("XDG_CONFIG_HOME").or_else(|| below(".config")).map(|config| config.join("pip/pip.conf")),
        below(".pip/pip.conf"),
        below("Library/Application Support/pip/pip.conf"),
    ];
    // `index-url`, `extra-index-url`, `no-index`.
    files.into_iter().flatten().any(|file| {
        let text = read::text(&file, Limit::SMALL).unwrap_or_default();
        text.lines().any(|line| !line.trim_start().starts_with(['#', ';']) && line.contains("index"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fs::replace;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("backend")).unwrap();
        for name in files {
            replace(&dir.path().join(name), b"[tool.uv.workspace]\n", 0o600).unwrap();
        }
        dir
    }

    fn way(files: &[&str]) -> Option<Way> {
        let dir = tree(files);
        let found = decide(&dir.path().join("backend"), dir.path())?.way;
        Some(match found {
            Way::Requirements(path) => Way::Requirements(path.strip_prefix(dir.path()).unwrap().into()),
            other => other,
        })
    }

    #[test]
    fn locks_come_before_lists_and_lists_before_manifests() {
        assert_eq!(way(&["backend/uv.lock", "backend/requirements.txt"]), Some(Way::UvLock));
        assert_eq!(way(&["backend/poetry.lock", "backend/pyproject.toml"]), Some(Way::Poetry));
        let both = ["backend/pyproject.toml", "backend/requirements.txt"];
        assert_eq!(way(&both), Some(Way::Requirements("backend/requirements.txt".into())));
        assert_eq!(way(&both[..1]), Some(Way::Pyproject));
        let dev = Way::Requirements("backend/requirements/dev.txt".into());
        assert_eq!(way(&["backend/requirements/dev.txt"]), Some(dev));
        assert_eq!(way(&["requirements.txt", "uv.lock"]), None);
    }

    #[test]
    fn a_member_of_a_workspace_shares_its_environment() {
        let dir = tree(&["uv.lock", "pyproject.toml", "backend/pyproject.toml"]);
        let found = decide(&dir.path().join("backend"), dir.path()).unwrap();
        assert_eq!(found, Choice { way: Way::UvLock, home: dir.path().into() });
        assert_eq!(
            decide(&dir.path().join("backend"), &dir.path().join("backend")).unwrap().way,
            Way::Pyproject
        );
    }

    #[test]
    fn lists_that_other_lists_may_name_count() {
        let dir =
            tree(&["backend/requirements.txt", "backend/dev-requirements.txt", "backend/requirements/x.txt"]);
        let directory = dir.path().join("backend");
        let choice = decide(&directory, dir.path()).unwrap();
        let files = files(&choice, &directory, dir.path());
        for name in ["backend/dev-requirements.txt", "backend/requirements/x.txt", ".python-version"] {
            assert!(files.contains(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn where_pip_is_told_to_fetch_from_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let env = |name: &str, value: &str| -> Env {
            [("HOME".into(), dir.path().into()), (name.into(), value.into())].into()
        };
        assert!(!pip_has_an_index(&env("PIP_CERT", "/c.pem")));
        assert!(pip_has_an_index(&env("PIP_EXTRA_INDEX_URL", "https://packages.example/simple")));
        replace(&dir.path().join(".pip/pip.conf"), b"[global]\n# index-url = x\ncert = /c.pem\n", 0o600)
            .unwrap();
        assert!(!pip_has_an_index(&env("A", "")));
        replace(&dir.path().join(".config/pip/pip.conf"), b"[global]\nindex-url = https://x\n", 0o600)
            .unwrap();
        assert!(pip_has_an_index(&env("A", "")));
    }

    #[test]
    fn another_environment_leaves_no_trace() {
        let env: Env = [("VIRTUAL_ENV", "/o/.venv"), ("PATH", "/o/.venv/bin:/usr/bin"), ("PYTHONHOME", "/o")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        let clean = environment(&env);
        assert_eq!(clean[OsStr::new("PATH")], "/usr/bin");
        assert!(
            !clean.contains_key(OsStr::new("VIRTUAL_ENV")) && !clean.contains_key(OsStr::new("PYTHONHOME"))
        );
    }
}
