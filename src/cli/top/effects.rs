//! The effects of `devrun top`. Runs this program to restart and stop stacks, as a user does in a shell.

use std::io::Write;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::KEY_WAIT;
use crate::cli::open::opener;
use crate::cli::{end_signals, this_program};
use crate::context::Context;
use crate::error::Exit;
use crate::event::Ending;
use crate::os::cmd::{self, Cmd};
use crate::ui::full_screen;

/// Longer than the time limits of the commands themselves.
const LIMIT: Duration = Duration::from_mins(3);
/// How long a Ctrl-C that has ended a child may take to reach this program too. A signal for the child alone never does.
const OWN_INTERRUPT: Duration = Duration::from_secs(1);

/// Opens `url` with the user's browser. Returns a line for the user.
pub(super) async fn open(ctx: Context, url: String) -> Result<String, String> {
    opener::open(&ctx, &url).await.map_err(|report| report.message)
}

/// Restarts the processes of a stack, and waits until they are ready.
pub(super) async fn restart(worktree: String) -> Result<String, String> {
    devrun(&worktree, "restart").await.map(|()| "restarted, and ready".into())
}

/// Takes a stack down, or removes what a killed one left.
pub(super) async fn stop(worktree: String) -> Result<String, String> {
    devrun(&worktree, "down").await.map(|()| "stopped".into())
}

async fn devrun(worktree: &str, verb: &str) -> Result<(), String> {
    let this = this_program().map_err(|report| report.message)?;
    let cmd = Cmd::new(this).args(["--json", "-C", worktree, verb]).limit(LIMIT);
    let output = cmd.output().await.map_err(|error| error.to_string())?;
    if output.ending.ok() {
        return Ok(());
    }
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let message = answer["error"]["message"].as_str().map(str::to_string);
    Err(message.unwrap_or_else(|| format!("devrun {verb} ended with {}", output.ending)))
}

/// Follows the logs of a stack on the terminal until the user presses Ctrl-C, or Enter once the stack has ended. Returns an exit
/// status if a signal ends devrun.
pub(super) async fn follow_logs(worktree: &str) -> Result<Option<Exit>, String> {
    let lost = |error: std::io::Error| error.to_string();
    let this = this_program().map_err(|report| report.message)?;
    let asked_to_end = end_signals::first_but_interrupt().map_err(lost)?;
    // Ctrl-C reaches this program too, and means only the logs.
    let mut interrupts = signal(SignalKind::interrupt()).map_err(lost)?;
    say("-- Ctrl-C returns to devrun top --");
    let cmd = Cmd::new(this).args(["--verbose", "-C", worktree, "logs", "-f"]);
    let mut child = cmd.foreground().map_err(|error| error.to_string())?;
    tokio::pin!(asked_to_end);
    let status = tokio::select! {
        status = child.wait() => status.map_err(lost)?,
        exit = &mut asked_to_end => {
            let _ = child.kill().await;
            return Ok(Some(exit));
        }
    };
    if matches!(cmd::ending(status), Ending::Signal(_)) {
        // The end of the child may be seen before the same Ctrl-C. A handler that is installed in between would end the view.
        let _ = tokio::time::timeout(OWN_INTERRUPT, interrupts.recv()).await;
        return Ok(None);
    }
    say("-- Enter returns to devrun top --");
    loop {
        // The terminal passes keys on with Enter.
        let key = tokio::task::spawn_blocking(|| full_screen::next_key(KEY_WAIT));
        tokio::select! {
            exit = &mut asked_to_end => return Ok(Some(exit)),
            _ = interrupts.recv() => return Ok(None),
            key = key => if key.map_err(std::io::Error::other).and_then(|key| key).map_err(lost)?.is_some() {
                return Ok(None);
            },
        }
    }
}

fn say(text: &str) {
    // A terminal that is closed ends the view anyway.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Suspends this program as Ctrl-Z does, until the shell continues it.
pub(super) fn suspend() {
    let _ = kill(Pid::from_raw(0), Signal::SIGTSTP);
}
