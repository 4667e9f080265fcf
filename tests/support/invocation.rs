//! A program to run in a sandbox, and what came of it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Running;

/// A program to run: in a process group of its own, without input.
pub(crate) struct Invocation {
    command: Command,
    name: String,
}

/// How it ended and what it said.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// The number of the signal that ended it.
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
    #[expect(clippy::disallowed_methods, reason = "tests run devrun from outside, as a person does")]
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

    /// Runs it there.
    pub(crate) fn directory(mut self, directory: impl AsRef<Path>) -> Invocation {
        self.command.current_dir(directory);
        self
    }

    /// Sets a variable for it alone.
    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Invocation {
        self.command.env(name, value);
        self
    }

    /// Takes a variable from it alone.
    pub(crate) fn env_remove(mut self, name: impl AsRef<OsStr>) -> Invocation {
        self.command.env_remove(name);
        self
    }

    /// Gives it something else than emptiness to read, or other places to write to.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Command) -> &mut Command) -> Invocation {
        change(&mut self.command);
        self
    }

    /// Starts it; what it says is collected from now on.
    #[track_caller]
    pub(crate) fn start(mut self) -> Running {
        match self.command.spawn() {
            Ok(child) => Running::new(child, self.name),
            Err(error) => panic!("cannot start {}: {error}", self.name),
        }
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(self) -> Ended {
        self.start().wait()
    }
}
