//! `devrun rm`: refusals, each with its option, and complete removals.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::asking::{answer, base, devrun, fine, json as parsed, refusal, server};
use crate::db::World;
use crate::supervise::terminal::Terminal;
use crate::support::Sandbox;

/// Makes a repository with a server.
fn world() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", &server(base())), ("file", "one\n")]);
    sandbox
}

/// Runs git in a worktree.
#[track_caller]
fn git(sandbox: &Sandbox, worktree: &Path, args: &[&str]) -> String {
    sandbox.git(&[&["-C", worktree.to_str().unwrap()], args].concat())
}

/// Commits `text` as the content of `file` in a worktree.
#[track_caller]
fn commit(sandbox: &Sandbox, worktree: &Path, text: &str) {
    sandbox.write(&worktree.join("file"), text);
    git(sandbox, worktree, &["commit", "-q", "-a", "-m", text]);
}

/// Returns the answer of a successful `devrun rm ARGS --yes --json`.
#[track_caller]
fn rm(sandbox: &Sandbox, args: &[&str]) -> Value {
    parsed(&fine(sandbox.devrun(&[&["rm", "--yes", "--json"], args].concat())))
}

/// Checks that `devrun rm NAME` refuses for `reason`, changes nothing, and succeeds with `option`.
#[track_caller]
fn refuses_without(sandbox: &Sandbox, worktree: &Path, name: &str, reason: &str, option: &str) {
    let error = refusal(sandbox.devrun(&["rm", name, "--yes", "--json"]), "worktree-kept", 81);
    assert!(error["cause"].as_str().unwrap().contains(reason), "{error:#}");
    assert!(error["fix"].as_str().unwrap().contains(&format!("devrun rm {name} {option}")), "{error:#}");
    assert!(worktree.is_dir());
    assert_eq!(rm(sandbox, &[name, option])["removed"], true);
    assert!(!worktree.exists());
}

fn branches(sandbox: &Sandbox) -> Vec<String> {
    sandbox
        .git(&["for-each-ref", "--format=%(refname:short)", "refs/heads"])
        .lines()
        .map(Into::into)
        .collect()
}

#[test]
fn c4_everything_of_a_worktree_is_removed() {
    let sandbox = world();
    let x = sandbox.worktree("x", "feature/x");
    fine(devrun(&sandbox, &x, &["up", "-d"]));
    let commit = sandbox.git(&["rev-parse", "feature/x"]);
    let planned = fine(sandbox.devrun(&["rm", "feature/x", "--dry-run"]));
    for part in ["stack", "delete feature/x at", "contained in main", "release them"] {
        assert!(planned.stdout.contains(part), "{planned}");
    }
    assert_eq!(answer(&sandbox, &x, "status")["state"], "ready", "a dry run changed something");
    // Without a terminal, the removal must be confirmed.
    let error = refusal(sandbox.devrun(&["rm", "feature/x", "--json"]), "not-confirmed", 2);
    assert_eq!(error["fix"], "if you mean it: devrun rm feature/x --yes");
    let ended = fine(sandbox.devrun(&["rm", "feature/x", "--yes"]));
    assert!(ended.stdout.contains(&format!("git branch feature/x {commit}")), "{ended}");
    assert!(!x.exists());
    assert_eq!(branches(&sandbox), ["main"]);
    assert_eq!(sandbox.processes(), []);
    assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 1);
    let leases = sandbox.home().join(".local/state/devrun-worktree/leases.json");
    let leases = std::fs::read_to_string(leases).unwrap();
    assert!(!leases.contains(x.to_str().unwrap()), "{leases}");
    // The printed command restores the branch.
    sandbox.git(&["branch", "feature/x", &commit]);
}

#[test]
fn uncommitted_work_is_kept_unless_its_option_is_given() {
    let sandbox = world();
    let x = sandbox.worktree("x", "x");
    sandbox.write(&x.join("file"), "changed\n");
    sandbox.write(&x.join("new file"), "new\n");
    refuses_without(&sandbox, &x, "x", "2 files are not committed: file, new file", "--uncommitted");
    assert_eq!(branches(&sandbox), ["main"]);
}

