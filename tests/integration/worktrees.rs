//! Every kind of worktree as a user sees it: its identity and ports, and that `up` works in it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::asking::{
    answer, base, devrun, fine, interrupt, json, lines_of, port, refusal, serve, server, skip, solo,
};
use crate::support::Sandbox;

/// A process that prints its folder, port, branch, slug and worktree.
const TELL: &str = "exec devrun-fixture cwd env:PORT env:DEVRUN_BRANCH env:DEVRUN_SLUG env:DEVRUN_WORKTREE";

/// Makes a repository whose first commit contains that configuration.
fn telling(sandbox: &Sandbox) -> PathBuf {
    sandbox.repo_with(&[("devrun.yaml", &solo(base(), TELL)), ("deep/er/file", "")])
}

fn text(path: &Path) -> String {
    path.canonicalize().unwrap().to_str().unwrap().into()
}

/// Checks that a run in `folder` matches its plan, and returns the plan.
#[track_caller]
fn plan_and_run(sandbox: &Sandbox, folder: &Path, top: &Path, branch: Option<&str>) -> Value {
    let plan = answer(sandbox, folder, "plan");
    assert_eq!(plan["worktree"], text(top));
    assert_eq!(plan["branch"], branch.map_or(Value::Null, Value::from), "{plan:#}");
    let ended = fine(devrun(sandbox, folder, &[]));
    let shown = plan["env"]["DEVRUN_BRANCH"].as_str().unwrap();
    assert_eq!(
        lines_of("web", &ended.stdout),
        [
            format!("cwd {}", text(top)),
            format!("env PORT={}", port(&plan, "web")),
            format!("env DEVRUN_BRANCH={shown}"),
            format!("env DEVRUN_SLUG={}", plan["slug"].as_str().unwrap()),
            format!("env DEVRUN_WORKTREE={}", text(top)),
        ],
        "{ended}"
    );
    match branch {
        Some(branch) => assert_eq!(shown, branch),
        None => assert!(shown.starts_with("detached-"), "{shown}"),
    }
    plan
}

#[test]
fn every_worktree_of_a_repository_runs_on_its_own_ports() {
    let sandbox = Sandbox::new();
    let main = telling(&sandbox);
    let linked = sandbox.worktree("linked", "feature/x");
    let nested = main.join(".claude/worktrees/nested");
    sandbox.git(&["worktree", "add", "-q", "-b", "worktree-nested", nested.to_str().unwrap()]);
    let detached = sandbox.path().join("detached");
    sandbox.git(&["worktree", "add", "-q", "--detach", detached.to_str().unwrap()]);
    let second = sandbox.path().join("second");
    sandbox.git(&["worktree", "add", "-q", "--detach", second.to_str().unwrap()]);
    let plans = [
        plan_and_run(&sandbox, &main, &main, Some("main")),
        plan_and_run(&sandbox, &linked, &linked, Some("feature/x")),
        plan_and_run(&sandbox, &nested, &nested, Some("worktree-nested")),
        plan_and_run(&sandbox, &detached, &detached, None),
        plan_and_run(&sandbox, &second, &second, None),
        // A run from a subfolder is a run of the whole worktree.
        plan_and_run(&sandbox, &linked.join("deep/er"), &linked, Some("feature/x")),
    ];
    let distinct = |key: &dyn Fn(&Value) -> String| {
        plans[..5].iter().map(key).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(distinct(&|plan| plan["slot"].to_string()), 5);
    assert_eq!(distinct(&|plan| plan["slug"].to_string()), 5);
    // Two detached worktrees at one commit do not share a branch name.
    assert_eq!(distinct(&|plan| plan["env"]["DEVRUN_BRANCH"].to_string()), 5);
    assert_eq!(plans[5], plans[1]);
    assert!(plans.iter().all(|plan| plan["project"] == "repo"), "the project is the main worktree's name");
}

#[test]
fn a_branch_called_like_a_detached_worktree_has_its_own_database() {
    let sandbox = Sandbox::new();
    let config = format!("{}database: {{ provider: local }}\n", solo(base(), TELL));
    sandbox.repo_with(&[("devrun.yaml", config.as_str())]);
    let detached = sandbox.path().join("detached");
    sandbox.git(&["worktree", "add", "-q", "--detach", detached.to_str().unwrap()]);
    let plan = answer(&sandbox, &detached, "plan");
    let name = plan["database"]["name"].as_str().unwrap();
    assert!(name.starts_with("dev-detached-detached-"), "{plan:#}");

    let value = plan["env"]["DEVRUN_BRANCH"].as_str().unwrap();
    let branch = sandbox.worktree("branch", value);
    let other = answer(&sandbox, &branch, "plan");
    assert_eq!(other["branch"], value);
    assert_ne!(other["database"]["name"], name);
}

#[test]
fn a_branch_without_a_commit_runs() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().join("unborn");
    sandbox.write(&folder.join("devrun.yaml"), &solo(base(), TELL));
    fine(sandbox.program("git", &["init", "-q", "-b", "fresh"]).directory(&folder));
    plan_and_run(&sandbox, &folder, &folder, Some("fresh"));
}

