//! On a terminal: colours, a terminal for children that ask for one, the terminal's own keys and its end.

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
use crate::support::{Invocation, LIMIT, Running, Sandbox, wait_for};

/// The other side of a terminal that a program writes to; dropping it closes the terminal.
pub(crate) struct Terminal {
    master: Arc<File>,
    shown: Arc<Mutex<Vec<u8>>>,
    closing: Arc<AtomicBool>,
    reading: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts `invocation` with all three streams on a new terminal.
    pub(crate) fn start(invocation: Invocation) -> (Running, Terminal) {
        let pty = openpty(None, None).unwrap();
        // Programs that other tests start meanwhile must not keep it open.
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

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).replace("\r\n", "\n")
    }

    #[track_caller]
    pub(crate) fn expect(&self, part: &str) {
        wait_for(part, LIMIT, || if self.text().contains(part) { Ok(()) } else { Err(self.text()) });
    }

    /// True when each key is handed over as it is.
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
            // Nobody has the other side any more.
            Ok(0) | Err(_) => return,
        }
    }
}

#[test]
fn names_are_coloured_and_children_are_asked_for_colour() {
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
    assert_eq!(running.wait().code, Some(130));
}

#[test]
fn colour_is_left_out_where_it_is_not_wanted() {
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let sandbox = world(&[("web", "env:FORCE_COLOR env:CLICOLOR_FORCE ready sleep", "")]);
        let (running, terminal) = Terminal::start(sandbox.devrun(&[]).env("TERM", "xterm").env(name, value));
        for part in ["web | env FORCE_COLOR unset\n", "web | env CLICOLOR_FORCE unset\n", "web | ready"] {
            terminal.expect(part);
        }
        running.signal(Signal::SIGINT);
        assert_eq!(running.wait().code, Some(130));
        assert!(!terminal.text().contains('\x1b'), "{:?}", terminal.text());
    }
}

#[test]
fn a_child_that_asks_for_a_terminal_has_one() {
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
fn everything_is_shown_of_a_child_on_a_terminal_that_ends() {
    let sandbox = world(&[("web", "lines:2000 partial:last exit:3", "tty: true"), ("api", "sleep", "")]);
    let ended = sandbox.devrun(&[]).run();
    assert_eq!(ended.code, Some(3), "{ended}");
    let lines = lines_of(&ended.stdout, "web");
    assert_eq!((lines.len(), lines[1999], lines[2000]), (2001, "line 2000", "last"));
}

/// devrun as the foreground program of a terminal of its own.
pub(crate) fn in_foreground(sandbox: &Sandbox, args: &[&str]) -> Invocation {
    sandbox.program("setsid", &[&["--ctty", "--wait", "devrun"], args].concat()).env("TERM", "xterm")
}

#[test]
fn the_key_works() {
    let sandbox = world(&[("web", "report:INT,HUP,TERM ready sleep", "stop_grace: 300ms")]);
    let (running, terminal) = Terminal::start(in_foreground(&sandbox, &[]));
    terminal.expect("ready ");
    terminal.press("\x03");
    let ended = running.wait();
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
fn one_terminal_is_attached_to_another_with_its_size_until_the_key_that_leaves() {
    let sandbox = world(&[("shell", "$ while read x; do echo $x $(stty size); done", "tty: true")]);
    let up = sandbox.devrun(&["up", "-d"]).run();
    assert_eq!(up.code, Some(0), "{up}");
    let (running, terminal) = Terminal::start(sandbox.devrun(&["attach", "shell"]));
    let resize = |rows, columns| {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&*terminal.master, size).unwrap();
    };
    terminal.expect("attached to shell; Ctrl-] leaves");
    resize(33, 101);
    running.signal(Signal::SIGWINCH);
    wait_for("the size to arrive", LIMIT, || {
        terminal.press("size\n");
        if terminal.text().contains("size 33 101") { Ok(()) } else { Err(terminal.text()) }
    });
    terminal.press("\x1d");
    assert_eq!(running.wait().code, Some(0));
    let down = sandbox.devrun(&["down"]).run();
    assert_eq!(down.code, Some(0), "{down}");
    assert_nothing_runs(&sandbox);
}

#[test]
fn a_shell_can_stop_it_and_let_it_go_on() {
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
    // The terminal is the shell's again, and what runs below devrun runs on.
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
    running.wait();
    assert_nothing_runs(&sandbox);
}
