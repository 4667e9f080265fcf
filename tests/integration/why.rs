//! `devrun why`: what a process waits for, why it ended, and what to do; while the stack runs and afterwards.

use std::path::Path;

use serde_json::Value;

use crate::asking::{base, json, refusal};
use crate::support::{LIMIT, Sandbox, wait_for};

const BROKEN: &str = "\
echo 'Traceback (most recent call last):' >&2
echo '  File \"/w/app/main.py\", line 3, in <module>' >&2
echo \"ModuleNotFoundError: No module named 'loging'\" >&2
";

/// A repository with these two processes, the second with a port and a probe.
fn world(first: &str, second: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let port = base();
    let config = format!(
        "ports: {{ api: {port} }}\nprocesses:\n  web: {{ run: ./web.sh, depends_on: [api], {first} }}\n  \
         api: {{ run: ./api.sh, port: api, ready: {{ http: /, timeout: 1s }}, {second} }}\n"
    );
    sandbox.repo_with(&[("devrun.yaml", &config), ("uv.lock", "")]);
    script(&sandbox, "web.sh", "exec devrun-fixture say:web sleep");
    sandbox
}

fn script(sandbox: &Sandbox, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = sandbox.main().join(name);
    sandbox.write(&path, &format!("#!/bin/sh\n{text}\n"));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[track_caller]
fn why(sandbox: &Sandbox, args: &[&str]) -> Value {
    let ended = sandbox.devrun(&[&["why"], args, &["--json"]].concat()).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    json(&ended)
}

#[track_caller]
fn fine(sandbox: &Sandbox, args: &[&str]) -> String {
    let ended = sandbox.devrun(args).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    ended.stdout
}

fn lines(answer: &Value) -> Vec<&str> {
    answer["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect()
}

#[test]
fn one_that_is_not_ready_is_found_behind_one_that_waits_and_told_with_its_error() {
    let sandbox = world("", "");
    assert_eq!(why(&sandbox, &[])["summary"], "nothing runs in this worktree");
    script(&sandbox, "api.sh", &format!("{BROKEN}exec devrun-fixture sleep"));
    fine(&sandbox, &["up", "-d", "--no-wait"]);
    let answer = wait_for("the error", LIMIT, || {
        let answer = why(&sandbox, &[]);
        if answer["fault"] == "code" { Ok(answer) } else { Err(format!("{answer:#}")) }
    });
    assert_eq!((&answer["process"], &answer["state"]), (&"api".into(), &"running".into()));
    assert_eq!(answer["summary"], "api runs but is not ready");
    let said = "it said: ModuleNotFoundError: No module named 'loging' (/w/app/main.py:3)";
    assert!(answer["cause"].as_str().unwrap().lines().any(|line| line == said), "{answer:#}");
    assert_eq!(answer["fix"], "devrun restart api");
    assert_eq!(lines(&answer)[0], "Traceback (most recent call last):");
    let waiting = why(&sandbox, &["web"]);
    assert_eq!(waiting["summary"], "web is waiting for api");
    assert_eq!(waiting["fix"], "devrun why api");

    // After a rebase, what the code needs may not be installed yet.
    let newer = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    std::fs::File::open(sandbox.main().join("uv.lock")).unwrap().set_modified(newer).unwrap();
    let answer = why(&sandbox, &["api"]);
    assert_eq!(
        (&answer["fault"], &answer["fix"]),
        (&"environment".into(), &"devrun down && devrun up -d".into())
    );

    script(&sandbox, "api.sh", "echo fine; exec devrun-fixture listen:PORT sleep");
    fine(&sandbox, &["restart", "api"]);
    fine(&sandbox, &["wait"]);
    assert_eq!(why(&sandbox, &[])["summary"], "all is well: 2 of 2 processes ready");
    let answer = why(&sandbox, &["api"]);
    assert_eq!(
        (&answer["fault"], &answer["summary"]),
        (&Value::Null, &"api is fine: it runs and is ready".into())
    );
    refusal(sandbox.devrun(&["why", "nobody", "--json"]), "process-unknown", 2);
    fine(&sandbox, &["down"]);
    assert_eq!(why(&sandbox, &[])["summary"], "nothing runs in this worktree");
    let stopped = why(&sandbox, &["web"]);
    assert_eq!((&stopped["state"], &stopped["fix"]), (&"stopped".into(), &"devrun up -d".into()));
    assert_eq!(lines(&stopped), ["web"]);
}

#[test]
fn after_the_end_it_tells_who_ended_it_with_at_most_twenty_lines() {
    let sandbox = world("", "");
    script(&sandbox, "api.sh", &format!("devrun-fixture lines:100\n{BROKEN}exit 3"));
    let ended = sandbox.devrun(&["up", "-d"]).run();
    assert_eq!(ended.code, Some(3), "{ended}");
    assert!(ended.stderr.contains("fix: devrun why api"), "{ended}");
    let answer = why(&sandbox, &[]);
    assert_eq!(
        (&answer["process"], &answer["summary"]),
        (&"api".into(), &"api ended with exit code 3".into())
    );
    assert_eq!((&answer["fault"], &answer["fix"]), (&"code".into(), &"devrun up -d".into()));
    let shown = lines(&answer);
    assert_eq!((shown.len(), shown[19]), (20, "ModuleNotFoundError: No module named 'loging'"));
    let text = fine(&sandbox, &["why"]);
    assert!(text.lines().count() <= 27 && !text.contains('\x1b'), "{text}");
    assert!(
        text.starts_with("api ended with exit code 3\n  fault: the code, not the environment\n"),
        "{text}"
    );
    let below = sandbox.main().join("deeper");
    std::fs::create_dir(&below).unwrap();
    let there = sandbox.devrun(&["why", "web", "--json"]).directory(Path::new(&below)).run();
    assert_eq!(json(&there)["process"], "web", "{there}");
}
