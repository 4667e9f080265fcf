//! Inherited sockets: how processes learn of them, and that no client is ever refused.

use nix::sys::signal::Signal;

use super::{assert_nothing_runs, base, lines_of, pid_in, world_with};
use crate::support::Running;
use crate::support::pester::pester;

fn port_of(running: &mut Running) -> u16 {
    running.expect_line(r"\| env PORT=\d+").rsplit('=').next().unwrap().parse().unwrap()
}

#[test]
fn no_request_is_refused_across_twenty_restarts() {
    let top = format!("ports: {{ api: {} }}", base());
    let keys = "listen: api, ready: { http: /pid }";
    let sandbox = world_with(&top, &[("api", "env:PORT ready listen-fd:API_FD sleep", keys)]);
    let mut running = sandbox.devrun(&[]).start();
    let port = port_of(&mut running);
    running.expect_line("^  Ready in ");
    let (answered, refused) = pester(port, "/pid", 1000, || {
        for _ in 0..20 {
            let ended = sandbox.devrun(&["restart", "api"]).run();
            assert_eq!(ended.code, Some(0), "{ended}");
        }
    });
    assert_eq!(refused, 0, "after {answered}");
    assert!(answered >= 1000);
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    // Not the number of pids: the system uses one again after a while.
    let starts = lines_of(&ended.stdout, "api").into_iter().filter(|line| line.starts_with("ready"));
    assert_eq!(starts.count(), 21, "{ended}");
}

#[test]
fn sockets_are_announced_as_by_systemd() {
    let top = format!("ports: {{ my-api: {} }}", base());
    let told = "env:LISTEN_FDS env:LISTEN_FDNAMES env:MY_API_FD env:LISTEN_PID ready sleep";
    let shell = format!("$ true; exec devrun-fixture {told}");
    for run in [told, &shell] {
        let sandbox =
            world_with(&top, &[("api", run, "listen: my-api"), ("web", "env:LISTEN_PID ready sleep", "")]);
        // devrun removes the variables of an outer socket activation.
        let mut running = sandbox.devrun(&[]).env("LISTEN_PID", "1").env("LISTEN_FDS", "4").start();
        let pid = pid_in(&running.expect_line(r"^api \| ready"));
        running.expect_line(r"^web \| ready");
        running.signal(Signal::SIGINT);
        let ended = running.wait();
        let lines = lines_of(&ended.stdout, "api");
        let own = format!("env LISTEN_PID={pid}");
        let wanted = ["env LISTEN_FDS=1", "env LISTEN_FDNAMES=my-api", "env MY_API_FD=3", &own];
        assert_eq!(lines[..4], wanted, "{ended}");
        assert_eq!(lines_of(&ended.stdout, "web")[0], "env LISTEN_PID unset", "{ended}");
    }
}

/// A server like Next.js: a child of the started program listens, and first checks that the port is free. A child of the server
/// itself gets no socket.
const NODE: &str = "
const { fork, execFileSync } = require('child_process');
const [http, net] = [require('http'), require('net')];
const port = process.env.PORT;
if (!process.argv[2]) {
  fork(__filename, ['server'], { stdio: 'inherit' }).on('exit', (code) => process.exit(code));
} else {
  const probe = net.createServer();
  probe.on('error', (error) => { console.log('probe', error.code); process.exit(7); });
  probe.listen(port, () => {
    console.log('probe', probe.address().port == port);
    probe.close(() => {
      const server = http.createServer((request, response) => response.end(String(process.pid)));
      server.listen({ port, host: 'localhost' }, () => {
        console.log('serving', server.address().address, server.address().port == port);
        require('child_process').spawn('sh', ['-c', 'echo child ${DEVRUN_LISTEN-unset}; ls /proc/self/fd | wc -w'],
          { stdio: 'inherit' });
      });
    });
  });
}
";

fn node(keys: &str) -> crate::support::Sandbox {
    let top = format!("ports: {{ web: {} }}", base());
    let keys = format!("listen: web, {keys}");
    let text =
        super::configuration(&top, &[("web", "$ echo env PORT=$PORT; node server.js; exit $?", &keys)]);
    let sandbox = crate::support::Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", &text), ("server.js", NODE)]);
    sandbox
}

#[test]
fn node_server_in_a_grandchild_uses_the_socket() {
    let sandbox = node("ready: { http: / }");
    let invocation = sandbox.devrun(&[]).env("NODE_OPTIONS", "--no-warnings");
    let mut running = invocation.start();
    let port = port_of(&mut running);
    running.expect_line("^  Ready in ");
    let (answered, refused) = pester(port, "/pid", 200, || {
        for _ in 0..4 {
            let ended = sandbox.devrun(&["restart", "web"]).run();
            assert_eq!(ended.code, Some(0), "{ended}");
        }
    });
    assert_eq!(refused, 0, "after {answered}");
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    let lines = lines_of(&ended.stdout, "web");
    assert_eq!(lines[1..4], ["probe true", "serving 127.0.0.1 true", "child unset"], "{ended}");
    // Descriptors 0, 1, 2 and the folder that `ls` reads.
    assert_eq!(lines[4].trim(), "4", "{ended}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("serving")).count(), 5, "{ended}");
}

#[test]
fn node_preload_false_leaves_the_module_out() {
    let sandbox = node("node_preload: false");
    let ended = sandbox.devrun(&[]).run();
    assert_eq!(ended.code, Some(7), "{ended}");
    assert!(ended.stdout.contains("probe EADDRINUSE"), "{ended}");
}
