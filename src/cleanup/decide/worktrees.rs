//! The rules for worktrees and branches.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Reasoned, Rules, merged, old_enough};
use crate::cleanup::facts::{BranchFacts, FolderState, WorktreeFacts};
use crate::text::quoted;
use crate::worktree::{MergeKind, Merged};

/// Decides about a worktree. `ended` are the processes that are ended before.
pub(super) fn worktree(facts: &WorktreeFacts, ended: &BTreeSet<u32>, rules: &Rules) -> Reasoned {
    let keep = |reason: &str| Err(reason.to_string());
    if facts.is_main {
        return keep("it is the main worktree");
    }
    if facts.is_current {
        return keep("devrun was called in it");
    }
    if let Some(reason) = &facts.locked {
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        return Err(format!("git keeps it locked{reason}"));
    }
    if facts.runs {
        return keep("a stack runs in it");
    }
    match facts.folder {
        FolderState::Gone if !facts.is_commit_kept => {
            return keep(
                "its folder is gone, but no branch has its commit: `git branch NAME COMMIT` keeps it",
            );
        }
        FolderState::Gone => return has_no_submodules(facts).map(|()| "its folder is gone".into()),
        FolderState::Broken => {
            return keep("git finds no worktree in its folder: `git worktree repair` corrects the link");
        }
        FolderState::There if !rules.merged => return keep("it exists"),
        FolderState::There => {}
    }
    let servers = facts.servers.iter().filter(|pid| !ended.contains(pid));
    let pids: Vec<String> = servers.map(ToString::to_string).collect();
    if !pids.is_empty() {
        return Err(format!("servers run in it: pid {}", pids.join(", ")));
    }
    if let Some(operation) = facts.operation {
        return Err(format!("{operation} is in progress"));
    }
    let merged = merged(&facts.merge)?;
    if let Some(other) = &facts.contains {
        return Err(format!("another worktree is in its folder: {}", other.display()));
    }
    has_no_submodules(facts)?;
    match facts.is_clean {
        Some(true) => {}
        Some(false) => return keep("it has uncommitted changes"),
        None => return keep("git cannot tell whether it has uncommitted changes"),
    }
    old_enough(facts.unused_for, rules.older_than, "used")?;
    Ok(reason(merged))
}

/// Returns the reason to keep a worktree whose submodules are deleted with git's record of it.
fn has_no_submodules(facts: &WorktreeFacts) -> Result<(), String> {
    let Some(folder) = &facts.submodules else { return Ok(()) };
    Err(format!(
        "commits of its submodules may exist only in {}: `devrun rm {} --uncommitted` deletes them",
        folder.display(),
        quoted(&facts.path)
    ))
}

/// Decides about a branch. `removed` are the worktrees that are removed too.
pub(super) fn branch(facts: &BranchFacts, removed: &BTreeSet<PathBuf>, rules: &Rules) -> Reasoned {
    if facts.is_permanent {
        return Err("it is the default branch, or its name is that of a permanent branch".into());
    }
    if let Some(path) = facts.worktrees.iter().find(|path| !removed.contains(*path)) {
        return Err(format!("it is checked out in {}", path.display()));
    }
    let merged = merged(&facts.merge)?;
    old_enough(facts.unused_for, rules.older_than, "changed")?;
    let commit = &facts.branch.commit;
    Ok(format!("{}; its commit is {}", reason(merged), commit.get(..12).unwrap_or(commit)))
}

fn reason(merged: &Merged) -> String {
    let into = &merged.into;
    match merged.how {
        MergeKind::Commits => format!("{into} has all its commits"),
        MergeKind::Content => format!("{into} has all its changes"),
        MergeKind::Patch => format!("{into} has its changes in other commits"),
    }
}
