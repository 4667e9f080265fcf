//! `devrun init` in repositories that devrun does not recognise: the proposed file runs, or devrun names the line to complete.

use std::path::Path;

use crate::asking::{answer, base, fine, json, port, refusal, skip_without};
use crate::supervise::terminal::Terminal;
use crate::support::{Sandbox, http};

/// A server that takes its port from the variable PORT.
const SERVER: &str = "import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'served')
http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
";

/// Returns true if all programs are installed; reports a skipped test otherwise.
fn has(programs: &[&str]) -> bool {
    let missing: Vec<&str> =
        programs.iter().copied().filter(|program| which::which(program).is_err()).collect();
    if !missing.is_empty() {
        skip_without(&missing);
    }
    missing.is_empty()
}

fn configuration(root: &Path) -> String {
    std::fs::read_to_string(root.join("devrun.yaml")).unwrap()
}

/// Brings the stack up, and returns what its only port answers.
fn served(sandbox: &Sandbox, root: &Path) -> String {
    fine(sandbox.devrun(&["up", "-d"]).directory(root));
    let number = port(&answer(sandbox, root, "ports"), "web");
    let body = http::get(number, "localhost", "/").body;
    fine(sandbox.devrun(&["down"]).directory(root));
    body
}

#[test]
fn server_of_a_make_target_runs_in_two_worktrees() {
    if !has(&["make", "python3"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let makefile = format!("PORT ?= {}\n\ndev:\n\t@PORT=$(PORT) python3 server.py\n", base());
    let root = sandbox.repo_with(&[("Makefile", &makefile), ("server.py", SERVER)]);
    let wrote = fine(sandbox.devrun(&["init", "--yes"])).stdout;
    assert!(wrote.contains("a proposal.") && !wrote.contains("Complete"), "{wrote}");
    let text = configuration(&root);
    assert!(text.contains("run: make dev PORT=$PORT  # Makefile:4\n"), "{text}");
    assert_eq!(served(&sandbox, &root), "served");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-q", "-m", "devrun"]);
    let second = sandbox.worktree("second", "second");
    fine(sandbox.devrun(&["up", "-d"]));
    assert_eq!(served(&sandbox, &second), "served");
    fine(sandbox.devrun(&["down"]));
}

#[test]
fn command_of_a_dockerfile_runs_without_a_container() {
    if !has(&["python3"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let dockerfile =
        format!("FROM python\nWORKDIR /app\nEXPOSE {}\nCMD [\"python3\", \"/app/server.py\"]\n", base());
    let root = sandbox.repo_with(&[("Dockerfile", &dockerfile), ("server.py", SERVER)]);
    fine(sandbox.devrun(&["init", "--yes"]));
    let text = configuration(&root);
    assert!(text.contains("run: python3 server.py  # Dockerfile:4; guess:"), "{text}");
    assert_eq!(served(&sandbox, &root), "served");
}

#[test]
fn devrun_names_the_line_that_must_be_completed() {
    if !has(&["python3"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let dockerfile =
        format!("FROM scratch\nCOPY server /server\nEXPOSE {}\nENTRYPOINT [\"/server\"]\n", base());
    let root = sandbox.repo_with(&[("Dockerfile", &dockerfile), ("tool.py", SERVER)]);
    let told = json(&fine(sandbox.devrun(&["init", "--yes", "--json"])));
    let line = told["complete"][0]["line"].as_u64().unwrap();
    assert_eq!(told["complete"][0]["key"], "run", "{told:#}");
    let text = configuration(&root);
    let row = text.lines().nth(usize::try_from(line).unwrap() - 1).unwrap();
    assert!(row.starts_with("    run:  # complete this line:"), "{row}");

    let error = refusal(sandbox.devrun(&["up", "--json"]), "config-invalid", 80);
    assert_eq!(error["message"], format!("devrun.yaml:{line}:5: processes.web.run: has no value"));
    assert!(error["fix"].as_str().unwrap().starts_with("complete this line"), "{error:#}");

    sandbox.write(&root.join("devrun.yaml"), &text.replace(row, "    run: python3 tool.py"));
    assert_eq!(served(&sandbox, &root), "served");
}

#[test]
fn proposal_is_only_shown_without_yes_and_without_a_terminal() {
    let sandbox = Sandbox::new();
    let root = sandbox.repo();
    let shown = fine(sandbox.devrun(&["init"])).stdout;
    assert!(shown.contains("\nprocesses:\n  web:\n"), "{shown}");
    assert!(shown.contains("Nothing was written. `devrun init --yes` writes it."), "{shown}");
    let told = json(&fine(sandbox.devrun(&["init", "--json"])));
    assert_eq!(told["written"], false, "{told:#}");
    assert!(!root.join("devrun.yaml").exists());
    let told = json(&fine(sandbox.devrun(&["init", "--yes", "--json"])));
    let path = root.canonicalize().unwrap().join("devrun.yaml");
    assert_eq!((&told["written"], told["path"].as_str()), (&true.into(), path.to_str()), "{told:#}");
    assert!(path.is_file());
}

#[test]
fn terminal_is_asked_before_a_proposal_is_written() {
    let sandbox = Sandbox::new();
    let root = sandbox.repo();
    for (key, wanted) in [("n\n", false), ("y\n", true)] {
        let (running, terminal) = Terminal::start(sandbox.devrun(&["init"]));
        terminal.expect("Write this devrun.yaml? [y/N] ");
        terminal.press(key);
        assert_eq!(terminal.end(running).code, Some(0), "{}", terminal.text());
        assert_eq!(root.join("devrun.yaml").exists(), wanted);
    }
}

#[test]
fn variable_that_no_file_has_is_asked_for_with_its_place() {
    if !has(&["make", "python3"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let makefile = format!("PORT = {}\nrun:\n\tPORT=$(PORT) python3 server.py\n", base());
    let server = format!("import os\ntoken = os.environ['SHOP_TOKEN']\n{SERVER}");
    let root = sandbox.repo_with(&[("Makefile", &makefile), ("server.py", &server)]);
    let told = json(&fine(sandbox.devrun(&["init", "--yes", "--json"])));
    let line = told["complete"][0]["line"].as_u64().unwrap();
    let error = refusal(sandbox.devrun(&["up", "--json"]), "variable-missing", 80);
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("devrun.yaml:{line}:")), "{message}");
    assert!(message.ends_with("SHOP_TOKEN is not set: read at server.py:2"), "{message}");
    sandbox.write(&root.join(".env"), "SHOP_TOKEN=x\n");
    assert_eq!(served(&sandbox, &root), "served");
}
