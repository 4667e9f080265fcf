//! Tests of the rules: each reason to keep a thing by itself, and all combinations with generated facts.

use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::cleanup::facts::{
    BranchDatabaseFacts, BranchFacts, BranchState, Creator, FolderState, WorktreeFacts,
};
use crate::database::ListedDatabase;
use crate::database::providers::AbandonedCluster;
use crate::os::proc::ProcessEntry;
use crate::worktree::{GitOperation, LocalBranch, MergeKind, Merged};

const DAY: Duration = Duration::from_hours(24);

fn rules(merged: bool) -> Rules {
    Rules { merged, older_than: DAY }
}

fn merge() -> MergeState {
    MergeState::Merged(Merged { into: "origin/main".into(), how: MergeKind::Patch })
}

/// Returns a worktree that has no reason to be kept, except that it exists.
fn worktree(path: &str) -> WorktreeFacts {
    WorktreeFacts {
        path: path.into(),
        branch: Some("x".into()),
        commit: Some("1".into()),
        is_main: false,
        is_current: false,
        folder: FolderState::There,
        locked: None,
        runs: false,
        servers: Vec::new(),
        operation: None,
        merge: merge(),
        is_clean: Some(true),
        unused_for: Some(2 * DAY),
        contains: None,
        is_commit_kept: true,
        submodules: None,
    }
}

fn branch(name: &str, path: Option<&str>) -> BranchFacts {
    let branch = LocalBranch {
        reference: format!("refs/heads/{name}"),
        commit: "1".into(),
        committed: 0,
        upstream: None,
    };
    BranchFacts {
        name: name.into(),
        branch,
        is_permanent: false,
        worktrees: path.into_iter().map(PathBuf::from).collect(),
        merge: merge(),
        unused_for: Some(2 * DAY),
    }
}

/// Returns a database that has no reason to be kept.
fn database(name: &str) -> BranchDatabaseFacts {
    let listed = ListedDatabase {
        name: name.into(),
        made_by_devrun: true,
        label: Some("x".into()),
        ..ListedDatabase::default()
    };
    BranchDatabaseFacts {
        listed,
        is_shared: false,
        branch: BranchState::Gone,
        creator: Creator::Gone,
        is_locked: false,
        runs: false,
        is_current: false,
        child: None,
        age: Some(2 * DAY),
    }
}

fn cluster() -> ClusterFacts {
    let cluster = AbandonedCluster {
        id: "0".into(),
        folder: "/pg/0".into(),
        repository: "/r/.git/devrun".into(),
        is_used: false,
        unused_for: Some(8 * DAY),
    };
    ClusterFacts { cluster, has_parent: true, moved_to: None }
}

fn one(facts: &CleanupFacts, rules: &Rules) -> (bool, String) {
    let decisions = decide(facts, rules);
    assert_eq!(decisions.len(), 1, "{decisions:#?}");
    (decisions[0].removes, decisions[0].reason.clone())
}

fn of_worktree(worktree: WorktreeFacts, merged: bool) -> (bool, String) {
    one(&CleanupFacts { worktrees: vec![worktree], ..CleanupFacts::default() }, &rules(merged))
}

fn of_database(database: BranchDatabaseFacts) -> (bool, String) {
    one(&CleanupFacts { databases: vec![database], ..CleanupFacts::default() }, &rules(false))
}

#[test]
fn c1_merged_worktrees_are_removed_only_on_request() {
    assert_eq!(of_worktree(worktree("/w"), false), (false, "it exists".into()));
    let (removes, reason) = of_worktree(worktree("/w"), true);
    assert!(removes && reason == "origin/main has its changes in other commits", "{reason}");
}

#[test]
fn c2_a_worktree_without_a_folder_is_removed_unless_its_commit_would_be_lost() {
    let gone = WorktreeFacts { folder: FolderState::Gone, is_clean: None, ..worktree("/w") };
    assert!(of_worktree(gone.clone(), false).0);
    let (removes, reason) = of_worktree(WorktreeFacts { is_commit_kept: false, ..gone.clone() }, false);
    assert!(!removes && reason.contains("no branch has its commit"), "{reason}");
    let (removes, reason) = of_worktree(WorktreeFacts { locked: Some("usb".into()), ..gone }, false);
    assert!(!removes && reason == "git keeps it locked: usb", "{reason}");
    let gone = WorktreeFacts { folder: FolderState::Gone, is_clean: None, ..worktree("/w") };
    let modules = Some("/r/.git/worktrees/w/modules".into());
    let (removes, reason) = of_worktree(WorktreeFacts { submodules: modules, ..gone }, false);
    assert!(!removes && reason.contains("commits of its submodules may exist only in /r/.git"), "{reason}");
    assert!(!of_worktree(WorktreeFacts { folder: FolderState::Broken, ..worktree("/w") }, true).0);
}

