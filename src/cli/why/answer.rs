//! What to say about a process or a stack. Pure: made of the status and of what the process wrote.

use serde::Serialize;

use crate::control::status::{ProcessStatus, State, Status, Word};
use crate::error::{Code, ErrorBody, Fault};
use crate::supervisor::diagnosis::{self, Diagnosis};

/// Again from the beginning, with everything brought in step.
const AGAIN: &str = "devrun down && devrun up -d";

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject<'a> {
    Process(&'a ProcessStatus),
    Stack,
}

/// The answer; fields that do not apply are left out.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Answer {
    /// The process it is about; absent when it is about the whole stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<String>,
    /// What it is doing, in a word of `devrun status`.
    pub(super) state: String,
    /// One line: what is the matter.
    pub(super) summary: String,
    /// Where to look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<Fault>,
    /// Why, as far as it is known; may have several lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<String>,
    /// `file:line` of the code to correct first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) correct: Option<String>,
    /// The one command that would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
    /// The last lines it wrote.
    pub(super) lines: Vec<String>,
}

/// The process to speak of when none is named: the one that ended the stack, else the worst off.
pub(super) fn subject(status: &Status) -> Subject<'_> {
    if let Some(error) = &status.error {
        let blamed = |process: &&ProcessStatus| error.fix.as_deref() == Some(&blame(&process.name));
        return match status.processes.iter().find(blamed) {
            Some(process) => Subject::Process(process),
            None => Subject::Stack,
        };
    }
    let not_fine = status.processes.iter().filter(|process| !process.is_fine() && !status.state.is_over());
    // Those that wait for others are never the reason.
    let rank = |process: &&ProcessStatus| match process.state {
        Word::Ended => 0,
        Word::Restarting => 1,
        Word::Running => 2,
        Word::Skipped => 3,
        _ => 4,
    };
    not_fine.min_by_key(rank).map_or(Subject::Stack, Subject::Process)
}

/// What reports about a process name as the next command.
fn blame(name: &str) -> String {
    format!("devrun why {name}")
}

/// Answers. `runs`: a supervisor is there. `changed` looks for a list of dependencies newer than the stack.
pub(super) fn answer(
    status: &Status,
    subject: Subject<'_>,
    runs: bool,
    lines: Vec<String>,
    changed: impl FnOnce() -> Option<String>,
) -> Answer {
    match subject {
        Subject::Stack => stack(status, runs),
        Subject::Process(process) => {
            // While it is being taken down nothing can be started; `up -d` waits for the end of that.
            let runs = runs && status.state != State::Stopping && !status.state.is_over();
            let mut answer = of_process(status, process, runs);
            if process.state != Word::Waiting && (!process.ready || answer.fault.is_some()) {
                judge(&mut answer, &lines, changed);
            }
            answer.lines = lines;
            answer
        }
    }
}

fn stack(status: &Status, runs: bool) -> Answer {
    let open: Vec<String> = status
        .steps
        .iter()
        .filter(|step| step.state != "done")
        .map(|step| format!("{} is {}: {}", step.name, step.state, step.detail))
        .collect();
    let fine = status.processes.iter().filter(|process| process.ready).count();
    let (summary, fix) = match (&status.error, status.state) {
        (Some(error), _) => (error.message.clone(), error.fix.clone()),
        (None, State::Stopped) if !runs => {
            ("nothing runs in this worktree".into(), Some("devrun up -d".into()))
        }
        (None, State::Ready) => (format!("all is well: {fine} of {} ready", count(status)), None),
        (None, State::Stopping) => ("the stack is being taken down".into(), Some("devrun down".into())),
        (None, _) => ("it is still being prepared".into(), Some("devrun wait".into())),
    };
    let ErrorBody { fault, cause, .. } = status.error.clone().unwrap_or(ErrorBody {
        code: Code::NotReady.name().into(),
        message: String::new(),
        fault: None,
        cause: Some(open.join("\n")).filter(|open| !open.is_empty()),
        holder: None,
        fix: None,
        exit: 0,
    });
    Answer { state: status.state.word().into(), summary, fault, cause, fix, ..Answer::default() }
}

