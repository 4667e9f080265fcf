//! `devrun hook post-checkout`: git calls it after a checkout. In a new linked worktree, it starts a background process that
//! prepares the worktree, and returns without waiting for it.
//!
//! The background process leases the ports. With `--packages` it also installs packages, and holds the worktree's lock
//! during that time, so that a stack that starts waits.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::cli::args;
use crate::cli::db::worktree_lock;
use crate::cli::own_program::{self, this_program};
use crate::context::{Context, variables};
use crate::error::{Exit, Report};
use crate::os::cmd::Cmd;
use crate::os::fs::{self, FsError};
use crate::prepare;
use crate::worktree::{self, Worktree, git::REPOSITORY_VARS};

/// The file with the output of the background processes, in the worktree's state folder.
const LOG: &str = "hook.log";
/// The size in bytes at which the log is emptied.
const LARGEST_LOG: u64 = 256 << 10;
/// Variables that would make the background process a part of the stack whose process called git, or are for the hook alone.
const RUN_VARS: [&str; 3] = [variables::RUN, variables::PROCESS, variables::PREPARED];

/// Starts the preparation of a new linked worktree. Returns [`Exit::Ok`] in any case: another status would make `git worktree add` fail.
pub(super) async fn run(ctx: &Context, args: &args::HookPostCheckout) -> Exit {
    if is_first_checkout(&args.arguments)
        && let Err(report) = start_if_linked(ctx, args.packages).await
    {
        ctx.events.warn(format!("the worktree is not prepared: {report}"));
    }
    Exit::Ok
}

/// Starts the preparation if the current folder is in a linked worktree. git calls the hook with the same arguments after
/// `git clone` and after the first checkout of an empty repository.
async fn start_if_linked(ctx: &Context, packages: bool) -> Result<(), Report> {
    let worktree = worktree::locate(ctx).await?;
    let is_linked = worktree.git.as_ref().is_some_and(|git| git.dir != git.common_dir);
    let prepared =
        ctx.env.get(OsStr::new(variables::PREPARED)).and_then(|path| std::fs::canonicalize(path).ok());
    if !is_linked || prepared.is_some_and(|path| path == worktree.path) {
        return Ok(());
    }
    start(ctx, &worktree, packages)
}

/// Returns true if the arguments of the hook are those after `git worktree add`: the old commit is the null id, and a branch
/// or commit was checked out, not files.
fn is_first_checkout(arguments: &[OsString]) -> bool {
    let [old, _, flag] = arguments else { return false };
    let old = old.as_bytes();
    old.len() >= 40 && old.iter().all(|byte| *byte == b'0') && flag == "1"
}

/// Starts the preparation of `worktree` in the background.
fn start(ctx: &Context, worktree: &Worktree, packages: bool) -> Result<(), Report> {
    fs::make_private_dir(&worktree.state)?;
    let path = worktree.state.join(LOG);
    let log = fs::open_log(&path, LARGEST_LOG)?;
    let errors = log.try_clone().map_err(|source| FsError::Io { action: "write", path, source })?;
    let is_inherited = |name: &OsStr| {
        name.to_str().is_none_or(|name| !REPOSITORY_VARS.contains(&name) && !RUN_VARS.contains(&name))
    };
    let cmd = Cmd::new(this_program()?)
        .args(["hook", "prepare"])
        .args(packages.then_some("--packages"))
        .directory(&worktree.path)
        .only_env(ctx.env.iter().filter(|(name, _)| is_inherited(name)));
    cmd.detach(log, errors).map_err(|error| own_program::not_in_background(&error))?;
    Ok(())
}

/// Returns `ctx` for a git command that makes the worktree at `path`. git's hook then does not prepare it, because the caller
/// does.
pub(super) fn without_preparation(ctx: &Context, path: &Path) -> Context {
    let mut ctx = ctx.clone();
    ctx.env.insert(variables::PREPARED.into(), path.into());
    ctx
}

/// Starts the preparation of the worktree at `path`. Reports a failure as a warning.
pub(super) async fn start_in(ctx: &Context, path: &Path, packages: bool) {
    let there = Context { cwd: path.into(), ..ctx.clone() };
    let started = match worktree::locate(&there).await {
        Ok(worktree) => start(&there, &worktree, packages),
        Err(error) => Err(error.into()),
    };
    if let Err(report) = started {
        ctx.events.warn(format!("the worktree is not prepared: {report}"));
    }
}

/// Prepares the worktree. Runs in the background process, whose output goes to [`LOG`], and in the setup scripts of coding agents.
pub(super) async fn prepare_worktree(ctx: &Context, args: &args::HookPrepare) -> Result<Exit, Report> {
    let worktree = prepare::locate(ctx).await?;
    let dir = worktree.git.as_ref().map(|git| git.dir.as_path());
    if let Some(operation) = dir.and_then(worktree::operation) {
        ctx.events.note(format!("nothing is prepared: {operation} is under way"));
        return Ok(Exit::Ok);
    }
    let resolved = prepare::resolve_without_starting(ctx).await?;
    ctx.events.note(format!("ports: slot {}", resolved.lease.slot));
    if args.packages {
        match worktree_lock::begin(ctx, &worktree, "installing packages").await? {
            Some(_lock) => prepare::install_packages(ctx, &resolved).await?,
            None => ctx.events.note("a stack runs: it has installed the packages"),
        }
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h1_only_the_first_checkout_prepares_the_worktree() {
        let zeros = "0".repeat(40);
        let is_first =
            |arguments: &[&str]| is_first_checkout(&arguments.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(is_first(&[&zeros, "4f2c", "1"]));
        assert!(is_first(&[&"0".repeat(64), "4f2c", "1"]), "SHA-256");
        for other in [
            &[zeros.as_str(), "4f2c", "0"][..],
            &["4f2c00", "4f2c", "1"],
            &["4f2c00", "4f2c", "0"],
            &["0", "4f2c", "1"],
            &[&zeros, "4f2c"],
            &[],
        ] {
            assert!(!is_first(other), "{other:?}");
        }
    }
}
