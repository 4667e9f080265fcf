//! How devrun starts, watches, prints and stops processes: the real program with misbehaving children.

#[path = "supervise/alone.rs"]
mod alone;
#[path = "supervise/ends.rs"]
mod ends;
#[path = "supervise/exits.rs"]
mod exits;
#[path = "supervise/groups.rs"]
pub(crate) mod groups;
#[path = "supervise/handed.rs"]
mod handed;
#[path = "supervise/output.rs"]
mod output;
#[path = "supervise/ports.rs"]
mod ports;
#[path = "supervise/readiness.rs"]
mod readiness;
#[path = "supervise/redirected.rs"]
mod redirected;
#[path = "supervise/removal.rs"]
mod removal;
#[path = "supervise/stopping.rs"]
mod stopping;
#[path = "supervise/streams.rs"]
mod streams;
#[path = "supervise/terminal.rs"]
pub(crate) mod terminal;

use std::fmt::Write;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use devrun::testing::os::proc;
use nix::unistd::Pid;
use regex::Regex;

use crate::asking::base;
use crate::support::{Running, Sandbox};

/// A process of a devrun.yaml: its name, its command, further keys in flow style.
/// A command that begins with `$ ` is a shell line, any other is a list of words for the fixture.
type Entry<'a> = (&'a str, &'a str, &'a str);

/// Makes a sandbox with a repository that has only these processes.
fn world(processes: &[Entry<'_>]) -> Sandbox {
    world_with("", processes)
}

/// Does the same with further top-level lines.
fn world_with(top: &str, processes: &[Entry<'_>]) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", &configuration(top, processes))]);
    sandbox
}

fn configuration(top: &str, processes: &[Entry<'_>]) -> String {
    let mut text = format!("{top}\nprocesses:\n");
    for (name, run, keys) in processes {
        let run = match run.strip_prefix("$ ") {
            Some(line) => serde_json::json!(line),
            None => {
                ["devrun-fixture"].into_iter().chain(run.split_whitespace()).collect::<Vec<&str>>().into()
            }
        };
        writeln!(text, "  {name}: {{ run: {run}, {keys} }}").unwrap();
    }
    text
}

/// Returns the pid of the supervisor, which is the only child of the process that was started.
fn supervisor(running: &Running) -> Pid {
    let children: Vec<_> = proc::table().into_iter().filter(|entry| entry.parent == running.pid()).collect();
    assert_eq!(children.len(), 1, "{children:?}");
    Pid::from_raw(children[0].pid.cast_signed())
}

/// Parses the pid in a line `… ready PID PGID SID`.
fn pid_in(line: &str) -> Pid {
    let found = Regex::new(r"ready (\d+) ").unwrap().captures(line).unwrap();
    Pid::from_raw(found[1].parse().unwrap())
}

#[track_caller]
fn assert_nothing_runs(sandbox: &Sandbox) {
    let left: Vec<String> = sandbox.processes().iter().map(ToString::to_string).collect();
    assert!(left.is_empty(), "still there:\n{}", left.join("\n"));
}

/// Returns the body of the answer to `GET path`.
fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    std::io::Write::write_all(
        &mut stream,
        format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.to_string()))
}

/// Returns the lines of process `name`, without their prefix.
fn lines_of<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines()
        .filter_map(|line| line.strip_prefix(name)?.trim_start_matches(' ').strip_prefix("| "))
        .collect()
}