#[test]
fn instructions_that_next_wrote_are_no_work_of_the_user() {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", &server(base())), ("web/page.jsx", "")]);
    let rules = "<!-- BEGIN:nextjs-agent-rules -->\n\n## Rules\n\n<!-- END:nextjs-agent-rules -->\n";
    let x = sandbox.worktree("x", "feature/x");
    sandbox.write(&x.join("web/AGENTS.md"), rules);
    sandbox.write(&x.join("AGENTS.md"), &format!("{rules}\nUse tabs.\n"));
    let error = refusal(sandbox.devrun(&["rm", "x", "--yes", "--json"]), "worktree-kept", 81);
    assert_eq!(error["cause"], "1 file is not committed: AGENTS.md", "{error:#}");
    sandbox.write(&x.join("AGENTS.md"), rules);
    assert_eq!(rm(&sandbox, &["x"])["removed"], true);
    assert!(!x.exists());
}

#[test]
fn an_operation_under_way_counts_as_uncommitted() {
    let sandbox = world();
    let x = sandbox.worktree("x", "x");
    commit(&sandbox, &x, "two\n");
    let rebase = ["-c", "sequence.editor=sed -i 1ibreak", "rebase", "-i", "HEAD~1"];
    git(&sandbox, &x, &rebase);
    let error = refusal(sandbox.devrun(&["rm", "x", "--yes", "--json"]), "worktree-kept", 81);
    assert!(error["cause"].as_str().unwrap().contains("a rebase is under way"), "{error:#}");
    git(&sandbox, &x, &["rebase", "--abort"]);
    assert_eq!(rm(&sandbox, &["x", "--keep-branch"])["removed"], true);
}

#[test]
fn unmerged_commits_are_kept_unless_their_option_is_given() {
    let sandbox = world();
    let x = sandbox.worktree("x", "x");
    commit(&sandbox, &x, "two\n");
    let tip = git(&sandbox, &x, &["rev-parse", "HEAD"]);
    let error = refusal(sandbox.devrun(&["rm", "x", "--yes", "--json"]), "worktree-kept", 81);
    assert!(error["cause"].as_str().unwrap().contains("1 commit of x is not merged"), "{error:#}");
    let removed = rm(&sandbox, &["x", "--keep-branch"]);
    assert_eq!(removed["kept"], json!([{ "what": "branch x", "why": "--keep-branch" }]));
    assert_eq!(branches(&sandbox), ["main", "x"]);
    let again =
        PathBuf::from(parsed(&fine(sandbox.devrun(&["new", "x", "--json"])))["path"].as_str().unwrap());
    refuses_without(&sandbox, &again, "x", "1 commit of x", "--unmerged");
    assert_eq!(branches(&sandbox), ["main"]);
    sandbox.git(&["cat-file", "-e", &tip]);
}

#[test]
fn d6_merged_rebased_and_squashed_branches_count_as_merged() {
    let sandbox = world();
    let main = sandbox.main();
    let make = |name: &str| {
        let worktree = sandbox.worktree(name, name);
        for number in [1, 2] {
            sandbox.write(&worktree.join(format!("{name}-{number}")), name);
            git(&sandbox, &worktree, &["add", "-A"]);
            git(&sandbox, &worktree, &["commit", "-q", "-m", name]);
        }
        worktree
    };
    let (merged, rebased, squashed, later) =
        (make("merged"), make("rebased"), make("squashed"), make("later"));
    git(&sandbox, &main, &["merge", "-q", "--no-ff", "-m", "merge", "merged"]);
    git(&sandbox, &main, &["cherry-pick", "main..rebased"]);
    for name in ["squashed", "later"] {
        git(&sandbox, &main, &["merge", "-q", "--squash", name]);
        git(&sandbox, &main, &["commit", "-q", "-m", "squash"]);
    }
    // After the squash, the default branch changes the same lines again.
    sandbox.write(&main.join("later-1"), "changed on main\n");
    git(&sandbox, &main, &["commit", "-q", "-a", "-m", "change"]);
    for (worktree, name, why) in [
        (merged, "merged", "contained in main"),
        (rebased, "rebased", "its changes are in main"),
        (squashed, "squashed", "its changes are in main"),
        (later, "later", "its changes are in main"),
    ] {
        let removed = rm(&sandbox, &[name]);
        let steps = removed["steps"].as_array().unwrap();
        assert_eq!(steps.last().unwrap()["why"], why, "{removed:#}");
        assert!(!worktree.exists());
    }
    assert_eq!(branches(&sandbox), ["main"]);
}