#[test]
fn c1_each_reason_keeps_a_merged_worktree() {
    let keeps: [fn(&mut WorktreeFacts); 14] = [
        |facts| facts.is_main = true,
        |facts| facts.is_current = true,
        |facts| facts.locked = Some(String::new()),
        |facts| facts.runs = true,
        |facts| facts.servers = vec![7],
        |facts| facts.operation = Some(GitOperation::Rebase),
        |facts| facts.merge = MergeState::Unmerged,
        |facts| facts.merge = MergeState::Untouched,
        |facts| facts.merge = MergeState::Unproven("main".into()),
        |facts| facts.submodules = Some("/r/.git/worktrees/w/modules".into()),
        |facts| facts.contains = Some("/w/nested".into()),
        |facts| facts.is_clean = Some(false),
        |facts| facts.is_clean = None,
        |facts| facts.unused_for = Some(DAY / 2),
    ];
    for (at, keep) in keeps.iter().enumerate() {
        let mut facts = worktree("/w");
        keep(&mut facts);
        let (removes, reason) = of_worktree(facts, true);
        assert!(!removes, "{at}: {reason}");
    }
}

#[test]
fn branch_is_removed_with_its_worktree_and_its_database() {
    let facts = |path: &str, clean| CleanupFacts {
        worktrees: vec![WorktreeFacts { is_clean: Some(clean), ..worktree(path) }],
        branches: vec![branch("x", Some(path))],
        databases: vec![BranchDatabaseFacts {
            branch: BranchState::Local { remote: None },
            ..database("dev-x")
        }],
        ..CleanupFacts::default()
    };
    let removes = |facts: &CleanupFacts, merged| -> Vec<bool> {
        decide(facts, &rules(merged)).iter().map(|decision| decision.removes).collect()
    };
    assert_eq!(removes(&facts("/w", true), true), [true, true, true]);
    assert_eq!(removes(&facts("/w", false), true), [false, false, false]);
    assert_eq!(removes(&facts("/w", true), false), [false, false], "branches are looked at only on request");
}

#[test]
fn database_of_a_removed_branch_stays_while_a_remote_has_the_branch() {
    let on = |remote: Option<&str>| CleanupFacts {
        branches: vec![branch("x", None)],
        databases: vec![BranchDatabaseFacts {
            branch: BranchState::Local { remote: remote.map(Into::into) },
            ..database("dev-x")
        }],
        ..CleanupFacts::default()
    };
    let about = |remote| decide(&on(remote), &rules(true)).pop().unwrap();
    assert!(about(None).removes);
    let kept = about(Some("origin/x"));
    assert!(!kept.removes);
    assert_eq!(kept.reason, "the branch exists as origin/x: another clone may use it");
}

#[test]
fn database_of_a_removed_worktree_stays_for_others_only() {
    let local = BranchDatabaseFacts {
        branch: BranchState::Local { remote: Some("origin/x".into()) },
        creator: Creator::Here,
        age: None,
        ..database("dev-x")
    };
    assert_eq!(database_of_removed(&local), Ok(()), "no other clone can use it");
    let keeps: [fn(&mut BranchDatabaseFacts); 5] = [
        |facts| facts.is_shared = true,
        |facts| facts.creator = Creator::OtherClone,
        |facts| (facts.is_shared, facts.branch, facts.creator) = (true, BranchState::Gone, Creator::Unknown),
        |facts| facts.runs = true,
        |facts| facts.child = Some("dev-y".into()),
    ];
    for (at, keep) in keeps.iter().enumerate() {
        let mut facts = local.clone();
        keep(&mut facts);
        assert!(database_of_removed(&facts).is_err(), "{at}");
    }
}

#[test]
fn d6_each_reason_keeps_a_database() {
    assert_eq!(of_database(database("dev-x")), (true, "the branch x is gone".into()));
    let keeps: [fn(&mut BranchDatabaseFacts); 14] = [
        |facts| facts.listed.kept = Some("a parent"),
        |facts| facts.listed.made_by_devrun = false,
        |facts| facts.listed.label = None,
        |facts| facts.is_current = true,
        |facts| facts.runs = true,
        |facts| facts.is_locked = true,
        |facts| facts.branch = BranchState::Local { remote: None },
        |facts| facts.branch = BranchState::Remote("origin/x".into()),
        |facts| facts.branch = BranchState::Renamed("y".into()),
        |facts| (facts.branch, facts.creator) = (BranchState::Detached, Creator::Here),
        |facts| facts.creator = Creator::OtherClone,
        |facts| (facts.is_shared, facts.creator) = (true, Creator::Unknown),
        |facts| facts.child = Some("dev-y".into()),
        |facts| facts.age = None,
    ];
    for (at, keep) in keeps.iter().enumerate() {
        let mut facts = database("dev-x");
        keep(&mut facts);
        let (removes, reason) = of_database(facts);
        assert!(!removes, "{at}: {reason}");
    }
}

