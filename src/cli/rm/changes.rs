//! Compares the facts about a worktree from before the user was asked with those from after the answer. Pure.

use super::decision::{Refusal, RemovalFacts};
use crate::worktree::Unsaved;

/// Returns a sentence for each fact that changed from `before` to `now`.
pub(super) fn changes(before: &RemovalFacts, now: &RemovalFacts) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |is_same: bool, change: String| {
        if !is_same {
            found.push(change);
        }
    };
    let folder = if now.is_gone { "its folder is gone" } else { "its folder is back" };
    compare(before.is_gone == now.is_gone, folder.into());
    let lock = match &now.locked {
        None => "it is not locked any more".to_string(),
        Some(why) if why.is_empty() => "it is locked".into(),
        Some(why) => format!("it is locked: {why}"),
    };
    compare(before.locked == now.locked, lock);
    let unsaved = if now.unsaved == Unsaved::default() {
        "all its work is committed".to_string()
    } else {
        Refusal::Uncommitted(now.unsaved.clone()).to_string()
    };
    compare(before.unsaved == now.unsaved, unsaved);
    let submodules = if now.has_submodules { "it has submodules" } else { "it has no submodules any more" };
    compare(before.has_submodules == now.has_submodules, submodules.into());
    compare(before.inner == now.inner, "other worktrees are inside it now".into());
    compare(before.sharing == now.sharing, "other worktrees are on its branch now".into());
    compare(before.head == now.head, format!("{} is checked out", now.head));
    compare(before.database == now.database, format!("its database: {}", now.database));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::rm::decision::{DatabaseFact, RemovedHead};
    use crate::worktree::{BranchMerge, GitOperation};

    #[test]
    fn each_change_is_named() {
        let head = |commit: &str| RemovedHead::Branch {
            name: "x".into(),
            commit: commit.into(),
            merged: BranchMerge::Merged("main".into()),
            is_default: false,
        };
        let before = RemovalFacts {
            path: "/x".into(),
            is_gone: false,
            locked: None,
            unsaved: Unsaved::default(),
            has_submodules: false,
            inner: Vec::new(),
            sharing: Vec::new(),
            head: head("c1"),
            database: DatabaseFact::None,
        };
        assert_eq!(changes(&before, &before), [""; 0]);
        let unsaved = Unsaved { count: 1, files: vec!["new".into()], operation: Some(GitOperation::Merge) };
        let database = DatabaseFact::Own { provider: "local", name: "dev-x".into(), id: "7".into() };
        let now = RemovalFacts {
            is_gone: true,
            locked: Some("usb".into()),
            unsaved,
            has_submodules: true,
            inner: vec!["/x/y".into()],
            sharing: vec!["/z".into()],
            head: head("c2"),
            database,
            ..before.clone()
        };
        insta::assert_snapshot!(changes(&before, &now).join("\n"), @r"
        its folder is gone
        it is locked: usb
        1 file is not committed: new; a merge is under way
        it has submodules
        other worktrees are inside it now
        other worktrees are on its branch now
        x at c2 is checked out
        its database: dev-x
        ");
    }
}
