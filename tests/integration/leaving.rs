//! Stopping a stack: processes that need time to exit, time limits of waiting verbs, and restored terminals.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::asking::refusal;
use crate::supervise::terminal::Terminal;
use crate::support::{LIMIT, Running, Sandbox, wait_for};

/// Time within which a verb must return that has a timeout of one or two seconds or that nothing holds up.
const SOON: Duration = Duration::from_secs(12);

/// Makes a repository with one process `web`: words for the fixture, further keys in flow style.
fn world(words: &str, keys: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let run: Vec<&str> = ["devrun-fixture"].into_iter().chain(words.split_whitespace()).collect();
    let config = format!("processes:\n  web: {{ run: {}, {keys} }}\n", json!(run));
    sandbox.repo_with(&[("devrun.yaml", &config)]);
    sandbox
}

/// Starts devrun in the foreground and waits until its process is ready.
#[track_caller]
fn start(sandbox: &Sandbox) -> Running {
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(r"\| ready");
    running
}

/// Suspends devrun as Ctrl-Z does, and waits until both of its processes are stopped.
#[track_caller]
fn halt(running: &Running) {
    running.signal(Signal::SIGTSTP);
    wait_for("both to be stopped", LIMIT, || {
        let table = devrun::testing::os::proc::table();
        let pid = running.pid();
        let mut both = table.iter().filter(|entry| entry.pid == pid || entry.parent == pid);
        if both.all(|entry| entry.state == 'T') { Ok(()) } else { Err(format!("{table:?}")) }
    });
}

/// Runs `asked`. Panics if it takes longer than `SOON`.
#[track_caller]
fn soon<T>(asked: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let answer = asked();
    let took = start.elapsed();
    assert!(took < SOON, "it took {took:?}");
    answer
}

#[test]
fn concurrent_downs_keep_the_grace_period() {
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
fn down_ends_a_suspended_stack() {
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
fn down_names_slow_processes_and_times_out() {
    let sandbox = world("graceful:INT:30000 ready sleep", "stop_grace: 1m");
    let running = start(&sandbox);
    let down = soon(|| sandbox.devrun(&["down", "--timeout", "2"]).run());
    assert_eq!(down.code, Some(88), "{down}");
    assert_eq!(down.stderr.matches("still waiting for web to end (1 s)").count(), 1, "{down}");
    for part in ["did not end within 2 s [timed-out]", "why: still there: web", "fix: kill -9"] {
        assert!(down.stderr.contains(part), "no {part}: {down}");
    }
    assert_eq!(down.stdout, "", "{down}");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().code, Some(143));
}

/// Returns the pid of the supervisor of a devrun in the foreground.
fn supervisor(running: &Running) -> u32 {
    let table = devrun::testing::os::proc::table();
    table.iter().find(|entry| entry.parent == running.pid()).map(|entry| entry.pid).unwrap()
}

/// Does `work` while another thread stops the process `pid` again and again, so that it hangs as in a call that never returns.
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
fn down_kills_a_hanging_supervisor() {
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
fn down_kills_a_hanging_supervisor_without_a_keeper() {
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
fn watchdog_kills_a_hanging_run_and_its_descendants() {
    let sandbox = Sandbox::new();
    let ended = sandbox
        .fixture(&["child[", "setsid", "child[", "mute", "sleep", "]", "sleep", "]", "watchdog:100"])
        .run();
    assert_eq!(ended.signal, Some(9), "{ended}");
    assert_eq!(sandbox.processes(), []);
}

#[test]
fn suggested_kill_ends_everything() {
    let sandbox = world("graceful:INT:60000 ready sleep", "stop_grace: 2m");
    let running = start(&sandbox);
    // `down` kills a supervisor that does not answer in time, and a busy machine needs more than a second to answer.
    let down = sandbox.devrun(&["down", "--timeout", "5"]).run();
    assert_eq!(down.code, Some(88), "{down}");
    let advice = down.stderr.lines().find_map(|line| line.trim().strip_prefix("fix: kill -9 ")).unwrap();
    let pid = advice.split_whitespace().next().unwrap();
    assert_eq!(sandbox.program("kill", &["-9", pid]).run().code, Some(0));
    running.wait();
    assert_eq!(sandbox.processes(), []);
}

#[test]
fn down_does_not_wait_for_a_reader() {
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
fn timed_out_up_starts_nothing_later() {
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
fn time_limit_holds_while_the_supervisor_is_suspended() {
    let sandbox = world("ready sleep", "");
    let running = start(&sandbox);
    halt(&running);
    for args in [&["up", "-d"][..], &["wait"], &["restart", "web"]] {
        let asked = sandbox.devrun(&[args, &["--timeout", "1", "--json"]].concat());
        // Without its own time limit, devrun would wait longer than the test does.
        let error = refusal(asked, "timed-out", 88);
        assert!(error["cause"].as_str().unwrap().contains("Ctrl-Z"), "{error:#}");
    }
    let down = sandbox.devrun(&["down"]).run();
    assert_eq!(down.code, Some(0), "{down}");
    assert_eq!(running.wait().code, Some(143));
}

#[test]
fn signal_during_attach_restores_the_terminal() {
    let sandbox = world("ready sleep", "tty: true");
    let up = sandbox.devrun(&["up", "-d"]).run();
    assert_eq!(up.code, Some(0), "{up}");
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let (running, terminal) = Terminal::start(sandbox.devrun(&["attach", "web"]));
        terminal.expect("attached to web; Ctrl-] leaves");
        assert!(terminal.is_raw());
        running.signal(signal);
        assert_eq!(terminal.end(running).code, Some(128 + signal as i32));
        assert!(!terminal.is_raw(), "after {signal}");
    }
    let down = sandbox.devrun(&["down"]).run();
    assert_eq!((down.code, sandbox.processes()), (Some(0), vec![]), "{down}");
}
