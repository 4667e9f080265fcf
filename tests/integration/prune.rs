//! `devrun prune`, `down --all`, `ls --here` and the search for servers that devrun does not supervise.

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::asking::{base, devrun, fine, json, path_with_git, postgres_or_skip, refusal, server, solo};
use crate::supervise::terminal::Terminal;
use crate::support::{Ended, LIMIT, Running, Sandbox, kill_both, wait_for};

/// Returns the answer of `devrun prune ARGS --json`.
#[track_caller]
pub(crate) fn prune(sandbox: &Sandbox, folder: &Path, args: &[&str]) -> Value {
    json(&fine(devrun(sandbox, folder, &[&["prune", "--json"], args].concat())))
}

/// Returns kind and name of everything that `answer` would remove or has removed.
pub(crate) fn chosen(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let items = answer["items"].as_array().unwrap().iter().filter(|item| item["remove"] == true);
    items.map(|item| (text(&item["kind"]), text(&item["name"]))).collect()
}

/// Returns the reason that `answer` gives for the thing of `kind` whose name begins with `name`.
#[track_caller]
fn reason(answer: &Value, kind: &str, name: &str) -> String {
    let is_it = |item: &&Value| item["kind"] == kind && item["name"].as_str().unwrap().starts_with(name);
    let found = answer["items"].as_array().unwrap().iter().find(is_it);
    found.unwrap_or_else(|| panic!("no {kind} {name}: {answer:#}"))["reason"].as_str().unwrap().into()
}

fn kinds(chosen: &[(String, String)]) -> Vec<&str> {
    chosen.iter().map(|(kind, _)| kind.as_str()).collect()
}

/// Commits a change of the file `name` in `folder`.
pub(crate) fn commit(sandbox: &Sandbox, folder: &Path, name: &str) {
    sandbox.write(&folder.join(name), name);
    git(sandbox, folder, &["add", "-A"]);
    git(sandbox, folder, &["commit", "-q", "-m", name]);
}

