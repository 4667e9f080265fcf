//! `devrun new`: prints the path of the worktree on a branch. Makes the worktree and the branch if they do not exist.

mod location;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::args;
use super::detach::{self, StartedStack};
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::os::fs::{Lock, LockKind};
use crate::prepare;
use crate::text::quoted;
use crate::ui::console::Console;
use crate::worktree::include::IncludedFiles;
use crate::worktree::{self, ListedWorktree, StartPoint, Worktree, name};

/// Maximum wait for another devrun that adds or removes a worktree of the repository.
pub(super) const LOCK_WAIT: Duration = Duration::from_mins(2);
/// The lock of the commands that add or remove worktrees, in the folder of the repository's state.
pub(super) const LOCK: &str = "worktrees.lock";

/// The worktree whose path is printed.
struct Opened {
    listed: ListedWorktree,
    created: bool,
    files: IncludedFiles,
}

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::New,
    as_json: bool,
) -> Result<Exit, Report> {
    let here = worktree::locate(ctx).await?;
    let opened = open(ctx, &here, args).await?;
    let path = &opened.listed.path;
    if !as_json {
        let line = [path.as_os_str().as_bytes(), b"\n"].concat();
        super::printed(console.print(&line))?;
    }
    let mut status = None;
    if args.up {
        let there = Context { cwd: path.clone(), ..ctx.clone() };
        let worktree = prepare::locate(&there).await?;
        let up = args::Up { detach: true, ..args::Up::default() };
        let up = detach::bring_up(&there, console, &up, as_json, &worktree, &StartedStack::default()).await?;
        for (name, url) in &up.urls {
            ctx.events.note(format!("{name}: {}", url.as_str().unwrap_or_default()));
        }
        status = Some(up);
    }
    if !as_json {
        return Ok(Exit::Ok);
    }
    let mut answer = json!({
        "path": path.to_string_lossy(),
        "branch": opened.listed.branch,
        "created": opened.created,
        "commit": opened.listed.commit,
        "copied": opened.files.copied.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
    });
    if let Some(status) = status {
        answer["status"] = json!(status);
    }
    super::printed(console.print_json(&answer))
}

/// Returns the folder in which git commands work on the whole repository: the main worktree, or a bare repository.
pub(super) fn repository_folder(here: &Worktree) -> Result<PathBuf, Report> {
    let git = here.git.as_ref().ok_or_else(|| {
        Report::new(Code::GitFailed, format!("{} is not in a git repository", here.path.display()))
            .with_fix("run it in a worktree of the repository, or name one with -C")
    })?;
    Ok(git.main_worktree.clone().unwrap_or_else(|| git.common_dir.clone()))
}

async fn open(ctx: &Context, here: &Worktree, args: &args::New) -> Result<Opened, Report> {
    let main = repository_folder(here)?;
    let Some(branch) = name::branch(&args.name) else {
        return Err(Report::new(Code::Usage, format!("no branch name can be made from {:?}", args.name))
            .with_fix("choose a name with letters or digits"));
    };
    let _lock = Lock::take(&here.shared.join(LOCK), LockKind::Exclusive, LOCK_WAIT).await?;
    let all = worktree::list(ctx, &main).await?;
    let path = ctx.cwd.join(&args.name);
    let path = std::fs::canonicalize(&path).unwrap_or(path);
    let mut found = worktree::find(&all, &args.name, &path);
    found.retain(|one| one.path == path || !is_named_after_another(one, &branch));
    match found.as_slice() {
        [] => {}
        [one] if one.path.is_dir() => {
            let place = one.path.display();
            let branch = one.branch.as_deref().map_or_else(String::new, |on| format!(" on {on}"));
            ctx.events.note(format!("there is a worktree{branch} already: {place}"));
            if args.from.is_some() {
                ctx.events.warn("--from is ignored: nothing was made");
            }
            let listed = (*one).clone();
            return Ok(Opened { listed, created: false, files: IncludedFiles::default() });
        }
        [gone] => forget(ctx, &main, gone).await?,
        several => return Err(ambiguous(&args.name, several)),
    }
    let start = start_point(ctx, here, &branch, args.from.as_deref()).await?;
    let path = location::free_path(ctx, here, &main, &branch).await?;
    let made = worktree::add(ctx, &main, &path, &branch, &start).await?;
    if let Some(said) = made.hook_failure {
        ctx.events.warn(format!("the worktree was made, but one of git's hooks failed: {said}"));
    }
    let path = made.listed.path.clone();
    if path.starts_with(&main) && here.git.as_ref().is_some_and(|git| git.main_worktree.is_some()) {
        location::warn_of_untracked(ctx, &main, &path).await;
    }
    let files = prepare::copy_included_files(ctx, &main, &path).await;
    Ok(Opened { listed: made.listed, created: true, files })
}

/// Returns true if the folder of `worktree` is named after its own branch, and that is not `branch`. The branches `a/b` and `a-b`
/// give a folder the same name.
fn is_named_after_another(worktree: &ListedWorktree, branch: &str) -> bool {
    let other = worktree.branch.as_deref().filter(|other| *other != branch);
    other.is_some_and(|other| worktree.path.file_name() == Some(name::folder(other).as_ref()))
}

/// Removes git's record of a worktree whose folder no longer exists. Errors if it is locked: it may be on a disk that is
/// not mounted.
pub(super) async fn forget(ctx: &Context, main: &Path, gone: &ListedWorktree) -> Result<(), Report> {
    let place = gone.path.display();
    if gone.locked.is_some() {
        let message = format!("the worktree {place} is locked, and its folder does not exist");
        return Err(Report::new(Code::WorktreeKept, message)
            .with_fix(format!("mount its disk, or: git worktree unlock {}", quoted(&gone.path))));
    }
    ctx.events.note(format!("the folder {place} no longer exists: git's record of it is removed"));
    Ok(worktree::remove(ctx, main, &gone.path, false).await?)
}

/// Returns the error for a name that several worktrees have.
pub(super) fn ambiguous(name: &str, several: &[&ListedWorktree]) -> Report {
    let paths: Vec<String> = several.iter().map(|one| one.path.display().to_string()).collect();
    Report::new(Code::WorktreeUnknown, format!("{name:?} names several worktrees"))
        .with_cause(paths.join("\n"))
        .with_fix("name one of them by its path")
}

/// Decides where the branch of a new worktree begins.
async fn start_point(
    ctx: &Context,
    here: &Worktree,
    branch: &str,
    from: Option<&str>,
) -> Result<StartPoint, Report> {
    let ignored = |what: &str| {
        if from.is_some() {
            ctx.events.warn(format!("--from is ignored: {what} exists"));
        }
    };
    if worktree::has_branch(ctx, &here.path, branch).await {
        ignored(&format!("the branch {branch}"));
        return Ok(StartPoint::Branch);
    }
    if let Some(remote) = worktree::remote_of(ctx, &here.path, branch).await {
        ignored(&format!("{remote}/{branch}"));
        ctx.events.note(format!("the branch {branch} follows {remote}/{branch}"));
        return Ok(StartPoint::Remote(remote));
    }
    let reference = from.unwrap_or("HEAD");
    let commit = worktree::commit_of(ctx, &here.path, reference).await.ok_or_else(|| {
        Report::new(Code::Usage, format!("there is no commit {reference:?} in this repository"))
            .with_fix("name a branch, tag or commit that `git log` knows, or fetch it first")
    })?;
    Ok(StartPoint::Commit(commit))
}
