//! When a process counts as ready, which processes wait for it, and the error if it never becomes ready.

use std::path::Path;

use nix::sys::signal::Signal;

use super::{assert_nothing_runs, base, configuration, lines_of, world, world_with};
use crate::support::{Ended, Sandbox};

/// Runs devrun with one process `web` with a port, until the run ends by itself.
fn never_ready(run: &str, ready: &str) -> Ended {
    let top = format!("ports: {{ web: {} }}", base());
    let keys = format!("port: web, ready: {ready}");
    let sandbox = world_with(&top, &[("web", run, &keys), ("api", "sleep", "")]);
    let ended = sandbox.devrun(&[]).run();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(86), "{ended}");
    assert!(ended.stderr.contains("[not-ready]"), "{ended}");
    ended
}

#[test]
fn http_waits_for_the_status_and_sends_the_host() {
    let top = format!("ports: {{ web: {} }}", base());
    let run = "requests hosts http:404 listen:PORT await:USR1 http:418:teapot sleep";
    let ready =
        "port: web, ready: { http: /health?x=1, status: 418, host: tenant.localhost, interval: 20ms }";
    let sandbox = world_with(&top, &[("web", &format!("ready {run}"), ready)]);
    let mut running = sandbox.devrun(&[]).start();
    let pid = super::pid_in(&running.expect_line(r"\| ready"));
    running.expect_lines(r"\| GET /health\?x=1$", 2);
    assert!(!running.stdout().contains("Ready in"), "{}", running.stdout());
    nix::sys::signal::kill(pid, Signal::SIGUSR1).unwrap();
    running.expect_line("^  Ready in ");
    let port = running.expect_line("^  Web ").rsplit(':').next().unwrap().to_string();
    running.expect_line(&format!(r"\| Host: tenant\.localhost:{port}$"));
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code, Some(130));
}

#[test]
fn failed_http_probe_reports_the_last_answer_and_lines() {
    let ended =
        never_ready("http:503 listen:PORT say:no_database_here sleep", "{ http: /health, deadline: 300ms }");
    let report = ended.stderr.split("error: ").nth(1).unwrap();
    for part in
        ["web did not become ready within 300ms", "GET /health answered 503", "no_database_here", "deadline:"]
    {
        assert!(report.contains(part), "no {part}: {ended}");
    }
}

#[test]
fn silent_server_times_out() {
    let ended = never_ready("deaf:PORT sleep", "{ http: /, timeout: 50ms, deadline: 300ms }");
    assert!(ended.stderr.contains("no answer within 50ms"), "{ended}");
}

#[test]
fn failed_tcp_probe_is_reported() {
    let ended = never_ready("sleep", "{ tcp: true, deadline: 200ms }");
    assert!(ended.stderr.contains("refused"), "{ended}");
}

#[test]
fn failed_log_probe_is_reported() {
    let ended = never_ready("say:starting sleep", "{ log: 'listening on \\d+', deadline: 300ms }");
    assert!(ended.stderr.contains("no line of its output matched `listening on \\d+`"), "{ended}");
    assert!(ended.stderr.split("error: ").nth(1).unwrap().contains("starting"), "{ended}");
}

#[test]
fn failed_exec_probe_is_reported() {
    let ended = never_ready("sleep", "{ exec: [devrun-fixture, 'exit:4'], deadline: 300ms }");
    assert!(ended.stderr.contains("exit code 4"), "{ended}");
}

/// Starts `web`, which becomes ready only after the file `go` exists, and `after`, which depends on it.
fn in_order(web: &str, keys: &str) {
    let sandbox = Sandbox::new();
    let (go, log) = (sandbox.path().join("go"), sandbox.path().join("log"));
    let told = |word: &str| format!("append:{}:{word}", log.display());
    let web = web.replace("GO", &format!("{} await-file:{}", told("waiting"), go.display()));
    let web = web.replace("UP", &told("up"));
    let after = format!("{} graceful:INT ready sleep", told("after"));
    let entries = [("after", after.as_str(), "depends_on: [web]"), ("web", web.as_str(), keys)];
    let top = format!("ports: {{ web: {} }}", base());
    sandbox.repo_with(&[("devrun.yaml", &configuration(&top, &entries))]);
    let mut running = sandbox.devrun(&[]).start();
    crate::support::wait_for("the process to wait", crate::support::LIMIT, || {
        std::fs::read_to_string(&log).map_err(|error| format!("{error}: {}", running.stderr()))
    });
    assert!(!running.stdout().contains("Ready in"), "{}", running.stdout());
    sandbox.write(&go, "");
    running.expect_line("^after .*ready");
    running.expect_line("^  Ready in ");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "waiting\nup\nafter\n");
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code, Some(130));
}

