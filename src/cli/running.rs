//! The supervisor of this worktree, found for those who ask it something.

use std::path::Path;
use std::time::Duration;

use crate::context::Context;
use crate::control::client::Client;
use crate::control::status::Status;
use crate::control::{self, Record, State};
use crate::error::{Code, Report};
use crate::prepare;
use crate::worktree::Worktree;

/// How long one that is just coming or going is waited for.
const OTHERS: Duration = Duration::from_secs(5);

/// How long the end of a stack is waited for, to learn its reason: processes may have been given long to stop.
const END: Duration = Duration::from_secs(30);

/// How long one that is ending may take to say what it is waiting for.
const WORD: Duration = Duration::from_millis(500);

/// A worktree, and who runs in it.
pub(super) struct Found {
    pub(super) worktree: Worktree,
    pub(super) record: Option<Record>,
}

/// Looks who runs here.
pub(super) async fn find(ctx: &Context) -> Result<Found, Report> {
    find_within(ctx, OTHERS).await
}

/// The same for those who have `limit` at most.
pub(super) async fn find_within(ctx: &Context, limit: Duration) -> Result<Found, Report> {
    let worktree = prepare::locate(ctx).await?;
    let record = match control::look(&worktree.state, limit.min(OTHERS)).await? {
        State::Running(record) if record.errand.is_some() => None,
        State::Running(record) => Some(record),
        State::Unknown => return Err(super::nobody_knows()),
        State::Free => None,
    };
    Ok(Found { worktree, record })
}

impl Found {
    /// The socket to ask at; an error when nothing runs.
    pub(super) fn socket(&self) -> Result<&Path, Report> {
        let Some(record) = &self.record else { return Err(self.nothing_runs()) };
        record.socket()
    }

    /// What the stack does, or how it last ended.
    pub(super) async fn status(&self) -> Result<Status, Report> {
        if self.record.is_none() {
            let worktree = &self.worktree;
            let branch = worktree.git.as_ref().and_then(|git| git.branch());
            let never = || Status::stopped(&worktree.path, branch, &worktree.slug);
            return Ok(control::last(&worktree.state).unwrap_or_else(never));
        }
        match Client::new(self.socket()?).status().await {
            // It ended between the two questions.
            Err(report) if report.code == Code::NotRunning => {
                control::last(&self.worktree.state).ok_or(report)
            }
            answer => answer,
        }
    }

    fn nothing_runs(&self) -> Report {
        let report = Report::new(Code::NotRunning, "nothing runs in this worktree").with_fix("devrun up -d");
        match control::last(&self.worktree.state).and_then(|last| last.error) {
            Some(error) => report.with_cause(format!("the last run ended: {}", error.message)),
            None => report,
        }
    }
}

/// Names of the processes that the stack of `record` still has; `None` when it does not say.
pub(super) async fn still_there(record: &Record) -> Option<Vec<String>> {
    let status = Client::new(record.socket.as_deref()?).status_within(WORD).await.ok()?;
    let alive = status.processes.into_iter().filter(|process| process.pid.is_some());
    Some(alive.map(|process| process.name).collect())
}

/// Why the stack ended while it was waited for, when that is what `report` means: the end of one process is that of all.
/// Waits for its end as long as `left` allows.
pub(super) async fn reason(worktree: &Worktree, report: Report, left: Duration) -> Report {
    if !matches!(report.code, Code::NotRunning | Code::ProcessEnded)
        || !control::wait_until_free(&worktree.state, left.min(END)).await.is_ok_and(|free| free)
    {
        return report;
    }
    // Written before the lock is released.
    control::last(&worktree.state).and_then(|last| last.error).map_or(report, Into::into)
}
