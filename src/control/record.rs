//! The lock that a supervisor holds while it lives, and a small file beside it that describes the run.
//!
//! Only the lock shows that a supervisor runs: the kernel releases it however the supervisor dies. The file may be
//! stale; then it only shows what is left to clean up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::started_by::{Session, StartedBy};
use super::status::Status;
use crate::error::{Code, RESTART_STACK, Report};
use crate::os::cgroup::ControlGroup;
use crate::os::clock;
use crate::os::fs::{self, FsError, Lock, LockKind};
use crate::os::proc;

const VERSION: u32 = 1;
const LAST: &str = "last.json";
/// Time between two checks of a supervisor that is starting or ending.
const POLL: Duration = Duration::from_millis(10);

/// The description of a run, written by its supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Version of this file's layout.
    pub version: u32,
    /// The process to signal: the keeper, which the user started.
    pub pid: u32,
    /// When that process started, in clock ticks since boot; another process may have its id by now. 0 if unknown.
    #[serde(default)]
    pub born: u64,
    /// The supervisor below that process. `None` if they are the same process, and in records of an older devrun.
    #[serde(default)]
    pub supervisor: Option<Supervisor>,
    /// The pid namespace in which its process ids count; absent where the system does not name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The start of the run, in seconds since 1970.
    pub started: u64,
    /// Path of the worktree as text, which may be lossy.
    pub worktree: String,
    /// Ports by name.
    #[serde(default)]
    pub ports: BTreeMap<String, u16>,
    /// Names and URLs, in the order of the plan.
    #[serde(default)]
    pub urls: Vec<(String, String)>,
    /// Path of the supervisor's socket; `None` if it has none.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// True once the supervisor has begun to stop the stack.
    #[serde(default)]
    pub ending: bool,
    /// The short task (`resetting dev-x`) for which this devrun holds the lock without running a stack.
    #[serde(default, rename = "errand")]
    pub task: Option<String>,
    /// The program that started the run; absent in records of an older devrun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_by: Option<StartedBy>,
    /// The session that started the run, if it has an identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// The control groups that may hold processes of this run, or of an earlier one that is not cleaned up yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<PathBuf>,
}

/// Identifies the process that does the work of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervisor {
    /// The process id.
    pub pid: u32,
    /// When the process started, in clock ticks since boot.
    pub born: u64,
}

impl Supervisor {
    /// Returns true while that process lives; another process with its id does not count.
    pub fn lives(&self) -> bool {
        self.born != 0 && self.born == born(self.pid)
    }
}

impl RunRecord {
    /// Returns a record of a run in this process, to be signalled through `pid`. Ports and URLs are empty.
    pub fn new(pid: u32, worktree: &Path) -> RunRecord {
        let own = std::process::id();
        let started = clock::unix_seconds();
        RunRecord {
            version: VERSION,
            pid,
            born: born(pid),
            supervisor: (own != pid).then(|| Supervisor { pid: own, born: born(own) }),
            namespace: proc::namespace(),
            started,
            worktree: worktree.to_string_lossy().into_owned(),
            ports: BTreeMap::new(),
            urls: Vec::new(),
            socket: None,
            ending: false,
            task: None,
            started_by: None,
            session: None,
            groups: Vec::new(),
        }
    }

    /// Returns the path of the supervisor's socket. Errors if the record has none.
    pub fn socket(&self) -> Result<&Path, Report> {
        self.socket.as_deref().ok_or_else(|| {
            Report::new(
                Code::NotRunning,
                "the devrun that runs here is an older version, which cannot answer requests",
            )
            .with_fix(RESTART_STACK)
        })
    }

    /// Returns true if the holder of the lock will release it by itself: it is ending, or runs a short task.
    pub fn ends_by_itself(&self) -> bool {
        self.ending || self.task.is_some()
    }