#[test]
fn a_branch_that_is_pushed_counts_as_merged() {
    let sandbox = world();
    let x = sandbox.worktree("x", "x");
    commit(&sandbox, &x, "two\n");
    let bare = sandbox.path().join("bare");
    sandbox.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    sandbox.git(&["remote", "add", "origin", bare.to_str().unwrap()]);
    git(&sandbox, &x, &["push", "-q", "-u", "origin", "x"]);
    let removed = rm(&sandbox, &["x"]);
    assert_eq!(removed["steps"].as_array().unwrap().last().unwrap()["why"], "contained in origin/x");
}

#[test]
fn a_locked_worktree_is_kept_unless_its_option_is_given() {
    let sandbox = world();
    let x = sandbox.worktree("x", "x");
    sandbox.git(&["worktree", "lock", "--reason", "on a usb disk", x.to_str().unwrap()]);
    refuses_without(&sandbox, &x, "x", "it is locked: on a usb disk", "--locked");
}

#[test]
fn main_foreign_unknown_and_outer_worktrees_are_never_removed() {
    let sandbox = world();
    let main = sandbox.main();
    for name in ["main", "repo", ".", main.to_str().unwrap()] {
        let all = ["rm", name, "--yes", "--json", "--uncommitted", "--unmerged", "--locked"];
        let error = refusal(sandbox.devrun(&all), "worktree-kept", 81);
        assert!(error["message"].as_str().unwrap().contains("is the main worktree"), "{error:#}");
    }
    refusal(sandbox.devrun(&["rm", "--yes", "--json"]), "worktree-kept", 81);
    let foreign = sandbox.path().join("foreign");
    sandbox.git(&["clone", "-q", ".", foreign.to_str().unwrap()]);
    let error =
        refusal(sandbox.devrun(&["rm", foreign.to_str().unwrap(), "--yes", "--json"]), "worktree-unknown", 2);
    assert!(error["message"].as_str().unwrap().contains("not a worktree of this repository"), "{error:#}");
    refusal(sandbox.devrun(&["rm", "nothing", "--yes", "--json"]), "worktree-unknown", 2);
    // An interrupted removal leaves a branch.
    sandbox.git(&["branch", "lonely"]);
    let error = refusal(sandbox.devrun(&["rm", "lonely", "--yes", "--json"]), "worktree-unknown", 2);
    assert!(error["fix"].as_str().unwrap().contains("`git branch -d lonely` deletes it"), "{error:#}");
    // A worktree in an ignored folder of another worktree would be removed with it.
    sandbox.write(&main.join(".git/info/exclude"), "inner\n");
    let outer = sandbox.worktree("outer", "outer");
    sandbox.git(&["worktree", "add", "-q", "-b", "inner", outer.join("inner").to_str().unwrap()]);
    let error = refusal(sandbox.devrun(&["rm", "outer", "--yes", "--json"]), "worktree-kept", 81);
    assert!(error["cause"].as_str().unwrap().contains("other worktrees are inside it"), "{error:#}");
    rm(&sandbox, &["inner"]);
    rm(&sandbox, &["outer"]);
    assert!(foreign.is_dir());
}

#[test]
fn a_folder_that_is_gone_is_forgotten_with_its_branch() {
    let sandbox = world();
    let (x, y) = (sandbox.worktree("x", "x"), sandbox.worktree("y", "y"));
    std::fs::remove_dir_all(&x).unwrap();
    std::fs::rename(&y, sandbox.path().join("unmounted")).unwrap();
    let removed = rm(&sandbox, &["x"]);
    assert_eq!(removed["steps"][0], json!({ "step": "worktree", "force": false, "gone": true }));
    let list = sandbox.git(&["worktree", "list"]);
    assert!(!list.contains("[x]") && list.contains("[y]"), "{list}");
    assert_eq!(branches(&sandbox), ["main", "y"]);
}

