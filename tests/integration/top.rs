//! `devrun top`: a view of all stacks on a real terminal, with real stacks.

use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::asking::{base, fine, refusal, server};
use crate::supervise::terminal::{Terminal, in_foreground};
use crate::support::{LIMIT, Sandbox, wait_for};

/// Switches to the alternate screen.
const TAKEN: &str = "\x1b[?1049h";
/// Switches back to the normal screen.
const RESTORED: &str = "\x1b[?1049l";

/// Waits until a terminal of 24 rows and 80 columns shows `part`, and returns what it shows.
#[track_caller]
fn shows(terminal: &Terminal, part: &str) -> String {
    wait_for(part, LIMIT, || {
        let screen = terminal.screen(24, 80);
        if screen.contains(part) { Ok(screen) } else { Err(screen) }
    })
}

#[track_caller]
fn assert_restored(terminal: &Terminal) {
    let text = terminal.text();
    assert_eq!(text.matches(TAKEN).count(), text.matches(RESTORED).count(), "{text:?}");
    assert!(text.contains(TAKEN) && text.rfind(RESTORED) > text.rfind(TAKEN), "{text:?}");
    assert!(text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor stays hidden: {text:?}");
    assert!(!terminal.is_raw(), "the terminal stays in raw mode");
}

#[test]
fn keys_open_restart_and_stop_a_stack_and_follow_its_logs() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    fine(sandbox.devrun(&["up", "-d"]).directory(&main));
    let (browser, opened) = (sandbox.path().join("browser"), sandbox.path().join("opened"));
    sandbox.write(&browser, &format!("#!/bin/sh\necho \"$#:$1\" > {}\n", opened.display()));
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    let top = in_foreground(&sandbox, &["top"]).directory(sandbox.home()).env("BROWSER", &browser);
    let (running, terminal) = Terminal::start_sized(top, 24, 80);
    let screen = shows(&terminal, "> ready");
    assert!(screen.contains("1 stack") && screen.contains("main") && screen.contains("MB"), "{screen}");

    terminal.press("o");
    shows(&terminal, "opened http://localhost:");
    let url = std::fs::read_to_string(&opened).unwrap();
    assert!(url.starts_with("1:http://localhost:"), "{url}");

    terminal.press("l");
    terminal.expect("serving");
    terminal.press("\x03");
    shows(&terminal, "> ready");

    terminal.press("r");
    shows(&terminal, "restarted, and ready");
    terminal.press("s");
    shows(&terminal, "Stop repo main? y");
    terminal.press("n");
    shows(&terminal, "? help");
    terminal.press("sy");
    shows(&terminal, "No stack runs");
    terminal.press("q");
    assert_eq!(terminal.end(running).code, Some(0), "{}", terminal.text());
    assert_restored(&terminal);
}

#[test]
fn screen_is_redrawn_after_a_resize_and_after_the_end_of_a_stack() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    fine(sandbox.devrun(&["up", "-d"]).directory(&main));
    let (running, terminal) = Terminal::start_sized(in_foreground(&sandbox, &["ls", "--watch"]), 24, 80);
    shows(&terminal, "q quit");
    terminal.resize(12, 40);
    wait_for("the narrow screen", LIMIT, || {
        let screen = terminal.screen(12, 40);
        if screen.trim_end().ends_with("l logs ? help") { Ok(()) } else { Err(screen) }
    });
    fine(sandbox.devrun(&["down"]).directory(&main));
    wait_for("the end of the stack", LIMIT, || {
        let screen = terminal.screen(12, 40);
        if screen.contains("No stack runs") { Ok(()) } else { Err(screen) }
    });
    terminal.press("\x03");
    assert_eq!(terminal.end(running).code, Some(0), "{}", terminal.text());
    assert_restored(&terminal);
}

#[test]
fn signals_restore_the_terminal() {
    let sandbox = Sandbox::new();
    sandbox.repo();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let (running, terminal) =
            Terminal::start_sized(sandbox.devrun(&["top"]).env("TERM", "xterm"), 24, 80);
        shows(&terminal, "No stack runs");
        assert!(terminal.is_raw());
        running.signal(signal);
        assert_eq!(terminal.end(running).code, Some(128 + signal as i32), "{}", terminal.text());
        assert_restored(&terminal);
    }
}

#[test]
fn a_panic_restores_the_terminal_before_it_is_reported() {
    let sandbox = Sandbox::new();
    let program = sandbox.fixture(&["full-screen-panic"]).env("TERM", "xterm");
    let (running, terminal) = Terminal::start_sized(program, 24, 80);
    terminal.end(running);
    let text = terminal.text();
    assert!(text.find(RESTORED) < text.find("in the middle of a picture"), "{text:?}");
    assert!(text.contains(TAKEN) && !terminal.is_raw(), "{text:?}");
}

#[test]
fn no_colour_is_used_where_the_user_wants_none() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    fine(sandbox.devrun(&["up", "-d"]).directory(&main));
    let top = in_foreground(&sandbox, &["top"]).env("NO_COLOR", "1");
    let (running, terminal) = Terminal::start_sized(top, 24, 80);
    shows(&terminal, "> ready");
    terminal.press("q");
    assert_eq!(terminal.end(running).code, Some(0), "{}", terminal.text());
    let colour = regex::Regex::new("\x1b\\[(?:\\d+;)*(?:3[0-7]|9[0-7]|38;\\d+;\\d+)m").unwrap();
    assert!(!colour.is_match(&terminal.text()), "{:?}", terminal.text());
    fine(sandbox.devrun(&["down"]).directory(&main));
}

#[test]
fn top_without_a_terminal_names_ls_json() {
    let sandbox = Sandbox::new();
    sandbox.repo();
    for args in [&["top", "--json"][..], &["ls", "--watch", "--json"]] {
        let error = refusal(sandbox.devrun(args), "usage", 2);
        assert_eq!(error["fix"], "devrun ls --json");
    }
    let ended = sandbox.devrun(&["top"]).run();
    assert!(ended.code == Some(2) && ended.stderr.contains("fix: devrun ls --json"), "{ended}");
}