#[test]
fn bare_layout_runs_only_in_its_worktrees() {
    let sandbox = Sandbox::new();
    telling(&sandbox);
    let layout = sandbox.path().join("layout");
    std::fs::create_dir(&layout).unwrap();
    sandbox.git(&["clone", "-q", "--bare", ".", layout.join(".bare").to_str().unwrap()]);
    sandbox.write(&layout.join(".git"), "gitdir: ./.bare\n");
    let git = |args: &[&str]| fine(sandbox.program("git", args).directory(&layout));
    git(&["worktree", "add", "-q", "main"]);
    git(&["worktree", "add", "-q", "-b", "other", "other"]);
    let main = plan_and_run(&sandbox, &layout.join("main"), &layout.join("main"), Some("main"));
    let other = plan_and_run(&sandbox, &layout.join("other"), &layout.join("other"), Some("other"));
    assert_ne!(main["slot"], other["slot"]);
    for folder in [&layout, &layout.join(".bare")] {
        let error = refusal(devrun(&sandbox, folder, &["--json"]), "git-failed", 81);
        assert!(error["message"].as_str().unwrap().contains("bare repository"), "{error:#}");
        assert!(error["fix"].as_str().unwrap().contains("git worktree"), "{error:#}");
    }
}

#[test]
fn two_clones_are_independent() {
    let sandbox = Sandbox::new();
    telling(&sandbox);
    let clone = sandbox.path().join("clone");
    sandbox.git(&["clone", "-q", ".", clone.to_str().unwrap()]);
    let first = plan_and_run(&sandbox, &sandbox.main(), &sandbox.main(), Some("main"));
    let second = plan_and_run(&sandbox, &clone, &clone, Some("main"));
    assert_ne!(first["slot"], second["slot"]);
}

#[test]
fn variables_of_a_git_hook_are_ignored() {
    let mut sandbox = Sandbox::new();
    let main = telling(&sandbox);
    let linked = sandbox.worktree("linked", "feature");
    let before = answer(&sandbox, &linked, "plan");
    let index = main.join(".git/index");
    for (name, value) in
        [("GIT_DIR", main.join(".git")), ("GIT_WORK_TREE", main.clone()), ("GIT_INDEX_FILE", index)]
    {
        sandbox.set(name, value);
    }
    assert_eq!(answer(&sandbox, &linked, "plan"), before);
    let tell = "exec devrun-fixture env:GIT_DIR env:GIT_WORK_TREE env:GIT_INDEX_FILE";
    sandbox.write(&linked.join("devrun.yaml"), &solo(base(), tell));
    let unset = ["env GIT_DIR unset", "env GIT_WORK_TREE unset", "env GIT_INDEX_FILE unset"];
    assert_eq!(lines_of("web", &fine(devrun(&sandbox, &linked, &["up"])).stdout), unset);
    let exec = ["exec", "devrun-fixture", "env:GIT_DIR", "env:GIT_WORK_TREE", "env:GIT_INDEX_FILE"];
    assert_eq!(fine(devrun(&sandbox, &linked, &exec)).stdout.lines().collect::<Vec<_>>(), unset);
}

