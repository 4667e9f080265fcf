//! `devrun hook worktree-remove`: removes the worktree of an agent's session through `devrun rm`, if no work is lost.
//!
//! Without `--unmerged`, commits that are not merged stay on their branch. Without `--uncommitted`, the hook fails if the worktree has
//! uncommitted work. It succeeds if the worktree is gone already: the agent could not remove the session otherwise.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::payload::Payload;
use super::worktree_create::usual_folder;
use crate::cli::args;
use crate::cli::new::repository_folder;
use crate::cli::own_program::{self, this_program};
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::os::cmd::Cmd;
use crate::ports;
use crate::text::quoted;
use crate::worktree::{self, Worktree};

/// The time limit of `devrun rm`.
const LIMIT: Duration = Duration::from_mins(15);
/// Options that keep the branch and the database.
const KEEP: [&str; 2] = ["--keep-branch", "--keep-database"];

pub(super) async fn run(ctx: &Context, args: &args::HookWorktreeRemove) -> Result<Exit, Report> {
    let payload = Payload::read().await?;
    let session = payload.folder().unwrap_or_else(|| ctx.cwd.clone());
    let path = path(ctx, &payload, &session).await?;
    let is_gone = path.symlink_metadata().is_err();
    let there = Context { cwd: if is_gone { session } else { path.clone() }, ..ctx.clone() };
    let here = worktree::locate(&there).await.ok().filter(|here| here.git.is_some());
    let listed = match &here {
        Some(here) => listed(ctx, here, &path).await?,
        None => None,
    };
    let Some((main, is_main)) = listed else {
        if is_gone {
            ports::release(ctx, &path).await?;
            ctx.events.note(format!("{} is gone already", path.display()));
            return Ok(Exit::Ok);
        }
        return Err(kept(&path, "it is not a worktree"));
    };
    if is_main {
        return Err(kept(&path, "it is the main worktree"));
    }
    if is_gone {
        if let Err(report) = remove(ctx, &main, &path, &KEEP).await {
            ctx.events.warn(format!("{} is gone, but {report}", path.display()));
        }
        return Ok(Exit::Ok);
    }
    let mut options = Vec::new();
    options.extend(args.uncommitted.then_some("--uncommitted"));
    options.extend(args.unmerged.then_some("--unmerged"));
    match remove(ctx, &main, &path, &options).await {
        Err(report) if report.code == Code::WorktreeKept && !args.unmerged => {
            options.extend(KEEP);
            remove(ctx, &main, &path, &options).await?;
        }
        result => result?,
    }
    Ok(Exit::Ok)
}

/// Returns the physical path of the worktree that the agent names. The last part need not exist.
async fn path(ctx: &Context, payload: &Payload, session: &Path) -> Result<PathBuf, Report> {
    let path = if let Some(path) = payload.path() {
        session.join(path)
    } else {
        let name = payload.name().map_err(|_| payload.missing("path of a worktree (`worktree_path`)"))?;
        let here = worktree::locate(&Context { cwd: session.into(), ..ctx.clone() }).await?;
        let main = repository_folder(&here)?;
        usual_folder(&here, &main, name).ok_or_else(|| {
            Report::new(Code::Usage, format!("{name:?} names no worktree"))
                .with_fix("give the path of a worktree (`worktree_path`)")
        })?
    };
    Ok(std::fs::canonicalize(&path).unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            std::fs::canonicalize(parent).map_or_else(|_| path.clone(), |parent| parent.join(name))
        }
        _ => path.clone(),
    }))
}

/// Returns the main worktree (or the bare repository), and whether `path` is the main worktree. `None` if git
/// does not list `path` as a worktree.
async fn listed(ctx: &Context, here: &Worktree, path: &Path) -> Result<Option<(PathBuf, bool)>, Report> {
    let main = repository_folder(here)?;
    let all = worktree::list(ctx, &main).await?;
    Ok(all.into_iter().find(|one| one.path == path).map(|one| (main, one.is_main)))
}

/// Runs `devrun rm` for the worktree at `path`, and reports what it kept.
async fn remove(ctx: &Context, main: &Path, path: &Path, options: &[&str]) -> Result<(), Report> {
    let cmd = Cmd::new(this_program()?)
        .args(["rm", "--json", "--yes"])
        .args(options)
        .arg(path)
        .directory(main)
        .only_env(&ctx.env)
        .limit(LIMIT);
    let undone = format!("{} was not removed", path.display());
    let next = format!("devrun -C {} rm {}", quoted(main), quoted(path));
    let answer = own_program::ask(&cmd, &undone, &next).await?;
    ctx.events.note(format!("removed {}", path.display()));
    for one in answer["kept"].as_array().into_iter().flatten() {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_string();
        ctx.events.note(format!("kept: {} ({})", text("what"), text("why")));
    }
    Ok(())
}

fn kept(path: &Path, why: &str) -> Report {
    Report::new(Code::WorktreeKept, format!("{} is not removed", path.display()))
        .with_cause(why)
        .with_fix("name another worktree: `git worktree list` lists them")
}