#[test]
fn without_a_name_the_current_worktree_is_removed() {
    let sandbox = world();
    let x = sandbox.worktree("x", "x");
    let ended = fine(devrun(&sandbox, &x, &["rm", "--yes"]));
    assert!(ended.stderr.contains("the current folder is gone: cd "), "{ended}");
    assert!(!x.exists());
    assert_eq!(branches(&sandbox), ["main"]);
}

#[test]
fn w6_a_detached_worktree_is_kept_while_no_branch_contains_its_commit() {
    let sandbox = world();
    let x = sandbox.path().join("x");
    sandbox.git(&["worktree", "add", "-q", "--detach", x.to_str().unwrap()]);
    commit(&sandbox, &x, "two\n");
    let tip = git(&sandbox, &x, &["rev-parse", "HEAD"]);
    refusal(sandbox.devrun(&["rm", "x", "--yes", "--json"]), "worktree-kept", 81);
    let ended = fine(sandbox.devrun(&["rm", "x", "--yes", "--unmerged"]));
    assert!(ended.stdout.contains(&tip), "{ended}");
    assert!(!x.exists());
}

#[test]
fn a_branch_in_two_worktrees_stays_with_the_other() {
    let sandbox = world();
    let x = sandbox.worktree("x", "x");
    let other = sandbox.path().join("other");
    sandbox.git(&["worktree", "add", "-q", "--force", other.to_str().unwrap(), "x"]);
    let error = refusal(sandbox.devrun(&["rm", "x", "--yes", "--json"]), "worktree-unknown", 2);
    assert_eq!(error["fix"], "name one of them by its path");
    let removed = rm(&sandbox, &[x.to_str().unwrap()]);
    assert!(removed["kept"][0]["why"].as_str().unwrap().contains("is on this branch too"), "{removed:#}");
    assert_eq!(branches(&sandbox), ["main", "x"]);
    assert!(other.is_dir());
}