#[test]
fn folders_of_any_name_work() {
    for name in [&b"My Apps"[..], b"two\nlines", b"raw \xff\xfe", b"\xc3\xa9t\xc3\xa9 $HOME 'x'"] {
        let sandbox = Sandbox::new();
        let main = sandbox.repo_with(&[(
            "devrun.yaml",
            &solo(base(), "printf %s \"$DEVRUN_WORKTREE\" > told; exec devrun-fixture env:PORT"),
        )]);
        let folder = sandbox.path().join(OsStr::from_bytes(name));
        let git = sandbox.program("git", &["worktree", "add", "-q", "-b", "odd"]).directory(&main);
        fine(git.with(|command| command.arg(&folder)));
        let ports = answer(&sandbox, &folder, "ports");
        let ended = fine(devrun(&sandbox, &folder, &[]));
        assert_eq!(lines_of("web", &ended.stdout), [format!("env PORT={}", port(&ports, "web"))]);
        let path = folder.canonicalize().unwrap().into_os_string().into_vec();
        assert_eq!(std::fs::read(folder.join("told")).unwrap(), path, "{folder:?}");
        assert_eq!(answer(&sandbox, &folder, "ports"), ports);
        let plan = answer(&sandbox, &folder, "plan");
        assert_eq!((plan["branch"].as_str(), &plan["slot"]), (Some("odd"), &ports["slot"]));
        let by_option = sandbox.devrun(&["ports", "--json", "-C"]).with(|command| command.arg(&folder));
        assert_eq!(json(&fine(by_option)), ports);
        assert_eq!(fine(devrun(&sandbox, &folder, &["down"])).stdout, "Nothing runs in this worktree.\n");
    }
}

#[test]
fn own_server_is_recognised_when_the_path_is_not_utf8() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &solo(base(), "true"))]);
    let folder = sandbox.path().join(OsStr::from_bytes(b"raw\xff"));
    let git = sandbox.program("git", &["worktree", "add", "-q", "-b", "odd"]).directory(&main);
    fine(git.with(|command| command.arg(&folder)));
    let words = ["exec", "devrun-fixture", "listen:WEB_PORT", "say:up", "sleep"];
    let mut own = devrun(&sandbox, &folder, &words).start();
    own.expect_line("^up$");
    let busy = devrun(&sandbox, &folder, &["up", "--strict-ports"]).run();
    assert_eq!(busy.code, Some(82), "{busy}");
    assert!(busy.stderr.contains("this worktree's own server already runs here"), "{busy}");
}

#[test]
fn control_characters_are_not_printed() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().join("red \x1b[31m\nnext");
    sandbox.write(&folder.join("devrun.yaml"), &solo(base(), "true"));
    for args in [&["plan"][..], &["up"], &["-C", "nowhere", "plan"]] {
        let ended = devrun(&sandbox, &folder, args).run();
        assert!(!ended.stdout.contains('\x1b') && !ended.stderr.contains('\x1b'), "{ended}");
    }
}

#[test]
fn a_symlink_is_another_name_of_the_same_worktree() {
    let sandbox = Sandbox::new();
    let main = telling(&sandbox);
    let link = sandbox.path().join("link");
    symlink(&main, &link).unwrap();
    let plan = answer(&sandbox, &link, "plan");
    assert_eq!(plan, answer(&sandbox, &main, "plan"));
    let below = answer(&sandbox, &link.join("deep"), "plan");
    assert_eq!(below, plan);
    plan_and_run(&sandbox, &link, &main, Some("main"));
    let table = std::fs::read(sandbox.home().join(".local/state/devrun-worktree/leases.json")).unwrap();
    let table: Value = serde_json::from_slice(&table).unwrap();
    assert_eq!(table["leases"].as_array().unwrap().len(), 1);
}

#[test]
fn outside_git_the_folder_is_the_worktree() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().join("plain");
    sandbox.write(&folder.join("devrun.yaml"), &solo(base(), TELL));
    plan_and_run(&sandbox, &folder, &folder, None);
    let ended = fine(devrun(&sandbox, &folder, &[]));
    let note = format!("note: not in a git repository: {} counts as the worktree\n", text(&folder));
    assert!(ended.stderr.contains(&note), "{ended}");
    assert!(ended.stdout.contains("not in git"), "{ended}");
}

