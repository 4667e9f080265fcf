//! The lock a supervisor holds for its life, and beside it a small file that says what it runs.
//!
//! Whether somebody runs is told by the lock alone: the kernel releases it however the owner dies, so the file may be
//! stale and is then only read to know what to clean up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::kill;
use nix::unistd::Pid;
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

/// Becomes the supervisor of the worktree whose state folder is `state`; `None` when another is.
pub fn claim(state: &Path) -> Result<Option<Claim>, FsError> {
    let file = file(state);
    match Lock::try_take(&lock_file(state), LockKind::Exclusive)? {
        Some(lock) => {
            let unclean = file.exists();
            Ok(Some(Claim { lock, unclean, file }))
        }
        None => Ok(None),
    }
}

/// What the supervisor that holds the lock of `state` says of itself. Right after it took the lock the record may still be
/// that of one that was killed: waits up to `limit` for one whose process is alive.
pub async fn running(state: &Path, limit: Duration) -> Option<Record> {
    let start = std::time::Instant::now();
    loop {
        let alive = |record: &Record| kill(Pid::from_raw(record.pid.cast_signed()), None).is_ok();
        if let Some(record) = read(&file(state)).filter(alive) {
            return Some(record);
        }
        if start.elapsed() >= limit {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// True while somebody is the supervisor of the worktree whose state folder is `state`. Makes nothing.
pub fn is_running(state: &Path) -> Result<bool, FsError> {
    // Never makes the folder: looking must work where nothing can be written.
    Ok(lock_file(state).exists() && Lock::try_take(&lock_file(state), LockKind::Shared)?.is_none())
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
        assert!(claim(dir.path()).unwrap().is_none());
        assert!(is_running(dir.path()).unwrap());
        drop(first);
        assert!(!is_running(dir.path()).unwrap());
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
