//! `devrun db import`: replaces the parent by a file or by another database, which devrun only reads.

use std::path::PathBuf;

use nix::sys::signal::Signal;

use super::World;
use crate::asking::{fine, refusal, skip_without};
use crate::support::neon::PASSWORD;
use crate::support::server::Server;
use crate::support::{LIMIT, wait_for};

const SCHEMA: &str = "create extension citext; create schema ext; create extension hstore schema ext; create schema crm; create table crm.people (id int primary key, name text, \
    email citext unique, phone varchar(20), note text); \
    insert into crm.people select n, 'Person ' || n, 'person' || n || '@corp.example', '0123', 'secret ' || n from generate_series(1, 3) n; \
    insert into crm.people values (9, null, null, null, null); \
    create table logs (id serial primary key, person int references crm.people); insert into logs (person) values (1), (2)";

/// A repository, and a server with the database `prod`.
fn served() -> Option<(World, Server)> {
    let world = World::new()?;
    let Some(server) = Server::start() else {
        skip_without(&["postgres"]);
        return None;
    };
    server.sql("postgres", &format!("create role reader login password '{PASSWORD}'"));
    server.sql("postgres", "create database prod");
    server.sql("prod", SCHEMA);
    server.sql("prod", "grant pg_read_all_data to reader");
    Some((world, server))
}

#[test]
fn url_is_imported_masked_and_copied_to_branches() {
    let Some((world, server)) = served() else { return };
    let (main, x) = (world.sandbox.main(), world.worktree("x"));
    let rules = "crm.people.name: name\ncrm.people.email: email\ncrm.people.phone: phone\ncrm.people.note: constant 'gone'\n";
    world.sandbox.write(&x.join("mask.yaml"), rules);
    let args =
        ["import", "--url-env", "PROD_URL", "--mask", "mask.yaml", "--exclude-table-data", "logs", "--json"];
    let imported = fine(world.db(&x, &args).env("PROD_URL", server.url("reader", "prod")));
    assert!(!format!("{imported}").contains(PASSWORD), "{imported}");
    let imported = crate::asking::json(&imported);
    assert_eq!(
        (&imported["name"], &imported["tables"], &imported["masked"]),
        (&"dev-main".into(), &2.into(), &4.into()),
        "{imported:#}"
    );
    world.ask(&x, &["migrate"]);
    let people = "select count(*), count(distinct email), bool_and(email like 'user-%@example.com'), \
                  bool_and(name not like 'Person%' and name like '% %'), bool_and(note = 'gone') from crm.people";
    assert_eq!(world.sql(&x, people), "4|3|t|t|t");
    assert_eq!(world.sql(&x, "select count(*) from crm.people where name is null and phone is null"), "1");
    assert_eq!(world.sql(&x, "select count(*) from logs"), "0");
    let owner = "select count(*) from pg_class c join pg_roles r on r.oid = c.relowner where relname in ('people', 'logs') and rolname = 'app'";
    assert_eq!(world.sql(&x, owner), "2");
    assert_eq!(world.sql(&x, "show session_replication_role"), "origin");
    // The values that were masked are not in the files of the database.
    let has = |path: &PathBuf| {
        std::fs::read(path).is_ok_and(|bytes| bytes.windows(8).any(|part| part == b"secret 1"))
    };
    let left: Vec<PathBuf> = data_files(&world).into_iter().filter(has).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(server.sql("prod", "select count(*) from crm.people where note like 'secret%'"), ["3"]);
    assert_eq!(world.ask(&main, &["list"])["databases"].as_array().unwrap().len(), 2);
}

/// Returns the files with the data of all databases.
fn data_files(world: &World) -> Vec<PathBuf> {
    let clusters = std::fs::read_dir(world.sandbox.path().join("data/devrun-worktree/pg")).unwrap();
    let bases = clusters.flatten().map(|entry| entry.path().join("data/base"));
    let databases = bases.flat_map(|base| std::fs::read_dir(base).unwrap().flatten());
    databases
        .flat_map(|one| std::fs::read_dir(one.path()).unwrap().flatten())
        .map(|file| file.path())
        .collect()
}

#[test]
fn files_are_imported_with_and_without_rows() {
    let Some((world, server)) = served() else { return };
    let main = world.sandbox.main();
    let url = server.url("reader", "prod");
    let dump = |args: &[&str]| {
        let ended = world.sandbox.program("pg_dump", &[args, &[&url]].concat()).directory(&main).run();
        assert_eq!(ended.code, Some(0), "{ended}");
    };
    dump(&["-Fc", "-f", "prod.dump"]);
    dump(&["-f", "prod.sql"]);
    dump(&["--inserts", "-f", "inserts.sql"]);
    for file in ["prod.dump", "prod.sql", "inserts.sql"] {
        let imported = world.ask(&main, &["import", file, "--yes"]);
        assert_eq!(imported["tables"], 2, "{file}: {imported:#}");
        assert!(imported["migrated"].as_str().unwrap().starts_with("migrated in"), "{imported:#}");
        assert_eq!(world.sql(&main, "select count(*), max(note) from crm.people"), "4|secret 3", "{file}");
        assert_eq!(world.sql(&main, "insert into logs (person) values (3) returning id"), "3", "{file}");
        let imported = fine(world.db(&main, &["import", file, "--yes", "--schema-only"])).stdout;
        assert!(imported.starts_with("dev-main has 2 tables ("), "{imported}");
        assert_eq!(world.sql(&main, "select count(*) from crm.people"), "0", "{file}");
        world.ask(
            &main,
            &["import", file, "--yes", "--exclude-table-data", "crm.p*", "--exclude-table-data", "l*"],
        );
        assert_eq!(world.sql(&main, "select count(*) from crm.people"), "0", "{file}");
    }
}

