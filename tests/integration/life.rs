//! The whole life of worktrees: made by git, by an agent and by devrun, run, merged, deleted and killed, then cleaned up.

use std::collections::BTreeSet;
use std::io::{Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::asking::{base, devrun, fine, json, postgres_or_skip};
use crate::prune::{by_hand, chosen, commit, escaped, git, kill_stack, prune, text};
use crate::support::{LIMIT, Sandbox, wait_for};

const AGENTS_NAME: &str = "Refactor payments schema";
const AGENTS_BRANCH: &str = "worktree-Refactor-payments-schema";

/// Makes a repository with husky 9 and a local database. Its server starts a process that leaves the session and ignores signals.
/// Returns `None` and reports a skipped test if Postgres is not installed.
fn repository() -> Option<(Sandbox, PathBuf)> {
    let bin = postgres_or_skip()?;
    let mut sandbox = Sandbox::new();
    let data = sandbox.path().join("data");
    sandbox.set("XDG_DATA_HOME", data);
    sandbox.set("CI", "1");
    sandbox.git(&["config", "--global", "--unset", "core.hooksPath"]);
    let words =
        "ready listen:PORT child[ setsid child[ ignore:INT,TERM,HUP ready mute sleep ] ] say:serving sleep";
    let config = format!(
        "ports: {{ web: {} }}\ndatabase:\n  provider: local\n  local: {{ bin: {} }}\nprocesses:\n  web:\n    \
         run: exec devrun-fixture {words}\n    port: web\n    ready: {{ log: serving }}\n",
        base(),
        bin.display()
    );
    let main = sandbox.repo_with(&[("devrun.yaml", &config), (".gitignore", ".claude/worktrees/\n")]);
    let wrapper = "#!/usr/bin/env sh\n. \"$(dirname \"$0\")/h\"";
    let h = "#!/usr/bin/env sh\nn=$(basename \"$0\")\ns=$(dirname \"$(dirname \"$0\")\")/$n\n[ ! -f \"$s\" ] && \
             exit 0\nsh -e \"$s\" \"$@\"\n";
    for (name, text) in [("post-checkout", wrapper), ("h", h), (".gitignore", "*")] {
        let path = main.join(".husky/_").join(name);
        sandbox.write(&path, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    sandbox.git(&["config", "core.hooksPath", ".husky/_"]);
    Some((sandbox, main))
}

/// Makes a worktree as Claude Code does through its hook.
fn made_by_the_agent(sandbox: &Sandbox) -> PathBuf {
    let mut input = tempfile::tempfile_in(sandbox.path()).unwrap();
    write!(input, "{}", json!({ "hook_event_name": "WorktreeCreate", "name": AGENTS_NAME })).unwrap();
    input.rewind().unwrap();
    let call = sandbox.devrun(&["hook", "worktree-create"]).with(|command| command.stdin(input));
    fine(call).stdout.trim_end_matches('\n').into()
}

fn made_by_devrun(sandbox: &Sandbox, name: &str) -> PathBuf {
    fine(sandbox.devrun(&["new", name])).stdout.trim_end_matches('\n').into()
}

/// Returns the folders of the servers that `devrun ls --strays` finds.
fn strays(sandbox: &Sandbox) -> Vec<String> {
    let answer = json(&fine(sandbox.devrun(&["ls", "--strays", "--json"])));
    let all = answer["strays"].as_array().unwrap().iter();
    all.map(|server| server["worktree"].as_str().unwrap().to_string()).collect()
}

/// Returns what [`chosen`] does, with the arguments of processes instead of their pids and programs.
fn chosen_things(answer: &Value) -> BTreeSet<(String, String)> {
    let arguments = |name: String| name.splitn(3, ' ').nth(2).unwrap_or_default().to_string();
    let things = chosen(answer).into_iter();
    things
        .map(|(kind, name)| if kind == "process" { (kind, arguments(name)) } else { (kind, name) })
        .collect()
}

/// Squash-merges the work of `folder`, whose stack ends first.
fn squash(sandbox: &Sandbox, main: &Path, folder: &Path, branch: &str) {
    fine(devrun(sandbox, folder, &["down"]));
    commit(sandbox, folder, "work");
    git(sandbox, main, &["merge", "-q", "--squash", branch]);
    git(sandbox, main, &["commit", "-q", "-m", "work"]);
}

#[test]
fn c1_c2_c3_d6_h1_h2_r3_w3_worktrees_of_a_day_are_cleaned_up_exactly() {
    let Some((sandbox, main)) = repository() else { return };
    fine(sandbox.devrun(&["hook", "install"]));
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-q", "-m", "hook"]);
    let killed = sandbox.worktree("by-git", "by-git");
    let deleted = made_by_the_agent(&sandbox);
    wait_for("the ports that both hooks lease", LIMIT, || {
        let file = sandbox.home().join(".local/state/devrun-worktree/leases.json");
        let leases = std::fs::read_to_string(file).unwrap_or_default();
        let both = leases.contains(text(&killed)) && leases.contains(text(&deleted));
        if both { Ok(()) } else { Err(leases) }
    });
    let merged = made_by_devrun(&sandbox, "by-devrun");
    let served = made_by_devrun(&sandbox, "served");
    for folder in [&killed, &deleted, &merged, &served] {
        fine(devrun(&sandbox, folder, &["up", "-d"]));
    }

    squash(&sandbox, &main, &merged, "by-devrun");
    std::fs::remove_dir_all(&deleted).unwrap();
    // Its devrun notices that and ends the stack, which also releases the ports.
    wait_for("the end of the stack whose worktree was deleted", LIMIT, || {
        let listed = json(&fine(sandbox.devrun(&["ls", "--json"])));
        let left = listed["stacks"].as_array().unwrap().len();
        if left == 2 { Ok(()) } else { Err(format!("{listed:#}")) }
    });
    kill_stack(&sandbox, &killed);
    let (by_hand, _) = by_hand(&sandbox, &served);
    assert_eq!(escaped(&sandbox), 2);

    let all = ["--merged", "--older-than", "0s"];
    let shown = prune(&sandbox, &main, &[&all[..], &["--dry-run"]].concat());
    let thing = |kind: &str, name: &str| (kind.to_string(), name.to_string());
    let wanted = [
        thing("process", "ignore:INT,TERM,HUP ready mute sleep"),
        thing("socket", text(&killed)),
        thing("entry", text(&killed)),
        thing("record", text(&killed)),
        thing("worktree", text(&deleted)),
        thing("worktree", text(&merged)),
        thing("branch", "by-devrun"),
        thing("database", "dev-by-devrun"),
    ];
    assert_eq!(chosen_things(&shown), wanted.into(), "{shown:#}");
    assert_eq!(strays(&sandbox), [text(&served)]);

    let done = prune(&sandbox, &main, &[&all[..], &["--yes"]].concat());
    assert_eq!(chosen(&done), chosen(&shown));
    assert!(done["items"].as_array().unwrap().iter().all(|item| item["error"].is_null()), "{done:#}");
    assert_eq!(escaped(&sandbox), 1, "the stack that runs is untouched");
    let branches = sandbox.git(&["branch", "--format=%(refname:short)"]);
    assert_eq!(branches.lines().collect::<Vec<_>>(), ["by-git", "main", "served", AGENTS_BRANCH]);
    assert_eq!((killed.is_dir(), merged.exists(), served.is_dir()), (true, false, true));

    let again = prune(&sandbox, &main, &[&all[..], &["--yes"]].concat());
    assert_eq!(chosen(&again), [], "{again:#}");
    assert_eq!(strays(&sandbox), [text(&served)], "prune ends no server that it does not know");
    fine(devrun(&sandbox, &served, &["down", "--strays", "--yes"]));
    by_hand.wait();
    assert_eq!(strays(&sandbox), [""; 0]);
    fine(devrun(&sandbox, &main, &["down", "--all"]));
    sandbox.git(&["branch", "-D", AGENTS_BRANCH]);
    let last = prune(&sandbox, &main, &[&all[..], &["--yes"]].concat());
    let [(kind, name)] = &chosen(&last)[..] else { panic!("{last:#}") };
    assert!(kind == "database" && name.starts_with("dev-worktree-refactor-payments-schema"), "{last:#}");
}
