//! The hooks of Claude Code: payloads of several versions, names, and what stays when work would be lost.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;

use super::wait_for_background;
use crate::asking::{base, devrun, fine, server};
use crate::support::{Ended, Sandbox};

/// Runs `devrun hook ARGS` in `folder` with `input`.
#[track_caller]
fn hook_in(sandbox: &Sandbox, folder: &Path, args: &[&str], input: &str) -> Ended {
    let mut file = tempfile::tempfile_in(sandbox.path()).unwrap();
    file.write_all(input.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    devrun(sandbox, folder, &[&["hook"], args].concat()).with(|command| command.stdin(file)).run()
}

#[track_caller]
fn hook(sandbox: &Sandbox, args: &[&str], input: &str) -> Ended {
    hook_in(sandbox, &sandbox.main(), args, input)
}

/// Returns the path that `worktree-create` prints as its only output.
#[track_caller]
fn created(ended: &Ended) -> PathBuf {
    assert_eq!(ended.code, Some(0), "{ended}");
    let path = PathBuf::from(ended.stdout.strip_suffix('\n').unwrap());
    assert!(path.is_dir(), "{ended}");
    path
}

#[track_caller]
fn create(sandbox: &Sandbox, name: &str) -> PathBuf {
    created(&hook(sandbox, &["worktree-create"], &json!({ "name": name }).to_string()))
}

fn branch_of(sandbox: &Sandbox, folder: &Path) -> String {
    sandbox.git(&["-C", folder.to_str().unwrap(), "branch", "--show-current"])
}

/// Returns the payload of `WorktreeRemove`.
fn removal(path: &Path) -> String {
    json!({ "hook_event_name": "WorktreeRemove", "worktree_path": path }).to_string()
}

fn sandbox_with_stack() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox
        .repo_with(&[("devrun.yaml", &server(base())), (".gitignore", ".claude/worktrees/\nlocal.json\n")]);
    sandbox
}

#[test]
fn h2_w1_w2_w7_names_give_folders_and_branches() {
    let sandbox = sandbox_with_stack();
    let folder = sandbox.main().canonicalize().unwrap().join(".claude/worktrees");
    for (name, wanted, branch) in [
        ("bright-fox", "bright-fox", "worktree-bright-fox"),
        ("Refactor payments schema", "Refactor-payments-schema", "worktree-Refactor-payments-schema"),
        ("feature/auth", "feature-auth", "worktree-feature/auth"),
        ("Größe", "Größe", "worktree-Größe"),
        ("../../outside", "outside", "worktree-outside"),
        ("--force", "force", "worktree-force"),
    ] {
        let path = create(&sandbox, name);
        assert_eq!(
            (path.clone(), branch_of(&sandbox, &path)),
            (folder.join(wanted), branch.into()),
            "{name}"
        );
        let again = hook(&sandbox, &["worktree-create"], &json!({ "name": name }).to_string());
        assert_eq!(created(&again), path, "{name}");
        assert!(again.stderr.contains("exists already"), "{again}");
    }
    // Another name with the same folder is another worktree.
    let other = create(&sandbox, "feature-auth");
    assert_eq!(branch_of(&sandbox, &other), "worktree-feature-auth");
    assert!(other.file_name().unwrap().to_str().unwrap().starts_with("feature-auth-"), "{other:?}");
    assert_eq!(create(&sandbox, "feature-auth"), other);
    // A worktree whose agent has switched to another branch is opened again.
    let fox = folder.join("bright-fox");
    sandbox.git(&["-C", fox.to_str().unwrap(), "switch", "-q", "-c", "mine"]);
    assert_eq!(create(&sandbox, "bright-fox"), fox);
    wait_for_background(&sandbox);
}

