//! Readers that are slow, pause, or stop: devrun tears and loses no line, its memory stays bounded, and Ctrl-C works.

use std::fs::File;
use std::io::{PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{Entry, assert_nothing_runs, lines_of, supervisor, world};
use crate::support::{LIMIT, Running, Sandbox, wait_for};

fn start(processes: &[Entry<'_>]) -> (Sandbox, Running, PipeReader) {
    let sandbox = world(processes);
    let (reader, writer) = std::io::pipe().unwrap();
    let running = sandbox.devrun(&[]).with(|command| command.stdout(writer)).start();
    (sandbox, running, reader)
}

fn read_some(reader: &mut PipeReader, count: usize) -> String {
    let mut bytes = vec![0; count];
    reader.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Waits until the process with `word` in its command line can no longer write.
fn stalls(sandbox: &Sandbox, word: &str) {
    let mut last = (0, 0);
    wait_for("the writer to stall", LIMIT, || {
        let processes = sandbox.processes();
        let writer = processes.iter().find(|process| process.command.contains(word)).ok_or("none")?;
        let io = std::fs::read_to_string(format!("/proc/{}/io", writer.pid)).map_err(|e| e.to_string())?;
        let written: u64 = io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()).unwrap();
        last = if written == last.0 { (written, last.1 + 1) } else { (written, 0) };
        if last.1 > 30 { Ok(()) } else { Err(format!("{last:?}")) }
    });
}

fn resident_mib(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
fn slow_reader_gets_every_line_whole() {
    const COUNT: usize = 3000;
    let run = format!("lines:{COUNT}:997");
    let (_sandbox, running, mut reader) =
        start(&[("a", &run, "restart: on-failure"), ("b", &run, "restart: on-failure")]);
    let mut said = String::new();
    // The pauses are longer than those after which devrun shows an unfinished line or treats a pipe as drained. Their exact
    // length does not matter.
    for _ in 0..8 {
        said += &read_some(&mut reader, 150_000);
        std::thread::sleep(Duration::from_millis(250));
    }
    reader.read_to_string(&mut said).unwrap();
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    for name in ["a", "b"] {
        let lines = lines_of(&said, name);
        assert!(lines.iter().all(|line| line.len() == 997), "{:?}", lines.iter().find(|l| l.len() != 997));
        assert_eq!(lines.len(), COUNT);
    }
    assert!(!said.contains('…'));
}

#[test]
fn paused_reader_slows_children_and_bounds_memory() {
    let (sandbox, running, mut reader) = start(&[("web", "lines:2000000:100", ""), ("api", "sleep", "")]);
    let mut said = read_some(&mut reader, 5_000_000);
    stalls(&sandbox, "lines");
    let peak = resident_mib(supervisor(&running));
    assert!(peak < 60, "{peak} MiB");
    reader.read_to_string(&mut said).unwrap();
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(lines_of(&said, "web").len(), 2_000_000);
    assert_nothing_runs(&sandbox);
}

#[test]
fn ctrl_c_ends_everything_with_a_stalled_reader() {
    let (sandbox, mut running, mut reader) = start(&[
        ("web", "ready lines:2000000:100", ""),
        ("api", "ignore:INT,TERM,HUP sleep", "stop_grace: 300ms"),
    ]);
    read_some(&mut reader, 100_000);
    stalls(&sandbox, "lines");
    running.signal(Signal::SIGINT);
    wait_for("the end of all", LIMIT, || {
        if running.has_ended() { Ok(()) } else { Err(format!("{:?}", sandbox.processes())) }
    });
    assert_nothing_runs(&sandbox);
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{ended}");
    drop(reader);
}

#[test]
fn ctrl_c_works_with_both_streams_stalled() {
    let sandbox = world(&[("web", "ready lines:2000000:100", ""), ("api", "sleep", "")]);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let same = writer.try_clone().unwrap();
    let mut running = sandbox.devrun(&[]).with(|command| command.stdout(writer).stderr(same)).start();
    read_some(&mut reader, 100_000);
    stalls(&sandbox, "lines");
    running.signal(Signal::SIGINT);
    wait_for("the end of all", LIMIT, || {
        if running.has_ended() { Ok(()) } else { Err(format!("{:?}", sandbox.processes())) }
    });
    assert_nothing_runs(&sandbox);
    drop(reader);
    assert_eq!(running.wait().code, Some(130));
}

#[test]
fn nonblocking_output_is_awaited() {
    const COUNT: usize = 20_000;
    let run = format!("lines:{COUNT}:100");
    let sandbox = world(&[("web", &run, "")]);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let flags = OFlag::from_bits_truncate(fcntl(writer.as_fd(), FcntlArg::F_GETFL).unwrap());
    fcntl(writer.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
    let writer = File::from(OwnedFd::from(writer));
    let running = sandbox.devrun(&[]).with(|command| command.stdout(writer)).start();
    let mut said = read_some(&mut reader, 100_000);
    stalls(&sandbox, "lines");
    reader.read_to_string(&mut said).unwrap();
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(lines_of(&said, "web").len(), COUNT);
}

#[test]
fn stderr_works_while_stdout_is_stalled() {
    let sandbox = world(&[
        ("web", "lines:2000000:100", ""),
        ("api", "await:USR1 exit:3", "restart: on-failure, max_restarts: 1"),
    ]);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut running = sandbox.devrun(&[]).with(|command| command.stdout(writer)).start();
    read_some(&mut reader, 100_000);
    stalls(&sandbox, "lines");
    let processes = sandbox.processes();
    let api = processes.iter().find(|process| process.command.contains("await")).unwrap();
    nix::sys::signal::kill(Pid::from_raw(api.pid), Signal::SIGUSR1).unwrap();
    running.expect_line("^restart: api ended with exit code 3");
    running.signal(Signal::SIGINT);
    running.expect_line("^stopping: ");
    wait_for("the end of all", LIMIT, || {
        if running.has_ended() { Ok(()) } else { Err(format!("{:?}", sandbox.processes())) }
    });
    drop(reader);
    assert_eq!(running.wait().code, Some(130));
}

/// Reads about a line at a time, with pauses, until `until` returns true.
fn read_slowly(reader: &mut PipeReader, said: &mut String, mut until: impl FnMut() -> bool) {
    while !until() {
        *said += &read_some(reader, 100);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn slow_reader_gets_everything_after_ctrl_c() {
    const COUNT: usize = 2000;
    let run = format!("lines:{COUNT}:97 touch:{{}} sleep");
    let sandbox = world(&[]);
    let marker = sandbox.path().join("written");
    let run = run.replace("{}", marker.to_str().unwrap());
    sandbox.write(&sandbox.main().join("devrun.yaml"), &super::configuration("", &[("web", &run, "")]));
    let (mut reader, writer) = std::io::pipe().unwrap();
    // The pipe is small, so that much output still waits when the run ends.
    fcntl(writer.as_fd(), FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let mut running = sandbox.devrun(&[]).with(|command| command.stdout(writer)).start();
    let mut said = String::new();
    read_slowly(&mut reader, &mut said, || marker.exists());
    running.signal(Signal::SIGINT);
    let began = std::time::Instant::now();
    read_slowly(&mut reader, &mut said, || began.elapsed() > Duration::from_secs(4));
    assert!(!running.has_ended());
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(running.wait().code, Some(130));
    let lines = lines_of(&said, "web");
    assert_eq!((lines.len(), lines.iter().filter(|line| line.len() == 97).count()), (COUNT, COUNT));
}

#[test]
fn paused_reader_gets_everything_without_ctrl_c() {
    const COUNT: usize = 20_000;
    let run = format!("lines:{COUNT}:100");
    let (_sandbox, mut running, mut reader) = start(&[("web", &run, "")]);
    let mut said = read_some(&mut reader, 1000);
    // After Ctrl-C, devrun would wait only two seconds for a reader that reads nothing.
    std::thread::sleep(Duration::from_secs(4));
    assert!(!running.has_ended());
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(running.wait().code, Some(0));
    assert_eq!(lines_of(&said, "web").len(), COUNT);

    let (_sandbox, mut running, mut reader) = start(&[("web", "partial:x lines:2000:100 exit:0", "")]);
    read_some(&mut reader, 1000);
    std::thread::sleep(Duration::from_secs(1));
    running.signal(Signal::SIGINT);
    wait_for("the end", LIMIT, || if running.has_ended() { Ok(()) } else { Err("it runs".into()) });
    drop(reader);
}

#[test]
fn full_output_is_reported_once_and_stops_nothing() {
    let sandbox = world(&[("web", "lines:20000:100 say:end", "")]);
    let small = "trap '' XFSZ; ulimit -f 64; exec devrun >../out";
    let ended = sandbox.program("sh", &["-c", small]).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(ended.stderr.matches("warning: lines are lost").count(), 1, "{}", ended.stderr);
}

#[test]
fn stdin_stays_open_without_data_unless_null() {
    let sandbox = world(&[("open", "+stdin ready join", ""), ("empty", "stdin ready sleep", "stdin: null")]);
    let mut running = sandbox.devrun(&[]).start();
    // At the end of its input, `open` would have ended the run by now.
    running.expect_line("^empty .*stdin 0");
    running.expect_lines(r"\| ready", 2);
    assert!(!running.stdout().contains("open  | stdin"), "{}", running.stdout());
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{ended}");
    assert!(!ended.stdout.contains("open  | stdin"), "{ended}");
}
