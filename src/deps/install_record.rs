//! Stores the record of an install in the worktree's state folder: its folder, its inputs, and whether it finished. The
//! record of a killed install says that it did not finish, so the next run installs again.
//!
//! The record does not contain the installed packages, but a [`Snapshot`], the paths that must still exist, such as the folder of each
//! package, and the folder of a tool that devrun downloaded.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::deps::DepsError;
use crate::deps::install_inputs::{InstallInputs, Snapshot};
use crate::event::{Event, Step};
use crate::os::fs::{self, Lock, LockKind};

const VERSION: u32 = 1;
/// How long to wait for another devrun's install in the same worktree: a little more than its time limit.
const LOCK_LIMIT: Duration = Duration::from_mins(16);

/// The files of one install's record.
#[derive(Clone, Debug)]
pub struct RecordFiles {
    file: PathBuf,
    lock: PathBuf,
}

/// The record of the last install.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallRecord {
    version: u32,
    /// Absolute path of the installed folder. A moved or copied folder has another path.
    pub target: String,
    /// True if devrun created the folder, so devrun may recreate it.
    pub ours: bool,
    /// Set by an install that succeeded.
    pub finished: Option<Finished>,
}

/// The result of a successful install.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    pub(super) snapshot: Snapshot,
    /// Files and folders below the target that the install created. All of them must still exist.
    evidence: Vec<String>,
    /// See [`Done::fetched`](crate::deps::Done::fetched).
    pub(super) fetched: Option<PathBuf>,
}

impl InstallRecord {
    /// Returns the first path that the install created and that is gone.
    pub fn missing(&self) -> Option<&str> {
        let target = Path::new(&self.target);
        let evidence = self.finished.iter().flat_map(|finished| &finished.evidence);
        evidence.map(String::as_str).find(|path| !is_in_place(&target.join(path)))
    }
}

impl RecordFiles {
    /// Returns the paths of the record of `step` for `directory` (relative to the worktree) in the state folder.
    pub fn new(state: &Path, step: Step, directory: &Path) -> RecordFiles {
        let folder = state.join("deps");
        let inputs =
            InstallInputs { settings: vec![directory.to_string_lossy().into()], ..InstallInputs::default() };
        let key = Snapshot::take(&inputs, None).0.digest();
        RecordFiles {
            file: folder.join(format!("{}-{}.json", step.name(), &key[..8])),
            lock: folder.join(format!("{}.lock", step.name())),
        }
    }

    /// Takes the lock that prevents two simultaneous installs of the same step in one worktree.
    pub async fn lock(&self, ctx: &Context, step: Step) -> Result<Lock, DepsError> {
        if let Some(lock) = Lock::try_take(&self.lock, LockKind::Exclusive)? {
            return Ok(lock);
        }
        let detail = "waiting for another devrun that installs in this worktree".into();
        ctx.events.send(Event::StepProgress { step, detail });
        Ok(Lock::take(&self.lock, LockKind::Exclusive, LOCK_LIMIT).await?)
    }

    /// Returns the record, or `None` if it is missing or invalid.
    pub fn read(&self) -> Result<Option<InstallRecord>, DepsError> {
        let bytes = fs::read(&self.file)?.unwrap_or_default();
        Ok(serde_json::from_slice(&bytes).ok().filter(|record: &InstallRecord| record.version == VERSION))
    }

    /// Returns a hash of the inputs of the last install, or `None` if it did not succeed.
    pub fn digest(&self) -> Result<Option<String>, DepsError> {
        Ok(self.read()?.and_then(|record| Some(record.finished?.snapshot.digest())))
    }

    /// Records that an install into `target` has started. Until it finishes, the folder is not valid.
    pub fn begin(&self, target: &Path, ours: bool) -> Result<(), DepsError> {
        let target = target.to_string_lossy().into();
        self.write(&InstallRecord { version: VERSION, target, ours, finished: None })
    }

    /// Records that the install succeeded. `evidence` is the paths that it created below `target`.
    pub fn finish(
        &self,
        target: &Path,
        ours: bool,
        snapshot: Snapshot,
        evidence: &[PathBuf],
        fetched: Option<&Path>,
    ) -> Result<(), DepsError> {
        let below = |path: &PathBuf| path.strip_prefix(target).unwrap_or(path).to_string_lossy().into();
        let evidence = evidence.iter().filter(|path| is_in_place(path)).map(below).collect();
        let finished = Some(Finished { snapshot, evidence, fetched: fetched.map(Into::into) });
        self.write(&InstallRecord {
            version: VERSION,
            target: target.to_string_lossy().into(),
            ours,
            finished,
        })
    }

    /// Writes `record` again with `snapshot` instead of the old snapshot.
    pub(super) fn replace_snapshot(
        &self,
        mut record: InstallRecord,
        snapshot: Snapshot,
    ) -> Result<(), DepsError> {
        if let Some(finished) = &mut record.finished {
            finished.snapshot = snapshot;
        }
        self.write(&record)
    }

    fn write(&self, record: &InstallRecord) -> Result<(), DepsError> {
        let bytes = serde_json::to_vec(record).unwrap_or_default();
        Ok(fs::replace(&self.file, &bytes, 0o600)?)
    }
}

/// Returns true if the path exists and is not a link: a linked folder belongs to another place.
fn is_in_place(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_symlink())
}
