//! Runs subprocesses: git, package managers, migrations, tools of database servers, a browser, another devrun.
//!
//! Each command runs in a new session (Ctrl-C never reaches it directly) and has a time limit. Its stdin is empty
//! unless given. Its whole process group is killed if the caller stops waiting for it. [`Cmd::foreground`] and
//! [`Cmd::foreground_reading`] do none of that, and a command of [`Cmd::detach`] has no time limit and outlives devrun. No shell is used
//! except by [`Cmd::shell`], for command lines that the user wrote. Call this module from a thread that lives as long as the program,
//! because children die with the thread that started them.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

use crate::event::Ending;
use crate::os::cgroup;
use crate::os::fs;
use crate::os::read;
use crate::os::spawn::{self, Isolation};
use crate::plan::RunCommand;

/// How long output is read after the command has ended, if a process that it left holds the pipe open.
const DRAIN: Duration = Duration::from_millis(200);
/// How many bytes of each stream are kept. Older ones are dropped.
const KEEP: usize = 4 << 20;

/// The prefixes of npm's error lines. The cause is in the first of these lines, not in the last.
pub const NPM_MARKS: [&str; 2] = ["npm error ", "npm ERR! "];

/// A command to run. Arguments are passed unchanged, without a shell.
#[derive(Clone, Debug)]
pub struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    directory: Option<PathBuf>,
    clear: bool,
    env: Vec<(OsString, Option<OsString>)>,
    stdin: Option<Vec<u8>>,
    input: Option<PathBuf>,
    output: Option<PathBuf>,
    limit: Duration,
    user: Option<(u32, u32)>,
    leaves_nothing: bool,
}

/// The result of a command that ran to its end.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub ending: Ending,
    /// Standard output, at most the last 4 MiB.
    pub stdout: Vec<u8>,
    /// Standard error, at most the last 4 MiB.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Returns standard output as text, without white space at the end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_string()
    }

    /// Returns the last lines for the user: of standard error, or of standard output if that is empty.
    pub fn tail(&self, lines: usize) -> String {
        let stream =
            if self.stderr.iter().all(u8::is_ascii_whitespace) { &self.stdout } else { &self.stderr };
        let text = String::from_utf8_lossy(stream);
        let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// The reason why a command has no usable result.
#[derive(Debug, thiserror::Error)]
pub enum CmdError {
    /// The program does not exist.
    #[error("`{0}` is not installed or not on PATH")]
    NotFound(String),
    /// The command could not be started.
    #[error("cannot start `{program}`: {source}")]
    Spawn {
        program: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The command exceeded its time limit and was killed.
    #[error("`{command}` did not end within {} s and was stopped", limit.as_secs())]
    TimedOut {
        /// The whole command.
        command: String,
        /// The time limit.
        limit: Duration,
    },
    /// The command ended with another status than 0.
    #[error("`{command}` ended with {}", output.ending)]
    Failed {
        /// The whole command.
        command: String,
        output: Box<Output>,
    },
}

impl CmdError {
    /// Returns true if the program does not exist or could not be started, or if a shell did not find a command.
    pub fn is_missing_program(&self) -> bool {
        match self {
            CmdError::NotFound(_) | CmdError::Spawn { .. } => true,
            CmdError::Failed { output, .. } => output.ending == Ending::Code(127),
            CmdError::TimedOut { .. } => false,
        }
    }

    /// Returns how the command ended, without the command: `ended with exit code 1`.
    pub fn ending(&self) -> String {
        match self {
            CmdError::NotFound(_) => "is not installed or not on PATH".into(),
            CmdError::Spawn { source, .. } => format!("cannot be started: {source}"),
            CmdError::TimedOut { limit, .. } => format!("did not end within {} s", limit.as_secs()),
            CmdError::Failed { output, .. } => format!("ended with {}", output.ending),
        }
    }

    /// Returns the last lines of the output, if the command failed.
    pub fn tail(&self, lines: usize) -> Option<String> {
        match self {
            CmdError::Failed { output, .. } => Some(output.tail(lines)).filter(|tail| !tail.is_empty()),
            _ => None,
        }
    }

    /// Returns the last `lines` lines of each stream, standard output first, because tools differ in which stream has
    /// the cause.
    pub fn tails(&self, lines: usize) -> Option<String> {
        let CmdError::Failed { output, .. } = self else { return None };
        let tail = |stream: &[u8]| {
            let text = String::from_utf8_lossy(stream);
            let all: Vec<String> =
                text.lines().filter(|line| !line.trim().is_empty()).map(Into::into).collect();
            all[all.len().saturating_sub(lines)..].to_vec()
        };
        let (mut all, errors) = (tail(&output.stdout), tail(&output.stderr));
        // Some tools write the same line to both streams.
        all.retain(|line| !errors.contains(line));
        all.extend(errors);
        Some(all.join("\n")).filter(|text| !text.is_empty())
    }

    /// Returns the first lines of standard error that begin with one of `marks`, without the mark. Leaves out indented
    /// lines.
    pub fn marked(&self, marks: &[&str], lines: usize) -> Option<String> {
        let CmdError::Failed { output, .. } = self else { return None };
        let text = String::from_utf8_lossy(&output.stderr);
        let said = text.lines().filter_map(|line| marks.iter().find_map(|mark| line.strip_prefix(mark)));
        let first: Vec<&str> = said.filter(|line| !line.starts_with(' ')).take(lines).collect();
        Some(first.join("\n")).filter(|text| !text.is_empty())
    }
}

impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program.to_string_lossy())?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", arg.to_string_lossy()))
    }
}

