//! The files of `env_out` between two runs: edits of the user, copies, links, records, and a git that fails.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::asking::{answer, base, devrun, fine, json, path_with_git, port, refusal, server};
use crate::env_out::{run, text};
use crate::support::Sandbox;

/// Makes a repository with a server, whose env files git ignores, and a linked worktree.
fn two_worktrees(config: &str) -> (Sandbox, PathBuf, PathBuf) {
    let sandbox = Sandbox::new();
    let config = format!("{}{config}", server(base()));
    let main =
        sandbox.repo_with(&[("devrun.yaml", &config), (".gitignore", ".env\n.env.*\n!.env.example\n")]);
    let linked = sandbox.worktree("linked", "linked");
    (sandbox, main, linked)
}

/// Replaces the text `old` in a file.
fn edit(sandbox: &Sandbox, path: &Path, old: &str, new: &str) {
    let before = text(path);
    assert!(before.contains(old), "{before}");
    sandbox.write(path, &before.replace(old, new));
}

#[test]
fn an_edited_file_is_left_alone_until_the_user_chooses_a_block() {
    let (sandbox, main, linked) = two_worktrees("env: { LEVEL: one }\nenv_out: { .env.devrun: {} }\n");
    run(&sandbox, &linked);
    let file = linked.join(".env.devrun");
    let edited = text(&file) + "# mine\nMINE=1\n";
    sandbox.write(&file, &edited);
    edit(&sandbox, &linked.join("devrun.yaml"), "LEVEL: one", "LEVEL: two");
    fine(devrun(&sandbox, &linked, &["up", "-d"]));
    let notice = answer(&sandbox, &linked, "status")["notices"][0].clone();
    assert!(notice["text"].as_str().unwrap().contains(".env.devrun was edited"), "{notice:#}");
    assert_eq!(notice["fix"], "env_out: { .env.devrun: { block: true } }");
    fine(devrun(&sandbox, &linked, &["down"]));
    assert_eq!(text(&file), edited);

    edit(&sandbox, &linked.join("devrun.yaml"), ".env.devrun: {}", ".env.devrun: { block: true }");
    run(&sandbox, &linked);
    let taken = text(&file);
    assert!(taken.starts_with("# mine\nMINE=1\n# >>> devrun env for "), "{taken}");
    assert!(taken.matches("WEB_PORT=").count() == 1 && taken.contains("LEVEL=two"), "{taken}");
    assert!(!main.join(".env.devrun").exists());
}

#[test]
fn an_edit_during_the_start_is_kept() {
    let (sandbox, _, linked) = two_worktrees("env_out: { .env.local: { block: true, only: ['WEB_*'] } }\n");
    let file = linked.join(".env.local");
    sandbox.write(&file, "EARLY=1\n");
    // devrun asks git after it has read the file.
    let late = format!("case \"$*\" in *check-ignore*) echo LATE=1 >>'{}';; esac", file.display());
    let path = path_with_git(&sandbox, &late);
    fine(devrun(&sandbox, &linked, &["up", "-d"]).env("PATH", path));
    fine(devrun(&sandbox, &linked, &["down"]));
    assert!(text(&file).starts_with("EARLY=1\nLATE=1\n"), "{}", text(&file));
}

#[test]
fn a_file_counts_as_ignored_only_if_git_says_so() {
    let (sandbox, _, linked) = two_worktrees("env_out: { .env.devrun: {} }\n");
    for (asked, said) in [("check-ignore", "index is broken"), ("is-inside-work-tree", "dubious ownership")] {
        let script = format!("case \"$*\" in *{asked}*) echo 'fatal: {said}' >&2; exit 128;; esac");
        let path = path_with_git(&sandbox, &script);
        let up = devrun(&sandbox, &linked, &["up", "-d", "--json"]).env("PATH", path).run();
        let error = json(&up)["error"].clone();
        assert_eq!(error["code"], "git-failed", "{up}");
        assert!(!linked.join(".env.devrun").exists(), "{asked}");
    }
}

#[test]
fn without_git_a_folder_outside_every_repository_gets_its_file() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().join("plain");
    sandbox.write(&folder.join("devrun.yaml"), &format!("{}env_out: [.env.devrun]\n", server(base())));
    let fixture = which::which_in("devrun-fixture", Some(env!("CARGO_BIN_EXE_devrun-fixture")), "/");
    let fixture = fixture.unwrap_or_else(|_| env!("CARGO_BIN_EXE_devrun-fixture").into());
    let few = sandbox.path().join("few");
    std::fs::create_dir(&few).unwrap();
    symlink(fixture, few.join("devrun-fixture")).unwrap();
    fine(devrun(&sandbox, &folder, &["up", "-d"]).env("PATH", &few));
    fine(devrun(&sandbox, &folder, &["down"]).env("PATH", &few));
    assert!(text(&folder.join(".env.devrun")).contains("WEB_PORT="));
}

#[test]
fn a_new_file_with_a_block_changes_no_input() {
    for of_main in [None, Some("FROM_MAIN=1\n")] {
        let (sandbox, main, linked) = two_worktrees("env_out: { .env.local: { block: true } }\n");
        if let Some(text) = of_main {
            sandbox.write(&main.join(".env.local"), text);
        }
        fine(devrun(&sandbox, &linked, &["up", "-d"]));
        assert_eq!(answer(&sandbox, &linked, "status")["changed"], Value::Null, "{of_main:?}");
        let env = json(&fine(devrun(&sandbox, &linked, &["env", "--json", "--reveal"])));
        assert_eq!(
            env["FROM_MAIN"].as_str(),
            of_main.map(|_| "1"),
            "the block hides the file of the main worktree"
        );
        fine(devrun(&sandbox, &linked, &["down"]));
    }
}

