//! However a run ends, whatever its children do: nothing is left.

use std::io::{BufRead, BufReader, PipeReader, Read};

use nix::sys::signal::{Signal, kill};

use super::{assert_nothing_runs, kill_both, pid_in, supervisor, world};
use crate::support::{Running, Sandbox};

/// Children that are hard to end, each with the number of `ready` lines it says.
const SHAPES: [(&str, &str, usize); 8] = [
    ("plain", "ready sleep", 1),
    ("stubborn", "ignore:INT,TERM,HUP ready sleep", 1),
    ("session", "ready child[ setsid ignore:INT,TERM,HUP ready mute sleep ] sleep", 2),
    ("orphan", "ready child[ setsid child[ ignore:INT,TERM,HUP ready mute sleep ] ] sleep", 2),
    ("frozen", "ready sleep", 1),
    ("breeder", "ready child[ setsid ready mute breed:5 sleep ] sleep", 2),
    ("hopper", "ready child[ setsid mute hop:2 ] sleep", 1),
    ("holder", "graceful:INT,TERM,HUP ready child[ ignore:INT,TERM,HUP ready sleep ] sleep", 2),
];

/// One that has also thrown away what it could be recognised by. Only its parents betray it.
const NAMELESS: (&str, &str, usize) = (
    "nameless",
    "$ env -u DEVRUN_RUN -u DEVRUN_PROCESS setsid devrun-fixture ignore:INT,TERM,HUP ready mute sleep & \
     exec devrun-fixture ready sleep",
    2,
);

fn stack(shapes: &[(&str, &str, usize)]) -> Sandbox {
    let entries: Vec<_> = shapes.iter().map(|(name, run, _)| (*name, *run, "stop_grace: 300ms")).collect();
    world(&entries)
}

fn all() -> Vec<(&'static str, &'static str, usize)> {
    SHAPES.into_iter().chain([NAMELESS]).collect()
}

fn ready_lines(shapes: &[(&str, &str, usize)]) -> usize {
    shapes.iter().map(|(_, _, count)| count).sum()
}

/// Waits until all of `shapes` is up.
fn settle(running: &mut Running, shapes: &[(&str, &str, usize)]) {
    let ready = running.expect_lines(r"\| ready \d+", ready_lines(shapes));
    freeze(ready.iter().map(String::as_str));
}

fn freeze<'a>(mut ready: impl Iterator<Item = &'a str>) {
    let frozen = ready.find(|line| line.starts_with("frozen")).unwrap();
    kill(pid_in(frozen), Signal::SIGSTOP).unwrap();
}

fn ends_by(signal: Signal, code: i32) {
    let sandbox = stack(&all());
    let mut running = sandbox.devrun(&[]).start();
    settle(&mut running, &all());
    running.signal(signal);
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(code), "{ended}");
}

#[test]
fn ctrl_c() {
    ends_by(Signal::SIGINT, 130);
}

#[test]
fn terminate() {
    ends_by(Signal::SIGTERM, 143);
}

#[test]
fn hangup() {
    ends_by(Signal::SIGHUP, 129);
}

#[test]
fn quit() {
    ends_by(Signal::SIGQUIT, 131);
}

/// Starts the stack writing into a pipe, and reads until it is up.
fn piped(sandbox: &Sandbox, shapes: &[(&str, &str, usize)]) -> (Running, BufReader<PipeReader>) {
    let (reader, writer) = std::io::pipe().unwrap();
    let running = sandbox.devrun(&[]).with(|command| command.stdout(writer)).start();
    let mut reader = BufReader::new(reader);
    let mut ready = Vec::new();
    while ready.len() < ready_lines(shapes) {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "{}", running.stderr());
        if line.contains("| ready ") {
            ready.push(line);
        }
    }
    freeze(ready.iter().map(String::as_str));
    (running, reader)
}

#[test]
fn reader_gone_while_nothing_is_printed() {
    let sandbox = stack(&all());
    let (running, reader) = piped(&sandbox, &all());
    drop(reader);
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(141), "{ended}");
}

#[test]
fn reader_gone_while_much_is_printed() {
    let mut shapes = all();
    shapes.push(("talker", "ready lines:100000000", 1));
    let sandbox = stack(&shapes);
    let (running, mut reader) = piped(&sandbox, &shapes);
    reader.read_exact(&mut vec![0; 1 << 20]).unwrap();
    drop(reader);
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(141), "{ended}");
}

#[test]
fn supervisor_killed() {
    let sandbox = stack(&all());
    let mut running = sandbox.devrun(&[]).start();
    settle(&mut running, &all());
    kill(supervisor(&running), Signal::SIGKILL).unwrap();
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(137), "{ended}");
}

#[test]
fn keeper_killed() {
    let sandbox = stack(&all());
    let mut running = sandbox.devrun(&[]).start();
    settle(&mut running, &all());
    running.signal(Signal::SIGKILL);
    // Over when both pipes are closed, and the supervisor holds them.
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.signal, Some(9), "{ended}");
}

/// Kills keeper and supervisor and makes sure that something outlived them.
fn both_killed(sandbox: &Sandbox) -> Vec<i32> {
    let mut running = sandbox.devrun(&[]).start();
    settle(&mut running, &SHAPES);
    kill_both(&running);
    running.wait();
    let left = sandbox.processes();
    assert!(left.iter().any(|process| process.command.contains("ignore")), "{left:?}");
    left.iter().map(|process| process.pid).collect()
}

#[test]
fn both_killed_then_down() {
    let sandbox = stack(&SHAPES);
    both_killed(&sandbox);
    let ended = sandbox.devrun(&["down"]).run();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.stdout.contains("that an earlier run left behind"), "{ended}");
    let again = sandbox.devrun(&["down"]).run();
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "Nothing runs in this worktree.\n"));
}

#[test]
fn both_killed_then_started_again() {
    let sandbox = stack(&SHAPES);
    let left = both_killed(&sandbox);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(r"^note: ended \d+ processes that an earlier run left behind");
    settle(&mut running, &SHAPES);
    let now = sandbox.processes();
    assert!(!now.iter().any(|process| left.contains(&process.pid)), "{left:?} {now:?}");
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(130), "{ended}");
}

#[test]
fn a_process_ends_by_itself_and_leaves_children_that_hold_its_output() {
    let left = "child[ ignore:INT,TERM,HUP ready sleep ] child[ setsid ignore:INT,TERM,HUP ready sleep ]";
    let sandbox = Sandbox::new();
    let go = sandbox.path().join("go");
    let run = format!("{left} await-file:{} exit:5", go.display());
    let text = super::configuration("", &[("web", &run, "stop_grace: 200ms"), ("api", "ready sleep", "")]);
    sandbox.repo_with(&[("devrun.yaml", &text)]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_lines(r"\| ready", 3);
    sandbox.write(&go, "");
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(5), "{ended}");
}
