//! `devrun hook worktree-create`: makes the worktree of an agent's session, or finds the one that exists, and prints its path.
//!
//! If this hook exists, Claude Code makes no worktree itself. The hook uses the layout of Claude Code: the folder
//! `.claude/worktrees/NAME` of the main worktree, and the branch `worktree-NAME`, which begins at the default branch of
//! `origin` unless the agent names a commit.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::payload::Payload;
use super::{hook_file, post_checkout};
use crate::cli::new::forget;
use crate::cli::new::{LOCK, LOCK_WAIT, repository_folder};
use crate::cli::printed;
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::os::fs::{Lock, LockKind};
use crate::prepare;
use crate::ui::console::Console;
use crate::worktree::git::git;
use crate::worktree::{self, ListedWorktree, StartPoint, Worktree, name, slug};

/// The folder of the worktrees, in the main worktree.
const FOLDER: &str = ".claude/worktrees";
/// The beginning of the name of a branch.
const PREFIX: &str = "worktree-";
/// Digits of the hash that makes the name of a folder unique.
const DIGITS: usize = 6;

pub(super) async fn run(ctx: &Context, console: &Console) -> Result<Exit, Report> {
    let payload = Payload::read().await?;
    let ctx = Context { cwd: payload.folder().unwrap_or_else(|| ctx.cwd.clone()), ..ctx.clone() };
    let here = worktree::locate(&ctx).await?;
    let path = open(&ctx, &here, &payload).await?;
    let line = [path.as_os_str().as_bytes(), b"\n"].concat();
    printed(console.print(&line))
}

/// Returns the folder of the worktree that an agent asks for by `name`.
pub(super) fn usual_folder(here: &Worktree, main: &Path, name: &str) -> Option<PathBuf> {
    let is_bare = here.git.as_ref().is_some_and(|git| git.main_worktree.is_none());
    // A bare repository is in the folder that also contains its worktrees.
    let root = if is_bare { main.parent().unwrap_or(main) } else { main };
    Some(root.join(FOLDER).join(name::folder(&name::branch(name)?)))
}

async fn open(ctx: &Context, here: &Worktree, payload: &Payload) -> Result<PathBuf, Report> {
    let wanted = payload.name()?;
    let main = repository_folder(here)?;
    let nameless = || {
        Report::new(Code::Usage, format!("no branch name can be made from {wanted:?}"))
            .with_fix("choose a name with letters or digits")
    };
    let plain = name::branch(wanted).ok_or_else(nameless)?;
    let usual = usual_folder(here, &main, wanted).ok_or_else(nameless)?;
    let own = payload.branch().and_then(name::branch).unwrap_or_else(|| format!("{PREFIX}{plain}"));
    let _lock = Lock::take(&here.shared.join(LOCK), LockKind::Exclusive, LOCK_WAIT).await?;
    let mut all = worktree::list(ctx, &main).await?;
    if let Some(found) = existing(&all, &own, &usual) {
        if found.path.is_dir() {
            ctx.events.note(format!("the worktree exists already: {}", found.path.display()));
            return Ok(found.path.clone());
        }
        let gone = found.path.clone();
        forget(ctx, &main, found).await?;
        all.retain(|one| one.path != gone);
    }
    let (branch, start) = branch(ctx, here, payload, &all, own, plain).await?;
    let path = free_folder(&usual, &branch)?;
    let packages = hook_file::installs_packages(ctx).await;
    let without_hook = post_checkout::without_preparation(ctx, &path);
    let made = worktree::add(&without_hook, &main, &path, &branch, &start).await?;
    if let Some(said) = made.hook_failure {
        ctx.events.warn(format!("the worktree was made, but one of git's hooks failed: {said}"));
    }
    let path = made.listed.path;
    // Claude Code copies these files only into worktrees that it makes itself.
    prepare::copy_included_files(ctx, &main, &path).await;
    let ignored = git(ctx, &main).args(["check-ignore", "--quiet"]).arg(&path).ok().await.is_ok();
    if !ignored && path.starts_with(&main) {
        ctx.events.warn(format!(
            "git shows {FOLDER} as untracked in the main worktree: add /{FOLDER}/ to .gitignore"
        ));
    }
    post_checkout::start_in(ctx, &path, packages).await;
    Ok(path)
}

/// Returns the linked worktree on `branch`, else the linked worktree in `folder`. Two names, such as `a/b` and `a-b`, may have
/// the same folder: skips a worktree in `folder` whose branch was made for another name.
fn existing<'a>(all: &'a [ListedWorktree], branch: &str, folder: &Path) -> Option<&'a ListedWorktree> {
    let linked = || all.iter().filter(|one| !one.is_main && !one.is_bare);
    let is_of_another = |one: &&ListedWorktree| {
        let other = one.branch.as_deref().and_then(|other| other.strip_prefix(PREFIX));
        other.is_some_and(|other| folder.file_name() == Some(name::folder(other).as_ref()))
    };
    let in_folder = || linked().find(|one| one.path == folder && !is_of_another(one));
    linked().find(|one| one.branch.as_deref() == Some(branch)).or_else(in_folder)
}

/// Chooses the branch of the worktree, and the commit at which a new branch begins. Takes an existing branch that has exactly
/// the wanted name, unless another worktree is on it.
async fn branch(
    ctx: &Context,
    here: &Worktree,
    payload: &Payload,
    all: &[ListedWorktree],
    own: String,
    plain: String,
) -> Result<(String, StartPoint), Report> {
    if worktree::has_branch(ctx, &here.path, &own).await {
        return Ok((own, StartPoint::Branch));
    }
    let is_held = all.iter().any(|one| one.branch.as_deref() == Some(plain.as_str()));
    if !is_held && worktree::has_branch(ctx, &here.path, &plain).await {
        return Ok((plain, StartPoint::Branch));
    }
    for reference in payload.base().into_iter().chain(["refs/remotes/origin/HEAD", "HEAD"]) {
        if let Some(commit) = worktree::commit_of(ctx, &here.path, reference).await {
            return Ok((own, StartPoint::Commit(commit)));
        }
    }
    Err(Report::new(Code::GitFailed, "the repository has no commit yet").with_fix("make a first commit"))
}

/// Returns `usual`, or a name with a part of the branch's hash if that is taken. Errors if both are taken.
fn free_folder(usual: &Path, branch: &str) -> Result<PathBuf, Report> {
    let mut marked = usual.as_os_str().to_os_string();
    marked.push(format!("-{}", &slug::hash(Path::new(branch))[..DIGITS]));
    let is_free = |path: &PathBuf| {
        path.symlink_metadata().is_err()
            || std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
    };
    [usual.to_path_buf(), PathBuf::from(marked)].into_iter().find(is_free).ok_or_else(|| {
        Report::new(Code::State, format!("the folder {} exists and is not a worktree", usual.display()))
            .with_fix("remove it, or choose another name")
    })
}
