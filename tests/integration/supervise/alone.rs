//! One supervisor per worktree, and stopping it from another terminal.

use std::net::{Ipv4Addr, TcpListener};

use nix::sys::signal::Signal;

use super::{assert_nothing_runs, base, world, world_with};
use crate::support::kill_both;

#[test]
fn second_start_reports_the_running_stack() {
    let top = format!("ports: {{ web: {} }}", base());
    let sandbox = world_with(&top, &[("web", "listen:PORT ready sleep", "port: web, ready: { http: / }")]);
    let mut running = sandbox.devrun(&[]).start();
    let url = running.expect_line("^  Web ").split_whitespace().nth(1).unwrap().to_string();
    let before = sandbox.processes();
    let second = sandbox.devrun(&[]).run();
    assert_eq!(second.code, Some(0), "{second}");
    for part in ["Already running", &sandbox.main().display().to_string(), &url, &running.pid().to_string()] {
        assert!(second.stdout.contains(part), "no {part}: {second}");
    }
    assert_eq!(sandbox.processes(), before);
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code, Some(130));
}

#[test]
fn only_one_of_ten_concurrent_starts_runs() {
    let sandbox = world(&[("web", "append:starts:x ready sleep", "")]);
    let mut all: Vec<_> = (0..10).map(|_| sandbox.devrun(&[]).start()).collect();
    let limit = crate::support::LIMIT;
    crate::support::wait_for("nine to leave", limit, || {
        let over = all.iter_mut().filter_map(|running| running.has_ended().then_some(())).count();
        if over == 9 { Ok(()) } else { Err(format!("{over} have left")) }
    });
    let stays = all.iter_mut().position(|running| !running.has_ended()).unwrap();
    let mut one = all.swap_remove(stays);
    one.expect_line(r"\| ready");
    for other in all {
        let ended = other.wait();
        assert_eq!(ended.code, Some(0), "{ended}");
        assert!(ended.stdout.contains(&format!("(pid {})", one.pid())), "{ended}");
    }
    assert_eq!(std::fs::read_to_string(sandbox.main().join("starts")).unwrap(), "x\n");
    one.signal(Signal::SIGINT);
    assert_eq!(one.wait().code, Some(130));
}

#[test]
fn down_returns_when_processes_have_exited_and_ports_are_free() {
    let (web, api) = (base(), base());
    let top = format!("ports: {{ web: {web}, api: {api} }}");
    let run =
        "graceful:INT:200 env:PORT listen:PORT ready child[ setsid mute ignore:INT,TERM,HUP sleep ] sleep";
    let sandbox = world_with(
        &top,
        &[
            ("web", run, "port: web, ready: { tcp: true }, stop_grace: 500ms"),
            ("api", "env:PORT listen-fd:API_FD ready sleep", "listen: api"),
        ],
    );
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line("^  Ready in ");
    let ports = running.expect_lines(r"\| env PORT=", 2);
    let down = sandbox.devrun(&["down"]).run();
    assert_nothing_runs(&sandbox);
    assert_eq!((down.code, down.stdout.as_str()), (Some(0), "Stopped.\n"), "{down}");
    for line in ports {
        let port: u16 = line.rsplit('=').next().unwrap().parse().unwrap();
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
    assert_eq!(running.wait().code, Some(143));
}

#[test]
fn down_with_nothing_running_says_so() {
    let sandbox = world(&[("web", "sleep", "")]);
    let ended = sandbox.devrun(&["down"]).run();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "Nothing runs in this worktree.\n"), "{ended}");
    let json = sandbox.devrun(&["down", "--json"]).run();
    let answer: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(answer, serde_json::json!({ "stopped": false, "leftovers": 0, "killed": [] }));
}

#[test]
fn down_stops_only_its_worktree() {
    let sandbox = world(&[("web", "ready sleep", "")]);
    let other = sandbox.worktree("feature", "feature/x");
    let mut here = sandbox.devrun(&[]).start();
    let mut there = sandbox.devrun(&["-C", other.to_str().unwrap()]).start();
    here.expect_line(r"\| ready");
    there.expect_line(r"\| ready");
    let down = sandbox.devrun(&["-C", other.to_str().unwrap(), "down"]).run();
    assert_eq!(down.stdout, "Stopped.\n", "{down}");
    assert_eq!(there.wait().code, Some(143));
    assert!(!here.has_ended());
    here.signal(Signal::SIGINT);
    assert_eq!(here.wait().code, Some(130));
}

#[test]
fn stale_record_does_not_mislead_later_starts() {
    let sandbox = world(&[("web", "ready sleep", "")]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(r"\| ready");
    let first = running.pid();
    kill_both(running.pid());
    running.wait();
    // The old record names a dead process. Starts that come at once must find each other instead.
    let mut all: Vec<_> = (0..6).map(|_| sandbox.devrun(&[]).start()).collect();
    let stays = crate::support::wait_for("all but one to leave", crate::support::LIMIT, || {
        let left: Vec<usize> = (0..6).filter(|index| !all[*index].has_ended()).collect();
        if let [one] = left[..] { Ok(one) } else { Err(format!("{left:?} run")) }
    });
    let mut one = all.swap_remove(stays);
    one.expect_line(r"\| ready");
    for other in all {
        let ended = other.wait();
        assert!(ended.stdout.contains(&format!("(pid {})", one.pid())), "{ended}");
        assert!(!ended.stdout.contains(&format!("(pid {first})")), "{ended}");
    }
    assert_eq!(sandbox.devrun(&["down"]).run().stdout, "Stopped.\n");
    assert_eq!(one.wait().code, Some(143));
    assert_nothing_runs(&sandbox);
}

#[test]
fn down_stops_a_starting_stack() {
    let sandbox = world(&[("web", "ready sleep", "")]);
    for _ in 0..5 {
        let running = sandbox.devrun(&[]).start();
        crate::support::wait_for("the lock", crate::support::LIMIT, || {
            let held = std::fs::read_to_string("/proc/locks").unwrap();
            let worker =
                devrun::testing::os::proc::table().into_iter().find(|entry| entry.parent == running.pid());
            let worker = worker.ok_or("no supervisor")?;
            if held.contains(&format!(" {} ", worker.pid)) { Ok(()) } else { Err("not yet".into()) }
        });
        let down = sandbox.devrun(&["down"]).run();
        assert_eq!((down.code, down.stdout.as_str()), (Some(0), "Stopped.\n"), "{down}");
        assert_nothing_runs(&sandbox);
        assert_eq!(running.wait().code, Some(143));
    }
}

#[test]
fn start_waits_for_a_stopping_run() {
    let sandbox = world(&[("web", "report:INT append:starts:x ready sleep", "stop_grace: 700ms")]);
    let mut first = sandbox.devrun(&[]).start();
    first.expect_line(r"\| ready");
    first.signal(Signal::SIGINT);
    first.expect_line(r"\| got INT");
    let mut second = sandbox.devrun(&[]).start();
    second.expect_line(r"\| ready");
    assert_eq!(first.wait().code, Some(130));
    assert!(second.stderr().contains("is stopping: waiting for its end"), "{}", second.stderr());
    assert_eq!(std::fs::read_to_string(sandbox.main().join("starts")).unwrap(), "x\nx\n");
    second.signal(Signal::SIGINT);
    assert_eq!(second.wait().code, Some(130));
}
