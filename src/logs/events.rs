//! Formats devrun's own events as lines of `devrun.log`. Secrets are removed before events get here. Pure.

use std::fmt::Write;

use crate::error::Report;
use crate::event::{Event, ProcessState, given_up, stuck_reason};
use crate::text::harmless;

/// Returns the lines of an event, each with its newline, or `None` for progress and for steps that had nothing to do.
pub(super) fn text(event: &Event) -> Option<String> {
    let line = match event {
        Event::Note(text) | Event::Fetched(text) => format!("note: {text}"),
        Event::Warning(text) => format!("warning: {text}"),
        Event::StepStarted { step, doing } => format!("{}: {doing}", step.name()),
        Event::StepDone { step, outcome, worked: true, took } => {
            format!("{}: {outcome} ({:.1} s)", step.name(), took.as_secs_f64())
        }
        Event::StepDone { worked: false, .. } | Event::StepProgress { .. } => return None,
        Event::StepFailed { step } => format!("{}: failed", step.name()),
        Event::NotYet { name, answer } => format!("{name}: not ready: {answer}"),
        Event::Process { name, state } => format!("{name}: {}", doing(state)),
        Event::Ready { plan, took, .. } => {
            let urls: Vec<String> =
                plan.started_urls().iter().map(|(name, url)| format!("{name} {url}")).collect();
            format!("ready in {:.1} s: {}", took.as_secs_f64(), urls.join(", "))
        }
        Event::Stopping { why, .. } => format!("stopping: {why}"),
        Event::StopWaiting { names, since } => {
            format!("still waiting for {} to end ({:.0} s)", names.join(", "), since.as_secs_f64())
        }
        Event::Failed(report) => failure(report),
    };
    let mut lines: String = line.lines().flat_map(|line| [harmless(line), "\n".into()]).collect();
    if lines.is_empty() {
        lines.push('\n');
    }
    Some(lines)
}

fn doing(state: &ProcessState) -> String {
    match state {
        ProcessState::Waiting { on } => format!("waits for {}", on.join(", ")),
        ProcessState::Started { pid, .. } => format!("started, pid {pid}"),
        ProcessState::Ready => "ready".into(),
        ProcessState::Unready { why, .. } => format!("no longer answers: {why}"),
        ProcessState::Stuck { broken } => format!("not ready: {}", stuck_reason(broken.as_ref())),
        ProcessState::Restarting { ended, delay, attempt } => {
            format!("ended with {ended}; restart {attempt} in {:.1} s", delay.as_secs_f64())
        }
        ProcessState::Stopping => "asked to stop".into(),
        ProcessState::Stopped(_) => "stopped".into(),
        ProcessState::Ended(ending) => format!("ended with {ending}"),
        ProcessState::GaveUp { ended, restarts, said } => given_up(*ended, *restarts, said.as_deref()),
        ProcessState::Skipped { why } => format!("not started: {why}"),
    }
}

fn failure(report: &Report) -> String {
    let mut text = format!("error: {} [{}]", report.message, report.code.name());
    let holder = report.holder.as_ref().map(ToString::to_string);
    for (title, part) in [("why", &report.cause), ("held by", &holder), ("fix", &report.next_step())] {
        if let Some(part) = part {
            let _ = write!(text, "\n  {title}: {}", part.replace('\n', "\n    "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::event::Ending;

    #[test]
    fn states_and_failures_are_logged() {
        let state = ProcessState::Ended(Ending::Code(3));
        let ended = Event::Process { name: "web".into(), state };
        assert_eq!(text(&ended).unwrap(), "web: ended with exit code 3\n");
        let report = Report::new(Code::NotReady, "web is not ready").with_cause("one\ntwo").with_fix("look");
        let expected = "error: web is not ready [not-ready]\n  why: one\n    two\n  fix: look\n";
        assert_eq!(text(&Event::Failed(report)).unwrap(), expected);
    }
}
