//! `devrun status` of a running stack compares the database with the migrations.

use std::path::Path;

use super::World;
use crate::asking::{answer, fine};

fn notices(world: &World, worktree: &Path) -> Vec<String> {
    let status = answer(&world.sandbox, worktree, "status");
    let all = status["notices"].as_array().cloned().unwrap_or_default();
    all.iter().map(|notice| notice["text"].as_str().unwrap().to_string()).collect()
}

#[test]
fn status_names_objects_that_no_migration_makes_and_revisions_without_a_file() {
    let Some(world) = World::new() else { return };
    let main = world.sandbox.main();
    let config = std::fs::read_to_string(main.join("devrun.yaml")).unwrap();
    let lines = config.lines().filter(|line| !line.starts_with("    run: 'echo"));
    let config = lines.collect::<Vec<_>>().join("\n").replace("    inputs:", "    sql:");
    world.sandbox.write(&main.join("devrun.yaml"), &config);
    world.sandbox.write(&main.join("migrations/1.sql"), "create table users (id int primary key);\n");
    world.sandbox.write(&main.join("migrations/2.sql"), "create table bills (id int primary key);\n");
    world.devrun(&main, &["up", "-d"]);
    assert_eq!(notices(&world, &main), [""; 0]);
    world.sql(
        &main,
        "create table notes (n int primary key); alter table users add age int; create temp table t (n int)",
    );
    let objects = "dev-main has objects that no migration makes: table public.notes, column public.users.age";
    assert_eq!(notices(&world, &main), [objects]);
    std::fs::remove_file(main.join("migrations/2.sql")).unwrap();
    let ahead = "dev-main is ahead of the code: no migration file of this worktree makes migrations/2.sql";
    assert_eq!(notices(&world, &main), [ahead, objects]);
    let text = fine(world.sandbox.devrun(&["status"]).directory(&main)).stdout;
    assert!(text.contains("notice: dev-main has objects"), "{text}");
    world.devrun(&main, &["down"]);
    assert_eq!(notices(&world, &main), [""; 0], "nothing is started for the comparison");
    assert_eq!(world.sandbox.processes(), [], "a server is still there");
}
