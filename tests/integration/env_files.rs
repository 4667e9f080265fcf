//! Where the variables of a worktree come from: its env files, those of other worktrees, committed examples.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::asking::{answer, base, devrun, fine, json as parsed, server};
use crate::support::Sandbox;

/// Makes a repository with a server whose env files git ignores, and a linked worktree.
fn two_worktrees(extra: &str) -> (Sandbox, PathBuf, PathBuf) {
    let sandbox = Sandbox::new();
    let config = format!("{}{extra}", server(base()));
    let main = sandbox
        .repo_with(&[("devrun.yaml", &config), (".gitignore", ".env\n.env.*\n!.env.example\n*.key\n")]);
    let linked = sandbox.worktree("linked", "linked");
    (sandbox, main, linked)
}

/// Returns the variable as `devrun env --json` prints it, unmasked.
fn value(sandbox: &Sandbox, worktree: &Path, name: &str) -> Value {
    parsed(&fine(devrun(sandbox, worktree, &["env", "--json", "--reveal"])))[name].clone()
}

/// Returns the texts of the notices in an answer.
fn notices(answer: &Value) -> Vec<&str> {
    answer["notices"].as_array().unwrap().iter().filter_map(|one| one["text"].as_str()).collect()
}

#[test]
fn e1_keys_load_without_a_login_shell() {
    let (sandbox, main, linked) = two_worktrees("env_files: [.env, keys/.env]\n");
    sandbox.write(&main.join(".env"), "CLERK_SECRET_KEY=sk_from_main\nLEVEL=main\n");
    sandbox.write(&linked.join("keys/.env"), "LEVEL=named\n");
    let seen = |name: &str| value(&sandbox, &linked, name);
    assert_eq!((seen("CLERK_SECRET_KEY"), seen("LEVEL")), (json!("sk_from_main"), json!("named")));
    let shell =
        devrun(&sandbox, &linked, &["exec", "--", "devrun-fixture", "env:LEVEL"]).env("LEVEL", "shell");
    assert_eq!(fine(shell).stdout, "env LEVEL=shell\n");
    let masked = fine(devrun(&sandbox, &linked, &["env"]));
    assert!(!masked.stdout.contains("sk_from_main"), "{masked}");
}

#[test]
fn e2_several_variables_get_the_url_of_the_branch_database() {
    let names = "{ NEON_PLATFORM_DATABASE_URL: null, DB: postgresql+asyncpg }";
    let (sandbox, _, linked) = two_worktrees(&format!("database: {{ provider: local, url_env: {names} }}\n"));
    let asked = ["env", "--explain", "--json", "NEON_PLATFORM_DATABASE_URL", "DB"];
    let told = parsed(&fine(devrun(&sandbox, &linked, &asked)));
    for one in told["variables"].as_array().unwrap() {
        assert_eq!(
            (&one["reason"], &one["from"]["kind"]),
            (&json!("database-url"), &json!("config")),
            "{one:#}"
        );
    }
}

#[test]
fn e3_env_files_have_the_full_grammar_and_the_last_line_wins() {
    let (sandbox, _, linked) = two_worktrees("");
    let text = "export A=exported\nB = spaced \nC=text # comment\nD=\"two\nlines\"\nE='it is'\r\nA=last\nF=p$ss#word\n";
    sandbox.write(&linked.join(".env"), text);
    for (name, wanted) in [
        ("A", "last"),
        ("B", "spaced"),
        ("C", "text"),
        ("D", "two\nlines"),
        ("E", "it is"),
        ("F", "p$ss#word"),
    ] {
        assert_eq!(value(&sandbox, &linked, name), wanted, "{name}");
    }
}

