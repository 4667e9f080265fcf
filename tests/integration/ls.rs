//! `devrun ls`: every stack of this user, those that run, those that do not answer, those that were killed.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::asking::{base, json, server};
use crate::support::{LIMIT, Sandbox, wait_for};

/// What `devrun ls --json` says, from a folder that is no worktree.
#[track_caller]
fn stacks(sandbox: &Sandbox) -> Vec<Value> {
    let ended = sandbox.devrun(&["ls", "--json"]).directory(sandbox.home()).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    json(&ended)["stacks"].as_array().unwrap().clone()
}

#[track_caller]
fn fine(sandbox: &Sandbox, folder: &Path, args: &[&str]) {
    let ended = sandbox.devrun(args).directory(folder).run();
    assert_eq!(ended.code, Some(0), "{args:?}: {ended}");
}

fn pid(value: &Value) -> Pid {
    Pid::from_raw(i32::try_from(value["pid"].as_i64().unwrap()).unwrap())
}

/// Waits until the stack of `folder` is listed in `state`.
#[track_caller]
fn listed(sandbox: &Sandbox, folder: &Path, state: &str) -> Value {
    let path = folder.canonicalize().unwrap();
    wait_for(state, LIMIT, || {
        let all = stacks(sandbox);
        let found =
            all.iter().find(|stack| stack["worktree"] == path.to_str().unwrap() && stack["state"] == state);
        found.cloned().ok_or_else(|| format!("{all:#?}"))
    })
}

#[test]
fn stacks_are_listed_from_anywhere_with_what_they_use_until_they_end() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let other = sandbox.worktree("other", "feature/x");
    assert_eq!(stacks(&sandbox), [] as [Value; 0]);
    fine(&sandbox, &main, &["up", "-d"]);
    fine(&sandbox, &other, &["up", "-d"]);
    let stack = listed(&sandbox, &other, "ready");
    assert_eq!((&stack["repo"], &stack["branch"]), (&json!("repo"), &json!("feature/x")));
    let port = stack["ports"]["web"].as_u64().unwrap();
    assert_eq!(stack["url"], format!("http://localhost:{port}"));
    assert!(stack["processes"].as_u64().unwrap() >= 3, "keeper, supervisor, web: {stack:#}");
    assert!(stack["memory_bytes"].as_u64().unwrap() > 1_000_000, "{stack:#}");
    assert!(stack["age_seconds"].as_u64().unwrap() < 600 && stack["cpu_percent"].is_f64(), "{stack:#}");
    listed(&sandbox, &main, "ready");
    let said = sandbox.devrun(&["ls"]).directory(sandbox.home()).run().stdout;
    let rows: Vec<&str> = said.lines().collect();
    assert!(rows.len() == 3 && rows[0].starts_with("STATE") && !said.contains('\x1b'), "{said}");
    assert!(rows.iter().any(|row| row.starts_with("ready  repo  feature/x ")), "{said}");

    // One that hangs holds up nobody.
    kill(pid(&stack), Signal::SIGTSTP).unwrap();
    let silent = listed(&sandbox, &other, "silent");
    assert_eq!(silent["ports"], stack["ports"]);
    listed(&sandbox, &main, "ready");
    let said = sandbox.devrun(&["ls"]).run().stdout;
    assert!(said.contains("does not answer; `devrun -C "), "{said}");
    kill(pid(&stack), Signal::SIGCONT).unwrap();
    listed(&sandbox, &other, "ready");

    fine(&sandbox, &other, &["down"]);
    assert_eq!(stacks(&sandbox).len(), 1);
    fine(&sandbox, &main, &["down"]);
    assert_eq!(stacks(&sandbox), [] as [Value; 0]);
}

#[test]
fn one_that_was_killed_is_stale_until_somebody_cleans_up() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let other = sandbox.worktree("other", "other");
    for folder in [&main, &other] {
        fine(&sandbox, folder, &["up", "-d"]);
        let keeper = pid(&listed(&sandbox, folder, "ready"));
        let is_child = |entry: &devrun::os::proc::Entry| entry.parent == keeper.as_raw().cast_unsigned();
        let supervisor = devrun::os::proc::table().into_iter().find(is_child).unwrap().pid;
        kill(keeper, Signal::SIGSTOP).unwrap();
        for process in [Pid::from_raw(supervisor.cast_signed()), keeper] {
            kill(process, Signal::SIGKILL).unwrap();
        }
        let stale = listed(&sandbox, folder, "stale");
        assert_eq!((&stale["pid"], &stale["processes"]), (&Value::Null, &json!(0)));
    }
    let said = sandbox.devrun(&["ls"]).run().stdout;
    assert!(said.contains("nobody cleaned up; `devrun -C "), "{said}");
    fine(&sandbox, &main, &["down"]);
    assert_eq!(stacks(&sandbox).len(), 1);
    // A worktree that is gone with all that was in it is forgotten.
    sandbox.git(&["worktree", "remove", "--force", other.to_str().unwrap()]);
    assert_eq!(stacks(&sandbox), [] as [Value; 0]);
    let left: Vec<_> =
        std::fs::read_dir(sandbox.runtime().join("devrun-worktree")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A stack that is none: a lock held by this test, a record, an entry, a socket at which `answers` says who answers.
fn pretend(sandbox: &Sandbox, number: usize, answers: bool) -> (File, Option<UnixListener>) {
    let worktree = sandbox.path().join(format!("w{number:03}"));
    let state = worktree.join(".git/devrun");
    let runtime = sandbox.runtime().join("devrun-worktree");
    let socket: PathBuf = runtime.join(format!("t{number}.sock"));
    std::fs::create_dir_all(&runtime).unwrap();
    let record = json!({ "version": 1, "pid": std::process::id(), "started": 1, "worktree": worktree,
        "ports": { "web": 3000 + number }, "socket": socket });
    sandbox.write(&state.join("run.json"), &record.to_string());
    let entry = json!({ "version": 1, "worktree": worktree, "state": state, "repo": "r", "branch": "b" });
    sandbox.write(&runtime.join(format!("t{number}.stack")), &entry.to_string());
    let lock = File::create(state.join("lock")).unwrap();
    lock.lock().unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    if !answers {
        return (lock, Some(listener));
    }
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let body = r#"{"state": "ready"}"#;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
            let _ = write!(stream, "{head}: {}\r\n\r\n{body}", body.len());
        }
    });
    (lock, None)
}

#[test]
fn a_hundred_are_asked_side_by_side_and_some_that_hang_hold_up_none() {
    let sandbox = Sandbox::new();
    let hangs = |number: usize| number % 10 == 3;
    let held: Vec<_> = (0..100).map(|number| pretend(&sandbox, number, !hangs(number))).collect();
    let expected: Vec<(u64, &str)> =
        (0..100).map(|n| (3000 + n as u64, if hangs(n) { "silent" } else { "ready" })).collect();
    // On a busy machine an answer may come too late: then the next look sees it.
    wait_for("all answers", LIMIT, || {
        let all = stacks(&sandbox);
        let seen: Vec<(u64, &str)> = all
            .iter()
            .map(|stack| (stack["ports"]["web"].as_u64().unwrap(), stack["state"].as_str().unwrap()))
            .collect();
        if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    drop(held);
    for number in 0..100 {
        std::fs::remove_file(sandbox.runtime().join(format!("devrun-worktree/t{number}.sock"))).unwrap();
    }
}
