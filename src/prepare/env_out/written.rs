//! Remembers the files of `env_out` in the state folder of the worktree, and takes them back: at the next run those that the
//! configuration no longer names, and all of them when the worktree has been removed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::content::{self, FileContent};
use crate::context::Context;
use crate::os::fs::{self, FsError};
use crate::os::read::{self, Limit, ReadError};
use crate::text::{env_block, harmless, hex};

/// Name of the record in the state folder.
const FILE: &str = "env_out.json";
/// The version of its layout.
const VERSION: u32 = 1;

/// A file that devrun wrote. Paths are bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WrittenFile {
    /// The path in the configuration.
    path: Vec<u8>,
    /// The file itself, behind symbolic links.
    real: Vec<u8>,
    /// The worktree, as the file names it.
    owner: String,
    /// True if the file holds nothing of the user, so that it is removed with devrun's lines.
    was_missing: bool,
    /// The hash of the user's lines in front of the block, if devrun added the newline at their end.
    ended: Option<String>,
    /// The names of the variables.
    names: BTreeSet<String>,
}

impl WrittenFile {
    fn real(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.real))
    }
}

/// The record of one worktree.
#[derive(Debug, Default, Serialize, Deserialize)]
struct RecordFile {
    version: u32,
    files: Vec<WrittenFile>,
}

/// The files that devrun wrote for one worktree.
#[derive(Debug)]
pub struct WrittenFiles {
    record: PathBuf,
    files: Vec<WrittenFile>,
}

impl WrittenFiles {
    /// Reads the record in the state folder `state`. Errors if it exists and cannot be read.
    fn read(state: &Path) -> Result<WrittenFiles, FsError> {
        let record = state.join(FILE);
        let damaged = |source: serde_json::Error| FsError::Io {
            action: "read",
            path: record.clone(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, source),
        };
        let files = match fs::read(&record)? {
            Some(bytes) => serde_json::from_slice::<RecordFile>(&bytes).map_err(damaged)?.files,
            None => Vec::new(),
        };
        Ok(WrittenFiles { record, files })
    }

    /// Returns the files of the worktree with the state folder `state`. Warns if the record cannot be read.
    pub fn of(ctx: &Context, state: &Path) -> WrittenFiles {
        WrittenFiles::read(state).unwrap_or_else(|error| {
            ctx.events.warn(format!("files that earlier runs wrote by env_out may stay: {error}"));
            WrittenFiles { record: state.join(FILE), files: Vec::new() }
        })
    }

    fn find(&self, real: &Path) -> Option<&WrittenFile> {
        self.files.iter().find(|file| file.real() == real)
    }

    /// Returns the paths in the configuration of the file `real`.
    pub(super) fn paths_of(&self, real: &Path) -> impl Iterator<Item = &Path> {
        let here = self.files.iter().filter(move |file| file.real() == real);
        here.map(|file| Path::new(OsStr::from_bytes(&file.path)))
    }

    /// Returns the names of the variables that devrun wrote into `real`.
    pub(super) fn names(&self, real: &Path) -> BTreeSet<String> {
        self.find(real).map(|file| file.names.clone()).unwrap_or_default()
    }

    /// Takes back all files but `kept`. A file that cannot be written stays in the record.
    pub(super) fn take_back_others(&mut self, ctx: &Context, kept: &[&Path]) -> Result<(), FsError> {
        let is_done = |file: &WrittenFile| !kept.contains(&file.real()) && taken_back(ctx, file);
        let before = self.files.len();
        self.files.retain(|file| !is_done(file));
        if self.files.len() == before { Ok(()) } else { self.save() }
    }

    /// Records that the lines `body` are about to be written for `owner` into the file `real`, which has `content`.
    pub(super) fn add(
        &mut self,
        (name, real): (&Path, &Path),
        owner: &str,
        body: &str,
        content: &FileContent,
    ) -> Result<(), FsError> {
        let known = self.find(real);
        let front = content.before_block();
        let ended = if content.has_written() {
            // The user may have written other lines since.
            known.and_then(|known| known.ended.clone()).filter(|ended| *ended == hash(front))
        } else {
            content.needs_newline().then(|| hash(&[front, b"\n"].concat()))
        };
        let was_missing = match known {
            _ if !content.has_written() => content.bytes.is_none(),
            Some(known) => known.was_missing,
            None => content.is_all_written(),
        };
        let file = WrittenFile {
            path: name.as_os_str().as_bytes().into(),
            real: real.as_os_str().as_bytes().into(),
            owner: owner.into(),
            was_missing,
            ended,
            names: content::names(body),
        };
        if known == Some(&file) {
            return Ok(());
        }
        self.files.retain(|other| other.real != file.real);
        self.files.push(file);
        self.save()
    }

    fn save(&self) -> Result<(), FsError> {
        let record = serde_json::json!(RecordFile { version: VERSION, files: self.files.clone() });
        fs::replace(&self.record, record.to_string().as_bytes(), 0o600)
    }

    /// Takes back every file. Call it after the worktree was removed: until then, the files belong to it.
    pub fn take_back(&self, ctx: &Context) {
        for file in &self.files {
            taken_back(ctx, file);
        }
    }
}

fn hash(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

/// The reason why lines of devrun stay in a file.
#[derive(Debug, thiserror::Error)]
enum KeptLines {
    #[error("it was edited since devrun wrote it")]
    Edited,
    #[error("line {0} begins a block whose last line is missing")]
    Unclosed(usize),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] FsError),
}

/// Takes the lines of devrun out of the file, and warns if it cannot. Returns false if a later attempt may succeed.
fn taken_back(ctx: &Context, file: &WrittenFile) -> bool {
    let Err(why) = take_out(file) else { return true };
    let place = harmless(&file.real().display().to_string());
    ctx.events.warn(format!("the values of this worktree stay in {place}: {why}"));
    // An edited file belongs to the user from now on.
    matches!(why, KeptLines::Edited)
}

/// Takes the lines of devrun out of the file. A file that holds other lines by now is left alone.
fn take_out(file: &WrittenFile) -> Result<(), KeptLines> {
    let path = file.real();
    let Some(bytes) = read::optional(path, Limit::mebibytes(1))? else { return Ok(()) };
    let io = |source| FsError::Io { action: "remove", path: path.into(), source };
    let left = if env_block::is_generated(&bytes) {
        match env_block::generated_owner(&bytes) {
            Some(owner) if owner != file.owner => return Ok(()),
            _ if !env_block::is_unedited(&bytes) => return Err(KeptLines::Edited),
            _ => Vec::new(),
        }
    } else {
        let split = env_block::split(&bytes).map_err(KeptLines::Unclosed)?;
        if !split.owners.contains(&file.owner) {
            return Ok(());
        }
        let is_ended = file.ended.as_ref() == Some(&hash(&split.before));
        let mut before = split.before;
        if is_ended && split.after.is_empty() && before.last() == Some(&b'\n') {
            before.pop();
        }
        [before, split.after].concat()
    };
    if left.is_empty() && file.was_missing {
        return Ok(std::fs::remove_file(path).map_err(io)?);
    }
    let mode = std::fs::metadata(path).map_err(io)?.permissions().mode() & 0o7777;
    Ok(fs::replace(path, &left, mode)?)
}

#[cfg(test)]
mod tests;
