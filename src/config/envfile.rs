//! Reads env files, in this worktree or in the main worktree.
//!
//! Reads the worktree's own file if it exists, else the main worktree's, since env files are seldom committed. A file such as
//! `.env` may also come from another worktree or from a committed example. Never changes devrun's own environment. The grammar
//! is in `dotenv`.

pub mod dotenv;
mod other_copy;
pub mod quote;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::config::error::ConfigError;
use crate::config::foreign_variables::{self, Worktrees};
use crate::config::source::Source;
use crate::os::read::{self, Limit, ReadError};
use crate::plan::{EnvFileWorktree, EnvLine, FileLine, ForeignVariable};
use crate::text::env_block;

/// Maximum size of an env file, and maximum time to read it. For a named pipe, the time includes the wait for its writer.
const SIZE_LIMIT: Limit = Limit::mebibytes(1);

/// The place where an env file was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvFileOrigin {
    Worktree,
    /// The main worktree's, because this one has none.
    Main,
    /// Another worktree's, because neither this one nor the main worktree has one.
    Other(PathBuf),
    /// The committed example of this name, because no worktree has the file itself.
    Example(PathBuf),
    /// The file does not exist.
    Nowhere,
}

/// The worktrees in which devrun searches env files.
#[derive(Clone, Copy, Debug)]
pub struct EnvFilePlaces<'a> {
    /// Top level of this worktree.
    pub root: &'a Path,
    /// Top level of the main worktree.
    pub main: Option<&'a Path>,
    /// Top levels of the other worktrees. A file such as `.env` that neither `root` nor `main` has is read from the first one
    /// that has it.
    pub others: &'a [PathBuf],
    /// The ports that other worktrees have leased, each with the top level.
    pub leased: &'a [(PathBuf, u16)],
    /// True if a committed example takes the place of a file that no worktree has.
    pub examples: bool,
    /// Files of this worktree that may be links out of it: git ignores them.
    pub outside: &'a [PathBuf],
}

impl<'a> EnvFilePlaces<'a> {
    /// Returns the places without other worktrees and without examples.
    pub fn own_and_main(root: &'a Path, main: Option<&'a Path>) -> EnvFilePlaces<'a> {
        EnvFilePlaces { root, main, others: &[], leased: &[], examples: false, outside: &[] }
    }

    /// Returns the possible places of the file `name`, the strongest first, each with the path.
    pub fn of(&self, name: &Path) -> Vec<(EnvFileOrigin, PathBuf)> {
        let main = self.main.filter(|main| *main != self.root);
        let mut places = vec![(EnvFileOrigin::Worktree, self.root.join(name))];
        places.extend(main.map(|main| (EnvFileOrigin::Main, main.join(name))));
        if is_shared(name) {
            let others =
                self.others.iter().filter(|other| *other != self.root && Some(other.as_path()) != main);
            places.extend(others.map(|other| (EnvFileOrigin::Other(other.clone()), other.join(name))));
            let example = example_of(name).filter(|_| self.examples);
            places.extend(example.map(|name| (EnvFileOrigin::Example(name.clone()), self.root.join(&name))));
        }
        places
    }
}

/// Returns true for a file such as `.env` or `app.env`. Files such as `.env.local` belong to one checkout: tools write the
/// ports and the database of that checkout into them.
fn is_shared(name: &Path) -> bool {
    name.extension().or(name.file_name()).is_some_and(|last| last == "env" || last == ".env")
}

fn example_of(name: &Path) -> Option<PathBuf> {
    let mut example = name.file_name()?.to_os_string();
    example.push(".example");
    Some(name.with_file_name(example))
}

/// The content of one of `env_files`.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvFile {
    /// Path as configured, relative to a worktree.
    pub name: PathBuf,
    /// The place where it was found.
    pub found: EnvFileOrigin,
    /// Variables in the order written; the later of two with the same name counts.
    pub vars: Vec<(String, String)>,
    /// The line that sets each variable, including variables that were removed from `vars`.
    pub lines: BTreeMap<String, u32>,
    /// Variables that were left out because they hold an address, a port or a path of another copy, or use one that does. Their
    /// values show the form in which the application expects its own.
    pub left_out: Vec<(String, String)>,
    /// Why a file that would take the place of this one was passed over.
    pub passed_over: Option<String>,
    /// A warning for each line that was ignored or is odd.
    pub warnings: Vec<String>,
}

