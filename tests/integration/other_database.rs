//! The audit of databases: processes that use another database of the worktree's server, and addresses of other servers.

use std::path::Path;

use serde_json::{Value, json};

use crate::asking::{base, fine};
use crate::db::World;
use crate::support::{Ended, LIMIT, wait_for};

/// A program that ignores its environment, as `load_dotenv(override=True)` makes it, and stays connected.
const CLIENT: &str = ". ./.env; exec psql -XAtq \"$DATABASE_URL\" -c \"select 'connected to ' || current_database()\" -c 'select pg_sleep(600)'\n";

/// Returns a worktree with a backend that connects to the URL in `backend/.env`, and the URL of the worktree's database.
fn worktree(world: &World, name: &str) -> (std::path::PathBuf, String) {
    let x = world.worktree(name);
    let config = std::fs::read_to_string(x.join("devrun.yaml")).unwrap();
    let config = config.split("processes:").next().unwrap();
    let text = format!(
        "{config}processes:\n  backend:\n    run: sh client.sh\n    directory: backend\n    needs: [database]\n    \
         ready: {{ log: connected }}\n"
    );
    world.sandbox.write(&x.join("devrun.yaml"), &text);
    world.sandbox.write(&x.join("backend/client.sh"), CLIENT);
    world.ask(&x, &["migrate"]);
    let url = world.ask(&x, &["url", "--reveal"])["url"].as_str().unwrap().to_string();
    (x, url)
}

fn status(world: &World, x: &Path) -> Value {
    serde_json::from_str(&world.devrun(x, &["status", "--json"]).stdout).unwrap()
}

fn up(world: &World, x: &Path, args: &[&str]) -> Ended {
    world.sandbox.devrun(&[&["up", "-d"], args].concat()).directory(x).run()
}

#[test]
fn a_process_that_uses_the_database_of_another_branch_is_reported() {
    let Some(world) = World::new() else { return };
    let (x, url) = worktree(&world, "x");
    let pasted = url.replace("/dev-x", "/dev-main");
    assert_ne!(pasted, url);
    world.sandbox.write(&x.join("backend/.env"), &format!("# pasted\nDATABASE_URL='{pasted}'\n"));
    let said = "backend uses database dev-main, not this worktree's dev-x";
    let written = "backend/.env:2 (DATABASE_URL) has that address";

    let started = up(&world, &x, &[]);
    assert_eq!(started.code, Some(0), "{started}");
    assert!(started.stdout.contains(said) && started.stdout.contains(written), "{started}");
    let found = status(&world, &x)["isolation"].clone();
    assert_eq!(found[0]["database"], json!({ "used": "dev-main", "own": "dev-x" }), "{found:#}");
    assert_eq!((&found[0]["process"], &found[0]["server"]), (&json!("backend"), &json!("postgres")));
    assert_eq!(found[0]["written"], "backend/.env:2 (DATABASE_URL)", "{found:#}");
    assert_eq!(found.as_array().unwrap().len(), 1, "{found:#}");
    let why = world.devrun(&x, &["why"]);
    assert!(why.stdout.contains("not isolated") && why.stdout.contains(said), "{why}");
    assert!(why.stdout.contains("fix: remove backend/.env:2"), "{why}");
    let shown = format!("{started}{why}{found}");
    assert!(!shown.contains(pasted.split('@').next().unwrap()), "{shown}");
    // The connection that the audit keeps does not keep the server.
    world.devrun(&x, &["down"]);
    assert_eq!(world.sandbox.processes(), [], "something still runs");

    let strict = up(&world, &x, &["--strict-isolation"]);
    assert_eq!(strict.code, Some(90), "{strict}");
    assert!(strict.stderr.contains("[not-isolated]") && strict.stderr.contains(said), "{strict}");
}

#[test]
fn own_databases_and_sessions_outside_the_stack_are_no_findings() {
    let Some(world) = World::new() else { return };
    let (x, url) = worktree(&world, "x");
    let create = "create database \"test_dev-x\"";
    fine(world.sandbox.devrun(&["db", "psql", "--", "-XAtq", "-c", create]).directory(&x));
    for database in ["dev-x", "test_dev-x", "postgres"] {
        let url = url.replace("/dev-x", &format!("/{database}"));
        world.sandbox.write(&x.join("backend/.env"), &format!("DATABASE_URL='{url}'\n"));
        let started = up(&world, &x, &["--strict-isolation"]);
        assert_eq!(started.code, Some(0), "{database}: {started}");
        let psql = world.sandbox.devrun(&["db", "psql", "dev-main", "--", "-XAtc", "select pg_sleep(600)"]);
        let psql = psql.directory(&x).start();
        let sessions = "select count(*) from pg_stat_activity where datname = 'dev-main'";
        wait_for("the session in dev-main", LIMIT, || {
            let count = world.sql(&x, sessions);
            if count == "1" { Ok(()) } else { Err(count) }
        });
        assert_eq!(status(&world, &x)["isolation"], Value::Null, "{database}");
        psql.signal_group(nix::sys::signal::Signal::SIGINT);
        psql.wait();
        world.devrun(&x, &["down"]);
    }
}

#[test]
fn why_names_the_line_with_the_address_that_refused_a_connection() {
    let Some(world) = World::new() else { return };
    let (x, url) = worktree(&world, "x");
    let port = base();
    world.sandbox.write(
        &x.join("backend/.env"),
        &format!("# pasted\nDATABASE_URL=postgresql://me:s3cretpass@127.0.0.1:{port}/app\n"),
    );
    let failed = up(&world, &x, &[]);
    assert_ne!(failed.code, Some(0), "{failed}");
    let why = world.devrun(&x, &["why"]);
    let own = url.split('@').nth(1).unwrap().split('/').next().unwrap();
    let cause = format!(
        "it asked 127.0.0.1:{port}, which is not this worktree's database ({own}); backend/.env:2 (DATABASE_URL) has \
         that address"
    );
    assert_eq!(why.stdout.matches(&cause).count(), 1, "{why}");
    assert!(why.stdout.contains("fault: the configuration"), "{why}");
    assert!(
        failed.stderr.contains(&cause) && failed.stderr.contains("fix: remove backend/.env:2"),
        "{failed}"
    );
    assert!(why.stdout.contains("fix: remove backend/.env:2 (DATABASE_URL), or let the code"), "{why}");
    assert!(!format!("{failed}{why}").contains("s3cretpass"), "{why}");
}
