//! Helpers that run devrun and parse its answers, and configurations with ports that no other test uses.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::neon::postgres;
use crate::support::{Ended, Invocation, LIMIT, Running, Sandbox, wait_for};

/// Returns a base port for a test. Concurrent tests share the machine's ports, so each gets a separate range of a hundred,
/// below the ephemeral ports, from a start that differs between runs.
pub(crate) fn base() -> u16 {
    const FIRST: u16 = 11_000;
    const COUNT: u16 = 210;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let shift = u16::try_from(std::process::id().wrapping_mul(31) % u32::from(COUNT)).unwrap();
    FIRST + (shift + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT * 100
}

/// Returns a devrun.yaml with one process `web`, which runs `command` in a shell and has the port `web`.
pub(crate) fn solo(base: u16, command: &str) -> String {
    let command = Value::from(command);
    format!("ports: {{ web: {base} }}\nprocesses:\n  web:\n    run: {command}\n    port: web\n")
}

/// Returns a devrun.yaml whose process prints `serving` and then serves its port until it is stopped.
pub(crate) fn server(base: u16) -> String {
    solo(base, "exec devrun-fixture listen:PORT say:serving sleep")
}

/// Returns a call of devrun in `folder`.
pub(crate) fn devrun(sandbox: &Sandbox, folder: &Path, args: &[&str]) -> Invocation {
    sandbox.devrun(args).directory(folder)
}

/// Runs a program until it exits. Panics if it fails.
#[track_caller]
pub(crate) fn fine(invocation: Invocation) -> Ended {
    let ended = invocation.run();
    assert_eq!(ended.code, Some(0), "{ended}");
    ended
}

/// Parses the JSON document on standard output.
#[track_caller]
pub(crate) fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended}"))
}

/// Returns the answer of `devrun VERB --json` in `folder`.
#[track_caller]
pub(crate) fn answer(sandbox: &Sandbox, folder: &Path, verb: &str) -> Value {
    json(&fine(devrun(sandbox, folder, &[verb, "--json"])))
}

/// Returns the JSON error of a call with `--json`. Panics unless its form, code and exit status are as expected.
#[track_caller]
pub(crate) fn refusal(invocation: Invocation, code: &str, exit: i32) -> Value {
    let ended = invocation.run();
    assert_eq!(ended.code, Some(exit), "{ended}");
    let error = json(&ended)["error"].clone();
    assert_eq!(error["code"], code, "{ended}");
    assert_eq!(error["exit"], exit, "{ended}");
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{ended}");
    let known = ["code", "message", "fault", "cause", "correct", "holder", "fix", "process", "exit"];
    let fields = error.as_object().unwrap();
    assert!(fields.keys().all(|field| known.contains(&field.as_str())), "{ended}");
    error
}

/// Puts a script in front of git, and returns the PATH on which programs find it. `script` sees git's arguments and may exit.
pub(crate) fn path_with_git(sandbox: &Sandbox, script: &str) -> String {
    let git = which::which("git").unwrap();
    let folder = sandbox.path().join("git-in-front");
    let text = format!("#!/bin/sh\n{script}\nexec {} \"$@\"\n", git.display());
    sandbox.write(&folder.join("git"), &text);
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(folder.join("git"), mode).unwrap();
    let path = fine(sandbox.program("/bin/sh", &["-c", "printf %s \"$PATH\""])).stdout;
    format!("{}:{path}", folder.display())
}

/// Returns the number of port `name` in an answer of `ports` or `plan`.
#[track_caller]
pub(crate) fn port(answer: &Value, name: &str) -> u16 {
    let number = answer["ports"][name].as_u64().unwrap_or_else(|| panic!("no port {name}: {answer:#}"));
    u16::try_from(number).unwrap()
}

/// Returns the lines that process `name` printed.
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

/// Presses Ctrl-C and waits for the exit.
#[track_caller]
pub(crate) fn interrupt(running: Running) -> Ended {
    running.signal_group(Signal::SIGINT);
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{ended}");
    ended
}

/// Returns the answer of a fixture on `port` to `GET path`.
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

/// Listens on `address` in the test's process, after waiting until the address is free.
#[track_caller]
pub(crate) fn listen(address: &str, port: u16) -> TcpListener {
    wait_for(&format!("port {port}"), LIMIT, || {
        TcpListener::bind((address, port)).map_err(|error| error.to_string())
    })
}

/// Reports that a test, or a part of it, is skipped. Writes to standard error directly, because the harness hides the output
/// of a test that passes.
pub(crate) fn skip(why: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_string();
    std::io::stderr().write_all(format!("SKIPPED: {name}: {why}\n").as_bytes()).unwrap();
}

/// Reports that a test is skipped because one of `tools` is missing. Panics if `DEVRUN_TEST_REQUIRE` names one of them, as
/// `scripts/test` does in CI, where they can be installed.
pub(crate) fn skip_without(tools: &[&str]) {
    let why = format!("there is no {}", tools.join(" or no "));
    let required = std::env::var("DEVRUN_TEST_REQUIRE").unwrap_or_default();
    let is_required = required.split_whitespace().any(|name| tools.contains(&name));
    assert!(!is_required, "{why}, and DEVRUN_TEST_REQUIRE is {required}");
    skip(&why);
}

/// Returns the folder with the programs of a Postgres server. Without one, reports that the test is skipped.
pub(crate) fn postgres_or_skip() -> Option<PathBuf> {
    let found = postgres::binaries();
    if found.is_none() {
        skip_without(&["postgres"]);
    }
    found
}