/// Prints names only: values are secrets.
impl std::fmt::Debug for EnvFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.vars.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("EnvFile")
            .field("name", &self.name)
            .field("found", &self.found)
            .field("vars", &names)
            .finish_non_exhaustive()
    }
}

impl EnvFile {
    /// Returns the value of a variable.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.vars.iter().rfind(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Returns the line that gives a variable its value.
    pub fn line(&self, name: &str) -> Option<EnvLine> {
        let line = *self.lines.get(name)?;
        let (file, worktree) = match &self.found {
            EnvFileOrigin::Main => (&self.name, EnvFileWorktree::Main),
            EnvFileOrigin::Other(other) => (&self.name, EnvFileWorktree::Other(other.clone())),
            EnvFileOrigin::Example(example) => (example, EnvFileWorktree::This),
            EnvFileOrigin::Worktree | EnvFileOrigin::Nowhere => (&self.name, EnvFileWorktree::This),
        };
        Some(EnvLine { at: FileLine { file: file.clone(), line }, worktree })
    }

    /// Returns the file and its worktree, for messages.
    pub fn place(&self) -> String {
        shown_place(&self.name, &self.found)
    }

    /// Returns a sentence about the file that takes the place of this one, its variables that were left out, and a file that was passed
    /// over; `None` if the worktree has the file, or if there is none anywhere and none was passed over. Does not name variables for
    /// which `is_set` returns true, because devrun sets them anyway, nor an example file that has no others.
    pub fn replacement(&self, is_set: &dyn Fn(&str) -> bool) -> Option<String> {
        let name = self.name.display();
        let text = match &self.found {
            EnvFileOrigin::Worktree | EnvFileOrigin::Nowhere => return self.passed_over.clone(),
            EnvFileOrigin::Main => format!("{name} is read from the main worktree: there is none here"),
            EnvFileOrigin::Other(other) => format!(
                "{name} is read from the worktree {}: there is none here or in the main worktree",
                other.display()
            ),
            EnvFileOrigin::Example(example) => {
                format!("{} is read in place of {name}, which no worktree has", example.display())
            }
        };
        let left_out: Vec<&str> =
            self.left_out.iter().map(|(name, _)| name.as_str()).filter(|name| !is_set(name)).collect();
        let is_example = matches!(self.found, EnvFileOrigin::Example(_));
        if is_example && self.vars.is_empty() && left_out.is_empty() && self.passed_over.is_none() {
            return None;
        }
        let rest = match left_out.as_slice() {
            [] => String::new(),
            names => format!("; left out, because they belong to another copy: {}", names.join(", ")),
        };
        let passed_over = self.passed_over.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
        Some(text + &rest + &passed_over)
    }

    /// Removes the paths that lie in another worktree from the variables, and returns what was removed.
    pub fn without_foreign(&mut self, worktrees: &Worktrees<'_>) -> Vec<ForeignVariable> {
        let mut all = Vec::new();
        self.vars.retain_mut(|(name, value)| {
            let Some((left, found)) = foreign_variables::value(name, OsStr::new(value), worktrees) else {
                return true;
            };
            all.push(found);
            let left = left.and_then(|left| left.into_string().ok());
            left.is_some_and(|left| {
                *value = left;
                true
            })
        });
        all
    }
}

/// Reads the files `names`, weakest first. A missing file is no error: it is returned as [`EnvFileOrigin::Nowhere`]. `${NAME}`
/// in a file is looked up in `inherited` first, then in the variables read before.
pub fn load(
    names: &[PathBuf],
    places: EnvFilePlaces<'_>,
    inherited: &BTreeMap<OsString, OsString>,
) -> Result<Vec<EnvFile>, ConfigError> {
    let mut known = dotenv::KnownVariables::default();
    names.iter().map(|name| first_readable(name, places, &mut known, inherited)).collect()
}

