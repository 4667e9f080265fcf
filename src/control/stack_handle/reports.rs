//! Words the errors of a client's request that cannot succeed: a process has ended, needs a fix first, is late, or does not exist.

use std::time::Duration;

use crate::control::status::{ProcessStatus, State, Status, Word};
use crate::error::{Code, Report, START};

/// Returns why a wait for the processes `indexes` cannot succeed: the stack or one of them has ended. `None` if it
/// still can.
pub(super) fn failure_of(status: &Status, indexes: &[usize]) -> Option<Report> {
    if let Some(error) = status.end() {
        return Some(error.clone().into());
    }
    let failed = |process: &&ProcessStatus| {
        matches!(process.state, Word::Skipped | Word::Failed)
            || (process.state == Word::Ended && !process.ready)
    };
    let Some(process) = indexes.iter().map(|index| &status.processes[*index]).find(failed) else {
        let over = matches!(status.state, State::Stopping | State::Stopped | State::Failed);
        return over.then(|| {
            // That command waits for the end of this stack first.
            Report::new(Code::NotRunning, "the stack is being taken down").with_fix(START)
        });
    };
    let ended = process.exit.map_or_else(String::new, |exit| format!(" with status {exit}"));
    let message = match process.state {
        Word::Skipped => format!("{} was not started", process.name),
        Word::Failed => format!("{} failed", process.name),
        _ => format!("{} ended{ended}", process.name),
    };
    let report = Report::new(Code::ProcessEnded, message).about(&process.name);
    Some(match &process.reason {
        Some(reason) => report.with_cause(reason.clone()),
        None => report,
    })
}

/// Returns the error for a process that is not ready and needs a fix first, while the stack keeps running.
pub(super) fn not_ready(process: &ProcessStatus) -> Report {
    let name = &process.name;
    let mut report = Report::new(Code::NotReady, format!("{name} is not ready")).about(name);
    // A process may be late without an error in the code.
    report.fault = process.fault;
    report.fix.clone_from(&process.fix);
    if let Some(place) = &process.correct {
        report = report.with_correct(place);
    }
    let reason = process.reason.iter().map(String::as_str);
    report.with_cause(reason.chain(["the stack goes on"]).collect::<Vec<_>>().join("\n"))
}

pub(super) fn late(status: &Status, indexes: &[usize], limit: Duration) -> Report {
    let all = (0..status.processes.len()).collect::<Vec<_>>();
    let asked = if indexes.is_empty() { &all } else { indexes };
    let open = asked.iter().map(|index| &status.processes[*index]).filter(|process| !process.is_fine());
    let mut lines: Vec<String> =
        status.open_steps().map(|step| format!("{}: {}", step.name.name(), step.detail)).collect();
    let mut first = None;
    for process in open {
        first = first.or(Some((process.name.clone(), process.fix.clone(), process.fault)));
        let reason = process.reason.as_deref().map(|reason| format!(", {reason}")).unwrap_or_default();
        lines.push(format!("{} is {}{reason}", process.name, process.state.text()));
    }
    let report = Report::new(Code::TimedOut, format!("not ready within {} s", limit.as_secs()))
        .with_cause(lines.join("\n"));
    let Some((name, fix, fault)) = first else { return report.with_fix("devrun ps") };
    let report = Report { fault: fault.or(report.fault), ..report }.about(&name);
    match fix {
        Some(fix) => report.with_fix(fix),
        None => report,
    }
}

/// Returns the error for a process `name` that does not exist.
pub fn unknown(status: &Status, name: &str) -> Report {
    let names: Vec<&str> = status.processes.iter().map(|process| process.name.as_str()).collect();
    let report = Report::new(Code::ProcessUnknown, format!("there is no process `{name}`"));
    match names.as_slice() {
        // The last start ended before its processes were known.
        [] => report.with_fix("devrun why"),
        names => report.with_fix(format!("use one of: {}", names.join(", "))),
    }
}
