//! The lock a supervisor holds for its life, and beside it a small file that says what it runs.
//!
//! Whether somebody runs is told by the lock alone: the kernel releases it however the owner dies, so the file may be
//! stale and is then only read to know what to clean up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::status::Status;
use crate::error::{Code, Report};
use crate::os::fs::{self, FsError, Lock, LockKind};
use crate::os::proc;

const VERSION: u32 = 1;
const LAST: &str = "last.json";
/// Time between two looks at somebody who is just coming or going.
const POLL: Duration = Duration::from_millis(10);

/// What a supervisor says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this file's layout.
    pub version: u32,
    /// The process to signal: the one the user started.
    pub pid: u32,
    /// When that process started, in clock ticks since boot: its id may be another's by now. 0 when that is not known.
    #[serde(default)]
    pub born: u64,
    /// The supervisor below that process; absent where the two are one, and in records of an older devrun.
    #[serde(default)]
    pub supervisor: Option<Supervisor>,
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
    /// Where it answers questions; absent for one that could not listen.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// It is taking everything down.
    #[serde(default)]
    pub ending: bool,
    /// It runs nothing and holds the worktree for a moment only: to do this (`resetting dev-x`).
    #[serde(default)]
    pub errand: Option<String>,
}

/// Names the process that does the work of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervisor {
    /// Its id.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub born: u64,
}

impl Supervisor {
    /// Returns true while this very process lives.
    pub fn lives(&self) -> bool {
        self.born != 0 && self.born == born(self.pid)
    }
}

impl Record {
    /// A record of this very run, which `pid` answers for; ports and URLs are to come.
    pub fn new(pid: u32, worktree: &Path) -> Record {
        let own = std::process::id();
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Record {
            version: VERSION,
            pid,
            born: born(pid),
            supervisor: (own != pid).then(|| Supervisor { pid: own, born: born(own) }),
            started,
            worktree: worktree.to_string_lossy().into_owned(),
            ports: BTreeMap::new(),
            urls: Vec::new(),
            socket: None,
            ending: false,
            errand: None,
        }
    }

    /// Where to ask; an error when it answers no questions.
    pub fn socket(&self) -> Result<&Path, Report> {
        self.socket.as_deref().ok_or_else(|| {
            Report::new(
                Code::NotRunning,
                "the devrun that runs here is an older one that answers no questions",
            )
            .with_fix("devrun down && devrun up -d")
        })
    }

    /// True of one that holds the worktree and will be gone by itself.
    pub fn is_passing(&self) -> bool {
        self.ending || self.errand.is_some()
    }

    /// Who that is and what it does, for those who wait for its end.
    pub fn doing(&self) -> String {
        match &self.errand {
            Some(doing) => format!("another devrun (pid {}) is {doing}", self.pid),
            None => format!("the stack of this worktree (pid {}) is stopping", self.pid),
        }
    }

    /// Returns true while the supervisor lives, also without the process that the user started.
    pub fn is_supervised(&self) -> bool {
        self.supervisor.is_some_and(|supervisor| supervisor.lives())
    }

    /// Returns true when this is the record of a run in the worktree at `path`.
    pub fn is_of(&self, path: &Path) -> bool {
        self.worktree == path.to_string_lossy()
    }

    /// False when the process it names is gone: it was killed.
    pub fn is_current(&self) -> bool {
        self.born == 0 || self.born == born(self.pid)
    }
}