#[test]
fn missing_git_is_an_error_only_in_a_repository() {
    let mut sandbox = Sandbox::new();
    let main = telling(&sandbox);
    let plain = sandbox.path().join("plain");
    sandbox.write(&plain.join("devrun.yaml"), &solo(base(), "printf hello; echo"));
    let empty = sandbox.path().join("programs");
    std::fs::create_dir(&empty).unwrap();
    sandbox.set("PATH", &empty);
    let error = refusal(devrun(&sandbox, &main.join("deep"), &["--json"]), "git-missing", 81);
    assert!(error["message"].as_str().unwrap().contains(&text(&main)), "{error:#}");
    assert!(error["fix"].as_str().unwrap().contains("install git"), "{error:#}");
    assert_eq!(lines_of("web", &fine(devrun(&sandbox, &plain, &[])).stdout), ["hello"]);
}

#[test]
fn state_moves_when_the_git_folder_is_read_only() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let linked = sandbox.worktree("linked", "feature");
    // A file in the place of the folder stops even root from creating it.
    for folder in [main.join(".git"), main.join(".git/worktrees/linked")] {
        sandbox.write(&folder.join("devrun"), "");
    }
    runs_with_state_elsewhere(&sandbox, &linked);
    if nix::unistd::geteuid().is_root() {
        return skip("modes do not stop root from writing to git's folder");
    }
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let dir = main.join(".git");
    let mode = |mode| std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o555);
    runs_with_state_elsewhere(&sandbox, &main);
    mode(0o755);
}

/// Checks that a stack works whose state is in the state directory, and that the state is removed with the run.
#[track_caller]
fn runs_with_state_elsewhere(sandbox: &Sandbox, folder: &Path) {
    let running = serve(devrun(sandbox, folder, &[]));
    let second = fine(devrun(sandbox, folder, &[]));
    assert!(second.stdout.starts_with("Already running in "), "{second}");
    let states = std::fs::read_dir(sandbox.home().join(".local/state/devrun-worktree/worktrees")).unwrap();
    let records: Vec<PathBuf> =
        states.flatten().map(|state| state.path().join("run.json")).filter(|file| file.exists()).collect();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(fine(devrun(sandbox, folder, &["down"])).stdout, "Stopped.\n");
    running.wait();
    assert!(!records[0].exists());
}

#[test]
fn up_leaves_git_status_clean() {
    let sandbox = Sandbox::new();
    let main = telling(&sandbox);
    let config = std::fs::read(main.join(".git/config")).unwrap();
    fine(devrun(&sandbox, &main, &[]));
    assert_eq!(sandbox.git(&["status", "--porcelain", "--ignored"]), "");
    assert_eq!(std::fs::read(main.join(".git/config")).unwrap(), config);
}

#[test]
fn git_directories_are_refused() {
    let sandbox = Sandbox::new();
    let main = telling(&sandbox);
    let linked = sandbox.worktree("linked", "feature");
    let bare = sandbox.path().join("bare.git");
    sandbox.git(&["init", "-q", "--bare", bare.to_str().unwrap()]);
    for folder in [main.join(".git"), main.join(".git/refs"), main.join(".git/worktrees/linked")] {
        for verb in ["up", "down", "plan", "env", "ports", "url", "init"] {
            let error = refusal(devrun(&sandbox, &folder, &[verb, "--json"]), "git-failed", 81);
            let message = error["message"].as_str().unwrap();
            assert!(message.ends_with("is inside a git directory, not in a worktree"), "{message}");
        }
    }
    let ended = devrun(&sandbox, &bare, &[]).run();
    assert_eq!(ended.code, Some(81), "{ended}");
    assert!(ended.stderr.contains("is a bare repository: there is no worktree here [git-failed]"), "{ended}");
    // The repository of this worktree has moved away.
    std::fs::rename(&main, sandbox.path().join("away")).unwrap();
    let error = refusal(devrun(&sandbox, &linked, &["plan", "--json"]), "git-failed", 81);
    assert!(error["fix"].as_str().unwrap().contains("git worktree repair"), "{error:#}");
}

