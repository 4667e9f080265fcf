//! `devrun status` (or `ps`): what the stack of this worktree is doing.

use std::fmt::Write;

use serde_json::json;

use crate::context::Context;
use crate::control::status::{ProcessStatus, State, Status};
use crate::error::{Exit, Report};
use crate::ui::console::Console;
use crate::ui::style::{Style, harmless};

pub(super) async fn run(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let status = super::running::find(ctx).await?.status().await?;
    show(console, &status, as_json)
}

/// Prints `status` for people, or as the JSON that every verb prints.
pub(super) fn show(console: &Console, status: &Status, as_json: bool) -> Result<Exit, Report> {
    super::printed(if as_json {
        console.print_json(&json!(status))
    } else {
        console.print(&text(status, console.style()))
    })
}

/// At most a screenful: the stack, its URLs, a line for each process.
fn text(status: &Status, style: Style) -> String {
    let branch =
        status.branch.as_deref().map(|branch| format!(" on {}", harmless(branch))).unwrap_or_default();
    let mut rows = vec![
        ("Worktree".to_string(), format!("{}{branch}", harmless(&status.worktree))),
        ("State".into(), state(status)),
    ];
    rows.extend(
        status.urls.iter().map(|(name, url)| (name.clone(), url.as_str().unwrap_or_default().into())),
    );
    rows.extend(
        status
            .database
            .iter()
            .map(|database| ("Database".to_string(), format!("{} ({})", database.branch, database.provider))),
    );
    rows.extend(
        status
            .steps
            .iter()
            .filter(|step| step.state != "done")
            .map(|step| (step.name.clone(), format!("{} {}", step.state, step.detail))),
    );
    let mut out = super::columns(&rows);
    if !status.processes.is_empty() {
        out.push('\n');
        out.push_str(&super::columns(&processes(&status.processes)));
    }
    if !status.isolation.is_empty() {
        out.push('\n');
        for finding in &status.isolation {
            let _ = writeln!(out, "{}: {}", style.warn("not isolated"), harmless(&finding.text()));
        }
    }
    if let Some(error) = &status.error {
        let _ = write!(out, "\n{}", crate::ui::failure::text(&error.clone().into(), style));
    }
    out
}

fn state(status: &Status) -> String {
    match status.state {
        State::Stopped => "stopped: nothing runs here".into(),
        State::Failed => "failed: nothing runs here any more".into(),
        other => other.word().into(),
    }
}

fn processes(processes: &[ProcessStatus]) -> Vec<(String, String)> {
    processes
        .iter()
        .map(|process| {
            let mut parts = vec![match (process.pid, process.ready) {
                (Some(_), true) => "ready".to_string(),
                (Some(_), false) if process.state.text() == "running" => "not ready".into(),
                _ => process.state.text().into(),
            }];
            parts.extend(process.pid.map(|pid| format!("pid {pid}")));
            if process.restarts > 0 {
                parts.push(format!("{} restarts", process.restarts));
            }
            parts.extend(process.exit.map(|exit| format!("last exit {exit}")));
            parts.extend(process.reason.as_ref().map(|reason| first_line(reason).to_string()));
            (process.name.clone(), parts.join(", "))
        })
        .collect()
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
