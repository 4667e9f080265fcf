//! git's post-checkout hook: how devrun edits the file, and what git's commands start.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::wait_for_background;
use crate::asking::{base, devrun, fine, json, refusal, server};
use crate::support::{LIMIT, Sandbox, wait_for};

/// Returns a sandbox with hooks and a repository whose stack has one port, and the path of the usual hook.
fn sandbox_with_hooks() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "--global", "--unset", "core.hooksPath"]);
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    (sandbox, main.join(".git/hooks/post-checkout"))
}

/// Writes a hook with these permissions.
fn write_hook(sandbox: &Sandbox, path: &Path, text: &str, mode: u32) {
    sandbox.write(path, text);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[track_caller]
fn hook(sandbox: &Sandbox, args: &[&str]) -> Value {
    json(&fine(sandbox.devrun(&[&["hook"], args, &["--json"]].concat())))
}

/// Returns the worktrees that have a lease.
fn leased(sandbox: &Sandbox) -> Vec<String> {
    let file = sandbox.home().join(".local/state/devrun-worktree/leases.json");
    let Ok(text) = std::fs::read_to_string(file) else { return Vec::new() };
    let table: Value = serde_json::from_str(&text).unwrap();
    let rows = table["leases"].as_array().unwrap().iter();
    rows.map(|row| row["worktree"].as_str().unwrap().to_string()).collect()
}

/// Asserts that `git worktree add` leases the ports of the new worktree.
#[track_caller]
fn assert_prepares(sandbox: &Sandbox, name: &str) {
    let folder = sandbox.worktree(name, name).canonicalize().unwrap();
    let state = sandbox.git(&["-C", folder.to_str().unwrap(), "rev-parse", "--absolute-git-dir"]);
    let log = Path::new(&state).join("devrun/hook.log");
    // A process that is executing its program has no tag for a moment, so the test first waits for its work.
    wait_for("the log of the hook", LIMIT, || match std::fs::read_to_string(&log) {
        Ok(text) if text.contains("ports: slot") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    wait_for_background(sandbox);
    assert!(leased(sandbox).contains(&folder.display().to_string()), "{:?}", leased(sandbox));
}

#[test]
fn h1_w3_w4_a_new_worktree_gets_its_ports() {
    let (sandbox, path) = sandbox_with_hooks();
    assert_eq!(hook(&sandbox, &["status"])["state"], "missing");
    assert_eq!(hook(&sandbox, &["install"])["action"], "created");
    assert_eq!(mode(&path), 0o755);
    let status = hook(&sandbox, &["status"]);
    assert_eq!((&status["state"], &status["manager"]), (&"installed".into(), &"none".into()), "{status:#}");
    assert_eq!(hook(&sandbox, &["install"])["action"], "unchanged");
    assert_prepares(&sandbox, "one");
    assert_eq!(hook(&sandbox, &["uninstall"])["action"], "removed");
    assert!(!path.exists());
    assert_eq!(hook(&sandbox, &["uninstall"])["action"], "unchanged");
    sandbox.worktree("two", "two");
    wait_for_background(&sandbox);
    assert_eq!(leased(&sandbox).len(), 1, "the hook is gone");
}

#[test]
fn h1_files_switches_rebases_and_bisects_start_nothing() {
    let (sandbox, _) = sandbox_with_hooks();
    hook(&sandbox, &["install", "--packages"]);
    assert_eq!(hook(&sandbox, &["status"])["packages"], true);
    for args in [
        &["checkout", "-q", "--", "devrun.yaml"][..],
        &["switch", "-q", "-c", "other"],
        &["commit", "-q", "--allow-empty", "-m", "second"],
        &["switch", "-q", "main"],
        &["commit", "-q", "--allow-empty", "-m", "third"],
        &["rebase", "-q", "--force-rebase", "main", "other"],
        &["bisect", "start", "-q", "HEAD", "HEAD~1"],
        &["bisect", "reset"],
        &["worktree", "add", "-q", "--no-checkout", "../bare-files"],
    ] {
        sandbox.git(args);
    }
    wait_for_background(&sandbox);
    assert_eq!(leased(&sandbox), [""; 0]);
    let zeros = "0".repeat(40);
    let bare = sandbox.path().join("bare-files");
    sandbox.write(&sandbox.main().join(".git/worktrees/bare-files/MERGE_HEAD"), "");
    fine(devrun(&sandbox, &bare, &["hook", "post-checkout", &zeros, "4f2c", "1"]));
    wait_for_background(&sandbox);
    assert_eq!(leased(&sandbox), [""; 0]);
    let log = sandbox.main().join(".git/worktrees/bare-files/devrun/hook.log");
    assert!(text(&log).contains("a merge is under way"));
    for arguments in [&[][..], &["x"], &["--unknown", "a", "b", "c"], &[&zeros, "4f2c", "0"]] {
        fine(sandbox.devrun(&[&["hook", "post-checkout"], arguments].concat()));
    }
}

#[test]
fn h1_only_linked_worktrees_are_prepared() {
    let (sandbox, _) = sandbox_with_hooks();
    let hooks = sandbox.home().join("hooks");
    std::fs::create_dir(&hooks).unwrap();
    sandbox.git(&["config", "--global", "core.hooksPath", hooks.to_str().unwrap()]);
    hook(&sandbox, &["install", "--shared"]);
    let main = sandbox.main();
    let (clone, empty) = (sandbox.path().join("clone"), sandbox.path().join("empty"));
    let (clone, empty) = (clone.to_str().unwrap(), empty.to_str().unwrap());
    // In both, git passes the null id as the old commit.
    sandbox.git(&["clone", "-q", main.to_str().unwrap(), clone]);
    sandbox.git(&["init", "-q", empty]);
    sandbox.git(&["-C", empty, "fetch", "-q", main.to_str().unwrap(), "main:other"]);
    sandbox.git(&["-C", empty, "switch", "-q", "other"]);
    wait_for_background(&sandbox);
    assert_eq!(leased(&sandbox), [""; 0]);
    let linked = sandbox.path().join("linked").display().to_string();
    sandbox.git(&["-C", clone, "worktree", "add", "-q", &linked]);
    wait_for_background(&sandbox);
    assert_eq!(leased(&sandbox).len(), 1, "{:?}", leased(&sandbox));
}

#[test]
fn h1_a_second_preparation_adds_to_the_log() {
    let (sandbox, _) = sandbox_with_hooks();
    let folder = sandbox.worktree("one", "one");
    let log = sandbox.main().join(".git/worktrees/one/devrun/hook.log");
    let zeros = "0".repeat(40);
    let prepare = || {
        fine(devrun(&sandbox, &folder, &["hook", "post-checkout", &zeros, "4f2c", "1"]));
        wait_for_background(&sandbox);
        text(&log)
    };
    prepare();
    assert_eq!(prepare().matches("ports: slot").count(), 2);
    sandbox.write(&log, &"x".repeat(256 << 10));
    assert!(prepare().starts_with("note: ports: slot"), "a long log is kept");
}

#[test]
fn h1_an_existing_hook_runs_as_before() {
    let (sandbox, path) = sandbox_with_hooks();
    // git-lfs writes such a hook. The hook ends before its last line.
    let mine = "#!/bin/bash -eu\necho \"$1 $2 $3\" >> \"$HOME/ran\"\nexit 3\necho never\n";
    write_hook(&sandbox, &path, mine, 0o555);
    assert_eq!(hook(&sandbox, &["install"])["action"], "changed");
    assert_eq!(mode(&path), 0o555);
    let folder = sandbox.path().join("one");
    let add = sandbox.program("git", &["worktree", "add", "-q", folder.to_str().unwrap()]).run();
    wait_for_background(&sandbox);
    assert_eq!(add.code, Some(3), "the status of the user's hook counts: {add}");
    let ran = text(&sandbox.home().join("ran"));
    assert!(ran.starts_with(&"0".repeat(40)) && ran.ends_with(" 1\n"), "{ran}");
    assert_eq!(leased(&sandbox).len(), 1);
    assert_eq!(hook(&sandbox, &["uninstall"])["action"], "changed");
    assert_eq!((text(&path), mode(&path)), (mine.to_string(), 0o555));
}

#[test]
fn h5_without_devrun_on_the_path_git_works_as_before() {
    let (sandbox, _) = sandbox_with_hooks();
    hook(&sandbox, &["install"]);
    let folder = sandbox.path().join("one");
    let add = ["worktree", "add", "-q", folder.to_str().unwrap()];
    let ended =
        fine(sandbox.program("/usr/bin/env", &[&["git"], &add[..]].concat()).env("PATH", "/usr/bin:/bin"));
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    wait_for_background(&sandbox);
    assert_eq!(leased(&sandbox), [""; 0]);
    let status = json(&fine(sandbox.devrun(&["hook", "status", "--json"]).env("PATH", "/usr/bin:/bin")));
    assert_eq!(status["program"], Value::Null);
}

#[test]
fn h1_a_linked_hook_stays_a_link() {
    let (sandbox, path) = sandbox_with_hooks();
    let real = sandbox.main().join("tools/hook.sh");
    write_hook(&sandbox, &real, "#!/bin/sh\necho mine > \"$HOME/ran\"\n", 0o750);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink("../../tools/hook.sh", &path).unwrap();
    let answer = hook(&sandbox, &["install"]);
    assert_eq!(answer["file"], real.canonicalize().unwrap().to_str().unwrap());
    assert!(path.symlink_metadata().unwrap().is_symlink());
    assert_eq!(mode(&real), 0o750);
    assert_prepares(&sandbox, "one");
    assert_eq!(text(&sandbox.home().join("ran")), "mine\n");
    hook(&sandbox, &["uninstall"]);
    assert_eq!(text(&real), "#!/bin/sh\necho mine > \"$HOME/ran\"\n");
    // The target of a link may be shared by several repositories.
    std::fs::rename(&real, sandbox.home().join("hook.sh")).unwrap();
    symlink(sandbox.home().join("hook.sh"), &real).unwrap();
    let error = refusal(sandbox.devrun(&["hook", "install", "--json"]), "hook-kept", 81);
    assert!(error["fix"].as_str().unwrap().contains("--shared"), "{error:#}");
    std::fs::remove_file(sandbox.home().join("hook.sh")).unwrap();
    refusal(sandbox.devrun(&["hook", "install", "--json"]), "hook-kept", 81);
}

#[test]
fn h1_other_languages_ignored_hooks_and_folders_of_others_are_left_alone() {
    let (sandbox, path) = sandbox_with_hooks();
    let python = "#!/usr/bin/env python3\nprint(1)\n";
    for (content, permissions, words) in
        [(python, 0o755, "hook post-checkout"), ("#!/bin/sh\necho mine\n", 0o644, "chmod +x")]
    {
        write_hook(&sandbox, &path, content, permissions);
        let error = refusal(sandbox.devrun(&["hook", "install", "--json"]), "hook-kept", 81);
        assert!(error["fix"].as_str().unwrap().contains(words), "{error:#}");
        assert_eq!((text(&path).as_str(), mode(&path)), (content, permissions));
    }
    let elsewhere = sandbox.home().join("hooks");
    std::fs::create_dir(&elsewhere).unwrap();
    sandbox.git(&["config", "core.hooksPath", elsewhere.to_str().unwrap()]);
    let error = refusal(sandbox.devrun(&["hook", "install", "--json"]), "hook-kept", 81);
    assert!(error["fix"].as_str().unwrap().contains("--shared"), "{error:#}");
    assert_eq!(hook(&sandbox, &["install", "--shared"])["action"], "created");
    assert_prepares(&sandbox, "one");
    sandbox.git(&["config", "core.hooksPath", "/dev/null"]);
    let error = refusal(sandbox.devrun(&["hook", "install", "--json"]), "hook-kept", 81);
    assert!(error["message"].as_str().unwrap().contains("hooks are off"), "{error:#}");
    let outside = sandbox.home();
    refusal(devrun(&sandbox, &outside, &["hook", "install", "--json"]), "git-failed", 81);
}

#[test]
fn h1_husky_runs_the_block_from_its_tracked_file() {
    let (sandbox, _) = sandbox_with_hooks();
    let main = sandbox.main();
    // The layout that husky 9 makes: wrappers in an ignored folder run the files of the folder above with `sh -e`.
    let wrapper = "#!/usr/bin/env sh\n. \"$(dirname \"$0\")/h\"\n";
    let h = "#!/usr/bin/env sh\nn=$(basename \"$0\")\ns=$(dirname \"$(dirname \"$0\")\")/$n\n\
             [ ! -f \"$s\" ] && exit 0\nsh -e \"$s\" \"$@\"\nexit $?\n";
    write_hook(&sandbox, &main.join(".husky/_/post-checkout"), wrapper, 0o755);
    write_hook(&sandbox, &main.join(".husky/_/h"), h, 0o644);
    sandbox.write(&main.join(".husky/_/.gitignore"), "*");
    write_hook(&sandbox, &main.join(".husky/post-checkout"), "echo mine > \"$HOME/ran\"\n", 0o644);
    sandbox.git(&["config", "core.hooksPath", ".husky/_"]);
    assert_eq!(hook(&sandbox, &["install"])["action"], "changed");
    let status = hook(&sandbox, &["status"]);
    assert_eq!((&status["state"], &status["manager"]), (&"installed".into(), &"husky".into()), "{status:#}");
    assert_eq!(text(&main.join(".husky/_/post-checkout")), wrapper);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-q", "-m", "hook"]);
    assert_prepares(&sandbox, "one");
    assert_eq!(text(&sandbox.home().join("ran")), "mine\n");
}

#[test]
fn h1_lefthook_gets_a_snippet() {
    let (sandbox, path) = sandbox_with_hooks();
    sandbox.write(&sandbox.main().join("lefthook.yml"), "pre-commit: {}\n");
    let answer = hook(&sandbox, &["install"]);
    assert_eq!(
        (&answer["action"], &answer["file"]),
        (&"snippet".into(), &"lefthook.yml".into()),
        "{answer:#}"
    );
    assert!(answer["snippet"].as_str().unwrap().contains("devrun hook post-checkout {0}"), "{answer:#}");
    assert!(!path.exists());
    assert_eq!(hook(&sandbox, &["status"])["state"], "managed");
}

#[test]
fn h1_packages_are_installed_in_the_background_if_wanted() {
    let (sandbox, _) = sandbox_with_hooks();
    let main = sandbox.main();
    // Without dependencies, `npm ci` needs no network.
    let lock = r#"{"name":"x","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{"":{"name":"x","version":"1.0.0"}}}"#;
    sandbox.write(&main.join("package.json"), r#"{"name":"x","version":"1.0.0"}"#);
    sandbox.write(&main.join("package-lock.json"), lock);
    let config = format!("{}dependencies: {{ node: {{ directory: . }} }}\n", server(base()));
    sandbox.write(&main.join("devrun.yaml"), &config);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-q", "-m", "packages"]);
    hook(&sandbox, &["install"]);
    assert_prepares(&sandbox, "ports");
    hook(&sandbox, &["install", "--packages"]);
    assert_prepares(&sandbox, "packages");
    let log = |name: &str| text(&main.join(".git/worktrees").join(name).join("devrun/hook.log"));
    assert!(!log("ports").contains("npm ci"), "{}", log("ports"));
    assert!(log("packages").contains("npm ci"), "{}", log("packages"));
}
