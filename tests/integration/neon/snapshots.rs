//! `devrun db snapshot` on Neon: child branches without a compute.

use super::World;
use crate::asking::refusal;
use crate::support::neon::Fault;

impl World {
    /// Returns the names of all branches of the project.
    fn branches(&self) -> Vec<String> {
        self.neon.state().branches.iter().map(|branch| branch.name.clone()).collect()
    }

    fn has_leads(&self) -> bool {
        self.neon.sql("dev-x", "select count(*) from pg_tables where tablename = 'leads'") == ["1"]
    }
}

#[test]
fn snapshot_is_a_child_branch_that_is_restored_and_deleted_with_its_branch() {
    let Some(world) = World::new("") else { return };
    let x = world.worktree("x", "x");
    world.ask(&x, &["migrate"]);
    let id = world.neon.branch("dev-x").unwrap().id;
    world.neon.sql("dev-x", "create table leads as select 'kept' as name");
    let saved = world.ask(&x, &["snapshot", "before"]);
    assert_eq!((&saved["snapshot"], &saved["database"]), (&"before".into(), &"dev-x".into()), "{saved:#}");
    let keeper = format!("devrun-snapshot-before-of-{id}");
    let made = world.neon.branch(&keeper).unwrap();
    assert_eq!((made.parent.as_ref(), made.endpoint), (Some(&id), None));
    world.neon.sql("dev-x", "drop table leads");

    let restored = world.ask(&x, &["restore", "before", "--yes"]);
    assert_eq!(restored["id"], id.as_str(), "{restored:#}");
    assert!(world.has_leads());
    assert_eq!(world.migrated().len(), 1, "the snapshot has the marker of its branch");
    let listed = world.ask(&x, &["list"]);
    let rows: Vec<_> =
        listed["databases"].as_array().unwrap().iter().map(|row| (&row["name"], &row["parent"])).collect();
    assert_eq!(
        rows,
        [(&"dev-x".into(), &"main".into()), (&"main".into(), &serde_json::Value::Null)],
        "{listed:#}"
    );
    assert_eq!(world.ask(&x, &["status"])["snapshots"], serde_json::json!(["before"]));

    // A reset copies the parent, not the snapshot that the branch was restored from, and keeps the snapshot.
    let reset = world.ask(&x, &["reset", "--yes"]);
    assert_eq!((&reset["parent"], reset["id"].as_str()), (&"main".into(), Some(id.as_str())), "{reset:#}");
    assert!(!world.has_leads());
    for fault in [Fault::LoseAnswer, Fault::status(423, "", "busy")] {
        world.neon.fail("POST", "/restore", fault);
        world.ask(&x, &["restore", "before", "--yes"]);
        assert!(world.has_leads());
    }
    let error =
        refusal(world.devrun(&x, &["db", "restore", "other", "--yes", "--json"]), "database-missing", 84);
    assert_eq!(error["fix"], "it has: before");
    world.ask(&x, &["snapshot", "after"]);
    assert_eq!(world.ask(&x, &["delete", "--yes"])["deleted"], true);
    assert_eq!(world.branches(), ["main"]);
}

#[test]
fn snapshots_are_replaced_deleted_and_refused_where_neon_refuses_them() {
    let Some(world) = World::new("") else { return };
    let x = world.worktree("x", "x");
    world.ask(&x, &["migrate"]);
    world.ask(&x, &["snapshot", "a"]);
    world.neon.sql("dev-x", "create table leads as select 1 as n");
    refusal(world.devrun(&x, &["db", "snapshot", "a", "--json"]), "usage", 2);
    world.ask(&x, &["snapshot", "a", "--replace"]);
    world.neon.sql("dev-x", "drop table leads");
    world.ask(&x, &["restore", "a", "--yes"]);
    assert!(world.has_leads());
    // The branch is now a child of the snapshot, so devrun renames the old snapshot instead of deleting it.
    world.neon.sql("dev-x", "create table more as select 1 as n");
    world.ask(&x, &["snapshot", "a", "--replace"]);
    world.neon.sql("dev-x", "drop table more");
    world.ask(&x, &["restore", "a", "--yes"]);
    assert_eq!(world.neon.sql("dev-x", "select n::text from more"), ["1"]);
    // At the limit of branches, the snapshot that is to be replaced stays.
    let refused = Fault::status(422, "BRANCHES_LIMIT_EXCEEDED", "branches limit exceeded");
    world.neon.fail("POST", "/branches", refused);
    refusal(world.devrun(&x, &["db", "snapshot", "a", "--replace", "--json"]), "database-limit", 84);
    world.ask(&x, &["restore", "a", "--yes"]);
    // A lost answer makes no second branch.
    world.neon.fail("POST", "/branches", Fault::LoseAnswer);
    world.ask(&x, &["snapshot", "b"]);
    let names = |answer: &serde_json::Value| {
        let all = answer["snapshots"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["snapshot"].as_str().unwrap().to_string());
        all.collect::<Vec<_>>()
    };
    let mut all = names(&world.ask(&x, &["snapshots"]));
    all.sort();
    assert_eq!(all, ["a", "b"]);
    let refused = Fault::status(422, "BRANCHES_LIMIT_EXCEEDED", "branches limit exceeded");
    world.neon.fail("POST", "/branches", refused);
    refusal(world.devrun(&x, &["db", "snapshot", "c", "--json"]), "database-limit", 84);
    world.ask(&x, &["reset", "--yes"]);
    world.ask(&x, &["snapshot", "a", "--delete"]);
    world.ask(&x, &["snapshot", "b", "--delete"]);
    assert_eq!(world.branches(), ["main", "dev-x"], "the backups have no purpose without the snapshots");
    let config = std::fs::read_to_string(x.join("devrun.yaml")).unwrap();
    let expiring = config.replace("database:\n", "database:\n  neon: { expires_in: 7d }\n");
    world.sandbox.write(&x.join("devrun.yaml"), &expiring);
    let error = refusal(world.devrun(&x, &["db", "snapshot", "c", "--json"]), "database-failed", 84);
    assert!(error["fix"].as_str().unwrap().contains("expires_in"), "{error:#}");
}
