//! The output of devrun when a coding agent runs it.

use crate::asking::{answer, base, fine, json, server};
use crate::supervise::terminal::Terminal;
use crate::support::{Ended, Invocation, Sandbox};

fn as_agent(sandbox: &Sandbox, args: &[&str]) -> Invocation {
    sandbox.devrun(args).env("CLAUDECODE", "1")
}

#[track_caller]
fn next(ended: &Ended) -> &str {
    let last = ended.stdout.lines().last().unwrap_or_default();
    last.strip_prefix("next: ").unwrap_or_else(|| panic!("{ended}"))
}

#[test]
fn a2_agents_read_a_few_lines_and_the_next_command_if_there_is_one() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let nothing = fine(as_agent(&sandbox, &["status"]));
    assert_eq!(nothing.stdout, "stopped: nothing runs here\nnext: devrun up -d\n");
    let port = answer(&sandbox, &main, "ports")["ports"]["web"].to_string();
    let ready = format!("ready: Web http://localhost:{port}\n");
    for args in [&["up", "-d"][..], &["status"], &["restart", "web"], &["wait"], &["up", "-d"]] {
        let ended = fine(as_agent(&sandbox, args));
        assert_eq!(ended.stdout, ready, "{args:?}");
        assert!(ended.stderr.lines().count() <= 1, "{ended}");
    }
    sandbox.write(&main.join("devrun.yaml"), &(server(base()) + "env: { A: b }\n"));
    assert_eq!(next(&fine(as_agent(&sandbox, &["status"]))), "devrun down && devrun up -d");
    fine(sandbox.devrun(&["down"]));
}

#[test]
fn a2_json_and_verbose_output_are_as_without_an_agent() {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    fine(sandbox.devrun(&["up", "-d"]));
    let usual = fine(sandbox.devrun(&["status"])).stdout;
    assert!(usual.contains("\nState "), "{usual}");
    assert_eq!(fine(as_agent(&sandbox, &["status", "--verbose"])).stdout, usual);
    assert_eq!(fine(as_agent(&sandbox, &["status"]).env("DEVRUN_AGENT", "0")).stdout, usual);
    let object = json(&fine(sandbox.devrun(&["status", "--json"])));
    assert_eq!(json(&fine(as_agent(&sandbox, &["status", "--json"]))), object);
    fine(sandbox.devrun(&["down"]));
}

#[test]
fn verbs_about_processes_leave_out_what_the_start_has_printed() {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let up = fine(sandbox.devrun(&["up", "-d"])).stdout;
    assert!(up.starts_with("Worktree ") && up.contains("  http://repo.localhost:"), "{up}");
    for verb in [&["restart", "web"][..], &["wait"]] {
        let shown = fine(sandbox.devrun(verb)).stdout;
        let titles: Vec<&str> = shown.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(titles, ["State", "Web", "web"], "{verb:?}: {shown}");
        assert!(!shown.contains("repo.localhost"), "{verb:?}: {shown}");
    }
    fine(sandbox.devrun(&["down"]));
}

#[test]
fn a2_a_terminal_of_an_agent_gets_no_colours() {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", "processes: { web: exit 3 }\n")]);
    let shown = |invocation: Invocation| {
        let (running, terminal) = Terminal::start(invocation.env("TERM", "xterm-256color"));
        terminal.end(running);
        terminal.text()
    };
    assert!(shown(sandbox.devrun(&["up", "-d"])).contains('\x1b'), "a user sees colours");
    let text = shown(as_agent(&sandbox, &["up", "-d"]));
    assert!(!text.contains('\x1b') && text.contains("fix: "), "{text}");
}
