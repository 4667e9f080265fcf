//! Starts a child in a new session, and signals and lists the child with everything that it started.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::inherited_sockets::InheritedSockets;
use super::sweep::{self, Below};
use crate::context::variables::{PROCESS, RUN};
use crate::error::{Code, Fault, RERUN, Report};
use crate::os::proc::{self, ProcessEntry};
use crate::os::spawn::{self, Isolation};
use crate::os::start_obstacle::StartObstacle;
use crate::plan::{Environment, Process, RunCommand, Stdin};

/// A child that was started, with the descriptors of its input and output.
#[derive(Debug)]
pub struct Spawned {
    /// The child. The caller must wait for it.
    pub child: tokio::process::Child,
    /// The child with everything that it started.
    pub group: ProcessGroup,
    /// The read end of its standard output and error, which arrive in the order they were written. Non-blocking.
    pub output: OwnedFd,
    /// The write end of its standard input. The input ends when this is dropped.
    pub input: Option<OwnedFd>,
}

/// A child and everything it started.
#[derive(Clone, Debug)]
pub struct ProcessGroup {
    /// Process id of the child, which is also the id of its process group and session.
    pub leader: u32,
    name: String,
    run: String,
}

/// Starts `process`. `run` is the tag of the run; `handed` holds sockets and variables for the child. Must be called on
/// a thread that lives as long as the program, because the kernel kills the child when this thread ends. Errors if the
/// program cannot be started.
pub fn spawn(
    process: &Process,
    env: &Environment,
    run: &str,
    handed: InheritedSockets,
) -> Result<Spawned, Report> {
    let unready = |source: std::io::Error| system_refused(process, &source);
    let mut command = command(&process.run);
    command.current_dir(&process.directory).env_clear().envs(&env.vars).envs(&process.env);
    command.envs(handed.variables).env(RUN, run).env(PROCESS, &process.name);
    let (output, input) = if process.tty {
        on_terminal(&mut command).map(|output| (output, None))
    } else {
        on_pipes(&mut command, process.stdin)
    }
    .map_err(unready)?;
    // Before the start, because an error after it would leave the child running.
    let flags = fcntl(&output, FcntlArg::F_GETFL).map_err(|errno| unready(errno.into()))?;
    fcntl(&output, FcntlArg::F_SETFL(OFlag::from_bits_truncate(flags) | OFlag::O_NONBLOCK))
        .map_err(|errno| unready(errno.into()))?;
    let sockets = handed.descriptors;
    let listen_pid = !sockets.is_empty();
    let isolation =
        Isolation { die_with_us: true, descriptors: sockets, terminal: process.tty, listen_pid, group: None };
    spawn::isolate(&mut command, isolation);
    let started = tokio::process::Command::from(command).spawn();
    let child = started.map_err(|source| not_started(process, &source))?;
    let leader = child.id().unwrap_or_default();
    spawn::await_pid(leader);
    let group = ProcessGroup { leader, name: process.name.clone(), run: run.into() };
    Ok(Spawned { child, group, output, input })
}

#[expect(clippy::disallowed_methods, reason = "the processes of the plan are what this file is for")]
fn command(run: &RunCommand) -> std::process::Command {
    match run {
        RunCommand::Shell(line) => {
            let mut command = std::process::Command::new("/bin/sh");
            command.args(["-c", line]);
            command
        }
        RunCommand::Argv(words) => {
            let mut command = std::process::Command::new(&words[0]);
            command.args(&words[1..]);
            command
        }
    }
}

/// Returns the read end of the child's output and the write end of its input. Each process gets its own pipe for its
/// input, because all holders of a pipe share its flags, such as `O_NONBLOCK`.
fn on_pipes(
    command: &mut std::process::Command,
    stdin: Stdin,
) -> std::io::Result<(OwnedFd, Option<OwnedFd>)> {
    let (reader, writer) = std::io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let input = match stdin {
        Stdin::Null => {
            command.stdin(Stdio::null());
            None
        }
        Stdin::Open => {
            let (source, input) = std::io::pipe()?;
            command.stdin(source);
            Some(input.into())
        }
    };
    Ok((reader.into(), input))
}

fn on_terminal(command: &mut std::process::Command) -> std::io::Result<OwnedFd> {
    let pty = nix::pty::openpty(None, None)?;
    fcntl(&pty.master, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    let slave = File::from(pty.slave);
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    Ok(pty.master)
}

fn failed(process: &Process, source: &std::io::Error) -> Report {
    Report::new(Code::SpawnFailed, format!("{} could not be started: {source}", process.name))
}

/// Returns the error for a system that refused something that `process` needs: a pipe, a terminal, memory, a process, a file.
pub fn system_refused(process: &Process, source: &std::io::Error) -> Report {
    let report = failed(process, source).with_fault(Fault::Environment);
    let fix = StartObstacle::of(source)
        .system_fix()
        .unwrap_or("check the limits (`ulimit -a`) and the disks of this machine");
    report.with_fix(format!("{fix}, then {RERUN}"))
}

/// Returns the error for the command of `process`, which could not be started.
fn not_started(process: &Process, source: &std::io::Error) -> Report {
    let report = failed(process, source);
    if !process.directory.is_dir() {
        let directory = process.directory.display();
        return report
            .with_cause(format!("its directory {directory} does not exist"))
            .with_fix(format!("make that folder, or correct `directory` of {}, then {RERUN}", process.name));
    }
    let obstacle = StartObstacle::of(source);
    match (obstacle, &process.run) {
        (StartObstacle::Processes | StartObstacle::Memory | StartObstacle::Files, _) => {
            system_refused(process, source)
        }
        (StartObstacle::Program, RunCommand::Argv(words))
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            report.with_fix(format!("check that `{}` is installed and on PATH", words[0]))
        }
        (StartObstacle::Program, RunCommand::Argv(words)) => report.with_fix(format!(
            "check that `{}` is a program that this user may execute, or correct `run` of {}, then {RERUN}",
            words[0], process.name
        )),
        // The configuration does not name this program.
        (StartObstacle::Program, RunCommand::Shell(_)) => report
            .with_fault(Fault::Environment)
            .with_fix(format!("install a shell as /bin/sh, then {RERUN}")),
        (StartObstacle::Unknown, _) => report.without_fault(),
    }
}

