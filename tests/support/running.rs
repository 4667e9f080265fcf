//! A running program, with its output so far.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use regex::Regex;

use super::{Ended, LIMIT, wait_for};

/// A running program. Dropping it kills the program.
pub(crate) struct Running {
    child: Child,
    name: String,
    status: Option<ExitStatus>,
    limit: Duration,
    stdout: Stream,
    stderr: Stream,
}

/// The bytes read from a pipe so far, and whether it is closed.
#[derive(Clone, Default)]
struct Stream(Arc<Mutex<(Vec<u8>, bool)>>);

impl Stream {
    fn collect(pipe: Option<impl Read + Send + 'static>) -> Stream {
        let stream = Stream::default();
        let shared = stream.0.clone();
        let Some(mut pipe) = pipe else {
            shared.lock().unwrap().1 = true;
            return stream;
        };
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                shared.lock().unwrap().0.extend_from_slice(&buffer[..count]);
            }
            shared.lock().unwrap().1 = true;
        });
        stream
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap().0).into_owned()
    }

    fn is_closed(&self) -> bool {
        self.0.lock().unwrap().1
    }
}

impl Running {
    pub(super) fn new(mut child: Child, name: String) -> Running {
        let stdout = Stream::collect(child.stdout.take());
        let stderr = Stream::collect(child.stderr.take());
        Running { child, name, status: None, limit: LIMIT, stdout, stderr }
    }

    /// Sets the time limit of waits, which is [`LIMIT`] by default.
    pub(crate) fn patient(mut self, limit: Duration) -> Running {
        self.limit = limit;
        self
    }

    /// Returns the process id of the program, which is also the id of its group.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Returns standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits for a whole line of either stream that matches the regular expression `pattern`, and returns the first one.
    #[track_caller]
    pub(crate) fn expect_line(&mut self, pattern: &str) -> String {
        self.expect_lines(pattern, 1).swap_remove(0)
    }

    /// Waits until `count` whole lines match, and returns all matching lines, those of standard output first.
    #[track_caller]
    pub(crate) fn expect_lines(&mut self, pattern: &str, count: usize) -> Vec<String> {
        let regex = Regex::new(pattern).unwrap();
        let what = format!("{count} × /{pattern}/ from {}", self.name);
        wait_for(&what, self.limit, || {
            // The order matters: once the program is over, both pipes are closed and all output has been collected.
            let over = self.is_over();
            let (out, err) = (self.stdout(), self.stderr());
            let lines = whole_lines(&out).chain(whole_lines(&err));
            let found: Vec<String> = lines.filter(|line| regex.is_match(line)).map(String::from).collect();
            if found.len() >= count {
                return Ok(found);
            }
            let said = format!("it said\n-- stdout\n{out}\n-- stderr\n{err}");
            assert!(!over, "{} ended without {what}; {said}", self.name);
            Err(said)
        })
    }

    /// Sends a signal to the program alone.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
    }

    /// Sends a signal to the process group of the program, as a terminal does on Ctrl-C.
    pub(crate) fn signal_group(&self, signal: Signal) {
        killpg(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
    }

    /// Returns true if the program has exited.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.status = self.status.or_else(|| self.child.try_wait().unwrap());
        self.status.is_some()
    }

    /// Waits for the exit of the program and for all of its output.
    #[track_caller]
    pub(crate) fn wait(self) -> Ended {
        let limit = self.limit;
        self.wait_within(limit)
    }

    /// Does the same as [`Running::wait`], with another limit. Panics at the limit, also if only the output is still open.
    #[track_caller]
    pub(crate) fn wait_within(mut self, limit: Duration) -> Ended {
        let name = self.name.clone();
        wait_for(&format!("the end of {name}"), limit, || {
            if self.is_over() {
                return Ok(());
            }
            let ended = if self.has_ended() { "it ended, but its output is still open" } else { "it runs" };
            Err(format!("{ended}; it said\n-- stdout\n{}\n-- stderr\n{}", self.stdout(), self.stderr()))
        });
        let status = self.status.unwrap();
        Ended { code: status.code(), signal: status.signal(), stdout: self.stdout(), stderr: self.stderr() }
    }

    fn is_over(&mut self) -> bool {
        self.has_ended() && self.stdout.is_closed() && self.stderr.is_closed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Returns the lines that end with a newline; the last line may still grow.
fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}
