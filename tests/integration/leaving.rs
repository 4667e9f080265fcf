//! Leaving: a stack that takes its time to end, those who wait for it and for how long, a terminal that is given back.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::asking::refusal;
use crate::supervise::terminal::Terminal;
use crate::support::{LIMIT, Running, Sandbox, wait_for};

/// Far more than one second that was asked for, and less than anything here takes by itself.
const SOON: Duration = Duration::from_secs(12);

/// A repository with one process, `web`: words for the fixture, further keys in flow style.
fn world(words: &str, keys: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let run: Vec<&str> = ["devrun-fixture"].into_iter().chain(words.split_whitespace()).collect();
    let config = format!("processes:\n  web: {{ run: {}, {keys} }}\n", json!(run));
    sandbox.repo_with(&[("devrun.yaml", &config)]);
    sandbox
}

/// A devrun in the foreground whose process is ready.
#[track_caller]
fn start(sandbox: &Sandbox) -> Running {
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(r"\| ready");
    running
}

/// Stops it as Ctrl-Z does and waits until both of its processes are.
#[track_caller]
fn halt(running: &Running) {
    running.signal(Signal::SIGTSTP);
    wait_for("both to be stopped", LIMIT, || {
        let table = devrun::os::proc::table();
        let pid = running.pid();
        let mut both = table.iter().filter(|entry| entry.pid == pid || entry.parent == pid);
        if both.all(|entry| entry.state == 'T') { Ok(()) } else { Err(format!("{table:?}")) }
    });
}

/// Runs it, which must not take long.
#[track_caller]
fn soon<T>(asked: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let answer = asked();
    let took = start.elapsed();
    assert!(took < SOON, "it took {took:?}");
    answer
}

#[test]
fn those_who_take_it_down_together_or_again_leave_processes_their_time() {
    let sandbox = world("graceful:INT:1500 ready sleep", "stop_grace: 1m");
    let mut running = start(&sandbox);
    let mut all: Vec<Running> = (0..3).map(|_| sandbox.devrun(&["down"]).start()).collect();
    running.expect_line(r"\| got INT");
    all.push(sandbox.devrun(&["down"]).start());
    for down in all {
        let ended = down.wait();
        assert_eq!(ended.code, Some(0), "{ended}");
    }
    let ended = running.wait();
    assert!(ended.stdout.contains("web | bye"), "{ended}");
    assert_eq!((ended.code, sandbox.processes()), (Some(143), vec![]), "{ended}");
}

#[test]
fn one_that_was_stopped_goes_on_to_its_end() {
    for under_way in [false, true] {
        let sandbox = world("graceful:INT:500 ready sleep", "stop_grace: 1m");
        let mut running = start(&sandbox);
        if under_way {
            running.signal(Signal::SIGINT);
            running.expect_line(r"\| got INT");
        }
        halt(&running);
        let down = soon(|| sandbox.devrun(&["down"]).run());
        assert_eq!((down.code, sandbox.processes()), (Some(0), vec![]), "{down}");
        let ended = running.wait();
        assert!(ended.stdout.contains("web | bye"), "{ended}");
        assert_eq!(ended.code, Some(if under_way { 130 } else { 143 }), "{ended}");
    }
}

#[test]
fn who_is_waited_for_is_said_once_and_again_when_the_time_is_up() {
    let sandbox = world("graceful:INT:30000 ready sleep", "stop_grace: 1m");
    let running = start(&sandbox);
    let down = soon(|| sandbox.devrun(&["down", "--timeout", "2"]).run());
    assert_eq!(down.code, Some(88), "{down}");
    assert_eq!(down.stderr.matches("waiting for web to end since 1 s").count(), 1, "{down}");
    for part in ["did not end within 2 s [timed-out]", "why: still there: web", "fix: kill -9"] {
        assert!(down.stderr.contains(part), "no {part}: {down}");
    }
    assert_eq!(down.stdout, "", "{down}");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().code, Some(143));
}

/// The supervisor of a devrun in the foreground.
fn supervisor(running: &Running) -> u32 {
    let table = devrun::os::proc::table();
    table.iter().find(|entry| entry.parent == running.pid()).map(|entry| entry.pid).unwrap()
}

/// Does `work` while the process `pid` is stopped again whenever it is continued: it hangs, as in a call that never returns.
fn while_it_hangs<T>(pid: u32, work: impl FnOnce() -> T) -> T {
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = nix::sys::signal::kill(pid, Signal::SIGSTOP);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let answer = work();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        answer
    })
}

#[test]
fn a_supervisor_that_hangs_is_killed_by_down_and_said() {
    let sandbox = world("graceful:INT:60000 ready sleep", "stop_grace: 2m");
    let running = start(&sandbox);
    let pid = supervisor(&running);
    let down = while_it_hangs(pid, || sandbox.devrun(&["down", "--timeout", "1"]).run());
    assert_eq!((down.code, down.stdout.as_str()), (Some(0), "Killed.\n"), "{down}");
    let said = format!("devrun (pid {pid}) did not end within 1 s and was killed");
    assert!(down.stderr.contains(&said), "{down}");
    assert_eq!(running.wait().code, Some(137));
    assert_eq!(sandbox.processes(), []);
}