/// Reads the first file that exists. Files of other worktrees and examples that cannot be read are passed over: the user of this
/// worktree need not repair them.
fn first_readable(
    name: &Path,
    places: EnvFilePlaces<'_>,
    known: &mut dotenv::KnownVariables,
    inherited: &BTreeMap<OsString, OsString>,
) -> Result<EnvFile, ConfigError> {
    let lookup = |variable: &str| {
        inherited.get(OsStr::new(variable)).map(|value| value.to_string_lossy().into_owned())
    };
    let mut passed_over = None;
    for (found, path) in places.of(name) {
        let is_optional = matches!(found, EnvFileOrigin::Other(_) | EnvFileOrigin::Example(_));
        let read = text(name, places, &found, &path).and_then(|text| {
            let Some(text) = text else { return Ok(None) };
            let source = Source::new(shown_place(name, &found), env_block::blanked(&text));
            let mut then = known.clone();
            let foreign = other_copy::OtherCopyFilter::of(&found, places.leased);
            let is_foreign =
                |name: &str, value: &str| foreign.as_ref().is_some_and(|one| one.leaves_out(name, value));
            let content = dotenv::parse_without(&source, &mut then, &lookup, &is_foreign)?;
            *known = then;
            Ok(Some(content))
        });
        match read {
            Ok(None) => {}
            Ok(Some(dotenv::EnvFileContent { vars, lines, left_out, warnings })) => {
                let name = name.to_path_buf();
                return Ok(EnvFile { name, found, vars, lines, left_out, passed_over, warnings });
            }
            Err(error) if is_optional => {
                let why = format!("{} is passed over: {error}", shown_place(name, &found));
                passed_over.get_or_insert(why);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(EnvFile {
        name: name.into(),
        found: EnvFileOrigin::Nowhere,
        vars: Vec::new(),
        lines: BTreeMap::new(),
        left_out: Vec::new(),
        passed_over,
        warnings: Vec::new(),
    })
}

/// Returns the file and its worktree, for messages.
pub fn shown_place(name: &Path, found: &EnvFileOrigin) -> String {
    match found {
        EnvFileOrigin::Main => format!("{} of the main worktree", name.display()),
        EnvFileOrigin::Other(other) => format!("{} of the worktree {}", name.display(), other.display()),
        EnvFileOrigin::Example(example) => example.display().to_string(),
        EnvFileOrigin::Worktree | EnvFileOrigin::Nowhere => name.display().to_string(),
    }
}

/// Reads the file at `path`. Returns `None` if it does not exist, or if only devrun wrote into it: that is a result, not input.
fn text(
    name: &Path,
    places: EnvFilePlaces<'_>,
    found: &EnvFileOrigin,
    path: &Path,
) -> Result<Option<String>, ConfigError> {
    // Users often link the main worktree's file into every worktree.
    let own = match found {
        EnvFileOrigin::Other(other) => other,
        _ => places.root,
    };
    let roots: Vec<&Path> = std::iter::once(own).chain(places.main).collect();
    let may_lead_out = *found == EnvFileOrigin::Worktree && places.outside.iter().any(|one| one == name);
    let content = match read::inside_or_pipe(&roots, path, SIZE_LIMIT) {
        Err(ReadError::Outside(real)) if may_lead_out => read::file(&real, SIZE_LIMIT),
        other => other,
    };
    match content {
        Ok(bytes) if env_block::is_all_written(&bytes) => Ok(None),
        // dotenv replaces bytes that are not UTF-8, too. A line with such bytes gives a warning.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        // A folder called `.env` is a virtual environment.
        Err(ReadError::Folder) => Ok(None),
        Err(error) if error.is_missing() => Ok(None),
        Err(source) => Err(ConfigError::Unreadable { path: path.into(), source }),
    }
}

#[cfg(test)]
mod tests;
