//! Stopping a run: which processes get a signal, in which order, for how long devrun waits, and what children inherit.

use std::process::Stdio;

use nix::sys::signal::{SigSet, Signal};

use super::{assert_nothing_runs, base, lines_of, world, world_with};

#[test]
fn second_ctrl_c_kills_at_once() {
    let sandbox = world(&[("web", "ignore:INT,TERM,HUP ready sleep", "stop_grace: 10m")]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(r"\| ready");
    running.signal(Signal::SIGINT);
    running.expect_line("^stopping: Ctrl-C$");
    // devrun prints this after a second. By then, another SIGINT counts as a new Ctrl-C.
    running.expect_line("Ctrl-C again kills now");
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(130), "{ended}");
}

#[test]
fn ctrl_c_repeated_by_a_runner_counts_once() {
    let sandbox = world(&[("web", "graceful:INT:1500 ready sleep", "stop_grace: 10m")]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(r"\| ready");
    running.signal(Signal::SIGINT);
    running.expect_line(r"\| got INT");
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(lines_of(&ended.stdout, "web").last(), Some(&"bye"), "{ended}");
    assert_eq!(ended.code, Some(130), "{ended}");
}

#[test]
fn ignored_hangup_stays_ignored() {
    let sandbox = world(&[("web", "ready sleep", "")]);
    let line = "trap '' HUP; exec devrun";
    let mut running = sandbox.program("sh", &["-c", line]).start();
    running.expect_line(r"\| ready");
    running.signal(Signal::SIGHUP);
    nix::sys::signal::kill(super::supervisor(&running), Signal::SIGHUP).unwrap();
    // The supervisor answers after it has handled both signals.
    let status = sandbox.devrun(&["wait"]).run();
    assert_eq!(status.code, Some(0), "{status}");
    running.signal(Signal::SIGTERM);
    let ended = running.wait();
    assert_eq!(ended.code, Some(143), "{ended}");
    assert!(!ended.stderr.contains("SIGHUP"), "{ended}");
}

#[test]
fn all_are_signalled_at_once_and_slow_ones_are_named() {
    let stubborn = "report:INT ready sleep";
    let keys = "stop_grace: 1500ms";
    let sandbox = world(&[("a", stubborn, keys), ("b", stubborn, keys), ("quick", "ready sleep", "")]);
    // Both streams share one pipe, so that the test sees the order of messages.
    let (reader, writer) = std::io::pipe().unwrap();
    let same = writer.try_clone().unwrap();
    let running = sandbox.devrun(&[]).with(|command| command.stdout(writer).stderr(same)).start();
    let mut said = String::new();
    let mut lines = std::io::BufReader::new(reader);
    for _ in 0..3 {
        said.clear();
        while !said.contains("| ready") {
            said.clear();
            std::io::BufRead::read_line(&mut lines, &mut said).unwrap();
        }
    }
    running.signal(Signal::SIGINT);
    said.clear();
    std::io::Read::read_to_string(&mut lines, &mut said).unwrap();
    assert_eq!(running.wait().code, Some(130), "{said}");
    let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("no {text} in: {said}"));
    let first_end = at("a ended with signal SIGKILL").min(at("b ended with signal SIGKILL"));
    for early in ["a     | got INT", "b     | got INT", "quick ended with", "waiting for a, b to end"] {
        assert!(at(early) < first_end, "{early} came late: {said}");
    }
    assert_nothing_runs(&sandbox);
}

