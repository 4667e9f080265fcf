//! Worktrees of a fresh repository that start in the same second.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::World;
use crate::support::pester::Raise;
use crate::support::{Ended, Running};

/// The main worktree, whose database is the parent of all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Main {
    /// Does not run.
    Idle,
    /// Starts together with the others.
    Starts,
    /// Runs before the others start. Another thread writes to its database while they do.
    IsWrittenTo,
}

/// Starts `count` worktrees at once, with the main worktree in the state `main`, checks them and stops them.
fn round(count: usize, main: Main) {
    let Some(world) = World::new() else { return };
    let mut folders: Vec<PathBuf> = (0..count).map(|n| world.worktree(&format!("w{n}"))).collect();
    if main == Main::IsWrittenTo {
        world.devrun(&world.sandbox.main(), &["up", "-d"]);
        world.sql(&world.sandbox.main(), "create table written (n int)");
    }
    let (ended, written) = while_written_to(&world, main, || {
        if main == Main::Starts {
            folders.push(world.sandbox.main());
        }
        let start = |folder: &PathBuf| world.sandbox.devrun(&["up", "-d"]).directory(folder).start();
        let all: Vec<Running> = folders.iter().map(start).collect();
        all.into_iter().map(Running::wait).collect::<Vec<Ended>>()
    });
    let mut runs: BTreeMap<String, u32> = BTreeMap::new();
    for database in world.migrated() {
        *runs.entry(database).or_default() += 1;
    }
    let state = |folder: &PathBuf| {
        let state = world.ask(folder, &["status"]);
        // The log and the databases explain a state that is not as expected.
        let is_fine = state["exists"] == true;
        let said = (!is_fine).then(|| {
            let log = world.devrun(folder, &["logs", "devrun"]);
            format!("{}\n{log}", world.ask(folder, &["list"]))
        });
        (state, said)
    };
    let states: Vec<_> = folders.iter().map(state).collect();
    if main == Main::IsWrittenTo {
        folders.push(world.sandbox.main());
        let rows = world.sql(&world.sandbox.main(), "select count(*) from written");
        assert_eq!(rows, written.to_string(), "a write of main is lost");
    }
    for folder in &folders {
        world.devrun(folder, &["down"]);
    }
    for ended in &ended {
        assert_eq!(ended.code, Some(0), "{ended}");
        assert!(!ended.stderr.contains("connection"), "{ended}");
    }
    let expected = if main == Main::IsWrittenTo { "up-to-date" } else { "empty" };
    for (state, said) in &states {
        assert_eq!(state["migrations"], expected, "{state:#}\n{}", said.as_deref().unwrap_or_default());
    }
    assert!(runs.values().all(|count| *count == 1), "{runs:?}");
}

/// Calls `action`. With [`Main::IsWrittenTo`], another thread writes to main's database at the same time, each row through a new
/// connection. Returns the result of `action` and the number of rows. Panics if a write fails.
fn while_written_to<T>(world: &World, main: Main, action: impl FnOnce() -> T) -> (T, u32) {
    let is_over = AtomicBool::new(main != Main::IsWrittenTo);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut rows = 0;
            while !is_over.load(Ordering::Relaxed) {
                world.sql(&world.sandbox.main(), "insert into written values (1)");
                rows += 1;
            }
            rows
        });
        let over = Raise(&is_over);
        let done = action();
        drop(over);
        (done, writer.join().expect("every write succeeds"))
    })
}

#[test]
fn two_new_worktrees_start_at_once() {
    round(2, Main::Starts);
}

#[test]
fn five_new_worktrees_start_at_once() {
    round(5, Main::Idle);
}

#[test]
fn new_worktrees_start_while_main_is_written_to() {
    round(5, Main::IsWrittenTo);
}

#[test]
fn ten_new_worktrees_start_while_main_is_written_to() {
    round(10, Main::IsWrittenTo);
}

#[test]
#[ignore = "repeats the other tests 30 times, to find rare races: `cargo test --test integration -- --ignored together`"]
fn many_rounds_of_new_worktrees_start_at_once() {
    let mains = [Main::Idle, Main::Starts, Main::IsWrittenTo].into_iter().cycle();
    for (count, main) in [2, 5, 10, 10, 2, 5, 5, 10, 2].repeat(4).into_iter().zip(mains).take(30) {
        round(count, main);
    }
}
