//! `devrun prune` with databases on Neon, which another clone or machine may use.

use serde_json::Value;

use super::World;
use crate::asking::{fine, json, refusal};
use crate::support::neon::Fault;

/// Returns the databases in the answer of `devrun prune ARGS --json`, each with `remove` and its reason.
#[track_caller]
fn databases(world: &World, args: &[&str]) -> Vec<(String, bool, String)> {
    let main = world.sandbox.main();
    let answer = json(&fine(world.devrun(&main, &[&["prune", "--json"], args].concat())));
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let items = answer["items"].as_array().unwrap().iter().filter(|item| item["kind"] == "database");
    items.map(|item| (text(&item["name"]), item["remove"] == true, text(&item["reason"]))).collect()
}

#[test]
fn d6_a_neon_branch_is_deleted_only_if_this_clone_knows_the_worktree_that_made_it() {
    let Some(world) = World::new("") else { return };
    let main = world.sandbox.main();
    for name in ["mine", "theirs"] {
        let folder = world.worktree(name, name);
        fine(world.devrun(&folder, &["db", "migrate"]));
        std::fs::remove_dir_all(&folder).unwrap();
    }
    // Removes all records of the worktree `theirs`, as if another machine had made its database.
    let records = main.join(".git/worktrees/theirs");
    std::fs::remove_dir_all(records).unwrap();
    let leases = world.sandbox.home().join(".local/state/devrun-worktree/leases.json");
    let text = std::fs::read_to_string(&leases).unwrap();
    let mut table: Value = serde_json::from_str(&text).unwrap();
    table["leases"]
        .as_array_mut()
        .unwrap()
        .retain(|row| !row["worktree"].as_str().unwrap().ends_with("theirs"));
    world.sandbox.write(&leases, &table.to_string());
    world.sandbox.git(&["branch", "-D", "theirs"]);

    let kept = databases(&world, &[]);
    let of = |found: &[(String, bool, String)], name: &str| {
        let is_it = |(known, ..): &&(String, bool, String)| known.ends_with(name);
        found.iter().find(is_it).unwrap_or_else(|| panic!("{found:#?}")).clone()
    };
    assert_eq!(of(&kept, "mine").2, "the branch mine exists");
    assert_eq!(of(&kept, "theirs").2, "it was made in a worktree that this clone does not know");
    assert!(kept.iter().all(|(_, remove, _)| !remove), "{kept:#?}");

    // git does not delete a branch that one of its records names.
    world.sandbox.git(&["update-ref", "-d", "refs/heads/mine"]);
    let shown = databases(&world, &["--older-than", "0s", "--dry-run"]);
    let (name, remove, why) = of(&shown, "mine");
    assert!(remove && why == "the branch mine is gone", "{why}");
    assert!(!of(&shown, "theirs").1);
    databases(&world, &["--older-than", "0s", "--yes"]);
    let left = databases(&world, &["--older-than", "0s"]);
    assert!(left.iter().all(|(known, remove, _)| *known != name && !remove), "{left:#?}");
    assert_eq!(of(&left, "theirs").2, "it was made in a worktree that this clone does not know");
}

#[test]
fn d6_limit_of_neon_names_what_prune_would_delete() {
    let Some(world) = World::new("") else { return };
    let limit = || {
        let refused = Fault::status(422, "BRANCHES_LIMIT_EXCEEDED", "branches limit exceeded");
        world.neon.fail("POST", "/branches", refused);
    };
    let y = world.worktree("y", "y");
    limit();
    let error = refusal(world.devrun(&y, &["db", "migrate", "--json"]), "database-limit", 84);
    assert!(
        error["cause"].as_str().unwrap().ends_with("`devrun prune` would delete no branch database"),
        "{error:#}"
    );
    assert!(error["fix"].as_str().unwrap().contains("raise the plan"), "{error:#}");
    let x = world.worktree("x", "x");
    fine(world.devrun(&x, &["db", "migrate"]));
    std::fs::remove_dir_all(&x).unwrap();
    world.sandbox.git(&["update-ref", "-d", "refs/heads/x"]);
    for args in [&["db", "migrate", "--json"][..], &["sync", "--json"], &["up", "-d", "--json"]] {
        limit();
        let error = refusal(world.devrun(&y, args), "database-limit", 84);
        let told = "`devrun prune` would delete: dev-x (the branch x is gone)";
        assert!(error["cause"].as_str().unwrap().contains(told), "{error:#}");
        assert_eq!(error["fix"], "devrun prune --yes, then the same again", "{error:#}");
    }
    fine(world.devrun(&y, &["prune", "--yes"]));
    assert!(world.neon.branch("dev-x").is_none());
    fine(world.devrun(&y, &["db", "migrate"]));
}

#[test]
fn the_branches_are_listed_twice_however_many_are_deleted() {
    let Some(world) = World::new("") else { return };
    for name in ["one", "two", "three"] {
        let folder = world.worktree(name, name);
        fine(world.devrun(&folder, &["db", "migrate"]));
        std::fs::remove_dir_all(&folder).unwrap();
        world.sandbox.git(&["update-ref", "-d", &format!("refs/heads/{name}")]);
    }
    world.neon.take_calls();
    let shown = databases(&world, &["--older-than", "0s", "--yes"]);
    assert_eq!(shown.iter().filter(|(_, removed, _)| *removed).count(), 3, "{shown:#?}");
    let calls = world.neon.take_calls();
    let lists = calls.iter().filter(|call| {
        call.method == "GET"
            && call.path == "/branches"
            && !["search", "cursor"].iter().any(|word| call.query.contains(word))
    });
    // Once for the decision, and once under the lock.
    assert_eq!(lists.count(), 2, "{calls:#?}");
}
