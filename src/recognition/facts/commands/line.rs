//! Reads one command line: the folder that it changes to, the variables that it sets, and the commands inside it.

use std::path::{Component, Path, PathBuf};

use crate::recognition::facts::file::FileFacts;
use crate::recognition::facts::{Author, Command, FileLine, GivenValue, Giver};

/// Programs that take commands as quoted arguments.
const RUNNERS: &[&str] = &["concurrently", "conc"];

/// Adds the command `text`, which runs in `directory`, and the values that it sets. A leading `cd FOLDER &&` changes
/// the directory. Also adds the arguments of `concurrently`, which are commands.
pub(in crate::recognition::facts) fn add(
    facts: &mut FileFacts,
    text: &str,
    at: &FileLine,
    by: &Author,
    directory: Option<&Path>,
) {
    if facts.commands.len() >= super::MOST {
        return;
    }
    let (directory, text) = changed(directory.map(Path::to_path_buf), text.trim());
    if text.is_empty() {
        return;
    }
    for (name, value) in assignments(text) {
        facts.values.push(GivenValue { name, value, at: at.clone(), by: Giver::Script });
    }
    for inner in inner_commands(text) {
        let (directory, text) = changed(directory.clone(), inner.trim());
        let (text, by, at) = (text.to_string(), by.clone(), at.clone());
        facts.commands.push(Command { text, at, by, directory });
    }
    let (text, at, by) = (text.to_string(), at.clone(), by.clone());
    facts.commands.push(Command { text, at, by, directory });
}

/// Removes a leading `cd FOLDER &&` or `cd FOLDER;` from a command and applies it to the directory.
fn changed(directory: Option<PathBuf>, text: &str) -> (Option<PathBuf>, &str) {
    let mut directory = directory;
    let mut rest = text.trim_start_matches('(').trim_start();
    for _ in 0..4 {
        let Some(after) = rest.strip_prefix("cd ") else { break };
        let end =
            after.find("&&").map(|end| (end, end + 2)).or_else(|| after.find(';').map(|end| (end, end + 1)));
        let Some((end, next)) = end else { break };
        directory = below(directory.as_deref(), after[..end].trim());
        rest = after[next..].trim_start();
    }
    (directory, rest)
}

/// Returns the folder `change` below `base`, or below the top if `base` is unknown; `None` if it contains a variable or
/// leads out of the worktree.
pub(in crate::recognition::facts) fn below(base: Option<&Path>, change: &str) -> Option<PathBuf> {
    let change = change.trim_matches(['"', '\'']);
    if change.is_empty() || change.starts_with(['/', '~', '-']) || change.contains(['$', '`', '*', '<', '{'])
    {
        return None;
    }
    let mut folder = base.unwrap_or(Path::new("")).to_path_buf();
    for part in Path::new(change).components() {
        match part {
            Component::Normal(name) => folder.push(name),
            Component::ParentDir if !folder.pop() => return None,
            _ => {}
        }
    }
    Some(folder)
}

/// Returns the `NAME=value` words at the start of each simple command, after `export`, `env` and `cross-env`.
fn assignments(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if !text.contains('=') {
        return found;
    }
    let mut head = true;
    for word in shlex::split(text).unwrap_or_default() {
        if matches!(word.as_str(), "&&" | "||" | ";" | "|" | "&") {
            head = true;
            continue;
        }
        if !head {
            continue;
        }
        match word.split_once('=') {
            Some((name, value)) if crate::config::names::is_variable_name(name) => {
                if !value.contains('$') {
                    found.push((name.to_string(), value.trim_end_matches(';').to_string()));
                }
                head = !value.ends_with(';') || head;
            }
            _ => head = matches!(word.as_str(), "export" | "env" | "cross-env" | "npx" | "exec" | "set"),
        }
    }
    found
}

/// Returns the commands among the arguments of `concurrently`.
fn inner_commands(text: &str) -> Vec<String> {
    if !RUNNERS.iter().any(|runner| text.contains(runner)) {
        return Vec::new();
    }
    let words = shlex::split(text).unwrap_or_default();
    let is_runner = |word: &String| RUNNERS.contains(&word.as_str());
    let Some(place) = words.iter().position(is_runner) else { return Vec::new() };
    words.into_iter().skip(place + 1).filter(|word| word.contains(' ') && !word.starts_with('-')).collect()
}
