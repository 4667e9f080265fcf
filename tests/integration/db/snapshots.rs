//! Snapshots of branch databases that users name.

use super::World;
use crate::asking::{fine, refusal};
use crate::support::{LIMIT, wait_for};

/// Returns the number of databases of the server that hold snapshots.
fn saved(world: &World, worktree: &std::path::Path) -> String {
    world.sql(worktree, "select count(*) from pg_database where starts_with(datname, '_devrun-saved-')")
}

#[test]
fn snapshot_is_restored_with_rows_and_migrations() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    world.sql(&x, "create table leads as select 'kept' as name");
    let saved = world.ask(&x, &["snapshot", "before"]);
    assert_eq!((&saved["snapshot"], &saved["database"]), (&"before".into(), &"dev-x".into()), "{saved:#}");
    world.sql(&x, "drop table leads");
    let id = world.ask(&x, &["status"])["id"].clone();
    let ran = world.migrated().len();
    let restored = world.ask(&x, &["restore", "before", "--yes"]);
    assert_eq!((&restored["restored"], &restored["name"]), (&true.into(), &"dev-x".into()), "{restored:#}");
    assert_ne!(restored["id"], id);
    assert_eq!(world.sql(&x, "select name from leads"), "kept");
    assert_eq!(world.migrated().len(), ran, "the snapshot was migrated with the same files");
    let status = world.ask(&x, &["status"]);
    assert_eq!((&status["parent"], &status["git_branch"]), (&"dev-main".into(), &"x".into()), "{status:#}");
    assert_eq!(status["snapshots"], serde_json::json!(["before"]));
    // A snapshot can be restored again, and a restored database can be reset.
    let text = fine(world.db(&x, &["restore", "before", "--yes"])).stdout;
    assert!(text.starts_with("dev-x is a copy of its snapshot before: already migrated in"), "{text}");
    world.ask(&x, &["reset", "--yes"]);
    assert_eq!(world.sql(&x, "select to_regclass('leads') is null"), "t");
    assert_eq!(world.ask(&x, &["status"])["snapshots"], serde_json::json!(["before"]));
}

#[test]
fn snapshots_are_listed_replaced_and_deleted_with_their_database() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    assert!(fine(world.db(&x, &["snapshots"])).stdout.starts_with("There is no snapshot"));
    refusal(world.db(&x, &["snapshot", "a", "--json"]), "database-missing", 84);
    world.ask(&x, &["migrate"]);
    refusal(world.db(&x, &["snapshot", "a b", "--json"]), "usage", 2);
    world.ask(&x, &["snapshot", "a"]);
    world.sql(&x, "create table leads as select 1 as n");
    let error = refusal(world.db(&x, &["snapshot", "a", "--json"]), "usage", 2);
    assert!(error["fix"].as_str().unwrap().contains("--replace"), "{error:#}");
    world.ask(&x, &["snapshot", "a", "--replace"]);
    world.ask(&x, &["snapshot", "b"]);
    let listed = world.ask(&x, &["snapshots"]);
    let names: Vec<_> = listed["snapshots"].as_array().unwrap().iter().map(|one| &one["snapshot"]).collect();
    assert_eq!(names, ["a", "b"], "{listed:#}");
    assert!(fine(world.db(&x, &["list"])).stdout.contains("a, b"), "`list` names the snapshots");
    let error = refusal(world.db(&x, &["restore", "c", "--yes", "--json"]), "database-missing", 84);
    assert_eq!(error["fix"], "it has: a, b");
    world.sql(&x, "drop table leads");
    world.ask(&x, &["restore", "a", "--yes"]);
    assert_eq!(world.sql(&x, "select n from leads"), "1", "the replaced snapshot has the table");
    world.ask(&x, &["snapshot", "b", "--delete"]);
    assert_eq!(saved(&world, &x), "1");
    world.ask(&x, &["delete", "--yes"]);
    world.ask(&x, &["migrate"]);
    assert_eq!(saved(&world, &x), "0");
}

#[test]
fn restore_asks_and_refuses_while_a_stack_runs() {
    let Some(world) = World::new() else { return };
    let main = world.sandbox.main();
    world.devrun(&main, &["up", "-d"]);
    // The database is in use by no program, but the stack may use it at any time.
    world.ask(&main, &["snapshot", "a"]);
    let error = refusal(world.db(&main, &["restore", "a", "--yes", "--json"]), "already-running", 88);
    assert_eq!(error["fix"], "devrun down, then run this command again");
    world.devrun(&main, &["down"]);
    let error = refusal(world.db(&main, &["restore", "a", "--json"]), "not-confirmed", 2);
    assert_eq!(error["fix"], "if you mean it: devrun db restore a --yes");
    world.ask(&main, &["restore", "a", "--yes"]);
    let listed = world.ask(&main, &["list"]);
    assert_eq!(listed["databases"].as_array().unwrap().len(), 1, "{listed:#}");
}

#[test]
fn database_in_use_is_copied_beside_its_sessions() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    world.sql(&x, "create table leads as select 1 as n");
    let session = world.db(&x, &["psql", "--", "-Xc", "begin", "-c", "select pg_sleep(600)"]).start();
    wait_for("the session", LIMIT, || {
        let all = world.sandbox.processes();
        let works = all.iter().any(|process| process.command.contains("SELECT"));
        if works { Ok(()) } else { Err(format!("{all:#?}")) }
    });
    world.ask(&x, &["snapshot", "a"]);
    // A restore ends the sessions, as a reset does.
    let restored = fine(world.db(&x, &["restore", "a", "--yes"]));
    assert!(restored.stderr.contains("dev-x was in use: 1 connection to it was closed"), "{restored}");
    assert_eq!(session.wait().code, Some(2));
    assert_eq!(world.sql(&x, "select n from leads"), "1");
}

#[test]
fn snapshots_follow_a_renamed_branch() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    world.ask(&x, &["snapshot", "a"]);
    world.sandbox.program("git", &["branch", "-m", "x", "y"]).directory(&x).run();
    world.ask(&x, &["migrate"]);
    let status = world.ask(&x, &["status"]);
    assert_eq!((&status["name"], &status["snapshots"]), (&"dev-y".into(), &serde_json::json!(["a"])));
    world.ask(&x, &["restore", "a", "--yes"]);
}
