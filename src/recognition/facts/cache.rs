//! Keeps the facts of unchanged files between runs, in the worktree's state folder.
//!
//! A file counts as unchanged while its size, inode, device and both times are the same. Facts of env files are never
//! kept, because they are secrets. A cache that is damaged, or was written by another version, is ignored.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

use super::file::FileFacts;
use crate::os::read;

/// Version of the format. Must change together with the readers, because facts of another version may be incomplete.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-13");
const NAME: &str = "facts.json";
/// Maximum size of a cache to read.
const MOST: read::Limit = read::Limit::mebibytes(16);
/// Minimum age of a change, in nanoseconds. A file that changed later could change again within the same timestamp, so
/// its facts are not kept.
const FRESH_NANOS: i128 = 100_000_000;

/// A hash of a file's size, inode, device and times, which changes with the file's content.
pub(super) type Identity = u64;

/// The identity of a file, and whether its facts may be kept because it did not change just now.
pub(super) type Seen = (Identity, bool);

/// The facts from earlier runs.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// Files without facts: hashes of path and identity.
    empty: HashSet<u64>,
    files: HashMap<PathBuf, (Identity, FileFacts)>,
}

#[derive(Deserialize)]
struct Stored {
    version: String,
    /// Files without facts: a hash of path and identity, 16 hexadecimal digits each, which are read faster than numbers.
    empty: String,
    files: Vec<(PathBuf, Identity, FileFacts)>,
}

#[derive(Serialize)]
struct Storing<'a> {
    version: &'a str,
    empty: String,
    files: Vec<(&'a str, Identity, &'a FileFacts)>,
}

/// Returns the identity of the file with this `stat`, and whether its facts may be kept because it did not change just now.
pub(super) fn identity(stat: &Stat, now: SystemTime) -> Seen {
    let mut hasher = DefaultHasher::new();
    (stat.st_size, stat.st_ino, stat.st_dev).hash(&mut hasher);
    (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec).hash(&mut hasher);
    let modified = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
    let changed = modified.max(i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec));
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_nanos());
    let age = i128::try_from(now).unwrap_or(0) - changed;
    (hasher.finish(), age >= FRESH_NANOS)
}

/// Returns a hash of the path and the identity of a file.
fn hash_of(path: &Path, identity: Identity) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(path.as_os_str().as_bytes());
    hasher.write_u64(identity);
    hasher.finish()
}

impl Cache {
    /// Returns true if the cache in the folder `state` is so large that a separate thread should read it.
    pub(super) fn is_large(state: &Path) -> bool {
        std::fs::metadata(state.join(NAME)).is_ok_and(|meta| meta.len() > 64 << 10)
    }

    /// Reads the cache in the folder `state`; an empty one if there is no usable cache.
    pub(super) fn load(state: &Path) -> Cache {
        let read = || -> Option<Cache> {
            let bytes = read::file(&state.join(NAME), MOST).ok()?;
            let stored: Stored = serde_json::from_slice(&bytes).ok()?;
            let files = stored.files.into_iter().map(|(path, identity, facts)| (path, (identity, facts)));
            let number = |digits: &[u8]| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
            let empty = stored.empty.as_bytes().chunks(16).map(number).collect::<Option<HashSet<u64>>>()?;
            (stored.version == VERSION).then(|| Cache { empty, files: files.collect() })
        };
        read().unwrap_or_default()
    }

    /// Removes and returns the facts of `path`, if its identity is unchanged.
    pub(super) fn take(&mut self, path: &Path, identity: Identity) -> Option<FileFacts> {
        if let Some((known, facts)) = self.files.remove(path) {
            return (known == identity).then_some(facts);
        }
        self.empty.contains(&hash_of(path, identity)).then(FileFacts::default)
    }

    /// Returns the number of files in the cache, including files without facts.
    pub(super) fn len(&self) -> usize {
        self.empty.len() + self.files.len()
    }
}

/// Writes the facts of `files` into the folder `state`. Ignores errors: without the cache, the next run is only slower.
pub(super) fn store<'a>(state: &Path, files: impl Iterator<Item = (&'a Path, Identity, &'a FileFacts)>) {
    let mut storing = Storing { version: VERSION, empty: String::new(), files: Vec::new() };
    for (path, identity, facts) in files {
        if facts.is_empty() {
            let _ = write!(storing.empty, "{:016x}", hash_of(path, identity));
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
