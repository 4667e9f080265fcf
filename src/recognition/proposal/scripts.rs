//! Chooses the scripts of a repository that start its product: package scripts, targets of Makefiles, recipes of justfiles, tasks of
//! pyproject.toml, shell scripts, and commands of documents.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::port_option::with_port;
use super::programs::starts_something;
use crate::recognition::facts::{Author, Command, FileLine};
use crate::recognition::parts::tree::{Tree, depth, folder, is_aside};

/// Names of scripts that start the whole product, best first.
const STARTS: [&str; 9] = ["dev", "develop", "start", "serve", "server", "run", "runserver", "up", "watch"];
/// Words beside one of [`STARTS`] in the name of a script that do not name a part of the product.
const QUALIFIERS: [&str; 8] = ["all", "app", "debug", "dev", "development", "hot", "local", "web"];
/// Words in the names of scripts that do something else.
const OTHER_PURPOSES: [&str; 16] = [
    "build",
    "ci",
    "container",
    "containers",
    "database",
    "db",
    "docker",
    "docs",
    "e2e",
    "infra",
    "lint",
    "migrations",
    "prod",
    "production",
    "storybook",
    "test",
];
/// Maximum number of processes to propose.
const MOST: usize = 8;

/// A script that starts something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StartScript {
    /// The name in its file.
    pub(super) label: String,
    /// The command that runs the script as a whole: `make dev`.
    pub(super) whole: String,
    /// Its command, if it has only one and the folder of that command is known.
    pub(super) only: Option<Command>,
    /// The folder of its file.
    pub(super) folder: PathBuf,
    pub(super) at: FileLine,
    /// The variable of a Makefile that its commands use as the port.
    pub(super) port_variable: Option<String>,
    /// The order of the kinds of files, best first.
    rank: u8,
}

/// Returns all scripts that start something, in the order of the files.
pub(super) fn all(tree: &Tree<'_>) -> Vec<StartScript> {
    let mut groups: Vec<(&Author, &Path, BTreeMap<u32, &Command>)> = Vec::new();
    for command in tree.facts.commands.iter().filter(|command| !is_aside(&command.at.file)) {
        let file = command.at.file.as_path();
        let known =
            groups.iter_mut().find(|(by, at, _)| **by == command.by && *at == file && is_script(&command.by));
        match known {
            // The whole line follows the commands that it has as arguments.
            Some((.., lines)) => drop(lines.insert(command.at.line, command)),
            None if is_script(&command.by) || command.by == Author::Shell => {
                groups.push((&command.by, file, BTreeMap::from([(command.at.line, command)])));
            }
            None => {}
        }
    }
    let mut scripts: Vec<StartScript> = groups.iter().filter_map(|group| script(tree, group)).collect();
    scripts.dedup_by(|next, script| next.whole == script.whole && next.folder == script.folder);
    scripts
}

fn is_script(by: &Author) -> bool {
    matches!(by, Author::Package(_) | Author::Make(_) | Author::Just(_) | Author::Pyproject(_))
}

fn script(tree: &Tree<'_>, group: &(&Author, &Path, BTreeMap<u32, &Command>)) -> Option<StartScript> {
    let (by, file, lines) = group;
    let starting: Vec<&&Command> = lines
        .values()
        .filter(|command| starts_something(&command.text) && !command.text.is_empty())
        .collect();
    let first = starting.first()?;
    let only = if lines.len() == 1 { Some(**first) } else { None };
    let in_folder = folder(file);
    let (label, whole, rank) = match by {
        Author::Package(name) => (name.clone(), package_run(tree, &in_folder, name), 0),
        Author::Make(target) => (target.clone(), format!("make {target}"), 1),
        Author::Just(recipe) => (recipe.clone(), format!("just {recipe}"), 2),
        // The program of `[project.scripts]` is in the virtual environment.
        Author::Pyproject(name) if !first.text.contains(' ') && first.text.contains(':') => {
            (name.clone(), name.clone(), 3)
        }
        Author::Pyproject(name) => (name.clone(), first.text.clone(), 3),
        Author::Shell => {
            let label = file.file_stem()?.to_str()?.to_string();
            (label, format!("bash {}", file.file_name()?.to_str()?), 4)
        }
        _ => return None,
    };
    // A name that begins with a dash would be an option of make.
    let fits = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_:.".contains(c))
    };
    let is_program = matches!(by, Author::Pyproject(_)) && whole == label;
    fits(&label).then(|| StartScript {
        port_variable: port_variable(tree, file, lines.keys().copied()),
        only: only.filter(|only| only.directory.is_some() && !is_program && **by != Author::Shell).cloned(),
        label,
        whole,
        folder: in_folder,
        at: first.at.clone(),
        rank,
    })
}

/// Returns the command that runs a package script with the package manager of the lock file.
fn package_run(tree: &Tree<'_>, folder: &Path, name: &str) -> String {
    const MANAGERS: [(&str, &str); 5] = [
        ("pnpm-lock.yaml", "pnpm"),
        ("yarn.lock", "yarn"),
        ("bun.lock", "bun"),
        ("bun.lockb", "bun"),
        ("package-lock.json", "npm"),
    ];
    let names = MANAGERS.map(|(file, _)| file);
    let found = tree.nearest_with(folder, &names);
    let manager = found.and_then(|(_, file)| MANAGERS.iter().find(|(other, _)| *other == file));
    format!("{} run {name}", manager.map_or("npm", |(_, manager)| *manager))
}

