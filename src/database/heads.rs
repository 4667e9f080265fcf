//! Alembic's history, read from its files without starting Python: which revisions are heads, which parent is missing.
//!
//! Says so only; whether that forbids a migration is the caller's decision. Refuses to guess: a history it cannot read
//! to the letter is not certain.

mod python;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use self::python::Value;
use crate::plan::Run;

/// A revision that nothing comes after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its id.
    pub revision: String,
    /// Its file.
    pub file: PathBuf,
    /// First line of its docstring; the id when it has none.
    pub message: String,
}

/// A parent that no file defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Id of the parent.
    pub revision: String,
    /// The file that names it.
    pub file: PathBuf,
}

/// The revisions of one Alembic environment.
#[derive(Clone, Debug, Default)]
pub struct History {
    revisions: BTreeMap<String, Revision>,
    unreadable: bool,
}

#[derive(Clone, Debug)]
struct Revision {
    file: PathBuf,
    message: Option<String>,
    down: Vec<String>,
}

impl History {
    /// Reads files as Alembic chooses them: `*.py`, except `__init__` and editors' `.#` files; a file without a
    /// `revision` is no revision.
    pub fn read<'a>(files: impl IntoIterator<Item = (&'a Path, &'a [u8])>) -> History {
        let mut history = History::default();
        for (path, bytes) in files {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.ends_with(".py") || name.starts_with("__init__") || name.starts_with(".#") {
                continue;
            }
            history.add(path, &String::from_utf8_lossy(bytes));
        }
        history
    }

    fn add(&mut self, path: &Path, source: &str) {
        let mut module = python::read(source);
        let mut strings = |name: &str| match module.assigned.remove(name) {
            Some(Value::Strings(strings)) => Ok(strings),
            Some(Value::Unknown) => Err(()),
            None => Ok(Vec::new()),
        };
        match (strings("revision"), strings("down_revision")) {
            (Ok(id), Ok(down)) => {
                let Some(id) = id.into_iter().next() else { return };
                let first = module.doc.and_then(|doc| {
                    doc.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_string)
                });
                let revision = Revision { file: path.into(), message: first, down };
                self.unreadable |= self.revisions.insert(id, revision).is_some();
            }
            _ => self.unreadable = true,
        }
    }

    /// The heads as `alembic heads` has them, by id: revisions that are nobody's `down_revision`. A revision that
    /// another merely `depends_on` stays a head.
    pub fn heads(&self) -> Vec<Head> {
        let inner: BTreeSet<&String> = self.revisions.values().flat_map(|revision| &revision.down).collect();
        self.revisions
            .iter()
            .filter(|(id, _)| !inner.contains(id))
            .map(|(id, revision)| Head {
                revision: id.clone(),
                file: revision.file.clone(),
                message: revision.message.clone().unwrap_or_else(|| id.clone()),
            })
            .collect()
    }

    /// The first parent that no file defines.
    pub fn missing(&self) -> Option<Missing> {
        self.revisions.values().find_map(|revision| {
            let absent = revision.down.iter().find(|id| !self.revisions.contains_key(*id))?;
            Some(Missing { revision: absent.clone(), file: revision.file.clone() })
        })
    }

    /// True when Alembic is sure to see the same: every file was understood, all sit in one folder, no id comes twice
    /// and no parent is missing.
    pub fn is_certain(&self) -> bool {
        let folders: BTreeSet<_> = self.revisions.values().map(|revision| revision.file.parent()).collect();
        !self.unreadable && folders.len() <= 1 && self.missing().is_none()
    }
}

/// The beginning of the command that upgrades to the one head (`uv run alembic -c x.ini`), when `run` does that; `None`
/// for other programs, for `heads` and for named revisions.
pub fn upgrades_to_head(run: &Run) -> Option<String> {
    match run {
        Run::Argv(words) => prefix(&words.iter().map(String::as_str).collect::<Vec<_>>()),
        Run::Shell(line) => line
            .split([';', '&', '|', '(', ')', '\n'])
            .find_map(|simple| prefix(&simple.split_whitespace().collect::<Vec<_>>())),
    }
}

fn prefix(words: &[&str]) -> Option<String> {
    let plain = |word: &str| word.trim_matches(['"', '\'']).to_string();
    let program = words
        .iter()
        .position(|word| Path::new(&plain(word)).file_name().is_some_and(|name| name == "alembic"))?;
    let verb = program + words[program..].iter().position(|word| plain(word) == "upgrade")?;
    words[verb..].iter().any(|word| plain(word) == "head").then(|| words[..verb].join(" "))
}

/// The command that merges `heads`, to be typed by a person in any shell: it makes a new file that belongs into git.
pub fn merge_command(prefix: &str, directory: &Path, heads: &[Head]) -> String {
    let titles: Vec<&str> = heads.iter().map(|head| head.message.trim_end_matches('.')).collect();
    let (last, first) = titles.split_last().unwrap_or((&"heads", &[]));
    let message = if first.is_empty() {
        format!("merge {last}")
    } else {
        format!("merge {} and {last}", first.join(", "))
    };
    let directory = quoted(&directory.to_string_lossy());
    format!("cd {directory} && {} merge heads -m {}", in_stack(prefix), quoted(&message))
}

/// The beginning of a command, to be run by devrun: a person's shell need not have the virtual environment on its PATH.
fn in_stack(prefix: &str) -> String {
    let prefix = prefix.trim_start_matches("exec ");
    let first = prefix.split_whitespace().next().unwrap_or_default();
    // What the shell takes for an assignment would be taken for a program.
    let env = if first.contains('=') { "env " } else { "" };
    format!("devrun exec -- {env}{prefix}")
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./,:+@%=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_string()
    } else if text.chars().all(|c| is_plain(c) || c == ' ' || c == '(' || c == ')') {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests;
