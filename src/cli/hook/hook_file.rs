//! Finds the file that git runs after a checkout, and the program that manages it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::error::{Code, Report};
use crate::os::read::{self, Limit};
use crate::text::quoted;
use crate::worktree::git::git;
use crate::worktree::{self, Worktree};

const NAME: &str = "post-checkout";
/// Files with the configuration of lefthook.
const LEFTHOOK: [&str; 8] = [
    "lefthook.yml",
    "lefthook.yaml",
    "lefthook.toml",
    "lefthook.json",
    ".lefthook.yml",
    ".lefthook.yaml",
    ".lefthook.toml",
    ".lefthook.json",
];

/// The program that makes the files in the folder of hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HookManager {
    /// None: the user, or programs such as git-lfs.
    None,
    /// husky 9 or newer: it makes the folder again at every install, and runs the files of the folder above.
    Husky,
    /// lefthook, with this configuration: it makes the files again when the configuration changes.
    Lefthook(String),
}

/// The hook that git runs after a checkout.
#[derive(Clone, Debug)]
pub(super) struct HookFile {
    /// The file to edit, with links followed. It may not exist.
    pub(super) path: PathBuf,
    pub(super) manager: HookManager,
    /// The content; `None` if there is no file.
    pub(super) content: Option<Vec<u8>>,
    /// True if the file is outside the repository, where other repositories may use it.
    pub(super) is_shared: bool,
}

/// Returns the worktree and its hook. Errors outside git, if hooks are switched off, or if the file cannot be read.
pub(super) async fn find(ctx: &Context) -> Result<(Worktree, HookFile), Report> {
    let worktree = worktree::locate(ctx).await?;
    let Some(repository) = &worktree.git else {
        return Err(Report::new(
            Code::GitFailed,
            format!("{} is not in a git repository", worktree.path.display()),
        )
        .with_fix("run it in a worktree of the repository, or name one with -C"));
    };
    let asked = git(ctx, &worktree.path).args(["rev-parse", "--path-format=absolute", "--git-path", "hooks"]);
    let failed = |why: String| {
        Report::new(Code::GitFailed, "git does not say where its hooks are")
            .with_cause(why)
            .with_fix("run `git rev-parse --git-path hooks` here, and fix the problem that it reports")
    };
    let answer = asked.ok().await.map_err(|error| failed(error.tail(5).unwrap_or(error.to_string())))?;
    let folder =
        PathBuf::from(OsStr::from_bytes(answer.stdout.strip_suffix(b"\n").unwrap_or(&answer.stdout)));
    if folder.exists() && !folder.is_dir() {
        let message = format!("core.hooksPath is {}, which is not a folder: hooks are off", folder.display());
        return Err(Report::new(Code::HookKept, message)
            .with_fix("`git config --show-origin core.hooksPath` shows where it is set"));
    }
    let (path, manager) = match lefthook(&worktree, &folder) {
        Some(configuration) => (folder.join(NAME), HookManager::Lefthook(configuration)),
        None => match husky(&folder) {
            Some(above) => (above.join(NAME), HookManager::Husky),
            None => (folder.join(NAME), HookManager::None),
        },
    };
    let path = followed(&path)?;
    let content =
        read::optional(&path, Limit::SMALL).map_err(|error| unreadable(&path, &error.to_string()))?;
    let roots = [Some(&repository.common_dir), Some(&worktree.path), repository.main_worktree.as_ref()];
    let is_shared = !roots.into_iter().flatten().any(|root| path.starts_with(root));
    Ok((worktree, HookFile { path, manager, content, is_shared }))
}

/// Returns true if the hook, or the configuration of the program that makes it, calls devrun with `--packages`.
pub(super) async fn installs_packages(ctx: &Context) -> bool {
    let Ok((worktree, hook)) = find(ctx).await else { return false };
    let content = match &hook.manager {
        HookManager::Lefthook(configuration) => {
            read::file(&worktree.path.join(configuration), Limit::SMALL).unwrap_or_default()
        }
        HookManager::None | HookManager::Husky => hook.content.unwrap_or_default(),
    };
    String::from_utf8_lossy(&content).contains("devrun hook post-checkout --packages")
}

fn unreadable(path: &Path, why: &str) -> Report {
    Report::new(Code::HookKept, format!("the hook {} cannot be read", path.display()))
        .with_cause(why)
        .with_fix(format!("check kind, owner and mode of {}", quoted(path)))
}

/// Returns `path` with links followed, so that a link to a hook is not replaced by a file. The file and its folder may be missing.
/// Errors if a link leads nowhere.
fn followed(path: &Path) -> Result<PathBuf, Report> {
    match std::fs::canonicalize(path) {
        Ok(real) => Ok(real),
        Err(error) if path.symlink_metadata().is_ok() => Err(unreadable(path, &error.to_string())
            .with_fix("the link leads nowhere: remove it, then run this command again")),
        Err(_) => {
            let folder = path.parent().and_then(|folder| std::fs::canonicalize(folder).ok());
            Ok(folder.map_or_else(|| path.into(), |folder| folder.join(NAME)))
        }
    }
}

/// Returns the folder above if husky makes `folder`.
fn husky(folder: &Path) -> Option<&Path> {
    let above = folder.parent().filter(|_| folder.ends_with("_"))?;
    (above.ends_with(".husky") || folder.join("h").is_file()).then_some(above)
}

/// Returns the name of lefthook's configuration, if lefthook manages the hooks.
fn lefthook(worktree: &Worktree, folder: &Path) -> Option<String> {
    let configuration = LEFTHOOK.iter().find(|name| worktree.path.join(name).is_file());
    let calls_it = || {
        let hook = read::file(&folder.join(NAME), Limit::SMALL).unwrap_or_default();
        String::from_utf8_lossy(&hook).contains("call_lefthook")
    };
    configuration.map(ToString::to_string).or_else(|| calls_it().then(|| LEFTHOOK[0].into()))
}
