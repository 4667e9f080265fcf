//! The effects of `reset` and `delete`, also at the same time, on open sessions, and if the command is killed.

use super::World;
use crate::asking::fine;
use crate::support::{LIMIT, wait_for};

#[test]
fn reset_restores_the_parents_rows_and_migrates() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    let main = world.sandbox.main();
    world.ask(&main, &["migrate"]);
    world.sql(&main, "create table leads as select 'parent' as name");
    world.ask(&x, &["migrate"]);
    world.sql(&x, "insert into leads values ('mine')");
    world.sandbox.write(&x.join("migrations/2.sql"), "select 2;\n");
    let before = world.ask(&x, &["migrate"]);
    assert_eq!(world.migrated(), ["dev-main", "dev-x"]);
    world.sql(&main, "insert into leads values ('new in parent')");

    let reset = world.ask(&x, &["reset", "--yes"]);
    assert_eq!((&reset["reset"], &reset["parent"]), (&true.into(), &"dev-main".into()), "{reset:#}");
    assert_ne!(reset["id"], before["id"]);
    assert!(reset["migrated"].as_str().unwrap().starts_with("migrated in"), "{reset:#}");
    assert_eq!(world.migrated(), ["dev-main", "dev-x", "dev-x"]);
    assert_eq!(
        world.sql(&x, "select string_agg(name, ',' order by name) from leads"),
        "new in parent,parent"
    );
    assert_eq!(world.sql(&main, "select count(*) from leads"), "2", "the parent is as it was");
    assert_eq!(world.ask(&x, &["status"])["migrations"], "up-to-date");
    let text = fine(world.db(&x, &["reset", "--yes"])).stdout;
    assert!(text.starts_with("dev-x is a copy of dev-main again: migrated in "), "{text}");
    // A later run does not migrate.
    world.devrun(&x, &["up", "-d"]);
    world.devrun(&x, &["down"]);
    assert_eq!(world.migrated().len(), 4);
    assert_eq!(world.sandbox.processes(), [], "something still runs");
}

#[test]
fn reset_of_another_worktree_migrates_on_its_next_run() {
    let Some(world) = World::new() else { return };
    let (x, y) = (world.worktree("x"), world.worktree("y"));
    world.sandbox.write(&x.join("migrations/2.sql"), "select 2;\n");
    world.ask(&x, &["migrate"]);
    let before = world.migrated().len();
    let text = fine(world.db(&y, &["reset", "dev-x", "--yes"])).stdout;
    assert!(text.contains("the next `devrun` of its worktree migrates it"), "{text}");
    assert_eq!(world.migrated().len(), before);
    let status = world.ask(&x, &["status"]);
    assert_eq!(
        (&status["migrations"], &status["git_branch"]),
        (&"unmigrated".into(), &"x".into()),
        "{status:#}"
    );
    world.ask(&x, &["migrate"]);
    assert_eq!(world.migrated().len(), before + 1);
}

#[test]
fn sessions_are_closed_and_reported() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    for verb in ["reset", "delete"] {
        let session = world.db(&x, &["psql", "--", "-Xc", "begin", "-c", "select pg_sleep(600)"]).start();
        wait_for("the session", LIMIT, || {
            let all = world.sandbox.processes();
            let works = all.iter().any(|process| process.command.contains("SELECT"));
            if works { Ok(()) } else { Err(format!("{all:#?}")) }
        });
        let ended = fine(world.db(&x, &[verb, "--yes"]));
        if verb == "reset" {
            let told = "dev-x was in use: 1 connection to it was closed (1 of psql)";
            assert!(ended.stderr.contains(told), "{ended}");
        }
        let session = session.wait();
        assert_eq!(session.code, Some(2), "{session}");
    }
}

#[test]
fn two_resets_at_once_take_turns() {
    let Some(world) = World::new() else { return };
    let (x, y) = (world.worktree("x"), world.worktree("y"));
    world.ask(&x, &["migrate"]);
    world.ask(&y, &["migrate"]);
    let one = world.db(&x, &["reset", "--yes"]).start();
    let two = world.db(&x, &["reset", "--yes"]).start();
    let three = world.db(&y, &["reset", "--yes"]).start();
    for running in [one, two, three] {
        let ended = running.wait();
        assert_eq!(ended.code, Some(0), "{ended}");
    }
    let list = world.ask(&x, &["list"]);
    assert_eq!(list["databases"].as_array().unwrap().len(), 3, "{list:#}");
    assert_eq!(world.ask(&x, &["status"])["migrations"], "empty");
}

#[test]
fn killed_reset_leaves_a_complete_database() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    let reset = world.held_reset(&x);
    reset.signal(nix::sys::signal::Signal::SIGKILL);
    reset.wait();
    world.hold(false);
    assert_eq!(world.ask(&x, &["status"])["migrations"], "unmigrated");
    assert_eq!(world.ask(&x, &["migrate"])["made"], false);
    assert_eq!(world.ask(&x, &["status"])["migrations"], "empty");
    assert_eq!(world.migrated().len(), 3);
}

#[test]
fn default_branchs_database_starts_over_with_the_command_that_the_refusal_names() {
    let Some(world) = World::new() else { return };
    let main = world.sandbox.main();
    world.ask(&main, &["migrate"]);
    world.sql(&main, "create table half as select 1");
    let refused = world.db(&main, &["reset", "--yes"]).run();
    let command = "devrun db psql dev-main -- -c 'drop schema if exists public, _devrun cascade' -c 'create schema public'";
    assert!(refused.stderr.contains(command), "{refused}");
    let drop = "drop schema if exists public, _devrun cascade";
    fine(world.db(&main, &["psql", "dev-main", "--", "-c", drop, "-c", "create schema public"]));
    assert_eq!(world.ask(&main, &["status"])["migrations"], "unmigrated");
    world.ask(&main, &["migrate"]);
    assert_eq!(world.migrated().len(), 2);
    assert_eq!(world.sql(&main, "select to_regclass('half') is null"), "t");
}