impl Cmd {
    /// Returns a command that runs `program`, which is searched on the PATH of the command's environment.
    pub fn new(program: impl AsRef<OsStr>) -> Cmd {
        Cmd {
            program: program.as_ref().into(),
            args: Vec::new(),
            directory: None,
            clear: false,
            env: Vec::new(),
            stdin: None,
            input: None,
            output: None,
            limit: Duration::from_mins(1),
            user: None,
            leaves_nothing: false,
        }
    }

    /// Returns a command that runs a command line of the user with `/bin/sh -c`.
    pub fn shell(line: &str) -> Cmd {
        Cmd::new("/bin/sh").args(["-c", line])
    }

    /// Returns a command that runs a command of the configuration.
    pub fn of(run: &RunCommand) -> Cmd {
        match run {
            RunCommand::Shell(line) => Cmd::shell(line),
            RunCommand::Argv(words) => {
                Cmd::new(words.first().map_or("", String::as_str)).args(words.iter().skip(1))
            }
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Cmd {
        self.args.push(arg.as_ref().into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Cmd {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_os_string()));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn directory(mut self, directory: impl AsRef<Path>) -> Cmd {
        self.directory = Some(directory.as_ref().into());
        self
    }

    /// Sets one variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Cmd {
        self.env.push((name.as_ref().into(), Some(value.as_ref().into())));
        self
    }

    /// Removes one variable.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Cmd {
        self.env.push((name.as_ref().into(), None));
        self
    }

    /// Replaces the environment. Call it before [`Cmd::env`].
    #[must_use]
    pub fn only_env<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> Cmd {
        self.clear = true;
        self.env = vars.into_iter().map(|(k, v)| (k.as_ref().into(), Some(v.as_ref().into()))).collect();
        self
    }

    /// Writes `bytes` to the command's standard input, then closes it.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Cmd {
        self.stdin = Some(bytes.into());
        self
    }

    /// Reads standard input from the file `path`, of any size.
    #[must_use]
    pub fn reading(mut self, path: impl AsRef<Path>) -> Cmd {
        self.input = Some(path.as_ref().into());
        self
    }

    /// Writes standard output to the existing file `path` instead of the [`Output`].
    #[must_use]
    pub fn writing(mut self, path: impl AsRef<Path>) -> Cmd {
        self.output = Some(path.as_ref().into());
        self
    }

