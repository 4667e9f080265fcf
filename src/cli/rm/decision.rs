//! Decides what `devrun rm` removes, what it keeps, and whether it refuses. Pure.

use std::fmt;
use std::path::PathBuf;

use crate::worktree::{BranchMerge, Unsaved};

/// The facts about a worktree that is to be removed.
#[derive(Clone, Debug)]
pub(super) struct RemovalFacts {
    pub(super) path: PathBuf,
    /// True if its folder no longer exists.
    pub(super) is_gone: bool,
    /// The reason of `git worktree lock`, which may be empty.
    pub(super) locked: Option<String>,
    pub(super) unsaved: Unsaved,
    /// True if it has submodules. Their commits may exist only in this worktree's git directory.
    pub(super) has_submodules: bool,
    /// Other worktrees inside its folder.
    pub(super) inner: Vec<PathBuf>,
    /// Other worktrees on the same branch.
    pub(super) sharing: Vec<PathBuf>,
    pub(super) head: RemovedHead,
    pub(super) database: DatabaseFact,
}

/// The commits of the worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RemovedHead {
    /// A branch that points to this commit.
    Branch { name: String, commit: String, merged: BranchMerge, is_default: bool },
    /// A commit without a branch. `is_reachable` is true if a branch or a tag contains it.
    Detached { commit: String, is_reachable: bool },
    /// No commit yet.
    Unborn,
}

impl RemovedHead {
    /// Returns the commit that is checked out.
    pub(super) fn commit(&self) -> Option<&str> {
        match self {
            RemovedHead::Branch { commit, .. } | RemovedHead::Detached { commit, .. } => Some(commit),
            RemovedHead::Unborn => None,
        }
    }
}

impl fmt::Display for RemovedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemovedHead::Branch { name, commit, .. } => write!(f, "{name} at {commit}"),
            RemovedHead::Detached { commit, .. } => write!(f, "the commit {commit}"),
            RemovedHead::Unborn => f.write_str("a branch without a commit"),
        }
    }
}

impl fmt::Display for DatabaseFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseFact::None => f.write_str("there is none"),
            DatabaseFact::Own { name, .. } => f.write_str(name),
            DatabaseFact::Kept { name, why } => write!(f, "{name}, which stays: {why}"),
            DatabaseFact::Unknown(why) => f.write_str(why),
        }
    }
}

/// The branch database of the worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DatabaseFact {
    /// There is none.
    None,
    /// devrun made it for this worktree or its branch. Its id is that of [`crate::database::ListedDatabase::id`].
    Own { provider: &'static str, name: String, id: String },
    /// It must stay, for this reason.
    Kept { name: String, why: String },
    /// It could not be found out, for this reason.
    Unknown(String),
}

/// The losses that the options of the command line allow.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub(super) struct Allowed {
    pub(super) uncommitted: bool,
    pub(super) unmerged: bool,
    pub(super) locked: bool,
    pub(super) keep_database: bool,
    pub(super) keep_branch: bool,
}

/// One step of a removal. The variants are in the order in which the steps are done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RemovalStep {
    /// End the processes.
    TakeDown,
    /// Undo `git worktree lock`.
    Unlock,
    /// Remove the folder and git's record of it.
    RemoveWorktree { force: bool, is_gone: bool },
    /// Delete the branch database.
    DeleteDatabase { provider: &'static str, name: String },
    /// Release the lease of the ports.
    ReleasePorts,
    /// Delete the branch, which points to this commit.
    DeleteBranch { name: String, commit: String, note: String },
}

/// The result of [`decide`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Removal {
    pub(super) steps: Vec<RemovalStep>,
    /// Things that stay, each with the reason.
    pub(super) kept: Vec<(String, String)>,
}

/// A reason not to remove a worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Other worktrees are inside its folder.
    Inner(Vec<PathBuf>),
    /// `git worktree lock` protects it, for this reason.
    Locked(String),
    /// It has work that is not committed.
    Uncommitted(Unsaved),
    /// It has submodules.
    Submodules,
    /// No other branch contains its commits. The branch, and the number of commits.
    Unmerged(Option<String>, Option<u32>),
    /// Its database is not known.
    Database(String),
}

