//! No process is left, however a run ends and however its children behave.

use std::io::{BufRead, BufReader, PipeReader, Read};
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, kill};

use super::{assert_nothing_runs, pid_in, supervisor, world};
use crate::support::{Running, Sandbox, kill_both};

/// Children that are hard to stop, each with the number of `ready` lines that it prints.
const SHAPES: [(&str, &str, usize); 11] = [
    ("plain", "ready sleep", 1),
    ("stubborn", "ignore:INT,TERM,HUP ready sleep", 1),
    ("session", "ready child[ setsid ignore:INT,TERM,HUP ready mute sleep ] sleep", 2),
    ("orphan", "ready child[ setsid child[ ignore:INT,TERM,HUP ready mute sleep ] ] sleep", 2),
    ("frozen", "ready sleep", 1),
    ("icy", "ready child[ setsid child[ ready mute sleep ] mute sleep ] sleep", 2),
    ("breeder", "ready child[ setsid ready mute breed:5 sleep ] sleep", 2),
    ("bomber", "ready child[ setsid ignore:INT,TERM,HUP ready mute breed:1 sleep ] sleep", 2),
    ("hopper", "ready child[ setsid mute hop:2 ] sleep", 1),
    (
        "pretender",
        "$ DEVRUN_CLUSTER=1 setsid devrun-fixture ignore:INT,TERM,HUP ready mute sleep & \
         exec devrun-fixture ready sleep",
        2,
    ),
    ("holder", "graceful:INT,TERM,HUP ready child[ ignore:INT,TERM,HUP ready sleep ] sleep", 2),
];

/// A child that removed its tag from the environment. Without a control group, devrun finds it only through its parents.
const NAMELESS: (&str, &str, usize) = (
    "nameless",
    "$ env -u DEVRUN_RUN -u DEVRUN_PROCESS setsid devrun-fixture ignore:INT,TERM,HUP ready mute sleep & \
     exec devrun-fixture ready sleep",
    2,
);

