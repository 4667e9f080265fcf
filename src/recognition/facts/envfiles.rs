//! Env files and their committed examples.

use std::path::{Path, PathBuf};

use super::commands::tenants;
use super::file::{FileFacts, spot};
use super::{Facts, Given, Giver};
use crate::config::envfile::dotenv;
use crate::config::source::Source;
use crate::os::read;

/// Files that a loader of some framework reads while it serves a developer.
const LOADED: &[&str] =
    &[".env", ".env.local", ".env.dev", ".env.development", ".env.development.local", ".env.dev.local"];

/// Words in the name of a committed example.
const EXAMPLES: &[&str] = &["example", "sample", "template", "dist", "tmpl", "tpl", "defaults"];

/// A folder with one of these holds a package, whose env files may be in the main worktree only.
const MANIFESTS: &[&str] =
    &["package.json", "pyproject.toml", "requirements.txt", "Pipfile", "alembic.ini", "manage.py"];

/// More variables than this are not read from one file.
const MOST: usize = 1000;

/// True for a file such as `.env.local`.
pub(super) fn is_loaded(name: &str) -> bool {
    LOADED.contains(&name)
}

/// True for a file such as `.env.example`, `example.env`, `.env.local.sample` or `env.dist`.
pub(super) fn is_example(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut parts = name.split(['.', '-', '_']).filter(|part| !part.is_empty());
    let is_env = parts.clone().any(|part| part == "env");
    is_env && parts.any(|part| EXAMPLES.contains(&part))
}

/// Reads an example.
pub(super) fn example(file: &Path, text: &str) -> FileFacts {
    let mut facts = parse(file, text, &Giver::Example);
    facts.tenants = tenants(file, text);
    facts
}

/// Reads `text` as an env file of the kind `by`.
fn parse(file: &Path, text: &str, by: &Giver) -> FileFacts {
    let mut facts = FileFacts::default();
    let source = Source::new(file.display().to_string(), text.to_string());
    let Ok(read) = dotenv::parse(&source, &mut dotenv::Known::default(), &|_| None) else {
        // The error would say more, and could quote a secret.
        facts.limits.push(format!("{} was not read: a value in it becomes too long", file.display()));
        return facts;
    };
    let mut lines = text.lines().enumerate();
    for (name, value) in read.vars.into_iter().take(MOST) {
        let row = lines.find(|(_, line)| assigns(line, &name)).map_or(0, |(row, _)| row);
        facts.values.push(Given { name, value, at: spot(file, row), by: by.clone() });
    }
    facts
}

fn assigns(line: &str, name: &str) -> bool {
    let line = line.trim_start_matches('\u{feff}').trim_start();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
}

/// An env file that may exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its path relative to a worktree.
    pub(super) path: PathBuf,
    /// This worktree's file, then the main worktree's.
    pub(super) places: Vec<(PathBuf, Giver)>,
}

/// Returns the env files that the worktree at `root` or the main worktree may have. They are read at every run, because
/// their values are secrets that no state of devrun's may hold. A file that links lead to counts.
pub(super) fn candidates(root: &Path, main_root: Option<&Path>, facts: &Facts) -> Vec<Candidate> {
    let name =
        |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut paths = named(facts);
    paths.extend(facts.files.iter().filter(|path| is_loaded(&name(path))).cloned());
    for folder in packages(facts) {
        paths.extend(LOADED.iter().map(|name| folder.join(name)));
    }
    paths.sort();
    paths.dedup();
    let main = main_root.filter(|main| *main != root);
    let places = |path: &Path| {
        let own = (root.join(path), Giver::EnvFile);
        std::iter::once(own).chain(main.map(|main| (main.join(path), Giver::MainEnvFile))).collect()
    };
    paths.into_iter().map(|path| Candidate { places: places(&path), path }).collect()
}

/// Reads the first file of each candidate that exists.
pub(super) fn read_all(candidates: &[Candidate], most: read::Limit) -> Vec<FileFacts> {
    let first = |candidate: &Candidate| {
        candidate.places.iter().find_map(|(path, by)| {
            let text = read::text(path, most).ok()?;
            Some(parse(&candidate.path, &text, by))
        })
    };
    candidates.iter().filter_map(first).collect()
}

/// Folders of packages, of examples and of compose files, and the top.
fn packages(facts: &Facts) -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::new()];
    for path in &facts.files {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if MANIFESTS.contains(&name.as_str()) || is_example(&name) || super::compose::is_compose(&name) {
            folders.extend(path.parent().map(Path::to_path_buf));
        }
    }
    folders.sort();
    folders.dedup();
    folders.truncate(64);
    folders
}

/// Files that code or a compose file names. A path relative to a working directory is looked for at the top, and in the
/// folders above the code.
fn named(facts: &Facts) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for service in &facts.services {
        paths.extend(service.env_files.iter().cloned());
    }
    for load in facts.loads.iter().filter(|load| !load.file.is_empty() && !load.file.starts_with('/')) {
        if load.from_code {
            paths.push(load.file.clone().into());
            continue;
        }
        let file = Path::new(load.file.trim_start_matches("./"));
        if file.components().all(|part| matches!(part, std::path::Component::Normal(_))) {
            paths.extend(load.at.file.ancestors().skip(1).map(|folder| folder.join(file)));
        }
    }
    paths.retain(|path| !path.file_name().is_some_and(|name| is_example(&name.to_string_lossy())));
    paths.sort();
    paths.dedup();
    paths.truncate(256);
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_known_by_every_usual_name() {
        for name in [
            ".env.example",
            ".env.sample",
            ".env.template",
            ".env.dist",
            "example.env",
            "env.example",
            ".env.local.example",
            ".env.example.local",
            ".env-example",
            "sample.env",
            ".env_example",
            "env.tmpl",
        ] {
            assert!(is_example(name) && !is_loaded(name), "{name}");
        }
        for name in [".env", ".env.local", "environment.example.ts", "example.py", ".environment"] {
            assert!(!is_example(name), "{name}");
        }
    }

    #[test]
    fn variables_of_an_example_have_their_lines() {
        let text = "# A=x\n\nexport A=\"one\ntwo\"\nB = http://acme.localhost:3000/x\nA=again\n";
        let facts = example(Path::new("web/.env.example"), text);
        let found: Vec<(&str, &str, u32)> = facts
            .values
            .iter()
            .map(|given| (given.name.as_str(), given.value.as_str(), given.at.line))
            .collect();
        assert_eq!(
            found,
            [("A", "one\ntwo", 3), ("B", "http://acme.localhost:3000/x", 5), ("A", "again", 6)]
        );
        assert_eq!(facts.tenants.len(), 1);
    }
}
