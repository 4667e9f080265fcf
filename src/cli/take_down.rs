//! Takes a stack down through `devrun down`, for commands that do more than that.

use std::path::Path;
use std::time::Duration;

use crate::context::Context;
use crate::control::{self, LockHolder};
use crate::error::{Code, ErrorBody, Report};
use crate::os::cmd::Cmd;
use crate::worktree::Worktree;

/// How long the processes may take to end: they may have long grace periods.
const LIMIT: Duration = Duration::from_mins(2);
/// How much longer `devrun down` may take, which then kills a devrun that does not answer.
const MARGIN: Duration = Duration::from_secs(40);
/// How long the holder of the worktree's lock may take to write its record.
const RECORD_LIMIT: Duration = Duration::from_secs(5);

/// Takes down the stack of the worktree at `path` and removes what an earlier run left. Returns when all processes have
/// ended. Errors if they do not end in time.
pub(super) async fn stack(ctx: &Context, path: &Path) -> Result<(), Report> {
    let cmd = Cmd::new(super::this_program()?)
        .args(["down", "--json", "--timeout", &LIMIT.as_secs().to_string()])
        .directory(path)
        .only_env(&ctx.env)
        .limit(LIMIT + MARGIN);
    let failed =
        |cause: String| Report::new(Code::TimedOut, "the stack was not taken down").with_cause(cause);
    let output = cmd.output().await.map_err(|error| failed(error.to_string()))?;
    if output.ending.ok() {
        return Ok(());
    }
    let answer: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
    let error =
        answer.and_then(|mut answer| serde_json::from_value::<ErrorBody>(answer["error"].take()).ok());
    Err(error.map_or_else(|| failed(output.tail(5)), Report::from))
}

/// Takes down the stack of `worktree` if its record has the process id `pid`. Does nothing if that stack has ended.
pub(super) async fn stack_of(ctx: &Context, worktree: &Worktree, pid: u32) -> Result<(), Report> {
    match control::lock_holder(&worktree.state, RECORD_LIMIT).await? {
        LockHolder::Running(record) if record.pid == pid => stack(ctx, &worktree.path).await,
        _ => Ok(()),
    }
}
