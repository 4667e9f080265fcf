//! Which worktree this is: identity and git facts. Decides nothing about ports, databases or processes.

use std::path::PathBuf;

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
    /// Folder for the repository's state: `<git-common-dir>/devrun`, or a folder in the state directory.
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
    /// Name of the default branch, as far as it can be told.
    pub default_branch: Option<String>,
}

/// What HEAD is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// A branch, perhaps without a commit yet. Raw name without `refs/heads/`; invalid UTF-8 replaced.
    Branch(String),
    /// No branch.
    Detached,
}
