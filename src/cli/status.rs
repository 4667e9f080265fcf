//! `devrun status` (or `ps`): prints the status of this worktree's stack.

mod short;

use std::fmt::Write;

use serde_json::json;

use super::recent_error;
use crate::context::Context;
use crate::control::started_by::{StartedBy, StarterKind};
use crate::control::status::{
    BoundTo, Changed, EndedBy, PendingMigrations, ProcessStatus, State, Status, Word,
};
use crate::error::{Exit, Report};
use crate::os::clock;
use crate::plan::Notice;
use crate::ui::console::Console;
use crate::ui::style::{self, Style, harmless};
use crate::worktree::Worktree;

pub(super) async fn run(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let found = super::running::find(ctx).await?;
    let mut status = found.status().await?;
    if !status.state.is_over() && status.database.is_some() {
        status.notices.extend(crate::prepare::schema_drift(ctx).await);
    }
    show(console, &status, as_json)?;
    let Worktree { state, path, .. } = &found.worktree;
    let text = |line: &[u8]| style::plain(&String::from_utf8_lossy(line)).trim_end().to_string();
    // The message of the error may contain secrets. `devrun why` masks it.
    match recent_error::newest(&status.processes, state, path, &text) {
        Some(error) if !as_json && status.state == State::Ready => super::printed(console.print(&format!(
            "{}: {}\n",
            harmless(&error.remark()),
            console.located("devrun why")
        ))),
        _ => Ok(Exit::Ok),
    }
}

/// Prints `status` as text, in short for a coding agent, or as JSON.
pub(super) fn show(console: &Console, status: &Status, as_json: bool) -> Result<Exit, Report> {
    let mut status = status.clone();
    locate(console, &mut status);
    super::printed(if as_json {
        console.print_json(&json!(status))
    } else if console.is_short() {
        console.print(&console.shortened(&short::text(&status, &|next| console.located(next))))
    } else {
        console.print(&text(&status, StatusRows::All, console.style()))
    })
}

/// Adds the folder of the worktree to the commands in the fixes of `status` if the user is in another folder.
pub(super) fn locate(console: &Console, status: &mut Status) {
    let errors = status.error.iter_mut().chain(status.ended_by.iter_mut().map(|ended| &mut ended.error));
    let of_errors = errors.filter_map(|error| error.fix.as_mut());
    let of_processes = status.processes.iter_mut().filter_map(|process| process.fix.as_mut());
    let of_inputs = status.changed.iter_mut().map(|changed| &mut changed.fix);
    let of_migrations = status.pending.iter_mut().map(|pending| &mut pending.fix);
    for fix in of_errors.chain(of_processes).chain(of_inputs).chain(of_migrations) {
        *fix = console.located(fix);
    }
}

/// The rows above the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatusRows {
    All,
    /// Only those that a request about processes may change: the start of the stack has printed the others.
    OfState,
}

/// Prints `status` after a verb that starts or stops processes, or waits for them. As text for people, leaves out the worktree, the
/// database, the second addresses and what started the stack, unless the stack is over.
pub(super) fn show_state(
    ctx: &Context,
    console: &Console,
    mut status: Status,
    as_json: bool,
) -> Result<Exit, Report> {
    if as_json || console.is_short() || status.state.is_over() {
        return show_after(ctx, console, status, as_json);
    }
    warn_of_changes(ctx, console, &mut status);
    super::printed(console.print(&text(&status, StatusRows::OfState, console.style())))
}

/// Prints `status` after a verb that starts the stack. If it is printed as text for people, warns of changed inputs and migrations on
/// standard error, where scripts that discard the status still show it.
pub(super) fn show_after(
    ctx: &Context,
    console: &Console,
    mut status: Status,
    as_json: bool,
) -> Result<Exit, Report> {
    if !as_json && !console.is_short() {
        warn_of_changes(ctx, console, &mut status);
    }
    show(console, &status, as_json)
}

/// Takes the changed inputs and migrations out of `status` and warns of them.
pub(super) fn warn_of_changes(ctx: &Context, console: &Console, status: &mut Status) {
    let changed = status.changed.take().map(|changed| changed.notice());
    let pending = status.pending.take().map(|pending| pending.notice());
    for Notice { text, fix } in changed.into_iter().chain(pending) {
        ctx.events.warn(format!("{text}: {}", console.located(&fix.unwrap_or_default())));
    }
}

