//! `devrun sync`: rebases or merges, and then updates packages, setup steps and the database. Restarts processes only with `--restart`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::asking::{answer, devrun, fine, json, refusal};
use crate::db::World;
use crate::support::Sandbox;

const CONFIG: &str = "setup:
  codegen: { run: 'cat schema >generated; echo run >>count', directory: api, inputs: [schema] }
processes:
  api: { run: 'exec devrun-fixture ready sleep', directory: api, needs: [setup], ready: { log: ready } }
  web: { run: 'exec devrun-fixture ready sleep', directory: web, needs: [], ready: { log: ready } }
";

/// Makes a repository with a worktree on `feature`, which has one more commit.
fn world() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[
        ("devrun.yaml", CONFIG),
        ("api/schema", "one\n"),
        ("web/page", "one\n"),
        (".gitignore", "generated\ncount\n"),
    ]);
    let feature = sandbox.worktree("feature", "feature");
    commit(&sandbox, &feature, "own", "own\n");
    (sandbox, feature)
}

/// Adds a bare remote `origin`, with what the repository has on main.
fn with_origin(sandbox: &Sandbox) -> PathBuf {
    let origin = sandbox.path().join("origin.git");
    sandbox.git(&["clone", "-q", "--bare", ".", text(&origin)]);
    sandbox.git(&["remote", "add", "origin", text(&origin)]);
    origin
}

/// Commits `content` to the file `name` on the remote's main, as a colleague would.
fn push(sandbox: &Sandbox, origin: &Path, name: &str, content: &str) {
    let clone = sandbox.path().join("colleague");
    if !clone.exists() {
        sandbox.git(&["clone", "-q", text(origin), text(&clone)]);
    }
    commit(sandbox, &clone, name, content);
    sandbox.git(&["-C", text(&clone), "push", "-q", "origin", "HEAD:main"]);
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn commit(sandbox: &Sandbox, folder: &Path, name: &str, content: &str) {
    sandbox.write(&folder.join(name), content);
    sandbox.git(&["-C", text(folder), "add", name]);
    sandbox.git(&["-C", text(folder), "commit", "-q", "-m", name]);
}

fn revision(sandbox: &Sandbox, folder: &Path, name: &str) -> String {
    sandbox.git(&["-C", text(folder), "rev-parse", name])
}

fn runs(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("api/count")).unwrap_or_default().lines().count()
}

#[track_caller]
fn sync(sandbox: &Sandbox, folder: &Path, args: &[&str]) -> Value {
    json(&fine(devrun(sandbox, folder, &[&["sync", "--json"], args].concat())))
}

#[test]
fn w13_branch_is_rebased_onto_the_remotes_default_branch_and_setup_runs_again() {
    let (sandbox, feature) = world();
    let origin = with_origin(&sandbox);
    let first = sync(&sandbox, &feature, &[]);
    assert_eq!((&first["onto"], &first["behind"]), (&"origin/main".into(), &0.into()), "{first:#}");
    assert_eq!((&first["moved"], runs(&feature)), (&false.into(), 1), "{first:#}");
    push(&sandbox, &origin, "api/schema", "two\n");
    push(&sandbox, &origin, "other", "two\n");
    sandbox.write(&feature.join("untracked"), "stays\n");
    let before = revision(&sandbox, &feature, "HEAD");
    let done = sync(&sandbox, &feature, &[]);
    assert_eq!((&done["behind"], &done["how"]), (&2.into(), &"rebase".into()), "{done:#}");
    assert_eq!((&done["fetched"], &done["from"]), (&"origin".into(), &before.into()), "{done:#}");
    assert_eq!(revision(&sandbox, &feature, "HEAD~1"), revision(&sandbox, &origin, "main"));
    assert_eq!(done["to"], revision(&sandbox, &feature, "HEAD"));
    assert_eq!(std::fs::read_to_string(feature.join("api/generated")).unwrap(), "two\n");
    let codegen = serde_json::json!([{ "step": "setup", "worked": true, "outcome": "codegen" }]);
    assert_eq!((&done["steps"], &done["stack"]), (&codegen, &Value::Null), "{done:#}");
    assert!(feature.join("untracked").exists() && feature.join("own").exists());
    assert_eq!(answer(&sandbox, &feature, "status")["state"], "stopped", "nothing was started");
    // `main` itself has no upstream here: a sync adds the commits of the remote's default branch.
    let main = sync(&sandbox, &sandbox.main(), &[]);
    assert_eq!((&main["onto"], &main["behind"]), (&"origin/main".into(), &2.into()), "{main:#}");
}

#[test]
fn w13_without_a_remote_the_local_default_branch_counts() {
    let (sandbox, feature) = world();
    commit(&sandbox, &sandbox.main(), "more", "more\n");
    let said = fine(devrun(&sandbox, &feature, &["sync"])).stdout;
    assert!(said.contains("feature was rebased onto main, which had 1 commit more"), "{said}");
    assert_eq!(revision(&sandbox, &feature, "HEAD~1"), revision(&sandbox, &feature, "main"));
    let main = sync(&sandbox, &sandbox.main(), &[]);
    assert_eq!((&main["onto"], &main["moved"]), (&Value::Null, &false.into()), "{main:#}");
}

