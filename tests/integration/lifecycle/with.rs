//! `devrun with`: exit statuses, the end of the stack, saved logs, failures.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::asking::{answer, base, devrun, fine, json, port, refusal, server, solo};
use crate::support::{LIMIT, Sandbox, wait_for};

/// Makes a repository with a server on the port `web`.
fn world() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    sandbox
}

fn state(sandbox: &Sandbox) -> String {
    answer(sandbox, &sandbox.main(), "status")["state"].as_str().unwrap().into()
}

#[test]
fn the_command_sees_the_stack_and_its_status_is_passed_on() {
    let sandbox = world();
    let number = port(&answer(&sandbox, &sandbox.main(), "ports"), "web");
    let line = "echo asked > /dev/tcp/127.0.0.1/$WEB_PORT && echo \"$WEB_PORT $DEVRUN_BRANCH\"; exit 7";
    let ended = sandbox.devrun(&["with", "--", "bash", "-c", line]).run();
    assert_eq!((ended.code, ended.stdout.trim()), (Some(7), format!("{number} main").as_str()), "{ended}");
    assert_eq!(sandbox.processes(), []);
    let ended = sandbox.devrun(&["with", "bash", "-c", "kill -TERM $$"]).run();
    assert_eq!(ended.code, Some(143), "{ended}");
    assert_eq!(sandbox.processes(), []);
    assert_eq!(state(&sandbox), "stopped");
}

#[test]
fn the_command_is_searched_in_the_environment_of_the_stack() {
    let sandbox = world();
    let error = refusal(sandbox.devrun(&["with", "--json", "--", "no-such-tool"]), "spawn-failed", 127);
    assert!(error["message"].as_str().unwrap().contains("no-such-tool"), "{error:#}");
    assert_eq!(error["fault"], serde_json::Value::Null, "{error:#}");
    assert_eq!(sandbox.processes(), []);
}

#[test]
fn a_stack_that_ran_before_stays() {
    let sandbox = world();
    fine(sandbox.devrun(&["up", "-d"]));
    let ended = fine(sandbox.devrun(&["with", "--", "true"]));
    assert!(ended.stderr.contains("already running"), "{ended}");
    assert_eq!(state(&sandbox), "ready");
    fine(sandbox.devrun(&["down"]));
}

#[test]
fn stack_ends_when_with_is_killed() {
    let sandbox = world();
    let command = sandbox.path().join("command");
    let line = "echo $$ >\"$1.new\"; mv \"$1.new\" \"$1\"; exec devrun-fixture sleep";
    let running =
        sandbox.devrun(&["with", "--", "bash", "-c", line, "bash", command.to_str().unwrap()]).start();
    let pid = wait_for("the command", LIMIT, || std::fs::read_to_string(&command).map_err(|e| e.to_string()));
    let bound = answer(&sandbox, &sandbox.main(), "status")["bound_to"]["pid"].clone();
    assert_eq!(bound, running.pid());
    running.signal(Signal::SIGKILL);
    wait_for("the end of the stack", LIMIT, || {
        let left = sandbox.processes();
        if left.len() == 1 { Ok(()) } else { Err(format!("{left:#?}")) }
    });
    kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    // Until then the command holds the output open.
    assert_eq!(running.wait().signal, Some(9));
    assert_eq!(state(&sandbox), "stopped");
}