#[test]
fn a_supervisor_that_hangs_without_its_keeper_is_killed_by_down() {
    let sandbox = world("graceful:INT:60000 ready sleep", "stop_grace: 2m");
    let mut running = start(&sandbox);
    let pid = supervisor(&running);
    let down = while_it_hangs(pid, || {
        running.signal(Signal::SIGKILL);
        wait_for("the keeper to be gone", LIMIT, || {
            running.has_ended().then_some(()).ok_or_else(String::new)
        });
        sandbox.devrun(&["down", "--timeout", "1", "--json"]).run()
    });
    assert_eq!(down.code, Some(0), "{down}");
    let answer: serde_json::Value = serde_json::from_str(&down.stdout).unwrap();
    assert_eq!((&answer["stopped"], &answer["killed"]), (&json!(true), &json!([pid])), "{down}");
    assert_eq!(sandbox.processes(), []);
    assert_eq!(sandbox.devrun(&["down"]).run().stdout, "Nothing runs in this worktree.\n");
}

#[test]
fn a_run_that_hangs_after_its_keeper_is_gone_ends_itself_and_what_is_below() {
    let sandbox = Sandbox::new();
    let ended = sandbox
        .fixture(&["child[", "setsid", "child[", "mute", "sleep", "]", "sleep", "]", "watchdog:100"])
        .run();
    assert_eq!(ended.signal, Some(9), "{ended}");
    assert_eq!(sandbox.processes(), []);
}

#[test]
fn the_advice_of_a_down_that_gave_up_ends_everything() {
    let sandbox = world("graceful:INT:60000 ready sleep", "stop_grace: 2m");
    let running = start(&sandbox);
    let down = sandbox.devrun(&["down", "--timeout", "1"]).run();
    assert_eq!(down.code, Some(88), "{down}");
    let advice = down.stderr.lines().find_map(|line| line.trim().strip_prefix("fix: kill -9 ")).unwrap();
    let pid = advice.split_whitespace().next().unwrap();
    assert_eq!(sandbox.program("kill", &["-9", pid]).run().code, Some(0));
    running.wait();
    assert_eq!(sandbox.processes(), []);
}

#[test]
fn what_only_waits_for_its_reader_is_not_waited_for() {
    let sandbox = world("lines:500:100 exit:3", "");
    let (reader, writer) = std::io::pipe().unwrap();
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let running = sandbox.devrun(&[]).with(|command| command.stdout(writer)).start();
    let record = sandbox.main().join(".git/devrun/run.json");
    wait_for("its processes to be gone", LIMIT, || {
        let said = std::fs::read_to_string(&record).map_err(|error| error.to_string())?;
        let there = sandbox.processes().iter().any(|process| process.command.contains("fixture"));
        if said.contains("\"ending\": true") && !there { Ok(()) } else { Err(said) }
    });
    let down = soon(|| sandbox.devrun(&["down"]).run());
    assert_eq!(down.code, Some(0), "{down}");
    drop(reader);
    running.wait();
}

#[test]
fn a_time_limit_is_kept_while_an_old_stack_is_stopping_and_nothing_begins_later() {
    let sandbox = world("graceful:INT:30000 append:starts:x ready sleep", "stop_grace: 1m");
    let mut running = start(&sandbox);
    running.signal(Signal::SIGINT);
    running.expect_line(r"\| got INT");
    let ask = |args: &[&str]| sandbox.devrun(&[args, &["--timeout", "1", "--json"]].concat());
    let error = soon(|| refusal(ask(&["up", "-d"]), "timed-out", 88));
    assert!(error["cause"].as_str().unwrap().ends_with("is stopping: web"), "{error:#}");
    for args in [&["wait"][..], &["wait", "web"], &["restart", "web"]] {
        soon(|| refusal(ask(args), "not-running", 88));
    }
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code, Some(130));
    assert_eq!(sandbox.processes(), []);
    assert_eq!(std::fs::read_to_string(sandbox.main().join("starts")).unwrap(), "x\n");
}

#[test]
fn a_time_limit_is_kept_while_the_supervisor_is_stopped() {
    let sandbox = world("ready sleep", "");
    let running = start(&sandbox);
    halt(&running);
    for args in [&["up", "-d"][..], &["wait"], &["restart", "web"]] {
        let asked = sandbox.devrun(&[args, &["--timeout", "1", "--json"]].concat());
        let began = Instant::now();
        let error = refusal(asked, "timed-out", 88);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert!(error["cause"].as_str().unwrap().contains("Ctrl-Z"), "{error:#}");
    }
    let down = sandbox.devrun(&["down"]).run();
    assert_eq!(down.code, Some(0), "{down}");
    assert_eq!(running.wait().code, Some(143));
}

#[test]
fn a_signal_that_ends_an_attachment_leaves_the_terminal_as_it_was() {
    let sandbox = world("ready sleep", "tty: true");
    let up = sandbox.devrun(&["up", "-d"]).run();
    assert_eq!(up.code, Some(0), "{up}");
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let (running, terminal) = Terminal::start(sandbox.devrun(&["attach", "web"]));
        terminal.expect("attached to web; Ctrl-] leaves");
        assert!(terminal.is_raw());
        running.signal(signal);
        assert_eq!(running.wait().code, Some(128 + signal as i32));
        assert!(!terminal.is_raw(), "after {signal}");
    }
    let down = sandbox.devrun(&["down"]).run();
    assert_eq!((down.code, sandbox.processes()), (Some(0), vec![]), "{down}");
}