#[track_caller]
pub(crate) fn git(sandbox: &Sandbox, folder: &Path, args: &[&str]) -> Ended {
    fine(sandbox.program("git", args).directory(folder))
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Returns keeper and supervisor of the stack in `folder`.
fn processes_of(sandbox: &Sandbox, folder: &Path) -> [Pid; 2] {
    let status = json(&fine(devrun(sandbox, folder, &["ls", "--here", "--json"])));
    let path = folder.canonicalize().unwrap();
    let is_it = |stack: &&Value| stack["worktree"] == text(&path);
    let stack = status["stacks"].as_array().unwrap().iter().find(is_it).unwrap().clone();
    let keeper = Pid::from_raw(i32::try_from(stack["pid"].as_i64().unwrap()).unwrap());
    let is_child =
        |entry: &devrun::testing::os::proc::ProcessEntry| entry.parent == keeper.as_raw().cast_unsigned();
    let supervisor = devrun::testing::os::proc::table().into_iter().find(is_child).unwrap().pid;
    [keeper, Pid::from_raw(supervisor.cast_signed())]
}

/// Kills both devrun processes of the stack in `folder`, and waits for their end.
pub(crate) fn kill_stack(sandbox: &Sandbox, folder: &Path) {
    let keeper = processes_of(sandbox, folder)[0].as_raw().cast_unsigned();
    kill_both(keeper);
    wait_for("the end of devrun", LIMIT, || {
        if devrun::testing::supervisor::sweep::is_alive(keeper) { Err("it lives".into()) } else { Ok(()) }
    });
}

/// Returns the number of processes that have left the session of their stack. They can outlive their devrun.
pub(crate) fn escaped(sandbox: &Sandbox) -> usize {
    let is_escaped = |command: &str| command.contains("mute") && !command.contains("child[");
    sandbox.processes().iter().filter(|process| is_escaped(&process.command)).count()
}

/// Starts a server by hand in `folder`. Returns it, and its port.
pub(crate) fn by_hand(sandbox: &Sandbox, folder: &Path) -> (Running, u16) {
    let port = base();
    let words = [&format!("listen:{port}"), "say:password=hunter2", "say:serving", "sleep"];
    let mut running = sandbox.fixture(&words).directory(folder).start();
    running.expect_line("serving");
    (running, port)
}

#[test]
fn c2_c3_r3_h3_leftovers_are_found_without_any_hook_and_a_second_run_finds_nothing() {
    let sandbox = Sandbox::new();
    let words = "devrun-fixture ready child[ setsid child[ ignore:INT,TERM,HUP ready mute sleep ] ] sleep";
    let main = sandbox.repo_with(&[("devrun.yaml", &format!("processes:\n  web: exec {words}\n"))]);
    let (deleted, killed) = (sandbox.worktree("deleted", "deleted"), sandbox.worktree("killed", "killed"));
    let kept = sandbox.worktree("kept", "kept");
    for folder in [&deleted, &killed, &kept] {
        fine(devrun(&sandbox, folder, &["up", "-d"]));
    }
    for folder in [&deleted, &killed] {
        kill_stack(&sandbox, folder);
    }
    assert_eq!(escaped(&sandbox), 3);
    std::fs::remove_dir_all(&deleted).unwrap();

    let shown = prune(&sandbox, &main, &["--dry-run"]);
    let wanted =
        ["process", "process", "socket", "socket", "entry", "entry", "record", "record", "lease", "worktree"];
    assert_eq!(kinds(&chosen(&shown)), wanted, "{shown:#}");
    assert_eq!(reason(&shown, "worktree", text(&deleted)), "its folder is gone");
    assert_eq!(reason(&shown, "worktree", text(&kept)), "a stack runs in it");
    assert_eq!(reason(&shown, "record", text(&killed)), "its devrun was killed");
    assert_eq!(prune(&sandbox, &main, &[])["dry_run"], true, "without a terminal, it only shows");
    assert_eq!(escaped(&sandbox), 3, "a preview has ended processes");

    let done = prune(&sandbox, &main, &["--yes"]);
    assert_eq!(chosen(&done), chosen(&shown));
    assert!(done["items"].as_array().unwrap().iter().all(|item| item["error"].is_null()), "{done:#}");
    assert_eq!(escaped(&sandbox), 1, "the stack that runs is untouched");
    assert!(!sandbox.git(&["worktree", "list"]).contains(text(&deleted)));
    assert!(killed.is_dir() && sandbox.git(&["branch", "--list", "deleted"]).contains("deleted"));
    let leases = std::fs::read_to_string(sandbox.home().join(".local/state/devrun-worktree/leases.json"));
    assert!(!leases.unwrap().contains(text(&deleted)));

    let again = prune(&sandbox, &main, &["--yes"]);
    assert_eq!(chosen(&again), []);
    let said = fine(devrun(&sandbox, &main, &["prune"])).stdout;
    assert!(said.ends_with("Nothing to remove.\n"), "{said}");
    fine(devrun(&sandbox, &main, &["down", "--all"]));
    assert_eq!(escaped(&sandbox), 0);
}

/// Makes worktrees whose branches came into `main` in different ways, and some that must stay.
fn merged_in_every_way(sandbox: &Sandbox, main: &Path) -> Vec<PathBuf> {
    let names = ["merge", "squash", "rebase", "open", "dirty", "locked", "fresh", "picked"];
    let folders: Vec<PathBuf> = names.iter().map(|name| sandbox.worktree(name, name)).collect();
    for (folder, name) in folders.iter().zip(names).filter(|(_, name)| *name != "fresh") {
        commit(sandbox, folder, &format!("{name}-1"));
        commit(sandbox, folder, &format!("{name}-2"));
    }
    commit(sandbox, main, "other work");
    git(sandbox, main, &["merge", "-q", "--no-edit", "merge"]);
    for name in ["squash", "dirty", "locked"] {
        git(sandbox, main, &["merge", "-q", "--squash", name]);
        git(sandbox, main, &["commit", "-q", "-m", name]);
    }
    for name in ["rebase", "picked"] {
        git(sandbox, main, &["cherry-pick", &format!("{name}~1"), name]);
    }
    // The same lines change again on the default branch, so that merging `squash` and `picked` would conflict now.
    for name in ["squash-1", "picked-2"] {
        sandbox.write(&main.join(name), "changed again");
    }
    git(sandbox, main, &["commit", "-q", "-a", "-m", "again"]);
    sandbox.write(&folders[4].join("new file"), "unsaved");
    git(sandbox, main, &["worktree", "lock", text(&folders[5])]);
    folders
}

#[test]
fn c1_d6_merged_worktrees_and_branches_are_removed_only_on_request_also_after_a_squash() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    let folders = merged_in_every_way(&sandbox, &main);
    let all = ["--merged", "--older-than", "0s"];
    assert_eq!(chosen(&prune(&sandbox, &main, &["--older-than", "0s"])), []);
    let young = prune(&sandbox, &main, &["--merged"]);
    assert_eq!(chosen(&young), []);
    assert_eq!(reason(&young, "worktree", text(&folders[0])), "it was used less than 1 day ago");

    let shown = prune(&sandbox, &main, &all);
    let gone = ["merge", "picked", "rebase", "squash"];
    let mut names: Vec<(String, String)> = gone.map(|name| ("branch".into(), name.to_string())).into();
    let path = |name: &str| ("worktree".to_string(), text(&sandbox.path().join(name)).to_string());
    names.extend(gone.map(path));
    let mut found = chosen(&shown);
    found.sort();
    assert_eq!(found, names, "{shown:#}");
    for (name, why) in [
        ("open", "it has commits that are not merged"),
        ("dirty", "it has uncommitted changes"),
        ("locked", "git keeps it locked"),
        ("fresh", "nothing was committed on it yet"),
    ] {
        assert_eq!(reason(&shown, "worktree", &path(name).1), why, "{shown:#}");
    }
    let objects = || fine(sandbox.program("git", &["count-objects"]).directory(&main)).stdout;
    let before = objects();
    prune(&sandbox, &main, &all);
    assert_eq!(objects(), before, "the checks have written objects");

    let done = prune(&sandbox, &main, &[&all[..], &["--yes"]].concat());
    assert_eq!(chosen(&done).len(), names.len());
    let branches = sandbox.git(&["branch", "--format=%(refname:short)"]);
    assert_eq!(branches.lines().collect::<Vec<_>>(), ["dirty", "fresh", "locked", "main", "open"]);
    assert!(folders[4].join("new file").is_file() && !folders[1].exists());
    assert_eq!(chosen(&prune(&sandbox, &main, &all)), []);
}

