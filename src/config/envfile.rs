//! Env files: which one of a name is read, and what is in it.
//!
//! The worktree's own file wins; where it has none, the main worktree's is read, since env files are seldom committed.
//! Never touches the environment devrun itself runs in. The grammar is in `dotenv`.

pub mod dotenv;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::config::error::ConfigError;
use crate::config::source::Source;
use crate::os::read::{self, Limit, ReadError};

/// The largest env file that is read, and how long the writer of one that is a named pipe may take.
const LIMIT: Limit = Limit::mebibytes(1);

/// Which file of a name was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This worktree's.
    Worktree,
    /// The main worktree's, because this one has none.
    Main,
    /// There is none.
    Nowhere,
}

/// One of `env_files`, read.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvFile {
    /// As configured: relative to a worktree.
    pub name: PathBuf,
    /// Which one it is.
    pub found: Found,
    /// Variables in the order written; of two equal names the later counts.
    pub vars: Vec<(String, String)>,
    /// A remark for each line that was ignored.
    pub warnings: Vec<String>,
}

/// Names only: values are secrets.
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

/// Reads every one of `names`, weakest first. Missing ones are told as [`Found::Nowhere`], never an error. `inherited` is
/// what `${NAME}` in a file means first; after it come the variables read before.
pub fn load(
    names: &[PathBuf],
    root: &Path,
    main_root: Option<&Path>,
    inherited: &BTreeMap<OsString, OsString>,
) -> Result<Vec<EnvFile>, ConfigError> {
    let mut known = dotenv::Known::default();
    let mut files = Vec::new();
    for name in names {
        let file = match find(name, root, main_root)? {
            None => {
                EnvFile { name: name.clone(), found: Found::Nowhere, vars: Vec::new(), warnings: Vec::new() }
            }
            Some((found, text)) => {
                let shown = match found {
                    Found::Main => format!("{} of the main worktree", name.display()),
                    _ => name.display().to_string(),
                };
                let source = Source::new(shown, text);
                let lookup = |variable: &str| {
                    inherited.get(OsStr::new(variable)).map(|value| value.to_string_lossy().into_owned())
                };
                let read = dotenv::parse(&source, &mut known, &lookup)?;
                EnvFile { name: name.clone(), found, vars: read.vars, warnings: read.warnings }
            }
        };
        files.push(file);
    }
    Ok(files)
}

fn find(name: &Path, root: &Path, main_root: Option<&Path>) -> Result<Option<(Found, String)>, ConfigError> {
    let own = (Found::Worktree, root);
    let main = main_root.filter(|main| *main != root).map(|main| (Found::Main, main));
    // A link to the main worktree's file is a usual way to have the same file in every worktree.
    let roots: Vec<&Path> = std::iter::once(root).chain(main_root).collect();
    for (found, folder) in std::iter::once(own).chain(main) {
        let path = folder.join(name);
        match read::inside_or_pipe(&roots, &path, LIMIT) {
            // dotenv replaces what is not UTF-8, too; a line that holds such bytes gives a warning.
            Ok(bytes) => return Ok(Some((found, String::from_utf8_lossy(&bytes).into_owned()))),
            // A folder of that name is a virtual environment.
            Err(ReadError::Folder) => {}
            Err(error) if error.is_missing() => {}
            Err(source) => return Err(ConfigError::Unreadable { path, source }),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