    /// Sets the time limit, after which the command is killed. The default is 60 s.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Cmd {
        self.limit = limit;
        self
    }

    /// Runs the command as another user, which needs root.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: u32) -> Cmd {
        self.user = Some((uid, gid));
        self
    }

    /// Kills the command's process group also after a normal end, for commands that may start background processes.
    #[must_use]
    pub fn leaving_nothing(mut self) -> Cmd {
        self.leaves_nothing = true;
        self
    }

    /// Runs the command to its end. Any status is a success. Errors if the command cannot be started or exceeds its time limit.
    pub async fn output(&self) -> Result<Output, CmdError> {
        self.run(&mut |_| {}).await
    }

    /// Runs the command to its end. Errors if the status is not 0.
    pub async fn ok(&self) -> Result<Output, CmdError> {
        self.checked(self.output().await?)
    }

    /// Runs the command like [`Cmd::ok`], and passes each line of both streams to `on_line` as it is read.
    pub async fn watched(&self, on_line: &mut (dyn FnMut(&str) + Send)) -> Result<Output, CmdError> {
        let output = self.run(on_line).await?;
        self.checked(output)
    }

    fn checked(&self, output: Output) -> Result<Output, CmdError> {
        if output.ending.ok() {
            Ok(output)
        } else {
            Err(CmdError::Failed { command: self.to_string(), output: Box::new(output) })
        }
    }

    async fn run(&self, on_line: &mut (dyn FnMut(&str) + Send)) -> Result<Output, CmdError> {
        let mut running = self.spawn()?;
        let ended = tokio::time::timeout(self.limit, running.finish(self.stdin.clone(), on_line)).await;
        match ended {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(source)) => {
                Err(CmdError::Spawn { program: self.program.to_string_lossy().into(), source })
            }
            Err(_) => Err(CmdError::TimedOut { command: self.to_string(), limit: self.limit }),
        }
    }

    /// Starts a server that outlives us: in a new session, without input, with its streams connected to `out` and
    /// `err`, without a time limit. It is reaped while we live and becomes a child of init afterwards.
    pub fn detach(&self, out: impl Into<Stdio>, err: impl Into<Stdio>) -> Result<Detached, CmdError> {
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        // It must not end with the processes of the run that it is started in.
        spawn::isolate(&mut command, Isolation { group: cgroup::members_outside(), ..Isolation::default() });
        let mut child =
            tokio::process::Command::from(command).spawn().map_err(|source| self.not_started(source))?;
        let pid = child.id().unwrap_or_default();
        spawn::await_pid(pid);
        let ended = tokio::spawn(async move {
            let status = child.wait().await;
            spawn::forget_pid(pid);
            status.map_or(Ending::Code(255), ending)
        });
        Ok(Detached { pid, ended })
    }

    /// Starts the command on the terminal with our streams, session and group, and without a time limit. Keys such as
    /// Ctrl-C signal both the command and us.
    pub fn foreground(&self) -> Result<Child, CmdError> {
        tokio::process::Command::from(self.command()).spawn().map_err(|source| self.not_started(source))
    }

    /// Starts the command as [`Cmd::foreground`] does, with `input` as its standard input.
    pub fn foreground_reading(&self, input: std::fs::File) -> Result<Child, CmdError> {
        let mut command = self.command();
        command.stdin(input);
        tokio::process::Command::from(command).spawn().map_err(|source| self.not_started(source))
    }

    fn spawn(&self) -> Result<Running, CmdError> {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        let unopened = |source| CmdError::Spawn { program: self.program.to_string_lossy().into(), source };
        if let Some(path) = &self.input {
            command.stdin(read::open(path).map_err(|error| unopened(error.into()))?);
        }
        if let Some(path) = &self.output {
            command.stdout(fs::open_to_fill(path).map_err(unopened)?);
        }
        spawn::isolate(&mut command, Isolation { die_with_us: true, ..Isolation::default() });
        let child =
            tokio::process::Command::from(command).spawn().map_err(|source| self.not_started(source))?;
        let pid = child.id().unwrap_or_default();
        spawn::await_pid(pid);
        Ok(Running { child, pid, ended: false, leaves_nothing: self.leaves_nothing })
    }

    fn not_started(&self, source: std::io::Error) -> CmdError {
        let program = self.program.to_string_lossy().into_owned();
        let missing = source.kind() == std::io::ErrorKind::NotFound;
        if missing && self.directory.as_ref().is_none_or(|folder| folder.is_dir()) {
            CmdError::NotFound(program)
        } else {
            CmdError::Spawn { program, source }
        }
    }

    /// Returns program, arguments, folder, environment and user, without streams and isolation.
    #[expect(clippy::disallowed_methods, reason = "the one place that starts commands")]
    fn command(&self) -> std::process::Command {
        use std::os::unix::process::CommandExt;
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.args);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        if self.clear {
            command.env_clear();
        }
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// A server that outlives us.
#[derive(Debug)]
pub struct Detached {
    /// Its process id, which is also its group and session.
    pub pid: u32,
    /// Finishes when the server ends. Dropping it does not stop the server.
    pub ended: tokio::task::JoinHandle<Ending>,
}

