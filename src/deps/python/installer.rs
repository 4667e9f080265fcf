//! Decides with which tool a Python project is installed, and from which files. Reads files, starts no process. Outside the
//! worktree it reads only files that the project names, and the settings files of uv and pip.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::referenced_files;
use crate::deps::{ToolEnv, levels};
use crate::os::read::{self, Limit};

/// The kind of install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Installer {
    /// `uv.lock`: uv, exactly as locked.
    UvLock,
    /// `poetry.lock`, or dependencies that only Poetry reads: Poetry.
    Poetry,
    /// `pdm.lock`: PDM.
    Pdm,
    /// A requirements file: uv or pip.
    Requirements(PathBuf),
    /// `pyproject.toml` without a lock file: uv installs its dependencies. The project itself is not built, because
    /// flat layouts cannot be built and a build leaves files that git shows.
    Pyproject,
}

/// The result of the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InstallerChoice {
    pub way: Installer,
    /// The folder of `.venv`: the project's folder, or the root of its uv workspace.
    pub home: PathBuf,
}

impl InstallerChoice {
    /// Returns the file from which the project in `directory` is installed.
    pub(super) fn list(&self, directory: &Path) -> PathBuf {
        let lock = match &self.way {
            Installer::Requirements(list) => return list.clone(),
            Installer::UvLock => "uv.lock",
            Installer::Poetry => "poetry.lock",
            Installer::Pdm => "pdm.lock",
            Installer::Pyproject => "pyproject.toml",
        };
        let lock = self.home.join(lock);
        // Without a lock file Poetry installs from the manifest.
        if lock.is_file() { lock } else { directory.join("pyproject.toml") }
    }
}

/// Names of requirements files. If there are several, the first one is used.
const REQUIREMENTS: [&str; 5] = [
    "requirements.txt",
    "requirements-dev.txt",
    "requirements/dev.txt",
    "requirements/base.txt",
    "requirements.lock",
];

/// Variables that would make an install use another environment, leave out packages, ignore the lock file or colour the
/// output.
const FOREIGN: [&str; 42] = [
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
    "UV_PROJECT_ENVIRONMENT",
    "UV_SYSTEM_PYTHON",
    "UV_BREAK_SYSTEM_PACKAGES",
    "UV_PROJECT",
    "UV_WORKING_DIR",
    "UV_WORKING_DIRECTORY",
    "UV_FROZEN",
    "UV_LOCKED",
    "UV_NO_SYNC",
    "UV_ISOLATED",
    "UV_DEV",
    "UV_NO_DEV",
    "UV_NO_GROUP",
    "UV_NO_DEFAULT_GROUPS",
    "UV_NO_EDITABLE",
    "UV_NO_INSTALL_PROJECT",
    "UV_NO_INSTALL_WORKSPACE",
    "UV_NO_INSTALL_LOCAL",
    "UV_VENV_CLEAR",
    "UV_VENV_SEED",
    "PDM_PYTHON",
    "PDM_PROJECT",
    "PDM_LOCKFILE",
    "PDM_USE_VENV",
    "PDM_IN_VENV",
    "PDM_IGNORE_ACTIVE_VENV",
    "PDM_NO_SELF",
    "POETRY_ACTIVE",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_NO_DEPS",
    "PIP_DRY_RUN",
    "PIP_REQUIREMENT",
    "FORCE_COLOR",
    "CLICOLOR_FORCE",
];

/// Decides for `directory` inside `worktree`. Returns `None` if it has no files of a Python project.
pub(super) fn decide(directory: &Path, worktree: &Path) -> Option<InstallerChoice> {
    let has = |name: &str| directory.join(name).is_file();
    let here = |way| Some(InstallerChoice { way, home: directory.into() });
    if has("uv.lock") {
        return here(Installer::UvLock);
    }
    if has("poetry.lock") {
        return here(Installer::Poetry);
    }
    if has("pdm.lock") {
        return here(Installer::Pdm);
    }
    if has("pyproject.toml") {
        let root = levels(directory, worktree).skip(1).find(|level| is_workspace(level));
        if let Some(root) = root {
            return Some(InstallerChoice { way: Installer::UvLock, home: root.into() });
        }
    }
    if let Some(name) = REQUIREMENTS.into_iter().find(|name| has(name)) {
        return here(Installer::Requirements(directory.join(name)));
    }
    match has("pyproject.toml") {
        true if is_poetrys(directory) => here(Installer::Poetry),
        true => here(Installer::Pyproject),
        false => None,
    }
}

