//! The log files of a run, and `devrun logs`, which reads them.

use std::time::SystemTime;

use devrun::testing::logs::Timestamp;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Ended, LIMIT, Running, Sandbox, wait_for};

fn world(processes: &[(&str, &[&str])]) -> Sandbox {
    let sandbox = Sandbox::new();
    let entry = |(name, words): &(&str, &[&str])| {
        let run: Vec<&str> = ["devrun-fixture"].iter().chain(*words).copied().collect();
        ((*name).to_string(), serde_json::json!({ "run": run, "restart": "on-failure" }))
    };
    let processes: serde_json::Map<_, _> = processes.iter().map(entry).collect();
    let text = serde_json::json!({ "processes": processes }).to_string();
    sandbox.repo_with(&[("devrun.yaml", &text), ("deep/er/file", "")]);
    sandbox
}

fn logs(sandbox: &Sandbox, args: &[&str]) -> Ended {
    let ended = sandbox.devrun(&[&["logs"], args].concat()).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    ended
}

/// Sends a signal to the process that has `word` in its command line.
fn signal(sandbox: &Sandbox, word: &str, signal: Signal) {
    let processes = sandbox.processes();
    let process = processes.iter().find(|process| process.command.contains(word)).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.pid), signal).unwrap();
}

fn stop(running: Running) {
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code, Some(130));
}

#[test]
fn last_lines_are_sorted_by_time() {
    let sandbox = world(&[
        ("web", &["lines:300", "partial:half", "exit:0"]),
        ("frontend", &["touch:listening", "await:USR1", "say:later"]),
    ]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(r"^web      \| half$");
    let listening = sandbox.main().join("listening");
    wait_for(
        "the other to listen",
        LIMIT,
        || if listening.exists() { Ok(()) } else { Err("not yet".into()) },
    );
    signal(&sandbox, "later", Signal::SIGUSR1);
    assert_eq!(running.wait().code, Some(0));
    let said = logs(&sandbox, &["web", "frontend"]).stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 200);
    assert_eq!(lines[0], "web      | line 103");
    assert_eq!(lines[197..], ["web      | line 300", "web      | half", "frontend | later"]);
    assert_eq!(logs(&sandbox, &["-n", "1", "web"]).stdout, "web | half\n");
    assert_eq!(logs(&sandbox, &["--since", "1h", "web"]).stdout.lines().count(), 301);
    assert_eq!(logs(&sandbox, &["--since", "2999-01-01T00:00:00Z"]).stdout, "");
    assert_eq!(logs(&sandbox, &["--grep", "^line 2?7$", "web"]).stdout, "web | line 7\nweb | line 27\n");
}

#[test]
fn logs_work_anywhere_and_include_devruns_actions() {
    let sandbox = world(&[("web", &["say:hello", "exit:3"])]);
    sandbox.write(
        &sandbox.main().join("devrun.yaml"),
        "processes: { web: { run: [devrun-fixture, 'say:hello', 'exit:3'] } }\n",
    );
    assert_eq!(sandbox.devrun(&[]).run().code, Some(3));
    let here = sandbox.devrun(&["logs"]).directory(sandbox.main().join("deep/er")).run();
    let there = sandbox.devrun(&["-C", sandbox.main().to_str().unwrap(), "logs"]).directory("/").run();
    assert_eq!(here.stdout, there.stdout);
    for part in
        ["web    | hello\n", "Z web: started, pid ", "Z web: ended with exit code 3\n", "Z error: web ended"]
    {
        assert!(here.stdout.contains(part), "{here}");
    }
    let own: Vec<&str> = here.stdout.lines().filter_map(|line| line.strip_prefix("devrun | ")).collect();
    let is_timed =
        |line: &&str| Timestamp::understand(line.split(' ').next().unwrap(), SystemTime::now()).is_some();
    assert!(own.len() > 2 && own.iter().all(is_timed), "{here}");
}

