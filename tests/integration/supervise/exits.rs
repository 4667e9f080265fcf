//! Processes that exit by themselves, cannot be started, or restart.

use nix::sys::signal::Signal;

use super::{assert_nothing_runs, lines_of, world};

#[test]
fn exit_code_passes_through_and_others_stop() {
    let sandbox = world(&[("web", "ready exit:3", ""), ("api", "graceful:INT ready sleep", "")]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line("^error: web ended with exit code 3 ");
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(3), "{ended}");
    assert!(ended.stderr.contains("[process-ended]"), "{ended}");
    assert!(ended.stderr.matches("web ended").count() == 1, "{ended}");
}

#[test]
fn death_by_signal_exits_with_128_plus_number() {
    for (name, number) in [("TERM", 15), ("KILL", 9), ("ABRT", 6)] {
        let sandbox = world(&[("web", &format!("die:{name}"), ""), ("api", "sleep", "")]);
        let ended = sandbox.devrun(&[]).run();
        assert_eq!(ended.code, Some(128 + number), "{ended}");
        assert!(ended.stderr.contains(&format!("web ended with signal SIG{name}")), "{ended}");
    }
}

#[test]
fn code_0_ends_the_run_with_0() {
    let sandbox = world(&[("web", "say:done", ""), ("api", "sleep", "")]);
    let ended = sandbox.devrun(&[]).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(lines_of(&ended.stdout, "web"), ["done"]);
    assert!(ended.stderr.contains("stopping: web ended with 0 and so ended the stack"), "{ended}");
}

#[test]
fn failing_process_restarts_until_the_limit() {
    for (policy, code) in [("on-failure", 7), ("always", 7), ("always", 0)] {
        let keys = format!("restart: {policy}, max_restarts: 2");
        let run = format!("say:started exit:{code}");
        let sandbox = world(&[("web", &run, &keys), ("api", "sleep", "")]);
        let ended = sandbox.devrun(&[]).run();
        assert_eq!(ended.code, Some(code), "{ended}");
        assert_eq!(lines_of(&ended.stdout, "web").len(), 3, "{ended}");
        for part in ["restart 1 in 0.1 s", "restart 2 in 0.2 s", "given up after 2 restarts"] {
            assert!(ended.stderr.contains(part), "no {part}: {ended}");
        }
    }
}

#[test]
fn recovered_process_keeps_running() {
    let run = "$ test -e mark || { touch mark; exit 5; }; exec devrun-fixture graceful:INT ready sleep";
    let sandbox = world(&[("web", run, "restart: on-failure, max_restarts: 1")]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line("^restart: web ended with exit code 5; ");
    running.expect_line(r"\| ready");
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{ended}");
}

#[test]
fn success_with_restart_on_failure_neither_restarts_nor_stops() {
    let sandbox = world(&[("web", "say:done", "restart: on-failure"), ("api", "await:USR1 exit:0", "")]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line("^web ended with exit code 0$");
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{ended}");
    assert_eq!(lines_of(&ended.stdout, "web"), ["done"]);
}

#[test]
fn ctrl_c_during_a_restart_pause_starts_nothing() {
    let sandbox = world(&[("web", "say:started exit:1", "restart: always, max_restarts: 20")]);
    let mut running = sandbox.devrun(&[]).start();
    // The pauses double, so this one is long enough for Ctrl-C to fall into it.
    running.expect_line("restart 4 in");
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(130), "{ended}");
}

#[test]
fn a_missing_program_is_named() {
    let sandbox = world(&[("api", "sleep", "")]);
    let text = "processes: { web: { run: [no-such-program, x] }, api: { run: [devrun-fixture, sleep] } }\n";
    sandbox.write(&sandbox.main().join("devrun.yaml"), text);
    let ended = sandbox.devrun(&[]).run();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(87), "{ended}");
    for part in ["web could not be started", "[spawn-failed]", "`no-such-program`"] {
        assert!(ended.stderr.contains(part), "no {part}: {ended}");
    }
}

#[test]
fn a_missing_directory_is_refused() {
    let sandbox = world(&[("web", "sleep", "directory: nowhere"), ("api", "sleep", "")]);
    let ended = sandbox.devrun(&[]).run();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(80), "{ended}");
    assert!(ended.stderr.contains("there is no folder `nowhere`"), "{ended}");
}

#[test]
fn a_directory_that_vanishes_is_named() {
    let sandbox = world(&[
        ("web", "sleep", "directory: build, depends_on: { clean: completed }"),
        ("clean", "$ rmdir build", ""),
        ("api", "sleep", ""),
    ]);
    std::fs::create_dir(sandbox.main().join("build")).unwrap();
    let ended = sandbox.devrun(&[]).run();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(87), "{ended}");
    for part in ["web could not be started", "[spawn-failed]", "repo/build does not exist"] {
        assert!(ended.stderr.contains(part), "no {part}: {ended}");
    }
}

#[test]
fn errors_are_one_json_object() {
    let sandbox = world(&[("web", "exit:9", "")]);
    let ended = sandbox.devrun(&["--json"]).run();
    assert_eq!(ended.code, Some(9), "{ended}");
    let error: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(error["error"]["code"], "process-ended");
    assert_eq!(error["error"]["exit"], 9);
    assert_eq!(error["error"]["message"], "web ended with exit code 9");
}