impl ProcessGroup {
    /// Returns the processes of this child that are alive: the child, its session, its descendants, and orphans of this
    /// run that carry its tag.
    pub fn members(&self) -> Vec<ProcessEntry> {
        let mut is_member = self.recogniser();
        proc::each().filter(|entry| !entry.has_ended() && is_member(entry)).collect()
    }

    /// Returns a function that decides whether a process belongs to this child.
    fn recogniser(&self) -> impl FnMut(&ProcessEntry) -> bool {
        let mut ours = Below::new(std::process::id(), |_| false);
        let mut below = Below::new(self.leader, |_| false);
        move |entry| {
            ours.contains(entry)
                && (entry.session == self.leader || below.contains(entry) || self.is_tagged(entry.pid))
        }
    }

    fn is_tagged(&self, pid: u32) -> bool {
        let is = |name, value: &str| proc::env_of(pid, name).is_some_and(|found| found == *value);
        is(PROCESS, &self.name) && is(RUN, &self.run)
    }

    /// Sends `signal` to the leader's process group.
    pub fn signal(&self, signal: i32) {
        let Ok(signal) = Signal::try_from(signal) else { return };
        let group = Pid::from_raw(self.leader.cast_signed());
        let _ = killpg(group, signal);
        // A stopped process acts on the signal only after it is continued.
        let _ = killpg(group, Signal::SIGCONT);
    }

    /// Sends `signal` to the processes that an ended leader left behind. If the leader's process group was already
    /// signalled (`asked`), skips its members, because many programs take a second signal to mean "quit now". In either
    /// case, processes that ignore `signal` get SIGTERM: shell background jobs ignore SIGINT.
    pub fn ask_leftovers(&self, signal: i32, asked: bool) {
        let Ok(number) = Signal::try_from(signal) else { return };
        let (deaf, left): (Vec<ProcessEntry>, Vec<ProcessEntry>) =
            self.members().into_iter().partition(|entry| proc::ignores(entry.pid, signal));
        let left: Vec<ProcessEntry> =
            left.into_iter().filter(|entry| !asked || entry.group != self.leader).collect();
        sweep::signal(&left, number);
        sweep::signal(&deaf, Signal::SIGTERM);
        for entries in [&left, &deaf] {
            sweep::signal(entries, Signal::SIGCONT);
        }
    }

    /// Kills all [`ProcessGroup::members`] that exist now. A process that is forked at the same moment can escape, so
    /// callers repeat this until none is left.
    pub fn kill(&self) {
        sweep::end(self.recogniser());
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::supervisor::state_machine::bare;

    fn report(run: RunCommand, directory: &str, errno: Errno) -> Report {
        let process = Process { run, directory: directory.into(), ..bare("web") };
        not_started(&process, &errno.into())
    }

    #[test]
    fn the_configuration_is_blamed_only_for_what_it_names() {
        let program = || RunCommand::Argv(vec!["bin/web".into()]);
        let shell = || RunCommand::Shell("web".into());
        for (run, directory, errno, fault, fix) in [
            (program(), "/", Errno::ENOENT, Some(Fault::Configuration), "`bin/web` is installed"),
            (program(), "/", Errno::EACCES, Some(Fault::Configuration), "`bin/web` is a program"),
            (program(), "/nowhere", Errno::ENOENT, Some(Fault::Configuration), "`directory` of web"),
            (program(), "/", Errno::EAGAIN, Some(Fault::Environment), "`ulimit -u`"),
            (shell(), "/", Errno::ENOMEM, Some(Fault::Environment), "memory"),
            (shell(), "/", Errno::ENOENT, Some(Fault::Environment), "/bin/sh"),
            (program(), "/", Errno::E2BIG, None, ""),
        ] {
            let report = report(run, directory, errno);
            assert_eq!(report.fault, fault, "{errno}");
            assert!(report.fix.unwrap_or_default().contains(fix), "{errno}");
        }
    }

    #[test]
    fn a_missing_pipe_or_terminal_is_the_systems_fault() {
        let process = bare("web");
        for errno in [Errno::EMFILE, Errno::ENOENT] {
            let report = system_refused(&process, &errno.into());
            assert_eq!(report.fault, Some(Fault::Environment), "{errno}");
            assert!(report.fix.is_some_and(|fix| fix.contains("ulimit")), "{errno}");
        }
    }
}
