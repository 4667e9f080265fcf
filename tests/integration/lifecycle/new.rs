//! `devrun new`: names, existing branches and worktrees, layouts, copied files, `--up`.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::asking::{answer, base, devrun, fine, json, refusal, server};
use crate::support::Sandbox;

/// Returns the answer of `devrun new ARGS --json` in the main worktree.
#[track_caller]
fn new(sandbox: &Sandbox, args: &[&str]) -> Value {
    json(&fine(sandbox.devrun(&[&["new", "--json"], args].concat())))
}

/// Returns a path of the answer, which must be a folder.
#[track_caller]
fn path(answer: &Value) -> PathBuf {
    let path = PathBuf::from(answer["path"].as_str().unwrap());
    assert!(path.is_dir(), "{answer:#}");
    path
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn w7_a_name_with_spaces_and_slashes_gives_a_branch_and_a_folder() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    let made = new(&sandbox, &["feature/Refactor payments  schema"]);
    assert_eq!(made["branch"], "feature/Refactor-payments-schema");
    assert_eq!(made["created"], true);
    assert_eq!(made["commit"].as_str().unwrap(), sandbox.git(&["rev-parse", "main"]));
    let folder = main.parent().unwrap().join("repo.worktrees/feature-Refactor-payments-schema");
    assert_eq!(path(&made), folder.canonicalize().unwrap());
    let branch = sandbox.git(&["-C", folder.to_str().unwrap(), "branch", "--show-current"]);
    assert_eq!(branch, "feature/Refactor-payments-schema");
    // The same name finds the worktree again, also as branch or as path.
    for name in
        ["feature/Refactor payments  schema", "feature/Refactor-payments-schema", folder.to_str().unwrap()]
    {
        let again = new(&sandbox, &[name]);
        assert_eq!((&again["created"], &again["path"]), (&false.into(), &made["path"]), "{again:#}");
    }
    let error = refusal(sandbox.devrun(&["new", "--json", "..."]), "usage", 2);
    assert!(error["message"].as_str().unwrap().contains("no branch name"), "{error:#}");
}

#[test]
fn standard_output_has_only_the_path() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    let line = "cd \"$(\"$0\" new 'big idea')\" && pwd -P && git branch --show-current";
    let ended = fine(sandbox.program("/bin/sh", &["-c", line, env!("CARGO_BIN_EXE_devrun")]));
    let folder = main.parent().unwrap().join("repo.worktrees/big-idea").canonicalize().unwrap();
    assert_eq!(ended.stdout, format!("{}\nbig-idea\n", folder.display()));
    let again = fine(sandbox.devrun(&["new", "big idea"]));
    assert_eq!(again.stdout, format!("{}\n", folder.display()));
    assert!(again.stderr.contains("there is a worktree on big-idea already"), "{again}");
}

#[test]
fn a_new_branch_begins_where_from_says_and_follows_nothing() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    let first = sandbox.git(&["rev-parse", "HEAD"]);
    sandbox.git(&["commit", "-q", "--allow-empty", "-m", "second"]);
    sandbox.git(&["update-ref", "refs/remotes/origin/main", &first]);
    let made = new(&sandbox, &["x", "--from", "origin/main"]);
    assert_eq!(made["commit"].as_str().unwrap(), first);
    assert!(!text(&main.join(".git/config")).contains("[branch \"x\"]"));
    let error = refusal(sandbox.devrun(&["new", "--json", "y", "--from", "nowhere"]), "usage", 2);
    assert!(error["message"].as_str().unwrap().contains("nowhere"), "{error:#}");
    assert_eq!(sandbox.git(&["branch", "--list", "y"]), "");
}