#[test]
fn cluster_is_removed_only_if_its_repository_cannot_have_moved_lately() {
    let of = |facts| one(&CleanupFacts { clusters: vec![facts], ..CleanupFacts::default() }, &rules(false)).0;
    assert!(of(cluster()));
    assert!(!of(ClusterFacts { has_parent: false, ..cluster() }));
    assert!(!of(ClusterFacts { moved_to: Some("/elsewhere".into()), ..cluster() }));
    for (is_used, unused_for) in [(true, Some(8 * DAY)), (false, Some(6 * DAY)), (false, None)] {
        let cluster = AbandonedCluster { is_used, unused_for, ..cluster().cluster };
        assert!(!of(ClusterFacts { cluster, has_parent: true, moved_to: None }));
    }
}

#[test]
fn r3_leftovers_of_a_killed_run_are_removed_and_those_of_a_running_one_are_kept() {
    use LeftoverKind::{Lease, Record, Socket};
    let run = RunFacts {
        worktree: "/w".into(),
        has_record: true,
        has_socket: true,
        slot: Some(7),
        ..RunFacts::default()
    };
    let of = |run: RunFacts| {
        let decisions = decide(&CleanupFacts { runs: vec![run], ..CleanupFacts::default() }, &rules(false));
        decisions.into_iter().map(|decision| (decision.kind, decision.removes)).collect::<Vec<_>>()
    };
    assert_eq!(of(run.clone()), [(Socket, true), (Record, true)], "a worktree that exists keeps its ports");
    let gone = RunFacts { is_gone: true, ..run.clone() };
    assert_eq!(of(gone.clone()), [(Socket, true), (Record, true), (Lease, true)]);
    for kept in [RunFacts { runs: true, ..gone.clone() }, RunFacts { is_locked: true, ..gone }] {
        assert!(of(kept).iter().all(|(_, removes)| !removes));
    }
    assert!(of(RunFacts { runs: true, ..run }).iter().all(|(_, removes)| !removes));
}

#[test]
fn servers_that_end_with_a_killed_run_keep_no_worktree() {
    let process = |pid| {
        let entry =
            ProcessEntry { pid, parent: 1, group: pid, session: pid, state: 'S', threads: 1, started: 1 };
        (entry, "next dev".to_string())
    };
    let run = RunFacts { worktree: "/w".into(), processes: vec![process(7)], ..RunFacts::default() };
    let of = |servers: &[u32], run: &RunFacts| {
        let worktrees = vec![WorktreeFacts { servers: servers.into(), ..worktree("/w") }];
        let facts = CleanupFacts { worktrees, runs: vec![run.clone()], ..CleanupFacts::default() };
        let decision = decide(&facts, &rules(true)).pop().unwrap();
        (decision.removes, decision.reason)
    };
    assert!(of(&[7], &run).0);
    assert_eq!(of(&[7, 8], &run), (false, "servers run in it: pid 8".into()));
    assert!(!of(&[7], &RunFacts { runs: true, ..run }).0, "another worktree's run may go on");
}

fn age() -> impl Strategy<Value = Option<Duration>> {
    prop_oneof![Just(None), (0u64..20).prop_map(|days| Some(DAY * u32::try_from(days).unwrap_or(0)))]
}

fn merge_state() -> impl Strategy<Value = MergeState> {
    prop_oneof![
        Just(MergeState::Unknown),
        Just(MergeState::Unmerged),
        Just(MergeState::Untouched),
        Just(MergeState::Unproven("main".into())),
        Just(merge())
    ]
}

fn any_worktree() -> impl Strategy<Value = WorktreeFacts> {
    let folder = prop_oneof![Just(FolderState::There), Just(FolderState::Broken), Just(FolderState::Gone)];
    let flags = any::<[bool; 7]>();
    (0u8..3, folder, flags, any::<Option<bool>>(), merge_state(), age()).prop_map(
        |(number, folder, flags, is_clean, merge, unused_for)| {
            let [is_main, is_current, locked, runs, served, busy, is_commit_kept] = flags;
            WorktreeFacts {
                is_main,
                is_current,
                folder,
                locked: locked.then(String::new),
                runs,
                servers: if served { vec![1] } else { Vec::new() },
                operation: busy.then_some(GitOperation::Rebase),
                merge,
                is_clean,
                unused_for,
                is_commit_kept,
                ..worktree(&format!("/w{number}"))
            }
        },
    )
}

fn any_branch() -> impl Strategy<Value = BranchFacts> {
    (0u8..3, any::<bool>(), merge_state(), age()).prop_map(|(number, is_permanent, merge, unused_for)| {
        let path = format!("/w{number}");
        BranchFacts { is_permanent, merge, unused_for, ..branch(&format!("b{number}"), Some(&path)) }
    })
}