fn born(pid: u32) -> u64 {
    // One that has ended and was not reaped yet does nothing any more.
    proc::entry(pid).filter(|entry| entry.state != 'Z').map_or(0, |entry| entry.started)
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

/// How the last run ended, for whoever asks afterwards; `None` when none has, or a newer devrun wrote it.
pub fn last(state: &Path) -> Option<Status> {
    serde_json::from_slice(&fs::read(&last_file(state)).ok()??).ok()
}

/// Which version of a file that is only ever replaced: device, inode, seconds and nanoseconds of its last change.
pub type Written = (u64, u64, i64, i64);

/// Returns which version of [`last`] is there.
pub fn last_written(state: &Path) -> Option<Written> {
    use std::os::unix::fs::MetadataExt;
    let about = last_file(state).symlink_metadata().ok()?;
    Some((about.dev(), about.ino(), about.ctime(), about.ctime_nsec()))
}

/// Where a supervisor writes down what it runs.
#[derive(Clone, Debug)]
pub struct Journal {
    file: PathBuf,
}

impl Journal {
    /// Writes down what runs.
    pub fn record(&self, record: &Record) -> Result<(), FsError> {
        let text = serde_json::to_vec_pretty(record).unwrap_or_default();
        fs::replace_for_now(&self.file, &text, 0o600)
    }

    /// Writes down that what runs is being taken down.
    pub fn ending(&self) {
        if let Some(record) = read(&self.file) {
            // Who does not learn of it is told that all runs, which was true a moment ago.
            let _ = self.record(&Record { ending: true, ..record });
        }
    }
}

impl Claim {
    /// Where to write down what runs.
    pub fn journal(&self) -> Journal {
        Journal { file: self.file.clone() }
    }

    /// Writes down what runs.
    pub fn record(&self, record: &Record) -> Result<(), FsError> {
        self.journal().record(record)
    }

    /// Forgets how an earlier run ended: a new one begins.
    pub fn begin(&self) {
        let _ = std::fs::remove_file(self.file.with_file_name(LAST));
        // A record that stays says that there is something to clean up, and no longer that somebody is at it.
        if let Some(record) = read(&self.file).filter(|record| record.ending) {
            let _ = self.record(&Record { ending: false, ..record });
        }
    }

    /// Writes down how it ended.
    pub fn leave(&self, status: &Status) {
        let text = serde_json::to_vec_pretty(status).unwrap_or_default();
        // Nobody depends on it: a full disk costs a later answer.
        let _ = fs::replace_for_now(&self.file.with_file_name(LAST), &text, 0o600);
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

/// Returns true when the state folder `state` holds a record of a run in the worktree at `path`.
pub fn is_state_of(state: &Path, path: &Path) -> bool {
    read(&file(state)).is_some_and(|record| record.is_of(path))
}

/// Who runs in a worktree.
#[derive(Debug)]
pub enum State {
    /// Nobody.
    Free,
    /// A supervisor, which says this of itself.
    Running(Record),
    /// Somebody who has not said who he is within the limit.
    Unknown,
}

/// Looks who runs in the worktree whose state folder is `state`, and makes nothing. Waits up to `limit` for one that is
/// just coming and has not written its record, or just going because somebody killed the process that answers for it.
pub async fn look(state: &Path, limit: Duration) -> Result<State, FsError> {
    let start = Instant::now();
    loop {
        // Never makes the folder: looking must work where nothing can be written.
        if !lock_file(state).exists() || Lock::try_take(&lock_file(state), LockKind::Shared)?.is_some() {
            return Ok(State::Free);
        }
        match read(&file(state)) {
            // One that says it is ending is ending, although the process it names may have been killed.
            Some(record) if record.is_current() || record.is_supervised() || record.ending => {
                return Ok(State::Running(record));
            }
            _ if start.elapsed() >= limit => return Ok(State::Unknown),
            _ => tokio::time::sleep(POLL).await,
        }
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

/// Waits until the holder of the lock that says it is `pid` is gone, or another has taken its place; false when `limit` passed
/// first.
pub async fn wait_for_turn(state: &Path, pid: u32, limit: Duration) -> Result<bool, FsError> {
    let start = Instant::now();
    loop {
        match look(state, Duration::ZERO).await? {
            State::Running(record) if record.pid == pid => {}
            State::Running(_) | State::Free => return Ok(true),
            // One that goes, or comes and has not said who it is.
            State::Unknown => {}
        }
        if start.elapsed() >= limit {
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn lock_file(state: &Path) -> PathBuf {
    state.join("lock")
}

fn last_file(state: &Path) -> PathBuf {
    state.join(LAST)
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

    fn record() -> Record {
        Record::new(std::process::id(), Path::new("/w"))
    }

    #[tokio::test]
    async fn there_is_one_supervisor_and_the_second_learns_of_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(look(dir.path(), Duration::ZERO).await.unwrap(), State::Free));
        let first = claim(dir.path()).unwrap().unwrap();
        assert!(!first.unclean);
        first.record(&record()).unwrap();
        assert!(claim(dir.path()).unwrap().is_none());
        let seen = look(dir.path(), Duration::ZERO).await.unwrap();
        assert!(matches!(seen, State::Running(found) if found == record()));
        drop(first);
        assert!(matches!(look(dir.path(), Duration::ZERO).await.unwrap(), State::Free));
        assert!(claim(dir.path()).unwrap().unwrap().unclean);
    }

    #[tokio::test]
    async fn the_record_of_one_that_was_killed_is_not_taken_for_that_of_who_runs() {
        let dir = tempfile::tempdir().unwrap();
        let held = claim(dir.path()).unwrap().unwrap();
        assert!(matches!(look(dir.path(), Duration::ZERO).await.unwrap(), State::Unknown));
        // The same id, another process.
        held.record(&Record { born: 1, ..record() }).unwrap();
        assert!(matches!(look(dir.path(), Duration::ZERO).await.unwrap(), State::Unknown));
    }

    #[tokio::test]
    async fn one_that_is_ending_is_known_without_its_keeper_and_its_record_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let held = claim(dir.path()).unwrap().unwrap();
        held.record(&Record { born: 1, ..record() }).unwrap();
        held.journal().ending();
        let seen = look(dir.path(), Duration::ZERO).await.unwrap();
        assert!(matches!(seen, State::Running(found) if found.ending && !found.is_current()));
        drop(held);
        let next = claim(dir.path()).unwrap().unwrap();
        assert!(next.unclean);
        next.begin();
        assert!(matches!(look(dir.path(), Duration::ZERO).await.unwrap(), State::Unknown));
        drop(next);
        assert!(claim(dir.path()).unwrap().unwrap().unclean, "what is to be cleaned up was forgotten");
    }

    #[tokio::test]
    async fn a_supervisor_whose_keeper_was_killed_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let held = claim(dir.path()).unwrap().unwrap();
        let pid = std::process::id();
        let supervisor = Some(Supervisor { pid, born: born(pid) });
        // No process has this id: it is above the largest that Linux gives.
        held.record(&Record { pid: 1 << 23, born: 1, supervisor, ..record() }).unwrap();
        let seen = look(dir.path(), Duration::ZERO).await.unwrap();
        assert!(matches!(seen, State::Running(found) if found.is_supervised() && !found.is_current()));
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
