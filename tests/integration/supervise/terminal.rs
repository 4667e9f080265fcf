//! devrun on a terminal: colours, children with a terminal, the terminal's keys, and a closed terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::openpty;
use nix::sys::signal::Signal;

use super::{assert_nothing_runs, lines_of, world};
use crate::support::{Ended, Invocation, LIMIT, Running, Sandbox, wait_for};

/// The controlling side of a terminal to which a program writes. Dropping it closes the terminal.
pub(crate) struct Terminal {
    master: Arc<File>,
    shown: Arc<Mutex<Vec<u8>>>,
    closing: Arc<AtomicBool>,
    reading: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts `invocation` with all three streams on a new terminal.
    pub(crate) fn start(invocation: Invocation) -> (Running, Terminal) {
        Terminal::start_with(invocation, None)
    }

    /// Does the same on a terminal with this number of rows and columns.
    pub(crate) fn start_sized(invocation: Invocation, rows: u16, columns: u16) -> (Running, Terminal) {
        let size = nix::pty::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Terminal::start_with(invocation, Some(size))
    }

    fn start_with(invocation: Invocation, size: Option<nix::pty::Winsize>) -> (Running, Terminal) {
        let pty = openpty(size.as_ref(), None).unwrap();
        // Programs that other tests start at the same time must not keep it open.
        for side in [&pty.master, &pty.slave] {
            fcntl(side, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        fcntl(&pty.master, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK)).unwrap();
        let (master, slave) = (Arc::new(File::from(pty.master)), File::from(pty.slave));
        let (input, error) = (slave.try_clone().unwrap(), slave.try_clone().unwrap());
        let running = invocation.with(|command| command.stdin(input).stdout(slave).stderr(error)).start();
        let (shown, closing) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<AtomicBool>::default());
        let reading = std::thread::spawn({
            let (master, shown, closing) = (master.clone(), shown.clone(), closing.clone());
            move || collect(&master, &shown, &closing)
        });
        (running, Terminal { master, shown, closing, reading: Some(reading) })
    }

    /// Waits until the program has ended and all of its output was read.
    #[track_caller]
    pub(crate) fn end(&self, running: Running) -> Ended {
        let ended = running.wait();
        wait_for("all programs to close the terminal", LIMIT, || {
            if self.reading.as_ref().is_none_or(JoinHandle::is_finished) { Ok(()) } else { Err(self.text()) }
        });
        ended
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).replace("\r\n", "\n")
    }

    /// Returns what a terminal of this size shows after all output so far, without colours and without spaces at the ends.
    pub(crate) fn screen(&self, rows: u16, columns: u16) -> String {
        let mut emulator = vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0);
        emulator.process(&self.shown.lock().unwrap());
        let shown = emulator.screen().rows(0, columns);
        shown.map(|row| format!("{}\n", row.trim_end())).collect::<Vec<_>>().concat()
    }

    /// Changes the size of the terminal.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&*self.master, size).unwrap();
    }

    #[track_caller]
    pub(crate) fn expect(&self, part: &str) {
        wait_for(part, LIMIT, || if self.text().contains(part) { Ok(()) } else { Err(self.text()) });
    }

    /// Returns true if the terminal is in raw mode.
    pub(crate) fn is_raw(&self) -> bool {
        let modes = rustix::termios::tcgetattr(&*self.master).unwrap().local_modes;
        !modes.contains(rustix::termios::LocalModes::ICANON)
    }

    pub(crate) fn press(&self, keys: &str) {
        (&*self.master).write_all(keys.as_bytes()).unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        let _ = self.reading.take().map(JoinHandle::join);
    }
}

fn collect(master: &File, shown: &Mutex<Vec<u8>>, closing: &AtomicBool) {
    let mut buffer = [0; 4096];
    while !closing.load(Ordering::Relaxed) {
        let mut wanted = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut wanted, 20_u8);
        match (&*master).read(&mut buffer) {
            Ok(count @ 1..) => shown.lock().unwrap().extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // No process holds the other side any more.
            Ok(0) | Err(_) => return,
        }
    }
}

#[test]
fn names_are_coloured_and_colour_is_requested() {
    let sandbox = world(&[
        ("web", "env:FORCE_COLOR env:CLICOLOR_FORCE tty ready sleep", ""),
        ("api", "ready sleep", ""),
    ]);
    let (running, terminal) = Terminal::start(sandbox.devrun(&[]).env("TERM", "xterm"));
    for part in [
        "\x1b[36mweb |\x1b[0m env FORCE_COLOR=1\n",
        "env CLICOLOR_FORCE=1\n",
        "tty no\n",
        "api |\x1b[0m ready",
    ] {
        terminal.expect(part);
    }
    running.signal(Signal::SIGINT);
    assert_eq!(terminal.end(running).code, Some(130));
}

#[test]
fn no_color_and_dumb_terminals_disable_colour() {
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let sandbox = world(&[("web", "env:FORCE_COLOR env:CLICOLOR_FORCE ready sleep", "")]);
        let (running, terminal) = Terminal::start(sandbox.devrun(&[]).env("TERM", "xterm").env(name, value));
        for part in ["web | env FORCE_COLOR unset\n", "web | env CLICOLOR_FORCE unset\n", "web | ready"] {
            terminal.expect(part);
        }
        running.signal(Signal::SIGINT);
        assert_eq!(terminal.end(running).code, Some(130));
        assert!(!terminal.text().contains('\x1b'), "{:?}", terminal.text());
    }
}

