//! Formats a status for a coding agent: the state, the problems, and the next command.

use std::fmt::Write;

use super::{processes, state};
use crate::control::status::{BoundTo, State, Status, Word};
use crate::os::clock;
use crate::ui::style::harmless;

/// Returns the state with the URLs in a line, a line for each problem, and the next command in the last line, unless all is well.
/// `located` adds the folder of the worktree to a command if the reader is in another folder. Reads the clock.
pub(super) fn text(status: &Status, located: &dyn Fn(&str) -> String) -> String {
    at(status, clock::unix_seconds(), located)
}

/// Does the same as [`text`] at the time `now`, in seconds since 1970. Pure.
fn at(status: &Status, now: u64, located: &dyn Fn(&str) -> String) -> String {
    let mut out = state(status);
    let is_over = status.state.is_over();
    let url = |(name, url): (&String, &serde_json::Value)| {
        format!("{} {}", harmless(name), harmless(url.as_str().unwrap_or_default()))
    };
    if !is_over && !status.urls.is_empty() {
        let urls: Vec<String> = status.urls.iter().map(url).collect();
        let _ = write!(out, ": {}", urls.join(", "));
    }
    out.push('\n');
    if let (Some(away), Some(slot), false) = (&status.away, status.slot, is_over) {
        let _ = writeln!(out, "ports: slot {slot}, {}", harmless(&away.to_string()));
    }
    for step in status.open_steps() {
        let _ = writeln!(out, "{}: {} {}", step.name.name(), step.state.word(), harmless(&step.detail));
    }
    let rows = processes(&status.processes);
    let mut troubled = None;
    for (process, (name, row)) in status.processes.iter().zip(&rows) {
        let is_expected = process.is_surely_ready() || matches!(process.state, Word::Idle | Word::Stopped);
        if !is_over && !is_expected {
            troubled = troubled.or(Some(name));
            let _ = writeln!(out, "{}: {}", harmless(name), harmless(row));
        }
    }
    for finding in &status.isolation {
        let _ = writeln!(out, "not isolated: {}", harmless(&finding.text()));
    }
    if let Some(changed) = &status.changed {
        let _ = writeln!(out, "{}", harmless(&changed.notice().text));
    }
    if let Some(pending) = &status.pending {
        let _ = writeln!(out, "{}", harmless(&pending.notice().text));
    }
    if let Some(BoundTo { name, pid, ends_at: Some(at), .. }) = status.bound_to.as_ref().filter(|_| !is_over)
    {
        let _ = writeln!(
            out,
            "{} (pid {pid}) is gone; the stack ends in {} s",
            harmless(name),
            at.saturating_sub(now)
        );
    }
    if let Some(error) = status.error.as_ref().filter(|_| is_over) {
        let _ = writeln!(out, "error: {}", harmless(error.message.lines().next().unwrap_or_default()));
    }
    if !status.notices.is_empty() {
        let count = status.notices.len();
        let notices = if count == 1 { "notice" } else { "notices" };
        let _ = writeln!(out, "{count} {notices}: {}", located("devrun status --verbose"));
    }
    let broken = status.processes.iter().find(|process| !process.ready && process.fault.is_some());
    let next = match (status.state, &status.changed) {
        (State::Ready | State::Degraded, Some(changed)) => changed.fix.clone(),
        (State::Ready, None) => match &status.pending {
            Some(pending) => pending.fix.clone(),
            // Nothing is left to do.
            None => return out,
        },
        (State::Degraded, None) => match troubled {
            Some(name) => format!("devrun why {}", crate::text::quoted(name)),
            None => "devrun why".into(),
        },
        (State::Preparing | State::Starting, _) => match broken {
            // A broken process does not become ready by waiting.
            Some(process) => format!("devrun why {}", crate::text::quoted(&process.name)),
            None => "devrun wait".into(),
        },
        (State::Stopping | State::Stopped, _) => "devrun up -d".into(),
        (State::Failed, _) => "devrun why".into(),
    };
    let _ = writeln!(out, "next: {}", located(&next));
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::status::PendingMigrations;
    use crate::plan::Away;

    fn at(status: &Status, now: u64) -> String {
        super::at(status, now, &str::to_string)
    }

    #[test]
    fn the_next_command_names_the_folder_of_a_reader_elsewhere() {
        let stopped = status(json!({ "worktree": "/w", "state": "stopped" }));
        let text = super::at(&stopped, 0, &|fix| crate::text::in_folder(fix, std::path::Path::new("../x")));
        assert!(text.ends_with("next: devrun -C ../x up -d\n"), "{text}");
    }

    fn status(value: serde_json::Value) -> Status {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_next_command_for_a_broken_process_is_why() {
        let mut starting = status(json!({
            "worktree": "/w", "state": "starting",
            "processes": [{ "name": "api", "state": "running", "ready": false, "pid": 7, "fault": "code", "reason": "silent" }]
        }));
        assert!(at(&starting, 0).ends_with("next: devrun why api\n"), "{}", at(&starting, 0));
        starting.processes[0].fault = None;
        assert!(at(&starting, 0).ends_with("next: devrun wait\n"), "{}", at(&starting, 0));
    }

    #[test]
    fn a2_a_ready_stack_is_a_line() {
        let ready = status(json!({
            "worktree": "/w", "state": "ready", "urls": { "Frontend": "http://localhost:3149", "Backend": "http://localhost:8149" },
            "processes": [{ "name": "backend", "state": "running", "ready": true, "pid": 7 }]
        }));
        insta::assert_snapshot!(at(&ready, 0), @"ready: Frontend http://localhost:3149, Backend http://localhost:8149");
        let mut moved = ready;
        moved.pending = PendingMigrations::of(vec!["api/versions/0003.py".into()], Vec::new());
        (moved.away, moved.slot) = (Some(Away { home: 48, returns: true, ..Away::default() }), Some(49));
        insta::assert_snapshot!(at(&moved, 0), @r"
        ready: Frontend http://localhost:3149, Backend http://localhost:8149
        ports: slot 49, not the home slot 48; `devrun down && devrun up -d` tries the home slot again
        the database is behind the code: not migrated since a change of api/versions/0003.py
        next: devrun db migrate
        ");
    }

    #[test]
    fn a2_problems_are_a_line_each() {
        let degraded = status(json!({
            "worktree": "/w", "state": "degraded", "urls": { "Web": "http://localhost:3149" },
            "processes": [
                { "name": "web", "state": "running", "ready": true, "pid": 7 },
                { "name": "api", "state": "running", "ready": false, "pid": 8, "reason": "port 8149: refused\nmore" },
                { "name": "tool", "state": "idle", "ready": false }
            ],
            "notices": [{ "text": "redis is left out" }],
            "bound_to": { "name": "claude", "pid": 9, "grace_seconds": 30, "ends_at": 130 }
        }));
        insta::assert_snapshot!(at(&degraded, 100), @r"
        degraded: Web http://localhost:3149
        api: not ready, pid 8, port 8149: refused
        claude (pid 9) is gone; the stack ends in 30 s
        1 notice: devrun status --verbose
        next: devrun why api
        ");
    }

    #[test]
    fn a2_a_stack_that_has_ended_names_its_error() {
        let error =
            json!({ "code": "process-ended", "message": "api ended with exit code 1\nmore", "exit": 1 });
        let failed = status(json!({ "worktree": "/w", "state": "failed", "error": error }));
        insta::assert_snapshot!(at(&failed, 0), @r"
        failed: nothing runs here any more
        error: api ended with exit code 1
        next: devrun why
        ");
        insta::assert_snapshot!(at(&Status::default(), 0), @r"
        stopped: nothing runs here
        next: devrun up -d
        ");
    }
}
