//! Computes the changes in the files of agents, and writes them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::edit::{ByHand, Malformed};
use super::instructions::includes_agents;
use super::line_diff::diff;
use super::tools::{AgentFile, AgentTool, CLAUDE_MD, CONDUCTOR_JSON, CONDUCTOR_SETTINGS, FILES};
use crate::error::{Code, Explain};
use crate::os::fs::{self, FsError};
use crate::os::read::{self, Limit, ReadError};
use crate::worktree::Worktree;

/// The mode of a new file.
const MODE: u32 = 0o644;

/// The files to change, and the direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// Add entries to the files of the tools that are used.
    Used,
    /// Add entries to the files of all tools.
    All,
    /// Remove the entries from all files.
    Remove,
}

/// The reason why a file of an agent is not edited. No file is written then.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgentFileError {
    /// The file does not have the form that its program reads.
    #[error("{path}, {source}")]
    Malformed { path: &'static str, source: Malformed },
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable { path: &'static str, source: ReadError },
}

impl Explain for AgentFileError {
    fn code(&self) -> Code {
        Code::ConfigInvalid
    }

    fn why(&self) -> Option<String> {
        Some("nothing was written".into())
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            AgentFileError::Malformed { path, source } => {
                format!("correct line {} of {path}, then run the same command again", source.line)
            }
            AgentFileError::Unreadable { path, source: ReadError::Outside(_) } => {
                format!("replace the link {path} by a file, or write devrun's lines there by hand")
            }
            AgentFileError::Unreadable { path, .. } => {
                format!("check {path}, then run the same command again")
            }
        })
    }

    fn correct(&self) -> Option<String> {
        match self {
            AgentFileError::Malformed { path, source } => Some(format!("{path}:{}", source.line)),
            AgentFileError::Unreadable { .. } => None,
        }
    }
}

/// A file, and what would change in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileChange {
    pub(super) path: &'static str,
    pub(super) tool: AgentTool,
    /// The file to write, with links followed.
    place: PathBuf,
    mode: u32,
    old: Option<String>,
    /// `None` if the file is removed, or is not made.
    new: Option<String>,
    pub(super) by_hand: Vec<ByHand>,
}

impl FileChange {
    /// Returns the word for the change that is printed and used in JSON.
    pub(super) fn action(&self) -> &'static str {
        match (&self.old, &self.new) {
            (None, Some(_)) => "create",
            (Some(_), None) => "remove",
            (old, new) if old == new => "none",
            _ => "change",
        }
    }

    /// Returns true if the file would be written or removed.
    pub(super) fn is_change(&self) -> bool {
        self.old != self.new
    }

    /// Returns the lines that change.
    pub(super) fn diff(&self) -> String {
        diff(self.old.as_deref().unwrap_or_default(), self.new.as_deref().unwrap_or_default())
    }

    /// Returns the change as JSON.
    pub(super) fn object(&self) -> Value {
        let by_hand = self.by_hand.iter().map(|part| json!({ "why": part.why, "snippet": part.snippet }));
        json!({
            "path": self.path,
            "tool": self.tool.name(),
            "action": self.action(),
            "diff": self.diff(),
            "by_hand": by_hand.collect::<Vec<_>>(),
        })
    }

    /// Writes or removes the file. Removes the folders that become empty, up to `root`.
    pub(super) fn write(&self, root: &Path) -> Result<(), FsError> {
        let Some(new) = &self.new else {
            std::fs::remove_file(&self.place).map_err(|source| FsError::Io {
                action: "remove",
                path: self.place.clone(),
                source,
            })?;
            let folders = self.place.ancestors().skip(1);
            // Fails at the first folder that has other files.
            let _ = folders.take_while(|folder| *folder != root).try_for_each(std::fs::remove_dir);
            return Ok(());
        };
        make_folders(root, &self.place)?;
        fs::replace(&self.place, new.as_bytes(), self.mode)
    }
}