#[test]
fn only_the_database_of_the_worktree_is_deleted_with_it() {
    let Some(world) = World::new() else { return };
    let (x, y) = (world.worktree("x"), world.worktree("y"));
    let main = world.sandbox.main();
    world.ask(&main, &["migrate"]);
    world.devrun(&x, &["up", "-d"]);
    world.ask(&y, &["migrate"]);
    let names = |of: &Path| -> Vec<String> {
        let list = world.ask(of, &["list"]);
        let all = list["databases"].as_array().unwrap();
        all.iter().map(|one| one["name"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(names(&main), ["dev-main", "dev-x", "dev-y"]);
    let planned = fine(world.sandbox.devrun(&["rm", "x", "--dry-run"]));
    assert!(planned.stdout.contains("delete dev-x (local)"), "{planned}");
    let removed = rm(&world.sandbox, &["x"]);
    assert_eq!(removed["steps"][2], json!({ "step": "database", "provider": "local", "name": "dev-x" }));
    assert!(!x.exists());
    assert_eq!(names(&main), ["dev-main", "dev-y"]);
    let kept = rm(&world.sandbox, &["y", "--keep-database"]);
    assert_eq!(kept["kept"], json!([{ "what": "database", "why": "--keep-database" }]));
    assert_eq!(names(&main), ["dev-main", "dev-y"]);
    assert_eq!(world.sandbox.processes(), [], "something still runs");
}

#[test]
fn c3_the_database_of_a_missing_folder_is_deleted_too() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    std::fs::remove_dir_all(&x).unwrap();
    let removed = rm(&world.sandbox, &["x"]);
    assert_eq!(removed["steps"][1]["name"], "dev-x", "{removed:#}");
    let list = world.ask(&world.sandbox.main(), &["list"]);
    assert!(!list.to_string().contains("dev-x"), "{list:#}");
    assert_eq!(world.sandbox.processes(), [], "something still runs");
}

#[test]
fn a_database_that_all_worktrees_use_stays() {
    let Some(world) = World::with("") else { return };
    let main = world.sandbox.main();
    let config = std::fs::read_to_string(main.join("devrun.yaml")).unwrap();
    let config =
        config.replace("  provider: local\n", "  provider: local\n  branch: shared\n  parent: base\n");
    world.sandbox.write(&main.join("devrun.yaml"), &config);
    world.sandbox.git(&["commit", "-q", "-a", "-m", "share"]);
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    let removed = rm(&world.sandbox, &["x"]);
    assert_eq!(removed["kept"], json!([{ "what": "database shared", "why": "all worktrees use it" }]));
    let list = world.ask(&main, &["list"]);
    assert!(list.to_string().contains("shared"), "{list:#}");
}

#[test]
fn fresh_resets_the_database_before_the_command() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    let main = world.sandbox.main();
    world.ask(&main, &["migrate"]);
    world.sql(&main, "create table leads as select 'parent' as name");
    let count = |args: &[&str]| {
        let line = "exec psql \"$DATABASE_URL\" -XAtqc 'select count(*) from leads'";
        let call = [&["with"], args, &["--", "sh", "-c", line]].concat();
        fine(world.sandbox.devrun(&call).directory(&x)).stdout.trim().to_string()
    };
    assert_eq!(count(&["--fresh"]), "1", "without a database, the copy is fresh");
    world.sql(&x, "insert into leads values ('mine')");
    assert_eq!(count(&[]), "2");
    assert_eq!(count(&["--fresh"]), "1");
    let fresh = ["with", "--fresh", "--json", "--", "true"];
    let error = refusal(world.sandbox.devrun(&fresh), "database-kept", 84);
    assert!(error["message"].as_str().unwrap().contains("dev-main"), "{error:#}");
    world.devrun(&x, &["up", "-d"]);
    refusal(world.sandbox.devrun(&fresh).directory(&x), "already-running", 88);
    world.devrun(&x, &["down"]);
    assert_eq!(world.sandbox.processes(), [], "something still runs");
}

#[test]
fn a_database_that_cannot_be_found_out_is_not_left_behind_silently() {
    let Some(world) = World::new() else { return };
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    world.sandbox.write(&x.join("devrun.yaml"), "database: { provider: nowhere }\n");
    world.sandbox.git(&["-C", x.to_str().unwrap(), "commit", "-q", "-a", "-m", "break"]);
    let reason = "devrun cannot determine its database";
    let error = refusal(world.sandbox.devrun(&["rm", "x", "--yes", "--json"]), "worktree-kept", 81);
    assert!(error["cause"].as_str().unwrap().contains(reason), "{error:#}");
    assert!(error["fix"].as_str().unwrap().contains("--keep-database --unmerged"), "{error:#}");
    assert_eq!(rm(&world.sandbox, &["x", "--keep-database", "--unmerged"])["removed"], true);
    let list = world.ask(&world.sandbox.main(), &["list"]);
    assert!(list.to_string().contains("dev-x"), "{list:#}");
}

#[test]
fn a_detached_worktree_loses_its_own_database_only() {
    let Some(world) = World::new() else { return };
    let detached = |name: &str| {
        let folder = world.sandbox.path().join(name);
        world.sandbox.git(&["worktree", "add", "-q", "--detach", folder.to_str().unwrap()]);
        world.ask(&folder, &["migrate"]);
        folder
    };
    let (_x, _y) = (detached("x"), detached("y"));
    let count = || world.ask(&world.sandbox.main(), &["list"])["databases"].as_array().unwrap().len();
    assert_eq!(count(), 3);
    let removed = rm(&world.sandbox, &["x"]);
    assert_eq!(removed["steps"][2]["step"], "database", "{removed:#}");
    assert_eq!(count(), 2);
    assert!(world.ask(&world.sandbox.main(), &["list"]).to_string().contains("dev-main"));
}

#[test]
fn on_a_terminal_it_asks_and_a_no_keeps_everything() {
    let sandbox = world();
    let x = sandbox.worktree("x", "x");
    let (running, terminal) = Terminal::start(sandbox.devrun(&["rm", "x"]));
    terminal.expect("Remove all this? [y/N] ");
    assert!(terminal.text().contains("delete x at"), "{}", terminal.text());
    terminal.press("\n");
    assert_eq!(terminal.end(running).code, Some(2));
    assert!(x.is_dir());
    assert_eq!(branches(&sandbox), ["main", "x"]);
    let (running, terminal) = Terminal::start(sandbox.devrun(&["rm", "x"]));
    terminal.expect("Remove all this? [y/N] ");
    terminal.press("y\n");
    assert_eq!(terminal.end(running).code, Some(0), "{}", terminal.text());
    assert!(!x.exists());
}

#[test]
fn other_commands_do_not_wait_for_the_answer() {
    let sandbox = world();
    let x = sandbox.worktree("x", "x");
    let (running, terminal) = Terminal::start(sandbox.devrun(&["rm", "x"]));
    terminal.expect("Remove all this? [y/N] ");
    let made = parsed(&fine(sandbox.devrun(&["new", "y", "--json"])));
    assert_eq!(made["created"], true, "{made:#}");
    terminal.press("y\n");
    assert_eq!(terminal.end(running).code, Some(0), "{}", terminal.text());
    assert!(!x.exists());
    rm(&sandbox, &["y"]);
}

#[test]
fn change_while_the_user_is_asked_keeps_the_worktree() {
    let sandbox = world();
    let x = sandbox.worktree("x", "x");
    let (running, terminal) = Terminal::start(sandbox.devrun(&["rm", "x"]));
    terminal.expect("Remove all this? [y/N] ");
    commit(&sandbox, &x, "two\n");
    sandbox.write(&x.join("new file"), "new\n");
    terminal.press("y\n");
    assert_eq!(terminal.end(running).code, Some(81), "{}", terminal.text());
    let said = terminal.text();
    assert!(said.contains("changed while `rm` was running; it was not removed"), "{said}");
    assert!(said.contains("1 file is not committed: new file"), "{said}");
    assert!(said.contains(&git(&sandbox, &x, &["rev-parse", "HEAD"])), "{said}");
    assert!(x.join("new file").is_file());
    assert_eq!(branches(&sandbox), ["main", "x"]);
}

/// Puts a `git` first on the PATH that runs `script` before `git worktree remove`.
fn before_git_removes(sandbox: &mut Sandbox, script: &str) {
    let path = std::env::var_os("PATH").unwrap();
    let real =
        std::env::split_paths(&path).map(|folder| folder.join("git")).find(|git| git.is_file()).unwrap();
    let folder = sandbox.path().join("programs");
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in *' worktree remove '*)\n{script}\n;; esac\nexec {} \"$@\"\n",
        real.display()
    );
    sandbox.write(&folder.join("git"), &text);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.join("git"), mode).unwrap();
    let fixture = Path::new(env!("CARGO_BIN_EXE_devrun-fixture")).parent().unwrap().to_path_buf();
    let all = [folder, fixture].into_iter().chain(std::env::split_paths(&path));
    sandbox.set("PATH", std::env::join_paths(all).unwrap());
}