#[test]
fn json_is_one_object_per_line() {
    let sandbox = world(&[("web", &["invalid", "partial:a", "await:USR1", "say:b"])]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(r"^web \| a$");
    signal(&sandbox, "partial", Signal::SIGUSR1);
    assert_eq!(running.wait().code, Some(0));
    let said = logs(&sandbox, &["--json", "web"]).stdout;
    let all: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<&str> = all.iter().map(|object| object["line"].as_str().unwrap()).collect();
    assert_eq!(texts, ["invalid \u{fffd}\u{fffd}\u{fffd}( end", "a", "b"]);
    assert!(
        all.iter()
            .all(|object| object["process"] == "web" && object["time"].as_str().unwrap().ends_with('Z'))
    );
    assert_eq!((&all[1]["continued"], &all[2]["continued"]), (&Value::Null, &Value::Bool(true)));
}

#[test]
fn unknown_name_lists_the_known_ones() {
    let sandbox = world(&[("web", &["say:hello"]), ("api", &["say:hello"])]);
    let ended = sandbox.devrun(&["logs"]).run();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended}");
    assert!(ended.stderr.contains("nothing has run"), "{ended}");
    sandbox.devrun(&[]).run();
    let ended = sandbox.devrun(&["logs", "wep"]).run();
    assert_eq!(ended.code, Some(2), "{ended}");
    assert!(ended.stderr.contains("fix: one of: api, web, devrun"), "{ended}");
}

#[test]
fn follow_ends_with_the_stack() {
    let sandbox =
        world(&[("web", &["say:one", "ready", "await:USR1", "lines:500000:100", "say:two", "sleep"])]);
    let mut running = sandbox.devrun(&[]).start();
    let line = running.expect_line(r"\| ready");
    let pid = line.split(' ').nth(3).unwrap().parse().unwrap();
    let mut following = sandbox.devrun(&["logs", "-f", "web"]).start();
    following.expect_line(r"^web \| one$");
    // The process writes more than the files hold.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGUSR1).unwrap();
    following.expect_line(r"^web \| two$");
    stop(running);
    let said = following.wait();
    assert_eq!(said.code, Some(0), "{said}");
    let torn = said.stdout.lines().find(|line| line.starts_with("web | line") && line.len() != 106);
    assert_eq!(torn, None);
}

#[test]
fn follow_ends_without_a_stack_or_by_a_signal() {
    let sandbox = world(&[("web", &["say:one", "ready", "sleep"])]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(r"\| ready");
    let mut following = sandbox.devrun(&["logs", "-f"]).start();
    following.expect_line(r"^web    \| one$");
    // TERM instead of INT, because a script's background jobs ignore INT.
    following.signal(Signal::SIGTERM);
    assert_eq!(following.wait().signal, Some(15));
    stop(running);
    assert!(logs(&sandbox, &["-f", "web"]).stdout.starts_with("web | one\n"));
}

#[test]
fn full_disk_is_reported_once_and_stops_nothing() {
    let sandbox = world(&[("web", &["lines:20000:100"])]);
    let small = "trap '' XFSZ; ulimit -f 64; exec devrun";
    let ended = sandbox.program("sh", &["-c", small]).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    let lines = ended.stdout.lines().filter(|line| line.starts_with("web | line")).count();
    assert_eq!(lines, 20_000);
    assert_eq!(ended.stderr.matches("not all output is written").count(), 1, "{}", ended.stderr);
    let kept = std::fs::read_to_string(sandbox.main().join(".git/devrun/logs/web.log")).unwrap();
    assert!(kept.lines().all(|line| line.len() == 125), "{kept}");
}

#[test]
fn files_are_limited_by_the_configuration() {
    let sandbox = Sandbox::new();
    let text = "logs: { size: 1MiB, files: 2 }\nprocesses:\n  web: { run: [devrun-fixture, 'lines:40000:100'], restart: on-failure }\n";
    sandbox.repo_with(&[("devrun.yaml", text)]);
    assert_eq!(sandbox.devrun(&[]).run().code, Some(0));
    let size = |name: &str| {
        std::fs::metadata(sandbox.main().join(".git/devrun/logs").join(name)).map(|file| file.len()).ok()
    };
    let sizes = [size("web.log"), size("web.log.1"), size("web.log.2")];
    assert!(matches!(sizes, [Some(1..=1_048_576), Some(500_000..=1_048_576), None]), "{sizes:?}");
    assert_eq!(logs(&sandbox, &["web", "-n", "1"]).stdout.lines().count(), 1);
}

#[test]
fn lines_before_a_kill_are_kept() {
    let sandbox = world(&[("web", &["say:before", "ready", "sleep"])]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(r"\| ready");
    running.signal(Signal::SIGKILL);
    running.wait();
    wait_for("the line", LIMIT, || {
        let said = logs(&sandbox, &["web"]).stdout;
        if said.starts_with("web | before\n") { Ok(()) } else { Err(said) }
    });
}
