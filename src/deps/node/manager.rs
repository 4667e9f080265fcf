//! Decides which package manager a project uses, in which version, and where it must run. Reads manifests and lock
//! files, starts no process, and reads nothing above the worktree.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::context::package_json;
use crate::deps::levels;
use crate::deps::node::lockfile::{self, Fit, WantedPackages};
use crate::deps::tool::Pin;
use crate::os::read::{self, Limit};

/// A package manager for Node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    Pnpm,
    Npm,
    /// Version 1, which no longer changes.
    YarnClassic,
    /// Version 2 and later.
    Yarn,
    Bun,
}

/// The result of the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ManagerChoice {
    pub manager: Manager,
    /// The exact version that the manifest pins.
    pub pin: Option<String>,
    /// The hash of that version's package, if the manifest has one.
    pub hash: Option<Pin>,
    /// The folder to run it in: the root of the workspace.
    pub root: PathBuf,
    /// The lock file in `root`.
    pub lockfile: Option<PathBuf>,
    /// The version to download if none is pinned and the installed manager is missing or unsuitable.
    pub fallback: &'static str,
    /// The reason for this lock file, if there are several.
    pub remark: Option<String>,
}

/// Lock files, by their priority if several are in one folder.
const LOCKFILES: [(&str, Manager); 6] = [
    ("pnpm-lock.yaml", Manager::Pnpm),
    ("yarn.lock", Manager::Yarn),
    ("bun.lock", Manager::Bun),
    ("bun.lockb", Manager::Bun),
    ("package-lock.json", Manager::Npm),
    ("npm-shrinkwrap.json", Manager::Npm),
];

impl Manager {
    /// Returns the name of the program.
    pub(crate) const fn program(self) -> &'static str {
        match self {
            Manager::Pnpm => "pnpm",
            Manager::Npm => "npm",
            Manager::Yarn | Manager::YarnClassic => "yarn",
            Manager::Bun => "bun",
        }
    }

    /// Returns the npm package that contains the program.
    pub(crate) const fn package(self) -> &'static str {
        match self {
            Manager::Yarn => "@yarnpkg/cli-dist",
            other => other.program(),
        }
    }

    /// Returns paths that a finished install leaves. Installs leave one of them, not all.
    pub(crate) const fn marks(self) -> &'static [&'static str] {
        match self {
            Manager::Pnpm => &["node_modules/.modules.yaml"],
            Manager::Npm => &["node_modules/.package-lock.json"],
            Manager::YarnClassic => &["node_modules/.yarn-integrity"],
            Manager::Yarn => &["node_modules/.yarn-state.yml", ".pnp.cjs"],
            Manager::Bun => &["node_modules"],
        }
    }

    fn named(name: &str, version: Option<&str>) -> Option<Manager> {
        match name {
            "pnpm" => Some(Manager::Pnpm),
            "npm" => Some(Manager::Npm),
            "yarn" if version.is_some_and(|version| major(version) == "1") => Some(Manager::YarnClassic),
            "yarn" => Some(Manager::Yarn),
            "bun" => Some(Manager::Bun),
            _ => None,
        }
    }
}

/// Decides for `directory` inside `worktree`: the manager that the nearest manifest pins, then that of the lock file that
/// fits best, then npm.
pub(crate) fn decide(directory: &Path, worktree: &Path) -> ManagerChoice {
    let pinned = levels(directory, worktree).find_map(pin);
    let found = if pinned.is_some() { Vec::new() } else { candidates(directory, worktree) };
    let best = best(&found);
    let manager = match (&pinned, best) {
        (Some((manager, _, _)), _) => *manager,
        (None, Some(best)) => best.manager,
        (None, None) => Manager::Npm,
    };
    let names = |manager: Manager| {
        LOCKFILES
            .into_iter()
            .filter(move |(_, owner)| owner.program() == manager.program())
            .map(|(name, _)| name)
    };
    let has = |level: &&Path| names(manager).any(|name| level.join(name).is_file());
    let workspace = |level: &&Path| manager == Manager::Pnpm && level.join("pnpm-workspace.yaml").is_file();
    let root = levels(directory, worktree)
        .find(workspace)
        .or(best.map(|best| best.level))
        .or_else(|| levels(directory, worktree).find(has))
        .unwrap_or(directory)
        .to_path_buf();
    let lockfile = names(manager).map(|name| root.join(name)).find(|path| path.is_file());
    let text = lockfile.as_deref().map(head).unwrap_or_default();
    // If nothing is pinned, only yarn.lock shows which yarn it is.
    let unpinned_yarn =
        manager == Manager::Yarn && pinned.as_ref().is_none_or(|(_, version, _)| version.is_none());
    let manager = if unpinned_yarn && lockfile.is_some() && !text.contains("__metadata:") {
        Manager::YarnClassic
    } else {
        manager
    };
    let (pin, hash) = pinned.map_or((None, None), |(_, version, hash)| (version, hash));
    let remark = best.and_then(|best| remark(best, &found, worktree));
    ManagerChoice { manager, pin, hash, root, lockfile, fallback: fallback(manager, &text), remark }
}

