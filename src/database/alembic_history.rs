//! Reads Alembic's history from its files, without starting Python: which revisions are heads, which parent is missing,
//! and which id occurs twice.
//!
//! `migrate::ambiguous_heads` refuses a migration with several heads or a duplicate id. This module does not guess: a history that
//! it cannot read exactly is not "certain".

mod python;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use self::python::PythonValue;
use crate::plan::{FileLine, RunCommand};
use crate::text::quoted;

/// A revision that no other revision follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlembicHead {
    /// The revision's id.
    pub revision: String,
    /// The revision's file.
    pub file: PathBuf,
    /// The first line of the file's docstring, or the id if there is none.
    pub message: String,
}

/// A parent revision that no file defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The parent's id.
    pub revision: String,
    /// The line that names the parent.
    pub at: FileLine,
}

/// A revision id that two files define.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The id.
    pub revision: String,
    /// The lines that define it, in the order of the files.
    pub at: [FileLine; 2],
}

/// The revisions of one Alembic environment.
#[derive(Clone, Debug, Default)]
pub struct History {
    revisions: BTreeMap<String, Revision>,
    duplicate: Option<Duplicate>,
    unreadable: bool,
}

#[derive(Clone, Debug)]
struct Revision {
    file: PathBuf,
    message: Option<String>,
    down: Vec<String>,
    /// The lines of the id and of `down`.
    lines: [u32; 2],
}

impl Duplicate {
    /// Returns true if Alembic certainly loads both files: it loads every file of a folder that it uses, but it may not
    /// use every folder.
    pub fn is_certain(&self) -> bool {
        let [first, second] = &self.at;
        first.file.parent() == second.file.parent()
    }
}

impl History {
    /// Reads the files that Alembic would load: `*.py`, except `__init__` and editors' `.#` files. A file without a
    /// `revision` is skipped.
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
        let lines = ["revision", "down_revision"].map(|name| module.line_of(name, source));
        let mut strings = |name: &str| match module.assigned.remove(name) {
            Some(PythonValue::Strings(strings)) => Ok(strings),
            Some(PythonValue::Unknown) => Err(()),
            None => Ok(Vec::new()),
        };
        match (strings("revision"), strings("down_revision")) {
            (Ok(id), Ok(down)) => {
                let Some(id) = id.into_iter().next() else { return };
                let first = module.doc.and_then(|doc| {
                    doc.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_string)
                });
                let revision = Revision { file: path.into(), message: first, down, lines };
                if let Some(former) = self.revisions.insert(id.clone(), revision) {
                    let [first, second] = [(former.file, former.lines[0]), (path.into(), lines[0])];
                    let at = [first, second].map(|(file, line)| FileLine { file, line });
                    self.duplicate.get_or_insert(Duplicate { revision: id, at });
                }
            }
            _ => self.unreadable = true,
        }
    }

    /// Returns the heads, sorted by id, as `alembic heads` does: revisions that are not the `down_revision` of another
    /// one. A revision that another only names in `depends_on` stays a head.
    pub fn heads(&self) -> Vec<AlembicHead> {
        let inner: BTreeSet<&String> = self.revisions.values().flat_map(|revision| &revision.down).collect();
        self.revisions
            .iter()
            .filter(|(id, _)| !inner.contains(id))
            .map(|(id, revision)| AlembicHead {
                revision: id.clone(),
                file: revision.file.clone(),
                message: revision.message.clone().unwrap_or_else(|| id.clone()),
            })
            .collect()
    }

    /// Returns true if no file defines a revision.
    pub fn is_empty(&self) -> bool {
        self.revisions.is_empty()
    }

    /// Returns true if a file defines the revision with that id.
    pub fn defines(&self, id: &str) -> bool {
        self.revisions.contains_key(id)
    }

    /// Returns the files of the revisions in `reached` and of all before them, which a database at these revisions has.
    pub fn applied(&self, reached: &[String]) -> BTreeSet<PathBuf> {
        let mut open: Vec<&String> = reached.iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if let Some(revision) = self.revisions.get(id)
                && seen.insert(id)
            {
                open.extend(&revision.down);
            }
        }
        seen.into_iter().filter_map(|id| Some(self.revisions.get(id)?.file.clone())).collect()
    }

    /// Returns the first parent that no file defines.
    pub fn missing(&self) -> Option<Missing> {
        self.revisions.values().find_map(|revision| {
            let absent = revision.down.iter().find(|id| !self.revisions.contains_key(*id))?;
            let at = FileLine { file: revision.file.clone(), line: revision.lines[1] };
            Some(Missing { revision: absent.clone(), at })
        })
    }

    /// Returns the first id that two files define.
    pub fn duplicate(&self) -> Option<&Duplicate> {
        self.duplicate.as_ref()
    }

    /// Returns true if Alembic certainly sees the same history: every file was understood, all files are in one folder,
    /// no id occurs twice and no parent is missing.
    pub fn is_certain(&self) -> bool {
        let folders: BTreeSet<_> = self.revisions.values().map(|revision| revision.file.parent()).collect();
        !self.unreadable && self.duplicate.is_none() && folders.len() <= 1 && self.missing().is_none()
    }
}

