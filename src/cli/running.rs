//! Finds the supervisor of this worktree for the commands that query it.

use std::path::Path;
use std::time::Duration;

use crate::context::Context;
use crate::control::client::Client;
use crate::control::status::Status;
use crate::control::{self, LockHolder, RunRecord};
use crate::error::{Code, Report};
use crate::prepare;
use crate::worktree::Worktree;

/// How long a supervisor that is starting may take to write its record, and one that is ending to release its lock.
const RECORD_LIMIT: Duration = Duration::from_secs(5);

/// How long to wait for the end of a stack to learn its reason: its processes may have long grace periods.
const END: Duration = Duration::from_secs(30);

/// How long a supervisor that is ending may take to list its processes.
const WORD: Duration = Duration::from_millis(500);

/// A worktree, and the record of the stack that runs in it, if there is one.
pub(super) struct RunningStack {
    pub(super) worktree: Worktree,
    pub(super) record: Option<RunRecord>,
}

/// Finds the stack of this worktree. Errors if the holder of the lock writes no record in time.
pub(super) async fn find(ctx: &Context) -> Result<RunningStack, Report> {
    find_within(ctx, RECORD_LIMIT).await
}

/// Works like [`find`], but waits at most `limit`.
pub(super) async fn find_within(ctx: &Context, limit: Duration) -> Result<RunningStack, Report> {
    let worktree = prepare::locate(ctx).await?;
    let record = match control::lock_holder(&worktree.state, limit.min(RECORD_LIMIT)).await? {
        LockHolder::Running(record) if record.task.is_some() => None,
        LockHolder::Running(record) => Some(record),
        LockHolder::Unknown => return Err(super::unknown_lock_holder()),
        LockHolder::Free => None,
    };
    Ok(RunningStack { worktree, record })
}

impl RunningStack {
    /// Returns true if a stack runs in this pid namespace.
    pub(super) fn runs_here(&self) -> bool {
        self.record.as_ref().is_some_and(|record| !record.is_elsewhere())
    }

    /// Returns the path of the supervisor's socket. Errors if nothing runs.
    pub(super) fn socket(&self) -> Result<&Path, Report> {
        let Some(record) = &self.record else { return Err(self.nothing_runs()) };
        record.socket()
    }

    /// Returns the status of the stack, or the final status of the last run.
    pub(super) async fn status(&self) -> Result<Status, Report> {
        let Some(record) = &self.record else {
            let worktree = &self.worktree;
            let branch = worktree.git.as_ref().and_then(|git| git.branch());
            let never = || Status::stopped(&worktree.path, branch, &worktree.slug);
            return Ok(control::last(&worktree.state).unwrap_or_else(never));
        };
        match Client::new(record.socket()?).status().await {
            Ok(mut status) if record.is_elsewhere() => {
                status.namespace.clone_from(&record.namespace);
                Ok(status)
            }
            // The stack ended after the record was read.
            Err(report) if report.code == Code::NotRunning => {
                // The supervisor removes its socket before it writes the final status and releases the lock.
                let _ = control::wait_until_free(&self.worktree.state, RECORD_LIMIT).await;
                control::last(&self.worktree.state).ok_or(report)
            }
            answer => answer,
        }
    }

    fn nothing_runs(&self) -> Report {
        let report = Report::new(Code::NotRunning, "nothing runs in this worktree").with_fix("devrun up -d");
        match control::last(&self.worktree.state).as_ref().and_then(Status::end) {
            Some(error) => report.with_cause(format!("the last run ended: {}", error.message)),
            None => report,
        }
    }
}

/// Returns the names of the processes of `record` that still run; `None` if the supervisor does not answer.
pub(super) async fn still_there(record: &RunRecord) -> Option<Vec<String>> {
    let status = Client::new(record.socket.as_deref()?).known_within(WORD).await.ok()?;
    let alive = status.processes.into_iter().filter(|process| process.pid.is_some());
    Some(alive.map(|process| process.name).collect())
}

/// Returns why the stack ended, if `report` says that a process or the stack is gone: the end of one process may end
/// the whole stack. Waits up to `left`, but at most 30 s, for its end. Returns `report` if the stack has not ended or
/// left no reason.
pub(super) async fn reason(worktree: &Worktree, report: Report, left: Duration) -> Report {
    if !matches!(report.code, Code::NotRunning | Code::ProcessEnded)
        || !control::wait_until_free(&worktree.state, left.min(END)).await.is_ok_and(|free| free)
    {
        return report;
    }
    // The supervisor writes the final status before it releases the lock.
    control::last(&worktree.state).as_ref().and_then(Status::end).map_or(report, |end| end.clone().into())
}