/// A lock file that may belong to the project.
#[derive(Debug)]
struct LockfileCandidate<'a> {
    level: &'a Path,
    name: &'static str,
    manager: Manager,
    fit: Fit,
}

/// Returns the lock files of `directory` and its parents, the nearest first, one for each manager and folder. They are
/// checked only if there are several.
fn candidates<'a>(directory: &'a Path, worktree: &'a Path) -> Vec<LockfileCandidate<'a>> {
    let mut found: Vec<LockfileCandidate<'a>> = Vec::new();
    for level in levels(directory, worktree) {
        for (name, manager) in LOCKFILES {
            let known = found.iter().any(|one| one.level == level && one.manager == manager);
            if !known && level.join(name).is_file() {
                found.push(LockfileCandidate { level, name, manager, fit: Fit::Unknown });
            }
        }
    }
    if found.len() > 1 {
        let wanted = WantedPackages::of(&package_json::read(directory).unwrap_or_default());
        for one in &mut found {
            let folder = directory.strip_prefix(one.level).unwrap_or(directory).to_string_lossy();
            // If a file cannot be read, the package manager reports it.
            one.fit = read::file(&one.level.join(one.name), Limit::LARGE)
                .map_or(Fit::Unknown, |bytes| lockfile::fit(one.name, &bytes, &folder, &wanted));
        }
    }
    found
}

/// Returns the candidate that fits best. Among equal ones the nearest wins, then the first in the order of
/// [`LOCKFILES`].
fn best<'a, 'b>(found: &'b [LockfileCandidate<'a>]) -> Option<&'b LockfileCandidate<'a>> {
    // `max_by_key` returns the last of equals.
    found.iter().rev().max_by_key(|one| one.fit)
}

/// Returns the reason for choosing `best` in one line, if the lock file of another manager is as near or nearer.
fn remark(best: &LockfileCandidate<'_>, found: &[LockfileCandidate<'_>], worktree: &Path) -> Option<String> {
    let shown = |one: &LockfileCandidate<'_>| {
        let path = one.level.join(one.name);
        path.strip_prefix(worktree).unwrap_or(&path).display().to_string()
    };
    let near =
        |one: &&LockfileCandidate<'_>| one.manager != best.manager && one.level.starts_with(best.level);
    let reasons: Vec<String> = found
        .iter()
        .filter(near)
        .map(|one| match one.fit {
            Fit::Empty => format!("{} is empty", shown(one)),
            Fit::Foreign => format!("{} does not lock this folder", shown(one)),
            Fit::Stale if best.fit > Fit::Stale => format!("{} does not match package.json", shown(one)),
            _ if best.fit > one.fit => format!("{} cannot be compared", shown(one)),
            _ => format!(
                "{} fits as well; set `packageManager` in package.json, or remove one of the two",
                shown(one)
            ),
        })
        .collect();
    let taken = format!("{} takes its packages from {}", best.manager.program(), shown(best));
    (!reasons.is_empty()).then(|| format!("{taken}: {}", reasons.join(", ")))
}

/// Returns the newest version that reads this lock file without rewriting it.
fn fallback(manager: Manager, lockfile: &str) -> &'static str {
    match manager {
        Manager::Pnpm => match lockfile.split_once("lockfileVersion:").map(|(_, rest)| rest.trim_start()) {
            Some(version) if version.trim_start_matches(['\'', '"']).starts_with('5') => "7.33.7",
            Some(version) if version.trim_start_matches(['\'', '"']).starts_with('6') => "8.15.9",
            _ => "12.21.0",
        },
        Manager::Npm => "11",
        Manager::YarnClassic => "1.22.22",
        Manager::Yarn => "4.18.1",
        Manager::Bun => "1.4.5",
    }
}