#[test]
fn branch_without_evidence_of_commits_does_not_count_as_merged() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    let (forwarded, reset) = (sandbox.worktree("forwarded", "forwarded"), sandbox.worktree("reset", "reset"));
    commit(&sandbox, &main, "later");
    git(&sandbox, &forwarded, &["merge", "-q", "--ff-only", "main"]);
    git(&sandbox, &reset, &["reset", "-q", "--hard", "main"]);
    // A bare repository has no reflogs by default either.
    sandbox.git(&["config", "core.logAllRefUpdates", "false"]);
    let (unlogged, merged) = (sandbox.worktree("unlogged", "unlogged"), sandbox.worktree("merged", "merged"));
    let detached = sandbox.path().join("detached");
    sandbox.git(&["worktree", "add", "-q", "--detach", text(&detached)]);
    commit(&sandbox, &merged, "work");
    git(&sandbox, &main, &["merge", "-q", "--no-ff", "--no-edit", "merged"]);
    let shown = prune(&sandbox, &main, &["--merged", "--older-than", "0s"]);
    for folder in [&forwarded, &reset, &unlogged, &detached] {
        let why = "its commits are in main, but nothing shows that they were made on it";
        assert_eq!(reason(&shown, "worktree", text(folder)), why, "{shown:#}");
    }
    assert_eq!(kinds(&chosen(&shown)), ["worktree", "branch"], "{shown:#}");
    assert_eq!(reason(&shown, "worktree", text(&merged)), "main has all its commits");
}

#[test]
fn submodules_keep_the_record_of_a_worktree_that_is_gone() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    let library = sandbox.path().join("library");
    sandbox.git(&["clone", "-q", ".", text(&library)]);
    let x = sandbox.worktree("x", "x");
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../library", "library"];
    git(&sandbox, &x, &add);
    git(&sandbox, &x, &["commit", "-q", "-m", "submodule"]);
    git(&sandbox, &main, &["merge", "-q", "x"]);
    std::fs::remove_dir_all(&x).unwrap();
    let modules = main.join(".git/worktrees/x/modules");
    let shown = prune(&sandbox, &main, &["--yes"]);
    let why = reason(&shown, "worktree", text(&x));
    let wanted = format!("commits of its submodules may exist only in {}", text(&modules));
    assert!(why.starts_with(&wanted) && why.contains("devrun rm "), "{why}");
    assert_eq!(chosen(&shown), []);
    assert!(modules.is_dir());
    refusal(sandbox.devrun(&["rm", "x", "--yes", "--json"]), "worktree-kept", 81);
    fine(sandbox.devrun(&["rm", "x", "--yes", "--uncommitted"]));
    assert!(!modules.exists());
}

