//! The shared server and the control group of the run that starts it.

use devrun::testing::os::proc;

use super::World;
use crate::supervise::groups::{expect_group, has_groups};
use crate::support::{LIMIT, wait_for};

#[test]
fn the_server_is_outside_the_control_group_of_the_run_that_starts_it() {
    let Some(world) = World::new() else { return };
    if !has_groups() {
        return;
    }
    let x = world.worktree("x");
    world.devrun(&x, &["up", "-d"]);
    let group = expect_group(&x);
    let commands = wait_for("the processes in the group", LIMIT, || {
        let commands: Vec<String> = group.members().into_iter().filter_map(proc::command_of).collect();
        let has_web = commands.iter().any(|command| command.contains("devrun-fixture"));
        if has_web { Ok(commands) } else { Err(format!("{commands:?}")) }
    });
    assert!(!commands.iter().any(|command| command.contains("postgres")), "{commands:?}");
    // A second run of the repository uses the server, which keeps running after the end of the first run.
    let y = world.worktree("y");
    world.devrun(&y, &["up", "-d"]);
    world.devrun(&x, &["down"]);
    assert_eq!(world.sql(&y, "select 1"), "1");
    world.devrun(&y, &["down"]);
}
