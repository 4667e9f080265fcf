//! `devrun db start` and `devrun db stop`.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::World;
use crate::asking::{fine, json};
use crate::support::{LIMIT, wait_for};

#[test]
fn server_runs_without_a_stack_until_it_is_stopped() {
    let Some(world) = World::new() else { return };
    let main = world.sandbox.main();
    assert_eq!(fine(world.db(&main, &["stop"])).stdout, "The database server is stopped.\n");
    assert_eq!(world.ask(&main, &["start"])["server"], "running");
    world.ask(&main, &["migrate"]);
    world.devrun(&main, &["up", "-d"]);
    let stopped = fine(world.db(&main, &["stop"])).stdout;
    assert_eq!(stopped, "The database server runs until the last stack that uses it ends.\n");
    world.ask(&main, &["start"]);
    world.devrun(&main, &["down"]);
    assert_eq!(world.ask(&main, &["status"])["server"], "running");
    assert_eq!(world.ask(&main, &["stop"])["server"], "stopped");
    assert_eq!(world.sandbox.processes(), [], "the server is still there");
    // A later server stops with its last user, as before `db start`.
    world.ask(&main, &["migrate"]);
    assert_eq!(world.sandbox.processes(), [], "the server is still there");
}

/// Kills the database server, and waits until all its processes have ended.
fn kill_server(world: &World) {
    for pid in servers(world) {
        // The others end by themselves after the first.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    wait_for("the end of the server", LIMIT, || match servers(world).len() {
        0 => Ok(()),
        count => Err(format!("{count} processes")),
    });
}

fn servers(world: &World) -> Vec<i32> {
    let all = world.sandbox.processes().into_iter();
    all.filter(|process| process.command.contains("postgres")).map(|process| process.pid).collect()
}

#[test]
fn status_reports_the_state_that_the_server_has_afterwards() {
    let Some(world) = World::new() else { return };
    let main = world.sandbox.main();
    world.ask(&main, &["migrate"]);
    assert_eq!(world.ask(&main, &["status"])["server"], "stopped");
    assert!(servers(&world).is_empty());
    world.devrun(&main, &["up", "-d"]);
    kill_server(&world);
    // `status` starts the server again, which then keeps running for the stack.
    let shown = fine(world.db(&main, &["status"])).stdout;
    assert!(shown.contains("Postgres    running\n"), "{shown}");
    assert!(!servers(&world).is_empty());
    world.devrun(&main, &["down"]);
    assert_eq!(world.sandbox.processes(), [], "the server is still there");
}

#[test]
fn up_and_restart_start_a_killed_server_of_a_running_stack_again() {
    let Some(world) = World::new() else { return };
    let main = world.sandbox.main();
    world.devrun(&main, &["up", "-d"]);
    kill_server(&world);
    let why = json(&world.devrun(&main, &["why", "--json"]));
    assert_eq!(why["summary"], "the database server is not running", "{why:#}");
    assert_eq!((&why["fault"], &why["fix"]), (&"environment".into(), &"devrun up -d".into()), "{why:#}");
    let ended = world.devrun(&main, &["up", "-d"]);
    assert!(ended.stderr.contains("the database server was not running; it was started again"), "{ended}");
    assert_eq!(world.ask(&main, &["status"])["server"], "running");
    assert_eq!(world.sql(&main, "select 1"), "1");
    let again = world.devrun(&main, &["up", "-d"]);
    assert!(!again.stderr.contains("started again"), "{again}");
    kill_server(&world);
    let restarted = world.devrun(&main, &["restart"]);
    assert!(restarted.stderr.contains("it was started again"), "{restarted}");
    assert_eq!(world.ask(&main, &["status"])["server"], "running");
    world.devrun(&main, &["down"]);
    assert_eq!(world.sandbox.processes(), [], "the server is still there");
}