#[test]
fn w5_an_existing_branch_is_checked_out_and_a_remote_one_followed() {
    let sandbox = Sandbox::new();
    sandbox.repo();
    sandbox.git(&["branch", "here"]);
    let made = new(&sandbox, &["here"]);
    assert_eq!((&made["branch"], &made["created"]), (&"here".into(), &true.into()));
    let elsewhere = sandbox.path().join("clone");
    sandbox.git(&["branch", "there"]);
    sandbox.git(&["clone", "-q", ".", elsewhere.to_str().unwrap()]);
    let ended = fine(devrun(&sandbox, &elsewhere, &["new", "there", "--from", "main"]));
    assert!(ended.stderr.contains("follows origin/there"), "{ended}");
    assert!(ended.stderr.contains("--from is ignored"), "{ended}");
    let upstream = ["-C", ended.stdout.trim(), "rev-parse", "--abbrev-ref", "@{upstream}"];
    assert_eq!(sandbox.git(&upstream), "origin/there");
}

#[test]
fn w17_branch_checked_out_elsewhere_names_the_worktree() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    let held = sandbox.worktree("held", "api-keys");
    let ended = fine(sandbox.devrun(&["new", "api-keys"]));
    assert_eq!(ended.stdout.trim(), held.canonicalize().unwrap().to_str().unwrap());
    assert!(ended.stderr.contains("there is a worktree on api-keys already"), "{ended}");
    let ended = fine(devrun(&sandbox, &held, &["new", "main"]));
    assert_eq!(ended.stdout.trim(), main.canonicalize().unwrap().to_str().unwrap());
    // During a rebase, HEAD of the other worktree is detached, and only git's record of the rebase names the branch.
    sandbox.git(&["-C", held.to_str().unwrap(), "commit", "-q", "--allow-empty", "-m", "mine"]);
    let rebase =
        ["-C", held.to_str().unwrap(), "-c", "sequence.editor=sed -i 1ibreak", "rebase", "-i", "HEAD~1"];
    sandbox.git(&rebase);
    let error = refusal(sandbox.devrun(&["new", "--json", "api-keys"]), "git-failed", 81);
    assert!(error["cause"].as_str().unwrap().contains(held.to_str().unwrap()), "{error:#}");
}

#[test]
fn w1_the_layout_is_configurable_and_works_inside_the_repository() {
    let sandbox = Sandbox::new();
    let layout = "worktrees: { path: '.claude/worktrees/${name}' }\nprocesses: { web: { run: 'true' } }\n";
    let main = sandbox.repo_with(&[("devrun.yaml", layout)]);
    let ended = fine(sandbox.devrun(&["new", "a/b"]));
    let folder = main.join(".claude/worktrees/a-b").canonicalize().unwrap();
    assert_eq!(ended.stdout.trim(), folder.to_str().unwrap());
    assert!(ended.stderr.contains("add the line /.claude/worktrees/ to .gitignore"), "{ended}");
    sandbox.write(&main.join(".gitignore"), "/.claude/worktrees/\n");
    // From a linked worktree, the path is still relative to the main worktree.
    let ended = fine(devrun(&sandbox, &folder, &["new", "c"]));
    assert_eq!(
        ended.stdout.trim(),
        main.join(".claude/worktrees/c").canonicalize().unwrap().to_str().unwrap()
    );
    assert!(!ended.stderr.contains(".gitignore"), "{ended}");
    for (path, at) in [("../${nam}", "did you mean `${name}`"), ("../same", "must contain `${name}`")] {
        let text = format!("worktrees: {{ path: '{path}' }}\nprocesses: {{ web: {{ run: 'true' }} }}\n");
        sandbox.write(&main.join("devrun.yaml"), &text);
        let error = refusal(sandbox.devrun(&["new", "--json", "d"]), "config-invalid", 80);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("devrun.yaml:1:") && message.contains(at), "{error:#}");
    }
    sandbox.write(&main.join("devrun.yaml"), "worktrees: { path: '~/trees/${repo}/${name}' }\n");
    let made = new(&sandbox, &["e"]);
    assert_eq!(path(&made), sandbox.home().join("trees/repo/e").canonicalize().unwrap());
}

