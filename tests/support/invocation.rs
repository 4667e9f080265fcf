//! A program to run in a sandbox, and its result.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Running;

/// A program to run in a new process group, without input.
pub(crate) struct Invocation {
    command: Command,
    name: String,
}

/// The exit status and output of a program.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// The exit code; `None` if a signal ended the program.
    pub(crate) code: Option<i32>,
    /// The number of the signal that ended the program.
    pub(crate) signal: Option<i32>,
    /// Standard output; invalid UTF-8 replaced.
    pub(crate) stdout: String,
    /// Standard error; invalid UTF-8 replaced.
    pub(crate) stderr: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, signal) = (self.code, self.signal);
        write!(f, "code {code:?}, signal {signal:?}\n-- stdout\n{}\n-- stderr\n{}", self.stdout, self.stderr)
    }
}

impl Invocation {
    #[expect(clippy::disallowed_methods, reason = "tests run devrun as a user does")]
    pub(super) fn new(
        program: &OsStr,
        args: &[&str],
        directory: &Path,
        env: &BTreeMap<OsString, OsString>,
    ) -> Invocation {
        let mut command = Command::new(program);
        command.args(args).current_dir(directory).env_clear().envs(env).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = format!("{} {}", Path::new(program).display(), args.join(" "));
        Invocation { command, name }
    }

    /// Sets the folder in which the program runs.
    pub(crate) fn directory(mut self, directory: impl AsRef<Path>) -> Invocation {
        self.command.current_dir(directory);
        self
    }

    /// Sets a variable for this program alone.
    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Invocation {
        self.command.env(name, value);
        self
    }

    /// Removes a variable for this program alone.
    pub(crate) fn env_remove(mut self, name: impl AsRef<OsStr>) -> Invocation {
        self.command.env_remove(name);
        self
    }

    /// Changes the command, for example its standard input or output.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Command) -> &mut Command) -> Invocation {
        change(&mut self.command);
        self
    }

    /// Starts the program and collects its output.
    #[track_caller]
    pub(crate) fn start(mut self) -> Running {
        match self.command.spawn() {
            Ok(child) => Running::new(child, self.name),
            Err(error) => panic!("cannot start {}: {error}", self.name),
        }
    }

    /// Runs the program until it exits.
    #[track_caller]
    pub(crate) fn run(self) -> Ended {
        self.start().wait()
    }
}
