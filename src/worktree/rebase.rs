//! Rebases the branch of a worktree, or merges into it, with git. Leaves a conflict as git leaves it, with the next step.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use super::git::git;
use super::git_operation::{GitOperation, operation};
use super::remove::Unsaved;
use super::{Worktree, WorktreeError};
use crate::context::Context;
use crate::error::{Code, Explain, Fault};

/// How long git may take to apply all commits, with the user's hooks.
const APPLYING: Duration = Duration::from_mins(10);

/// How the new commits come into a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Integration {
    /// The branch's own commits are made again on top of them.
    Rebase,
    /// A merge commit joins both.
    Merge,
}

impl Integration {
    /// Returns the verb of git.
    pub const fn word(self) -> &'static str {
        match self {
            Integration::Rebase => "rebase",
            Integration::Merge => "merge",
        }
    }

    /// Returns the preposition between the noun and the other commits.
    const fn preposition(self) -> &'static str {
        match self {
            Integration::Rebase => "onto",
            Integration::Merge => "of",
        }
    }
}

/// The reason why a branch was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// git failed.
    #[error(transparent)]
    Git(#[from] WorktreeError),
    /// There are changes that no commit contains.
    #[error("{} here {} not committed", files(self.count()), if self.count() == 1 { "is" } else { "are" })]
    Uncommitted(Unsaved),
    /// A rebase, merge or the like is under way.
    #[error("{0} is in progress here")]
    InProgress(GitOperation),
    /// There are no such commits.
    #[error("there is no commit {0:?} in this repository")]
    NoCommit(String),
    /// The remote could not be fetched from.
    #[error("git cannot fetch from {remote}")]
    Fetch {
        /// Its name.
        remote: String,
        /// The output of git, without passwords.
        said: String,
    },
    /// git stopped at a commit that it cannot apply.
    #[error("the {} {} {name} stopped{}", how.word(), how.preposition(), at_conflicts(files))]
    Conflict {
        /// The operation, which is still under way.
        how: Integration,
        /// The name of the other commits.
        name: String,
        /// The files with conflicts.
        files: Vec<PathBuf>,
        /// The output of git.
        said: String,
    },
}

fn files(count: usize) -> String {
    format!("{count} file{}", if count == 1 { "" } else { "s" })
}

fn at_conflicts(names: &[PathBuf]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = names.iter().map(|name| name.display().to_string()).collect();
    format!(" at conflicts in {}: {}", files(names.len()), shown.join(", "))
}

impl SyncError {
    fn count(&self) -> usize {
        if let SyncError::Uncommitted(unsaved) = self { unsaved.count } else { 0 }
    }
}

impl Explain for SyncError {
    fn code(&self) -> Code {
        match self {
            SyncError::Git(error) => error.code(),
            SyncError::Uncommitted(_) | SyncError::InProgress(_) => Code::WorktreeDirty,
            SyncError::NoCommit(_) => Code::Usage,
            SyncError::Fetch { .. } => Code::GitFailed,
            SyncError::Conflict { .. } => Code::SyncConflict,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            SyncError::Git(error) => error.why(),
            SyncError::Uncommitted(unsaved) => Some(unsaved.files.join("\n")),
            SyncError::InProgress(_) | SyncError::NoCommit(_) => None,
            SyncError::Fetch { said, .. } | SyncError::Conflict { said, .. } => {
                Some(said.clone()).filter(|said| !said.is_empty())
            }
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            SyncError::Git(error) => return error.fix(),
            SyncError::Uncommitted(_) => {
                "commit the changes, or `git stash`; then run `devrun sync` again".into()
            }
            SyncError::InProgress(operation) => {
                let verb = operation.verb();
                let ways = match operation {
                    GitOperation::Bisect => format!("end it (`git {verb} reset`)"),
                    _ => format!("finish it (`git {verb} --continue`) or undo it (`git {verb} --abort`)"),
                };
                format!("{ways}; then run `devrun sync` again")
            }
            SyncError::NoCommit(_) => {
                "name a branch, tag or commit with --onto; `git branch --all` lists the branches".into()
            }
            SyncError::Fetch { remote, .. } => {
                format!("run `git fetch {remote}`, which may ask for a password, then `devrun sync` again")
            }
            SyncError::Conflict { how, .. } => {
                let verb = how.word();
                format!(
                    "correct the files and `git add` them, then `git {verb} --continue` and `devrun sync`; to undo it: \
                     git {verb} --abort"
                )
            }
        })
    }

    fn correct(&self) -> Option<String> {
        let SyncError::Conflict { files, .. } = self else { return None };
        files.first().map(|file| file.display().to_string())
    }

    fn fault(&self) -> Option<Fault> {
        match self {
            SyncError::Fetch { .. } => Some(Fault::Environment),
            other => other.code().fault(),
        }
    }
}

/// Brings the commits of `name` into the branch of `worktree`. Starts no editor. Errors if git stops at a conflict, which stays,
/// or does not begin.
pub async fn integrate(
    ctx: &Context,
    worktree: &Worktree,
    how: Integration,
    name: &str,
) -> Result<(), SyncError> {
    let cmd = git(ctx, &worktree.path).limit(APPLYING);
    let cmd = cmd.env("GIT_EDITOR", "true").env("GIT_SEQUENCE_EDITOR", "true");
    let cmd = match how {
        Integration::Rebase => cmd.args(["-c", "rebase.autoStash=false", "rebase", name]),
        Integration::Merge => cmd.args(["-c", "merge.autoStash=false", "merge", "--no-edit", name]),
    };
    let said = match cmd.output().await {
        Ok(output) if output.ending.ok() => return Ok(()),
        Ok(output) => {
            let conflicts = String::from_utf8_lossy(&output.stdout).into_owned();
            let conflicts: Vec<&str> =
                conflicts.lines().filter(|line| line.starts_with("CONFLICT")).collect();
            if conflicts.is_empty() { output.tail(10) } else { conflicts.join("\n") }
        }
        Err(error) => error.to_string(),
    };
    let dir = worktree.git.as_ref().map(|git| git.dir.as_path());
    if dir.and_then(operation).is_none() {
        let action = match how {
            Integration::Rebase => format!("rebase onto {name}"),
            Integration::Merge => format!("merge {name}"),
        };
        return Err(super::add::refused(action, said).into());
    }
    let files = names(ctx, worktree, &["--diff-filter=U"]).await;
    Err(SyncError::Conflict { how, name: name.into(), files, said })
}

/// Returns the files that differ between the commits `from` and `to`, relative to the top level. Returns none if git fails.
pub async fn changed_files(ctx: &Context, worktree: &Worktree, from: &str, to: &str) -> Vec<PathBuf> {
    names(ctx, worktree, &["--no-renames", from, to]).await
}

async fn names(ctx: &Context, worktree: &Worktree, args: &[&str]) -> Vec<PathBuf> {
    let cmd = git(ctx, &worktree.path).args(["diff", "--name-only", "-z", "--no-ext-diff"]).args(args);
    let Ok(output) = cmd.arg("--").ok().await else { return Vec::new() };
    let mut names: Vec<PathBuf> = output
        .stdout
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| OsString::from_vec(name.to_vec()).into())
        .collect();
    names.dedup();
    names
}