fn count(status: &Status) -> String {
    match status.processes.len() {
        1 => "1 process".into(),
        count => format!("{count} processes"),
    }
}

fn of_process(status: &Status, process: &ProcessStatus, runs: bool) -> Answer {
    let name = &process.name;
    let ended = process.exit.map_or_else(String::new, |exit| format!(" with status {exit}"));
    let (start, restart) = (format!("devrun start {name}"), format!("devrun restart {name}"));
    let failed = process.exit.is_some_and(|exit| exit != 0);
    let (summary, fix, fault) = match process.state {
        _ if !runs && is_blamed(status, name) => {
            let message = status.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
            (message, Some("devrun up -d".into()), Some(Fault::Code))
        }
        Word::Waiting => {
            let on = process.reason.as_deref().and_then(|reason| reason.strip_prefix("waiting for "));
            let first = on.and_then(|on| on.split(", ").next());
            let other = first.filter(|first| status.process(first).is_some());
            (
                format!("{name} is waiting for {}", on.unwrap_or("its turn")),
                Some(other.map_or_else(|| "devrun wait".into(), blame)),
                None,
            )
        }
        Word::Running if process.ready => (format!("{name} is fine: it runs and is ready"), None, None),
        Word::Running => (format!("{name} runs but is not ready"), Some(format!("devrun wait {name}")), None),
        Word::Restarting => (
            format!("{name} ended{ended} and is started again and again ({} times so far)", process.restarts),
            Some(restart),
            Some(Fault::Code),
        ),
        Word::Ended if process.ready || !failed => {
            (format!("{name} did what it was for and ended"), None, None)
        }
        Word::Ended => (format!("{name} ended{ended}"), Some(restart), Some(Fault::Code)),
        Word::Skipped => (format!("{name} was not started"), Some(start), None),
        Word::Stopped if runs => (format!("{name} was stopped by hand"), Some(start), None),
        Word::Stopped => (format!("{name} was stopped with the stack"), Some("devrun up -d".into()), None),
        Word::Stopping => {
            (format!("{name} was asked to stop and is still ending"), Some("devrun ps".into()), None)
        }
        Word::Idle => (format!("{name} is not started by itself"), Some(start), None),
    };
    let fix = if runs || process.ready { fix } else { Some("devrun up -d".into()) };
    let cause = process.reason.clone().filter(|_| process.state != Word::Waiting);
    Answer {
        process: Some(name.clone()),
        state: process.state.text().into(),
        summary,
        fault,
        cause,
        fix,
        ..Answer::default()
    }
}

fn is_blamed(status: &Status, name: &str) -> bool {
    status.error.as_ref().is_some_and(|error| error.fix.as_deref() == Some(&blame(name)))
}

