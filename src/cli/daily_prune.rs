//! The daily prune of `prune: { auto: daily }`: `up` starts it in the background, at most once a day for each repository.
//!
//! The lock is released by the kernel when its holder ends, however it ends. The time is written at the end, so a prune that was
//! killed, also by the keeper at the end of the stack, is repeated at the next start.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::own_program::{self, this_program};
use crate::context::Context;
use crate::error::Report;
use crate::os::clock;
use crate::os::cmd::Cmd;
use crate::os::fs::{self, FsError, Lock, LockKind};
use crate::os::read::{self, Limit};
use crate::worktree::Worktree;

/// The time from the end of one prune to the start of the next.
const INTERVAL: Duration = Duration::from_hours(24);
/// The size at which the log is emptied.
const LOG_SIZE: u64 = 1 << 20;

/// The files of the daily prune, in the folder of the repository's state.
struct DailyFiles {
    lock: PathBuf,
    /// Has the time at which the last prune ended, in seconds since 1970.
    time: PathBuf,
    log: PathBuf,
}

impl DailyFiles {
    fn of(shared: &Path) -> DailyFiles {
        let file = |end: &str| shared.join(format!("prune-daily{end}"));
        DailyFiles { lock: file(".lock"), time: file(".time"), log: file(".log") }
    }

    fn is_due(&self, now: SystemTime) -> bool {
        let text = read::file(&self.time, Limit::SMALL).ok();
        let last = text.and_then(|text| String::from_utf8(text).ok()?.trim().parse().ok());
        let last = last.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        // A time in the future was written before the clock was set back.
        last.is_none_or(|last| now.duration_since(last).map_or(true, |since| since >= INTERVAL))
    }
}

/// Starts the daily prune in the background if it is due. A failure is only a warning.
pub(super) fn start_if_due(ctx: &Context, worktree: &Worktree) {
    let files = DailyFiles::of(&worktree.shared);
    if !files.is_due(SystemTime::now()) {
        return;
    }
    match start(ctx, worktree, &files) {
        Ok(()) => ctx.events.note(format!("the daily prune runs in the background: {}", files.log.display())),
        Err(report) => ctx.events.warn(format!("the daily prune was not started: {}", report.message)),
    }
}

fn start(ctx: &Context, worktree: &Worktree, files: &DailyFiles) -> Result<(), Report> {
    fs::make_private_dir(&worktree.shared)?;
    let log = fs::open_log(&files.log, LOG_SIZE)?;
    let unusable = |source| FsError::Io { action: "write", path: files.log.clone(), source };
    let err = log.try_clone().map_err(unusable)?;
    let cmd = Cmd::new(this_program()?).args(["prune", "--yes", "--daily"]);
    let started = cmd.directory(&worktree.path).only_env(&ctx.env).detach(log, err);
    started.map(drop).map_err(|error| own_program::not_in_background(&error))
}

/// The turn of this process to prune.
pub(super) struct DailyTurn {
    files: DailyFiles,
    _lock: Lock,
}

/// Takes the turn. Returns `None` if another process has it, or has pruned within the last day.
pub(super) fn take_turn(worktree: &Worktree) -> Result<Option<DailyTurn>, Report> {
    let files = DailyFiles::of(&worktree.shared);
    let Some(lock) = Lock::try_take(&files.lock, LockKind::Exclusive)? else { return Ok(None) };
    Ok(files.is_due(SystemTime::now()).then_some(DailyTurn { files, _lock: lock }))
}

impl DailyTurn {
    /// Writes the time. Also called after a failure: the prune of the next day may succeed.
    pub(super) fn finish(self) -> Result<(), Report> {
        let now = clock::unix_seconds();
        Ok(fs::replace(&self.files.time, format!("{now}\n").as_bytes(), 0o600)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_passes_between_two_prunes() {
        let dir = tempfile::tempdir().unwrap();
        let files = DailyFiles::of(dir.path());
        let now = UNIX_EPOCH + Duration::from_hours(1_000_000);
        assert!(files.is_due(now), "there was none yet");
        for (ago, is_due) in [(0, false), (86_399, false), (86_400, true), (900_000, true)] {
            let last = 3_600_000_000_u64 - ago;
            fs::replace(&files.time, format!("{last}\n").as_bytes(), 0o600).unwrap();
            assert_eq!(files.is_due(now), is_due, "{ago}");
        }
        for text in ["3600000001\n", "", "x"] {
            fs::replace(&files.time, text.as_bytes(), 0o600).unwrap();
            assert!(files.is_due(now), "{text:?}");
        }
    }
}
