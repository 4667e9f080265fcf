//! The record of an install in the worktree's state folder: where it was made, from what, and whether it came to its
//! end. An install that was killed leaves a record without an end, so the next run does it again.
//!
//! Refuses to know what was installed: it holds a [`Snapshot`], a list of paths that must still be there, and what the
//! children need.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::deps::fingerprint::{Inputs, Snapshot};
use crate::deps::{DepsError, Done};
use crate::event::{Event, Step};
use crate::os::fs::{self, Lock, LockKind};

const VERSION: u32 = 1;
/// How long another devrun's install in the same worktree is waited for: as long as it may take.
const PATIENCE: Duration = Duration::from_mins(16);

/// Where one install is recorded.
#[derive(Clone, Debug)]
pub struct Record {
    file: PathBuf,
    lock: PathBuf,
}

/// What is known about the last install.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    version: u32,
    /// Absolute path of the folder it was made in: a moved or copied one is not the same.
    pub target: String,
    /// True when devrun made the folder, so devrun may make it anew.
    pub ours: bool,
    /// Set by an install that ended well.
    pub finished: Option<Finished>,
}

/// An install that ended well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    snapshot: Snapshot,
    /// Files and folders below the target that it made; all must still be there.
    evidence: Vec<String>,
    /// See [`Done::fetched`].
    fetched: Option<PathBuf>,
}

impl Record {
    /// The record of `step` for `directory` (relative to the worktree) in the state folder.
    pub fn new(state: &Path, step: Step, directory: &Path) -> Record {
        let folder = state.join("deps");
        let inputs = Inputs { settings: vec![directory.to_string_lossy().into()], ..Inputs::default() };
        let key = Snapshot::take(&inputs, None).0.digest();
        Record {
            file: folder.join(format!("{}-{}.json", step.name(), &key[..8])),
            lock: folder.join(format!("{}.lock", step.name())),
        }
    }

    /// Takes the lock that keeps two installs of one worktree apart.
    pub async fn lock(&self, ctx: &Context, step: Step) -> Result<Lock, DepsError> {
        if let Some(lock) = Lock::try_take(&self.lock, LockKind::Exclusive)? {
            return Ok(lock);
        }
        let detail = "waiting for another devrun that installs in this worktree".into();
        ctx.events.send(Event::StepProgress { step, detail });
        Ok(Lock::take(&self.lock, LockKind::Exclusive, PATIENCE).await?)
    }

    /// The record; `None` when there is none or it cannot be understood, which is the same.
    pub fn read(&self) -> Result<Option<Stamp>, DepsError> {
        let bytes = fs::read(&self.file)?.unwrap_or_default();
        Ok(serde_json::from_slice(&bytes).ok().filter(|stamp: &Stamp| stamp.version == VERSION))
    }

    /// What is there when nothing changed since the last install into `target`.
    pub fn fresh(&self, target: &Path, inputs: &Inputs) -> Result<Option<Done>, DepsError> {
        let Some(stamp) = self.read()? else { return Ok(None) };
        let Some(old) = &stamp.finished else { return Ok(None) };
        let there = |path: &String| is_there(&target.join(path));
        let usable = old.fetched.iter().all(|path| path.is_dir());
        if stamp.target != target.to_string_lossy() || !usable || !old.evidence.iter().all(there) {
            return Ok(None);
        }
        let (now, read) = Snapshot::take(inputs, Some(&old.snapshot));
        if now.digest() != old.snapshot.digest() {
            return Ok(None);
        }
        let done = Done { worked: false, outcome: "unchanged".into(), fetched: old.fetched.clone() };
        if read > 0 {
            let finished = Some(Finished { snapshot: now, ..old.clone() });
            self.write(&Stamp { finished, ..stamp })?;
        }
        Ok(Some(done))
    }

    /// Says that an install into `target` begins: from here on the folder is not to be trusted.
    pub fn begin(&self, target: &Path, ours: bool) -> Result<(), DepsError> {
        let target = target.to_string_lossy().into();
        self.write(&Stamp { version: VERSION, target, ours, finished: None })
    }

    /// Says that it ended well. `evidence` is what it made below `target`.
    pub fn finish(
        &self,
        target: &Path,
        ours: bool,
        snapshot: Snapshot,
        evidence: &[PathBuf],
        fetched: Option<&Path>,
    ) -> Result<(), DepsError> {
        let below = |path: &PathBuf| path.strip_prefix(target).unwrap_or(path).to_string_lossy().into();
        let evidence = evidence.iter().filter(|path| is_there(path)).map(below).collect();
        let finished = Some(Finished { snapshot, evidence, fetched: fetched.map(Into::into) });
        self.write(&Stamp { version: VERSION, target: target.to_string_lossy().into(), ours, finished })
    }

    fn write(&self, stamp: &Stamp) -> Result<(), DepsError> {
        let bytes = serde_json::to_vec(stamp).unwrap_or_default();
        Ok(fs::replace(&self.file, &bytes, 0o600)?)
    }
}

/// There, and not by way of a link: a linked folder is somebody else's.
fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_symlink())
}
