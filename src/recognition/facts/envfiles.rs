//! Reads env files and their committed examples.

use std::path::{Path, PathBuf};

use super::commands::tenants;
use super::file::{FileFacts, spot};
use super::{Facts, GivenValue, Giver};
use crate::config::envfile::dotenv;
use crate::config::names::is_variable_name;
use crate::config::source::Source;
use crate::os::read;
use crate::text::env_block;

/// Env files that some framework loads in development.
const LOADED: &[&str] =
    &[".env", ".env.local", ".env.dev", ".env.development", ".env.development.local", ".env.dev.local"];

/// Words in the names of committed examples.
const EXAMPLES: &[&str] = &["example", "sample", "template", "dist", "tmpl", "tpl", "defaults"];

/// A folder with one of these files is a package. Its env files may exist in the main worktree only.
const MANIFESTS: &[&str] =
    &["package.json", "pyproject.toml", "requirements.txt", "Pipfile", "alembic.ini", "manage.py"];

/// Maximum number of variables to read from one file.
const MOST: usize = 1000;

/// Returns true for a file such as `.env.local`.
pub(super) fn is_loaded(name: &str) -> bool {
    LOADED.contains(&name)
}

/// Returns true for a file such as `.env.example`, `example.env`, `.env.local.sample` or `env.dist`.
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
    let Ok(read) = dotenv::parse(&source, &mut dotenv::KnownVariables::default(), &|_| None) else {
        // Not the error's text, which could quote a secret.
        facts.limits.push(format!("{} was not read: a value in it becomes too long", file.display()));
        return facts;
    };
    let rows: Vec<&str> = text.lines().collect();
    let mut lines = rows.iter().enumerate();
    for (name, value) in read.vars.into_iter().take(MOST) {
        let row = lines.find(|(_, line)| assigns(line, &name)).map_or(0, |(row, _)| row);
        if *by == Giver::Example && says_how_to_make(&rows, row) {
            facts.made.push(name.clone());
        }
        facts.values.push(GivenValue { name, value, at: spot(file, row), by: by.clone() });
    }
    facts
}

fn assigns(line: &str, name: &str) -> bool {
    let line = line.trim_start_matches('\u{feff}').trim_start();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
}

/// Commands and calls that print random text.
const MAKERS: &[&str] =
    &["openssl rand", "token_hex(", "token_urlsafe(", "randombytes(", "auth secret", "pwgen"];

/// Returns true if the line, or the comment directly above it, names a command that makes a random value.
fn says_how_to_make(rows: &[&str], row: usize) -> bool {
    let above =
        rows[..row.min(rows.len())].iter().rev().take_while(|line| line.trim_start().starts_with('#'));
    // A commented assignment ends the comment: the lines above it are about that variable.
    let above = above.take_while(|line| !is_assignment(line.trim_start().trim_start_matches(['#', ' '])));
    let names_one = |line: &&str| {
        let line = line.to_lowercase();
        MAKERS.iter().any(|maker| line.contains(maker))
    };
    above.take(4).chain(rows.get(row)).any(names_one)
}

fn is_assignment(line: &str) -> bool {
    line.split_once('=').is_some_and(|(name, _)| is_variable_name(name))
}

/// An env file that may exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EnvFileCandidate {
    /// Its path relative to a worktree.
    pub(super) path: PathBuf,
    /// This worktree's file, then the main worktree's.
    pub(super) places: Vec<(PathBuf, Giver)>,
}

/// Returns the env files that the worktree at `root` or the main worktree may have. They are read at every run, because
/// their values are secrets that devrun must not store.
pub(super) fn candidates(root: &Path, main_root: Option<&Path>, facts: &Facts) -> Vec<EnvFileCandidate> {
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
    paths.into_iter().map(|path| EnvFileCandidate { places: places(&path), path }).collect()
}

/// Reads the first file of each candidate that exists. A link counts if it leads to a file in `roots`.
pub(super) fn read_all(
    candidates: &[EnvFileCandidate],
    roots: &[PathBuf],
    most: read::Limit,
) -> Vec<FileFacts> {
    let roots: Vec<&Path> = roots.iter().map(PathBuf::as_path).collect();
    let first = |candidate: &EnvFileCandidate| {
        candidate.places.iter().find_map(|(path, by)| {
            let text = read::decoded(read::inside(&roots, path, most).ok()?)?;
            // A file that devrun generated holds results, not facts.
            let is_input = !env_block::is_all_written(text.as_bytes());
            is_input.then(|| parse(&candidate.path, &env_block::blanked(&text), by))
        })
    };
    candidates.iter().filter_map(first).collect()
}

/// Returns the folders of packages, of examples and of compose files, and the top.
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

/// Returns the files that code or a compose file names. A path relative to a working directory is tried at the top and
/// in the folders above the code.
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
    fn a_comment_that_names_the_command_for_a_random_value_belongs_to_the_next_line() {
        let text = "# Encrypts tokens.\n# Generate: openssl rand -hex 32\nVAULT_KEY=\nNAME=x\n\n# python -c \
                    'import secrets; secrets.token_hex(32)'\n\nFAR=\nPEPPER= # openssl rand -base64 32\n# openssl \
                    rand\n#OLD=\nNEW=\n";
        assert_eq!(example(Path::new(".env.example"), text).made, ["VAULT_KEY", "PEPPER"]);
        assert_eq!(parse(Path::new(".env"), text, &Giver::EnvFile).made, [""; 0]);
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