/// A repository whose stack has processes that fork without end, and the right to run it.
struct HardStack {
    sandbox: Sandbox,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for HardStack {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

/// Returns a stack of `shapes`. Waits until no other test has one: processes that fork without end compete for the processors with the
/// devrun that kills them, and three such stacks at once end after 20 s instead of 1 s.
fn stack(shapes: &[(&str, &str, usize)]) -> HardStack {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let entries: Vec<_> = shapes.iter().map(|(name, run, _)| (*name, *run, "stop_grace: 300ms")).collect();
    HardStack { sandbox: world(&entries), _turn: turn }
}

fn all() -> Vec<(&'static str, &'static str, usize)> {
    SHAPES.into_iter().chain([NAMELESS]).collect()
}

fn ready_lines(shapes: &[(&str, &str, usize)]) -> usize {
    shapes.iter().map(|(_, _, count)| count).sum()
}

/// Waits until all processes of `shapes` are ready, and stops some of them.
fn settle(running: &mut Running, shapes: &[(&str, &str, usize)]) {
    let ready = running.expect_lines(r"\| ready \d+", ready_lines(shapes));
    freeze(ready.iter().map(String::as_str));
}

/// Stops processes of `frozen` and `icy` with SIGSTOP.
fn freeze<'a>(ready: impl Iterator<Item = &'a str>) {
    let mut frozen = 0;
    for line in ready.filter(|line| line.starts_with("frozen") || line.starts_with("icy")) {
        let pid = pid_in(line);
        let leads = line.split_whitespace().nth(4).unwrap() == pid.to_string();
        if leads == line.starts_with("frozen") {
            kill(pid, Signal::SIGSTOP).unwrap();
            frozen += 1;
        }
    }
    assert_eq!(frozen, 2);
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
fn ctrl_c_leaves_no_process() {
    ends_by(Signal::SIGINT, 130);
}

#[test]
fn sigterm_leaves_no_process() {
    ends_by(Signal::SIGTERM, 143);
}

#[test]
fn sighup_leaves_no_process() {
    ends_by(Signal::SIGHUP, 129);
}

#[test]
fn sigquit_leaves_no_process() {
    ends_by(Signal::SIGQUIT, 131);
}

/// Starts the stack with a pipe as standard output, and reads until it is ready.
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
fn closed_output_leaves_no_process_while_nothing_is_printed() {
    let sandbox = stack(&all());
    let (running, reader) = piped(&sandbox, &all());
    drop(reader);
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(141), "{ended}");
}

#[test]
fn closed_output_leaves_no_process_during_output() {
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
fn closed_output_leaves_no_process_within_a_line() {
    let mut shapes = all();
    shapes.push(("prompt", "ready partial:name? sleep", 1));
    let sandbox = stack(&shapes);
    let (running, reader) = piped(&sandbox, &shapes);
    drop(reader);
    running.signal(Signal::SIGHUP);
    running.wait();
    assert_nothing_runs(&sandbox);
}

#[test]
fn closed_terminal_leaves_no_process() {
    let sandbox = stack(&all());
    let (running, terminal) = super::terminal::Terminal::start(super::terminal::in_foreground(&sandbox, &[]));
    let ready = || -> Vec<String> {
        let text = terminal.text().replace("\x1b[0m", "");
        // The status line and the blanks that erase it may stand before a line.
        let shown = text.lines().map(|line| line.rsplit('\r').next().unwrap_or_default());
        shown.filter(|line| line.contains("| ready ")).map(plain).collect()
    };
    crate::support::wait_for("all to be up", crate::support::LIMIT, || match ready() {
        lines if lines.len() == ready_lines(&all()) => Ok(()),
        _ => Err(terminal.text()),
    });
    freeze(ready().iter().map(String::as_str));
    drop(terminal);
    running.wait();
    assert_nothing_runs(&sandbox);
}

/// Returns a line without its colours.
fn plain(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
}

#[test]
fn killed_supervisor_leaves_no_process() {
    let sandbox = stack(&all());
    let mut running = sandbox.devrun(&[]).start();
    settle(&mut running, &all());
    kill(supervisor(&running), Signal::SIGKILL).unwrap();
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(137), "{ended}");
}

#[test]
fn killed_keeper_leaves_no_process() {
    let sandbox = stack(&all());
    let mut running = sandbox.devrun(&[]).start();
    settle(&mut running, &all());
    running.signal(Signal::SIGKILL);
    // `wait` returns when both pipes are closed, and the supervisor holds them.
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.signal, Some(9), "{ended}");
    end_late_run(&sandbox);
}

/// Removes what a late run has left: on a busy machine the watchdog ends it, and leaves the socket and the control group to the next
/// devrun.
fn end_late_run(sandbox: &Sandbox) {
    let log = std::fs::read_to_string(sandbox.main().join(".git/devrun/logs/devrun.log")).unwrap();
    if log.contains("still waiting for") {
        assert_eq!(sandbox.devrun(&["down"]).run().code, Some(0));
    }
}

#[test]
fn killed_keeper_leaves_no_process_while_both_are_stopped() {
    let shapes = all();
    let sandbox = stack(&shapes);
    let mut running = sandbox.devrun(&[]).start();
    settle(&mut running, &shapes);
    let worker = super::supervisor(&running);
    running.signal(Signal::SIGTSTP);
    let state = || devrun::testing::os::proc::entry(worker.as_raw().cast_unsigned()).map(|entry| entry.state);
    crate::support::wait_for("the supervisor to be stopped", crate::support::LIMIT, || {
        if state() == Some('T') { Ok(()) } else { Err(format!("{:?}", state())) }
    });
    running.signal(Signal::SIGKILL);
    running.wait();
    super::assert_nothing_runs(&sandbox);
    end_late_run(&sandbox);
}

