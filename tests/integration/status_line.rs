//! The status line of `devrun up` on a real terminal: always below the log lines, which it never tears.

use nix::sys::signal::Signal;

use crate::asking::{base, lines_of};
use crate::supervise::terminal::{Terminal, in_foreground};
use crate::support::{LIMIT, Sandbox, wait_for};

/// Makes a repository with two processes. `web` prints `count` lines on each SIGUSR1, and serves its port.
fn world(count: u32) -> Sandbox {
    let sandbox = Sandbox::new();
    let config = format!(
        "ports: {{ web: {} }}\nprocesses:\n  api: exec devrun-fixture ready sleep\n  web:\n    \
         run: exec devrun-fixture listen:PORT say:serving await:USR1 lines:{count} say:done sleep\n    port: web\n",
        base()
    );
    sandbox.repo_with(&[("devrun.yaml", &config)]);
    sandbox
}

/// Returns what stays on the screen of each line that was ended: the text after the last carriage return.
fn whole_lines(terminal: &Terminal) -> Vec<String> {
    let text = terminal.text();
    let ended = text.rsplit_once('\n').map_or("", |(ended, _)| ended);
    ended.lines().map(|line| line.rsplit('\r').next().unwrap_or_default().to_string()).collect()
}

/// Waits until the last row with text satisfies `wanted`, and returns the rows.
#[track_caller]
fn last_row(terminal: &Terminal, (rows, columns): (u16, u16), wanted: impl Fn(&str) -> bool) -> Vec<String> {
    wait_for("the status line", LIMIT, || {
        let screen = terminal.screen(rows, columns);
        let found: Vec<String> = screen.trim_end().lines().map(str::to_string).collect();
        if found.last().is_some_and(|row| wanted(row)) { Ok(found) } else { Err(screen) }
    })
}

fn start(sandbox: &Sandbox, args: &[&str], rows: u16, columns: u16) -> (crate::support::Running, Terminal) {
    let up = in_foreground(sandbox, args).env("NO_COLOR", "1");
    Terminal::start_sized(up, rows, columns)
}

/// Returns the process id of the fixture that serves.
#[track_caller]
fn web(sandbox: &Sandbox) -> nix::unistd::Pid {
    let all = sandbox.processes();
    let found = all.iter().find(|process| {
        process.command.contains("await:USR1") && process.command.starts_with("devrun-fixture")
    });
    nix::unistd::Pid::from_raw(found.unwrap_or_else(|| panic!("{all:?}")).pid)
}

#[test]
fn a_burst_of_lines_stays_whole_above_the_status() {
    let sandbox = world(3000);
    let (running, terminal) = start(&sandbox, &[], 24, 80);
    let is_ready = |row: &str| row.starts_with("api ready, web ready  http://localhost:");
    last_row(&terminal, (24, 80), is_ready);
    nix::sys::signal::kill(web(&sandbox), Signal::SIGUSR1).unwrap();
    terminal.expect("web | done");
    let rows = last_row(&terminal, (24, 80), is_ready);
    assert_eq!(rows[rows.len() - 2], "web | done", "{rows:#?}");
    assert_eq!(rows[rows.len() - 3], "web | line 3000", "{rows:#?}");
    let lines = lines_of("web", &whole_lines(&terminal).join("\n"));
    let numbers: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("line ")).collect();
    assert_eq!(numbers.len(), 3000);
    assert!(numbers.iter().enumerate().all(|(index, number)| *number == (index + 1).to_string()));

    terminal.press("\x03");
    let ended = terminal.end(running);
    assert_eq!(ended.code, Some(130), "{}", terminal.text());
    let screen = terminal.screen(24, 80);
    let last = screen.trim_end().lines().last().unwrap_or_default().to_string();
    assert!(!last.contains("ready") && !last.contains("http://"), "the line was not erased: {screen}");
}

#[test]
fn a_narrow_terminal_gets_a_short_line_and_a_new_size_another() {
    let sandbox = world(30);
    let (running, terminal) = start(&sandbox, &["up"], 10, 30);
    let rows = last_row(&terminal, (10, 30), |row| row.starts_with("api ready, web ready"));
    assert!(!rows.last().unwrap().contains("http"), "{rows:#?}");
    terminal.resize(10, 16);
    last_row(&terminal, (10, 16), |row| row == "2/2 ready");
    nix::sys::signal::kill(web(&sandbox), Signal::SIGUSR1).unwrap();
    terminal.expect("web | done");
    let rows = last_row(&terminal, (10, 16), |row| row == "2/2 ready");
    assert_eq!(rows[rows.len() - 2], "web | done", "{rows:#?}");
    terminal.resize(10, 100);
    last_row(&terminal, (10, 100), |row| row.contains("web ready  http://localhost:"));
    terminal.press("\x03");
    assert_eq!(terminal.end(running).code, Some(130), "{}", terminal.text());
}

#[test]
fn a_process_that_controls_the_screen_does_not_move_the_status() {
    let sandbox = Sandbox::new();
    let config = "processes:\n  web: printf '\\033[2J\\033[Hstarting\\n\\033[5Aup\\r\\n\\033[?25l\\n'; exec sleep 1000\n";
    sandbox.repo_with(&[("devrun.yaml", config)]);
    let (running, terminal) = start(&sandbox, &[], 24, 80);
    // Without a probe, the process may be ready before its output is read.
    wait_for("the output above the status line", LIMIT, || {
        let screen = terminal.screen(24, 80);
        let rows: Vec<&str> = screen.trim_end().lines().collect();
        let has_all = ["web | starting", "web | up", "web |"].iter().all(|line| rows.contains(line));
        if has_all && rows.last() == Some(&"web ready") { Ok(()) } else { Err(screen) }
    });
    terminal.press("\x03");
    assert_eq!(terminal.end(running).code, Some(130), "{}", terminal.text());
}

#[test]
fn no_status_option_and_piped_output_have_no_status_line() {
    let sandbox = world(3);
    let (running, terminal) = start(&sandbox, &["up", "--no-status"], 24, 80);
    terminal.expect("Ctrl-C stops everything");
    terminal.press("\x03");
    terminal.end(running);
    assert!(!terminal.text().contains("web ready"), "{}", terminal.text());
    let mut piped = sandbox.devrun(&[]).start();
    piped.expect_line("Ctrl-C stops everything");
    piped.signal_group(Signal::SIGINT);
    let ended = piped.wait();
    assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("web ready"), "{ended}");
}