#[test]
fn prune_holds_the_lock_of_worktrees_while_it_acts() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    let x = sandbox.worktree("x", "x");
    commit(&sandbox, &x, "work");
    git(&sandbox, &main, &["merge", "-q", "x"]);
    // git runs this hook when prune deletes the branch.
    let (hook, told) = (sandbox.path().join("hooks/reference-transaction"), sandbox.path().join("told"));
    let lock = main.join(".git/devrun/worktrees.lock");
    let script = format!(
        "#!/bin/sh\ncat > /dev/null\nif flock -n {lock} true; then echo free; else echo held; fi >> {told}\n",
        lock = text(&lock),
        told = text(&told)
    );
    sandbox.write(&hook, &script);
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    sandbox.git(&["config", "core.hooksPath", text(hook.parent().unwrap())]);
    let done = prune(&sandbox, &main, &["--merged", "--older-than", "0s", "--yes"]);
    assert_eq!(kinds(&chosen(&done)), ["worktree", "branch"], "{done:#}");
    let told = std::fs::read_to_string(&told).unwrap();
    assert!(!told.is_empty() && told.lines().all(|line| line == "held"), "{told}");
}

#[test]
fn c2_a_commit_that_is_on_no_branch_keeps_the_record_of_its_worktree() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    let folder = sandbox.path().join("detached");
    sandbox.git(&["worktree", "add", "-q", "--detach", text(&folder)]);
    commit(&sandbox, &folder, "work");
    let work = git(&sandbox, &folder, &["rev-parse", "HEAD"]).stdout;
    std::fs::remove_dir_all(&folder).unwrap();
    let shown = prune(&sandbox, &main, &["--yes"]);
    assert_eq!(chosen(&shown), []);
    assert!(reason(&shown, "worktree", text(&folder)).contains("no branch has its commit"));
    sandbox.git(&["branch", "saved", work.trim()]);
    assert_eq!(kinds(&chosen(&prune(&sandbox, &main, &["--yes"]))), ["worktree"]);
}

#[test]
fn r3_servers_started_by_hand_are_listed_with_the_command_that_ends_them() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let (other, gone) = (sandbox.worktree("other", "other"), sandbox.worktree("gone", "gone"));
    fine(devrun(&sandbox, &main, &["up", "-d"]));
    let (first, port) = by_hand(&sandbox, &other);
    let (second, _) = by_hand(&sandbox, &gone);
    std::fs::remove_dir_all(&gone).unwrap();
    let strays = || json(&fine(devrun(&sandbox, &main, &["ls", "--strays", "--json"])))["strays"].clone();
    let found = strays();
    let about = |folder: &Path| {
        let of = |server: &&Value| server["worktree"] == text(folder);
        found.as_array().unwrap().iter().find(of).unwrap_or_else(|| panic!("{found:#}")).clone()
    };
    assert_eq!(found.as_array().unwrap().len(), 2, "the supervised server counts: {found:#}");
    let here = about(&other);
    assert_eq!((&here["ports"][0], &here["worktree_is_gone"]), (&port.into(), &false.into()));
    assert_eq!(here["end"], format!("kill {}", here["pid"]));
    assert_eq!(about(&gone)["worktree_is_gone"], true);
    let said = fine(devrun(&sandbox, &main, &["ls", "--strays"])).stdout;
    assert!(said.contains(&format!("{} (gone)", text(&gone))) && said.contains("devrun-fixture"), "{said}");
    assert!(said.contains("say:password=***") && !said.contains("hunter2"), "{said}");

    // A merged worktree in which a server runs is kept.
    let shown = prune(&sandbox, &main, &["--merged", "--older-than", "0s"]);
    assert!(reason(&shown, "worktree", text(&other)).starts_with("servers run in it: pid "), "{shown:#}");

    let refused = devrun(&sandbox, &other, &["down", "--strays"]).run();
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(refused.stderr.contains("devrun down --strays --yes"), "{refused}");
    fine(devrun(&sandbox, &other, &["down", "--strays", "--yes"]));
    first.wait();
    assert_eq!(strays().as_array().unwrap().len(), 1, "only servers of this worktree are ended");
    let pid = i32::try_from(about(&gone)["pid"].as_i64().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    second.wait();
    fine(devrun(&sandbox, &main, &["down"]));
}