#[test]
fn h2_captured_payloads_of_several_versions() {
    let sandbox = sandbox_with_stack();
    let main = sandbox.main().canonicalize().unwrap();
    let first = sandbox.git(&["rev-parse", "HEAD"]);
    sandbox.git(&["commit", "-q", "--allow-empty", "-m", "second"]);
    let below = main.join("deep/er");
    std::fs::create_dir_all(&below).unwrap();
    for (payload, name, branch) in [
        (
            json!({ "session_id": "1", "transcript_path": "/t.jsonl", "cwd": below, "hook_event_name": "WorktreeCreate",
                "name": "a" }),
            "a",
            "worktree-a",
        ),
        (
            json!({ "worktree_name": "b", "base_ref": first, "unknown": [1, { "name": "no" }] }),
            "b",
            "worktree-b",
        ),
        (json!({ "worktree": { "name": "c" }, "branch_name": "topic/c" }), "c", "topic/c"),
        (
            json!({ "worktree_path": main.join(".claude/worktrees/d"), "cwd": "/nonexistent" }),
            "d",
            "worktree-d",
        ),
    ] {
        let path = created(&hook(&sandbox, &["worktree-create"], &payload.to_string()));
        assert_eq!(path, main.join(".claude/worktrees").join(name), "{payload}");
        assert_eq!(branch_of(&sandbox, &path), branch, "{payload}");
    }
    let begins = sandbox.git(&["rev-parse", "worktree-b"]);
    assert_eq!(begins, first);
    // A session in a linked worktree makes its worktrees in the main one.
    let inner = hook_in(&sandbox, &main.join(".claude/worktrees/a"), &["worktree-create"], r#"{"name":"e"}"#);
    assert_eq!(created(&inner), main.join(".claude/worktrees/e"));
    wait_for_background(&sandbox);
}

#[test]
fn h2_a_worktree_is_prepared_once_although_git_calls_the_hook() {
    let sandbox = sandbox_with_stack();
    sandbox.git(&["config", "--global", "--unset", "core.hooksPath"]);
    let main = sandbox.main();
    // Without dependencies, `npm ci` needs no network.
    let lock = r#"{"name":"x","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{"":{"name":"x","version":"1.0.0"}}}"#;
    sandbox.write(&main.join("package.json"), r#"{"name":"x","version":"1.0.0"}"#);
    sandbox.write(&main.join("package-lock.json"), lock);
    let config = format!("{}dependencies: {{ node: {{ directory: . }} }}\n", server(base()));
    sandbox.write(&main.join("devrun.yaml"), &config);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-q", "-m", "packages"]);
    for (name, options, installs) in [("ports", &[][..], false), ("packages", &["--packages"], true)] {
        fine(sandbox.devrun(&[&["hook", "install"], options].concat()));
        let path = create(&sandbox, name);
        wait_for_background(&sandbox);
        let state = sandbox.git(&["-C", path.to_str().unwrap(), "rev-parse", "--absolute-git-dir"]);
        let log = std::fs::read_to_string(Path::new(&state).join("devrun/hook.log")).unwrap();
        let found = (log.matches("ports: slot").count(), log.contains("npm ci"));
        assert_eq!(found, (1, installs), "{log}");
    }
}

#[test]
fn h2_malformed_payloads_fail_without_output() {
    let sandbox = sandbox_with_stack();
    let long = format!("{{\"name\":\"{}", "x".repeat(2 << 20));
    for (input, words) in [
        ("", "ends too early"),
        ("{\"name\":", "ends too early"),
        ("not json", "not a JSON object"),
        ("[\"a\"]", "not a JSON object"),
        ("{\"session_id\":\"1\",\"cwd\":\"/\"}", "session_id, cwd"),
        ("{\"name\":\"...\"}", "no branch name"),
        ("{\"name\":7}", "has no name"),
        (long.as_str(), "longer than"),
    ] {
        for verb in ["worktree-create", "worktree-remove"] {
            let ended = hook(&sandbox, &[verb], input);
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{verb}: {ended}");
            assert!(verb == "worktree-remove" || ended.stderr.contains(words), "{words}: {ended}");
        }
    }
    assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 1);
}

#[test]
fn h2_open_standard_input_does_not_block() {
    let sandbox = sandbox_with_stack();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let running = sandbox
        .devrun(&["hook", "worktree-create"])
        .with(|command| command.stdin(Stdio::from(reader)))
        .start();
    writer.write_all(b"{\"name\":").unwrap();
    writer.write_all(b"\"open\"}").unwrap();
    created(&running.wait());
    drop(writer);
    wait_for_background(&sandbox);
}

#[test]
fn w5_w12_branches_are_opened_and_listed_files_copied() {
    let sandbox = sandbox_with_stack();
    let main = sandbox.main();
    sandbox.write(&main.join(".worktreeinclude"), "local.json\n");
    sandbox.write(&main.join("local.json"), "{}");
    sandbox.git(&["branch", "topic"]);
    let path = create(&sandbox, "topic");
    assert_eq!(branch_of(&sandbox, &path), "topic");
    assert_eq!(std::fs::read_to_string(path.join("local.json")).unwrap(), "{}");
    // The main worktree has the branch `main`, so devrun makes another branch.
    assert_eq!(branch_of(&sandbox, &create(&sandbox, "main")), "worktree-main");
    wait_for_background(&sandbox);
    // A folder that was deleted by hand is made again.
    std::fs::remove_dir_all(&path).unwrap();
    fine(sandbox.program("git", &["branch", "worktree-topic"]));
    assert_eq!(branch_of(&sandbox, &create(&sandbox, "topic")), "worktree-topic");
    wait_for_background(&sandbox);
}

#[test]
fn h3_the_stack_ends_and_a_clean_worktree_is_removed_with_its_branch() {
    let sandbox = sandbox_with_stack();
    let path = create(&sandbox, "done");
    fine(devrun(&sandbox, &path, &["up", "-d"]));
    let ended = hook_in(&sandbox, &path, &["worktree-remove"], &removal(&path));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended}");
    assert!(!path.exists());
    assert_eq!(sandbox.git(&["branch", "--list", "worktree-done"]), "");
    wait_for_background(&sandbox);
}