    /// Returns a sentence about the holder of the lock and what it is doing, for a command that waits for it.
    pub fn doing(&self) -> String {
        match &self.task {
            Some(doing) => format!("another devrun (pid {}) is {doing}", self.pid),
            None => format!("the stack of this worktree (pid {}) is stopping", self.pid),
        }
    }

    /// Returns true while the supervisor lives, even if its keeper is gone.
    pub fn is_supervised(&self) -> bool {
        !self.is_elsewhere() && self.supervisor.is_some_and(|supervisor| supervisor.lives())
    }

    /// Returns the ids of the keeper and the supervisor, as far as they live in this pid namespace.
    pub fn processes(&self) -> impl Iterator<Item = u32> {
        let keeper = (!self.is_elsewhere() && self.is_current()).then_some(self.pid);
        let supervisor = self.supervisor.filter(|_| self.is_supervised()).map(|supervisor| supervisor.pid);
        keeper.into_iter().chain(supervisor)
    }

    /// Returns true if this is the record of a run in the worktree at `path`.
    pub fn is_of(&self, path: &Path) -> bool {
        self.worktree == path.to_string_lossy()
    }

    /// Returns true when the stack runs in a pid namespace other than that of this process, as in a container or a sandbox. Its
    /// process ids are those of other processes here.
    pub fn is_elsewhere(&self) -> bool {
        self.namespace.is_some() && proc::namespace().is_some_and(|own| Some(own) != self.namespace)
    }

    /// Returns false if the process `pid` is gone, which means that it was killed. Returns true if its start is
    /// unknown, or if its id is that of another pid namespace.
    pub fn is_current(&self) -> bool {
        self.born == 0 || self.is_elsewhere() || self.born == born(self.pid)
    }

    /// Returns true if the supervisor's socket was removed, which the supervisor notices within a second.
    fn has_lost_its_socket(&self) -> bool {
        !self.ends_by_itself() && self.socket.as_deref().is_some_and(|socket| !socket.exists())
    }
}

fn born(pid: u32) -> u64 {
    // A zombie has ended and only waits to be reaped.
    proc::entry(pid).filter(|entry| !entry.has_ended()).map_or(0, |entry| entry.started)
}

/// The held lock of a worktree, which makes this process its supervisor.
#[derive(Debug)]
pub struct Claim {
    /// The lock. It is released when the last copy of its descriptor is closed.
    pub lock: Lock,
    /// True if an earlier supervisor of this worktree died before it cleaned up.
    pub unclean: bool,
    file: PathBuf,
}

/// Returns the final status of the last run. `None` if there is none, or if it cannot be read.
pub fn last(state: &Path) -> Option<Status> {
    serde_json::from_slice(&fs::read(&last_file(state)).ok()??).ok()
}

/// Identifies a version of a file that is always replaced as a whole: device, inode, and the seconds and nanoseconds of
/// its last change.
pub type FileVersion = (u64, u64, i64, i64);

/// Returns the version of the file that [`last`] reads.
pub fn last_written(state: &Path) -> Option<FileVersion> {
    use std::os::unix::fs::MetadataExt;
    let about = last_file(state).symlink_metadata().ok()?;
    Some((about.dev(), about.ino(), about.ctime(), about.ctime_nsec()))
}

/// The file in which a supervisor records its run.
#[derive(Clone, Debug)]
pub struct Journal {
    file: PathBuf,
}

impl Journal {
    /// Writes `record` to the file. Errors if the file cannot be written.
    pub fn record(&self, record: &RunRecord) -> Result<(), FsError> {
        let text = serde_json::to_vec_pretty(record).unwrap_or_default();
        fs::replace_for_now(&self.file, &text, 0o600)
    }

    /// Adds the ports and URLs of the plan. Errors if the file cannot be written.
    pub fn planned(&self, ports: BTreeMap<String, u16>, urls: Vec<(String, String)>) -> Result<(), FsError> {
        match read(&self.file) {
            Some(record) => self.record(&RunRecord { ports, urls, ..record }),
            // The worktree is gone, which ends the run elsewhere.
            None => Ok(()),
        }
    }