#[test]
fn logs_of_this_call_are_saved_even_when_the_stack_fails() {
    let sandbox = Sandbox::new();
    let config = format!(
        "ports: {{ web: {} }}\nprocesses:\n  web:\n    run: devrun-fixture say:number$NUMBER listen:PORT sleep\n    \
         port: web\n",
        base()
    );
    let main = sandbox.repo_with(&[("devrun.yaml", &config)]);
    let saved = |name: &str| std::fs::read_to_string(sandbox.path().join(name)).unwrap();
    let call = |number: &str, folder: &str| {
        fine(devrun(&sandbox, &main, &["with", "--logs", folder, "--", "true"]).env("NUMBER", number));
    };
    call("1", "../one");
    call("2", "../two");
    assert!(saved("one/web.log").contains("Z number1\n"), "{}", saved("one/web.log"));
    assert!(saved("two/web.log").contains("Z number2\n") && !saved("two/web.log").contains("number1"));
    assert!(saved("two/devrun.log").contains("web"), "{}", saved("two/devrun.log"));

    sandbox.write(&main.join("devrun.yaml"), &solo(base(), "devrun-fixture err:broken exit:3"));
    let ended =
        devrun(&sandbox, &main, &["with", "--json", "--logs", "../three", "--", "touch", "ran"]).run();
    assert_eq!(ended.code, Some(3), "{ended}");
    assert_eq!(json(&ended)["error"]["code"], "process-ended", "{ended}");
    assert!(saved("three/web.log").contains("broken"), "{}", saved("three/web.log"));
    assert!(!main.join("ran").exists(), "the command ran without a stack");
    assert_eq!(sandbox.processes(), []);
}

#[test]
fn a_folder_for_logs_that_cannot_be_made_starts_nothing() {
    let sandbox = world();
    let logs = ["with", "--json", "--logs", "devrun.yaml/x", "--", "true"];
    refusal(sandbox.devrun(&logs), "state-unusable", 74);
    assert_eq!(state(&sandbox), "stopped");
}

#[test]
fn a_stack_that_is_not_ready_in_time_is_taken_down() {
    let sandbox = Sandbox::new();
    let config = format!(
        "ports: {{ web: {} }}\nprocesses:\n  web:\n    run: devrun-fixture sleep\n    port: web\n    \
         ready: {{ log: never, timeout: 5m }}\n",
        base()
    );
    sandbox.repo_with(&[("devrun.yaml", &config)]);
    refusal(sandbox.devrun(&["with", "--timeout", "2", "--json", "--", "true"]), "timed-out", 88);
    assert_eq!(sandbox.processes(), []);
}

#[test]
fn ctrl_c_ends_the_command_and_the_stack() {
    let sandbox = world();
    let running = sandbox.devrun(&["with", "--", "devrun-fixture", "touch:there", "sleep"]).start();
    let there = sandbox.main().join("there");
    wait_for("the command", LIMIT, || there.exists().then_some(()).ok_or_else(String::new));
    running.signal_group(Signal::SIGINT);
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{ended}");
    assert_eq!(sandbox.processes(), []);
}

#[test]
fn ctrl_c_during_the_start_leaves_nothing() {
    let sandbox = Sandbox::new();
    let config = format!(
        "ports: {{ web: {} }}\nprocesses:\n  web:\n    run: devrun-fixture touch:there sleep\n    port: web\n    \
         ready: {{ log: never, timeout: 5m }}\n",
        base()
    );
    sandbox.repo_with(&[("devrun.yaml", &config)]);
    let running = sandbox.devrun(&["with", "--", "touch", "ran"]).start();
    let there = sandbox.main().join("there");
    wait_for("the process", LIMIT, || there.exists().then_some(()).ok_or_else(String::new));
    running.signal_group(Signal::SIGINT);
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{ended}");
    assert!(!sandbox.main().join("ran").exists());
    assert_eq!(sandbox.processes(), []);
}

#[test]
fn an_end_of_the_stack_during_the_command_is_reported() {
    let sandbox = Sandbox::new();
    let config = format!(
        "ports: {{ web: {} }}\nprocesses:\n  web:\n    run: devrun-fixture say:up await-file:stop exit:5\n    port: web\n    \
         ready: {{ log: up }}\n",
        base()
    );
    sandbox.repo_with(&[("devrun.yaml", &config)]);
    let line = "touch stop; while [ -e .git/devrun/run.json ]; do sleep 0.05; done; exit 9";
    let ended = sandbox.devrun(&["with", "--", "sh", "-c", line]).run();
    assert_eq!(ended.code, Some(9), "{ended}");
    assert!(ended.stderr.contains("has ended: web"), "{ended}");
    assert_eq!(sandbox.processes(), []);
}