/// Adds what its last lines tell.
fn judge(answer: &mut Answer, lines: &[String], changed: impl FnOnce() -> Option<String>) {
    let Some(diagnosis) = diagnosis::read(lines.iter().map(String::as_str)) else { return };
    let Diagnosis { said, fault, place, missing } = diagnosis;
    let told = place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
    let mut causes: Vec<String> = answer.cause.take().into_iter().collect();
    let said = format!("it said: {said}{told}");
    if !causes.iter().any(|cause| cause.contains(&said)) {
        causes.push(said);
    }
    answer.fault = Some(fault);
    if fault == Fault::Environment {
        answer.fix = Some(AGAIN.into());
    } else if let (Some(module), Some(list)) = (missing, changed()) {
        causes.push(format!("{list} was changed after the stack was started, and {module} is not installed"));
        answer.fault = Some(Fault::Environment);
        answer.fix = Some(AGAIN.into());
    } else {
        // Nothing that is started helps before.
        answer.correct = place;
        if let (Some(name), "running") = (&answer.process, answer.state.as_str()) {
            answer.fix = Some(format!("devrun restart {name}"));
        }
    }
    answer.cause = Some(causes.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Report;

    fn process(name: &str, state: Word, ready: bool) -> ProcessStatus {
        let mut process = ProcessStatus::default();
        (process.name, process.state, process.ready) = (name.into(), state, ready);
        process
    }

    fn stack_of(processes: Vec<ProcessStatus>) -> Status {
        let mut status = Status::default();
        (status.state, status.processes) = (State::Starting, processes);
        status
    }

    fn asked(status: &Status, runs: bool, lines: &[&str], changed: Option<&str>) -> Answer {
        let lines = lines.iter().map(ToString::to_string).collect();
        answer(status, subject(status), runs, lines, || changed.map(Into::into))
    }

    #[test]
    fn the_reason_is_found_behind_those_that_wait_for_it() {
        let mut waiting = process("frontend", Word::Waiting, false);
        waiting.reason = Some("waiting for backend".into());
        let status = stack_of(vec![waiting, process("backend", Word::Running, false)]);
        let found = asked(&status, true, &["starting"], None);
        assert_eq!(
            (found.process.as_deref(), found.fix.as_deref()),
            (Some("backend"), Some("devrun wait backend"))
        );
        let named = answer(&status, Subject::Process(&status.processes[0]), true, Vec::new(), || None);
        assert_eq!(named.summary, "frontend is waiting for backend");
        assert_eq!(named.fix.as_deref(), Some("devrun why backend"));
    }

    #[test]
    fn broken_code_is_told_from_packages_that_are_not_installed_yet() {
        let status = stack_of(vec![process("backend", Word::Running, false)]);
        let lines = ["  File \"/w/app.py\", line 3, in <module>", "ModuleNotFoundError: No module named 'x'"];
        let code = asked(&status, true, &lines, None);
        assert_eq!((code.fault, code.fix.as_deref()), (Some(Fault::Code), Some("devrun restart backend")));
        assert_eq!(
            code.cause.as_deref(),
            Some("it said: ModuleNotFoundError: No module named 'x' (/w/app.py:3)")
        );
        assert_eq!(code.correct.as_deref(), Some("/w/app.py:3"));
        let stale = asked(&status, true, &lines, Some("uv.lock"));
        assert_eq!((stale.fault, stale.fix.as_deref()), (Some(Fault::Environment), Some(AGAIN)));
        assert!(stale.cause.unwrap().contains("uv.lock was changed"));
        let gone = asked(&status, true, &["OperationalError: connection to server at x failed"], None);
        assert_eq!((gone.fault, gone.fix.as_deref()), (Some(Fault::Environment), Some(AGAIN)));
    }

    #[test]
    fn after_the_end_the_process_that_ended_it_is_found() {
        let mut ended = process("api", Word::Ended, false);
        ended.exit = Some(3);
        let mut stopped = process("web", Word::Stopped, false);
        stopped.exit = Some(130);
        let mut status = stack_of(vec![stopped, ended]);
        let report = Report::new(Code::ProcessEnded, "api ended with exit code 3").with_fix("devrun why api");
        status.error = Some((&report).into());
        status.over();
        let found = asked(&status, false, &["boom"], None);
        assert_eq!(found.summary, "api ended with exit code 3");
        assert_eq!((found.fault, found.fix.as_deref()), (Some(Fault::Code), Some("devrun up -d")));
        let web = answer(&status, Subject::Process(&status.processes[0]), false, Vec::new(), || None);
        assert_eq!((web.summary.as_str(), web.fault), ("web was stopped with the stack", None));
    }

    #[test]
    fn all_is_well_and_what_preparation_said_are_told_of_the_stack() {
        let mut status = stack_of(vec![process("web", Word::Running, true)]);
        status.state = State::Ready;
        let well = asked(&status, true, &[], None);
        assert_eq!((well.summary.as_str(), well.fix), ("all is well: 1 of 1 process ready", None));
        let report = Report::new(Code::ToolMissing, "node is not installed").with_fix("install Node.js");
        status.error = Some((&report).into());
        status.over();
        let failed = asked(&status, false, &[], None);
        assert_eq!(
            (failed.fault, failed.fix.as_deref()),
            (Some(Fault::Environment), Some("install Node.js"))
        );
    }
}