#[test]
fn w13_conflict_stays_in_progress_and_nothing_else_is_touched() {
    let (sandbox, feature) = world();
    let origin = with_origin(&sandbox);
    let before = revision(&sandbox, &feature, "HEAD");
    push(&sandbox, &origin, "api/schema", "two\n");
    push(&sandbox, &origin, "own", "theirs\n");
    let error = refusal(devrun(&sandbox, &feature, &["sync", "--json"]), "sync-conflict", 81);
    assert_eq!(error["message"], "the rebase onto origin/main stopped at conflicts in 1 file: own");
    assert_eq!((&error["correct"], &error["fault"]), (&"own".into(), &"code".into()), "{error:#}");
    assert!(error["cause"].as_str().unwrap().contains("CONFLICT (add/add)"), "{error:#}");
    let fix = error["fix"].as_str().unwrap();
    assert!(fix.contains("`git rebase --continue`") && fix.contains("git rebase --abort"), "{fix}");
    assert!(sandbox.main().join(".git/worktrees/feature/rebase-merge").is_dir());
    assert_eq!(runs(&feature), 0);
    let error = refusal(devrun(&sandbox, &feature, &["sync", "--json"]), "worktree-dirty", 81);
    assert!(error["fix"].as_str().unwrap().contains("git rebase --continue"), "{error:#}");
    sandbox.git(&["-C", text(&feature), "rebase", "--abort"]);
    assert_eq!(revision(&sandbox, &feature, "HEAD"), before);
    let error = refusal(devrun(&sandbox, &feature, &["sync", "--merge", "--json"]), "sync-conflict", 81);
    assert_eq!(error["message"], "the merge of origin/main stopped at conflicts in 1 file: own");
    assert!(error["fix"].as_str().unwrap().contains("git merge --abort"), "{error:#}");
    sandbox.write(&feature.join("own"), "both\n");
    sandbox.git(&["-C", text(&feature), "add", "own"]);
    sandbox.git(&["-C", text(&feature), "-c", "core.editor=true", "merge", "--continue"]);
    assert_eq!((sync(&sandbox, &feature, &[])["behind"].clone(), runs(&feature)), (0.into(), 1));
}

#[test]
fn w13_uncommitted_changes_are_refused() {
    let (sandbox, feature) = world();
    commit(&sandbox, &sandbox.main(), "more", "more\n");
    let before = revision(&sandbox, &feature, "HEAD");
    sandbox.write(&feature.join("own"), "changed\n");
    let error = refusal(devrun(&sandbox, &feature, &["sync", "--json"]), "worktree-dirty", 81);
    assert_eq!(error["message"], "1 file here is not committed");
    assert_eq!(error["cause"], "own");
    assert!(error["fix"].as_str().unwrap().contains("git stash"), "{error:#}");
    assert_eq!((revision(&sandbox, &feature, "HEAD"), runs(&feature)), (before, 0));
}

#[test]
fn w13_onto_and_merge_are_the_users_choice() {
    let (sandbox, feature) = world();
    let main = sandbox.main();
    commit(&sandbox, &main, "more", "more\n");
    sandbox.git(&["branch", "base"]);
    commit(&sandbox, &main, "most", "most\n");
    let done = sync(&sandbox, &feature, &["--onto", "base"]);
    assert_eq!((&done["onto"], &done["fetched"]), (&"base".into(), &Value::Null), "{done:#}");
    assert_eq!(revision(&sandbox, &feature, "HEAD~1"), revision(&sandbox, &main, "base"));
    let done = sync(&sandbox, &feature, &["--merge"]);
    assert_eq!((&done["how"], &done["behind"]), (&"merge".into(), &1.into()), "{done:#}");
    assert_eq!(revision(&sandbox, &feature, "HEAD^2"), revision(&sandbox, &main, "main"));
    for name in ["nowhere", "--abort"] {
        let onto = format!("--onto={name}");
        let error = refusal(devrun(&sandbox, &feature, &["sync", "--json", &onto]), "usage", 2);
        assert!(error["message"].as_str().unwrap().contains(name), "{error:#}");
    }
    // A branch that follows another one is rebased onto that.
    sandbox.git(&["-C", text(&feature), "branch", "-q", "--set-upstream-to=base"]);
    assert_eq!(sync(&sandbox, &feature, &[])["onto"], "base");
    let error = {
        sandbox.git(&["remote", "add", "origin", "/nowhere.git"]);
        refusal(devrun(&sandbox, &feature, &["sync", "--json", "--onto", "origin/x"]), "git-failed", 81)
    };
    assert_eq!(
        (&error["message"], &error["fault"]),
        (&"git cannot fetch from origin".into(), &"environment".into())
    );
}