#[test]
fn no_stack_starts_while_the_folder_is_removed() {
    let mut sandbox = world();
    let x = sandbox.worktree("x", "x");
    let lock = sandbox.main().join(".git/worktrees/x/devrun/lock");
    let told = sandbox.path().join("told");
    let script = format!(
        "if flock -n {} true; then echo free; else echo held; fi >> {}",
        lock.display(),
        told.display()
    );
    before_git_removes(&mut sandbox, &script);
    fine(devrun(&sandbox, &x, &["up", "-d"]));
    rm(&sandbox, &["x"]);
    assert_eq!(std::fs::read_to_string(told).unwrap(), "held\n");
    assert!(!x.exists());
}

#[test]
fn database_stays_when_git_does_not_remove_the_worktree() {
    let Some(mut world) = World::new() else { return };
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    world.sql(&x, "create table precious as select 1 as one");
    let refuses = world.sandbox.path().join("refuses");
    world.sandbox.write(&refuses, "");
    let script = format!("if [ -e {} ]; then echo refused >&2; exit 1; fi", refuses.display());
    before_git_removes(&mut world.sandbox, &script);
    refusal(world.sandbox.devrun(&["rm", "x", "--yes", "--json"]), "git-failed", 81);
    assert_eq!(world.sql(&x, "select one from precious"), "1");
    std::fs::remove_file(refuses).unwrap();
    assert_eq!(rm(&world.sandbox, &["x"])["removed"], true);
    let list = world.ask(&world.sandbox.main(), &["list"]);
    assert!(!list.to_string().contains("dev-x"), "{list:#}");
}