/// Returns the part of a version before its first dot.
pub(crate) fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or(version)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    package_manager: Option<String>,
    dev_engines: Option<serde_json::Value>,
}

/// Manager, exact version and hash.
type Pinned = (Manager, Option<String>, Option<Pin>);

/// Returns what the manifest in `level` pins: corepack's `packageManager`, or else npm's `devEngines.packageManager`.
fn pin(level: &Path) -> Option<Pinned> {
    let manifest: Manifest = serde_json::from_value(package_json::read(level)?).ok()?;
    if let Some(text) = manifest.package_manager {
        let (name, version) = text.split_once('@').unwrap_or((&text, ""));
        return named(name, version);
    }
    let engines = manifest.dev_engines?;
    let engine = engines.get("packageManager").map(|one| one.get(0).unwrap_or(one))?;
    named(engine.get("name")?.as_str()?, engine.get("version").and_then(|v| v.as_str()).unwrap_or(""))
}

fn named(name: &str, version: &str) -> Option<Pinned> {
    let hash = version.split_once('+').map(|(_, hash)| Pin::new(hash));
    let version = exact(version);
    Some((Manager::named(name, version.as_deref())?, version, hash))
}

/// Returns an exact version without the hash that corepack appends. Returns `None` for ranges and addresses.
fn exact(text: &str) -> Option<String> {
    let version = text.split('+').next().unwrap_or(text);
    let plain = version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    let full = version.split('.').count() >= 3 && version.starts_with(|c: char| c.is_ascii_digit());
    (plain && full).then(|| version.to_string())
}

