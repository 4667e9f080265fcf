//! How far the schema of a branch database is, for verbs that only look: nothing is run, nothing is marked.

use std::path::Path;

use super::inputs::Inputs;
use super::{CONNECT, MigrateError, Verdict, effect, judge, marker};
use crate::database::Branch;
use crate::database::connect::reach;
use crate::plan::Run;

/// What the marker in a database says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The command succeeded there with the files as they are.
    UpToDate,
    /// It succeeded there, but with other files, or another command.
    Pending,
    /// It never succeeded there, or was interrupted the last time.
    Unmigrated,
    /// It succeeded there; there are no files to compare with.
    Migrated,
    /// It succeeded, and the database holds nothing: it changed another one, or there is nothing to make.
    Empty,
}

impl Standing {
    /// As printed.
    pub const fn word(self) -> &'static str {
        match self {
            Standing::UpToDate => "up-to-date",
            Standing::Pending => "pending",
            Standing::Unmigrated => "unmigrated",
            Standing::Migrated => "migrated",
            Standing::Empty => "empty",
        }
    }
}

/// Reads the marker in `branch`. `files` are the command, its folder and the globs of its inputs, where they are known.
pub async fn standing(
    branch: &Branch,
    files: Option<(&Run, &Path, &[String])>,
) -> Result<Standing, MigrateError> {
    let fingerprint = match files {
        Some((command, directory, globs)) => {
            Some(Inputs::gather(directory, globs).await?.fingerprint(command))
        }
        None => None,
    };
    let client = reach(branch, None, CONNECT).await?;
    let markers = marker::read(&client).await?;
    let own = markers.iter().any(|marker| marker.branch == branch.id);
    let marked = match fingerprint {
        _ if !own => Standing::Unmigrated,
        None => Standing::Migrated,
        Some(fingerprint) if judge(&markers, branch, &fingerprint) == Verdict::InStep => Standing::UpToDate,
        Some(_) => Standing::Pending,
    };
    // A command that succeeded and left nothing has changed another database, or none.
    let is_empty = marked == Standing::UpToDate && effect::is_empty(&client).await?;
    Ok(if is_empty { Standing::Empty } else { marked })
}
