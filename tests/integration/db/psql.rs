//! `devrun db psql` behaves like psql with the right connection.

use nix::sys::signal::Signal;

use super::World;
use crate::supervise::terminal::{Terminal, in_foreground};
use crate::support::{LIMIT, Process, wait_for};

/// Returns true if psql runs a query. devrun's own queries have ended when psql starts.
fn asks(all: &[Process]) -> bool {
    let any = |word: &str| all.iter().any(|process| process.command.contains(word));
    any("psql -X") && any("SELECT")
}

#[test]
fn psql_gets_no_password_in_its_arguments() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    // A variable that points to another server has no effect.
    let misled =
        world.db(&x, &["psql", "--", "-XAtc", "select current_database()"]).env("PGHOSTADDR", "192.0.2.1");
    assert_eq!(misled.env("PGSERVICE", "nowhere").run().stdout, "dev-x\n");
    let running = world.db(&x, &["psql", "--", "-XAtc", "select 'slept', pg_sleep(600)"]).start();
    let password = world.password();
    wait_for("psql at work", LIMIT, || {
        let all = world.sandbox.processes();
        assert!(all.iter().all(|process| !process.command.contains(&password)), "{all:#?}");
        if asks(&all) { Ok(()) } else { Err(format!("{all:#?}")) }
    });
    // Ctrl-C reaches psql: the query ends, and devrun exits with psql's status.
    running.signal_group(Signal::SIGINT);
    let ended = running.wait();
    assert!(ended.stderr.contains("canceling statement due to user request"), "{ended}");
    assert_eq!(ended.code, Some(1), "{ended}");
    assert_eq!(world.sandbox.processes(), [], "the server is still there");
}

#[test]
fn psql_status_passes_through_and_server_binaries_are_found() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    let failed = world.db(&x, &["psql", "--", "-Xc", "select 1/0"]).run();
    assert_eq!(failed.code, Some(1), "{failed}");
    let quit = world.db(&x, &["psql", "--", "-Xc", "\\q"]).run();
    assert_eq!(quit.code, Some(0), "{quit}");
    let git = which::which("git").unwrap();
    let empty = world.sandbox.path().join("few");
    std::fs::create_dir(&empty).unwrap();
    std::os::unix::fs::symlink(git, empty.join("git")).unwrap();
    let found = world.db(&x, &["psql", "--", "--version"]).env("PATH", &empty).run();
    assert!(found.code == Some(0) && found.stdout.starts_with("psql (PostgreSQL)"), "{found}");
}

#[test]
fn psql_works_on_a_terminal() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    let (running, terminal) = Terminal::start(
        in_foreground(&world.sandbox, &["db", "psql", "--", "-XP", "pager=off"]).directory(&x),
    );
    terminal.expect("dev-x=> ");
    // Ctrl-C ends the query in psql, and nothing else.
    terminal.press("select pg_sleep(600);\n");
    wait_for("the query", LIMIT, || {
        let all = world.sandbox.processes();
        if asks(&all) { Ok(()) } else { Err(format!("{all:#?}")) }
    });
    terminal.press("\x03");
    terminal.expect("canceling statement due to user request");
    terminal.press("select 'and ' || 'on';\n");
    terminal.expect("and on");
    terminal.press("\\q\n");
    assert_eq!(terminal.end(running).code, Some(0), "{}", terminal.text());
}