#[test]
fn e4_a_missing_env_comes_from_main_then_other_worktrees_then_the_example() {
    let (sandbox, main, linked) = two_worktrees("");
    let other = sandbox.worktree("a-third", "third");
    sandbox.write(&linked.join(".env.example"), "API_KEY=example\nPORT=3000\n");
    assert_eq!(value(&sandbox, &linked, "API_KEY"), "example");
    let plan = answer(&sandbox, &linked, "plan");
    let said = ".env.example is read in place of .env, which no worktree has";
    assert!(notices(&plan)[0].starts_with(said), "{plan:#}");

    sandbox.write(&other.join(".env"), "API_KEY=third\n");
    sandbox.write(&other.join(".env.local"), "LOCAL=third\n");
    assert_eq!(value(&sandbox, &linked, "API_KEY"), "third");
    assert_eq!(value(&sandbox, &linked, "LOCAL"), Value::Null, "a local file belongs to its worktree");
    assert_eq!(value(&sandbox, &main, "API_KEY"), "third", "the main worktree has none either");
    let shown = fine(devrun(&sandbox, &linked, &["env", "--explain", "API_KEY"])).stdout;
    let place = other.canonicalize().unwrap();
    assert_eq!(shown, format!("API_KEY=********\n    .env:1 of the worktree {}\n", place.display()));

    sandbox.write(&main.join(".env"), "API_KEY=main\n");
    fine(devrun(&sandbox, &linked, &["up", "-d"]));
    let status = answer(&sandbox, &linked, "status");
    assert_eq!(notices(&status), [".env is read from the main worktree: there is none here"], "{status:#}");
    assert_eq!(status["changed"], Value::Null, "{status:#}");
    fine(devrun(&sandbox, &linked, &["down"]));
    sandbox.write(&linked.join(".env"), "API_KEY=own\n");
    assert_eq!(value(&sandbox, &linked, "API_KEY"), "own");
    assert_eq!(notices(&answer(&sandbox, &linked, "plan")), Vec::<&str>::new());
}

#[test]
fn e4_values_of_another_copy_do_not_come_with_its_env() {
    let (sandbox, _, linked) = two_worktrees("");
    let other = sandbox.worktree("other", "other");
    let rewritten = "KEY=1\nDATABASE_URL=postgresql://u:p@ep-other.neon.tech/db\nAPI_PORT=8147\nAPI=http://localhost:8147\n";
    sandbox.write(&other.join(".env"), rewritten);
    assert_eq!(value(&sandbox, &linked, "KEY"), "1");
    for name in ["DATABASE_URL", "API_PORT", "API"] {
        assert_eq!(value(&sandbox, &linked, name), Value::Null, "{name}");
    }
    let told = fine(devrun(&sandbox, &linked, &["plan"]));
    assert!(told.stdout.contains("belong to another copy: DATABASE_URL, API_PORT, API"), "{told}");
    assert!(!told.to_string().contains("ep-other"), "{told}");
    assert!(!told.stderr.contains("belong to another copy"), "printed twice: {told}");
}

#[test]
fn listed_files_reach_a_worktree_that_git_alone_made() {
    let (sandbox, main, linked) = two_worktrees("");
    sandbox.write(&main.join(".worktreeinclude"), "*.key\n.env.ide\n");
    sandbox.write(&main.join("deep/a.key"), "a");
    sandbox.write(
        &main.join(".env.ide"),
        "# Generated by devrun for /w: each `devrun up` writes it again\nA=1\n",
    );
    fine(devrun(&sandbox, &linked, &["up", "-d"]));
    let said = fine(devrun(&sandbox, &linked, &["logs", "devrun"]));
    assert!(said.stdout.contains("copied from the main worktree: deep/a.key\n"), "{said}");
    let copy = linked.join("deep/a.key");
    assert!(copy.is_file() && !linked.join(".env.ide").exists());
    fine(devrun(&sandbox, &linked, &["down"]));
    // A file that the user has deleted stays away until the list changes.
    std::fs::remove_file(&copy).unwrap();
    fine(devrun(&sandbox, &linked, &["up", "-d"]));
    assert!(!copy.exists());
    fine(devrun(&sandbox, &linked, &["down"]));
    sandbox.write(&main.join(".worktreeinclude"), "deep/*.key\n");
    fine(devrun(&sandbox, &linked, &["up", "-d"]));
    assert!(copy.is_file());
    fine(devrun(&sandbox, &linked, &["down"]));
}
