//! A Redis that several worktrees share.

use super::{ask, down, has_redis, up, world};
use crate::asking::{answer, base, devrun, fine, refusal};
use crate::support::{Running, Sandbox};

/// Starts a Redis outside every stack, with this many databases.
fn shared(sandbox: &Sandbox, port: u16, databases: u64) -> Running {
    let (port, databases) = (port.to_string(), databases.to_string());
    let args = [
        "--port",
        &port,
        "--bind",
        "127.0.0.1",
        "--databases",
        &databases,
        "--save",
        "",
        "--requirepass",
        "hunter2",
    ];
    let mut running = sandbox.program("redis-server", &args).start();
    running.expect_line("Ready to accept connections");
    running
}

fn config(port: u16, more: &str) -> String {
    // The client stays connected, so that the audit sees its connection.
    let client = "import os,socket,time,urllib.parse\n\
                  url = urllib.parse.urlparse(os.environ['REDIS_URL'])\n\
                  held = socket.create_connection((url.hostname, url.port))\n\
                  print('connected', url.path, flush=True)\n\
                  time.sleep(1000)\n";
    format!(
        "services: {{ redis: {{ shared: {{ url: 'redis://:hunter2@127.0.0.1:{port}'{more} }} }} }}\nprocesses:\n  api: {{ run: [python3, -c, {}], \
         ready: {{ log: connected }} }}\n",
        serde_json::Value::from(client)
    )
}

#[test]
fn slot_beyond_the_databases_of_the_server_is_an_error() {
    if !has_redis() {
        return;
    }
    let port = base();
    let sandbox = world(&config(port, ""));
    let slot_of = |folder: &std::path::Path| answer(&sandbox, folder, "plan")["slot"].as_u64().unwrap();
    // Every server has a database 0, so the test needs a worktree with another slot.
    let folder = match slot_of(&sandbox.main()) {
        0 => sandbox.worktree("other", "other"),
        _ => sandbox.main(),
    };
    let slot = slot_of(&folder);
    let small = shared(&sandbox, port, slot);
    let error = refusal(devrun(&sandbox, &folder, &["up", "-d", "--json"]), "service-limit", 83);
    let message = error["message"].as_str().unwrap();
    let expected = format!("has no database {slot}: it has {slot}, from 0 to {}", slot - 1);
    assert!(message.contains(&expected) && message.starts_with("devrun.yaml:1:"), "{error:#}");
    assert!(error["fix"].as_str().unwrap().contains("--databases 100"), "{error:#}");
    assert!(!error.to_string().contains("hunter2"), "{error:#}");
    drop(small);
    let error = refusal(devrun(&sandbox, &folder, &["up", "-d", "--json"]), "service-unavailable", 83);
    assert!(error["message"].as_str().unwrap().contains("does not answer"), "{error:#}");
    let _large = shared(&sandbox, port, 100);
    let ended = up(&sandbox, &folder);
    assert!(!ended.stdout.contains("hunter2"), "{ended}");
    let logs = fine(devrun(&sandbox, &folder, &["logs", "api"])).stdout;
    assert!(logs.contains(&format!("connected /{slot}")), "{logs}");
    let status = answer(&sandbox, &folder, "status");
    assert!(status["isolation"].is_null(), "a shared server is the user's choice: {status:#}");
    down(&sandbox, &folder);
}

#[test]
fn prefix_keeps_worktrees_apart_in_one_database() {
    if !has_redis() {
        return;
    }
    let port = base();
    let sandbox = world(&config(port, ", by: prefix"));
    let _server = shared(&sandbox, port, 1);
    assert!(ask(port, "PING").starts_with("-NOAUTH"));
    let (main, linked) = (sandbox.main(), sandbox.worktree("linked", "linked"));
    let prefixes = [&main, &linked].map(|folder| {
        up(&sandbox, folder);
        let env = answer(&sandbox, folder, "plan")["env"].clone();
        down(&sandbox, folder);
        env["REDIS_PREFIX"].as_str().unwrap().to_string()
    });
    assert!(prefixes[0].starts_with("devrun-") && prefixes[0] != prefixes[1], "{prefixes:?}");
}

#[test]
fn refused_password_is_an_error_that_does_not_show_it() {
    if !has_redis() {
        return;
    }
    let port = base();
    let sandbox = world(&config(port, "").replace("hunter2@", "hunter3@"));
    let _server = shared(&sandbox, port, 100);
    let error = refusal(sandbox.devrun(&["up", "-d", "--json"]), "service-unavailable", 83);
    assert!(error["message"].as_str().unwrap().contains("WRONGPASS"), "{error:#}");
    assert!(!error.to_string().contains("hunter3"), "{error:#}");
}
