//! The database of a branch that was renamed or is being rebased, and of a worktree that was moved or shares its branch.

use std::path::Path;

use serde_json::Value;

use super::World;
use crate::asking::{devrun, fine, json, refusal};
use crate::support::{LIMIT, wait_for};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl World {
    /// Returns the names of all databases.
    fn names(&self, worktree: &Path) -> Vec<String> {
        let all = self.ask(worktree, &["list"])["databases"].as_array().unwrap().clone();
        all.iter().map(|entry| entry["name"].as_str().unwrap().to_string()).collect()
    }

    /// Starts a stack and stops it. Returns the standard error and the log of the start.
    #[track_caller]
    fn up_and_down(&self, worktree: &Path) -> String {
        let said = self.devrun(worktree, &["up", "-d"]).stderr;
        let log = std::fs::read_to_string(self.state(worktree).join("up.log")).unwrap();
        self.devrun(worktree, &["down"]);
        said + &log
    }

    fn state(&self, worktree: &Path) -> std::path::PathBuf {
        let dir = self.sandbox.git(&["-C", text(worktree), "rev-parse", "--absolute-git-dir"]);
        Path::new(&dir).join("devrun")
    }

    /// Returns the reason that `prune` gives for the database `name`.
    #[track_caller]
    fn reason(&self, name: &str) -> String {
        let main = self.sandbox.main();
        let args = ["prune", "--json", "--older-than", "0s"];
        let answer = json(&fine(devrun(&self.sandbox, &main, &args)));
        let items = answer["items"].as_array().unwrap();
        let is_it = |item: &&Value| item["kind"] == "database" && item["name"] == name;
        items.iter().find(is_it).unwrap_or_else(|| panic!("{answer:#}"))["reason"].as_str().unwrap().into()
    }
}

#[test]
fn d5_database_follows_its_branch_through_renames() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    world.up_and_down(&x);
    world.sql(&x, "create table kept (n int)");
    let id = world.ask(&x, &["status"])["id"].clone();
    world.sandbox.git(&["branch", "-m", "x", "feature/y"]);
    assert_eq!(world.reason("dev-x"), "its branch is called feature/y now");
    let migrations = world.migrated();
    let said = world.up_and_down(&x);
    let status = world.ask(&x, &["status"]);
    let name = status["name"].as_str().unwrap();
    assert!(name.starts_with("dev-feature-y-"), "{status:#}");
    let told = format!("the database dev-x is called {name} now: the branch x was renamed to feature/y");
    assert!(said.contains(&told), "{said}");
    assert_eq!((&status["id"], &status["git_branch"]), (&id, &"feature/y".into()), "{status:#}");
    assert_eq!((&status["parent"], world.migrated()), (&"dev-main".into(), migrations), "{status:#}");
    assert_eq!(world.sql(&x, "select count(*) from kept"), "0");
    assert_eq!(world.reason(name), "the branch feature/y exists");
    // Several renames between two starts.
    world.sandbox.git(&["branch", "-m", "feature/y", "z"]);
    world.sandbox.git(&["branch", "-m", "z", "last"]);
    world.up_and_down(&x);
    assert_eq!(world.ask(&x, &["status"])["id"], id);
    assert_eq!(world.names(&x), ["dev-last", "dev-main"]);
    // If a new branch has the old name, the database stays with that branch.
    world.sandbox.git(&["branch", "-m", "last", "other"]);
    world.sandbox.git(&["branch", "last"]);
    world.up_and_down(&x);
    assert_ne!(world.ask(&x, &["status"])["id"], id);
    assert_eq!(world.names(&x), ["dev-last", "dev-main", "dev-other"]);
}

#[test]
fn d5_database_in_use_keeps_its_name() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    world.devrun(&x, &["up", "-d"]);
    world.sandbox.git(&["branch", "-m", "x", "y"]);
    // The stack has the old name in its environment.
    let migrated = world.ask(&x, &["migrate"]);
    assert_eq!(migrated["name"], "dev-x", "{migrated:#}");
    world.devrun(&x, &["down"]);
    let psql = world.sandbox.devrun(&["db", "psql", "dev-x", "--", "-c", "select pg_sleep(600)"]);
    let psql = psql.directory(&x).env("PGAPPNAME", "reader").start();
    wait_for("the session", LIMIT, || {
        let query =
            "select count(*) from pg_stat_activity where application_name = 'reader' and state = 'active'";
        let main = world.sandbox.main();
        world.ask(&main, &["migrate"]);
        if world.sql(&main, query) == "1" { Ok(()) } else { Err("none".into()) }
    });
    let error = refusal(world.db(&x, &["migrate", "--json"]), "already-running", 88);
    assert!(error["message"].as_str().unwrap().starts_with("dev-x has to be called dev-y now"), "{error:#}");
    assert!(error["cause"].as_str().unwrap().contains("1 of reader"), "{error:#}");
    psql.signal_group(nix::sys::signal::Signal::SIGTERM);
    psql.wait();
    wait_for("the rename", LIMIT, || {
        let ended = world.db(&x, &["migrate"]).run();
        if ended.code == Some(0) { Ok(()) } else { Err(ended.to_string()) }
    });
    assert_eq!(world.names(&x), ["dev-main", "dev-y"]);
}

