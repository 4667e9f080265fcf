//! `devrun init --agents`: files of agents as they are in repositories, and files that are malformed.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::Value;

use crate::asking::{devrun, fine, json, refusal};
use crate::supervise::terminal::Terminal;
use crate::support::Sandbox;

const SETTINGS: &str = "{\n  \"hooks\": {\n    \"Stop\": [{ \"hooks\": [{ \"type\": \"command\", \"command\": \"say done\" }] }]\n  }\n}\n";

/// Returns names and texts of all files in the worktree, tracked or not.
fn files(root: &Path, sandbox: &Sandbox) -> Vec<(String, String)> {
    let listed = sandbox.git(&["ls-files", "--cached", "--others"]);
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap_or_default();
    listed.lines().map(|name| (name.to_string(), read(name))).collect()
}

fn names(root: &Path, sandbox: &Sandbox) -> Vec<String> {
    let mut names: Vec<String> = files(root, sandbox).into_iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn a1_w2_only_agents_with_signs_get_files_and_only_after_yes() {
    let sandbox = Sandbox::new();
    let root = sandbox.repo_with(&[(".claude/settings.json", SETTINGS), ("CLAUDE.md", "# Shop\n")]);
    let before = files(&root, &sandbox);
    let shown = fine(sandbox.devrun(&["init", "--agents"]));
    assert_eq!(files(&root, &sandbox), before, "a preview wrote a file");
    assert!(shown.stdout.contains("AGENTS.md (all agents): create\n+    1  <!-- >>> devrun >>>"), "{shown}");
    assert!(shown.stdout.ends_with("To write it: devrun init --agents --yes\n"), "{shown}");
    let preview = json(&fine(sandbox.devrun(&["init", "--agents", "--json"])));
    assert_eq!(preview["written"], false);
    let written = json(&fine(sandbox.devrun(&["init", "--agents", "--yes", "--json"])));
    assert_eq!(written["written"], true);
    assert_eq!(written["files"], preview["files"]);
    assert_eq!(names(&root, &sandbox), [".claude/settings.json", ".mcp.json", "AGENTS.md", "CLAUDE.md"]);
    let settings: Value =
        serde_json::from_str(&std::fs::read_to_string(root.join(".claude/settings.json")).unwrap()).unwrap();
    assert_eq!(settings["hooks"]["WorktreeCreate"][0]["hooks"][0]["command"], "devrun hook worktree-create");
    assert_eq!(settings["hooks"]["Stop"][0]["hooks"][0]["command"], "say done");
    let again = fine(devrun(&sandbox, &root.join(".claude"), &["init", "--agents", "--yes"]));
    assert!(again.stdout.ends_with("Nothing to change.\n"), "{again}");
    fine(sandbox.devrun(&["init", "--agents", "--remove", "--yes"]));
    assert_eq!(files(&root, &sandbox), before);
}

#[test]
fn w2_w6_w15_all_files_come_and_go_without_a_trace() {
    let sandbox = Sandbox::new();
    let root = sandbox.repo();
    let before = files(&root, &sandbox);
    fine(sandbox.devrun(&["init", "--agents", "--all", "--yes"]));
    let all = [
        ".claude/settings.json",
        ".codex/environments/environment.toml",
        ".cursor/worktrees.json",
        ".mcp.json",
        "AGENTS.md",
        "CLAUDE.md",
        "README.md",
        "conductor.json",
    ];
    assert_eq!(names(&root, &sandbox), all);
    let again = json(&fine(sandbox.devrun(&["init", "--agents", "--all", "--yes", "--json"])));
    assert!(again["files"].as_array().unwrap().iter().all(|file| file["action"] == "none"), "{again:#}");
    fine(sandbox.devrun(&["init", "--agents", "--remove", "--yes"]));
    assert_eq!(files(&root, &sandbox), before);
    assert!(!root.join(".codex").exists() && !root.join(".claude").exists(), "an empty folder is left");
}

#[test]
fn w2_signs_in_the_home_of_the_user_count() {
    let sandbox = Sandbox::new();
    sandbox.repo();
    std::fs::create_dir(sandbox.home().join(".cursor")).unwrap();
    let shown = json(&fine(sandbox.devrun(&["init", "--agents", "--json"])));
    let paths: Vec<&str> =
        shown["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["AGENTS.md", ".cursor/worktrees.json"]);
}

#[test]
fn h4_a_malformed_file_is_an_error_and_no_file_is_written() {
    let sandbox = Sandbox::new();
    let root = sandbox.repo_with(&[(".claude/settings.json", "{\n  \"hooks\": {\n    oops\n  }\n}\n")]);
    let before = files(&root, &sandbox);
    let error = refusal(sandbox.devrun(&["init", "--agents", "--yes", "--json"]), "config-invalid", 80);
    assert_eq!(error["message"], ".claude/settings.json, line 3, column 5: key must be a string");
    assert_eq!(error["correct"], ".claude/settings.json:3");
    for text in ["name = \n", "[setup\n", "\u{0}", "[setup]\nscript = 7\n"] {
        sandbox.write(&root.join(".claude/settings.json"), SETTINGS);
        sandbox.write(&root.join(".codex/environments/environment.toml"), text);
        let error = refusal(sandbox.devrun(&["init", "--agents", "--yes", "--json"]), "config-invalid", 80);
        assert!(
            error["message"].as_str().unwrap().starts_with(".codex/environments/environment.toml, line "),
            "{error:#}"
        );
        std::fs::remove_dir_all(root.join(".codex")).unwrap();
    }
    sandbox.write(&root.join(".claude/settings.json"), &before[0].1);
    assert_eq!(files(&root, &sandbox), before);
}

#[test]
fn a1_links_are_followed_and_modes_stay() {
    let sandbox = Sandbox::new();
    let root = sandbox.repo_with(&[("docs/agents.md", "# Rules\n"), (".cursor/worktrees.json", "{}\n")]);
    symlink("docs/agents.md", root.join("AGENTS.md")).unwrap();
    symlink("AGENTS.md", root.join("CLAUDE.md")).unwrap();
    let file = root.join(".cursor/worktrees.json");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    fine(sandbox.devrun(&["init", "--agents", "--yes"]));
    assert!(root.join("AGENTS.md").is_symlink() && root.join("CLAUDE.md").is_symlink());
    let text = std::fs::read_to_string(root.join("docs/agents.md")).unwrap();
    assert_eq!(text.matches("<!-- >>> devrun").count(), 1, "{text}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // A repository must not make devrun write to the user's own files.
    let outside = sandbox.home().join(".profile");
    sandbox.write(&outside, "export A=1\n");
    std::fs::remove_file(root.join("AGENTS.md")).unwrap();
    symlink(&outside, root.join("AGENTS.md")).unwrap();
    let error = refusal(sandbox.devrun(&["init", "--agents", "--yes", "--json"]), "config-invalid", 80);
    assert!(error["message"].as_str().unwrap().contains("it leads out of the worktree"), "{error:#}");
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "export A=1\n");
}

#[test]
fn a1_a_terminal_is_asked_before_a_file_is_written() {
    let sandbox = Sandbox::new();
    let root = sandbox.repo();
    for (key, wanted) in [("n\n", false), ("y\n", true)] {
        let (running, terminal) = Terminal::start(sandbox.devrun(&["init", "--agents"]));
        terminal.expect("Write this? [y/N] ");
        terminal.press(key);
        assert_eq!(terminal.end(running).code, Some(0), "{}", terminal.text());
        assert_eq!(root.join("AGENTS.md").exists(), wanted);
    }
}

#[test]
fn h5_w6_prepared_worktrees_have_ports_and_a_missing_devrun_stops_no_agent() {
    let sandbox = Sandbox::new();
    let root = sandbox.repo_with(&[("devrun.yaml", &crate::asking::server(crate::asking::base()))]);
    fine(sandbox.devrun(&["init", "--agents", "--all", "--yes"]));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let environment: Value = {
        let text = read(".cursor/worktrees.json");
        serde_json::from_str(&text).unwrap()
    };
    let setup = environment["setup-worktree"][0].as_str().unwrap();
    assert!(read("conductor.json").contains(setup));
    let detached = sandbox.path().join("detached");
    sandbox.git(&["worktree", "add", "-q", "--detach", detached.to_str().unwrap()]);
    let codex: toml::Table = read(".codex/environments/environment.toml").parse().unwrap();
    let in_main = codex["setup"]["script"].as_str().unwrap();
    for (script, folder) in [(setup, &detached), (in_main, &root)] {
        let run = || {
            let shell = sandbox.program("/bin/sh", &["-c", script]).directory(folder);
            shell.env("CODEX_WORKTREE_PATH", &detached)
        };
        let without = fine(run().env("PATH", "/nonexistent"));
        assert!(without.stderr.contains("devrun"), "{without}");
        let prepared = fine(run());
        assert!(prepared.stderr.contains("ports: slot "), "{prepared}");
    }
    let leases = sandbox.home().join(".local/state/devrun-worktree/leases.json");
    let leases = std::fs::read_to_string(leases).unwrap();
    assert!(leases.contains("/detached\"") && !leases.contains("/repo\""), "{leases}");
}
