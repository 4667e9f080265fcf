//! Finds the Python version that a project states, in any of several files. Reads files, starts no process.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use toml::Value;

use crate::deps::levels;
use crate::os::read::{self, Limit};

/// A stated version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stated {
    /// The argument for uv's `--python`: `3.12` or `>=3.11,<4`.
    pub request: String,
    /// The file that states it.
    pub file: String,
    /// False if the manifest requires it. True if another version may be used.
    pub is_wish: bool,
}

/// Major and minor version.
type Version = (u32, u32);

static IMAGE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?mi)^\s*FROM\s+(?:--\S+\s+)?\S*python:?-?(\d+)\.(\d+)").ok());
static NUMBERS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(\d+)\.(\d+)").ok());

/// Returns the Python version that the project in `directory` states. Returns `None` if no file states one, or if there
/// is a `.python-version`, which uv reads itself.
pub(super) fn stated(directory: &Path, worktree: &Path) -> Option<Stated> {
    if levels(directory, worktree).any(|level| level.join(".python-version").is_file()) {
        return None;
    }
    let manifest = text(directory, "pyproject.toml").and_then(|text| toml::from_str::<Value>(&text).ok());
    let range = manifest.as_ref().and_then(range);
    let fits = |version: &Version| range.as_ref().is_none_or(|range| admits(range, *version));
    // Prefer the exact version, which is usually that of the deployment, if the manifest allows it.
    let exact = exact(directory, worktree).filter(|(_, version)| fits(version));
    match (exact, range) {
        (Some((file, (major, minor))), _) => {
            Some(Stated { request: format!("{major}.{minor}"), file, is_wish: true })
        }
        (None, Some(request)) => Some(Stated { request, file: "pyproject.toml".into(), is_wish: false }),
        (None, None) => None,
    }
}

fn text(folder: &Path, name: &str) -> Option<String> {
    read::text(&folder.join(name), Limit::SMALL).ok()
}

/// Returns the exact version that a file other than the manifest names.
fn exact(directory: &Path, worktree: &Path) -> Option<(String, Version)> {
    levels(directory, worktree).find_map(|level| {
        let pinned = text(level, ".tool-versions")
            .and_then(|text| text.lines().find_map(|line| numbers(line.trim().strip_prefix("python ")?)));
        let runtime = || text(level, "runtime.txt").and_then(|text| numbers(&text));
        let pipfile = || {
            let pipfile: Value = toml::from_str(&text(level, "Pipfile")?).ok()?;
            let requires = pipfile.get("requires")?;
            numbers(requires.get("python_version").or_else(|| requires.get("python_full_version"))?.as_str()?)
        };
        let image = || {
            let text = text(level, "Dockerfile")?;
            let found = IMAGE.as_ref()?.captures(&text)?;
            Some((found[1].parse().ok()?, found[2].parse().ok()?))
        };
        pinned
            .map(|version| (".tool-versions", version))
            .or_else(|| Some(("runtime.txt", runtime()?)))
            .or_else(|| Some(("Pipfile", pipfile()?)))
            .or_else(|| Some(("Dockerfile", image()?)))
            .map(|(file, version)| (file.to_string(), version))
    })
}

fn numbers(text: &str) -> Option<Version> {
    let found = NUMBERS.as_ref()?.captures(text)?;
    Some((found[1].parse().ok()?, found[2].parse().ok()?))
}

/// Returns the range of versions that the manifest allows, in the syntax of Python packages.
fn range(manifest: &Value) -> Option<String> {
    let at = |path: &[&str]| path.iter().try_fold(manifest, |value, name| value.get(name))?.as_str();
    if let Some(range) = at(&["project", "requires-python"]) {
        return Some(range.into());
    }
    of_poetry(at(&["tool", "poetry", "dependencies", "python"])?)
}

/// Translates a range from Poetry's syntax. Returns `None` for `*` and for alternatives, which the other syntax cannot
/// express.
fn of_poetry(range: &str) -> Option<String> {
    if range.contains('|') {
        return None;
    }
    let parts = range.split([',', ' ']).filter(|part| !part.is_empty() && *part != "*");
    let translated: Option<Vec<String>> = parts
        .map(|part| {
            let version = part.trim_start_matches(['^', '~', '=', '<', '>', '!']);
            let mut digits = version.split('.');
            let major: u32 = digits.next()?.parse().ok()?;
            let minor: u32 = digits.next().and_then(|digit| digit.parse().ok()).unwrap_or(0);
            Some(match part.chars().next()? {
                '^' => format!(">={version},<{}", major + 1),
                '~' if !part.starts_with("~=") => format!(">={version},<{major}.{}", minor + 1),
                c if c.is_ascii_digit() => format!("=={major}.{minor}.*"),
                _ => part.to_string(),
            })
        })
        .collect();
    translated.filter(|parts| !parts.is_empty()).map(|parts| parts.join(","))
}