#[test]
fn h3_no_work_is_lost_without_an_option() {
    let sandbox = sandbox_with_stack();
    let path = create(&sandbox, "work");
    let folder = path.to_str().unwrap();
    sandbox.write(&path.join("new.txt"), "work");
    let ended = hook(&sandbox, &["worktree-remove"], &removal(&path));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(81), ""), "{ended}");
    assert!(ended.stderr.contains("new.txt") && path.join("new.txt").exists(), "{ended}");
    // Committed work stays on its branch.
    sandbox.git(&["-C", folder, "add", "-A"]);
    sandbox.git(&["-C", folder, "commit", "-q", "-m", "work"]);
    let commit = sandbox.git(&["rev-parse", "worktree-work"]);
    let ended = hook(&sandbox, &["worktree-remove"], &removal(&path));
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(!path.exists() && ended.stderr.contains("kept: branch worktree-work"), "{ended}");
    assert_eq!(sandbox.git(&["rev-parse", "worktree-work"]), commit);
    // The next session with this name continues there. With the options, all of it goes.
    assert_eq!(create(&sandbox, "work"), path);
    sandbox.write(&path.join("more.txt"), "work");
    let ended = hook(&sandbox, &["worktree-remove", "--uncommitted", "--unmerged"], &removal(&path));
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(!path.exists());
    assert_eq!(sandbox.git(&["branch", "--list", "worktree-work"]), "");
    wait_for_background(&sandbox);
}

#[test]
fn h3_a_path_that_is_gone_is_no_failure() {
    let sandbox = sandbox_with_stack();
    let path = create(&sandbox, "gone");
    wait_for_background(&sandbox);
    std::fs::remove_dir_all(&path).unwrap();
    for _ in 0..2 {
        let ended = hook(&sandbox, &["worktree-remove"], &removal(&path));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended}");
        assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 1);
    }
    assert_ne!(sandbox.git(&["branch", "--list", "worktree-gone"]), "", "the branch stays");
    let outside = hook_in(&sandbox, &sandbox.home(), &["worktree-remove"], &removal(&path));
    assert_eq!(outside.code, Some(0), "{outside}");
}

#[test]
fn h3_only_linked_worktrees_are_removed() {
    let sandbox = sandbox_with_stack();
    let main = sandbox.main();
    let below = main.join("below");
    std::fs::create_dir(&below).unwrap();
    for path in [main.clone(), below.clone(), sandbox.home()] {
        let ended = hook(&sandbox, &["worktree-remove"], &removal(&path));
        assert_eq!(ended.code, Some(81), "{ended}");
        assert!(path.is_dir());
    }
    // The name alone means the folder that `worktree-create` makes.
    let path = create(&sandbox, "by name");
    let ended = hook(&sandbox, &["worktree-remove"], r#"{"name":"by name"}"#);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(!path.exists());
    wait_for_background(&sandbox);
}

#[test]
fn w14_parallel_subagents_get_worktrees_of_their_own() {
    let sandbox = sandbox_with_stack();
    let start = |name: &str| {
        let mut file = tempfile::tempfile_in(sandbox.path()).unwrap();
        write!(file, "{}", json!({ "name": name })).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        sandbox.devrun(&["hook", "worktree-create"]).with(|command| command.stdin(file)).start()
    };
    let names = ["agent-1a2b", "agent-3c4d", "agent-5e6f", "agent-1a2b"];
    let running = names.map(start);
    let paths: std::collections::BTreeSet<PathBuf> =
        running.into_iter().map(|running| created(&running.wait())).collect();
    assert_eq!(paths.len(), 3, "the same name gives the same worktree: {paths:?}");
    wait_for_background(&sandbox);
}