#[test]
fn database_that_cannot_be_deleted_keeps_its_branch_and_is_reported() {
    let Some(mut world) = World::new() else { return };
    let x = world.worktree("x");
    world.ask(&x, &["migrate"]);
    let clusters = world.sandbox.path().join("data/devrun-worktree/pg");
    let data = std::fs::read_dir(clusters).unwrap().flatten().next().unwrap().path().join("data");
    // Ends the server, and keeps it from starting again.
    let script = format!(
        "cd {} && pid=$(head -n 1 postmaster.pid) && kill -QUIT $pid && while kill -0 $pid 2> /dev/null; do sleep 0.01; done\n\
         mv global away && cd \"$OLDPWD\"",
        data.display()
    );
    before_git_removes(&mut world.sandbox, &script);
    let ended = world.sandbox.devrun(&["rm", "x", "--yes", "--json"]).run();
    let error = parsed(&ended)["error"].clone();
    let message = error["message"].as_str().unwrap_or_else(|| panic!("{ended}"));
    assert!(message.starts_with("the worktree is removed, but not its database: "), "{ended}");
    let main = world.sandbox.main();
    let main = main.display();
    assert_eq!(error["fix"], format!("devrun -C {main} db delete dev-x && git -C {main} branch -D x"));
    assert!(!x.exists());
    assert_eq!(branches(&world.sandbox), ["main", "x"], "the branch names the database");
    std::fs::rename(data.join("away"), data.join("global")).unwrap();
    let main = world.sandbox.main();
    assert_eq!(world.ask(&main, &["delete", "dev-x", "--yes"])["deleted"], true);
    assert_eq!(world.sandbox.processes(), [], "something still runs");
}

#[test]
fn database_that_another_clone_may_use_stays() {
    let Some(world) = World::new() else { return };
    let before = world.worktree("before");
    world.ask(&before, &["migrate"]);
    let after = world.sandbox.path().join("after");
    world.sandbox.git(&["worktree", "move", before.to_str().unwrap(), after.to_str().unwrap()]);
    // Drops the lease of the old path, where another clone may be now.
    world.devrun(&after, &["ports"]);
    std::fs::create_dir(&before).unwrap();
    let removed = rm(&world.sandbox, &["after"]);
    let why = "it was made in a folder that another clone may use";
    assert_eq!(removed["kept"], json!([{ "what": "database dev-before", "why": why }]), "{removed:#}");
    let list = world.ask(&world.sandbox.main(), &["list"]);
    assert!(list.to_string().contains("dev-before"), "{list:#}");
}

#[test]
fn database_that_a_stack_in_another_worktree_uses_stays() {
    let Some(world) = World::new() else { return };
    let (x, y) = (world.worktree("x"), world.worktree("y"));
    world.ask(&x, &["migrate"]);
    let config = std::fs::read_to_string(y.join("devrun.yaml")).unwrap();
    let borrowed = "  provider: local\n  branch: dev-x\n  parent: dev-main\n";
    world.sandbox.write(&y.join("devrun.yaml"), &config.replace("  provider: local\n", borrowed));
    world.devrun(&y, &["up", "-d"]);
    let removed = rm(&world.sandbox, &["x"]);
    let kept = json!([{ "what": "database dev-x", "why": "a stack that may use it runs" }]);
    assert_eq!(removed["kept"], kept, "{removed:#}");
    let list = world.ask(&world.sandbox.main(), &["list"]);
    assert!(list.to_string().contains("dev-x"), "{list:#}");
    world.devrun(&y, &["down"]);
    assert_eq!(world.sandbox.processes(), [], "something still runs");
}

#[test]
fn submodules_are_kept_unless_the_option_is_given() {
    let sandbox = world();
    let library = sandbox.path().join("library");
    sandbox.git(&["clone", "-q", ".", library.to_str().unwrap()]);
    let x = sandbox.worktree("x", "x");
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../library", "library"];
    git(&sandbox, &x, &add);
    git(&sandbox, &x, &["commit", "-q", "-m", "submodule"]);
    git(&sandbox, &sandbox.main(), &["merge", "-q", "x"]);
    refuses_without(&sandbox, &x, "x", "it has submodules", "--uncommitted");
}
