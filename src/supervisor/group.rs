//! One child with all it starts: made in a session of its own, signalled and counted as a whole.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::handover::Handed;
use super::sweep::{self, Below, PROCESS_TAG, RUN_TAG};
use crate::error::{Code, Report};
use crate::os::proc::{self, Entry};
use crate::os::spawn::{self, Isolation};
use crate::plan::{Environment, Process, Run};

/// A child that was started, with the end of the pipe its output comes from.
#[derive(Debug)]
pub struct Spawned {
    /// To be waited for.
    pub child: tokio::process::Child,
    /// The handle on its whole tree.
    pub group: Group,
    /// Standard output and error, in the order they were written; non-blocking.
    pub output: OwnedFd,
}

/// A child and everything it started.
#[derive(Clone, Debug)]
pub struct Group {
    /// Process id of the child, which is its group and session too.
    pub leader: u32,
    name: String,
    run: String,
}

/// Starts `process`. `run` tags it; `handed` are the sockets it gets.
/// Must be called on the thread that lives as long as the program.
pub fn spawn(process: &Process, env: &Environment, run: &str, handed: Handed) -> Result<Spawned, Report> {
    let failed = |source: std::io::Error| explain(process, &source);
    let mut command = command(&process.run);
    command.current_dir(&process.directory).env_clear().envs(&env.vars).envs(&process.env);
    command.envs(handed.variables).env(RUN_TAG, run).env(PROCESS_TAG, &process.name);
    let output =
        if process.tty { on_terminal(&mut command) } else { on_pipe(&mut command) }.map_err(failed)?;
    let sockets = handed.descriptors;
    let listen_pid = !sockets.is_empty();
    let isolation = Isolation { die_with_us: true, descriptors: sockets, terminal: process.tty, listen_pid };
    spawn::isolate(&mut command, isolation);
    let child = tokio::process::Command::from(command).spawn().map_err(failed)?;
    let leader = child.id().unwrap_or_default();
    spawn::await_pid(leader);
    let flags = fcntl(&output, FcntlArg::F_GETFL).map_err(|errno| failed(errno.into()))?;
    fcntl(&output, FcntlArg::F_SETFL(OFlag::from_bits_truncate(flags) | OFlag::O_NONBLOCK))
        .map_err(|errno| failed(errno.into()))?;
    let group = Group { leader, name: process.name.clone(), run: run.into() };
    Ok(Spawned { child, group, output })
}

#[expect(clippy::disallowed_methods, reason = "the processes of the plan are what this file is for")]
fn command(run: &Run) -> std::process::Command {
    match run {
        Run::Shell(line) => {
            let mut command = std::process::Command::new("/bin/sh");
            command.args(["-c", line]);
            command
        }
        Run::Argv(words) => {
            let mut command = std::process::Command::new(&words[0]);
            command.args(&words[1..]);
            command
        }
    }
}

fn on_pipe(command: &mut std::process::Command) -> std::io::Result<OwnedFd> {
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    Ok(reader.into())
}

fn on_terminal(command: &mut std::process::Command) -> std::io::Result<OwnedFd> {
    let pty = nix::pty::openpty(None, None)?;
    fcntl(&pty.master, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    let slave = File::from(pty.slave);
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    Ok(pty.master)
}

fn explain(process: &Process, source: &std::io::Error) -> Report {
    let report = Report::new(Code::SpawnFailed, format!("{} could not be started: {source}", process.name));
    if !process.directory.is_dir() {
        return report.with_cause(format!("its directory {} does not exist", process.directory.display()));
    }
    match &process.run {
        Run::Argv(words) if source.kind() == std::io::ErrorKind::NotFound => {
            report.with_fix(format!("check that `{}` is installed and on PATH", words[0]))
        }
        _ => report,
    }
}

impl Group {
    /// Everything of this child that is alive, itself included: its session, its descendants, and strays of ours that
    /// carry its tag.
    pub fn members(&self) -> Vec<Entry> {
        let mut is_member = self.recogniser();
        proc::each().filter(|entry| entry.state != 'Z' && is_member(entry)).collect()
    }

    /// Tells whether a process belongs here.
    fn recogniser(&self) -> impl FnMut(&Entry) -> bool {
        let mut ours = Below::new(std::process::id(), |_| false);
        let mut below = Below::new(self.leader, |_| false);
        move |entry| {
            ours.contains(entry)
                && (entry.session == self.leader || below.contains(entry) || self.is_tagged(entry.pid))
        }
    }

    fn is_tagged(&self, pid: u32) -> bool {
        let is = |name, value: &str| proc::env_of(pid, name).is_some_and(|found| found == *value);
        is(PROCESS_TAG, &self.name) && is(RUN_TAG, &self.run)
    }

    /// Asks the leader and its group to stop.
    pub fn ask(&self, signal: i32) {
        let Ok(signal) = Signal::try_from(signal) else { return };
        let group = Pid::from_raw(self.leader.cast_signed());
        let _ = killpg(group, signal);
        // What is stopped cannot act on the signal.
        let _ = killpg(group, Signal::SIGCONT);
    }

    /// Asks each to stop that a leader who is gone has left; when its group was `asked` before, only those who are not of
    /// it: many programs take a second signal for impatience. Who ignores the signal, as what a shell put in the
    /// background ignores SIGINT, gets SIGTERM.
    pub fn ask_leftovers(&self, signal: i32, asked: bool) {
        let Ok(number) = Signal::try_from(signal) else { return };
        let (deaf, left): (Vec<Entry>, Vec<Entry>) =
            self.members().into_iter().partition(|entry| proc::ignores(entry.pid, signal));
        let left: Vec<Entry> =
            left.into_iter().filter(|entry| !asked || entry.group != self.leader).collect();
        sweep::signal(&left, number);
        sweep::signal(&deaf, Signal::SIGTERM);
        for entries in [&left, &deaf] {
            sweep::signal(entries, Signal::SIGCONT);
        }
    }

    /// Kills all that is there of it now. What is born in the same moment may escape: to be repeated until nothing is left.
    pub fn kill(&self) {
        sweep::end(self.recogniser());
    }
}
