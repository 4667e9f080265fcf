//! Finds the current worktree and the others of its repository, and adds, updates and removes worktrees through git. Decides nothing
//! about ports, databases or processes.
//!
//! Most answers come from git itself. Some modules read git's files instead, such as `siblings` and `rebased`, because every verb needs
//! them. A worktree is identified by the physical path of its top level, byte for byte.

mod add;
mod authorship;
mod branches;
mod default;
mod equals_default_branch;
mod generated;
pub mod git;
mod git_operation;
mod ignored;
pub mod include;
mod list;
mod locate;
mod merged;
pub mod name;
mod rebase;
mod rebased;
mod remove;
mod resource_users;
mod siblings;
pub mod slug;
pub mod state_folder;
#[cfg(test)]
mod tests;
mod upstream;

use std::path::PathBuf;

pub use add::{StartPoint, add, commit_of, has_branch, remote_of};
pub use authorship::{Authorship, authorship};
pub use branches::{BranchList, LocalBranch, LogEvidence, branches, earlier_names, log_evidence};
pub use default::default_branch;
pub use equals_default_branch::sees_same_files;
pub use git_operation::{GitOperation, operation};
pub use ignored::{GitTreatment, git_treatment, is_own_link};
pub use list::{ListedWorktree, find, list, list_with_git_dirs, state_of_listed};
pub use locate::locate;
pub use merged::{BranchMerge, MergeChecker, MergeKind, Merged, branch_merge};
pub use rebase::{Integration, SyncError, changed_files, integrate};
pub use remove::{Unsaved, delete_branch, is_reachable, remove, uncommitted, unlock, unsaved};
pub use resource_users::users;
pub use siblings::{on_same_branch, others};
pub use upstream::{SyncTarget, commits_between, fetch, sync_target};

use crate::error::{Code, Explain};

/// The worktree in which devrun was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worktree {
    /// Physical path of the top level, raw bytes. It is the key of everything that belongs to this worktree.
    pub path: PathBuf,
    /// A short name for host names, files and logs, unique enough among the worktrees of a repository.
    pub slug: String,
    /// Folder for this worktree's state: `<git-dir>/devrun`, or a folder in the state directory if git's folder is not
    /// writable.
    pub state: PathBuf,
    /// Folder for the repository's state: `<git-common-dir>/devrun`, or a folder in the state directory. The main
    /// worktree's own state is in the same folder, so the two never use the same file names.
    pub shared: PathBuf,
    /// The facts from git; `None` outside git.
    pub git: Option<Git>,
}

/// The facts from git about a worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Git {
    /// The worktree's own git directory.
    pub dir: PathBuf,
    /// The git directory that all worktrees of the repository share.
    pub common_dir: PathBuf,
    /// The current HEAD. During a rebase, the branch that is being rebased.
    pub head: GitHead,
    /// Top level of the main worktree; `None` for a bare repository.
    pub main_worktree: Option<PathBuf>,
}

/// The kind of HEAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GitHead {
    /// A branch, which may have no commit yet. The raw name without `refs/heads/`; a byte that is not UTF-8 is written
    /// as `\xNN`.
    Branch(String),
    /// A commit without a branch.
    Detached,
}

impl Worktree {
    /// Returns the repository's short name: the folder name of its main worktree, or of the folder that contains a bare
    /// repository.
    pub fn repo(&self) -> String {
        let name = |path: &std::path::Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let of_git = self.git.as_ref().and_then(|git| match &git.main_worktree {
            Some(main) => name(main),
            // `project/.bare`, or `project.git`.
            None => name(&git.common_dir)
                .filter(|name| !name.starts_with('.'))
                .or_else(|| name(git.common_dir.parent()?)),
        });
        of_git.or_else(|| name(&self.path)).unwrap_or_else(|| self.slug.clone())
    }
}

impl Git {
    /// Returns the branch's name, or `None` if HEAD is detached.
    pub fn branch(&self) -> Option<&str> {
        match &self.head {
            GitHead::Branch(name) => Some(name),
            GitHead::Detached => None,
        }
    }
}

/// The reason why the worktree could not be determined.
#[derive(Debug, thiserror::Error)]
pub enum WorktreeError {
    /// The working folder does not exist or cannot be entered.
    #[error("cannot work in {}: {source}", path.display())]
    Folder {
        /// The folder in which devrun should work.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// There is a repository, but git is not installed.
    #[error("git is not installed or not on PATH, but {} is a git repository", repository.display())]
    GitMissing {
        /// The folder that contains `.git`.
        repository: PathBuf,
    },
    /// git does not trust the repository because of its owner.
    #[error("git refuses to work in {}: it belongs to another user", path.display())]
    Untrusted {
        /// The folder in which devrun should work.
        path: PathBuf,
        /// The command that git itself advises.
        advice: String,
    },
    /// The folder is inside a git directory, which has no files to run.
    #[error("{} is inside a git directory, not in a worktree", path.display())]
    InsideGitDirectory {
        /// The folder in which devrun should work.
        path: PathBuf,
    },
    /// The folder is in a bare repository, which has no files to run.
    #[error("{} is a bare repository: there is no worktree here", path.display())]
    Bare {
        /// The folder in which devrun should work.
        path: PathBuf,
    },
    /// The installed git does not know an option that devrun needs.
    #[error("git cannot determine which worktree {} is in", path.display())]
    GitTooOld {
        /// The folder in which devrun should work.
        path: PathBuf,
    },
    /// git did not carry out a command.
    #[error("git did not {action}")]
    Refused {
        /// The action, as a verb with its object.
        action: String,
        /// The output of git.
        said: String,
    },
    /// git failed, or its answer could not be understood.
    #[error("git cannot determine which worktree {} is in", path.display())]
    Git {
        /// The folder in which devrun should work.
        path: PathBuf,
        /// The output of git.
        said: String,
    },
}

impl Explain for WorktreeError {
    fn code(&self) -> Code {
        match self {
            WorktreeError::Folder { .. } => Code::State,
            WorktreeError::GitMissing { .. } => Code::GitMissing,
            _ => Code::GitFailed,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            WorktreeError::Untrusted { .. } => Some(
                "git only reads repositories of the current user and those listed as safe.directory".into(),
            ),
            WorktreeError::GitTooOld { .. } => Some("this git is older than 2.36".into()),
            WorktreeError::Git { said, .. } | WorktreeError::Refused { said, .. } => {
                Some(said.clone()).filter(|said| !said.is_empty())
            }
            _ => None,
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            WorktreeError::Folder { .. } => "change into a folder that exists, or name one with -C".into(),
            WorktreeError::GitMissing { .. } | WorktreeError::GitTooOld { .. } => {
                "install git 2.36 or newer".into()
            }
            WorktreeError::Untrusted { advice, .. } => format!("if you trust it: {advice}"),
            WorktreeError::InsideGitDirectory { .. } => {
                "run the command in a worktree; `git worktree list` shows them".into()
            }
            WorktreeError::Bare { .. } => {
                "run the command in a worktree (`git worktree list`), or add one: git worktree add <folder>"
                    .into()
            }
            WorktreeError::Git { said, .. } if said.contains("not a git repository: ") => {
                "the link to the repository is broken: run `git worktree repair` in the main worktree".into()
            }
            WorktreeError::Refused { .. } => {
                "fix the problem that git reports, then run this command again".into()
            }
            WorktreeError::Git { .. } => "run `git status` here, and fix the problem that it reports".into(),
        })
    }
}
