//! `devrun db start` and `devrun db stop`.

use super::World;
use crate::asking::fine;

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
    // The next server is one that its last user stops.
    world.ask(&main, &["migrate"]);
    assert_eq!(world.sandbox.processes(), [], "the server is still there");
}
