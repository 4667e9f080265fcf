//! Worktrees of a fresh repository that are brought up in the same second.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::World;
use crate::support::{Ended, Running};

/// Brings `count` worktrees up at once, `main` among them where `with_main`, checks them and takes them down.
fn round(count: usize, with_main: bool) {
    let Some(world) = World::new() else { return };
    let mut folders: Vec<PathBuf> = (0..count).map(|n| world.worktree(&format!("w{n}"))).collect();
    if with_main {
        folders.push(world.sandbox.main());
    }
    let all: Vec<Running> =
        folders.iter().map(|folder| world.sandbox.devrun(&["up", "-d"]).directory(folder).start()).collect();
    let ended: Vec<Ended> = all.into_iter().map(Running::wait).collect();
    let mut runs: BTreeMap<String, u32> = BTreeMap::new();
    for database in world.migrated() {
        *runs.entry(database).or_default() += 1;
    }
    let states: Vec<_> =
        folders.iter().map(|folder| world.ask(folder, &["status"])["migrations"].clone()).collect();
    for folder in &folders {
        world.devrun(folder, &["down"]);
    }
    for ended in &ended {
        assert_eq!(ended.code, Some(0), "{ended}");
        assert!(!ended.stderr.contains("connection"), "{ended}");
    }
    assert!(states.iter().all(|state| state == "empty"), "{states:?}");
    assert!(runs.values().all(|count| *count == 1), "{runs:?}");
}

#[test]
fn two_worktrees_of_a_fresh_repository_come_up_at_once() {
    round(2, true);
}

#[test]
fn five_worktrees_of_a_fresh_repository_come_up_at_once() {
    round(5, false);
}

#[test]
#[ignore = "minutes; `cargo test --test integration -- --ignored together`"]
fn ten_rounds_of_two_five_and_ten_worktrees_come_up_at_once() {
    for count in [2, 5, 10].repeat(10) {
        round(count, count == 5);
    }
}