impl Refusal {
    /// Returns the option that allows it. `None` if there is none.
    pub(super) fn option(&self) -> Option<&'static str> {
        match self {
            Refusal::Inner(_) => None,
            Refusal::Locked(_) => Some("--locked"),
            Refusal::Uncommitted(_) | Refusal::Submodules => Some("--uncommitted"),
            Refusal::Unmerged(..) => Some("--unmerged"),
            Refusal::Database(_) => Some("--keep-database"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Inner(paths) => {
                let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(f, "other worktrees are inside it: {}", paths.join(", "))
            }
            Refusal::Locked(why) if why.is_empty() => f.write_str("it is locked"),
            Refusal::Locked(why) => write!(f, "it is locked: {why}"),
            Refusal::Uncommitted(Unsaved { operation: Some(operation), count: 0, .. }) => {
                write!(f, "{operation} is under way")
            }
            Refusal::Uncommitted(Unsaved { count, files, operation }) => {
                let more = count.saturating_sub(files.len());
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let word = if *count == 1 { "file is" } else { "files are" };
                write!(f, "{count} {word} not committed: {}{more}", files.join(", "))?;
                operation.map_or(Ok(()), |operation| write!(f, "; {operation} is under way"))
            }
            Refusal::Submodules => f.write_str("it has submodules, whose commits may exist only here"),
            Refusal::Unmerged(branch, count) => {
                let Some(branch) = branch else { return f.write_str("the commit is in no branch or tag") };
                match count {
                    Some(1) => write!(f, "1 commit of {branch} is not merged"),
                    Some(count) => write!(f, "{count} commits of {branch} are not merged"),
                    None => write!(f, "the commits of {branch} are not merged"),
                }
            }
            Refusal::Database(why) => write!(f, "devrun cannot determine its database: {why}"),
        }
    }
}

/// Decides what is removed. Errors with every reason against it that `allowed` does not allow.
pub(super) fn decide(facts: &RemovalFacts, allowed: Allowed) -> Result<Removal, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let (mut steps, mut kept) = (Vec::new(), Vec::new());
    if !facts.inner.is_empty() {
        refusals.push(Refusal::Inner(facts.inner.clone()));
    }
    if !facts.is_gone {
        steps.push(RemovalStep::TakeDown);
    }
    let is_shared = !facts.sharing.is_empty();
    let sharing = || {
        let paths: Vec<String> = facts.sharing.iter().map(|path| path.display().to_string()).collect();
        format!("{} is on this branch too", paths.join(", "))
    };
    if let Some(why) = &facts.locked {
        if allowed.locked {
            steps.push(RemovalStep::Unlock);
        } else {
            refusals.push(Refusal::Locked(why.clone()));
        }
    }
    let is_unsaved = facts.unsaved.count > 0 || facts.unsaved.operation.is_some();
    if is_unsaved && !allowed.uncommitted {
        refusals.push(Refusal::Uncommitted(facts.unsaved.clone()));
    }
    if facts.has_submodules && !allowed.uncommitted {
        refusals.push(Refusal::Submodules);
    }
    let force = is_unsaved || facts.has_submodules;
    steps.push(RemovalStep::RemoveWorktree { force, is_gone: facts.is_gone });
    match &facts.database {
        _ if allowed.keep_database => kept.push(("database".to_string(), "--keep-database".into())),
        DatabaseFact::None => {}
        DatabaseFact::Own { name, .. } if is_shared => kept.push((format!("database {name}"), sharing())),
        DatabaseFact::Own { provider, name, .. } => {
            steps.push(RemovalStep::DeleteDatabase { provider, name: name.clone() });
        }
        DatabaseFact::Kept { name, why } => kept.push((format!("database {name}"), why.clone())),
        DatabaseFact::Unknown(why) => refusals.push(Refusal::Database(why.clone())),
    }
    steps.push(RemovalStep::ReleasePorts);
    match &facts.head {
        RemovedHead::Unborn => {}
        RemovedHead::Detached { is_reachable, .. } => {
            if !is_reachable && !allowed.unmerged {
                refusals.push(Refusal::Unmerged(None, None));
            }
        }
        RemovedHead::Branch { name, is_default: true, .. } => {
            kept.push((format!("branch {name}"), "it is the default branch".into()));
        }
        RemovedHead::Branch { name, .. } if is_shared => kept.push((format!("branch {name}"), sharing())),
        RemovedHead::Branch { name, .. } if allowed.keep_branch => {
            kept.push((format!("branch {name}"), "--keep-branch".into()));
        }
        RemovedHead::Branch { name, commit, merged, .. } => {
            let note = match merged {
                BranchMerge::Merged(into) => format!("contained in {into}"),
                BranchMerge::Squashed(into) => format!("its changes are in {into}"),
                BranchMerge::Unmerged(count) if !allowed.unmerged => {
                    refusals.push(Refusal::Unmerged(Some(name.clone()), *count));
                    String::new()
                }
                BranchMerge::Unmerged(_) => "its commits are not merged".into(),
            };
            steps.push(RemovalStep::DeleteBranch { name: name.clone(), commit: commit.clone(), note });
        }
    }
    if refusals.is_empty() { Ok(Removal { steps, kept }) } else { Err(refusals) }
}

#[cfg(test)]
mod tests;
