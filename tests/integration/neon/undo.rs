//! `devrun db` on Neon.

use serde_json::Value;

use super::World;
use crate::asking::{fine, json, refusal};
use crate::support::Ended;
use crate::support::neon::{Branch, Fault, KEY, PASSWORD};

impl World {
    #[track_caller]
    pub(super) fn ask(&self, worktree: &std::path::Path, args: &[&str]) -> Value {
        let ended: Ended = fine(self.devrun(worktree, &[&["db"], args, &["--json"]].concat()));
        assert!(!format!("{ended}").contains(KEY), "{ended}");
        json(&ended)
    }

    fn changes(&self) -> Vec<String> {
        let calls = self.neon.take_calls().into_iter().filter(|call| call.method != "GET");
        calls.map(|call| format!("{} {} {}", call.method, call.path, call.status)).collect()
    }
}

#[test]
fn a_reset_keeps_the_id_and_migrates_again() {
    let Some(world) = World::new("") else { return };
    let x = world.worktree("x", "x");
    let made = world.ask(&x, &["migrate"]);
    assert_eq!((&made["made"], &made["provider"]), (&true.into(), &"neon".into()), "{made:#}");
    let id = world.neon.branch("dev-x").unwrap().id;
    world.neon.sql("dev-x", "create table leads as select 'mine' as name");
    world.neon.take_calls();
    let reset = world.ask(&x, &["reset", "--yes"]);
    assert_eq!((&reset["id"], &reset["parent"]), (&id.as_str().into(), &"main".into()), "{reset:#}");
    assert_eq!(world.changes(), [format!("POST /branches/{id}/restore 200")]);
    assert_eq!(world.neon.sql("dev-x", "select count(*) from pg_tables where tablename = 'leads'"), ["0"]);
    assert_eq!(world.migrated().len(), 2);
    let status = world.ask(&x, &["status"]);
    for (key, value) in [("migrations", "empty"), ("origin", "copy"), ("parent", "main"), ("git_branch", "x")]
    {
        assert_eq!(status[key], value, "{status:#}");
    }
    world.run(&x, &[]);
    assert_eq!(world.migrated().len(), 2, "a run afterwards has nothing to do");
}

#[test]
fn reset_and_delete_survive_a_lost_answer() {
    let Some(world) = World::new("") else { return };
    let x = world.worktree("x", "x");
    world.ask(&x, &["migrate"]);
    world.neon.sql("dev-x", "create table leads as select 'mine' as name");
    for fault in [Fault::LoseAnswer, Fault::Mask(502, "<html>".into()), Fault::status(423, "", "busy")] {
        world.neon.fail("POST", "/restore", fault);
        world.ask(&x, &["reset", "--yes"]);
    }
    assert_eq!(world.migrated().len(), 4);
    world.neon.take_calls();
    world.neon.fail("DELETE", "/branches/", Fault::LoseAnswer);
    let id = world.neon.branch("dev-x").unwrap().id;
    assert_eq!(world.ask(&x, &["delete", "--yes"])["deleted"], true);
    assert_eq!(world.changes(), [format!("DELETE /branches/{id} 200"), format!("DELETE /branches/{id} 204")]);
    assert!(world.neon.branch("dev-x").is_none());
}

#[test]
fn deleted_branch_is_made_again() {
    let Some(world) = World::new("") else { return };
    let x = world.worktree("x", "feature/x");
    world.run(&x, &[]);
    let record = world.sandbox.main().join(".git/worktrees/x/devrun/neon.json");
    assert!(record.is_file());
    let first = world.neon.branch("dev-feature/x").unwrap().id;
    world.ask(&x, &["delete", "--yes"]);
    assert!(!record.exists() && world.neon.branch("dev-feature/x").is_none());
    assert_eq!(world.ask(&x, &["delete", "--yes"])["deleted"], false);
    assert_eq!(world.ask(&x, &["status"])["exists"], false);
    world.run(&x, &[]);
    assert_ne!(world.neon.branch("dev-feature/x").unwrap().id, first);
    assert_eq!(world.migrated().len(), 2);
    // Another client deleted the branch, but the worktree's record still names it.
    world.neon.remove("dev-feature/x");
    assert_eq!(world.ask(&x, &["delete", "--yes"])["deleted"], false);
    assert!(!record.exists());
}