    /// Records that the supervisor answers at `socket` now.
    pub fn moved(&self, socket: &Path) {
        if let Some(record) = read(&self.file) {
            // If the write fails, clients cannot reach the supervisor, as before.
            let _ = self.record(&RunRecord { socket: Some(socket.into()), ..record });
        }
    }

    /// Marks the recorded run as ending.
    pub fn ending(&self) {
        if let Some(record) = read(&self.file) {
            // If the write fails, other commands treat the stack as running for a little longer.
            let _ = self.record(&RunRecord { ending: true, ..record });
        }
    }
}

impl Claim {
    /// Returns the journal of this worktree.
    pub fn journal(&self) -> Journal {
        Journal { file: self.file.clone() }
    }

    /// Writes `record` to the file. Errors if the file cannot be written.
    pub fn record(&self, record: &RunRecord) -> Result<(), FsError> {
        self.journal().record(record)
    }

    /// Returns the control groups that earlier runs of the worktree with the tag `worktree_tag` left.
    pub fn groups_left(&self, worktree_tag: &str) -> Vec<ControlGroup> {
        let recorded = read(&self.file).map(|record| record.groups).unwrap_or_default();
        ControlGroup::left(&recorded, worktree_tag)
    }

    /// Prepares the folder for a new run: deletes the final status of the last one and clears its ending mark.
    pub fn begin(&self) {
        let _ = std::fs::remove_file(self.file.with_file_name(LAST));
        // The record stays until its processes are cleaned up, but no supervisor is ending them any more.
        if let Some(record) = read(&self.file).filter(|record| record.ending) {
            let _ = self.record(&RunRecord { ending: false, ..record });
        }
    }

    /// Saves `status` as the final status of this run.
    pub fn leave(&self, status: &Status) {
        let text = serde_json::to_vec_pretty(status).unwrap_or_default();
        // A full disk only costs the answer of a later `devrun status`.
        let _ = fs::replace_for_now(&self.file.with_file_name(LAST), &text, 0o600);
    }

