//! Saves to a folder what the processes of a worktree wrote during one command.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Code, Report};
use crate::logs::query::{self, Filter};
use crate::logs::{self, Timestamp};
use crate::os::fs;
use crate::text::quoted;

/// A folder for logs, and the time from which on lines are saved.
pub(super) struct SavedLogs {
    folder: PathBuf,
    since: Timestamp,
}

impl SavedLogs {
    /// Creates `folder`. Errors if that is not possible.
    pub(super) fn begin(folder: &Path, since: Timestamp) -> Result<SavedLogs, Report> {
        std::fs::create_dir_all(folder).map_err(|error| unusable(folder, &error))?;
        Ok(SavedLogs { folder: folder.into(), since })
    }

    /// Writes a file `NAME.log` for each process of the worktree with the state folder `state`, and one for devrun
    /// itself: a time and the text in each line. Writes no empty file.
    pub(super) fn save(&self, state: &Path) -> Result<(), Report> {
        let source = logs::folder(state);
        let failed = |error: io::Error| unusable(&source, &error);
        let filter = Filter { since: Some(self.since), ..Filter::default() };
        for name in query::names(&source).map_err(failed)? {
            let (lines, _) =
                query::read(&source, std::slice::from_ref(&name), &filter, None).map_err(failed)?;
            let mut text = Vec::new();
            for stored in lines {
                if stored.line.continued {
                    // The rest of a long line belongs to the line before it.
                    text.pop();
                } else {
                    text.extend_from_slice(stored.line.time.as_str().as_bytes());
                    text.push(b' ');
                }
                text.extend_from_slice(&stored.line.text);
                text.push(b'\n');
            }
            if !text.is_empty() {
                fs::replace(&self.folder.join(format!("{name}.log")), &text, 0o644)?;
            }
        }
        Ok(())
    }
}

fn unusable(folder: &Path, error: &io::Error) -> Report {
    Report::new(Code::State, format!("the logs cannot be saved, because of {}: {error}", folder.display()))
        .with_fix(format!("check owner and mode of {}", quoted(folder)))
}
