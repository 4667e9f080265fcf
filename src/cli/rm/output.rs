//! Formats a removal: what will be done, what was done, and the way back.

use std::fmt::Write;

use serde_json::{Value, json};

use super::decision::{Removal, RemovalFacts, RemovalStep, RemovedHead};
use crate::cli::{columns, printed};
use crate::error::{Exit, Report};
use crate::text::quoted;
use crate::ui::console::Console;
use crate::ui::style::harmless;

/// Formats the steps and what stays.
pub(super) fn text(facts: &RemovalFacts, removal: &Removal) -> String {
    let mut rows = Vec::new();
    for step in &removal.steps {
        rows.push(match step {
            RemovalStep::TakeDown => ("stack", "end its processes, if any runs".to_string()),
            RemovalStep::DeleteDatabase { provider, name } => {
                ("database", format!("delete {name} ({provider})"))
            }
            RemovalStep::Unlock => ("lock", "unlock it".into()),
            RemovalStep::RemoveWorktree { is_gone: true, .. } => (
                "worktree",
                format!("remove git's record of {}, which no longer exists", facts.path.display()),
            ),
            RemovalStep::RemoveWorktree { .. } if facts.unsaved.count > 0 => {
                let count = facts.unsaved.count;
                ("worktree", format!("delete {} with {count} uncommitted files", facts.path.display()))
            }
            RemovalStep::RemoveWorktree { .. } => ("worktree", format!("delete {}", facts.path.display())),
            RemovalStep::ReleasePorts => ("ports", "release them".into()),
            RemovalStep::DeleteBranch { name, commit, note } => {
                ("branch", format!("delete {name} at {}, {note}", short(commit)))
            }
        });
    }
    rows.extend(removal.kept.iter().map(|(what, why)| ("keep", format!("{what}: {why}"))));
    columns(&rows)
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// Prints the result. After a removal, says how to get the commits back.
pub(super) fn answer(
    console: &Console,
    facts: &RemovalFacts,
    removal: &Removal,
    removed: bool,
    as_json: bool,
) -> Result<Exit, Report> {
    let (branch, commit) = match &facts.head {
        RemovedHead::Branch { name, commit, .. } => (Some(name), Some(commit)),
        RemovedHead::Detached { commit, .. } => (None, Some(commit)),
        RemovedHead::Unborn => (None, None),
    };
    if as_json {
        let kept: Vec<Value> =
            removal.kept.iter().map(|(what, why)| json!({ "what": what, "why": why })).collect();
        return printed(console.print_json(&json!({
            "path": facts.path.to_string_lossy(),
            "branch": branch,
            "commit": commit,
            "removed": removed,
            "steps": removal.steps.iter().map(step_json).collect::<Vec<_>>(),
            "kept": kept,
        })));
    }
    if !removed {
        return Ok(Exit::Ok);
    }
    let mut text = format!("\nRemoved {}.\n", harmless(&facts.path.display().to_string()));
    let is_deleted = removal.steps.iter().any(|step| matches!(step, RemovalStep::DeleteBranch { .. }));
    match (branch, commit) {
        (Some(branch), Some(commit)) if is_deleted => {
            let _ = writeln!(text, "The branch comes back with: git branch {} {commit}", quoted(branch));
        }
        (None, Some(commit)) => {
            let _ = writeln!(text, "Its commit comes back with: git branch NAME {commit}");
        }
        _ => {}
    }
    printed(console.print(&text))
}

fn step_json(step: &RemovalStep) -> Value {
    match step {
        RemovalStep::TakeDown => json!({ "step": "stack" }),
        RemovalStep::DeleteDatabase { provider, name } => {
            json!({ "step": "database", "provider": provider, "name": name })
        }
        RemovalStep::Unlock => json!({ "step": "unlock" }),
        RemovalStep::RemoveWorktree { force, is_gone } => {
            json!({ "step": "worktree", "force": force, "gone": is_gone })
        }
        RemovalStep::ReleasePorts => json!({ "step": "ports" }),
        RemovalStep::DeleteBranch { name, commit, note } => {
            json!({ "step": "branch", "name": name, "commit": commit, "why": note })
        }
    }
}