fn any_database() -> impl Strategy<Value = BranchDatabaseFacts> {
    let state = prop_oneof![
        Just(BranchState::Local { remote: None }),
        Just(BranchState::Local { remote: Some("origin/x".into()) }),
        Just(BranchState::Remote("origin/x".into())),
        Just(BranchState::Renamed("y".into())),
        Just(BranchState::Gone),
        Just(BranchState::Detached)
    ];
    let creator = prop_oneof![
        Just(Creator::Here),
        Just(Creator::Gone),
        Just(Creator::OtherClone),
        Just(Creator::Unknown)
    ];
    (0u8..3, state, creator, any::<[bool; 6]>(), age()).prop_map(|(number, branch, creator, flags, age)| {
        let [is_shared, is_locked, runs, is_current, made_by_devrun, kept] = flags;
        let base = database("dev");
        let listed = ListedDatabase {
            label: Some(format!("b{number}").into()),
            made_by_devrun,
            kept: kept.then_some("a parent"),
            ..base.listed.clone()
        };
        BranchDatabaseFacts { listed, is_shared, branch, creator, is_locked, runs, is_current, age, ..base }
    })
}

fn any_run() -> impl Strategy<Value = RunFacts> {
    any::<[bool; 5]>().prop_map(|[is_gone, is_locked, runs, has_record, has_socket]| RunFacts {
        worktree: "/w0".into(),
        is_gone,
        is_locked,
        runs,
        has_record,
        has_socket,
        slot: Some(3),
        ..RunFacts::default()
    })
}

proptest! {
    #[test]
    fn nothing_dirty_locked_running_young_or_foreign_is_removed(
        worktrees in prop::collection::vec(any_worktree(), 0..4),
        branches in prop::collection::vec(any_branch(), 0..4),
        databases in prop::collection::vec(any_database(), 0..4),
        runs in prop::collection::vec(any_run(), 0..4),
        merged in any::<bool>(),
        days in 0u32..5,
    ) {
        let rules = Rules { merged, older_than: DAY * days };
        let facts = CleanupFacts { worktrees, branches, runs, databases, clusters: Vec::new() };
        let old = |age: Option<Duration>| age.is_some_and(|age| age >= rules.older_than);
        let decisions = decide(&facts, &rules);
        for decision in decisions.iter().filter(|decision| decision.removes) {
            match decision.kind {
                LeftoverKind::Worktree => {
                    let about = &facts.worktrees[decision.index];
                    prop_assert!(about.locked.is_none() && !about.runs && !about.is_main && !about.is_current);
                    let is_there = about.folder == FolderState::There;
                    prop_assert!(is_there || about.folder == FolderState::Gone && about.is_commit_kept);
                    if is_there {
                        prop_assert!(merged && about.is_clean == Some(true) && old(about.unused_for));
                        prop_assert!(matches!(about.merge, MergeState::Merged(_)));
                        prop_assert!(about.servers.is_empty() && about.operation.is_none());
                    }
                }
                LeftoverKind::Branch => {
                    let about = &facts.branches[decision.index];
                    prop_assert!(merged && !about.is_permanent && old(about.unused_for));
                    prop_assert!(matches!(about.merge, MergeState::Merged(_)));
                }
                LeftoverKind::Database => {
                    let about = &facts.databases[decision.index];
                    prop_assert!(!about.runs && !about.is_locked && !about.is_current && old(about.age));
                    prop_assert!(about.listed.made_by_devrun && about.listed.kept.is_none());
                    prop_assert!(about.creator != Creator::OtherClone);
                    prop_assert!(!(about.is_shared && about.creator == Creator::Unknown));
                    prop_assert!(!matches!(about.branch, BranchState::Remote(_) | BranchState::Renamed(_)));
                    let on_a_remote = matches!(about.branch, BranchState::Local { remote: Some(_) });
                    prop_assert!(!on_a_remote);
                }
                _ => {
                    let about = &facts.runs[decision.index];
                    prop_assert!(!(about.runs || about.is_gone && about.is_locked));
                }
            }
        }
    }

    #[test]
    fn every_decision_has_a_reason_and_the_order_of_its_kind(
        worktrees in prop::collection::vec(any_worktree(), 0..4),
        databases in prop::collection::vec(any_database(), 0..4),
    ) {
        let facts = CleanupFacts { worktrees, databases, ..CleanupFacts::default() };
        let decisions = decide(&facts, &rules(true));
        prop_assert!(decisions.iter().all(|decision| !decision.reason.is_empty()));
        prop_assert!(decisions.is_sorted_by_key(|decision| decision.kind));
        prop_assert_eq!(decisions.len(), facts.worktrees.len() + facts.databases.len());
    }
}
