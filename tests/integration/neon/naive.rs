//! Mistakes of a simple script that uses Neon, which devrun does not make.

use super::{World, creations, ensure_in};
use crate::support::neon::Call;

#[test]
fn partial_name_matches_are_ignored() {
    let Some(world) = World::new("") else { return };
    let dir = tempfile::tempdir().unwrap();
    for name in ["dev-foo-2", "my-dev-foo", "dev-fooxbar", "dev-foo.bar", "dev-foo"] {
        ensure_in(&world.neon, dir.path(), name, |_| ()).unwrap();
        assert_eq!(creations(&world.neon.take_calls()), 1, "{name}");
    }
    let again = ensure_in(&world.neon, dir.path(), "dev-foo", |_| ()).unwrap();
    assert_eq!(again.id, world.neon.branch("dev-foo").unwrap().id);
    assert_eq!(creations(&world.neon.take_calls()), 0);
}

#[test]
fn existing_branch_is_still_migrated() {
    let Some(world) = World::new("") else { return };
    let dir = tempfile::tempdir().unwrap();
    ensure_in(&world.neon, dir.path(), "dev-x", |_| ()).unwrap();
    let worktree = world.worktree("x", "x");
    world.run(&worktree, &[]);
    assert_eq!(world.migrated().len(), 1);
}

#[test]
fn names_with_slashes_or_case_are_distinct_branches() {
    let Some(world) = World::new("") else { return };
    for (folder, branch) in [("a", "feature/x"), ("b", "feature-x"), ("c", "Feature-x")] {
        let worktree = world.worktree(folder, branch);
        world.run(&worktree, &[]);
        assert!(world.neon.branch(&format!("dev-{branch}")).is_some(), "{branch}");
    }
    assert_eq!(world.migrated().len(), 3);
}

#[test]
fn a_detached_head_is_not_called_head() {
    let Some(world) = World::new("") else { return };
    let mut names = Vec::new();
    for name in ["a", "b"] {
        let folder = world.sandbox.path().join(name);
        world.sandbox.git(&["worktree", "add", "-q", "--detach", folder.to_str().unwrap()]);
        world.run(&folder, &[]);
        names = world.neon.state().branches.iter().map(|branch| branch.name.clone()).collect();
    }
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.iter().all(|name| name != "dev-" && name != "dev-HEAD"), "{names:?}");
}

#[test]
fn an_empty_name_never_means_the_default_branch() {
    let Some(world) = World::new("  branch: '${NOTHING:-}'") else { return };
    let ended = world.fail(&world.sandbox.main(), &[], "config-invalid");
    assert!(ended.stderr.contains("cannot be the name"), "{ended}");
    assert_eq!(world.neon.take_calls(), [] as [Call; 0]);
}

#[test]
fn failed_list_does_not_create_a_branch() {
    let Some(world) = World::new("") else { return };
    world
        .sandbox
        .write(&world.sandbox.main().join(".env"), "NEON_API_KEY=wrong\nNEON_PROJECT_ID=quiet-moon-123456\n");
    let worktree = world.worktree("x", "x");
    let ended = world.fail(&worktree, &[], "database-failed");
    assert!(ended.stderr.contains("NEON_API_KEY (.env of the main worktree)"), "{ended}");
    assert!(ended.stderr.contains("req-1"), "{ended}");
    assert!(!ended.stderr.contains("wrong"), "{ended}");
    let calls = world.neon.take_calls();
    assert!(calls.iter().all(|call| call.method == "GET"), "{calls:#?}");
}

#[test]
fn marker_of_another_branch_does_not_count() {
    let Some(world) = World::new("") else { return };
    let worktree = world.worktree("x", "x");
    world.run(&worktree, &[]);
    let first = world.neon.branch("dev-x").unwrap().id;
    // The branch expired or was deleted, and is made again.
    world.neon.remove("dev-x");
    world.run(&worktree, &[]);
    let second = world.neon.branch("dev-x").unwrap().id;
    assert_ne!(first, second);
    assert_eq!(world.migrated().len(), 2);
    // A reset from the parent keeps the id and removes the marker.
    world.neon.sql("dev-x", "drop schema _devrun cascade");
    world.run(&worktree, &[]);
    assert_eq!(world.migrated().len(), 3);
    // A marker that was copied from another branch does not count.
    world.neon.sql("dev-x", "update _devrun.marker set branch_id = 'br-another'");
    world.run(&worktree, &[]);
    assert_eq!(world.migrated().len(), 4);
}

#[test]
fn branch_removed_during_a_run_is_made_again() {
    let Some(world) = World::new("") else { return };
    let worktree = world.worktree("x", "x");
    let running = super::ready(world.devrun(&worktree, &[]).start());
    world.neon.remove("dev-x");
    super::stop(running);
    world.run(&worktree, &[]);
    assert_eq!(world.migrated().len(), 2);
    assert_eq!(creations(&world.neon.take_calls()), 2);
}

#[test]
fn parent_is_used_only_when_named_and_allowed() {
    let Some(world) = World::new("  branch: '${branch}'") else { return };
    let main = world.sandbox.main();
    for args in [&[][..], &["--allow-parent"]] {
        let ended = world.fail(&main, args, "config-invalid");
        assert!(ended.stderr.contains("main is the project's default branch"), "{ended}");
    }
    let config = std::fs::read_to_string(main.join("devrun.yaml")).unwrap();
    world.sandbox.write(&main.join("devrun.yaml"), &config.replace("'${branch}'", "main"));
    let ended = world.fail(&main, &[], "config-invalid");
    assert!(ended.stderr.contains("devrun up -d --allow-parent"), "{ended}");
    let calls = world.neon.take_calls();
    assert!(calls.iter().all(|call| call.method == "GET" && call.path == "/branches"), "{calls:#?}");
    assert_eq!(world.migrated(), [""; 0]);
    world.run(&main, &["up", "--allow-parent"]);
    assert_eq!(world.migrated().len(), 1);
}

#[test]
fn protected_and_copied_branches_are_refused() {
    let Some(world) = World::new("") else { return };
    let dir = tempfile::tempdir().unwrap();
    ensure_in(&world.neon, dir.path(), "staging", |_| ()).unwrap();
    let refused =
        ensure_in(&world.neon, dir.path(), "staging", |request| request.parent = Some("staging".into()));
    assert!(refused.unwrap_err().message.contains("copied from"));
    // devrun checks again, even if the branch was not protected the last time.
    world.neon.state().branches.last_mut().unwrap().protected = true;
    let refused = ensure_in(&world.neon, dir.path(), "staging", |_| ()).unwrap_err();
    assert!(refused.message.contains("a protected branch"), "{refused:?}");
    // A protected branch may still be the parent of a copy.
    let copy = ensure_in(&world.neon, dir.path(), "dev-y", |request| request.parent = Some("staging".into()));
    assert_eq!(copy.unwrap().copied_from, Some(world.neon.branch("staging").unwrap().id));
    let missing = ensure_in(&world.neon, dir.path(), "dev-z", |request| request.parent = Some("stag".into()));
    assert!(missing.unwrap_err().message.contains("no branch \"stag\""));
}