#[test]
fn strays_exclude_the_supervisor_and_its_descendants() {
    let sandbox = Sandbox::new();
    let (api, web) = (base(), base());
    // The supervisor itself listens for `api`, and `web` has lost the tag of its run.
    let main = sandbox.repo_with(&[(
        "devrun.yaml",
        &format!(
            "ports: {{ api: {api}, web: {web} }}\nprocesses:\n  api:\n    run: exec devrun-fixture listen-fd:API_FD sleep\n    \
             listen: api\n  web:\n    run: exec env -u DEVRUN_RUN devrun-fixture listen:PORT sleep\n    port: web\n"
        ),
    )]);
    fine(devrun(&sandbox, &main, &["up", "-d"]));
    let found = json(&fine(devrun(&sandbox, &main, &["ls", "--strays", "--json"])));
    assert_eq!(found["strays"], serde_json::json!([]), "{found:#}");
    let ended = json(&fine(devrun(&sandbox, &main, &["down", "--strays", "--yes", "--json"])));
    assert_eq!(ended["ended"], serde_json::json!([]), "{ended:#}");
    fine(devrun(&sandbox, &main, &["status"]));
    fine(devrun(&sandbox, &main, &["down"]));
}

#[test]
fn h3_down_all_ends_the_stacks_of_this_repository_only() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let other = sandbox.worktree("other", "other");
    let foreign = sandbox.path().join("foreign");
    sandbox.write(&foreign.join("devrun.yaml"), &server(base()));
    git(&sandbox, &foreign, &["init", "-q"]);
    for folder in [&main, &other, &foreign] {
        fine(devrun(&sandbox, folder, &["up", "-d"]));
    }
    let listed = |args: &[&str]| {
        let answer = json(&fine(devrun(&sandbox, &main, &[&["ls", "--json"], args].concat())));
        answer["stacks"].as_array().unwrap().len()
    };
    assert_eq!((listed(&[]), listed(&["--here"])), (3, 2));
    let ended = json(&fine(devrun(&sandbox, &other, &["down", "--all", "--json"])));
    let stacks = ended["stacks"].as_array().unwrap();
    assert!(stacks.len() == 2 && stacks.iter().all(|stack| stack["stopped"] == true), "{ended:#}");
    assert_eq!((listed(&[]), listed(&["--here"])), (1, 0));
    let said = fine(devrun(&sandbox, &main, &["down", "--all"])).stdout;
    assert_eq!(said, "Nothing runs in this repository.\n");
    fine(devrun(&sandbox, &foreign, &["down"]));
}

#[test]
fn down_all_ends_a_stack_whose_worktree_is_removed_at_that_moment() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let other = sandbox.worktree("other", "other");
    fine(devrun(&sandbox, &other, &["up", "-d"]));
    // devrun runs git in the worktree after it has checked that the worktree exists.
    let remove = format!("case \"$PWD\" in */other) rm -rf '{}';; esac", other.display());
    let path = path_with_git(&sandbox, &remove);
    let ended = json(&fine(devrun(&sandbox, &main, &["down", "--all", "--json"]).env("PATH", path)));
    assert_eq!(ended["stacks"][0]["stopped"], true, "{ended:#}");
    assert!(!other.exists(), "the worktree was not removed");
    assert_eq!(sandbox.processes(), []);
    prune(&sandbox, &main, &["--yes"]);
}

