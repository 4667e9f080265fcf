//! Ports: handed over while listening, kept over restarts, never shared with a stranger.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use nix::sys::signal::Signal;

use super::{assert_nothing_runs, base, configuration, get, world_with};
use crate::support::{Running, Sandbox};

/// The port that a process told by `env:PORT`.
fn port_of(running: &mut Running) -> u16 {
    running.expect_line(r"\| env PORT=\d+").rsplit('=').next().unwrap().parse().unwrap()
}

/// The port that the worktree has leased, before anything runs.
fn leased(sandbox: &Sandbox, name: &str) -> u16 {
    let ended = sandbox.devrun(&["ports", "--json"]).run();
    let ports: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let found =
        ports.pointer(&format!("/ports/{name}")).or(ports.get(name)).unwrap_or_else(|| panic!("{ended}"));
    u16::try_from(found.as_u64().unwrap()).unwrap()
}

#[test]
fn a_client_that_comes_before_the_process_is_served_by_it() {
    let sandbox = Sandbox::new();
    let go = sandbox.path().join("go");
    let first = format!("env:PORT await-file:{}", go.display());
    let entries = [
        ("gate", format!("{first} exit:0"), "port: other".to_string()),
        ("api", "listen-fd:API_FD ready sleep".into(), "listen: api, depends_on: { gate: completed }".into()),
    ];
    let entries: Vec<_> =
        entries.iter().map(|(name, run, keys)| (*name, run.as_str(), keys.as_str())).collect();
    let top = format!("ports: {{ api: {}, other: {} }}", base(), base());
    sandbox.repo_with(&[("devrun.yaml", &configuration(&top, &entries))]);
    let port = leased(&sandbox, "api");
    let mut running = sandbox.devrun(&[]).start();
    port_of(&mut running);
    let client = std::thread::spawn(move || get(port, "/pid").unwrap());
    // It is connected: the system took the connection although nobody accepts.
    crate::support::wait_for("the connection", crate::support::LIMIT, || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let waits = format!("0100007F:{port:04X} 0100007F:");
        let found = table.lines().any(|line| line.contains(&waits) && line.contains(" 01 "));
        if found { Ok(()) } else { Err("no connection".into()) }
    });
    sandbox.write(&go, "");
    let pid = super::pid_in(&running.expect_line(r"^api .*\| ready"));
    assert_eq!(client.join().unwrap(), pid.to_string());
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code, Some(130));
}

#[test]
fn no_client_is_refused_while_a_process_is_started_again() {
    let top = format!("ports: {{ api: {} }}", base());
    let keys = "listen: api, ready: { http: /pid }, restart: on-failure, max_restarts: 100";
    let sandbox = world_with(&top, &[("api", "env:PORT listen-fd:API_FD sleep", keys)]);
    let mut running = sandbox.devrun(&[]).start();
    let port = port_of(&mut running);
    running.expect_line("^  Ready in ");
    let mut pids = std::collections::BTreeSet::new();
    for start in 1..=3 {
        pids.insert(get(port, "/pid").unwrap());
        // It answers and ends; the next client comes while nobody is there.
        get(port, "/exit/1").unwrap();
        running.expect_line(&format!("^restart: api ended with exit code 1; start {start} again"));
    }
    pids.insert(get(port, "/pid").unwrap());
    assert_eq!(pids.len(), 4, "{pids:?}");
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(130), "{ended}");
    // Free at once: nobody holds it any more.
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
}

/// `web` waits for a file before it binds its port (or never does); meanwhile we bind `address`.
fn stolen(address: std::net::IpAddr, then: &str) {
    let sandbox = Sandbox::new();
    let go = sandbox.path().join("go");
    let run = format!("env:PORT await-file:{} {then} sleep", go.display());
    let top = format!("ports: {{ web: {} }}", base());
    let text = configuration(&top, &[("web", &run, "port: web, ready: { tcp: true }"), ("api", "sleep", "")]);
    sandbox.repo_with(&[("devrun.yaml", &text)]);
    let mut running = sandbox.devrun(&[]).start();
    let port = port_of(&mut running);
    let _stranger = TcpListener::bind((address, port)).unwrap();
    sandbox.write(&go, "");
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(82), "{ended}");
    assert!(!ended.stdout.contains("Ready in"), "{ended}");
    for part in ["[port-stolen]", &format!("port {port} "), &format!("(pid {})", std::process::id())] {
        assert!(ended.stderr.contains(part), "no {part}: {ended}");
    }
}

#[test]
fn a_stranger_on_the_other_loopback_is_never_taken_for_ready() {
    stolen(Ipv6Addr::LOCALHOST.into(), "listen:PORT");
}

#[test]
fn a_stranger_in_place_of_the_process_is_never_taken_for_ready() {
    stolen(Ipv4Addr::LOCALHOST.into(), "");
}

#[test]
fn a_busy_port_is_left_to_its_holder_unless_that_is_forbidden() {
    let top = format!("ports: {{ web: {} }}", base());
    let sandbox =
        world_with(&top, &[("web", "env:PORT listen:PORT ready sleep", "port: web, ready: { tcp: true }")]);
    let port = leased(&sandbox, "web");
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let strict = sandbox.devrun(&["--strict-ports"]).run();
    assert_eq!(strict.code, Some(82), "{strict}");
    for part in ["[port-busy]", &port.to_string(), &format!("(pid {})", std::process::id())] {
        assert!(strict.stderr.contains(part), "no {part}: {strict}");
    }
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(&format!("^note: .*{port}"));
    let moved = port_of(&mut running);
    assert_ne!(moved, port);
    running.expect_line("^  Ready in ");
    drop(stranger);
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code, Some(130));
}
