//! Asking devrun and reading its answers; configurations whose ports no other test has.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Ended, Invocation, LIMIT, Running, Sandbox, wait_for};

/// Tests run at the same time share the machine's ports: each takes a hundred of its own, below the ephemeral ones,
/// from a place that differs between runs.
pub(crate) fn base() -> u16 {
    const FIRST: u16 = 11_000;
    const COUNT: u16 = 210;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let shift = u16::try_from(std::process::id().wrapping_mul(31) % u32::from(COUNT)).unwrap();
    FIRST + (shift + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT * 100
}

/// A devrun.yaml with one process, `web`, that runs `command` in a shell and has the port of its name.
pub(crate) fn solo(base: u16, command: &str) -> String {
    let command = Value::from(command);
    format!("ports: {{ web: {base} }}\nprocesses:\n  web:\n    run: {command}\n    port: web\n")
}

/// A devrun.yaml whose process serves its port until it is stopped; it says `serving` first.
pub(crate) fn server(base: u16) -> String {
    solo(base, "exec devrun-fixture listen:PORT say:serving sleep")
}

/// devrun in `folder`.
pub(crate) fn devrun(sandbox: &Sandbox, folder: &Path, args: &[&str]) -> Invocation {
    sandbox.devrun(args).directory(folder)
}

/// Runs to its end, which must be success.
#[track_caller]
pub(crate) fn fine(invocation: Invocation) -> Ended {
    let ended = invocation.run();
    assert_eq!(ended.code, Some(0), "{ended}");
    ended
}

/// The one JSON document on standard output.
#[track_caller]
pub(crate) fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended}"))
}

/// What `devrun VERB --json` answers in `folder`.
#[track_caller]
pub(crate) fn answer(sandbox: &Sandbox, folder: &Path, verb: &str) -> Value {
    json(&fine(devrun(sandbox, folder, &[verb, "--json"])))
}

/// The error that `devrun ARGS --json` ends with in `folder`: its JSON, after a look at its shape and the exit code.
#[track_caller]
pub(crate) fn refusal(invocation: Invocation, code: &str, exit: i32) -> Value {
    let ended = invocation.run();
    assert_eq!(ended.code, Some(exit), "{ended}");
    let error = json(&ended)["error"].clone();
    assert_eq!(error["code"], code, "{ended}");
    assert_eq!(error["exit"], exit, "{ended}");
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{ended}");
    let known = ["code", "message", "fault", "cause", "holder", "fix", "exit"];
    let fields = error.as_object().unwrap();
    assert!(fields.keys().all(|field| known.contains(&field.as_str())), "{ended}");
    error
}

/// The number of port `name` in an answer of `ports` or `plan`.
#[track_caller]
pub(crate) fn port(answer: &Value, name: &str) -> u16 {
    let number = answer["ports"][name].as_u64().unwrap_or_else(|| panic!("no port {name}: {answer:#}"));
    u16::try_from(number).unwrap()
}

/// Lines that process `name` of a run printed.
pub(crate) fn lines_of(name: &str, stdout: &str) -> Vec<String> {
    let of_it = |line: &str| {
        let (who, said) = line.split_once(" | ")?;
        (who.trim_end() == name).then(|| said.to_string())
    };
    stdout.lines().filter_map(of_it).collect()
}

/// Starts a configuration of [`server`] and waits until it serves.
#[track_caller]
pub(crate) fn serve(invocation: Invocation) -> Running {
    let mut running = invocation.start();
    running.expect_line(r"^web \| serving$");
    running
}

/// Ctrl-C; waits for the end.
#[track_caller]
pub(crate) fn interrupt(running: Running) -> Ended {
    running.signal_group(Signal::SIGINT);
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{ended}");
    ended
}

/// What a fixture on `port` says to `GET path`.
#[track_caller]
pub(crate) fn get(port: u16, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.rsplit("\r\n\r\n").next().unwrap().trim().to_string()
}

/// A listener of this very process on `address`, once whoever had it before is gone.
#[track_caller]
pub(crate) fn listen(address: &str, port: u16) -> TcpListener {
    wait_for(&format!("port {port}"), LIMIT, || {
        TcpListener::bind((address, port)).map_err(|error| error.to_string())
    })
}

/// Says that a test, or a part of it, cannot be done here: past the harness, which hides what a test prints that passes.
pub(crate) fn skip(why: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_string();
    std::io::stderr().write_all(format!("SKIPPED: {name}: {why}\n").as_bytes()).unwrap();
}