/// Makes the missing folders between `root` and the file `place`, with the usual mode: they belong to the repository.
fn make_folders(root: &Path, place: &Path) -> Result<(), FsError> {
    let Some(folder) = place.parent().filter(|folder| folder.starts_with(root)) else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(|source| FsError::Io {
        action: "create",
        path: folder.into(),
        source,
    })
}

/// Returns what would change in each selected file of `worktree`. Errors if one of them is malformed or cannot be read.
pub(super) fn changes(
    worktree: &Worktree,
    home: Option<&Path>,
    selection: Selection,
) -> Result<Vec<FileChange>, AgentFileError> {
    let root = &worktree.path;
    let main = worktree.git.as_ref().and_then(|git| git.main_worktree.as_deref());
    let roots: Vec<&Path> = std::iter::once(root.as_path()).chain(main).collect();
    let name = main.unwrap_or(root).file_name().unwrap_or_default().to_string_lossy();
    let mut found: Vec<FileChange> = Vec::new();
    for file in &FILES {
        let is_selected = match selection {
            Selection::Used => file.tool.is_used(root, home),
            Selection::All | Selection::Remove => true,
        };
        if !is_selected || selection != Selection::Remove && is_left_out(file, root) {
            continue;
        }
        let unreadable = |source| AgentFileError::Unreadable { path: file.path, source };
        let path = root.join(file.path);
        let (place, old) = current(&roots, &path).map_err(unreadable)?;
        // Two names of one file: CLAUDE.md is often a link to AGENTS.md.
        if found.iter().any(|known| known.place == place) {
            continue;
        }
        let text = old.as_deref().unwrap_or_default();
        let malformed = |source| AgentFileError::Malformed { path: file.path, source };
        let (new, by_hand) = if selection == Selection::Remove {
            if old.is_none() {
                continue;
            }
            let edited = (file.remove)(text, &name).map_err(malformed)?;
            // A file is removed only if devrun's entries were all that it had.
            let is_rest = edited.text == text || !is_empty(&edited.text);
            (is_rest.then_some(edited.text), edited.by_hand)
        } else if file.path == CLAUDE_MD && includes_agents(text) {
            (old.clone(), Vec::new())
        } else {
            let edited = (file.add)(text, &name).map_err(malformed)?;
            (Some(edited.text), edited.by_hand)
        };
        let mode = std::fs::metadata(&place).map_or(MODE, |meta| meta.permissions().mode() & 0o7777);
        found.push(FileChange { path: file.path, tool: file.tool, place, mode, old, new, by_hand });
    }
    Ok(found)
}

/// Returns true if `file` is the one of Conductor's two files that is not in use.
fn is_left_out(file: &AgentFile, root: &Path) -> bool {
    let is_newer_used = root.join(CONDUCTOR_SETTINGS).exists();
    match file.path {
        CONDUCTOR_SETTINGS => !is_newer_used,
        CONDUCTOR_JSON => is_newer_used,
        _ => false,
    }
}

/// Returns the file that `path` leads to, and its text. `None` if it does not exist. Errors if it is outside `roots`.
fn current(roots: &[&Path], path: &Path) -> Result<(PathBuf, Option<String>), ReadError> {
    if path.symlink_metadata().is_err() {
        // The folder may be a link too, or a part of it.
        let existing = path.ancestors().skip(1).find(|folder| folder.symlink_metadata().is_ok());
        let Some(existing) = existing else { return Ok((path.into(), None)) };
        let folder = read::resolve_inside(roots, existing)?;
        let rest = path.strip_prefix(existing).unwrap_or(path);
        return Ok((folder.join(rest), None));
    }
    let place = read::resolve_inside(roots, path)?;
    let text = read::decoded(read::inside(roots, &place, Limit::SMALL)?);
    let not_text = || std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8");
    Ok((place, Some(text.ok_or_else(not_text)?)))
}

/// Returns true if `text` is blank or an empty JSON object.
fn is_empty(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}').trim();
    text.is_empty()
        || text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .is_some_and(|rest| rest.trim().is_empty())
}
