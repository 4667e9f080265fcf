//! `services:`: a real Redis in each worktree, shared servers, workers, missing programs, compose files.

#[path = "services/compose.rs"]
mod compose;
#[path = "services/data.rs"]
mod data;
#[path = "services/mailpit.rs"]
mod mailpit;
#[path = "services/programs.rs"]
mod programs;
#[path = "services/shared.rs"]
mod shared;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::asking::{answer, base, devrun, fine, interrupt, json, port, skip_without};
use crate::support::{Ended, LIMIT, Running, Sandbox, kill_both};

/// Returns true if there is a Redis; else reports that the test is skipped.
fn has_redis() -> bool {
    let found = which::which("redis-server").is_ok();
    if !found {
        skip_without(&["redis-server"]);
    }
    found
}

/// Returns a devrun.yaml with a Redis, which has the given keys, and a process that prints its address.
fn config(keys: &str) -> String {
    format!(
        "services: {{ redis: {{ port: {}{keys} }} }}\nprocesses:\n  api: {{ run: 'exec devrun-fixture env:REDIS_URL ready sleep', \
         ready: {{ log: '^ready' }} }}\n",
        base()
    )
}

fn world(config: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", config)]);
    sandbox
}

fn up(sandbox: &Sandbox, folder: &Path) -> Ended {
    fine(devrun(sandbox, folder, &["up", "-d"]))
}

fn down(sandbox: &Sandbox, folder: &Path) {
    fine(devrun(sandbox, folder, &["down"]));
}

/// Sends one command to the Redis on `port` and returns the first line of its answer, or the text of a bulk string.
fn ask(port: u16, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "{command}\r\nQUIT\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let mut lines = text.lines();
    match lines.next() {
        Some(first) if first.starts_with('$') && first != "$-1" => lines.next().unwrap_or_default().into(),
        first => first.unwrap_or_default().into(),
    }
}

fn redis_port(sandbox: &Sandbox, folder: &Path) -> u16 {
    port(&answer(sandbox, folder, "plan"), "redis")
}

/// Returns the process of the plan with this name.
fn planned(plan: &Value, name: &str) -> Value {
    let all = plan["processes"].as_array().unwrap();
    all.iter().find(|process| process["name"] == name).unwrap_or_else(|| panic!("{plan:#}")).clone()
}

/// Returns the folder of the data of the Redis in a worktree.
fn data_folder(sandbox: &Sandbox, folder: &Path) -> PathBuf {
    let plan = answer(sandbox, folder, "plan");
    planned(&plan, "redis")["service"]["folder"].as_str().unwrap().into()
}

/// Starts the stack in the foreground and waits until it is ready.
fn start(sandbox: &Sandbox, folder: &Path) -> Running {
    let mut running = devrun(sandbox, folder, &[]).start();
    running.expect_line("^  Ready in ");
    running
}

#[test]
fn each_worktree_has_a_redis_with_separate_port_keys_and_folder() {
    if !has_redis() {
        return;
    }
    let sandbox = world(&config(""));
    let (main, linked) = (sandbox.main(), sandbox.worktree("linked", "linked"));
    up(&sandbox, &main);
    up(&sandbox, &linked);
    let ports = [&main, &linked].map(|folder| redis_port(&sandbox, folder));
    assert_ne!(ports[0], ports[1]);
    assert_eq!(ask(ports[0], "SET who main"), "+OK");
    assert_eq!(ask(ports[1], "GET who"), "$-1");
    for (folder, port) in [(&main, ports[0]), (&linked, ports[1])] {
        let url = format!("redis://127.0.0.1:{port}/0");
        let logs = fine(devrun(&sandbox, folder, &["logs", "api"])).stdout;
        assert!(logs.contains(&format!("env REDIS_URL={url}")), "{logs}");
        let said = fine(devrun(&sandbox, folder, &["exec", "--", "devrun-fixture", "env:REDIS_URL"])).stdout;
        assert_eq!(said, format!("env REDIS_URL={url}\n"));
        let env = answer(&sandbox, folder, "env");
        assert_eq!(env["REDIS_URL"], url, "{env:#}");
        let status = answer(&sandbox, folder, "status");
        let listed = status["processes"].as_array().unwrap();
        assert!(listed.iter().any(|one| one["name"] == "redis" && one["ready"] == true), "{status:#}");
        assert!(status["isolation"].is_null(), "{status:#}");
        let mode = std::fs::metadata(data_folder(&sandbox, folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
    assert_ne!(data_folder(&sandbox, &main), data_folder(&sandbox, &linked));
    let why = fine(devrun(&sandbox, &main, &["why", "redis"])).stdout;
    assert!(why.contains("redis"), "{why}");
    down(&sandbox, &main);
    down(&sandbox, &linked);
    assert!(sandbox.processes().is_empty());
}

#[test]
fn processes_start_when_redis_is_ready_and_explain_names_the_service() {
    if !has_redis() {
        return;
    }
    let sandbox = world(&config(""));
    let main = sandbox.main();
    let running = start(&sandbox, &main);
    let shown = running.stdout();
    let (redis, api) = (shown.find("Ready to accept connections"), shown.find("env REDIS_URL"));
    assert!(redis.is_some() && redis < api, "{shown}");
    assert!(!shown.contains("http://localhost"), "Redis has no URL for a browser: {shown}");
    let explained = fine(devrun(&sandbox, &main, &["env", "--explain", "REDIS_URL"])).stdout;
    let url = format!("REDIS_URL=redis://127.0.0.1:{}/0", redis_port(&sandbox, &main));
    assert!(explained.contains(&url), "{explained}");
    assert!(explained.trim_end().ends_with("computed: service of the worktree"), "{explained}");
    interrupt(running);
    assert!(sandbox.processes().is_empty());
}

#[test]
fn nothing_is_left_after_both_processes_of_devrun_are_killed() {
    if !has_redis() {
        return;
    }
    let sandbox = world(&config(", data: keep"));
    let main = sandbox.main();
    let running = start(&sandbox, &main);
    let port = redis_port(&sandbox, &main);
    assert_eq!(ask(port, "SET a 1"), "+OK");
    assert_eq!(ask(port, "SAVE"), "+OK");
    kill_both(running.pid());
    drop(running);
    let running = start(&sandbox, &main);
    assert_eq!(ask(redis_port(&sandbox, &main), "GET a"), "1");
    interrupt(running);
    assert!(sandbox.processes().is_empty());
}

#[test]
fn plan_shows_the_command_and_the_data_of_a_service() {
    if !has_redis() {
        return;
    }
    let sandbox = world(&config(", data: keep"));
    let plan = json(&fine(sandbox.devrun(&["plan", "--json"])));
    let redis = planned(&plan, "redis");
    assert!(redis["run"].as_str().unwrap().starts_with("exec redis-server --port $PORT "), "{redis:#}");
    assert_eq!((&redis["service"]["preset"], &redis["service"]["data"]), (&"redis".into(), &"keep".into()));
    assert_eq!(planned(&plan, "api")["depends_on"], serde_json::json!({ "redis": "ready" }));
    let text = fine(sandbox.devrun(&["plan"])).stdout;
    assert!(text.lines().any(|line| line.starts_with("redis") && line.ends_with("data: keep")), "{text}");
}