    /// Deletes the record, which means that everything was cleaned up.
    pub fn clear(&self) {
        // If the record stays, the next start only searches for leftover processes once more.
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Takes the lock of the worktree with the state folder `state`. Returns `None` if another process holds it. Errors if
/// the lock file cannot be opened.
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

/// Returns true if the state folder `state` holds a record of a run in the worktree at `path`.
pub fn is_state_of(state: &Path, path: &Path) -> bool {
    read(&file(state)).is_some_and(|record| record.is_of(path))
}

/// The holder of a worktree's lock.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is made and dropped one at a time")]
pub enum LockHolder {
    /// No process holds the lock.
    Free,
    /// The holder has written this record.
    Running(RunRecord),
    /// A process holds the lock, and wrote no valid record within the limit.
    Unknown,
}

/// Returns the holder of the lock in the state folder `state`. Creates no files. Waits up to `limit` for a supervisor
/// that has just started and has no record yet, that is about to end because its keeper was killed, or whose socket was
/// removed. Errors if the lock file cannot be opened.
pub async fn lock_holder(state: &Path, limit: Duration) -> Result<LockHolder, FsError> {
    let start = Instant::now();
    loop {
        // `try_take` would create the folder, and this must work where nothing can be written.
        if !lock_file(state).exists() || Lock::try_take(&lock_file(state), LockKind::Shared)?.is_some() {
            return Ok(LockHolder::Free);
        }
        match read(&file(state)) {
            Some(record) if record.has_lost_its_socket() && start.elapsed() < limit => {
                tokio::time::sleep(POLL).await;
            }
            // A run that is marked as ending is ending even if its keeper was killed.
            Some(record) if record.is_current() || record.is_supervised() || record.ending => {
                return Ok(LockHolder::Running(record));
            }
            _ if start.elapsed() >= limit => return Ok(LockHolder::Unknown),
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

/// Waits until the lock can be taken. Returns false if `limit` passes first. Errors if the lock file cannot be opened.
pub async fn wait_until_free(state: &Path, limit: Duration) -> Result<bool, FsError> {
    match Lock::take(&lock_file(state), LockKind::Exclusive, limit).await {
        Ok(_) => Ok(true),
        Err(FsError::Locked { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits until the lock is free or its holder is another process than `pid`. Returns false if `limit` passes first. Errors
/// if the lock file cannot be opened.
pub async fn wait_for_turn(state: &Path, pid: u32, limit: Duration) -> Result<bool, FsError> {
    let start = Instant::now();
    loop {
        match lock_holder(state, Duration::ZERO).await? {
            LockHolder::Running(record) if record.pid == pid => {}
            LockHolder::Running(_) | LockHolder::Free => return Ok(true),
            // The holder is ending, or has not written its record yet.
            LockHolder::Unknown => {}
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

fn read(file: &Path) -> Option<RunRecord> {
    serde_json::from_slice(&fs::read(file).ok()??).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RunRecord {
        RunRecord::new(std::process::id(), Path::new("/w"))
    }

    #[tokio::test]
    async fn second_claim_finds_the_record_of_the_running_supervisor() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(lock_holder(dir.path(), Duration::ZERO).await.unwrap(), LockHolder::Free));
        let first = claim(dir.path()).unwrap().unwrap();
        assert!(!first.unclean);
        first.record(&record()).unwrap();
        assert!(claim(dir.path()).unwrap().is_none());
        let seen = lock_holder(dir.path(), Duration::ZERO).await.unwrap();
        assert!(matches!(seen, LockHolder::Running(found) if found == record()));
        drop(first);
        assert!(matches!(lock_holder(dir.path(), Duration::ZERO).await.unwrap(), LockHolder::Free));
        assert!(claim(dir.path()).unwrap().unwrap().unclean);
    }

    #[tokio::test]
    async fn record_of_a_killed_supervisor_does_not_count_for_its_successor() {
        let dir = tempfile::tempdir().unwrap();
        let held = claim(dir.path()).unwrap().unwrap();
        assert!(matches!(lock_holder(dir.path(), Duration::ZERO).await.unwrap(), LockHolder::Unknown));
        // Process ids are reused: this record is of an earlier process.
        held.record(&RunRecord { born: 1, ..record() }).unwrap();
        assert!(matches!(lock_holder(dir.path(), Duration::ZERO).await.unwrap(), LockHolder::Unknown));
    }

    #[tokio::test]
    async fn record_of_an_ending_supervisor_counts_until_the_next_claim() {
        let dir = tempfile::tempdir().unwrap();
        let held = claim(dir.path()).unwrap().unwrap();
        held.record(&RunRecord { born: 1, ..record() }).unwrap();
        held.journal().ending();
        let seen = lock_holder(dir.path(), Duration::ZERO).await.unwrap();
        assert!(matches!(seen, LockHolder::Running(found) if found.ending && !found.is_current()));
        drop(held);
        let next = claim(dir.path()).unwrap().unwrap();
        assert!(next.unclean);
        next.begin();
        assert!(matches!(lock_holder(dir.path(), Duration::ZERO).await.unwrap(), LockHolder::Unknown));
        drop(next);
        assert!(claim(dir.path()).unwrap().unwrap().unclean, "what is to be cleaned up was forgotten");
    }

    #[tokio::test]
    async fn a_supervisor_whose_keeper_was_killed_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let held = claim(dir.path()).unwrap().unwrap();
        let pid = std::process::id();
        let supervisor = Some(Supervisor { pid, born: born(pid) });
        // Linux gives no process an id above 2^22.
        held.record(&RunRecord { pid: 1 << 23, born: 1, supervisor, ..record() }).unwrap();
        let seen = lock_holder(dir.path(), Duration::ZERO).await.unwrap();
        assert!(matches!(seen, LockHolder::Running(found) if found.is_supervised() && !found.is_current()));
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
