//! Facts of unchanged files, kept between runs in the worktree's own state folder.
//!
//! A file counts as unchanged while its size, inode, and both its times are the same. Facts of env files are never kept:
//! they are secrets. A cache that is damaged, or was written by another version, is ignored.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::file::FileFacts;
use crate::os::read;

/// Changes with the readers: facts of another version are not understood, or say too little.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-1");
const NAME: &str = "facts.json";
/// The largest cache that is read.
const MOST: read::Limit = read::Limit::mebibytes(16);
/// A file that changed so shortly before it was read could change again without another time: its facts are not kept.
const FRESH_NANOS: i128 = 100_000_000;

/// Identity of a file's content.
pub(super) type Identity = u64;

/// What was kept.
#[derive(Debug, Default)]
pub(super) struct Cache {
    empty: HashMap<u64, Identity>,
    files: HashMap<PathBuf, (Identity, FileFacts)>,
}

#[derive(Deserialize)]
struct Stored {
    version: String,
    /// Path and identity, as one number each, of files without facts.
    empty: Vec<(u64, Identity)>,
    files: Vec<(PathBuf, Identity, FileFacts)>,
}

#[derive(Serialize)]
struct Storing<'a> {
    version: &'a str,
    empty: Vec<(u64, Identity)>,
    files: Vec<(&'a str, Identity, &'a FileFacts)>,
}

/// Returns the identity of the file at `path`, and whether it can be kept: it did not change just now.
pub(super) fn identity(path: &Path, now: SystemTime) -> Option<(Identity, bool)> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    let mut hasher = DefaultHasher::new();
    (meta.len(), meta.ino(), meta.dev()).hash(&mut hasher);
    (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()).hash(&mut hasher);
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let changed = nanos(meta.mtime(), meta.mtime_nsec()).max(nanos(meta.ctime(), meta.ctime_nsec()));
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_nanos());
    let age = i128::try_from(now).unwrap_or(0) - changed;
    Some((hasher.finish(), age >= FRESH_NANOS))
}

fn number(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

impl Cache {
    /// Reads the cache in the folder `state`; an empty one when there is none that can be used.
    pub(super) fn load(state: &Path) -> Cache {
        let read = || -> Option<Cache> {
            let bytes = read::file(&state.join(NAME), MOST).ok()?;
            let stored: Stored = serde_json::from_slice(&bytes).ok()?;
            let files = stored.files.into_iter().map(|(path, identity, facts)| (path, (identity, facts)));
            (stored.version == VERSION)
                .then(|| Cache { empty: stored.empty.into_iter().collect(), files: files.collect() })
        };
        read().unwrap_or_default()
    }

    /// Takes the facts of `path` out if its identity is still the same.
    pub(super) fn take(&mut self, path: &Path, identity: Identity) -> Option<FileFacts> {
        if let Some((known, facts)) = self.files.remove(path) {
            return (known == identity).then_some(facts);
        }
        (self.empty.get(&number(path)) == Some(&identity)).then(FileFacts::default)
    }

    /// Returns how many files it has facts of; files without any facts count.
    pub(super) fn len(&self) -> usize {
        self.empty.len() + self.files.len()
    }
}

/// Writes the facts of `files` into the folder `state`. A failure costs time at the next run and nothing else.
pub(super) fn store<'a>(state: &Path, files: impl Iterator<Item = (&'a Path, Identity, &'a FileFacts)>) {
    let mut storing = Storing { version: VERSION, empty: Vec::new(), files: Vec::new() };
    for (path, identity, facts) in files {
        if facts.is_empty() {
            storing.empty.push((number(path), identity));
        } else if let Some(path) = path.to_str() {
            storing.files.push((path, identity, facts));
        }
    }
    if let Ok(bytes) = serde_json::to_vec(&storing)
        && bytes.len() <= MOST.bytes
    {
        let _ = crate::os::fs::replace_for_now(&state.join(NAME), &bytes, 0o600);
    }
}