/// Returns the variable ending in `PORT` that the lines of a Makefile use.
fn port_variable(tree: &Tree<'_>, file: &Path, mut lines: impl Iterator<Item = u32>) -> Option<String> {
    let text = tree.text(file)?;
    let rows: Vec<&str> = text.lines().collect();
    lines.find_map(|line| {
        let row = rows.get(usize::try_from(line).ok()?.checked_sub(1)?)?;
        let mut names = row.split(['(', '{']).skip(1).filter_map(|part| part.split([')', '}']).next());
        let is_port = |name: &&str| {
            let is_variable = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            is_variable && name.ends_with("PORT") && !name.contains("DB") && !name.contains("POSTGRES")
        };
        row.starts_with('\t').then(|| names.find(is_port).map(Into::into)).flatten()
    })
}

/// Returns the scripts to run, each with the name of its process: the best script of the top folder, else one for each part that its
/// scripts name, else the best script of each folder.
pub(super) fn choose(scripts: &[StartScript]) -> Vec<(String, StartScript)> {
    let at_top: Vec<&StartScript> = scripts.iter().filter(|script| depth(&script.folder) == 0).collect();
    let chosen = choose_in(&at_top, "web");
    if !chosen.is_empty() {
        return chosen;
    }
    let mut folders: Vec<&Path> = scripts.iter().map(|script| script.folder.as_path()).collect();
    folders.sort_by_key(|folder| (depth(folder), folder.to_path_buf()));
    folders.dedup();
    let mut found = Vec::new();
    for folder in folders {
        let inside: Vec<&StartScript> = scripts.iter().filter(|script| script.folder == folder).collect();
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or("web");
        found.extend(choose_in(&inside, name).into_iter().take(1));
    }
    found.truncate(MOST);
    found
}

fn choose_in(scripts: &[&StartScript], name: &str) -> Vec<(String, StartScript)> {
    let whole = scripts.iter().filter_map(|script| Some((script.rank, position(script)?, *script)));
    if let Some((.., best)) = whole.min_by_key(|(rank, position, _)| (*rank, *position)) {
        return vec![(name.to_string(), best.clone())];
    }
    let mut parts: Vec<(String, StartScript)> = Vec::new();
    for script in scripts {
        let Some(part) = part_of(&script.label).filter(|_| script.rank < 4) else { continue };
        if !parts.iter().any(|(known, _)| *known == part) {
            parts.push((part, (*script).clone()));
        }
    }
    parts.truncate(MOST);
    parts
}

/// Returns the rank of a script that starts the whole product.
fn position(script: &StartScript) -> Option<usize> {
    let words = words(&script.label);
    let start = words.iter().find_map(|word| STARTS.iter().position(|start| start == word))?;
    let others: Vec<&&str> = words.iter().filter(|word| **word != STARTS[start]).collect();
    let is_plain = others.iter().all(|word| QUALIFIERS.contains(*word) || STARTS.contains(*word));
    is_plain.then_some(start * 10 + others.len())
}

/// Returns true if the name of a script says that it starts something.
pub(super) fn may_start(label: &str) -> bool {
    words(label).iter().any(|word| STARTS.contains(word)) && part_of(label).is_some()
        || STARTS.contains(&label)
        || is_worker(label)
}

/// Returns true for the name of a part that works in the background, without a port.
pub(super) fn is_worker(name: &str) -> bool {
    ["worker", "workers", "job", "jobs", "queue", "scheduler", "cron", "beat", "consumer"].contains(&name)
}

/// Returns the part of the product that a script starts: `api` for `run-api` and `dev:api`.
fn part_of(label: &str) -> Option<String> {
    let words = words(label);
    let has_start = words.iter().any(|word| STARTS.contains(word));
    let others: Vec<&str> =
        words.iter().copied().filter(|word| !STARTS.contains(word) && !QUALIFIERS.contains(word)).collect();
    match others.as_slice() {
        [part] if has_start && !OTHER_PURPOSES.contains(part) => Some((*part).to_string()),
        _ => None,
    }
}

fn words(label: &str) -> Vec<&str> {
    label.split([':', '-', '_', '.']).filter(|word| !word.is_empty()).collect()
}

/// Returns the first command of a document that may start the product.
pub(super) fn documented(tree: &Tree<'_>) -> Option<Command> {
    let starts = |command: &&Command| {
        let words: Vec<&str> = command.text.split_whitespace().collect();
        let names_start = words.iter().skip(1).any(|word| {
            STARTS.contains(word) || STARTS.iter().any(|start| word.ends_with(&format!(":{start}")))
        });
        let runs_file = matches!(
            words.as_slice(),
            ["python" | "python3" | "node" | "ruby" | "deno" | "bun" | "php", .., last]
                if Path::new(last).extension().is_some()
        );
        command.by == Author::Document
            && !is_aside(&command.at.file)
            && command.directory.as_ref().is_none_or(|folder| tree.has_folder(folder))
            && starts_something(&command.text)
            && (names_start || runs_file || with_port(&command.text).is_some())
    };
    tree.facts.commands.iter().find(starts).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_by_the_word_beside_the_verb() {
        for (label, part) in [
            ("run-api", Some("api")),
            ("dev:worker", Some("worker")),
            ("api-dev", Some("api")),
            ("dev", None),
            ("test", None),
            ("run-tests-now", None),
            ("start:prod", None),
        ] {
            assert_eq!(part_of(label).as_deref(), part, "{label}");
        }
    }
}
