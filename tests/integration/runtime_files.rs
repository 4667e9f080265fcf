//! Files outside the worktree that a running stack depends on, and process ids of other pid namespaces.

use std::path::Path;

use devrun::testing::os::proc;

use crate::asking::{answer, base, fine, json, server, skip};
use crate::support::{Ended, LIMIT, Sandbox, wait_for};

/// Makes a repository with a server `web`.
fn world() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    sandbox
}

fn devrun(sandbox: &Sandbox, args: &[&str]) -> Ended {
    fine(sandbox.devrun(args).directory(sandbox.main()))
}

/// Returns the states in `devrun ls`.
fn listed(sandbox: &Sandbox, folder: &Path) -> Vec<String> {
    let said = json(&fine(sandbox.devrun(&["ls", "--json"]).directory(folder)));
    said["stacks"].as_array().unwrap().iter().map(|stack| stack["state"].as_str().unwrap().into()).collect()
}

#[test]
fn stack_answers_after_its_runtime_folder_was_removed() {
    let sandbox = world();
    devrun(&sandbox, &["up", "-d"]);
    let folder = sandbox.runtime().join("devrun-worktree");
    let verbs: [&[&str]; 5] = [&["status"], &["why"], &["up", "-d"], &["wait"], &["restart", "web"]];
    for verb in verbs {
        std::fs::remove_dir_all(&folder).unwrap();
        devrun(&sandbox, verb);
    }
    assert_eq!(listed(&sandbox, &sandbox.main()), ["ready"]);
    devrun(&sandbox, &["down"]);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn ls_shows_the_stack_of_this_worktree_without_its_entry() {
    let sandbox = world();
    devrun(&sandbox, &["up", "-d"]);
    let folder = sandbox.runtime().join("devrun-worktree");
    let entry = std::fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ending| ending == "stack"))
        .unwrap();
    std::fs::remove_file(&entry).unwrap();
    assert_eq!(listed(&sandbox, &sandbox.main()), ["ready"]);
    wait_for("the entry", LIMIT, || if entry.exists() { Ok(()) } else { Err("it is missing".into()) });
    assert_eq!(listed(&sandbox, &sandbox.home()), ["ready"]);
    devrun(&sandbox, &["down"]);
    assert_eq!(listed(&sandbox, &sandbox.main()), [] as [String; 0]);
}

/// Returns true if a pid namespace can be made; otherwise reports that the test is skipped.
fn has_namespaces(sandbox: &Sandbox) -> bool {
    let can = sandbox.program("unshare", &["--pid", "--fork", "--mount-proc", "true"]).run().code == Some(0);
    if !can {
        skip("no pid namespace can be made here");
    }
    can
}

#[test]
fn stack_in_another_pid_namespace_is_asked_and_ended_through_its_socket() {
    let sandbox = world();
    if !has_namespaces(&sandbox) {
        return;
    }
    let inside = sandbox
        .program("unshare", &["--pid", "--fork", "--mount-proc", env!("CARGO_BIN_EXE_devrun")])
        .directory(sandbox.main())
        .start();
    let status = wait_for("readiness", LIMIT, || {
        let ended = sandbox.devrun(&["status", "--json"]).directory(sandbox.main()).run();
        let status: serde_json::Value =
            serde_json::from_str(&ended.stdout).map_err(|error| error.to_string())?;
        if status["state"] == "ready" { Ok(status) } else { Err(format!("{ended}")) }
    });
    let namespace = status["namespace"].as_str().unwrap();
    assert!(namespace.starts_with("pid:[") && proc::namespace().as_deref() != Some(namespace), "{status:#}");
    assert!(devrun(&sandbox, &["status"]).stdout.contains("a container or sandbox"));
    assert_eq!(listed(&sandbox, &sandbox.main()), ["ready"]);
    assert_eq!(devrun(&sandbox, &["down"]).stdout, "Stopped.\n");
    inside.wait();
}

#[test]
fn own_server_is_no_stranger_where_proc_shows_another_namespace() {
    let sandbox = world();
    if !has_namespaces(&sandbox) {
        return;
    }
    let line = format!("{0} up -d && {0} status --json && {0} down", env!("CARGO_BIN_EXE_devrun"));
    let ended =
        sandbox.program("unshare", &["--pid", "--fork", "sh", "-c", &line]).directory(sandbox.main()).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.stdout.contains(r#""state": "ready""#), "{ended}");
    assert!(answer(&sandbox, &sandbox.main(), "status")["namespace"].is_null());
}

#[test]
fn missing_proc_is_named_with_a_fix() {
    let sandbox = world();
    if !has_namespaces(&sandbox) {
        return;
    }
    let line = format!("umount -l /proc && exec {} up -d --json", env!("CARGO_BIN_EXE_devrun"));
    let ended = sandbox.program("unshare", &["--mount", "sh", "-c", &line]).directory(sandbox.main()).run();
    let error: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(error["error"]["fault"], "environment", "{ended}");
    assert!(error["error"]["fix"].as_str().unwrap().contains("mount -t proc"), "{ended}");
}
