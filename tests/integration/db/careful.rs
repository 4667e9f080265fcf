//! `reset` and `delete` refuse without confirmation, for databases that other worktrees use, for databases that devrun did not
//! make, and while a stack runs.

use super::World;
use crate::asking::{fine, refusal};
use crate::supervise::terminal::Terminal;

#[test]
fn nothing_is_deleted_without_confirmation() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    let id = world.ask(&x, &["migrate"])["id"].clone();
    for verb in ["reset", "delete"] {
        let error = refusal(world.db(&x, &[verb, "--json"]), "not-confirmed", 2);
        assert_eq!(error["fix"], format!("if you mean it: devrun db {verb} --yes"));
        let ended = world.db(&x, &[verb, "dev-x"]).run();
        assert_eq!(ended.code, Some(2), "{ended}");
        assert!(ended.stderr.contains(&format!("devrun db {verb} dev-x --yes")), "{ended}");
    }
    for (verb, keys, code) in
        [("reset", "n\n", 2), ("delete", "\n", 2), ("delete", "\x04", 2), ("reset", "y\n", 0)]
    {
        let (running, terminal) = Terminal::start(world.db(&x, &[verb]).env("TERM", "xterm"));
        terminal.expect("[y/N] ");
        assert!(terminal.text().contains("dev-x (local)"), "{}", terminal.text());
        assert_eq!(world.migrated(), ["dev-main"]);
        terminal.press(keys);
        assert_eq!(terminal.end(running).code, Some(code), "{verb} {keys:?}: {}", terminal.text());
    }
    let status = world.ask(&x, &["status"]);
    assert!(status["exists"] == true && status["id"] != id, "{status:#}");
}

#[test]
fn ctrl_c_at_the_prompt_changes_nothing() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    let id = world.ask(&x, &["migrate"])["id"].clone();
    let (running, terminal) = Terminal::start(world.db(&x, &["delete"]).env("TERM", "xterm"));
    terminal.expect("[y/N] ");
    running.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(terminal.end(running).code, Some(130), "{}", terminal.text());
    assert_eq!(world.sandbox.processes(), [], "the server is still there");
    assert_eq!(world.ask(&x, &["status"])["id"], id);
}

#[test]
fn default_and_parent_databases_are_kept() {
    let Some(world) = World::with("  parent: dev-base") else { return };
    let (x, base) = (world.worktree("x"), world.worktree("base"));
    world.ask(&base, &["migrate"]);
    world.ask(&x, &["migrate"]);
    world.ask(&world.sandbox.main(), &["migrate"]);
    for (name, what) in [("dev-main", "the default branch"), ("dev-base", "others are copied from")] {
        for verb in ["reset", "delete"] {
            let error = refusal(world.db(&x, &[verb, name, "--yes", "--json"]), "database-kept", 84);
            assert!(error["message"].as_str().unwrap().contains(what), "{error:#}");
        }
    }
    let own = refusal(world.db(&world.sandbox.main(), &["reset", "--yes", "--json"]), "database-kept", 84);
    assert!(own["message"].as_str().unwrap().starts_with("dev-main is"), "{own:#}");
    assert_eq!(world.ask(&x, &["list"])["databases"].as_array().unwrap().len(), 3);
}

#[test]
fn foreign_database_must_be_named_in_full() {
    let Some(world) = World::new() else { return };
    let (x, y) = (world.worktree("x"), world.worktree("y"));
    world.ask(&x, &["migrate"]);
    world.ask(&y, &["migrate"]);
    // Makes the database look as if it was made by hand.
    world.sql(&y, "comment on database \"dev-y\" is 'precious'");
    for verb in ["reset", "delete"] {
        let error = refusal(world.db(&y, &[verb, "--yes", "--json"]), "database-kept", 84);
        assert_eq!(error["fix"], format!("if you mean it: devrun db {verb} dev-y"), "{error:#}");
        for part in ["dev-", "y", "DEV-Y", "dev-y "] {
            let ended = world.db(&x, &[verb, part, "--yes", "--json"]).run();
            assert!(
                !ended.stdout.contains("\"deleted\": true") && !ended.stdout.contains("\"reset\": true"),
                "{ended}"
            );
        }
    }
    assert_eq!(world.ask(&y, &["status"])["origin"], "not-devrun");
    assert_eq!(world.ask(&y, &["delete", "dev-y", "--yes"])["deleted"], true);
    assert_eq!(world.ask(&y, &["status"])["exists"], false);
}

#[test]
fn database_of_a_running_stack_is_kept() {
    let Some(world) = World::new() else { return };
    let (x, y) = (world.worktree("x"), world.worktree("y"));
    world.devrun(&x, &["up", "-d"]);
    for verb in ["reset", "delete"] {
        let error = refusal(world.db(&x, &[verb, "--yes", "--json"]), "already-running", 88);
        assert_eq!(error["fix"], "devrun down, then run this command again", "{error:#}");
        let error = refusal(world.db(&y, &[verb, "dev-x", "--yes", "--json"]), "already-running", 88);
        assert_eq!(
            error["fix"],
            format!("devrun -C {} down, then run this command again", x.canonicalize().unwrap().display())
        );
        assert_eq!(error["holder"]["worktree"], x.canonicalize().unwrap().to_str().unwrap());
    }
    // `status` and `migrate` work while the stack runs.
    assert_eq!(world.ask(&x, &["status"])["server"], "running");
    world.sandbox.write(&x.join("migrations/2.sql"), "select 2;\n");
    assert!(world.ask(&x, &["migrate"])["migrated"].as_str().unwrap().starts_with("migrated in"));
    assert_eq!(world.sql(&x, "select 7"), "7");
    assert!(world.devrun(&x, &["status"]).stdout.contains("ready"));
    world.devrun(&x, &["down"]);
    assert_eq!(world.ask(&x, &["delete", "--yes"])["deleted"], true);
    assert_eq!(fine(world.db(&x, &["delete", "--yes"])).stdout, "There is no dev-x.\n");
}

#[test]
fn run_waits_for_a_reset() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    let reset = world.held_reset(&x);
    let mut up = world.sandbox.devrun(&[]).directory(&x).start();
    up.expect_line("is resetting dev-x: waiting for its end");
    let mut second = world.db(&x, &["reset", "--yes"]).start();
    second.expect_line("is resetting dev-x: waiting for it to finish");
    // `status` and `down` do not treat the reset as a stack.
    assert!(world.devrun(&x, &["status"]).stdout.contains("stopped"));
    let ended = crate::asking::devrun(&world.sandbox, &x, &["down", "--timeout", "1"]).run();
    assert_eq!(ended.code, Some(88), "{ended}");
    world.hold(false);
    assert_eq!(reset.wait().code, Some(0));
    let second = second.wait();
    // The order is open: the second reset ran before the stack, or found the stack.
    assert!(matches!(second.code, Some(0 | 88)), "{second}");
    up.expect_line("^  Ready in ");
    crate::asking::interrupt(up);
    assert_eq!(world.ask(&x, &["status"])["migrations"], "empty");
}

#[test]
fn background_run_waits_for_a_reset() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    let reset = world.held_reset(&x);
    let mut up = crate::asking::devrun(&world.sandbox, &x, &["up", "-d"]).start();
    up.expect_line("is resetting dev-x: waiting for its end");
    world.hold(false);
    assert_eq!(reset.wait().code, Some(0));
    let up = up.wait();
    assert!(up.code == Some(0) && up.stdout.contains("ready"), "{up}");
    world.devrun(&x, &["down"]);
    assert_eq!(world.migrated().len(), 2, "the migrations of the reset ran again");
}