#[test]
fn two_branches_with_one_folder_name_get_two_folders() {
    let sandbox = Sandbox::new();
    sandbox.repo();
    let one = path(&new(&sandbox, &["a/b"]));
    let other = path(&new(&sandbox, &["a-b"]));
    assert_eq!(one.file_name().unwrap(), "a-b");
    assert!(other.file_name().unwrap().to_str().unwrap().starts_with("a-b-"), "{}", other.display());
    assert_eq!(path(&new(&sandbox, &["a-b"])), other);
}

#[test]
fn c2_a_worktree_whose_folder_is_gone_is_made_again() {
    let sandbox = Sandbox::new();
    sandbox.repo();
    let gone = path(&new(&sandbox, &["x"]));
    let other = path(&new(&sandbox, &["y"]));
    std::fs::remove_dir_all(&gone).unwrap();
    std::fs::rename(&other, sandbox.path().join("unmounted")).unwrap();
    let made = new(&sandbox, &["x"]);
    assert_eq!((path(&made), &made["created"]), (gone, &true.into()));
    let list = sandbox.git(&["worktree", "list"]);
    assert!(list.contains("[y]"), "the record of another worktree was removed: {list}");
    sandbox.git(&["worktree", "lock", other.to_str().unwrap()]);
    let error = refusal(sandbox.devrun(&["new", "--json", "y"]), "worktree-kept", 81);
    assert!(error["fix"].as_str().unwrap().contains("git worktree unlock"), "{error:#}");
}

#[test]
fn h1_a_failing_hook_is_reported_and_the_worktree_stays() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    sandbox.git(&["config", "core.hooksPath", ".git/hooks"]);
    let hook = main.join(".git/hooks/post-checkout");
    sandbox.write(&hook, "#!/bin/sh\necho hook says no >&2\nexit 3\n");
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ended = fine(sandbox.devrun(&["new", "x"]));
    assert!(ended.stderr.contains("hook says no"), "{ended}");
    assert!(Path::new(ended.stdout.trim()).is_dir());
}

#[test]
fn w12_listed_ignored_files_are_copied_and_env_files_are_not() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[
        ("devrun.yaml", &server(base())),
        (".gitignore", "*.key\n.env*\nnode_modules\nsecrets/\n"),
        (".worktreeinclude", "*.key\n.env\nconfig.toml\nsecrets/*\n!not.key\n"),
        ("tracked.key.md", "tracked\n"),
    ]);
    for (name, text) in [
        ("a.key", "a"),
        ("deep/er/b.key", "b"),
        ("not.key", "no"),
        ("config.toml", "neither ignored nor tracked"),
        (".env", "DATABASE_URL=postgres://rewritten/by-another-tool\nFROM_MAIN=1\n"),
        ("secrets/token", "t"),
        ("node_modules/x/c.key", "package"),
    ] {
        sandbox.write(&main.join(name), text);
    }
    std::fs::set_permissions(main.join("a.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    sandbox.write(&sandbox.path().join("outside"), "outside");
    symlink("../outside", main.join("link.key")).unwrap();
    symlink("a.key", main.join("inner.key")).unwrap();
    let made = new(&sandbox, &["x"]);
    let folder = path(&made);
    let mut copied: Vec<&str> = made["copied"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    copied.sort_unstable();
    assert_eq!(copied, ["a.key", "deep/er/b.key", "inner.key", "secrets/token"]);
    assert_eq!((text(&folder.join("a.key")), text(&folder.join("inner.key"))), ("a".into(), "a".into()));
    let permissions = std::fs::metadata(folder.join("a.key")).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, 0o600);
    assert!(
        std::fs::symlink_metadata(folder.join("inner.key")).unwrap().is_file(),
        "a link was copied as one"
    );
    for name in [".env", "link.key", "not.key", "config.toml", "node_modules"] {
        assert!(folder.join(name).symlink_metadata().is_err(), "{name}");
    }
    let stderr = fine(sandbox.devrun(&["new", "y"])).stderr;
    assert!(stderr.contains(".env is not copied: devrun reads it from the main worktree"), "{stderr}");
    assert!(stderr.contains("link.key is not copied: it leads out of the worktree"), "{stderr}");
    // The new worktree sees the variables of the main worktree's file all the same.
    assert_eq!(answer(&sandbox, &folder, "env")["FROM_MAIN"], "1");
}

#[test]
fn a_tracked_link_in_the_new_worktree_leads_no_copy_out_of_it() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[(".gitignore", "*.key\n"), (".worktreeinclude", "*.key\n")]);
    let outside = sandbox.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    sandbox.git(&["switch", "-q", "-c", "linked"]);
    symlink(&outside, main.join("data")).unwrap();
    sandbox.git(&["add", "data"]);
    sandbox.git(&["commit", "-q", "-m", "link"]);
    sandbox.git(&["switch", "-q", "main"]);
    sandbox.write(&main.join("data/a.key"), "a");
    let made = new(&sandbox, &["linked"]);
    assert_eq!(made["copied"].as_array().unwrap().len(), 0, "{made:#}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn up_starts_the_stack_of_the_new_worktree() {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let made = new(&sandbox, &["x", "--up"]);
    let folder = path(&made);
    assert_eq!(made["status"]["state"], "ready", "{made:#}");
    assert_eq!(answer(&sandbox, &folder, "status")["state"], "ready");
    // A second call finds worktree and stack, and prints the path alone.
    let again = fine(sandbox.devrun(&["new", "x", "--up"]));
    assert_eq!(again.stdout.trim(), folder.to_str().unwrap());
    assert!(again.stderr.contains("already running"), "{again}");
    fine(devrun(&sandbox, &folder, &["down"]));
    assert_eq!(sandbox.processes(), []);
}