#[test]
fn down_all_reports_a_stack_whose_worktree_is_gone_in_one_document() {
    let sandbox = Sandbox::new();
    let run = "exec devrun-fixture ignore:INT,TERM,HUP listen:PORT say:serving sleep";
    let config = format!("{}    stop_grace: 10m\n", solo(base(), run));
    let main = sandbox.repo_with(&[("devrun.yaml", &config)]);
    let other = sandbox.worktree("other", "other");
    fine(devrun(&sandbox, &other, &["up", "-d"]));
    let [_, supervisor] = processes_of(&sandbox, &other);
    std::fs::remove_dir_all(&other).unwrap();
    let ended = devrun(&sandbox, &main, &["down", "--all", "--timeout", "1", "--json"]).run();
    let answer = json(&ended);
    let stack = &answer["stacks"][0];
    assert_eq!(stack["worktree"], text(&other), "{ended}");
    assert!(stack["error"].as_str().unwrap().contains("did not end within 1 s"), "{ended}");
    assert_ne!(ended.code, Some(0), "{ended}");
    let ended = devrun(&sandbox, &main, &["down", "--all", "--timeout", "1"]).run();
    assert!(ended.stderr.contains("kill -9 ") && ended.stderr.contains(&supervisor.to_string()), "{ended}");
    kill(supervisor, Signal::SIGKILL).unwrap();
    let done = json(&fine(devrun(&sandbox, &main, &["down", "--all", "--json"])));
    assert!(done["stacks"].as_array().unwrap().iter().all(|stack| stack["error"].is_null()), "{done:#}");
    assert_eq!(sandbox.processes(), []);
    prune(&sandbox, &main, &["--yes"]);
}

/// Makes a repository with a local database. Returns `None` and reports a skipped test if Postgres is not installed.
fn with_database() -> Option<(Sandbox, PathBuf)> {
    let bin = postgres_or_skip()?;
    let mut sandbox = Sandbox::new();
    let data = sandbox.path().join("data");
    sandbox.set("XDG_DATA_HOME", data);
    let text = format!(
        "database:\n  provider: local\n  local: {{ bin: {}, durability: fast }}\nprocesses:\n  web: exec devrun-fixture ready sleep\n",
        bin.display()
    );
    let main = sandbox.repo_with(&[("devrun.yaml", &text)]);
    Some((sandbox, main))
}