/// Returns the part of `run` before `upgrade` (`uv run alembic -c x.ini`) if `run` upgrades to the single head. Returns
/// `None` for other programs, for `heads` and for named revisions.
pub fn upgrades_to_head(run: &RunCommand) -> Option<String> {
    simple_commands(run).iter().find_map(|words| {
        let verb = verb(words)?;
        words[verb..].iter().any(|word| unquoted(word) == "head").then(|| words[..verb].join(" "))
    })
}

/// Returns the part of `run` before `upgrade`, also if `run` upgrades to other revisions than the single head.
pub fn upgrades(run: &RunCommand) -> Option<String> {
    simple_commands(run).iter().find_map(|words| Some(words[..verb(words)?].join(" ")))
}

/// Splits `run` into simple commands and their words. A word keeps its quotes.
fn simple_commands(run: &RunCommand) -> Vec<Vec<&str>> {
    match run {
        RunCommand::Argv(words) => vec![words.iter().map(String::as_str).collect()],
        RunCommand::Shell(line) => line
            .split([';', '&', '|', '(', ')', '\n'])
            .map(|simple| simple.split_whitespace().collect())
            .collect(),
    }
}

fn unquoted(word: &str) -> &str {
    word.trim_matches(['"', '\''])
}

/// Returns the position of `upgrade` behind `alembic`.
fn verb(words: &[&str]) -> Option<usize> {
    let is_alembic =
        |word: &&str| Path::new(unquoted(word)).file_name().is_some_and(|name| name == "alembic");
    let program = words.iter().position(is_alembic)?;
    Some(program + words[program..].iter().position(|word| unquoted(word) == "upgrade")?)
}

/// Returns a command that merges `heads`, for the user to run in any shell. The command creates a file that belongs in
/// git.
pub fn merge_command(prefix: &str, directory: &Path, heads: &[AlembicHead]) -> String {
    merge_command_with("devrun", prefix, directory, heads)
}

/// Works like [`merge_command`] with another path of devrun.
pub fn merge_command_with(devrun: &str, prefix: &str, directory: &Path, heads: &[AlembicHead]) -> String {
    let titles: Vec<&str> = heads.iter().map(|head| head.message.trim_end_matches('.')).collect();
    let (last, first) = titles.split_last().unwrap_or((&"heads", &[]));
    let message = if first.is_empty() {
        format!("merge {last}")
    } else {
        format!("merge {} and {last}", first.join(", "))
    };
    let directory = quoted(directory);
    format!("cd {directory} && {} merge heads -m {}", in_stack(devrun, prefix), quoted(&message))
}

/// Returns a command that runs `prefix` through devrun: the user's shell may not have the virtual environment on its
/// PATH.
fn in_stack(devrun: &str, prefix: &str) -> String {
    let prefix = prefix.trim_start_matches("exec ");
    let first = prefix.split_whitespace().next().unwrap_or_default();
    // A leading `A=b` is an assignment in a shell, but `devrun exec` would take it for the program.
    let env = if first.contains('=') { "env " } else { "" };
    format!("{devrun} exec -- {env}{prefix}")
}

#[cfg(test)]
mod tests;
