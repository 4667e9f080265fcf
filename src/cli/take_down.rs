//! Takes a stack down through `devrun down`, for commands that do more than that.

use std::path::Path;
use std::time::Duration;

use super::own_program;
use crate::context::Context;
use crate::control::{self, LockHolder};
use crate::error::Report;
use crate::os::cmd::Cmd;
use crate::text::quoted;
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
    // With -C, the commands in the fix of an error name the folder.
    let cmd = Cmd::new(own_program::this_program()?)
        .args(["down", "--json", "--timeout", &LIMIT.as_secs().to_string(), "-C"])
        .arg(path)
        .directory(&ctx.cwd)
        .only_env(&ctx.env)
        .limit(LIMIT + MARGIN);
    let next = format!("devrun -C {} down", quoted(path));
    own_program::ask(&cmd, "the stack was not taken down", &next).await.map(drop)
}

/// Takes down the stack of `worktree` if its record has the process id `pid`. Does nothing if that stack has ended.
pub(super) async fn stack_of(ctx: &Context, worktree: &Worktree, pid: u32) -> Result<(), Report> {
    match control::lock_holder(&worktree.state, RECORD_LIMIT).await? {
        LockHolder::Running(record) if record.pid == pid => stack(ctx, &worktree.path).await,
        _ => Ok(()),
    }
}
