//! `database.seed`: the parent is filled once, after its first migrations.

use std::path::Path;

use nix::sys::signal::Signal;

use super::World;
use crate::asking::{fine, refusal};
use crate::support::{LIMIT, wait_for};

/// Makes a repository whose migration creates the table `users`, with `seed` as the value of `database.seed`.
fn world(seed: &str) -> Option<World> {
    let world = World::with(&format!("  seed: {seed}"))?;
    let main = world.sandbox.main();
    let config = std::fs::read_to_string(main.join("devrun.yaml")).unwrap();
    let migrate =
        "psql -Xqc \"create table if not exists users (name text primary key)\" \"$DATABASE_URL\"; echo ";
    world.sandbox.write(
        &main.join("devrun.yaml"),
        &config.replacen("    run: 'echo ", &format!("    run: '{migrate}"), 1),
    );
    world.sandbox.write(
        &main.join("seed.sql"),
        "insert into users values ('ada');\ninsert into users values ('bob');\n",
    );
    world.sandbox.git(&["add", "-A"]);
    world.sandbox.git(&["commit", "-q", "-m", "seed"]);
    Some(world)
}

fn users(world: &World, worktree: &Path) -> String {
    world.sql(worktree, "select string_agg(name, ',' order by name) from users")
}

#[test]
fn file_of_sql_fills_the_parent_once_and_branches_have_its_rows() {
    let Some(world) = world("{ file: seed.sql }") else { return };
    let (x, main) = (world.worktree("x"), world.sandbox.main());
    // The worktree has the files of the default branch, so it makes, migrates and seeds the parent.
    world.ask(&x, &["migrate"]);
    assert_eq!(world.migrated(), ["dev-main"]);
    assert_eq!((users(&world, &x), users(&world, &main)), ("ada,bob".into(), "ada,bob".into()));
    world.sql(&main, "delete from users where name = 'bob'");
    world.sandbox.write(&main.join("migrations/2.sql"), "select 2;\n");
    let again = world.ask(&main, &["migrate"]);
    assert!(!again["migrated"].as_str().unwrap().contains("seeded"), "{again:#}");
    assert_eq!(users(&world, &main), "ada");
    // An emptied database is seeded again.
    let empty = ["psql", "--", "-c", "drop schema public, _devrun cascade", "-c", "create schema public"];
    fine(world.db(&main, &empty));
    let again = world.ask(&main, &["migrate"]);
    assert!(again["migrated"].as_str().unwrap().contains("seeded in "), "{again:#}");
    assert_eq!(users(&world, &main), "ada,bob");
}

#[test]
fn failed_seed_leaves_nothing_and_runs_again() {
    let Some(world) = world("{ file: seed.sql }") else { return };
    let (x, main) = (world.worktree("x"), world.sandbox.main());
    let broken = "insert into users values ('ada');\ninsert into nowhere values (1);\n";
    world.sandbox.write(&main.join("seed.sql"), broken);
    let error = refusal(world.db(&main, &["migrate", "--json"]), "seed-failed", 85);
    assert!(error["message"].as_str().unwrap().starts_with("seeding dev-main failed: `"), "{error:#}");
    assert!(error["cause"].as_str().unwrap().contains("seed.sql:2: ERROR:"), "{error:#}");
    assert_eq!(users(&world, &main), "", "psql applies the file in one transaction");
    // A branch with the files of the default branch seeds the parent before it copies it.
    world.ask(&x, &["migrate"]);
    assert_eq!((users(&world, &x), users(&world, &main)), ("ada,bob".into(), "ada,bob".into()));
    let again = world.ask(&main, &["migrate"]);
    assert_eq!(again["migrated"], "up to date");
}

#[test]
fn command_gets_the_url_and_a_failed_one_is_explained() {
    let command = "{ run: 'test ! -e broken || exit 3; psql -Xqc \"insert into users values (current_database())\" \"$DATABASE_URL\"' }";
    let Some(world) = world(command) else { return };
    let main = world.sandbox.main();
    world.sandbox.write(&main.join("broken"), "");
    let error = refusal(world.db(&main, &["migrate", "--json"]), "seed-failed", 85);
    assert_eq!((&error["fault"], &error["exit"]), (&"code".into(), &85.into()), "{error:#}");
    std::fs::remove_file(main.join("broken")).unwrap();
    world.devrun(&main, &["up", "-d"]);
    world.devrun(&main, &["down"]);
    assert_eq!(users(&world, &main), "dev-main");
}

