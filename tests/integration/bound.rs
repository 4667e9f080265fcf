//! Stacks that are bound to a process, and the record of what started a stack.

use std::io::{PipeWriter, Write};
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::asking::{answer, base, devrun, fine, json as parsed, refusal, server};
use crate::support::{LIMIT, Running, Sandbox, wait_for};

fn world() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    sandbox
}

/// Starts a process that stands for the session of an agent.
fn agent(sandbox: &Sandbox) -> Running {
    sandbox.fixture(&["say:here", "sleep"]).start()
}

fn end(running: Running) {
    kill(Pid::from_raw(running.pid().cast_signed()), Signal::SIGKILL).unwrap();
    running.wait();
}

/// Waits until `wanted` accepts the answer of `status --json` in `folder`, and returns it.
#[track_caller]
fn until(sandbox: &Sandbox, folder: &Path, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, LIMIT, || {
        let status = answer(sandbox, folder, "status");
        if wanted(&status) { Ok(status) } else { Err(format!("{status:#}")) }
    })
}

#[test]
fn r3_a_bound_stack_ends_after_its_process() {
    let sandbox = world();
    let main = sandbox.main();
    let session = agent(&sandbox);
    let pid = session.pid();
    let up = parsed(&fine(sandbox.devrun(&[
        "up",
        "-d",
        "--json",
        "--with-pid",
        &pid.to_string(),
        "--grace",
        "1s",
    ])));
    assert_eq!(up["bound_to"], json!({ "name": "devrun-fixture", "pid": pid, "grace_seconds": 1 }));
    let text = fine(sandbox.devrun(&["status"])).stdout;
    assert!(text.contains(&format!("devrun-fixture (pid {pid}); the stack ends 1 s after it")), "{text}");
    end(session);
    let status = until(&sandbox, &main, "the end of the stack", |status| status["state"] == "stopped");
    assert!(status["bound_to"]["ends_at"].is_u64(), "{status:#}");
    let text = fine(sandbox.devrun(&["status"])).stdout;
    assert!(text.contains("which the stack was bound to, is gone"), "{text}");
    let log = fine(sandbox.devrun(&["logs", "devrun", "-n", "50"])).stdout;
    assert!(log.contains("is gone: the stack ends in 1 s"), "{log}");
    wait_for("the end of the processes", LIMIT, || {
        let left = sandbox.processes();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

#[test]
fn r3_the_end_is_announced_and_a_new_start_keeps_the_stack() {
    let sandbox = world();
    let main = sandbox.main();
    let first = agent(&sandbox);
    fine(sandbox.devrun(&["up", "-d", "--with-pid", &first.pid().to_string(), "--grace", "10m"]));
    end(first);
    until(&sandbox, &main, "the announcement", |status| status["bound_to"]["ends_at"].is_u64());
    let text = fine(sandbox.devrun(&["status"])).stdout;
    assert!(
        text.contains("which is gone; the stack ends in ") && text.contains("\nState     ready\n"),
        "{text}"
    );
    // Another session binds the stack to itself. A start without a process unbinds the stack only after the end of that session.
    let second = agent(&sandbox);
    let up = fine(sandbox.devrun(&[
        "up",
        "-d",
        "--json",
        "--with-pid",
        &second.pid().to_string(),
        "--grace",
        "10m",
    ]));
    assert_eq!(parsed(&up)["bound_to"]["pid"], second.pid());
    assert_eq!(parsed(&up)["bound_to"]["ends_at"], Value::Null);
    let again = parsed(&fine(sandbox.devrun(&["up", "-d", "--json"])));
    assert_eq!(again["bound_to"]["pid"], second.pid(), "a living process keeps its stack");
    end(second);
    until(&sandbox, &main, "the announcement", |status| status["bound_to"]["ends_at"].is_u64());
    let kept = parsed(&fine(sandbox.devrun(&["up", "-d", "--json"])));
    assert_eq!(kept["bound_to"], Value::Null);
    fine(sandbox.devrun(&["down"]));
}

#[test]
fn a_stack_can_be_bound_to_the_process_that_calls_devrun() {
    let sandbox = world();
    let (reader, _writer) = std::io::pipe().unwrap();
    let script = "devrun up -d --json --with-parent --grace 10m; read line";
    let mut shell = sandbox.program("/bin/sh", &["-c", script]).with(|command| command.stdin(reader)).start();
    shell.expect_line("^}$");
    let status = answer(&sandbox, &sandbox.main(), "status");
    assert_eq!(status["bound_to"]["pid"], shell.pid(), "{status:#}");
    end(shell);
    until(&sandbox, &sandbox.main(), "the announcement", |status| status["bound_to"]["ends_at"].is_u64());
    fine(sandbox.devrun(&["down"]));
}

#[test]
fn a_stack_of_another_session_is_not_bound() {
    let sandbox = world();
    let as_agent = |session: &str, args: &[&str]| {
        let command = sandbox.devrun(args).env("CLAUDECODE", "1").env("CLAUDE_CODE_SESSION_ID", session);
        parsed(&fine(command))["bound_to"].clone()
    };
    let session = agent(&sandbox);
    let pid = session.pid();
    let bind = ["up", "-d", "--json", "--with-pid", &pid.to_string()];
    fine(sandbox.devrun(&["up", "-d"]));
    assert_eq!(as_agent("one", &bind), Value::Null, "the user's stack would end with the agent");
    fine(sandbox.devrun(&["down"]));
    as_agent("one", &["up", "-d", "--json"]);
    assert_eq!(as_agent("two", &bind), Value::Null);
    assert_eq!(as_agent("one", &bind)["pid"], pid);
    fine(sandbox.devrun(&["down"]));
    end(session);
}

#[test]
fn a_process_that_does_not_exist_is_an_error() {
    let sandbox = world();
    // Linux gives no process an id above 2^22.
    let up = sandbox.devrun(&["up", "-d", "--json", "--with-pid", "8388608"]);
    let error = refusal(up, "usage", 2);
    assert!(error["message"].as_str().unwrap().contains("there is no process 8388608"), "{error:#}");
    assert_eq!(answer(&sandbox, &sandbox.main(), "status")["state"], "stopped");
}

#[test]
fn r4_status_and_ls_name_what_started_a_stack() {
    let sandbox = world();
    let main = sandbox.main();
    for (variables, wanted, text) in [
        (&[][..], json!({ "kind": "other" }), None),
        (&[("CLAUDECODE", "1")], json!({ "kind": "agent", "agent": "claude-code" }), Some("claude-code")),
        (
            &[("GIT_EXEC_PATH", "/usr/lib/git-core"), ("GIT_PREFIX", "")],
            json!({ "kind": "hook" }),
            Some("hook"),
        ),
    ] {
        let up =
            variables.iter().fold(sandbox.devrun(&["up", "-d"]), |up, (name, value)| up.env(name, value));
        fine(up);
        assert_eq!(answer(&sandbox, &main, "status")["started_by"], wanted);
        assert_eq!(answer(&sandbox, &main, "ls")["stacks"][0]["started_by"], wanted);
        let status = fine(sandbox.devrun(&["status"])).stdout;
        let shown = status.lines().find_map(|line| line.strip_prefix("Started by  "));
        assert_eq!(shown, text, "{status}");
        fine(sandbox.devrun(&["down"]));
    }
    let status = fine(sandbox.devrun(&["status"])).stdout;
    assert!(!status.contains("Started by"), "nothing runs: {status}");
}

#[test]
fn down_mine_ends_the_stacks_of_this_session_only() {
    let sandbox = world();
    let worktrees: Vec<_> = ["a", "b", "c"].iter().map(|name| sandbox.worktree(name, name)).collect();
    let as_agent = |folder: &Path, session: &str, args: &[&str]| {
        fine(devrun(&sandbox, folder, args).env("CLAUDECODE", "1").env("CLAUDE_CODE_SESSION_ID", session))
    };
    as_agent(&worktrees[0], "one", &["up", "-d"]);
    as_agent(&worktrees[1], "two", &["up", "-d"]);
    // The test itself is an ancestor of all commands.
    fine(devrun(&sandbox, &worktrees[2], &["up", "-d", "--with-pid", &std::process::id().to_string()]));
    let state = |folder: &Path| answer(&sandbox, folder, "status")["state"].clone();
    let ended = parsed(&as_agent(&sandbox.main(), "one", &["down", "--mine", "--json"]));
    let stopped: Vec<&str> =
        ended["stacks"].as_array().unwrap().iter().map(|stack| stack["worktree"].as_str().unwrap()).collect();
    assert_eq!(stopped, [worktrees[0].to_str().unwrap(), worktrees[2].to_str().unwrap()]);
    assert_eq!((state(&worktrees[0]), state(&worktrees[1])), (json!("stopped"), json!("ready")));
    let nothing = as_agent(&sandbox.main(), "one", &["down", "--mine"]);
    assert_eq!(
        nothing.stdout,
        "1 stack runs and is not known to be of this session: `devrun ls` names it.\n"
    );
    as_agent(&sandbox.main(), "two", &["down", "--mine"]);
    assert_eq!(sandbox.processes(), []);
}

#[test]
fn agent_without_session_names_is_identified_by_its_process() {
    let sandbox = world();
    // Two agents, each of which runs its commands in a new session of the system.
    let script = "export GEMINI_CLI=1; while read line; do setsid --wait sh -c \"$line\"; echo done; done";
    let agent = || {
        let (reader, writer) = std::io::pipe().unwrap();
        let shell = sandbox.program("/bin/sh", &["-c", script]).with(|command| command.stdin(reader));
        (shell.start(), writer)
    };
    let (mut one, mut two) = (agent(), agent());
    let run = |(shell, input): &mut (Running, PipeWriter), line: &str, count: usize| {
        writeln!(input, "{line}").unwrap();
        shell.expect_lines("^done$", count);
    };
    run(&mut one, "devrun up -d", 1);
    run(&mut two, "devrun down --mine", 1);
    assert_eq!(answer(&sandbox, &sandbox.main(), "status")["state"], "ready");
    run(&mut one, "devrun down --mine", 2);
    assert_eq!(answer(&sandbox, &sandbox.main(), "status")["state"], "stopped");
    end(one.0);
    end(two.0);
}