#[test]
fn a_copy_of_the_file_of_another_worktree_is_taken_over() {
    let config = "env_out: { .env.devrun: {}, .env.local: { block: true } }\n";
    let (sandbox, main, linked) = two_worktrees(config);
    sandbox.write(&main.join(".env.local"), "KEY=1\n");
    run(&sandbox, &main);
    for name in [".env.devrun", ".env.local"] {
        std::fs::copy(main.join(name), linked.join(name)).unwrap();
    }
    run(&sandbox, &linked);
    let web = format!("WEB_PORT={}\n", port(&answer(&sandbox, &linked, "plan"), "web"));
    for name in [".env.devrun", ".env.local"] {
        let copy = text(&linked.join(name));
        assert!(copy.contains(&web) && copy.matches("WEB_PORT=").count() == 1, "{copy}");
        assert!(!text(&main.join(name)).contains(&web));
    }
    assert!(text(&linked.join(".env.local")).starts_with("KEY=1\n"));
    // The other way round, the main worktree has a link to the file of this one.
    std::fs::remove_file(main.join(".env.local")).unwrap();
    symlink(linked.join(".env.local"), main.join(".env.local")).unwrap();
    let error = refusal(devrun(&sandbox, &main, &["up", "-d", "--json"]), "config-invalid", 80);
    let fix = error["fix"].as_str().unwrap();
    assert!(
        fix.ends_with(&format!("{}", main.canonicalize().unwrap().join(".env.local").display())),
        "{fix}"
    );
    let fix = fix.split_once(": ").unwrap().1;
    fine(sandbox.program("/bin/sh", &["-c", fix]));
    run(&sandbox, &main);
}

#[test]
fn two_entries_for_one_file_are_an_error_with_both_lines() {
    let (sandbox, _, linked) = two_worktrees("env_out:\n  .env.one: {}\n  .env.two: {}\n");
    symlink(".env.one", linked.join(".env.two")).unwrap();
    let error = refusal(devrun(&sandbox, &linked, &["up", "-d", "--json"]), "config-invalid", 80);
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("devrun.yaml:8:"), "{message}");
    assert!(message.ends_with("`.env.two` is the same file as `.env.one` at devrun.yaml:7"), "{message}");
    assert!(!linked.join(".env.one").exists());
    edit(&sandbox, &linked.join("devrun.yaml"), ".env.two", "./.env.one");
    let error = refusal(devrun(&sandbox, &linked, &["up", "-d", "--json"]), "config-invalid", 80);
    assert!(
        error["message"].as_str().unwrap().ends_with("is named twice, also at devrun.yaml:7"),
        "{error:#}"
    );
}

#[test]
fn a_link_of_a_commit_is_not_followed_out_of_the_worktree() {
    let (sandbox, main, linked) = two_worktrees("env_out: { .env.local: { block: true } }\n");
    let outside = sandbox.path().join("private");
    sandbox.write(&outside, "HUNTER=hunter2hunter2\n");
    symlink(&outside, main.join(".env.local")).unwrap();
    // git ignores this link, so no commit made it.
    let env = json(&fine(devrun(&sandbox, &main, &["env", "--json", "--reveal"])));
    assert_eq!(env["HUNTER"], "hunter2hunter2");
    symlink(&outside, linked.join(".env.local")).unwrap();
    fine(sandbox.program("git", &["add", "-f", ".env.local"]).directory(&linked));
    for args in [&["env", "--json", "--reveal"][..], &["up", "-d", "--json"]] {
        let error = refusal(devrun(&sandbox, &linked, args), "config-invalid", 80);
        let shown = error.to_string();
        assert!(shown.contains("leads out of the worktree") && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn files_stay_if_git_does_not_remove_the_worktree() {
    let (sandbox, main, linked) = two_worktrees("env_out: { .env.devrun: {} }\n");
    let outside = sandbox.path().join("outside.env");
    symlink(&outside, linked.join(".env.devrun")).unwrap();
    run(&sandbox, &linked);
    let before = text(&outside);
    let path = path_with_git(&sandbox, "case \"$*\" in *'worktree remove'*) echo no >&2; exit 1;; esac");
    let ended = devrun(&sandbox, &main, &["rm", "linked", "--yes"]).env("PATH", &path).run();
    assert_ne!(ended.code, Some(0), "{ended}");
    assert!(linked.exists(), "{ended}");
    assert_eq!(text(&outside), before);
    fine(devrun(&sandbox, &main, &["rm", "linked", "--yes"]));
    assert!(!outside.exists());
}

#[test]
fn an_example_that_cannot_be_read_is_a_notice() {
    let (sandbox, _, linked) = two_worktrees("");
    symlink(".env.example", linked.join(".env.example")).unwrap();
    let plan = answer(&sandbox, &linked, "plan");
    let notice = plan["notices"][0]["text"].as_str().unwrap();
    assert!(notice.starts_with(".env.example is passed over: cannot read "), "{notice}");
    run(&sandbox, &linked);
    std::fs::remove_file(linked.join(".env.example")).unwrap();
    sandbox.write(&linked.join(".env.example"), "NODE_ENV=production\nAPI_KEY=\nLEVEL=info\n");
    let env = json(&fine(devrun(&sandbox, &linked, &["env", "--json", "--reveal"])));
    assert_eq!(
        (&env["LEVEL"], &env["NODE_ENV"], &env["API_KEY"]),
        (&"info".into(), &Value::Null, &Value::Null)
    );
}