#[test]
fn repository_of_another_user_is_refused_with_gits_advice() {
    let sandbox = Sandbox::new();
    let main = telling(&sandbox);
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can give a repository away");
    }
    std::os::unix::fs::chown(&main, Some(65_534), None).unwrap();
    let error = refusal(devrun(&sandbox, &main, &["--json"]), "git-failed", 81);
    assert!(error["message"].as_str().unwrap().contains("belongs to another user"), "{error:#}");
    assert!(error["fix"].as_str().unwrap().contains("safe.directory"), "{error:#}");
}

#[test]
fn dash_c_works_as_in_git() {
    let sandbox = Sandbox::new();
    let main = telling(&sandbox);
    let linked = sandbox.worktree("linked", "feature");
    let here = answer(&sandbox, &linked, "plan");
    let absolute = linked.to_str().unwrap();
    for args in [
        &["-C", absolute, "plan", "--json"][..],
        &["plan", "-C", absolute, "--json"],
        &["-C", "../linked/deep", "--json", "plan"],
    ] {
        assert_eq!(json(&fine(devrun(&sandbox, &main, args))), here, "{args:?}");
    }
    let ended = fine(devrun(&sandbox, &main, &["-C", "../linked"]));
    assert_eq!(lines_of("web", &ended.stdout)[0], format!("cwd {}", text(&linked)));
    let in_it = fine(devrun(&sandbox, &main, &["-C", "../linked/deep", "exec", "devrun-fixture", "cwd"]));
    assert_eq!(in_it.stdout, format!("cwd {}\n", text(&linked.join("deep"))));
    for (args, fix) in [
        (&["-C", "../linked", "wait", "--json"][..], "devrun -C ../linked up -d"),
        (&["-C", ".", "wait", "--json"], "devrun up -d"),
    ] {
        assert_eq!(refusal(devrun(&sandbox, &main, args), "not-running", 88)["fix"], fix, "{args:?}");
    }
    let told = devrun(&sandbox, &main, &["-C", "../linked", "wait"]).run();
    assert!(told.stderr.contains("fix: devrun -C ../linked up -d"), "{told}");
    for nowhere in ["../nowhere", "devrun.yaml"] {
        let error =
            refusal(devrun(&sandbox, &main, &["-C", nowhere, "plan", "--json"]), "state-unusable", 74);
        assert!(error["message"].as_str().unwrap().contains("is not a directory"), "{error:#}");
    }
    // The current folder was removed, as may happen to an agent's shell.
    let line = "mkdir gone && cd gone && rmdir ../gone && exec \"$0\" -C \"$1\" plan --json";
    let program = env!("CARGO_BIN_EXE_devrun");
    let gone = sandbox.program("/bin/sh", &["-c", line, program, absolute]);
    assert_eq!(json(&fine(gone)), here);
    let line = "mkdir gone && cd gone && rmdir ../gone && exec \"$0\" plan --json";
    refusal(sandbox.program("/bin/sh", &["-c", line, program]), "state-unusable", 74);
}

#[test]
fn moved_worktree_runs_and_its_old_lease_is_dropped() {
    let sandbox = Sandbox::new();
    telling(&sandbox);
    let before = sandbox.worktree("before", "feature");
    plan_and_run(&sandbox, &before, &before, Some("feature"));
    let after = sandbox.path().join("after");
    sandbox.git(&["worktree", "move", before.to_str().unwrap(), after.to_str().unwrap()]);
    plan_and_run(&sandbox, &after, &after, Some("feature"));
    let table = sandbox.home().join(".local/state/devrun-worktree/leases.json");
    let known = OsString::from_vec(std::fs::read(table).unwrap());
    assert!(!known.to_string_lossy().contains("/before\""), "{known:?}");
}

#[test]
fn stack_keeps_running_while_its_branch_changes() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let before = answer(&sandbox, &main, "plan");
    let running = serve(devrun(&sandbox, &main, &[]));
    sandbox.git(&["switch", "-q", "-c", "other"]);
    let plan = answer(&sandbox, &main, "plan");
    assert_eq!((&plan["slot"], &plan["slug"]), (&before["slot"], &before["slug"]));
    assert_eq!(plan["branch"], "other");
    interrupt(running);
}