/// Kills keeper and supervisor. Returns the processes that outlived them.
fn both_killed(sandbox: &Sandbox) -> Vec<i32> {
    let mut running = sandbox.devrun(&[]).start();
    settle(&mut running, &SHAPES);
    kill_both(running.pid());
    running.wait();
    let left = sandbox.processes();
    assert!(left.iter().any(|process| process.command.contains("ignore")), "{left:?}");
    left.iter().map(|process| process.pid).collect()
}

/// Kills one devrun process and, during the cleanup of the other, the other one. The next `down` kills the rest.
fn killed_one_after_the_other(keeper_first: bool, gap: std::time::Duration) {
    let sandbox = stack(&SHAPES);
    let mut running = sandbox.devrun(&[]).start();
    settle(&mut running, &SHAPES);
    let keeper = nix::unistd::Pid::from_raw(running.pid().cast_signed());
    let pair = [keeper, supervisor(&running)];
    let [first, second] = if keeper_first { pair } else { [pair[1], pair[0]] };
    kill(first, Signal::SIGKILL).unwrap();
    // The test varies this delay, so it must sleep.
    std::thread::sleep(gap);
    // The second process may have exited by now.
    let _ = kill(second, Signal::SIGKILL);
    running.wait();
    let ended = sandbox.devrun(&["down"]).run();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(0), "{ended}");
}

#[test]
fn down_cleans_up_if_both_are_killed_within_a_tenth_of_a_second() {
    for keeper_first in [true, false] {
        for gap in [0, 3, 20, 90] {
            killed_one_after_the_other(keeper_first, std::time::Duration::from_millis(gap));
        }
    }
}

#[test]
fn foreign_processes_are_spared() {
    let sandbox = stack(&SHAPES);
    let other = sandbox.worktree("other", "other");
    let mut neighbour = sandbox.devrun(&["-C", other.to_str().unwrap()]).start();
    settle(&mut neighbour, &SHAPES);
    // The strangers work in the worktree and have a similar tag, like an editor that was started from a shell of the stack.
    let mut running = sandbox.devrun(&[]).start();
    settle(&mut running, &SHAPES);
    let devrun = devrun::testing::supervisor::sweep::worktree_tag(&sandbox.main());
    let mut strangers = [
        sandbox.fixture(&["ready", "sleep"]).start(),
        sandbox.fixture(&["ready", "sleep"]).env("DEVRUN_RUN", format!("{devrun}0.1")).start(),
        sandbox.fixture(&["ready", "sleep"]).env("DEVRUN_RUN", &devrun).start(),
        sandbox.fixture(&["ready", "sleep"]).env("DEVRUN_WORKTREE", sandbox.main()).start(),
    ];
    for stranger in &mut strangers {
        stranger.expect_line("^ready");
    }
    kill_both(running.pid());
    running.wait();
    assert_eq!(sandbox.devrun(&["down"]).run().code, Some(0));
    for stranger in &mut strangers {
        assert!(!stranger.has_ended());
        stranger.signal(Signal::SIGKILL);
    }
    assert!(!neighbour.has_ended());
    neighbour.signal(Signal::SIGINT);
    assert_eq!(neighbour.wait().code, Some(130));
    drop(strangers.map(Running::wait));
    assert_nothing_runs(&sandbox);
}

#[test]
fn down_cleans_up_after_both_are_killed() {
    let sandbox = stack(&SHAPES);
    both_killed(&sandbox);
    // The shell has the tag of the killed run, like a shell that this run left behind.
    let tag = format!("{}.1", devrun::testing::supervisor::sweep::worktree_tag(&sandbox.main()));
    let ended = sandbox.program("bash", &["-c", "devrun down && echo survived"]).env("DEVRUN_RUN", tag).run();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.stdout.ends_with("survived\n"), "{ended}");
    assert!(ended.stdout.contains("that an earlier run left behind"), "{ended}");
    let again = sandbox.devrun(&["down"]).run();
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "Nothing runs in this worktree.\n"));
}

#[test]
fn next_start_cleans_up_after_both_are_killed() {
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
fn children_that_hold_the_output_of_an_exited_process_are_ended() {
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
