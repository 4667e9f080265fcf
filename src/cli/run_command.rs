//! Runs a command on devrun's terminal while devrun keeps the resources that it needs, such as a database server.

use std::fmt::Display;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;

use crate::error::{Exit, Report};
use crate::event::Ending;
use crate::os::cmd::{self, Cmd};
use crate::supervisor::state_machine::StopReason;
use crate::supervisor::stop_requests::StopRequests;

/// Runs `cmd` to its end and returns its exit status. `not_run` builds the error for a command that cannot be started.
pub(super) async fn run_in_foreground(
    cmd: &Cmd,
    stops: StopRequests,
    not_run: &dyn Fn(&dyn Display) -> Report,
) -> Result<Exit, Report> {
    let child = cmd.foreground().map_err(|error| not_run(&error).with_exit(Exit::Child(126)))?;
    wait_in_foreground(child, stops, not_run).await
}

/// Waits for a command that has the terminal, passes signals on to it, and returns its exit status. `not_run` builds the error if
/// the status cannot be read.
pub(super) async fn wait_in_foreground(
    mut child: Child,
    mut stops: StopRequests,
    not_run: &dyn Fn(&dyn Display) -> Report,
) -> Result<Exit, Report> {
    let pid = child.id();
    loop {
        tokio::select! {
            ended = child.wait() => {
                return match ended.map(cmd::ending) {
                    Ok(Ending::Signal(signal)) => Ok(Exit::from_signal(signal)),
                    Ok(Ending::Code(0)) => Ok(Exit::Ok),
                    Ok(Ending::Code(code)) => Ok(Exit::Child(u8::try_from(code).unwrap_or(u8::MAX))),
                    Err(error) => Err(not_run(&error)),
                };
            }
            why = stops.next() => pass_on(&why, pid),
        }
    }
}

/// Passes a signal on to the command, except SIGINT and SIGQUIT: for Ctrl-C and Ctrl-\, the terminal sends them to the command itself.
fn pass_on(why: &StopReason, pid: Option<u32>) {
    let StopReason::Signal(number) = why else { return };
    let signal =
        Signal::try_from(*number).ok().filter(|signal| !matches!(signal, Signal::SIGINT | Signal::SIGQUIT));
    if let (Some(signal), Some(pid)) = (signal, pid) {
        // The command may have ended already.
        let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
    }
}
