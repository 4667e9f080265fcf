//! Databases that the programs of a worktree create themselves.

use std::path::Path;

use serde_json::{Value, json};

use super::World;
use crate::asking::fine;

/// Returns the names of the databases, each with its branch and the branch database that it belongs to.
fn databases(world: &World, worktree: &Path) -> Vec<Value> {
    let list = world.ask(worktree, &["list"]);
    let all = list["databases"].as_array().unwrap();
    all.iter().map(|entry| json!([entry["name"], entry["git_branch"], entry["creator"]])).collect()
}

#[test]
fn databases_of_programs_belong_to_the_worktree_and_are_deleted_with_it() {
    let Some(world) = World::new() else { return };
    let (x, y) = (world.worktree("x"), world.worktree("y"));
    for worktree in [&x, &y] {
        world.ask(worktree, &["migrate"]);
    }
    // Prisma creates its database while it is connected to the branch database, Django while it is connected to `postgres`.
    let create = "psql -Xq \"$DATABASE_URL\" -c 'create database shadow' && \
        psql -Xq \"${DATABASE_URL%/*}/postgres\" -c 'create database \"test_dev-y_1\"'";
    fine(world.sandbox.devrun(&["exec", "--", "sh", "-c", create]).directory(&x));
    let expected = [
        json!(["dev-main", "main", null]),
        json!(["dev-x", "x", null]),
        json!(["dev-y", "y", null]),
        json!(["shadow", "x", "dev-x"]),
        json!(["test_dev-y_1", "y", "dev-y"]),
    ];
    assert_eq!(databases(&world, &y), expected);
    let deleted = fine(world.db(&x, &["delete", "--yes"]));
    assert!(deleted.stderr.contains("deleted shadow too"), "{deleted}");
    assert_eq!(databases(&world, &y), [expected[0].clone(), expected[2].clone(), expected[4].clone()]);
    world.ask(&y, &["delete", "test_dev-y_1", "--yes"]);
    assert_eq!(databases(&world, &y), [expected[0].clone(), expected[2].clone()]);
    assert_eq!(world.sandbox.processes(), [], "something still runs");
}