#[test]
fn w13_published_branch_is_rebased_onto_the_default_branch_and_foreign_commits_are_named() {
    let (sandbox, feature) = world();
    let origin = with_origin(&sandbox);
    sandbox.git(&["-C", text(&feature), "push", "-q", "-u", "origin", "feature"]);
    push(&sandbox, &origin, "more", "more\n");
    let ended = fine(devrun(&sandbox, &feature, &["sync", "--json"]));
    assert_eq!(json(&ended)["onto"], "origin/main");
    assert!(!ended.stderr.contains("that this branch lacks"), "its own commits, made again: {ended}");
    let clone = sandbox.path().join("colleague");
    sandbox.git(&["-C", text(&clone), "fetch", "-q"]);
    sandbox.git(&["-C", text(&clone), "checkout", "-q", "feature"]);
    commit(&sandbox, &clone, "theirs", "theirs\n");
    sandbox.git(&["-C", text(&clone), "push", "-q", "origin", "feature"]);
    let ended = fine(devrun(&sandbox, &feature, &["sync", "--json"]));
    let advice = "devrun sync --onto origin/feature";
    assert!(ended.stderr.contains("origin/feature has 1 commit") && ended.stderr.contains(advice), "{ended}");
}

#[test]
fn w13_running_stack_is_restarted_only_on_request_and_only_where_files_changed() {
    let (sandbox, feature) = world();
    fine(devrun(&sandbox, &feature, &["up", "-d"]));
    let pids = || {
        let status = answer(&sandbox, &feature, "status");
        let all = status["processes"].as_array().unwrap().clone();
        let pid = |name: &str| all.iter().find(|one| one["name"] == name).unwrap()["pid"].clone();
        (pid("api"), pid("web"))
    };
    let first = pids();
    commit(&sandbox, &sandbox.main(), "web/page", "two\n");
    let done = sync(&sandbox, &feature, &[]);
    let stack = serde_json::json!({ "affected": ["web"], "restarted": false, "fix": "devrun restart web" });
    assert_eq!((&done["stack"], pids()), (&stack, first.clone()), "{done:#}");
    commit(&sandbox, &sandbox.main(), "api/schema", "two\n");
    let done = sync(&sandbox, &feature, &["--restart"]);
    let stack = serde_json::json!({ "affected": ["api"], "restarted": true, "fix": null });
    assert_eq!(done["stack"], stack, "{done:#}");
    let second = pids();
    assert!(second.0 != first.0 && second.1 == first.1, "{first:?} {second:?}");
    // A restarted process would keep the old values of the configuration.
    commit(&sandbox, &sandbox.main(), "devrun.yaml", &format!("{CONFIG}env: {{ A: b }}\n"));
    let done = sync(&sandbox, &feature, &["--restart"]);
    assert_eq!(done["stack"]["fix"], "devrun down && devrun up -d", "{done:#}");
    assert_eq!(pids(), second);
    fine(devrun(&sandbox, &feature, &["down"]));
}

#[test]
fn w13_no_other_verb_moves_the_branch() {
    let (sandbox, feature) = world();
    let before = revision(&sandbox, &feature, "HEAD");
    commit(&sandbox, &sandbox.main(), "more", "more\n");
    for args in [&["plan"][..], &["up", "-d"], &["restart"], &["down"]] {
        fine(devrun(&sandbox, &feature, args));
    }
    assert_eq!(revision(&sandbox, &feature, "HEAD"), before);
}

#[test]
fn w13_new_migrations_of_the_other_branch_run_in_the_branch_database() {
    let Some(world) = World::new() else { return };
    let feature = world.worktree("feature");
    world.ask(&feature, &["migrate"]);
    let main = world.sandbox.main();
    commit(&world.sandbox, &main, "migrations/2.sql", "select 2;\n");
    let before = world.migrated();
    let done = sync(&world.sandbox, &feature, &[]);
    assert_eq!(done["database"], "dev-feature is there", "{done:#}");
    let ran = world.migrated();
    assert_eq!(ran[before.len()..], ["dev-feature"], "{ran:?}");
    // A migration that fails does not undo the rebase.
    break_migrations(&world, &main);
    let error = refusal(devrun(&world.sandbox, &feature, &["sync", "--json"]), "migration-failed", 85);
    assert!(error["fix"].as_str().is_some(), "{error:#}");
    assert_eq!(revision(&world.sandbox, &feature, "HEAD"), revision(&world.sandbox, &main, "main"));
}

/// Commits a configuration on main whose migrations fail.
fn break_migrations(world: &World, main: &Path) {
    let config = std::fs::read_to_string(main.join("devrun.yaml")).unwrap();
    commit(&world.sandbox, main, "devrun.yaml", &config.replace("run: 'echo", "run: 'exit 1; echo"));
    commit(&world.sandbox, main, "migrations/3.sql", "select 3;\n");
}