/// Returns true if only Poetry can read the dependencies of the manifest in `directory`. Another tool would have to
/// build the project.
fn is_poetrys(directory: &Path) -> bool {
    let manifest = read::text(&directory.join("pyproject.toml"), Limit::SMALL).unwrap_or_default();
    let Ok(manifest) = toml::from_str::<toml::Value>(&manifest) else { return false };
    let poetry = manifest.get("tool").and_then(|tool| tool.get("poetry"));
    let has_own = poetry.is_some_and(|own| own.get("dependencies").is_some() || own.get("group").is_some());
    has_own && manifest.get("project").and_then(|project| project.get("dependencies")).is_none()
}

fn is_workspace(level: &Path) -> bool {
    let manifest = read::text(&level.join("pyproject.toml"), Limit::SMALL).unwrap_or_default();
    manifest.contains("[tool.uv.workspace]") && level.join("uv.lock").is_file()
}

/// Returns the files that are inputs of the install, relative to `worktree`.
pub(super) fn files(choice: &InstallerChoice, directory: &Path, worktree: &Path) -> BTreeSet<PathBuf> {
    let names = [
        "pyproject.toml",
        "uv.lock",
        "uv.toml",
        "poetry.lock",
        "poetry.toml",
        "pdm.lock",
        "pdm.toml",
        "setup.py",
        "setup.cfg",
    ];
    let mut files: BTreeSet<PathBuf> = [directory, &choice.home]
        .into_iter()
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .collect();
    files.extend(levels(directory, worktree).map(|level| level.join(".python-version")));
    files.extend(REQUIREMENTS.map(|name| directory.join(name)));
    let list = if let Installer::Requirements(list) = &choice.way { Some(list.as_path()) } else { None };
    files.extend(referenced_files::files(&[directory, &choice.home], list));
    // Requirements files may name each other, so files beside them are inputs too.
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

/// Returns `env` without the variables of another environment and without its `bin` on PATH, and with fixed settings of
/// the tools.
pub(super) fn environment(env: &ToolEnv) -> ToolEnv {
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
        // The user's pip.conf may set the first two.
        ("PIP_REQUIRE_VIRTUALENV", "0"),
        ("PIP_USER", "0"),
        ("PIP_NO_INPUT", "1"),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ("POETRY_VIRTUALENVS_CREATE", "true"),
        ("POETRY_VIRTUALENVS_IN_PROJECT", "true"),
        ("PDM_IGNORE_SAVED_PYTHON", "1"),
        ("PDM_CHECK_UPDATE", "0"),
        ("PDM_NON_INTERACTIVE", "1"),
        ("NO_COLOR", "1"),
    ];
    clean.extend(fixed.map(|(name, value)| (name.into(), value.into())));
    clean
}

/// Returns the variables of `env` that may change the installed packages, as `NAME=value`.
pub(super) fn settings(env: &ToolEnv) -> Vec<String> {
    // uv sets these for programs that `uv run` starts. devrun may be one of them.
    const OF_UV_RUN: [&str; 2] = ["UV_RUN_RECURSION_DEPTH", "UV_INTERNAL__PARENT_INTERPRETER"];
    let counts = |name: &str| {
        ["UV_", "PIP_", "POETRY_", "PDM_"].iter().any(|start| name.starts_with(start))
            && !OF_UV_RUN.contains(&name)
    };
    let all = env.iter().filter(|(name, _)| name.to_str().is_some_and(counts));
    all.map(|(name, value)| format!("{}={}", name.display(), value.display())).collect()
}