#[test]
fn tty_gives_a_child_a_terminal() {
    let sandbox =
        world(&[("web", "tty ready graceful:INT sleep", "tty: true"), ("api", "tty ready sleep", "")]);
    let mut running = sandbox.devrun(&[]).start();
    let ready = running.expect_lines(r"\| ready", 2);
    assert!(ready.iter().all(|line| !line.contains('\r')), "{ready:?}");
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(lines_of(&ended.stdout, "web")[0], "tty yes", "{ended}");
    assert_eq!(lines_of(&ended.stdout, "web")[2..], ["got INT", "bye"], "{ended}");
    assert_eq!(lines_of(&ended.stdout, "api")[0], "tty no", "{ended}");
    assert_eq!(ended.code, Some(130));
}

#[test]
fn all_output_of_a_tty_child_is_shown() {
    let sandbox = world(&[("web", "lines:2000 partial:last exit:3", "tty: true"), ("api", "sleep", "")]);
    let ended = sandbox.devrun(&[]).run();
    assert_eq!(ended.code, Some(3), "{ended}");
    let lines = lines_of(&ended.stdout, "web");
    assert_eq!((lines.len(), lines[1999], lines[2000]), (2001, "line 2000", "last"));
}

/// Returns a call of devrun as the foreground program of a new terminal.
pub(crate) fn in_foreground(sandbox: &Sandbox, args: &[&str]) -> Invocation {
    sandbox.program("setsid", &[&["--ctty", "--wait", "devrun"], args].concat()).env("TERM", "xterm")
}

#[test]
fn ctrl_c_key_stops_the_run() {
    let sandbox = world(&[("web", "report:INT,HUP,TERM ready sleep", "stop_grace: 300ms")]);
    let (running, terminal) = Terminal::start(in_foreground(&sandbox, &[]));
    terminal.expect("ready ");
    terminal.press("\x03");
    let ended = terminal.end(running);
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(130), "{}", terminal.text());
    assert_eq!(terminal.text().matches("got ").count(), 1, "{}", terminal.text());
}

#[test]
fn closing_the_terminal_ends_everything() {
    let sandbox = world(&[(
        "web",
        "ignore:INT,TERM,HUP ready child[ setsid ignore:INT,TERM,HUP ready mute sleep ] sleep",
        "stop_grace: 300ms",
    )]);
    let (running, terminal) = Terminal::start(in_foreground(&sandbox, &[]));
    wait_for("both", LIMIT, || match terminal.text().matches("ready ").count() {
        2 => Ok(()),
        _ => Err(terminal.text()),
    });
    drop(terminal);
    running.wait();
    assert_nothing_runs(&sandbox);
}

#[test]
fn attach_passes_the_window_size_and_leaves_on_its_key() {
    let sandbox = world(&[("shell", "$ while read x; do echo $x $(stty size); done", "tty: true")]);
    let up = sandbox.devrun(&["up", "-d"]).run();
    assert_eq!(up.code, Some(0), "{up}");
    let (running, terminal) = Terminal::start(sandbox.devrun(&["attach", "shell"]));
    terminal.expect("attached to shell; Ctrl-] leaves");
    terminal.resize(33, 101);
    running.signal(Signal::SIGWINCH);
    wait_for("the size to arrive", LIMIT, || {
        terminal.press("size\n");
        if terminal.text().contains("size 33 101") { Ok(()) } else { Err(terminal.text()) }
    });
    terminal.press("\x1d");
    assert_eq!(terminal.end(running).code, Some(0));
    let down = sandbox.devrun(&["down"]).run();
    assert_eq!(down.code, Some(0), "{down}");
    assert_nothing_runs(&sandbox);
}

#[test]
fn job_control_suspends_and_resumes_devrun() {
    let sandbox = world(&[("web", "ready await:USR1 say:after sleep", "")]);
    let shell = sandbox.program("setsid", &["--ctty", "--wait", "bash", "--norc", "--noprofile", "-i"]);
    let (running, terminal) = Terminal::start(shell.env("TERM", "dumb").env("PS1", "shell> "));
    terminal.expect("shell> ");
    terminal.press("devrun\n");
    terminal.expect("Ctrl-C stops everything");
    terminal.expect("| ready ");
    let said = terminal.text();
    let child = super::pid_in(said.lines().find(|line| line.contains("| ready ")).unwrap());
    terminal.press("\x1a");
    terminal.expect("Stopped");
    // The shell has the terminal again, and the processes of the stack keep running.
    terminal.press("echo me $((20 + 22))\n");
    terminal.expect("me 42");
    nix::sys::signal::kill(child, Signal::SIGUSR1).unwrap();
    terminal.press("fg\n");
    terminal.expect("| after");
    terminal.press("\x03");
    terminal.expect("stopping: Ctrl-C");
    terminal.press("echo code $?\n");
    terminal.expect("code 130");
    assert!(!sandbox.processes().iter().any(|process| process.command.contains("fixture")));
    terminal.press("exit\n");
    terminal.end(running);
    assert_nothing_runs(&sandbox);
}
