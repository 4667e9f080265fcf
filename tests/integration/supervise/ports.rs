//! Ports: inherited sockets listen from the start, stay open over restarts, and other processes never share a port.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use nix::sys::signal::Signal;

use super::{assert_nothing_runs, base, configuration, get, world_with};
use crate::support::{Running, Sandbox};

/// Returns the port that a process printed with `env:PORT`.
fn port_of(running: &mut Running) -> u16 {
    running.expect_line(r"\| env PORT=\d+").rsplit('=').next().unwrap().parse().unwrap()
}

/// Leases and returns a port of the worktree before anything runs.
fn leased(sandbox: &Sandbox, name: &str) -> u16 {
    let ended = sandbox.devrun(&["ports", "--json"]).run();
    let ports: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let found =
        ports.pointer(&format!("/ports/{name}")).or(ports.get(name)).unwrap_or_else(|| panic!("{ended}"));
    u16::try_from(found.as_u64().unwrap()).unwrap()
}

#[test]
fn early_client_is_served() {
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
    // The kernel accepts the connection although no process does yet.
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
fn no_client_is_refused_during_a_restart() {
    let top = format!("ports: {{ api: {} }}", base());
    let keys = "listen: api, ready: { http: /pid }, restart: on-failure, max_restarts: 100";
    let sandbox = world_with(&top, &[("api", "env:PORT listen-fd:API_FD sleep", keys)]);
    let mut running = sandbox.devrun(&[]).start();
    let port = port_of(&mut running);
    running.expect_line("^  Ready in ");
    let mut pids = Vec::new();
    for start in 1..=3 {
        pids.push(get(port, "/pid").unwrap());
        // The process answers and exits; the next client connects before the restart.
        get(port, "/exit/1").unwrap();
        running.expect_line(&format!("^restart: api ended with exit code 1; restart {start} in"));
    }
    pids.push(get(port, "/pid").unwrap());
    assert!(pids.windows(2).all(|pair| pair[0] != pair[1]), "{pids:?}");
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(130), "{ended}");
    // No process holds the port any more.
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
}

/// Binds `address` while `web` waits for a file. Then `web` executes `then`, which may bind its port, and the run must fail.
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
    for part in ["[port-stolen]", &format!("port {port} "), &own_pid()] {
        assert!(ended.stderr.contains(part), "no {part}: {ended}");
    }
}

/// Returns this program's pid as messages write it.
fn own_pid() -> String {
    format!("(pid {})", std::process::id())
}

#[test]
fn stolen_second_loopback_address_fails_the_run() {
    stolen(Ipv6Addr::LOCALHOST.into(), "listen:PORT");
}

#[test]
fn stolen_port_fails_the_run() {
    stolen(Ipv4Addr::LOCALHOST.into(), "");
}

#[test]
fn busy_port_moves_the_stack_unless_strict() {
    let top = format!("ports: {{ web: {} }}", base());
    let sandbox =
        world_with(&top, &[("web", "env:PORT listen:PORT ready sleep", "port: web, ready: { tcp: true }")]);
    let port = leased(&sandbox, "web");
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let strict = sandbox.devrun(&["--strict-ports"]).run();
    assert_eq!(strict.code, Some(82), "{strict}");
    for part in ["[port-busy]", &port.to_string(), &own_pid()] {
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

/// Starts a stack in the background with one process that listens on another port than its own. Returns the result of the start and
/// that port.
fn on_another_port(ready: &str) -> (crate::support::Sandbox, crate::support::Ended, u16) {
    let (base, other) = (base(), base());
    let run = format!("listen:{other} say:up sleep");
    let sandbox =
        world_with(&format!("ports: {{ web: {base} }}"), &[("web", &run, &format!("port: web{ready}"))]);
    let up = sandbox.devrun(&["up", "-d"]).run();
    (sandbox, up, other)
}

#[test]
fn server_on_another_port_is_not_ready() {
    for ready in ["", ", ready: { log: up }"] {
        let (sandbox, up, port) = on_another_port(ready);
        assert_eq!(up.code, Some(86), "{up}");
        let said = format!("it listens on 127.0.0.1:{port} and not on its port ");
        assert!(up.stderr.contains(&said), "{up}");
        for verb in ["status", "why"] {
            let shown = sandbox.devrun(&[verb]).run();
            assert!(shown.stdout.contains(&said) && !shown.stdout.contains("all is well"), "{shown}");
        }
        let why = sandbox.devrun(&["why"]).run();
        assert!(why.stdout.contains("fix: let it listen on the port in the variable PORT"), "{why}");
        assert!(up.stderr.contains("fix: let it listen on the port in the variable PORT"), "{up}");
        assert_eq!(sandbox.devrun(&["down"]).run().code, Some(0));
        assert_nothing_runs(&sandbox);
    }
}

#[test]
fn failed_probe_names_the_other_port() {
    let (sandbox, up, port) = on_another_port(", ready: { http: /, deadline: 1s }");
    assert_eq!(up.code, Some(86), "{up}");
    let said = format!("it listens on 127.0.0.1:{port} and not on its port ");
    assert!(up.stderr.contains(&said) && !up.stderr.contains("deadline:"), "{up}");
    let why = sandbox.devrun(&["why"]).run();
    assert!(why.stdout.contains(&said) && why.stdout.contains("fix: let it listen on the port"), "{why}");
    assert_nothing_runs(&sandbox);
}

#[test]
fn server_whose_fixed_port_is_in_use_names_the_port_and_its_holder() {
    let (base, other) = (base(), base());
    let _held = std::net::TcpListener::bind(("127.0.0.1", other)).unwrap();
    let run = format!("'say:Error:_listen_EADDRINUSE:_address_already_in_use_:::{other}' exit:1");
    let run = run.replace('_', " ");
    let config = serde_json::json!({
        "ports": { "web": base },
        "processes": { "web": { "run": format!("devrun-fixture {run}"), "port": "web" } }
    });
    let sandbox = crate::support::Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", &config.to_string())]);
    let up = sandbox.devrun(&["up", "-d"]).run();
    assert_eq!(up.code, Some(1), "{up}");
    let said = format!("port {other} is in use; its port in this worktree is ");
    for part in [&*said, "held by: ", "fix: let it listen on the port in the variable PORT"] {
        assert!(up.stderr.contains(part), "no {part}: {up}");
    }
    let why = sandbox.devrun(&["why"]).run();
    assert!(why.stdout.contains(&said) && !why.stdout.contains("devrun down"), "{why}");
    assert_nothing_runs(&sandbox);
}

#[test]
fn unused_socket_is_reported() {
    let (base, other) = (base(), base());
    let run = format!("listen:{other} sleep");
    let keys = "listen: web, ready: { http: /, timeout: 100ms, deadline: 1s }";
    let sandbox = world_with(&format!("ports: {{ web: {base} }}"), &[("web", &run, keys)]);
    let up = sandbox.devrun(&["up", "-d"]).run();
    assert_eq!(up.code, Some(86), "{up}");
    assert!(up.stderr.contains("by itself and does not take the socket of its port"), "{up}");
    assert_nothing_runs(&sandbox);
}