/// A running command. Dropping this value kills its whole group unless it has ended.
struct Running {
    child: Child,
    pid: u32,
    ended: bool,
    leaves_nothing: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.kill_group();
        }
        spawn::forget_pid(self.pid);
    }
}

impl Running {
    fn kill_group(&self) {
        let _ = killpg(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL);
    }

    async fn finish(
        &mut self,
        stdin: Option<Vec<u8>>,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> std::io::Result<Output> {
        let (out_pipe, err_pipe) = (self.child.stdout.take(), self.child.stderr.take());
        let in_pipe = self.child.stdin.take();
        let (lines, mut seen) = tokio::sync::mpsc::channel(64);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let feed = async move {
            if let (Some(mut pipe), Some(bytes)) = (in_pipe, stdin) {
                // Best effort: a command need not read its input.
                let _ = pipe.write_all(&bytes).await;
            }
        };
        let ending = {
            let reading = async {
                tokio::join!(collect(out_pipe, &mut out, lines.clone()), collect(err_pipe, &mut err, lines));
            };
            let telling = async {
                while let Some(line) = seen.recv().await {
                    on_line(&line);
                }
            };
            let io = async {
                tokio::join!(feed, reading, telling);
            };
            tokio::pin!(io);
            let (status, read_all) = tokio::select! {
                () = &mut io => (self.child.wait().await?, true),
                status = self.child.wait() => (status?, false),
            };
            self.ended = true;
            if self.leaves_nothing {
                // At once: the id stays that of the group only as long as the group has members.
                self.kill_group();
            }
            if !read_all {
                let _ = tokio::time::timeout(DRAIN, io).await;
            }
            ending(status)
        };
        Ok(Output { ending, stdout: out, stderr: err })
    }
}

/// Converts an exit status.
pub fn ending(status: std::process::ExitStatus) -> Ending {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Code(code),
        (None, Some(signal)) => Ending::Signal(signal),
        (None, None) => Ending::Code(255),
    }
}

async fn collect(
    pipe: Option<impl AsyncRead + Unpin>,
    kept: &mut Vec<u8>,
    lines: tokio::sync::mpsc::Sender<String>,
) {
    let Some(mut pipe) = pipe else { return };
    let mut pending = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let chunk = &buffer[..count];
        kept.extend_from_slice(chunk);
        if kept.len() > KEEP {
            kept.drain(..kept.len() - KEEP);
        }
        pending.extend_from_slice(chunk);
        while let Some(end) = pending.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line).trim_end().to_string();
            if !text.is_empty() {
                let _ = lines.send(text).await;
            }
        }
    }
    if !pending.is_empty() {
        let _ = lines.send(String::from_utf8_lossy(&pending).into_owned()).await;
    }
}

#[cfg(test)]
mod tests;