#[test]
fn w6_moved_worktree_keeps_its_database_also_with_a_detached_head() {
    let Some(world) = World::new() else { return };
    let (x, moved) = (world.worktree("x"), world.sandbox.path().join("moved"));
    world.up_and_down(&x);
    let id = world.ask(&x, &["status"])["id"].clone();
    let ports = |folder: &Path| json(&fine(devrun(&world.sandbox, folder, &["ports", "--json"])));
    ports(&x);
    world.sandbox.git(&["worktree", "move", text(&x), text(&moved)]);
    let listed = world.ask(&moved, &["list"]);
    let mut of_x = listed["databases"].as_array().unwrap().iter().filter(|one| one["name"] == "dev-x");
    assert_eq!(of_x.next().unwrap()["worktree"], text(&moved), "{listed:#}");
    world.up_and_down(&moved);
    let status = world.ask(&moved, &["status"]);
    assert_eq!((&status["name"], &status["id"]), (&"dev-x".into(), &id), "{status:#}");
    world.sandbox.git(&["-C", text(&moved), "checkout", "-q", "--detach"]);
    world.up_and_down(&moved);
    let before = world.ask(&moved, &["status"]);
    let name = before["name"].as_str().unwrap();
    assert!(name.starts_with("dev-detached-moved-"), "{before:#}");
    let again = world.sandbox.path().join("again");
    world.sandbox.git(&["worktree", "move", text(&moved), text(&again)]);
    assert_eq!(world.reason(name), "its worktree exists");
    let said = world.up_and_down(&again);
    let after = world.ask(&again, &["status"]);
    assert!(after["name"].as_str().unwrap().starts_with("dev-detached-again-"), "{after:#}");
    assert!(said.contains("the worktree was moved from"), "{said}");
    assert_eq!(after["id"], before["id"]);
    assert_eq!(world.reason(after["name"].as_str().unwrap()), "its worktree exists");
    assert_eq!(world.names(&again).len(), 3);
}

#[test]
fn w6_branch_counts_during_its_rebase() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    world.up_and_down(&x);
    let id = world.ask(&x, &["status"])["id"].clone();
    let git = |args: &[&str]| world.sandbox.git(&[&["-C", text(&x)], args].concat());
    git(&["commit", "-q", "--allow-empty", "-m", "mine"]);
    git(&["-c", "sequence.editor=sed -i 1ibreak", "rebase", "-i", "HEAD~1"]);
    assert_eq!(git(&["branch", "--show-current"]), "", "HEAD is detached");
    let plan = json(&fine(devrun(&world.sandbox, &x, &["plan", "--json"])));
    assert_eq!((&plan["branch"], &plan["database"]["name"]), (&"x".into(), &"dev-x".into()), "{plan:#}");
    world.up_and_down(&x);
    assert_eq!(world.ask(&x, &["status"])["id"], id);
    git(&["rebase", "--abort"]);
    assert_eq!(world.names(&x), ["dev-main", "dev-x"]);
    // A rebase of a detached HEAD belongs to no branch.
    git(&["checkout", "-q", "--detach"]);
    git(&["-c", "sequence.editor=sed -i 1ibreak", "rebase", "-i", "HEAD~1"]);
    let plan = json(&fine(devrun(&world.sandbox, &x, &["plan", "--json"])));
    assert_eq!(plan["branch"], Value::Null, "{plan:#}");
}

#[test]
fn w5_two_worktrees_on_one_branch_are_warned_about() {
    let Some(world) = World::new() else { return };
    let (x, twin) = (world.worktree("x"), world.sandbox.path().join("twin"));
    let notices = |folder: &Path| {
        let plan = json(&fine(devrun(&world.sandbox, folder, &["plan", "--json"])));
        plan["notices"].to_string()
    };
    assert!(!notices(&x).contains("share the database"), "{}", notices(&x));
    world.sandbox.git(&["worktree", "add", "-q", "--force", text(&twin), "x"]);
    for (folder, other) in [(&x, &twin), (&twin, &x)] {
        let wanted = format!(
            "the branch x is checked out in {} too: they share the database dev-x",
            other.canonicalize().unwrap().display()
        );
        assert!(notices(folder).contains(&wanted), "{}", notices(folder));
        let said = world.up_and_down(folder);
        assert!(said.contains(&wanted) && said.contains("git switch -c NAME"), "{said}");
    }
    world.sandbox.git(&["-C", text(&twin), "switch", "-q", "-c", "own"]);
    assert!(!notices(&x).contains("share the database"), "{}", notices(&x));
}
