//! Migrations that are plain files of SQL.

use std::path::Path;

use regex::Regex;

use super::World;

/// Makes a repository whose migrations are `sql: [db/init.sql, migrations/*.sql]`. Returns `None` without Postgres.
fn world() -> Option<World> {
    let world = World::new()?;
    let config = world.sandbox.main().join("devrun.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let run = Regex::new(r"(?s)    run: '.*?migrations/\*\.sql\]\n").unwrap();
    let text = run.replace(&text, "    sql: [db/init.sql, 'migrations/*.sql']\n");
    world.sandbox.write(&config, &text);
    write(
        &world,
        &world.sandbox.main(),
        "db/init.sql",
        "create table a (n int); insert into a values (0);\n",
    );
    write(&world, &world.sandbox.main(), "migrations/1.sql", "insert into a values (1);\n");
    world.sandbox.git(&["add", "-A"]);
    world.sandbox.git(&["commit", "-q", "-m", "sql"]);
    Some(world)
}

fn write(world: &World, folder: &Path, file: &str, text: &str) {
    world.sandbox.write(&folder.join(file), text);
}

const ROWS: &str = "select string_agg(n::text, ',' order by n) from a";

#[test]
fn each_file_is_applied_once_and_a_new_one_by_itself() {
    let Some(world) = world() else { return };
    let x = world.worktree("x");
    // A variable of the user that would lead psql to another server.
    let first = world.db(&x, &["migrate"]).env("PGHOSTADDR", "192.0.2.1").run();
    assert_eq!(first.code, Some(0), "{first}");
    assert_eq!(world.sql(&x, ROWS), "0,1");
    world.ask(&x, &["migrate"]);
    assert_eq!(world.sql(&x, ROWS), "0,1", "a file that was applied is applied again");
    write(&world, &x, "migrations/10.sql", "insert into a select max(n) + 8 from a;\n");
    write(&world, &x, "migrations/2.sql", "insert into a values (2);\ncreate index concurrently on a (n);\n");
    world.ask(&x, &["migrate"]);
    assert_eq!(world.sql(&x, ROWS), "0,1,2,10");
    // A copy contains the record of the files that were applied to its parent.
    world.ask(&x, &["reset", "--yes"]);
    assert_eq!(world.sql(&x, ROWS), "0,1,2,10");
    // The user empties the database, except for the records of devrun.
    world.sql(&x, "drop schema public cascade; create schema public");
    world.ask(&x, &["migrate"]);
    assert_eq!(world.sql(&x, ROWS), "0,1,2,10");
}

#[test]
fn failed_file_leaves_nothing_and_changed_file_is_only_reported() {
    let Some(world) = world() else { return };
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    write(&world, &x, "migrations/2.sql", "insert into a values (2);\ninsert into gone values (1);\n");
    let failed = world.db(&x, &["migrate"]).run();
    assert_eq!(failed.code, Some(85), "{failed}");
    assert!(failed.stderr.contains("migrations/2.sql:2: ERROR:"), "{failed}");
    assert_eq!(world.sql(&x, ROWS), "0,1");
    write(&world, &x, "migrations/2.sql", "insert into a values (2);\n");
    write(&world, &x, "db/init.sql", "create table b (n int);\n");
    let told = world.db(&x, &["migrate"]).run();
    assert_eq!(told.code, Some(0), "{told}");
    assert!(told.stderr.contains("db/init.sql was changed after it was applied to dev-x"), "{told}");
    assert_eq!(world.sql(&x, ROWS), "0,1,2");
}
