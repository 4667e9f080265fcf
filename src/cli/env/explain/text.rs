//! Explanations as text.

use super::{Explanation, SetReason, Shadow, ValueOrigin};
use crate::plan::{Computed, Reason};
use crate::ui::style::harmless;

/// Returns a paragraph for each explanation.
pub(in crate::cli::env) fn text(explanations: &[Explanation]) -> String {
    explanations.iter().map(paragraph).collect()
}

fn paragraph(explanation: &Explanation) -> String {
    let Explanation { name, process, value, from, reason, read, shadows, written_to } = explanation;
    let value = value.as_ref().map(|value| format!("={}", harmless(value))).unwrap_or_default();
    let process = process.as_ref().map(|process| format!("  ({process})")).unwrap_or_default();
    let why = reason.map(|reason| format!(": {}", words(reason))).unwrap_or_default();
    let read = read.as_ref().map(|read| format!("; read at {read}")).unwrap_or_default();
    let to_come =
        matches!(from, ValueOrigin::Recognised { .. } | ValueOrigin::Computed | ValueOrigin::Config { .. })
            && explanation.value.is_none();
    let to_come = if to_come { "; no value until the branch database exists" } else { "" };
    let mut lines = vec![
        format!("{}{value}{}", harmless(name), harmless(&process)),
        harmless(&format!("    {}{why}{read}{to_come}", source_text(from, shadows))),
    ];
    lines.extend(shadows.iter().filter(|shadow| !is_at(from, shadow)).map(|shadow| {
        let place = origin_text(&shadow.from);
        harmless(&match (from, shadow.same) {
            _ if matches!(shadow.from, ValueOrigin::OtherWorktree { .. }) => {
                format!("    {place} was taken out")
            }
            (ValueOrigin::Unset, _) => format!("    {place} has a value, which devrun keeps out"),
            (_, true) => format!("    instead of {place}, which has the same value"),
            (_, false) => format!("    instead of {place}, which has another value"),
        })
    }));
    if !written_to.is_empty() {
        lines.push(harmless(&format!("    written to {}", written_to.join(", "))));
    }
    lines.join("\n") + "\n"
}

/// Returns true if recognition concluded the value from the line that gives the replaced one.
fn is_at(from: &ValueOrigin, shadow: &Shadow) -> bool {
    let ValueOrigin::Recognised { file, line } = from else { return false };
    let own = ValueOrigin::EnvFile { file: file.clone(), line: *line, main_worktree: false, worktree: None };
    shadow.from == own
}

/// Returns where a value comes from, or the line whose value it replaces.
fn source_text(from: &ValueOrigin, shadows: &[Shadow]) -> String {
    match from {
        ValueOrigin::Recognised { file, line }
            if shadows.iter().any(|shadow| is_at(from, shadow) && !shadow.same) =>
        {
            format!("in place of the value at {file}:{line}")
        }
        _ => origin_text(from),
    }
}

fn origin_text(from: &ValueOrigin) -> String {
    let of_main = |main: bool| if main { " of the main worktree" } else { "" };
    match from {
        ValueOrigin::EnvFile { file, line, worktree: Some(other), .. } => {
            format!("{file}:{line} of the worktree {other}")
        }
        ValueOrigin::EnvFile { file, line, main_worktree, worktree: None } => {
            format!("{file}:{line}{}", of_main(*main_worktree))
        }
        ValueOrigin::Config { file, line } => format!("{file}:{line}"),
        ValueOrigin::Recognised { file, line } => format!("recognised at {file}:{line}"),
        ValueOrigin::Computed => "computed".into(),
        ValueOrigin::Shell => "the shell".into(),
        ValueOrigin::LoginShell => "the login shell, which shell_env names".into(),
        ValueOrigin::Loader { file, line, main_worktree } => {
            format!("{file}:{line}{}, which the program reads itself", of_main(*main_worktree))
        }
        ValueOrigin::OtherWorktree { worktree } => format!("a value of the shell that leads into {worktree}"),
        ValueOrigin::Unset => "not set".into(),
    }
}

fn words(why: SetReason) -> &'static str {
    match why {
        SetReason::Bound(Reason::OwnAddress) => "own address of a part",
        SetReason::Bound(Reason::Origins) => "allowed origins, with this worktree's added",
        SetReason::Bound(Reason::DatabaseUrl) | SetReason::Computed(Computed::DatabaseUrl) => {
            "URL of the branch database"
        }
        SetReason::Bound(Reason::DatabasePart) | SetReason::Computed(Computed::DatabasePart) => {
            "part of the branch database's address"
        }
        SetReason::Bound(Reason::Redis) => "Redis of the worktree",
        SetReason::Bound(Reason::Example) => "required, with the value of the example",
        SetReason::Bound(Reason::RandomKey) => "random key that is kept outside git",
        SetReason::Computed(Computed::Port) => "port of this worktree",
        SetReason::Computed(Computed::ProcessPort) => "port of the process",
        SetReason::Computed(Computed::Host) => "address that the process binds",
        SetReason::Computed(Computed::Socket) => "socket that devrun hands over",
        SetReason::Computed(Computed::Service) => "service of the worktree",
        SetReason::Computed(Computed::Worktree) => "identity of this worktree",
        SetReason::Computed(Computed::Origins) => "origins of this worktree's pages",
        SetReason::Computed(Computed::SearchPath) => "folders with the worktree's own programs",
        SetReason::Computed(Computed::VirtualEnv) => "virtual environment of the worktree",
        SetReason::Computed(Computed::Output) => "output through a pipe",
        SetReason::Computed(Computed::Variables) => "names of the variables that devrun sets",
    }
}