/// Returns true if `range` allows some patch release of `version`.
fn admits(range: &str, version: Version) -> bool {
    range.split(',').map(str::trim).all(|part| {
        let end = part.find(|c: char| c.is_ascii_digit()).unwrap_or(part.len());
        let (sign, limit) = part.split_at(end);
        let whole = |text: &str| text.parse().ok();
        let mut digits = limit.split('.').map_while(whole);
        let Some(major) = digits.next() else { return true };
        let minor: Option<u32> = digits.next();
        let has_patch = digits.next().is_some_and(|patch: u32| patch > 0);
        let limit = (major, minor.unwrap_or(0));
        match sign.trim() {
            ">=" => version >= limit,
            ">" => version > limit || (version == limit && has_patch),
            "<=" => version <= limit,
            "<" => version < limit || (version == limit && has_patch),
            "~=" => version >= limit && version.0 == limit.0,
            "==" | "===" => version.0 == limit.0 && minor.is_none_or(|minor| version.1 == minor),
            _ => true,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fs::replace;

    fn found(files: &[(&str, &str)]) -> Option<(String, String, bool)> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("backend")).unwrap();
        for (name, text) in files {
            replace(&dir.path().join(name), text.as_bytes(), 0o600).unwrap();
        }
        let Stated { request, file, is_wish } = stated(&dir.path().join("backend"), dir.path())?;
        Some((request, file, is_wish))
    }

    #[test]
    fn every_file_that_names_a_python_is_read() {
        for (name, text, version) in [
            (".tool-versions", "nodejs 22.1.0\npython 3.11.7\n", "3.11"),
            ("runtime.txt", "python-3.10.4\n", "3.10"),
            ("Pipfile", "[requires]\npython_version = \"3.9\"\n", "3.9"),
            ("Dockerfile", "# x\nFROM --platform=linux/amd64 python:3.12-slim AS base\n", "3.12"),
            ("Dockerfile", "FROM ghcr.io/astral-sh/uv:python3.13-bookworm\n", "3.13"),
        ] {
            let wanted = Some((version.to_string(), name.to_string(), true));
            assert_eq!(found(&[(&format!("backend/{name}"), text)]), wanted);
            assert_eq!(found(&[(name, text)]), wanted, "in the folder above");
        }
        assert_eq!(found(&[("Dockerfile", "FROM node:22\n")]), None);
        assert_eq!(found(&[("runtime.txt", "python-3.10.4"), (".python-version", "3.12")]), None);
    }

    #[test]
    fn the_manifest_limits_the_versions_of_other_files() {
        let manifest = ("backend/pyproject.toml", "[project]\nrequires-python = \">=3.11,<3.13\"\n");
        let image = |version| format!("FROM python:{version}\n");
        assert_eq!(found(&[manifest, ("Dockerfile", &image("3.12"))]).unwrap().0, "3.12");
        let bound = found(&[manifest, ("Dockerfile", &image("3.9"))]).unwrap();
        assert_eq!(bound, (">=3.11,<3.13".into(), "pyproject.toml".into(), false));
        let poetry = ("backend/pyproject.toml", "[tool.poetry.dependencies]\npython = \"^3.11\"\n");
        assert_eq!(found(&[poetry]).unwrap().0, ">=3.11,<4");
    }

    #[test]
    fn poetrys_ranges_are_translated() {
        for (range, wanted) in [
            ("^3.11", Some(">=3.11,<4")),
            ("~3.11", Some(">=3.11,<3.12")),
            (">3.7", Some(">3.7")),
            (">=3.9,<4.0", Some(">=3.9,<4.0")),
            ("3.11.*", Some("==3.11.*")),
            ("*", None),
            ("^3.8 || ^3.9", None),
        ] {
            assert_eq!(of_poetry(range).as_deref(), wanted, "{range}");
        }
        assert!(admits(">3.7", (3, 8)) && !admits(">3.7", (3, 7)) && !admits("==3.11.*", (3, 12)));
        assert!(admits("~=3.11", (3, 12)) && admits("!=3.11.1", (3, 11)) && admits("<3.13.1", (3, 13)));
    }
}
