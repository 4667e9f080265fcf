//! Connections of Node programs to a port that the repository's code names.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

use nix::sys::signal::Signal;

use super::{assert_nothing_runs, base, lines_of};
use crate::support::Sandbox;

/// A program that connects to the port in the code in every way that Node supports, and prints the answers.
const ASKS: &str = "
const port = Number(process.argv[2]);
const http = require('http');
const net = require('net');
const { Worker } = require('worker_threads');
const get = (options) => new Promise((done) => {
  http.get(options, (response) => { let text = ''; response.on('data', (more) => (text += more)); response.on('end', () => done(text)); })
    .on('error', (error) => done(error.code));
});
const raw = (connect) => new Promise((done) => {
  const socket = connect(() => socket.end('GET /name HTTP/1.0\\r\\n\\r\\n'));
  let text = '';
  socket.on('data', (more) => (text += more)).on('end', () => done(text.split('\\r\\n\\r\\n')[1])).on('error', (e) => done(e.code));
});
const inWorker = () => new Promise((done) => {
  const code = `fetch('http://localhost:${port}/name').then((r) => r.text()).then((t) => require('worker_threads').parentPort.postMessage(t))`;
  new Worker(code, { eval: true }).on('message', done).on('error', (e) => done(e.message));
});
(async () => {
  console.log('get', await get(`http://127.0.0.1:${port}/name`));
  console.log('agent', await get({ port, path: '/name', agent: new http.Agent({ keepAlive: false }) }));
  console.log('fetch', await (await fetch(`http://localhost:${port}/name`)).text());
  console.log('connect', await raw((then) => net.connect(port, 'localhost', then)));
  console.log('options', await raw((then) => net.createConnection({ port, host: '127.0.0.1' }, then)));
  console.log('worker', await inWorker());
  console.log('done');
  setInterval(() => {}, 1000);
})();
";

/// A server that answers with its name on `$PORT`.
const API: &str = "require('http').createServer((request, response) => response.end('this worktree')).listen(process.env.PORT, '127.0.0.1');";

/// Starts a server of the shared copy, which answers `shared copy` to every connection. Returns its port.
fn shared_copy() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream
                .write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\nshared copy");
        }
    });
    port
}

fn asks(shared: u16, keys: &str) -> Vec<String> {
    let sandbox = Sandbox::new();
    let text = format!(
        "ports: {{ api: {} }}\nredirects: {{ {shared}: api }}\nprocesses:\n  \
         api: {{ run: [node, api.js], port: api, ready: {{ tcp: true }} }}\n  \
         web: {{ run: [node, asks.js, '{shared}'], depends_on: [api]{keys} }}\n",
        base()
    );
    sandbox.repo_with(&[("devrun.yaml", &text), ("asks.js", ASKS), ("api.js", API)]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(r"^web \| done");
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    lines_of(&ended.stdout, "web").into_iter().map(String::from).collect()
}

const WAYS: [&str; 6] = ["get", "agent", "fetch", "connect", "options", "worker"];

#[test]
fn every_kind_of_node_connection_is_redirected() {
    let lines = asks(shared_copy(), "");
    let wanted = WAYS.map(|way| format!("{way} this worktree"));
    assert_eq!(lines[..6], wanted);
}

#[test]
fn a_process_without_preload_reaches_the_port_in_the_code() {
    let lines = asks(shared_copy(), ", node_preload: false");
    let wanted = WAYS.map(|way| format!("{way} shared copy"));
    assert_eq!(lines[..6], wanted);
}

#[test]
fn plan_shows_each_redirect() {
    let sandbox = Sandbox::new();
    let text =
        format!("ports: {{ api: {} }}\nredirects: {{ 8000: api }}\nprocesses: {{ api: sleep 1 }}\n", base());
    sandbox.repo_with(&[("devrun.yaml", &text)]);
    let ended = sandbox.devrun(&["plan", "--json"]).run();
    let plan: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(plan["redirects"]["8000"], plan["ports"]["api"], "{ended}");
    let shown = sandbox.devrun(&["plan"]).run();
    let wanted = format!("connections of Node to port 8000 go to {}", plan["ports"]["api"]);
    assert!(shown.stdout.contains(&wanted), "{shown}");
}