/// Returns the first 2 KiB of a file, which is enough to recognise its format.
fn head(path: &Path) -> String {
    read::head(path, 2048).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fs::replace;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("wt/frontend")).unwrap();
        for (name, text) in files {
            replace(&dir.path().join(name), text.as_bytes(), 0o600).unwrap();
        }
        dir
    }

    fn choice(files: &[(&str, &str)]) -> (Manager, Option<String>, PathBuf, &'static str) {
        let dir = tree(files);
        let worktree = dir.path().join("wt");
        let found = decide(&worktree.join("frontend"), &worktree);
        let root = found.root.strip_prefix(&worktree).unwrap().to_path_buf();
        (found.manager, found.pin, root, found.fallback)
    }

    #[test]
    fn a_pin_beats_a_lock_file_and_the_nearest_pin_wins() {
        let files = [
            ("wt/package.json", r#"{"packageManager":"pnpm@12.21.0+sha512.abc"}"#),
            ("wt/pnpm-lock.yaml", "lockfileVersion: '9.0'"),
            ("wt/frontend/package-lock.json", "{}"),
        ];
        assert_eq!(choice(&files), (Manager::Pnpm, Some("12.21.0".into()), "".into(), "12.21.0"));
        let nearer = [files[0], ("wt/frontend/package.json", r#"{"packageManager":"npm@11.0.0"}"#)];
        assert_eq!(choice(&nearer), (Manager::Npm, Some("11.0.0".into()), "frontend".into(), "11"));
    }

    #[test]
    fn the_hash_after_the_version_is_kept() {
        let dir = tree(&[("wt/package.json", r#"{"packageManager":"pnpm@9.1.0+sha512.ab"}"#)]);
        let worktree = dir.path().join("wt");
        let found = decide(&worktree, &worktree);
        assert_eq!((found.pin.as_deref(), found.hash), (Some("9.1.0"), Some(Pin::new("sha512.ab"))));
    }

    #[test]
    fn the_nearest_lock_file_decides_without_a_pin() {
        let files =
            [("wt/pnpm-lock.yaml", "lockfileVersion: '9.0'"), ("wt/frontend/package-lock.json", "{}")];
        assert_eq!(choice(&files).0, Manager::Npm);
        assert_eq!(choice(&files[..1]), (Manager::Pnpm, None, "".into(), "12.21.0"));
        assert_eq!(choice(&[]), (Manager::Npm, None, "frontend".into(), "11"));
    }

    #[test]
    fn a_fitting_lock_file_wins_over_an_empty_or_stale_one() {
        let manifest = ("wt/frontend/package.json", r#"{"dependencies":{"next":"15"}}"#);
        let npm = (
            "wt/frontend/package-lock.json",
            r#"{"packages":{"":{"dependencies":{"next":"15"}},"node_modules/next":{}}}"#,
        );
        let pnpm = |text| ("wt/frontend/pnpm-lock.yaml", text);
        let decided = |files: &[(&str, &str)]| {
            let dir = tree(files);
            let worktree = dir.path().join("wt");
            let found = decide(&worktree.join("frontend"), &worktree);
            (found.manager, found.remark.unwrap_or_default())
        };
        let empty = "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n";
        let (manager, remark) = decided(&[manifest, npm, pnpm(empty)]);
        assert_eq!(manager, Manager::Npm);
        assert_eq!(
            remark,
            "npm takes its packages from frontend/package-lock.json: frontend/pnpm-lock.yaml is empty"
        );
        let whole = "importers:\n  .:\n    dependencies:\n      next:\n        specifier: '15'\n";
        let stale = whole.replace("15", "14");
        assert!(decided(&[manifest, npm, pnpm(&stale)]).1.contains("does not match package.json"));
        let (manager, remark) = decided(&[manifest, npm, pnpm(whole)]);
        assert_eq!(manager, Manager::Pnpm);
        assert!(remark.contains("package-lock.json fits as well; set `packageManager`"), "{remark}");
        assert_eq!(decided(&[manifest, npm]), (Manager::Npm, String::new()));
        let root = ("wt/package-lock.json", r#"{"packages":{"frontend":{"dependencies":{"next":"15"}}}}"#);
        let (manager, remark) = decided(&[manifest, root, pnpm(empty)]);
        assert_eq!(manager, Manager::Npm, "{remark}");
        assert_eq!(
            decided(&[manifest, ("wt/package-lock.json", "{}"), pnpm(whole)]),
            (Manager::Pnpm, String::new())
        );
    }

    #[test]
    fn nothing_above_the_worktree_counts() {
        let files = [
            ("package.json", r#"{"packageManager":"pnpm@12.21.0"}"#),
            ("pnpm-workspace.yaml", ""),
            ("pnpm-lock.yaml", ""),
        ];
        assert_eq!(choice(&files), (Manager::Npm, None, "frontend".into(), "11"));
    }

    #[test]
    fn a_pnpm_workspace_is_run_at_its_root() {
        let files = [
            ("wt/pnpm-workspace.yaml", "packages: [frontend]"),
            ("wt/frontend/pnpm-lock.yaml", "lockfileVersion: 5.4"),
        ];
        assert_eq!(choice(&files).2, PathBuf::new());
    }

    #[test]
    fn old_lock_files_get_the_manager_that_reads_them() {
        assert_eq!(choice(&[("wt/pnpm-lock.yaml", "lockfileVersion: '6.0'\n")]).3, "8.15.9");
        assert_eq!(choice(&[("wt/pnpm-lock.yaml", "lockfileVersion: 5.4\n")]).3, "7.33.7");
        assert_eq!(choice(&[("wt/yarn.lock", "# yarn lockfile v1\n")]).0, Manager::YarnClassic);
        assert_eq!(choice(&[("wt/yarn.lock", "__metadata:\n  version: 8\n")]).0, Manager::Yarn);
    }

    #[test]
    fn ranges_addresses_and_flags_are_not_versions() {
        for text in ["^12.0.0", "12", "https://example.com/pnpm.tgz", "1.2.3/../..", "-1.2.3", ""] {
            assert_eq!(exact(text), None, "{text}");
        }
        assert_eq!(exact("10.0.0-rc.1+sha224.0").as_deref(), Some("10.0.0-rc.1"));
    }

    #[test]
    fn engines_name_the_manager_too() {
        let text = r#"{"devEngines":{"packageManager":{"name":"yarn","version":"1.22.22"}}}"#;
        assert_eq!(choice(&[("wt/package.json", text)]).0, Manager::YarnClassic);
        let list = r#"{"devEngines":{"packageManager":[{"name":"bun","version":"^1"}]}}"#;
        assert_eq!(choice(&[("wt/package.json", list)]).0, Manager::Bun);
    }
}