#[test]
fn d6_databases_of_deleted_branches_are_deleted_and_all_others_stay() {
    let Some((sandbox, main)) = with_database() else { return };
    for name in ["here", "deleted", "remote", "old-name", "squashed"] {
        let folder = sandbox.worktree(name, name);
        fine(devrun(&sandbox, &folder, &["db", "migrate"]));
    }
    let remove = |name: &str| git(&sandbox, &main, &["worktree", "remove", text(&sandbox.path().join(name))]);
    let squashed = sandbox.path().join("squashed");
    commit(&sandbox, &squashed, "work");
    git(&sandbox, &main, &["merge", "-q", "--squash", "squashed"]);
    git(&sandbox, &main, &["commit", "-q", "-m", "squashed"]);
    for name in ["deleted", "remote"] {
        remove(name);
    }
    sandbox.git(&["update-ref", "refs/remotes/origin/remote", "main"]);
    sandbox.git(&["branch", "-D", "deleted", "remote"]);
    sandbox.git(&["branch", "-m", "old-name", "new-name"]);

    let all = ["--older-than", "0s"];
    let young = prune(&sandbox, &main, &[]);
    assert_eq!(reason(&young, "database", "dev-deleted"), "it was made less than 1 day ago");
    let shown = prune(&sandbox, &main, &all);
    assert_eq!(kinds(&chosen(&shown)), ["lease", "lease", "database"], "{shown:#}");
    assert_eq!(chosen(&shown)[2].1, "dev-deleted");
    for (name, why) in [
        ("dev-here", "the branch here exists"),
        ("dev-remote", "the branch exists as origin/remote: another clone may use it"),
        ("dev-old-name", "its branch is called new-name now"),
        ("dev-main", "it is the default branch's database"),
    ] {
        assert_eq!(reason(&shown, "database", name), why);
    }
    prune(&sandbox, &main, &[&all[..], &["--yes"]].concat());
    let merged = prune(&sandbox, &main, &["--merged", "--older-than", "0s", "--yes"]);
    assert_eq!(kinds(&chosen(&merged)), ["worktree", "branch", "database"], "{merged:#}");
    assert_eq!(chosen(&prune(&sandbox, &main, &["--merged", "--older-than", "0s"])), []);
    let listed = json(&fine(devrun(&sandbox, &main, &["db", "list", "--json"])));
    let names: Vec<&str> =
        listed["databases"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dev-here", "dev-main", "dev-old-name", "dev-remote"]);
}

/// Returns the names of the databases of the repository at `main`.
fn database_names(sandbox: &Sandbox, main: &Path) -> Vec<String> {
    let listed = json(&fine(devrun(sandbox, main, &["db", "list", "--json"])));
    let all = listed["databases"].as_array().unwrap();
    all.iter().map(|entry| entry["name"].as_str().unwrap().to_string()).collect()
}

#[test]
fn database_of_a_merged_branch_that_a_remote_has_stays() {
    let Some((sandbox, main)) = with_database() else { return };
    let pushed = sandbox.worktree("pushed", "pushed");
    fine(devrun(&sandbox, &pushed, &["db", "migrate"]));
    commit(&sandbox, &pushed, "work");
    git(&sandbox, &main, &["merge", "-q", "pushed"]);
    sandbox.git(&["update-ref", "refs/remotes/origin/pushed", "pushed"]);
    let done = prune(&sandbox, &main, &["--merged", "--older-than", "0s", "--yes"]);
    assert_eq!(kinds(&chosen(&done)), ["worktree", "branch"], "{done:#}");
    let why = "the branch exists as origin/pushed: another clone may use it";
    assert_eq!(reason(&done, "database", "dev-pushed"), why);
    assert_eq!(database_names(&sandbox, &main), ["dev-main", "dev-pushed"]);
}

#[test]
fn databases_are_checked_again_after_the_answer() {
    let Some((sandbox, main)) = with_database() else { return };
    for name in ["fetched", "other", "remade"] {
        let folder = sandbox.worktree(name, name);
        fine(devrun(&sandbox, &folder, &["db", "migrate"]));
        git(&sandbox, &main, &["worktree", "remove", text(&folder)]);
        sandbox.git(&["branch", "-D", name]);
    }
    let (running, terminal) = Terminal::start(devrun(&sandbox, &main, &["prune", "--older-than", "0s"]));
    terminal.expect("[y/N] ");
    // While the user reads, a fetch brings one branch back, and another one is made again with its database.
    sandbox.git(&["update-ref", "refs/remotes/origin/fetched", "main"]);
    fine(devrun(&sandbox, &main, &["db", "delete", "dev-remade", "--yes"]));
    let remade = sandbox.worktree("remade", "remade");
    fine(devrun(&sandbox, &remade, &["db", "migrate"]));
    sandbox.git(&["worktree", "remove", text(&remade)]);
    sandbox.git(&["branch", "-D", "remade"]);
    terminal.press("y\n");
    let ended = terminal.end(running);
    assert_eq!(ended.code, Some(88), "{}", terminal.text());
    let said = terminal.text();
    assert!(said.contains("dev-fetched stays now: the branch exists as origin/fetched"), "{said}");
    assert!(said.contains("dev-remade was deleted and created again"), "{said}");
    assert_eq!(database_names(&sandbox, &main), ["dev-fetched", "dev-main", "dev-remade"]);
}

#[test]
fn d6_a_cluster_of_a_deleted_repository_is_deleted_after_a_week_without_use() {
    let Some((sandbox, main)) = with_database() else { return };
    let clone = sandbox.path().join("clone");
    git(&sandbox, &main, &["clone", "-q", ".", text(&clone)]);
    fine(devrun(&sandbox, &clone, &["db", "migrate"]));
    let clusters = sandbox.path().join("data/devrun-worktree/pg");
    let folder = std::fs::read_dir(&clusters).unwrap().flatten().next().unwrap().path();
    std::fs::remove_dir_all(&clone).unwrap();
    let shown = prune(&sandbox, &main, &["--older-than", "0s"]);
    assert_eq!(reason(&shown, "cluster", text(&folder)), "it was used less than 7 days ago");
    let control = std::fs::File::options().write(true).open(folder.join("data/global/pg_control")).unwrap();
    let week = std::time::Duration::from_hours(8 * 24);
    control.set_modified(std::time::SystemTime::now() - week).unwrap();
    drop(control);
    assert_eq!(kinds(&chosen(&prune(&sandbox, &main, &["--yes"]))), ["cluster"]);
    assert!(!folder.exists());
    assert_eq!(chosen(&prune(&sandbox, &main, &[])), []);
}