#[test]
fn new_fails_outside_git_and_works_in_a_bare_layout() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().join("plain");
    std::fs::create_dir(&folder).unwrap();
    refusal(devrun(&sandbox, &folder, &["new", "--json", "x"]), "git-failed", 81);
    sandbox.repo();
    let bare = sandbox.path().join("project/.bare");
    sandbox.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    let first = sandbox.path().join("project/main");
    sandbox.git(&["-C", bare.to_str().unwrap(), "worktree", "add", "-q", first.to_str().unwrap(), "main"]);
    let made = json(&fine(devrun(&sandbox, &first, &["new", "--json", "x"])));
    assert_eq!(path(&made), sandbox.path().canonicalize().unwrap().join("project/project.worktrees/x"));
    let removed = json(&fine(devrun(&sandbox, &first, &["rm", "x", "--yes", "--json"])));
    assert_eq!(removed["removed"], true);
    assert!(!sandbox.path().join("project/project.worktrees").exists(), "the empty folder stayed");
}

#[test]
fn w2_a_worktree_that_another_tool_made_is_found_by_its_folder() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    let folder = main.join(".claude/worktrees/bright-fox");
    sandbox.git(&["worktree", "add", "-q", "-b", "worktree-bright-fox", folder.to_str().unwrap()]);
    let found = new(&sandbox, &["bright-fox"]);
    assert_eq!(path(&found), folder.canonicalize().unwrap());
    assert_eq!((&found["branch"], &found["created"]), (&"worktree-bright-fox".into(), &false.into()));
}

#[test]
fn two_calls_at_once_make_one_worktree() {
    let sandbox = Sandbox::new();
    sandbox.repo();
    let calls: Vec<_> = (0..3).map(|_| sandbox.devrun(&["new", "x", "--json"]).start()).collect();
    let answers: Vec<Value> = calls.into_iter().map(|call| json(&call.wait())).collect();
    let created = answers.iter().filter(|answer| answer["created"] == true).count();
    assert_eq!(created, 1, "{answers:#?}");
    assert!(answers.iter().all(|answer| answer["path"] == answers[0]["path"]), "{answers:#?}");
}