#[test]
fn tcp_probe_waits_for_the_port() {
    in_order("GO UP listen:PORT sleep", "port: web, ready: { tcp: true }");
}

#[test]
fn log_probe_waits_for_the_line() {
    in_order(
        "say:listening_on_nothing GO UP say:listening_on_42 sleep",
        r"ready: { log: 'listening_on_\d+$' }",
    );
}

#[test]
fn log_probe_matches_an_unfinished_line() {
    in_order("GO UP partial:up>_ sleep", "ready: { log: '^up>' }");
}

#[test]
fn exec_probe_waits_for_the_command() {
    in_order("GO UP touch:up sleep", "ready: { exec: test -e up, interval: 20ms }");
}

#[test]
fn log_probe_sees_the_first_line() {
    let names: Vec<String> = (0..16).map(|number| format!("p{number:02}")).collect();
    let entries: Vec<_> = names
        .iter()
        .map(|name| {
            (name.as_str(), "$ echo up; exec devrun-fixture graceful:INT sleep", "ready: { log: ^up$ }")
        })
        .collect();
    let sandbox = world(&entries);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line("^  Ready in ");
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code, Some(130));
}

#[test]
fn each_start_has_a_new_deadline() {
    // The third start becomes ready about 3 s after the first one, whose deadline was 2.5 s.
    let run = "$ echo x >> starts; case $(wc -l < starts) in \
               3) exec devrun-fixture sleep:900 say:up ready sleep;; *) exec devrun-fixture sleep:900 exit:1;; esac";
    let sandbox = world(&[("web", run, "restart: on-failure, ready: { log: ^up$, deadline: 2500ms }")]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line("^  Ready in ");
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code, Some(130));
}

#[test]
fn dependencies_wait_for_their_condition() {
    let sandbox = Sandbox::new();
    let (go, log) = (sandbox.path().join("go"), sandbox.path().join("log"));
    let told = |word: &str| format!("append:{}:{word}", log.display());
    let one_shot = format!("{} await-file:{} {}", told("migrating"), go.display(), told("migrated"));
    let (early, late) = (format!("{} sleep", told("early")), format!("{} ready sleep", told("late")));
    let entries = [
        ("late", late.as_str(), "depends_on: { migrate: completed, early: started }"),
        ("early", &early, "depends_on: { migrate: started }"),
        ("migrate", &one_shot, ""),
    ];
    sandbox.repo_with(&[("devrun.yaml", &configuration("", &entries))]);
    let mut running = sandbox.devrun(&[]).start();
    let read = |wanted: usize| {
        crate::support::wait_for("the log", crate::support::LIMIT, || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if text.lines().count() >= wanted { Ok(text) } else { Err(text) }
        })
    };
    let first = read(2);
    assert!(first.contains("early") && first.contains("migrating"), "{first}");
    sandbox.write(&go, "");
    running.expect_line(r"^late .*ready");
    assert!(read(4).ends_with("migrated\nlate\n"));
    running.expect_line("^  Ready in ");
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code, Some(130));
}

#[test]
fn failed_job_ends_the_run_before_its_dependents_start() {
    let sandbox = world(&[
        ("web", "say:started sleep", "depends_on: { migrate: completed }"),
        ("migrate", "exit:6", ""),
        ("api", "sleep", ""),
    ]);
    let ended = sandbox.devrun(&[]).run();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(6), "{ended}");
    assert!(lines_of(&ended.stdout, "web").is_empty(), "{ended}");
}

#[test]
fn autostart_false_starts_as_a_dependency() {
    let sandbox = world(&[
        ("web", "ready sleep", "depends_on: [api]"),
        ("api", "ready sleep", "autostart: false"),
        ("tool", "say:started sleep", "autostart: false"),
    ]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_lines(r"\| ready", 2);
    running.expect_line("^  Ready in ");
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{ended}");
    assert!(lines_of(&ended.stdout, "tool").is_empty(), "{ended}");
}

#[test]
fn hanging_exec_probe_is_killed_with_its_children() {
    let hanging =
        "exec: [devrun-fixture, 'child[', setsid, sleep, ']', sleep], timeout: 100ms, deadline: 500ms";
    let sandbox = world(&[("web", "sleep", &format!("ready: {{ {hanging} }}"))]);
    let ended = sandbox.devrun(&[]).run();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(86), "{ended}");
    assert!(Path::new(env!("CARGO_BIN_EXE_devrun")).exists());
}