#[test]
fn default_protected_and_foreign_branches_are_kept() {
    let Some(world) = World::new("") else { return };
    let x = world.worktree("x", "x");
    world.ask(&x, &["migrate"]);
    world.neon.take_calls();
    for verb in ["reset", "delete"] {
        let refused =
            |name: &str, code| refusal(world.devrun(&x, &["db", verb, name, "--yes", "--json"]), code, 84);
        assert!(refused("main", "database-kept")["message"].as_str().unwrap().contains("default branch"));
        world.neon.state().branches[1].protected = true;
        assert!(refused("dev-x", "database-kept")["message"].as_str().unwrap().contains("protected"));
        world.neon.state().branches[1].protected = false;
    }
    // The branch now looks as if it was made in Neon's console.
    world.neon.state().branches[1].annotation = Value::Null;
    for verb in ["reset", "delete"] {
        let error = refusal(world.devrun(&x, &["db", verb, "--yes", "--json"]), "database-kept", 84);
        assert_eq!(error["fix"], format!("if you mean it: devrun db {verb} dev-x"));
        let error = refusal(world.devrun(&x, &["db", verb, "dev-x", "--json"]), "not-confirmed", 2);
        assert!(error["fix"].as_str().unwrap().ends_with("dev-x --yes"), "{error:#}");
    }
    assert_eq!(world.changes(), [""; 0]);
    assert_eq!(world.ask(&x, &["reset", "dev-x", "--yes"])["reset"], true);
}

#[test]
fn the_project_is_listed_and_urls_are_masked() {
    let Some(world) = World::new("") else { return };
    let (x, y) = (world.worktree("x", "x"), world.worktree("y", "y"));
    world.ask(&x, &["migrate"]);
    world.ask(&y, &["migrate"]);
    world.sandbox.git(&["worktree", "remove", "--force", y.to_str().unwrap()]);
    let list = world.ask(&x, &["list"]);
    let rows: Vec<_> = list["databases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (row["name"].as_str().unwrap(), &row["made_by_devrun"], &row["worktree_exists"], &row["parent"])
        })
        .collect();
    let (yes, no, none, main) = (Value::Bool(true), Value::Bool(false), Value::Null, Value::from("main"));
    assert_eq!(
        rows,
        [("dev-x", &yes, &yes, &main), ("dev-y", &yes, &no, &main), ("main", &no, &none, &none)]
    );
    for args in [&["url"][..], &["url", "--direct"], &["status"], &["url", "dev-y"]] {
        let ended = fine(world.devrun(&x, &[&["db"], args].concat()));
        assert!(
            !format!("{ended}").contains(PASSWORD) && ended.stdout.contains(":***@"),
            "{args:?}: {ended}"
        );
    }
    let pooled = fine(world.devrun(&x, &["db", "url", "--reveal"])).stdout;
    let direct = fine(world.devrun(&x, &["db", "url", "--reveal", "--direct"])).stdout;
    assert!(pooled.contains(&format!(":{PASSWORD}@localhost:")), "{pooled}");
    assert!(direct.contains(&format!(":{PASSWORD}@127.0.0.1:")), "{direct}");
    // devrun does not print the URL of the parent.
    refusal(world.devrun(&x, &["db", "url", "main", "--json"]), "config-invalid", 80);
    let psql = fine(world.devrun(&x, &["db", "psql", "--", "-XAtc", "select count(*) from _devrun.marker"]));
    assert_eq!(psql.stdout, "1\n");
}

#[test]
fn branch_of_a_running_stack_is_kept() {
    let Some(world) = World::new("") else { return };
    let x = world.worktree("x", "x");
    let running = super::ready(world.devrun(&x, &[]).start());
    world.neon.take_calls();
    for verb in ["reset", "delete"] {
        refusal(world.devrun(&x, &["db", verb, "--yes", "--json"]), "already-running", 88);
    }
    assert_eq!(world.changes(), [""; 0]);
    super::stop(running);
}

#[test]
fn a_branch_without_a_parent_or_with_children_is_explained() {
    let Some(world) = World::new("") else { return };
    let x = world.worktree("x", "x");
    world.ask(&x, &["migrate"]);
    let ours = world.neon.branch("dev-x").unwrap();
    let child = Branch { id: "br-child".into(), name: "child".into(), parent: Some(ours.id), ..ours };
    world.neon.state().branches.push(child);
    for verb in ["reset", "delete"] {
        let error = refusal(world.devrun(&x, &["db", verb, "--yes", "--json"]), "database-failed", 84);
        assert!(error["cause"].as_str().unwrap().contains("children (request req-1)"), "{error:#}");
    }
    world.neon.remove("child");
    // A schema-only branch has no parent.
    world.neon.state().branches[1].parent = None;
    let error = refusal(world.devrun(&x, &["db", "reset", "--yes", "--json"]), "database-kept", 84);
    assert!(error["fix"].as_str().unwrap().contains("devrun db delete dev-x"), "{error:#}");
    assert_eq!(world.migrated().len(), 1);
}
