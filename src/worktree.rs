//! Which worktree this is: identity and git facts. Decides nothing about ports, databases or processes.
//!
//! git is asked, never imitated; a worktree is known by the physical path of its top level, byte for byte.

mod default;
pub mod git;
mod holder;
mod locate;
pub mod place;
mod same;
pub mod slug;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use default::default_branch;
pub use holder::holders;
pub use locate::locate;
pub use same::sees_same_files;

use crate::error::{Code, Explain};

/// The worktree devrun was called in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worktree {
    /// Physical path of the top level, raw bytes: the key of everything that belongs to this worktree.
    pub path: PathBuf,
    /// A short name, unique enough among the worktrees of a repository, safe in host names, files and logs.
    pub slug: String,
    /// Folder for this worktree's own state: `<git-dir>/devrun`, or a folder in the state directory where git's
    /// cannot be written.
    pub state: PathBuf,
    /// Folder for the repository's state: `<git-common-dir>/devrun`, or a folder in the state directory. The main
    /// worktree's own state is in the same folder, so the two never use the same file names.
    pub shared: PathBuf,
    /// What git says; `None` outside git.
    pub git: Option<Git>,
}

/// What git says about a worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Git {
    /// The worktree's own git directory.
    pub dir: PathBuf,
    /// The repository's git directory, common to all its worktrees.
    pub common_dir: PathBuf,
    /// What HEAD is.
    pub head: Head,
    /// Top level of the main worktree; `None` in a bare layout.
    pub main_worktree: Option<PathBuf>,
}

/// What HEAD is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// A branch, perhaps without a commit yet. Raw name without `refs/heads/`; invalid UTF-8 replaced.
    Branch(String),
    /// No branch.
    Detached,
}

impl Worktree {
    /// The repository's short name: that of its main worktree's folder, or of the folder a bare one lies in.
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
    /// The branch's name; `None` when HEAD is detached.
    pub fn branch(&self) -> Option<&str> {
        match &self.head {
            Head::Branch(name) => Some(name),
            Head::Detached => None,
        }
    }
}

/// Why the worktree could not be told.
#[derive(Debug, thiserror::Error)]
pub enum WorktreeError {
    /// The folder to work in is not there or cannot be entered.
    #[error("cannot work in {}: {source}", path.display())]
    Folder {
        /// The folder devrun was asked to work in.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is a repository, but no git to ask about it.
    #[error("git is not installed or not on PATH, but {} is a git repository", repository.display())]
    GitMissing {
        /// The folder that holds `.git`.
        repository: PathBuf,
    },
    /// git does not trust the repository because of its owner.
    #[error("git refuses to work in {}: it belongs to another user", path.display())]
    Untrusted {
        /// The folder devrun was asked to work in.
        path: PathBuf,
        /// The command that git itself advises.
        advice: String,
    },
    /// Inside a git directory, where there are no files to run.
    #[error("{} is inside a git directory, not in a worktree", path.display())]
    InsideGitDirectory {
        /// The folder devrun was asked to work in.
        path: PathBuf,
    },
    /// In a bare repository, which has no files to run.
    #[error("{} is a bare repository: there is no worktree here", path.display())]
    Bare {
        /// The folder devrun was asked to work in.
        path: PathBuf,
    },
    /// git failed or answered something that makes no sense.
    #[error("git cannot tell which worktree {} is in", path.display())]
    Git {
        /// The folder devrun was asked to work in.
        path: PathBuf,
        /// What git said.
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
            WorktreeError::Git { said, .. } => Some(said.clone()).filter(|said| !said.is_empty()),
            _ => None,
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            WorktreeError::Folder { .. } => "change into a folder that exists, or name one with -C".into(),
            WorktreeError::GitMissing { .. } => "install git 2.36 or newer".into(),
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
            WorktreeError::Git { said, .. } if said.contains("older than") => {
                "install git 2.36 or newer".into()
            }
            WorktreeError::Git { .. } => "run `git status` here, and mend what it complains about".into(),
        })
    }
}