/// Formats `status`: the stack, its URLs, a line for each process, then findings, notices, changes and the error.
fn text(status: &Status, shown: StatusRows, style: Style) -> String {
    let mut rows = Vec::new();
    if shown == StatusRows::All {
        let branch = status.branch.as_deref().map(|branch| format!(" on {}", harmless(branch)));
        let worktree = format!("{}{}", harmless(&status.worktree), branch.unwrap_or_default());
        rows.push(("Worktree".to_string(), worktree));
    }
    rows.push(("State".into(), state(status)));
    // A program without a name is no information.
    let is_known = |by: &&StartedBy| by.kind != StarterKind::Other || by.agent.is_some();
    let started_by = status.started_by.iter().filter(is_known).filter(|_| !status.state.is_over());
    let started_by = started_by.filter(|_| shown == StatusRows::All);
    rows.extend(started_by.map(|by| ("Started by".into(), harmless(&by.to_string()))));
    let bound = status.bound_to.iter().filter(|_| !status.state.is_over());
    rows.extend(bound.map(|bound| ("Bound to".into(), bound_to(bound))));
    if let Some(namespace) = &status.namespace {
        let about = format!("{}: a container or sandbox, with process ids of its own", harmless(namespace));
        rows.push(("Namespace".into(), about));
    }
    rows.extend(status.urls.iter().map(|(name, url)| {
        let host =
            status.host_urls.get(name).and_then(|url| url.as_str()).filter(|_| shown == StatusRows::All);
        (name.clone(), super::beside(url.as_str().unwrap_or_default(), host))
    }));
    rows.extend(
        status
            .database
            .iter()
            .filter(|_| shown == StatusRows::All)
            .map(|database| ("Database".to_string(), format!("{} ({})", database.branch, database.provider))),
    );
    rows.extend(
        status
            .open_steps()
            .map(|step| (step.name.name().into(), format!("{} {}", step.state.word(), step.detail))),
    );
    if let (Some(away), Some(slot)) = (&status.away, status.slot) {
        rows.push(("Ports".into(), format!("slot {slot}, {}", harmless(&away.to_string()))));
    }
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
    if !status.notices.is_empty() {
        out.push('\n');
        for notice in &status.notices {
            out.push_str(&crate::ui::notice::text(notice, style));
        }
    }
    let changed = status.changed.as_ref().map(Changed::notice);
    for notice in changed.into_iter().chain(status.pending.as_ref().map(PendingMigrations::notice)) {
        let _ = write!(out, "\n{}", crate::ui::notice::text(&notice, style));
    }
    if let Some(error) = status.end() {
        let _ = write!(out, "\n{}", crate::ui::error_text::text(&error.clone().into(), style));
    }
    out
}

/// Returns the process that the stack is bound to, and when the stack ends.
fn bound_to(bound: &BoundTo) -> String {
    let BoundTo { name, pid, grace_seconds, ends_at } = bound;
    let name = harmless(name);
    match ends_at {
        None => format!("{name} (pid {pid}); the stack ends {grace_seconds} s after it"),
        Some(at) => {
            format!(
                "{name} (pid {pid}), which is gone; the stack ends in {} s",
                at.saturating_sub(clock::unix_seconds())
            )
        }
    }
}

fn state(status: &Status) -> String {
    match status.state {
        State::Stopped => match (&status.ended_by, &status.bound_to) {
            (Some(EndedBy { error, .. }), _) => format!("stopped: {}", harmless(&error.message)),
            (None, Some(BoundTo { name, pid, ends_at: Some(_), .. })) => {
                format!("stopped: {} (pid {pid}), which the stack was bound to, is gone", harmless(name))
            }
            (None, _) => "stopped: nothing runs here".into(),
        },
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
                (Some(_), false) if process.state == Word::Running => "not ready".into(),
                _ => process.state.text().into(),
            }];
            parts.extend(process.pid.map(|pid| format!("pid {pid}")));
            if !process.exposed.is_empty() {
                let exposed: Vec<String> = process.exposed.iter().map(u16::to_string).collect();
                parts.push(format!("reachable from outside on {}", exposed.join(", ")));
            }
            let reason = process.reason.as_ref().map(|reason| harmless(first_line(reason)));
            if process.state == Word::Failed {
                // The reason contains the number of restarts and the exit code.
                return (process.name.clone(), format!("failed: {}", reason.unwrap_or_default()));
            }
            if process.restarts > 0 {
                let times = if process.restarts == 1 { "restart" } else { "restarts" };
                parts.push(format!("{} {times}", process.restarts));
            }
            parts.extend(process.exit.map(|exit| format!("last exit {exit}")));
            parts.extend(reason);
            (process.name.clone(), parts.join(", "))
        })
        .collect()
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