#[test]
fn failed_import_changes_nothing() {
    let Some(world) = World::new() else { return };
    let main = world.sandbox.main();
    world.ask(&main, &["migrate"]);
    world.sql(&main, "create table own as select 1 as n");
    let refused = |args: &[&str], code: &str, exit: i32| {
        refusal(world.db(&main, &[&["import"], args, &["--json"]].concat()), code, exit)
    };
    world.sandbox.write(
        &main.join("broken.sql"),
        "create table a (n int);\n\ninsert into a values (1);\ninsert into b values (1);\n",
    );
    let error = refused(&["broken.sql"], "not-confirmed", 2);
    assert_eq!(error["fix"], "if you mean it: devrun db import broken.sql --yes");
    let error = refused(&["broken.sql", "--yes"], "database-failed", 84);
    assert!(
        error["message"].as_str().unwrap().ends_with("broken.sql:4: relation \"b\" does not exist"),
        "{error:#}"
    );
    world.sandbox.write(&main.join("a.sql"), "create table a (n int);\n\\! touch hacked\nreset role;\n");
    world.sandbox.write(&main.join("mask"), "a.n: shuffle\n");
    let error = refused(&["a.sql", "--yes", "--mask", "mask"], "usage", 2);
    assert!(
        error["message"].as_str().unwrap().starts_with("mask:1:6: there is no rule `shuffle`"),
        "{error:#}"
    );
    world.sandbox.write(&main.join("mask"), "a.m: null\n");
    let error = refused(&["a.sql", "--yes", "--mask", "mask"], "usage", 2);
    assert_eq!(error["message"], "mask:1: the imported database has no column public.a.m");
    refused(&["nowhere.sql", "--yes"], "database-failed", 84);
    world.sandbox.write(&main.join("ext.sql"), "create extension nowhere_ext;\n");
    let error = refused(&["ext.sql", "--yes"], "database-failed", 84);
    assert!(error["message"].as_str().unwrap().contains("no extension `nowhere_ext`"), "{error:#}");
    assert_eq!(world.sql(&main, "select n from own"), "1");
    let left = "select count(*) from pg_database where datname like '\\_devrun-import%'";
    assert_eq!(world.sql(&main, left), "0");
    world.ask(&main, &["import", "a.sql", "--yes"]);
    assert!(!main.join("hacked").exists(), "a command of psql ran");
    assert_eq!(world.sql(&main, "select count(*) from a"), "0");
}

#[test]
fn import_refuses_while_a_stack_uses_the_parent() {
    let Some(world) = World::new() else { return };
    let (main, x) = (world.sandbox.main(), world.worktree("x"));
    world.sandbox.write(&x.join("a.sql"), "create table a (n int);\n");
    // The branch makes the parent before the default branch's own worktree runs.
    world.ask(&x, &["migrate"]);
    world.devrun(&main, &["up", "-d"]);
    let before = world.ask(&main, &["status"]);
    let error = refusal(world.db(&x, &["import", "a.sql", "--yes", "--json"]), "already-running", 88);
    assert!(error["fix"].as_str().unwrap().contains(" down, then run this command again"), "{error:#}");
    world.devrun(&main, &["down"]);
    world.ask(&x, &["import", "a.sql", "--yes"]);
    let after = world.ask(&main, &["status"]);
    assert_eq!((&after["git_branch"], &after["worktree"]), (&before["git_branch"], &before["worktree"]));
    world.ask(&x, &["reset", "--yes"]);
    assert_eq!(world.sql(&x, "select count(*) from a"), "0");
}

#[test]
fn interrupted_import_leaves_the_parent_and_the_next_run_removes_the_rest() {
    let Some(world) = World::new() else { return };
    let (main, x) = (world.sandbox.main(), world.worktree("x"));
    world.ask(&main, &["migrate"]);
    world.sql(&main, "create table own as select 1 as n");
    let half =
        "create table a (n int);\ninsert into a select generate_series(1, 5000);\nselect pg_sleep(600);\n";
    world.sandbox.write(&main.join("half.sql"), half);
    let begun = "select count(*) from pg_database where datname like '\\_devrun-import%'";
    let asleep = "select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()";
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let import = world.db(&main, &["import", "half.sql", "--yes"]).start();
        wait_for("the rows to be there", LIMIT, || match world.sql(&main, asleep).as_str() {
            "1" => Ok(()),
            other => Err(other.into()),
        });
        assert_eq!(world.sql(&main, begun), "1");
        import.signal(signal);
        assert_ne!(import.wait().code, Some(0), "{signal}");
        assert_eq!(world.sql(&main, "select n from own"), "1", "{signal}");
        // The next devrun that makes a database removes the incomplete one.
        if signal == Signal::SIGINT {
            world.ask(&x, &["migrate"])
        } else {
            world.ask(&x, &["reset", "--yes"])
        };
        assert_eq!(world.sql(&main, begun), "0", "{signal}");
    }
    assert_eq!(world.sql(&x, "select n from own"), "1");
    assert_eq!(world.sandbox.processes(), [], "a server is still there");
}