#[test]
fn each_process_gets_its_stop_signal() {
    let sandbox = world(&[
        ("usual", "graceful:INT,TERM,USR1 ready sleep", ""),
        ("term", "graceful:INT,TERM,USR1 ready sleep", "stop_signal: TERM"),
        ("usr", "graceful:INT,TERM,USR1 ready sleep", "stop_signal: SIGUSR1"),
    ]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_lines(r"\| ready", 3);
    running.signal(Signal::SIGTERM);
    let ended = running.wait();
    for (name, signal) in [("usual", "got INT"), ("term", "got TERM"), ("usr", "got USR1")] {
        assert_eq!(lines_of(&ended.stdout, name)[1..], [signal, "bye"], "{ended}");
    }
    assert_eq!(ended.code, Some(143));
}

#[test]
fn dependents_exit_before_dependencies_are_signalled() {
    let slow = "graceful:INT:150 ready sleep";
    let sandbox = world(&[
        ("base", slow, ""),
        ("middle", slow, "depends_on: [base]"),
        ("top", slow, "depends_on: [middle]"),
    ]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_lines(r"\| ready", 3);
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    let order: Vec<&str> = ended.stdout.lines().skip_while(|line| !line.contains("got")).collect();
    let expected = ["top", "middle", "base"]
        .iter()
        .flat_map(|name| [format!("{name:6} | got INT"), format!("{name:6} | bye")])
        .collect::<Vec<_>>();
    assert_eq!(order, expected, "{ended}");
}

#[test]
fn terminal_signal_reaches_children_once() {
    let patient = "report:INT,QUIT,HUP,TERM ready child[ setsid graceful:INT ready sleep ] sleep";
    let sandbox = world(&[("web", patient, "stop_grace: 1s")]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_lines(r"\| ready", 2);
    running.signal_group(Signal::SIGINT);
    let ended = running.wait();
    let got: Vec<&str> = ended.stdout.lines().filter(|line| line.contains("got")).collect();
    assert_eq!(got, ["web | got INT"], "{ended}");
}

#[test]
fn processes_outside_the_group_are_signalled_after_the_leader() {
    let run = "graceful:INT ready child[ setsid graceful:INT:50 ready sleep ] child[ report:INT ready sleep ] sleep";
    let sandbox = world(&[("web", run, "stop_grace: 2s")]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_lines(r"\| ready", 3);
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    let count = |text| ended.stdout.matches(text).count();
    // The leader and the child in its group got one signal together; the child outside the group got it after them.
    assert_eq!((count("got INT"), count("bye")), (3, 2), "{ended}");
    assert_eq!(ended.code, Some(130), "{ended}");
}

#[test]
fn ignored_and_blocked_signals_are_not_inherited_and_still_work() {
    let sandbox = world(&[("web", "signals ready graceful:INT sleep", "")]);
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        let line = "trap '' INT HUP TERM QUIT CHLD USR1 TSTP ALRM; exec devrun";
        // A program inherits the blocked signals of the thread that starts it.
        let mut running = std::thread::scope(|scope| {
            let blocking = scope.spawn(|| {
                SigSet::from_iter([signal, Signal::SIGUSR2, Signal::SIGCHLD]).thread_block().unwrap();
                sandbox.program("bash", &["-c", line]).start()
            });
            blocking.join().unwrap()
        });
        running.expect_line(r"\| ready");
        running.signal(signal);
        let ended = running.wait();
        let said = lines_of(&ended.stdout, "web");
        assert_eq!(said[0], "SigBlk:\t0000000000000000", "{ended}");
        // The fixture, like every Rust program, ignores SIGPIPE itself. The test leaves out real-time signals.
        let ignored = u64::from_str_radix(said[1].rsplit('\t').next().unwrap(), 16).unwrap();
        assert_eq!(ignored & 0x7fff_ffff, 0x1000, "{ended}");
        assert_eq!(said[3..], ["got INT", "bye"], "{ended}");
        assert_eq!(ended.code, Some(128 + signal as i32), "{ended}");
    }
}

#[test]
fn ignored_signals_of_devrun_are_reset_in_children() {
    // The child is a shell, because the fixture ignores SIGPIPE itself.
    let child = "$ grep SigIgn: /proc/self/status; exec devrun-fixture ready sleep";
    let top = format!("ports: {{ api: {} }}", base());
    let sandbox = world_with(&top, &[("web", child, ""), ("api", child, "listen: api")]);
    let line = "trap '' INT HUP TERM QUIT PIPE CHLD USR1 USR2 TSTP TTIN TTOU ALRM; exec devrun";
    let mut running = sandbox.program("bash", &["-c", line]).start();
    running.expect_lines(r"\| ready", 2);
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    for name in ["web", "api"] {
        let said = lines_of(&ended.stdout, name);
        let ignored = u64::from_str_radix(said[0].strip_prefix("SigIgn:\t").unwrap(), 16).unwrap();
        // The test leaves out real-time signals.
        assert_eq!(ignored & 0x7fff_ffff, 0, "{ended}");
    }
    assert_eq!(ended.code, Some(130), "{ended}");
}

#[test]
fn children_inherit_only_standard_streams_and_their_socket() {
    let base = base();
    let sandbox = world_with(
        &format!("ports: {{ api: {base} }}"),
        &[
            ("web", "fds stdin ready sleep", "stdin: null"),
            ("api", "fds env:API_FD env:LISTEN_FDS ready sleep", "listen: api"),
        ],
    );
    let line = "exec 3</dev/null 5</dev/null 7>/dev/null 9</etc/hostname; exec devrun";
    let mut running = sandbox.program("sh", &["-c", line]).with(|c| c.stdin(Stdio::piped())).start();
    running.expect_lines(r"\| ready", 2);
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    let shape = |name| -> Vec<String> {
        let lines = lines_of(&ended.stdout, name).into_iter().filter(|line| line.starts_with("fd "));
        lines.map(|line| line.split(":[").next().unwrap().to_string()).collect()
    };
    assert_eq!(shape("web"), ["fd 0 /dev/null", "fd 1 pipe", "fd 2 pipe"], "{ended}");
    assert_eq!(shape("api"), ["fd 0 pipe", "fd 1 pipe", "fd 2 pipe", "fd 3 socket"], "{ended}");
    assert!(ended.stdout.contains("web | stdin 0"), "{ended}");
    assert!(ended.stdout.contains("api | env API_FD=3"), "{ended}");
    assert!(ended.stdout.contains("api | env LISTEN_FDS=1"), "{ended}");
}

#[test]
fn ctrl_z_suspends_keeper_and_supervisor() {
    let sandbox = world(&[("web", "ready await:USR1 say:after sleep", "")]);
    let mut running = sandbox.devrun(&[]).start();
    let child = super::pid_in(&running.expect_line(r"\| ready"));
    let state = |pid: u32| devrun::testing::os::proc::entry(pid).map(|entry| entry.state);
    let worker = super::supervisor(&running).as_raw().cast_unsigned();
    running.signal(Signal::SIGTSTP);
    let limit = crate::support::LIMIT;
    let both = |wanted: char| {
        crate::support::wait_for("both in the same state", limit, || {
            let now = (state(running.pid()), state(worker));
            let stopped = |state: Option<char>| state.is_some_and(|state| (state == 'T') == (wanted == 'T'));
            if stopped(now.0) && stopped(now.1) { Ok(()) } else { Err(format!("{now:?}")) }
        });
    };
    both('T');
    running.signal(Signal::SIGCONT);
    both('S');
    nix::sys::signal::kill(child, Signal::SIGUSR1).unwrap();
    running.expect_line(r"\| after");
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code, Some(130));
}

#[test]
fn background_jobs_of_a_shell_get_term() {
    let sandbox = world(&[(
        "web",
        "$ devrun-fixture ready sleep & devrun-fixture graceful:TERM ready sleep & wait",
        "stop_grace: 10m",
    )]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_lines(r"\| ready", 2);
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(lines_of(&ended.stdout, "web")[2..], ["got TERM", "bye"], "{ended}");
    assert_eq!(ended.code, Some(130), "{ended}");
}
