//! The lock a supervisor holds for its life, and beside it a small file that says what it runs.
//!
//! Whether somebody runs is told by the lock alone: the kernel releases it however the owner dies, so the file may be
//! stale and is then only read to know what to clean up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::os::fs::{self, FsError, Lock, LockKind};

const VERSION: u32 = 1;

/// What a supervisor says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this file's layout.
    pub version: u32,
    /// The process to signal: the one the user started.
    pub pid: u32,
    /// Start, in seconds since 1970.
    pub started: u64,
    /// Path of the worktree, for people.
    pub worktree: String,
    /// Named ports.
    #[serde(default)]
    pub ports: BTreeMap<String, u16>,
    /// Named URLs, in order.
    #[serde(default)]
    pub urls: Vec<(String, String)>,
}

impl Record {
    /// A record of this very run, which `pid` answers for.
    pub fn new(
        pid: u32,
        worktree: &Path,
        ports: BTreeMap<String, u16>,
        urls: Vec<(String, String)>,
    ) -> Record {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Record {
            version: VERSION,
            pid,
            started,
            worktree: worktree.to_string_lossy().into_owned(),
            ports,
            urls,
        }
    }
}

/// The right to be this worktree's supervisor.
#[derive(Debug)]
pub struct Claim {
    /// Held to the end.
    pub lock: Lock,
    /// An earlier supervisor of this worktree did not get to clean up.
    pub unclean: bool,
    file: PathBuf,
}

impl Claim {
    /// Writes down what runs.
    pub fn record(&self, record: &Record) -> Result<(), FsError> {
        let text = serde_json::to_vec_pretty(record).unwrap_or_default();
        fs::replace(&self.file, &text, 0o600)
    }

    /// Says that everything was cleaned up.
    pub fn clear(&self) {
        // A record that stays costs the next start one look at the process table.
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Who runs in a worktree.
#[derive(Debug)]
pub enum State {
    /// Nobody.
    Free,
    /// A supervisor, and what it wrote down; `None` in the instant before it does.
    Running(Option<Record>),
}

/// Becomes the supervisor of the worktree whose state folder is `state`; `Err` with the record of the one that is.
pub fn claim(state: &Path) -> Result<Result<Claim, Option<Record>>, FsError> {
    let file = file(state);
    match Lock::try_take(&lock_file(state), LockKind::Exclusive)? {
        Some(lock) => {
            let unclean = file.exists();
            Ok(Ok(Claim { lock, unclean, file }))
        }
        None => Ok(Err(read(&file))),
    }
}

/// Looks who runs in the worktree whose state folder is `state`, without becoming anything.
pub fn look(state: &Path) -> Result<State, FsError> {
    // Never makes the folder: looking must work where nothing can be written.
    if !lock_file(state).exists() {
        return Ok(State::Free);
    }
    match Lock::try_take(&lock_file(state), LockKind::Shared)? {
        Some(_) => Ok(State::Free),
        None => Ok(State::Running(read(&file(state)))),
    }
}

/// Waits until the supervisor is gone; false when `limit` passed first.
pub async fn wait_until_free(state: &Path, limit: Duration) -> Result<bool, FsError> {
    match Lock::take(&lock_file(state), LockKind::Exclusive, limit).await {
        Ok(_) => Ok(true),
        Err(FsError::Locked { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn lock_file(state: &Path) -> PathBuf {
    state.join("lock")
}

fn file(state: &Path) -> PathBuf {
    state.join("run.json")
}

fn read(file: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(file).ok()??).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_supervisor_and_the_second_learns_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = claim(dir.path()).unwrap().unwrap();
        assert!(!first.unclean);
        let record = Record::new(7, Path::new("/w"), BTreeMap::new(), Vec::new());
        first.record(&record).unwrap();
        assert_eq!(claim(dir.path()).unwrap().unwrap_err(), Some(record.clone()));
        assert!(matches!(look(dir.path()).unwrap(), State::Running(Some(found)) if found == record));
        drop(first);
        assert!(matches!(look(dir.path()).unwrap(), State::Free));
        assert!(claim(dir.path()).unwrap().unwrap().unclean);
    }

    #[test]
    fn a_record_of_another_version_is_read_leniently() {
        let dir = tempfile::tempdir().unwrap();
        let text = br#"{"version": 9, "pid": 1, "started": 2, "worktree": "/w", "future": true}"#;
        fs::replace(&file(dir.path()), text, 0o600).unwrap();
        assert_eq!(read(&file(dir.path())).unwrap().pid, 1);
        fs::replace(&file(dir.path()), b"{", 0o600).unwrap();
        assert_eq!(read(&file(dir.path())), None);
    }
}
