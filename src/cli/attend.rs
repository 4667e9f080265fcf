//! One command on our terminal, with devrun beside it: for what must last as long as the command and end with it.

use std::fmt::Display;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{Exit, Report};
use crate::event::Ending;
use crate::os::cmd::{self, Cmd};
use crate::supervisor::machine::Why;
use crate::supervisor::signals::Stops;

/// Runs `cmd` to its end and returns its status as devrun's. `not_run` makes the report when it cannot be started.
pub(super) async fn attend(
    cmd: &Cmd,
    mut stops: Stops,
    not_run: &dyn Fn(&dyn Display) -> Report,
) -> Result<Exit, Report> {
    let mut child = cmd.foreground().map_err(|error| not_run(&error).with_exit(Exit::Child(126)))?;
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

/// Passes a signal on that was sent to us alone. The keys of the terminal reach the command without us.
fn pass_on(why: &Why, pid: Option<u32>) {
    let Why::Signal(number) = why else { return };
    let signal =
        Signal::try_from(*number).ok().filter(|signal| !matches!(signal, Signal::SIGINT | Signal::SIGQUIT));
    if let (Some(signal), Some(pid)) = (signal, pid) {
        // It may have ended just now.
        let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
    }
}
