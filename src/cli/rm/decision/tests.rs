//! Tests of the decision: what is removed, what is kept, and which option allows each refusal.

use super::*;
use crate::worktree::GitOperation;

fn branch(merged: BranchMerge) -> RemovedHead {
    RemovedHead::Branch { name: "x".into(), commit: "c1".into(), merged, is_default: false }
}

fn facts() -> RemovalFacts {
    RemovalFacts {
        path: "/r.worktrees/x".into(),
        is_gone: false,
        locked: None,
        unsaved: Unsaved::default(),
        has_submodules: false,
        inner: Vec::new(),
        sharing: Vec::new(),
        head: branch(BranchMerge::Merged("main".into())),
        database: DatabaseFact::Own { provider: "local", name: "dev-x".into(), id: "7".into() },
    }
}

fn has_database(removal: &Removal) -> bool {
    removal.steps.iter().any(|step| matches!(step, RemovalStep::DeleteDatabase { .. }))
}

fn has_branch(removal: &Removal) -> bool {
    removal.steps.iter().any(|step| matches!(step, RemovalStep::DeleteBranch { .. }))
}

#[test]
fn c4_a_merged_clean_worktree_is_removed_in_a_fixed_order() {
    let removal = decide(&facts(), Allowed::default()).unwrap();
    let note = "contained in main".to_string();
    assert_eq!(
        removal.steps,
        [
            RemovalStep::TakeDown,
            RemovalStep::RemoveWorktree { force: false, is_gone: false },
            RemovalStep::DeleteDatabase { provider: "local", name: "dev-x".into() },
            RemovalStep::ReleasePorts,
            RemovalStep::DeleteBranch { name: "x".into(), commit: "c1".into(), note },
        ]
    );
    assert_eq!(removal.kept, []);
    let squashed = RemovalFacts { head: branch(BranchMerge::Squashed("main".into())), ..facts() };
    assert!(has_branch(&decide(&squashed, Allowed::default()).unwrap()));
}

#[test]
fn each_refusal_has_one_option_that_allows_exactly_it() {
    let unsaved = Unsaved { count: 1, files: vec!["a".into()], operation: None };
    let rebase = Unsaved { operation: Some(GitOperation::Rebase), ..Unsaved::default() };
    let detached = RemovedHead::Detached { commit: "c".into(), is_reachable: false };
    let allow = Allowed::default();
    for (facts, option, allowed) in [
        (RemovalFacts { unsaved, ..facts() }, "--uncommitted", Allowed { uncommitted: true, ..allow }),
        (
            RemovalFacts { unsaved: rebase, ..facts() },
            "--uncommitted",
            Allowed { uncommitted: true, ..allow },
        ),
        (
            RemovalFacts { has_submodules: true, ..facts() },
            "--uncommitted",
            Allowed { uncommitted: true, ..allow },
        ),
        (
            RemovalFacts { head: branch(BranchMerge::Unmerged(Some(2))), ..facts() },
            "--unmerged",
            Allowed { unmerged: true, ..allow },
        ),
        (RemovalFacts { head: detached, ..facts() }, "--unmerged", Allowed { unmerged: true, ..allow }),
        (
            RemovalFacts { locked: Some("usb".into()), ..facts() },
            "--locked",
            Allowed { locked: true, ..allow },
        ),
        (
            RemovalFacts { database: DatabaseFact::Unknown("offline".into()), ..facts() },
            "--keep-database",
            Allowed { keep_database: true, ..allow },
        ),
    ] {
        let refusals = decide(&facts, allow).unwrap_err();
        let options: Vec<_> = refusals.iter().map(Refusal::option).collect();
        assert_eq!(options, [Some(option)], "{refusals:?}");
        assert!(decide(&facts, allowed).is_ok(), "{option}");
        let others = Allowed {
            uncommitted: !allowed.uncommitted,
            unmerged: !allowed.unmerged,
            locked: !allowed.locked,
            keep_database: !allowed.keep_database,
            keep_branch: false,
        };
        assert!(decide(&facts, others).is_err(), "{option}");
    }
}

#[test]
fn all_refusals_are_reported_at_once() {
    let facts = RemovalFacts {
        locked: Some(String::new()),
        unsaved: Unsaved {
            count: 12,
            files: vec!["a".into(), "b".into()],
            operation: Some(GitOperation::Merge),
        },
        head: branch(BranchMerge::Unmerged(Some(1))),
        ..facts()
    };
    let texts: Vec<String> =
        decide(&facts, Allowed::default()).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "it is locked",
            "12 files are not committed: a, b and 10 more; a merge is under way",
            "1 commit of x is not merged",
        ]
    );
}

#[test]
fn a_worktree_with_another_inside_is_never_removed() {
    let facts = RemovalFacts { inner: vec!["/r.worktrees/x/y".into()], ..facts() };
    let all =
        Allowed { uncommitted: true, unmerged: true, locked: true, keep_database: true, keep_branch: true };
    let refusals = decide(&facts, all).unwrap_err();
    assert_eq!(refusals.iter().map(Refusal::option).collect::<Vec<_>>(), [None]);
}

#[test]
fn a_branch_in_another_worktree_stays_with_its_database() {
    let facts = RemovalFacts { sharing: vec!["/other".into()], ..facts() };
    let removal = decide(&facts, Allowed::default()).unwrap();
    assert!(!has_branch(&removal) && !has_database(&removal), "{removal:?}");
    assert_eq!(removal.kept.len(), 2);
}

#[test]
fn the_default_branch_and_a_kept_database_stay() {
    let head = RemovedHead::Branch {
        name: "main".into(),
        commit: "c".into(),
        merged: BranchMerge::Unmerged(None),
        is_default: true,
    };
    let database = DatabaseFact::Kept { name: "dev-main".into(), why: "it is a parent".into() };
    let removal = decide(&RemovalFacts { head, database, ..facts() }, Allowed::default()).unwrap();
    assert!(!has_branch(&removal) && !has_database(&removal), "{removal:?}");
}

#[test]
fn keeping_the_branch_needs_no_merge() {
    let facts = RemovalFacts { head: branch(BranchMerge::Unmerged(Some(3))), ..facts() };
    let removal = decide(&facts, Allowed { keep_branch: true, ..Allowed::default() }).unwrap();
    assert!(!has_branch(&removal) && has_database(&removal), "{removal:?}");
}

#[test]
fn a_folder_that_is_gone_has_no_stack_to_take_down() {
    let removal = decide(&RemovalFacts { is_gone: true, ..facts() }, Allowed::default()).unwrap();
    assert!(!removal.steps.contains(&RemovalStep::TakeDown));
    assert!(removal.steps.contains(&RemovalStep::RemoveWorktree { force: false, is_gone: true }));
}
