//! `devrun ls`: lists the stacks of this user on this machine, from any directory.
//!
//! It also removes what killed stacks left in worktrees that are gone, because no other command runs there again, and
//! reports that. It stops unused database servers whose repository is gone.

mod strays;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use serde_json::json;

use super::args;
use crate::cleanup::gather::repository_runs;
use crate::cleanup::leftovers::{self, Leftovers};
use crate::context::Context;
use crate::control::overview::{self, Overview, Stack, StackState};
use crate::control::registry::StackEntry;
use crate::error::{Exit, Report};
use crate::event::Events;
use crate::prepare;
use crate::text::{duration, quoted};
use crate::ui::console::Console;
use crate::ui::style::harmless;

const TITLES: [&str; 9] =
    ["STATE", "REPO", "BRANCH", "URL", "AGE", "MEMORY", "CPU", "STARTED BY", "WORKTREE"];

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Ls,
    as_json: bool,
) -> Result<Exit, Report> {
    if args.strays {
        return strays::run(ctx, console, as_json).await;
    }
    let here = if args.here { Some(worktrees_here(ctx).await?) } else { None };
    // Outside of a worktree there is nothing to add.
    let quiet = Context { events: Events::discarded(), ..ctx.clone() };
    let own = prepare::locate(&quiet).await.ok();
    let entry = own
        .as_ref()
        .map(|worktree| Leftovers::of(&ctx.dirs, &worktree.path).registry_entry(worktree, Vec::new()));
    let Overview { stacks, orphaned } = overview::read(&ctx.dirs, entry, |entry| {
        here.as_ref().is_none_or(|paths| paths.contains(&entry.worktree))
    })
    .await;
    let ended = end_orphaned(ctx, &orphaned);
    prepare::stop_abandoned_servers(ctx);
    super::printed(if as_json {
        console.print_json(&json!({ "stacks": stacks, "ended": ended }))
    } else {
        console.print(&text(&stacks))
    })
}

/// Returns the paths of all worktrees of this repository, including those that are gone.
pub(super) async fn worktrees_here(ctx: &Context) -> Result<BTreeSet<PathBuf>, Report> {
    let own = prepare::locate(ctx).await?;
    Ok(repository_runs(ctx, &own).await?.into_iter().map(|run| run.worktree).collect())
}

/// Removes what killed stacks left in worktrees that are gone, and reports it. Returns those worktrees.
fn end_orphaned(ctx: &Context, orphaned: &[StackEntry]) -> Vec<String> {
    let mut ended = Vec::new();
    for entry in orphaned {
        let Some(killed) = leftovers::end_orphaned(ctx, entry) else { continue };
        let worktree = entry.worktree.display().to_string();
        if killed > 0 {
            ctx.events.note(format!(
                "ended {killed} processes that a run left behind in {worktree}, which is gone"
            ));
        }
        ended.push(worktree);
    }
    ended
}

fn text(stacks: &[Stack]) -> String {
    if stacks.is_empty() {
        return "No stack runs. `devrun up -d` starts one here.\n".into();
    }
    let titles = TITLES.map(String::from);
    let rows: Vec<[String; 9]> = std::iter::once(titles).chain(stacks.iter().map(cells)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 9] = std::array::from_fn(width);
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    if let Some(stack) = stacks.iter().find(|stack| stack.state == StackState::Stale) {
        let _ = write!(
            out,
            "\nstale: it was killed and left processes or files behind; `devrun -C {} down` removes them.\n",
            harmless(&quoted(&stack.worktree))
        );
    }
    if let Some(stack) = stacks.iter().find(|stack| stack.state == StackState::Silent) {
        let pid = stack.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
        let _ = write!(
            out,
            "\nsilent: its devrun{pid} does not answer; `devrun -C {} down` ends it.\n",
            harmless(&quoted(&stack.worktree))
        );
    }
    out
}

fn cells(stack: &Stack) -> [String; 9] {
    let ports = || stack.ports.values().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let live = |text: String| if stack.processes == 0 { "-".into() } else { text };
    [
        stack.state.word().into(),
        harmless(&stack.repo),
        stack.branch.as_deref().map_or_else(|| "-".into(), harmless),
        stack.url.as_deref().map_or_else(ports, harmless),
        stack.age_seconds.map_or_else(|| "-".into(), duration::rounded),
        live(format!("{} MB", stack.memory_bytes.div_ceil(1_000_000))),
        live(format!("{:.1} %", stack.cpu_percent)),
        stack.started_by.as_ref().map_or_else(|| "-".into(), |by| harmless(&by.to_string())),
        harmless(&stack.worktree),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::control::started_by::{StartedBy, StarterKind};
    use crate::control::status::State;

    fn stack(state: StackState, processes: usize) -> Stack {
        Stack {
            repo: "shop".into(),
            worktree: "/w/shop-x".into(),
            branch: Some("feature/x".into()),
            state,
            started_by: Some(StartedBy { kind: StarterKind::Agent, agent: Some("codex".into()) }),
            ports: BTreeMap::from([("web".into(), 3147)]),
            url: (processes > 0).then(|| "http://localhost:3147".into()),
            problem: None,
            pid: Some(7),
            age_seconds: Some(7300),
            processes,
            memory_bytes: 123_400_000,
            cpu_seconds: 1.0,
            cpu_percent: 0.3,
        }
    }

    #[test]
    fn table_has_a_row_per_stack_and_a_fix_for_problems() {
        insta::assert_snapshot!(text(&[stack(StackState::Answered(State::Ready), 3), stack(StackState::Silent, 0)]), @r"
        STATE   REPO  BRANCH     URL                    AGE  MEMORY  CPU    STARTED BY  WORKTREE
        ready   shop  feature/x  http://localhost:3147  2 h  124 MB  0.3 %  codex       /w/shop-x
        silent  shop  feature/x  3147                   2 h  -       -      codex       /w/shop-x

        silent: its devrun (pid 7) does not answer; `devrun -C /w/shop-x down` ends it.
        ");
        assert!(text(&[]).starts_with("No stack runs"));
    }
}
