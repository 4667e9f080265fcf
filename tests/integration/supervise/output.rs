//! The output of children: devrun prints all lines whole, after the name of their process.

use nix::sys::signal::Signal;

use super::{lines_of, world};

#[test]
fn names_are_aligned() {
    let sandbox =
        world(&[("a", "say:one err:two graceful:INT ready sleep", ""), ("longer", "ready sleep", "")]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_lines(r"\| ready", 2);
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    let lines: Vec<&str> = ended.stdout.lines().filter(|line| line.starts_with("a ")).collect();
    assert_eq!(lines[..2], ["a      | one", "a      | two"], "{ended}");
    assert!(
        ended.stdout.contains("\nlonger | ready") || ended.stdout.starts_with("longer | ready"),
        "{ended}"
    );
    assert!(!ended.stdout.contains('\x1b') && !ended.stderr.contains('\x1b'), "{ended}");
}

#[test]
fn lines_of_eight_processes_stay_whole() {
    const COUNT: usize = 20_000;
    let names: Vec<String> = (1..=8).map(|number| format!("p{number}")).collect();
    let run = format!("+lines:{COUNT}:100 +errlines:{COUNT}:60 join");
    let one = format!("lines:{COUNT}:100");
    let entries: Vec<_> = names
        .iter()
        .enumerate()
        // Half of the processes write to both streams.
        .map(|(index, name)| (name.as_str(), if index % 2 == 0 { &run } else { &one }.as_str(), ""))
        .map(|(name, run, _)| (name, run, "restart: on-failure"))
        .collect();
    let sandbox = world(&entries);
    let ended = sandbox.devrun(&[]).run();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for (index, name) in names.iter().enumerate() {
        for width in if index % 2 == 0 { &[100, 60][..] } else { &[100] } {
            let lines = lines_of(&ended.stdout, name).into_iter().filter(|line| line.len() == *width);
            let mut count = 0;
            for (line, number) in lines.zip(1..) {
                assert_eq!(line, format!("{:.<width$}", format!("line {number} ")), "{name}");
                count += 1;
            }
            assert_eq!(count, COUNT, "{name} with {width}");
        }
        let expected = if index % 2 == 0 { 2 * COUNT } else { COUNT };
        assert_eq!(lines_of(&ended.stdout, name).len(), expected, "{name}");
    }
}

#[test]
fn output_just_before_exit_is_shown() {
    // The exit of one child ends the run. The other one keeps its pipe open until the end.
    let sandbox = world(&[("web", "lines:2000 partial:last exit:3", ""), ("api", "sleep", "")]);
    for round in 0..50 {
        let ended = sandbox.devrun(&[]).run();
        assert_eq!(ended.code, Some(3), "{ended}");
        let lines = lines_of(&ended.stdout, "web");
        assert_eq!((lines.len(), lines[1999], lines[2000]), (2001, "line 2000", "last"), "round {round}");
        let mut crash = ended.stderr.lines();
        assert!(crash.any(|line| line.starts_with("error: web ended")), "{ended}");
    }
}

#[test]
fn output_of_an_orphan_is_shown() {
    let sandbox = world(&[
        (
            "web",
            "child[ ignore:INT await:USR1 lines:2000 partial:last sleep ] say:gone exit:0",
            "restart: on-failure",
        ),
        ("api", "ready sleep", ""),
    ]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(r"^web \| gone$");
    running.expect_line(r"ready ");
    let processes = sandbox.processes();
    let grandchild = processes.iter().find(|process| process.command.contains("last")).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(grandchild.pid), Signal::SIGUSR1).unwrap();
    running.expect_line(r"^web \| last$");
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_eq!(lines_of(&ended.stdout, "web").len(), 2002, "{ended}");
}

#[test]
fn slow_progress_is_one_line() {
    let run = "$ for n in 1 2 3 4 5; do printf '\\r%s0%%' $n; sleep 0.2; done; printf '\\rdone\\n'; printf 'a\\000b\\r\\n'";
    let sandbox = world(&[("web", run, "")]);
    let ended = sandbox.devrun(&[]).run();
    assert_eq!(lines_of(&ended.stdout, "web"), ["done", "a\0b"], "{ended}");
}

#[test]
fn output_during_shutdown_is_shown() {
    let run = "$ trap 'devrun-fixture lines:2000; exit 0' INT; echo ready; while :; do sleep 0.01; done";
    let sandbox = world(&[("web", run, "stop_grace: 30s")]);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(r"\| ready");
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_eq!(lines_of(&ended.stdout, "web").len(), 2001, "{ended}");
}

#[test]
fn unfinished_line_is_shown_and_delays_no_other() {
    let sandbox = world(&[
        ("asks", "partial:Password: await:USR1 say:_thanks sleep", ""),
        ("talks", "ready await:USR1 say:still_here sleep", ""),
    ]);
    let mut running = sandbox.devrun(&[]).start();
    let talks = super::pid_in(&running.expect_line(r"\| ready"));
    running.expect_line(r"^asks  \| Password:$");
    nix::sys::signal::kill(talks, Signal::SIGUSR1).unwrap();
    running.expect_line(r"^talks \| still_here$");
    let processes = sandbox.processes();
    let asks = processes.iter().find(|process| process.command.contains("Password")).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(asks.pid), Signal::SIGUSR1).unwrap();
    running.expect_line(r"^asks  … _thanks$");
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code, Some(130));
}

#[test]
fn invalid_utf8_passes_and_progress_collapses() {
    let sandbox = world(&[("web", "invalid progress:50 say:end", "")]);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let running = sandbox.devrun(&[]).with(|command| command.stdout(writer)).start();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
    assert_eq!(running.wait().code, Some(0));
    let start = b"web | invalid \xff\xfe\xc3( end\n";
    assert!(bytes.windows(start.len()).any(|window| window == start), "{}", String::from_utf8_lossy(&bytes));
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(lines_of(&text, "web")[1..], ["done", "end"]);
    assert!(!bytes.contains(&b'\r'));
}

#[test]
fn lines_of_a_megabyte_stay_whole() {
    const WIDTH: usize = 1 << 20;
    let run = format!("lines:5:{WIDTH}");
    let sandbox = world(&[("web", &run, ""), ("api", &run, "")]);
    let sandbox_run = sandbox.devrun(&[]).run();
    // The first process to exit ends the other one, possibly in the middle of a line.
    let complete = ["web", "api"].iter().any(|name| {
        let lines = lines_of(&sandbox_run.stdout, name);
        lines.len() == 5 && lines.iter().all(|line| line.len() == WIDTH)
    });
    let lengths: Vec<usize> = sandbox_run.stdout.lines().map(str::len).collect();
    assert!(complete, "{lengths:?}");
}

#[test]
fn colour_is_not_requested_without_a_terminal() {
    let sandbox = world(&[("web", "env:FORCE_COLOR env:CLICOLOR_FORCE", "")]);
    let ended = sandbox.devrun(&[]).run();
    assert_eq!(
        lines_of(&ended.stdout, "web"),
        ["env FORCE_COLOR unset", "env CLICOLOR_FORCE unset"],
        "{ended}"
    );
}
