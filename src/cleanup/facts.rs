//! The facts from which `decide` decides. No behaviour.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::control::registry::StackEntry;
use crate::database::ListedDatabase;
use crate::database::providers::AbandonedCluster;
use crate::os::proc::ProcessEntry;
use crate::worktree::{GitOperation, LocalBranch, Merged};

/// The facts about one repository on this machine.
#[derive(Clone, Debug, Default)]
pub struct CleanupFacts {
    /// All worktrees that git knows.
    pub worktrees: Vec<WorktreeFacts>,
    /// All local branches.
    pub branches: Vec<BranchFacts>,
    /// The leftovers of runs, by worktree. Includes worktrees that git no longer knows.
    pub runs: Vec<RunFacts>,
    /// The branch databases of the provider.
    pub databases: Vec<BranchDatabaseFacts>,
    /// The clusters of repositories that no longer exist.
    pub clusters: Vec<ClusterFacts>,
}

/// The state of the folder of a worktree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderState {
    /// The worktree.
    There,
    /// A folder that git does not recognise as the worktree.
    Broken,
    /// Nothing.
    Gone,
}

/// Whether the work of a branch is in the default branch or its upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeState {
    /// It was not checked, or git failed.
    Unknown,
    /// It has work that is nowhere else.
    Unmerged,
    /// Nothing was committed on it yet.
    Untouched,
    /// Its commits are in this branch, and nothing shows that they were made on it.
    Unproven(String),
    /// Its work is in this branch.
    Merged(Merged),
}

/// A worktree.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact")]
pub struct WorktreeFacts {
    /// Its top level.
    pub path: PathBuf,
    /// Its branch; `None` if HEAD is detached.
    pub branch: Option<String>,
    /// The commit that is checked out.
    pub commit: Option<String>,
    /// True for the main worktree or the bare repository.
    pub is_main: bool,
    /// True for the worktree in which devrun was called.
    pub is_current: bool,
    /// The state of its folder.
    pub folder: FolderState,
    /// The reason why git keeps it; `None` if it is not locked.
    pub locked: Option<String>,
    /// True if a devrun holds its lock, or a supervisor listens at its socket.
    pub runs: bool,
    /// Servers that work in it and that devrun does not supervise.
    pub servers: Vec<u32>,
    /// The operation of git that is in progress.
    pub operation: Option<GitOperation>,
    /// Whether its work is merged.
    pub merge: MergeState,
    /// True if it has no uncommitted work; `None` if that was not checked or git failed.
    pub is_clean: Option<bool>,
    /// The time since git or devrun last wrote something there.
    pub unused_for: Option<Duration>,
    /// Another worktree in its folder, which would be deleted with it.
    pub contains: Option<PathBuf>,
    /// False if no branch or tag contains its commit. Checked only for a detached HEAD whose folder is gone, else true.
    pub is_commit_kept: bool,
    /// The repositories of its submodules, which are deleted with git's record of it.
    pub submodules: Option<PathBuf>,
}

/// A local branch.
#[derive(Clone, Debug)]
pub struct BranchFacts {
    /// Its name.
    pub name: String,
    /// Its commit and upstream.
    pub branch: LocalBranch,
    /// True for the default branch, and for names of branches that usually stay.
    pub is_permanent: bool,
    /// The worktrees in which it is checked out, or which an operation of git will return to it.
    pub worktrees: Vec<PathBuf>,
    /// Whether its work is merged.
    pub merge: MergeState,
    /// The time since its last commit or change.
    pub unused_for: Option<Duration>,
}

/// The leftovers of runs in one worktree.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact")]
pub struct RunFacts {
    /// The worktree.
    pub worktree: PathBuf,
    /// True if its folder does not exist.
    pub is_gone: bool,
    /// True if git keeps the worktree although its folder may not exist.
    pub is_locked: bool,
    /// True if a devrun holds its lock, or a supervisor listens at its socket.
    pub runs: bool,
    /// The devrun processes that hold its lock.
    pub holders: BTreeSet<u32>,
    /// Its state folder, if that exists.
    pub state: Option<PathBuf>,
    /// True if it has a record of a run that did not end by itself, or if it is gone and its folder in the
    /// user's state directory is not.
    pub has_record: bool,
    /// Its registry entry.
    pub entry: Option<StackEntry>,
    /// True if there is a file at the path of its socket.
    pub has_socket: bool,
    /// Its slot, if it has a lease.
    pub slot: Option<u16>,
    /// The processes that carry its tag, with their command lines.
    pub processes: Vec<(ProcessEntry, String)>,
}

/// The git branch of a database, as this clone knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BranchState {
    /// It exists here.
    Local {
        /// The remote branch of that name, if there is one: another clone may have it too.
        remote: Option<String>,
    },
    /// It exists only on a remote, as this branch.
    Remote(String),
    /// It has this name now.
    Renamed(String),
    /// No clone is known to have it.
    Gone,
    /// The database belongs to a worktree with a detached HEAD.
    Detached,
}

/// The worktree in which a database was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creator {
    /// A worktree of this repository, which exists.
    Here,
    /// A worktree of this repository, which is gone.
    Gone,
    /// A folder that is no worktree of this repository: it may be one of another clone.
    OtherClone,
    /// A path that does not exist and that this repository does not know. It may be a path of another machine.
    Unknown,
}

/// A branch database.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact")]
pub struct BranchDatabaseFacts {
    /// The description that the provider gives.
    pub listed: ListedDatabase,
    /// True if other clones may keep databases in the same place.
    pub is_shared: bool,
    /// The state of its branch.
    pub branch: BranchState,
    /// Where it was created.
    pub creator: Creator,
    /// True if git keeps the worktree in which it was created.
    pub is_locked: bool,
    /// True if a stack runs in a worktree that may use it.
    pub runs: bool,
    /// True if it is the database of the worktree in which devrun was called.
    pub is_current: bool,
    /// A database that was copied from it.
    pub child: Option<String>,
    /// The time since it was created.
    pub age: Option<Duration>,
}

/// A cluster whose repository is gone.
#[derive(Clone, Debug)]
pub struct ClusterFacts {
    /// The cluster.
    pub cluster: AbandonedCluster,
    /// True if the folder that contained the repository exists.
    pub has_parent: bool,
    /// A repository that has the cluster's id: it was moved there.
    pub moved_to: Option<PathBuf>,
}