/// Returns true if a variable or file of the user sets uv's package index.
pub(super) fn uv_has_an_index(env: &ToolEnv) -> bool {
    const VARIABLES: [&str; 6] = [
        "UV_DEFAULT_INDEX",
        "UV_INDEX",
        "UV_INDEX_URL",
        "UV_EXTRA_INDEX_URL",
        "UV_FIND_LINKS",
        "UV_CONFIG_FILE",
    ];
    let is_set = |name: &str| env.get(OsStr::new(name)).is_some_and(|value| !value.is_empty());
    let folder = |name: &str| env.get(OsStr::new(name)).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    let files = [Some("/etc/uv/uv.toml".into()), config.map(|config| config.join("uv/uv.toml"))];
    VARIABLES.into_iter().any(is_set)
        || files.into_iter().flatten().any(|file| {
            read::text(&file, Limit::SMALL)
                .is_ok_and(|text| text.contains("index") || text.contains("find-links"))
        })
}

/// Returns true if a variable or file of the user sets pip's package index.
pub(super) fn pip_has_an_index(env: &ToolEnv) -> bool {
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
    // Matches `index-url`, `extra-index-url` and `no-index`.
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

    fn way(files: &[&str]) -> Option<Installer> {
        let dir = tree(files);
        let found = decide(&dir.path().join("backend"), dir.path())?.way;
        Some(match found {
            Installer::Requirements(path) => {
                Installer::Requirements(path.strip_prefix(dir.path()).unwrap().into())
            }
            other => other,
        })
    }

    #[test]
    fn locks_come_before_lists_and_lists_before_manifests() {
        assert_eq!(way(&["backend/uv.lock", "backend/requirements.txt"]), Some(Installer::UvLock));
        assert_eq!(way(&["backend/poetry.lock", "backend/pyproject.toml"]), Some(Installer::Poetry));
        assert_eq!(way(&["backend/pdm.lock", "backend/pyproject.toml"]), Some(Installer::Pdm));
        let both = ["backend/pyproject.toml", "backend/requirements.txt"];
        assert_eq!(way(&both), Some(Installer::Requirements("backend/requirements.txt".into())));
        assert_eq!(way(&both[..1]), Some(Installer::Pyproject));
        let dev = Installer::Requirements("backend/requirements/dev.txt".into());
        assert_eq!(way(&["backend/requirements/dev.txt"]), Some(dev));
        assert_eq!(way(&["requirements.txt", "uv.lock"]), None);
    }

    #[test]
    fn dependencies_that_only_poetry_reads_are_installed_with_poetry() {
        let dir = tempfile::tempdir().unwrap();
        let way = |text: &str| {
            replace(&dir.path().join("pyproject.toml"), text.as_bytes(), 0o600).unwrap();
            decide(dir.path(), dir.path()).unwrap().way
        };
        let own = "[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\npython = \"^3.9\"\nsix = \"*\"\n";
        assert_eq!(way(own), Installer::Poetry);
        assert_eq!(
            way(&format!("{own}[project]\nname = \"x\"\ndependencies = [\"six\"]\n")),
            Installer::Pyproject
        );
        assert_eq!(way("[project]\nname = \"x\"\n"), Installer::Pyproject);
    }

    #[test]
    fn a_member_of_a_workspace_shares_its_environment() {
        let dir = tree(&["uv.lock", "pyproject.toml", "backend/pyproject.toml"]);
        let found = decide(&dir.path().join("backend"), dir.path()).unwrap();
        assert_eq!(found, InstallerChoice { way: Installer::UvLock, home: dir.path().into() });
        assert_eq!(
            decide(&dir.path().join("backend"), &dir.path().join("backend")).unwrap().way,
            Installer::Pyproject
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
    fn a_package_index_in_the_settings_of_pip_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let env = |name: &str, value: &str| -> ToolEnv {
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
    fn variables_of_another_environment_are_removed() {
        let env: ToolEnv =
            [("VIRTUAL_ENV", "/o/.venv"), ("PATH", "/o/.venv/bin:/usr/bin"), ("PYTHONHOME", "/o")]
                .map(|(name, value)| (name.into(), value.into()))
                .into();
        let clean = environment(&env);
        assert_eq!(clean[OsStr::new("PATH")], "/usr/bin");
        assert!(
            !clean.contains_key(OsStr::new("VIRTUAL_ENV")) && !clean.contains_key(OsStr::new("PYTHONHOME"))
        );
    }
}
