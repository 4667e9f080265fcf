//! This program as a child process: finds it, reads its answer, and explains why there is none.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Code, ErrorBody, Fault, Report};
use crate::event::Ending;
use crate::os::cmd::{Cmd, CmdError};
use crate::os::start_obstacle::StartObstacle;

/// How many lines of the output of a devrun without an answer are shown.
const TAIL: usize = 5;

/// The exit codes that show an error of devrun itself: a reported bug, a panic, and the signals ILL, ABRT and SEGV as a keeper
/// reports them.
const CRASHES: [i32; 5] = [70, 101, 132, 134, 139];

/// Returns the path of this program, to start it again.
pub(super) fn this_program() -> Result<PathBuf, Report> {
    std::env::current_exe().map_err(|error| {
        let report = Report::new(Code::SpawnFailed, format!("devrun cannot find its own program: {error}"))
            .with_fault(Fault::Environment);
        if Path::new("/proc/self").exists() {
            return report.with_fix("reinstall devrun");
        }
        report
            .with_cause("/proc is not mounted here")
            .with_fix("mount it (`mount -t proc proc /proc`), or run `devrun` in the foreground")
    })
}

/// Returns the error for a devrun that cannot be started in the background.
pub(super) fn not_in_background(error: &CmdError) -> Report {
    not_started("devrun could not be started in the background", error)
}

fn not_started(message: &str, error: &CmdError) -> Report {
    let fix = match error {
        CmdError::Spawn { source, .. } => StartObstacle::of(source).system_fix(),
        _ => None,
    };
    Report::new(Code::SpawnFailed, message)
        .with_cause(error.to_string())
        .with_fault(Fault::Environment)
        .with_fix(fix.unwrap_or("check that devrun is still installed, then run the same command again"))
}

/// Returns the error for a devrun that has no answer because of `error`. `undone` says what has not happened, and `next` what to do
/// if it took too long.
pub(super) fn without_answer(undone: &str, next: &str, error: &CmdError) -> Report {
    match error {
        CmdError::TimedOut { .. } => {
            Report::new(Code::TimedOut, undone).with_cause(error.to_string()).with_fix(next)
        }
        other => not_started(undone, other),
    }
}

/// Returns the error for a devrun that ended without an answer or a record of its end. `said` is its output.
pub(super) fn ended_early(message: impl Into<String>, ending: Ending, said: &str) -> Report {
    let report = Report::new(Code::ProcessEnded, message);
    let report = match ending {
        // A kill, also that of the system for lack of memory, is no error of devrun.
        ending if CRASHES.contains(&ending.status()) => report.with_fault(Fault::Devrun),
        _ => report.without_fault(),
    };
    if said.trim().is_empty() { report } else { report.with_cause(said) }
}

/// Runs `cmd`, which is this program with `--json`, and returns its answer. Errors with the error in the answer. If there is none,
/// the error says `undone` (what has not happened) and `next` (what to do).
pub(super) async fn ask(cmd: &Cmd, undone: &str, next: &str) -> Result<Value, Report> {
    let output = cmd.output().await.map_err(|error| without_answer(undone, next, &error))?;
    let mut answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    if output.ending.ok() {
        return Ok(answer);
    }
    if let Ok(error) = serde_json::from_value::<ErrorBody>(answer["error"].take()) {
        return Err(error.into());
    }
    let message = format!("{undone}: devrun ended with {}", output.ending);
    Err(ended_early(message, output.ending, &output.tail(TAIL)).with_fix(next))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn refusal(cmd: Cmd) -> Report {
        ask(&cmd, "the stack was not taken down", "devrun down").await.unwrap_err()
    }

    #[tokio::test]
    async fn an_answer_and_its_error_are_passed_on() {
        let cmd = Cmd::shell(r#"echo '{"stopped": true}'"#);
        assert_eq!(ask(&cmd, "", "").await.unwrap()["stopped"], true);
        let report = refusal(Cmd::shell(
            r#"echo '{"error": {"code": "port-busy", "message": "taken", "fault": "environment", "exit": 82}}'; exit 82"#,
        ))
        .await;
        assert_eq!((report.code, report.message.as_str()), (Code::PortBusy, "taken"));
    }

    #[tokio::test]
    async fn a_devrun_that_does_not_start_is_no_timeout() {
        let report = refusal(Cmd::new("/nowhere/devrun")).await;
        assert_eq!((report.code, report.fault), (Code::SpawnFailed, Some(Fault::Environment)));
        assert!(report.cause.is_some_and(|cause| cause.contains("/nowhere/devrun")));
        let full = CmdError::Spawn { program: "devrun".into(), source: nix::errno::Errno::EAGAIN.into() };
        assert!(not_in_background(&full).fix.is_some_and(|fix| fix.contains("ulimit -u")));
    }

    #[tokio::test]
    async fn a_timeout_says_what_to_do() {
        let report = refusal(Cmd::shell("sleep 60").limit(Duration::from_millis(50))).await;
        assert_eq!((report.code, report.fault), (Code::TimedOut, None));
        assert_eq!(report.fix.as_deref(), Some("devrun down"));
    }

    #[tokio::test]
    async fn only_a_crash_is_a_fault_of_devrun() {
        for (line, fault) in [
            ("kill -KILL $$", None),
            ("exit 143", None),
            ("echo odd >&2; exit 2", None),
            ("exit 101", Some(Fault::Devrun)),
            ("kill -ABRT $$", Some(Fault::Devrun)),
        ] {
            let report = refusal(Cmd::shell(line)).await;
            assert_eq!((report.code, report.fault), (Code::ProcessEnded, fault), "{line}");
            assert_eq!(report.cause.as_deref(), line.contains("odd").then_some("odd"), "{line}");
            assert!(report.message.starts_with("the stack was not taken down: devrun ended with"), "{line}");
            assert_eq!(report.fix.as_deref(), Some("devrun down"), "{line}");
        }
    }
}
