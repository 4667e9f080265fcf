//! Takes the worktree's lock for a short task without a stack. A stack that starts during the task waits; a running stack
//! is left alone.

use std::time::Duration;

use crate::cleanup::leftovers;
use crate::cli::unknown_lock_holder;
use crate::context::Context;
use crate::control::client::Client;
use crate::control::{self, Claim, LockHolder, RunRecord};
use crate::error::{Code, Holder, Report};
use crate::text::quoted;
use crate::worktree::Worktree;

/// How long the holder of the lock may take to write its record.
const RECORD_LIMIT: Duration = Duration::from_secs(10);
/// How long another task, or the end of a stack, may take.
const LOCK_WAIT: Duration = Duration::from_mins(2);

/// Holds the worktree's lock for a short task and releases it when dropped.
pub(in crate::cli) struct MaintenanceLock(Claim);

impl Drop for MaintenanceLock {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Takes the lock of `worktree`, ends the remaining processes of an earlier run and records the task `doing`. Returns `None` if a stack
/// runs there. Waits for another task and for a stack that is ending. Errors if that takes too long or the holder writes no record.
pub(in crate::cli) async fn begin(
    ctx: &Context,
    worktree: &Worktree,
    doing: &str,
) -> Result<Option<MaintenanceLock>, Report> {
    let state = &worktree.state;
    loop {
        if let Some(claim) = control::claim(state)? {
            // Remaining processes of a killed run may still use the database.
            leftovers::end_run(ctx, worktree, &claim)?;
            let lock = MaintenanceLock(claim);
            let record = RunRecord::new(std::process::id(), &worktree.path);
            lock.0.record(&RunRecord { task: Some(doing.into()), ..record })?;
            return Ok(Some(lock));
        }
        match control::lock_holder(state, RECORD_LIMIT).await? {
            LockHolder::Running(record) if record.ends_by_itself() => {
                ctx.events.note(format!("{}: waiting for it to finish", record.doing()));
                if !control::wait_for_turn(state, record.pid, LOCK_WAIT).await? {
                    return Err(unknown_lock_holder());
                }
            }
            LockHolder::Running(_) => return Ok(None),
            LockHolder::Unknown => return Err(unknown_lock_holder()),
            LockHolder::Free => {}
        }
    }
}

/// Errors if a stack in `worktree` uses the database `name`, or does not say which one it uses.
pub(super) async fn refuse_user(worktree: &Worktree, own: &Worktree, name: &str) -> Result<(), Report> {
    let LockHolder::Running(record) = control::lock_holder(&worktree.state, RECORD_LIMIT).await? else {
        return Ok(());
    };
    if record.ends_by_itself() {
        return Ok(());
    }
    let used = async { Client::new(record.socket()?).status().await };
    if let Ok(status) = used.await
        && status.database.is_some_and(|database| database.branch != name)
    {
        return Ok(());
    }
    let place = worktree.path.display();
    let fix = if worktree == own {
        "devrun down".into()
    } else {
        format!("devrun -C {} down", quoted(&worktree.path))
    };
    let holder = Holder {
        pid: Some(record.pid),
        command: Some("devrun".into()),
        worktree: Some(place.to_string()),
        ..Holder::default()
    };
    Err(Report::new(Code::AlreadyRunning, format!("{name} is in use: a stack runs in {place}"))
        .with_holder(holder)
        .with_fix(format!("{fix}, then run this command again")))
}
