//! The Neon branch of a git branch that was renamed. Neon never changes the annotation of a branch.

use super::{World, creations};
use crate::asking::{fine, json};

#[test]
fn d5_neon_branch_follows_its_renamed_git_branch() {
    let Some(world) = World::new("") else { return };
    let x = world.worktree("x", "x");
    world.run(&x, &[]);
    let made = world.neon.branch("dev-x").unwrap();
    for (old, new) in [("x", "y"), ("y", "feature/z")] {
        world.sandbox.git(&["branch", "-m", old, new]);
        let said = world.run(&x, &[]).stderr;
        let told =
            format!("the database dev-{old} is called dev-{new} now: the branch {old} was renamed to {new}");
        assert!(said.contains(&told), "{said}");
        let branch = world.neon.branch(&format!("dev-{new}")).unwrap();
        assert_eq!((&branch.id, branch.annotation["git-branch"].as_str()), (&made.id, Some("x")));
        assert!(world.neon.branch(&format!("dev-{old}")).is_none());
        // The remembered URLs have the new name too.
        let plan = json(&fine(world.devrun(&x, &["plan", "--json"])));
        assert!(plan["database"]["url"].as_str().unwrap().starts_with("postgresql://"), "{plan:#}");
    }
    assert_eq!(creations(&world.neon.take_calls()), 1);
    assert_eq!(world.migrated().len(), 1);
    // The old branch in the annotation does not count any more, even when git's log of the rename has expired.
    std::fs::remove_dir_all(world.sandbox.main().join(".git/logs/refs/heads")).unwrap();
    let main = world.sandbox.main();
    let shown = json(&fine(world.devrun(&main, &["prune", "--json", "--older-than", "0s"])));
    let items = shown["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["name"] == "dev-feature/z").unwrap();
    assert_eq!((&item["remove"], &item["reason"]), (&false.into(), &"the branch feature/z exists".into()));
    let status = json(&fine(world.devrun(&x, &["db", "status", "--json"])));
    assert_eq!(status["git_branch"], "feature/z", "{status:#}");
    fine(world.devrun(&main, &["rm", "feature/z", "--yes"]));
    assert!(world.neon.branch("dev-feature/z").is_none());
}
