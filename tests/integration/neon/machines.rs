//! Several devruns at once, also on independent machines, and the rate of their requests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{World, creations, ready, stop};
use crate::support::neon::{Call, KEY, PROJECT};
use crate::support::{Invocation, LIMIT, Running, kill_both, wait_for};

/// A second machine: another clone, and no shared folder or lock.
struct Machine<'a> {
    world: &'a World,
    home: PathBuf,
    runtime: PathBuf,
    repository: PathBuf,
}

impl<'a> Machine<'a> {
    fn new(world: &'a World) -> Machine<'a> {
        let home = world.sandbox.path().join("elsewhere");
        let runtime = world.sandbox.runtime().join("e");
        std::fs::create_dir_all(&runtime).unwrap();
        let repository = home.join("repo");
        let from = world.sandbox.main();
        world.sandbox.git(&["clone", "-q", from.to_str().unwrap(), repository.to_str().unwrap()]);
        let env = format!("NEON_API_KEY={KEY}\nNEON_PROJECT_ID={PROJECT}\n");
        world.sandbox.write(&repository.join(".env"), &env);
        Machine { world, home, runtime, repository }
    }

    fn devrun(&self, worktree: &Path) -> Invocation {
        let Machine { world, home, runtime, .. } = self;
        world
            .devrun(worktree, &[])
            .env("HOME", home)
            .env("XDG_STATE_HOME", home.join("state"))
            .env("XDG_DATA_HOME", home.join("data"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_RUNTIME_DIR", runtime)
    }
}

/// Makes worktrees of `repository`, all on the git branch `together`.
fn on_one_branch(world: &World, repository: &Path, name: &str, count: usize) -> Vec<PathBuf> {
    let repository = repository.to_str().unwrap();
    world.sandbox.git(&["-C", repository, "branch", "together"]);
    let folders = (0..count).map(|at| world.sandbox.path().join(format!("{name}{at}")));
    folders
        .inspect(|folder| {
            let folder = folder.to_str().unwrap();
            world.sandbox.git(&["-C", repository, "worktree", "add", "-q", "-f", folder, "together"]);
        })
        .collect()
}

fn remembered(world: &World, worktree: &Path) -> String {
    let folder = world.sandbox.git(&["-C", worktree.to_str().unwrap(), "rev-parse", "--absolute-git-dir"]);
    let record = std::fs::read(Path::new(&folder).join("devrun/neon.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    record["branch"].as_str().unwrap().into()
}

#[test]
fn ten_at_once_on_two_machines_make_one_branch_and_migrate_once() {
    let Some(world) = World::new("") else { return };
    let machine = Machine::new(&world);
    let here = on_one_branch(&world, &world.sandbox.main(), "here", 5);
    let there = on_one_branch(&world, &machine.repository, "there", 5);
    let mut running: Vec<Running> = Vec::new();
    for (one, other) in here.iter().zip(&there) {
        running.push(world.devrun(one, &[]).start());
        running.push(machine.devrun(other).start());
    }
    let running: Vec<Running> = running.into_iter().map(ready).collect();
    let branch = world.neon.branch("dev-together").unwrap();
    for worktree in here.iter().chain(&there) {
        assert_eq!(remembered(&world, worktree), branch.id);
    }
    for running in running {
        stop(running);
    }
    let calls = world.neon.take_calls();
    assert_eq!(creations(&calls), 1, "{calls:#?}");
    assert_eq!(world.migrated().len(), 1, "{:?}", world.migrated());
    assert_eq!(world.neon.sql("dev-together", "select branch_id from _devrun.marker"), [branch.id]);
    assert_eq!(world.neon.state().branches.len(), 2);
}

/// Returns the mean calls per second from the first to the last. The mean, because on a busy machine calls come in bursts.
fn pace(calls: &[&Call]) -> f64 {
    let times = calls.iter().map(|call| call.at);
    let (Some(first), Some(last)) = (times.clone().min(), times.max()) else { return 0.0 };
    #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
    let count = (calls.len() - 1) as f64;
    count / (last - first).as_secs_f64()
}

#[test]
fn devruns_of_one_machine_share_a_poll_rate() {
    const COUNT: usize = 8;
    let Some(world) = World::new("") else { return };
    // Long enough that all of them wait at the same time.
    world.neon.state().step = Duration::from_secs(1);
    let folders: Vec<PathBuf> =
        (0..COUNT).map(|at| world.worktree(&format!("t{at}"), &format!("b{at}"))).collect();
    let mut running: Vec<Running> = folders.iter().map(|folder| world.devrun(folder, &[]).start()).collect();
    // A devrun that dies during its turn does not block the others.
    let is_poll = |call: &Call| call.path.starts_with("/operations");
    wait_for("the first polls", LIMIT, || {
        let count = world.neon.state().calls.iter().filter(|call| is_poll(call)).count();
        if count >= COUNT { Ok(()) } else { Err(format!("{count} so far")) }
    });
    let killed = running.remove(0);
    kill_both(killed.pid());
    killed.wait();
    let running: Vec<Running> = running.into_iter().map(ready).collect();
    for running in running {
        stop(running);
    }
    let calls = world.neon.take_calls();
    world.run(&folders[0], &[]);
    let polls: Vec<&Call> = calls.iter().filter(|call| is_poll(call)).collect();
    assert!(polls.len() >= 2 * COUNT, "hardly anything was waited for: {}", polls.len());
    let pace = pace(&polls);
    assert!(pace <= 10.0, "{} polls, {pace:.1} a second", polls.len());
}