#[test]
fn database_with_rows_is_never_seeded() {
    let Some(world) = world("'exit 1'") else { return };
    let main = world.sandbox.main();
    let config = std::fs::read_to_string(main.join("devrun.yaml")).unwrap();
    world.sandbox.write(&main.join("devrun.yaml"), &config.replace("  seed: 'exit 1'\n", ""));
    world.ask(&main, &["migrate"]);
    world.sandbox.write(&main.join("devrun.yaml"), &config);
    world.ask(&main, &["migrate"]);
    assert_eq!(users(&world, &main), "");
}

#[test]
fn dump_fills_the_tables_except_those_of_migration_tools() {
    let Some(world) = world("{ file: seed.dump }") else { return };
    let main = world.sandbox.main();
    let config = std::fs::read_to_string(main.join("devrun.yaml")).unwrap();
    world.sandbox.write(&main.join("devrun.yaml"), &config.replace("  seed: { file: seed.dump }\n", ""));
    world.ask(&main, &["migrate"]);
    let rows = "insert into users values ('ada'); create table alembic_version as select '1' as version_num";
    world.sql(&main, rows);
    let dump = main.join("seed.dump");
    world.devrun(&main, &["exec", "--", "pg_dump", "-Fc", "-f", dump.to_str().unwrap()]);
    let empty = ["psql", "--", "-c", "drop schema public, _devrun cascade", "-c", "create schema public"];
    fine(world.db(&main, &empty));
    world.sandbox.write(&main.join("devrun.yaml"), &config);
    world.ask(&main, &["migrate"]);
    assert_eq!(users(&world, &main), "ada");
}

#[test]
fn killed_seed_does_not_count_and_runs_again() {
    // The command writes a row. If the file `held` exists, the command then sleeps until the test kills it.
    let command = "{ run: 'psql -Xqc \"insert into users values (now()::text)\" \"$DATABASE_URL\"; touch begun; [ ! -e held ] || exec sleep 601' }";
    let Some(world) = world(command) else { return };
    let main = world.sandbox.main();
    world.sandbox.write(&main.join("held"), "");
    let seeding = world.db(&main, &["migrate"]).start();
    let begun = main.join("begun");
    wait_for("the first rows", LIMIT, || if begun.exists() { Ok(()) } else { Err("none".into()) });
    seeding.signal(Signal::SIGKILL);
    seeding.wait();
    assert_eq!(world.sql(&main, "select done from _devrun.seed"), "f");
    std::fs::remove_file(main.join("held")).unwrap();
    let again = world.ask(&main, &["migrate"]);
    assert!(again["migrated"].as_str().unwrap().contains("seeded in "), "{again:#}");
    assert_eq!(world.sql(&main, "select done from _devrun.seed"), "t");
    assert_eq!(
        world.sql(&main, "select count(*) from users"),
        "1",
        "the rows of the killed attempt are gone"
    );
    assert_eq!(world.sandbox.processes(), [], "a process of the killed attempt is still there");
}

#[test]
fn killed_seed_of_sql_has_left_no_rows() {
    let Some(world) = world("{ file: seed.sql }") else { return };
    let main = world.sandbox.main();
    world.sandbox.write(
        &main.join("seed.sql"),
        "insert into users select generate_series(1, 5000);\nselect pg_sleep(600);\n",
    );
    let seeding = world.db(&main, &["migrate"]).start();
    let asleep = "select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()";
    wait_for("the rows to be there", LIMIT, || {
        let answer = world.db(&main, &["psql", "--", "-XAtc", asleep]).run().stdout;
        if answer.trim() == "1" { Ok(()) } else { Err(answer) }
    });
    seeding.signal(Signal::SIGKILL);
    seeding.wait();
    world.sandbox.write(&main.join("seed.sql"), "insert into users values ('ada');\n");
    world.ask(&main, &["migrate"]);
    assert_eq!(users(&world, &main), "ada");
    assert_eq!(world.sandbox.processes(), [], "a process of the killed attempt is still there");
}
