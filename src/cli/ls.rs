//! `devrun ls`: every stack of this user on this machine, wherever one stands.
//!
//! Also ends what a stack left that was killed and whose worktree is gone: nobody else ever comes by there.

use std::fmt::Write;

use serde_json::json;

use crate::context::Context;
use crate::control;
use crate::control::overview::{self, Overview, Stack};
use crate::control::registry::{self, Entry};
use crate::error::{Exit, Report};
use crate::prepare;
use crate::supervisor::sweep;
use crate::ui::console::Console;
use crate::ui::style::harmless;

const TITLES: [&str; 8] = ["STATE", "REPO", "BRANCH", "URL", "AGE", "MEMORY", "CPU", "WORKTREE"];

pub(super) async fn run(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let Overview { stacks, forsaken } = overview::read(&ctx.dirs).await;
    for entry in &forsaken {
        clean_up(ctx, entry);
    }
    prepare::stop_abandoned_servers(ctx);
    super::printed(if as_json {
        console.print_json(&json!({ "stacks": stacks }))
    } else {
        console.print(&text(&stacks))
    })
}

/// Ends what still carries the tag of a stack that nobody runs and whose worktree is gone; then it can be forgotten.
fn clean_up(ctx: &Context, entry: &Entry) {
    // Held so that no devrun begins there. Where the folder went with the worktree, none can. One without a record of
    // that worktree is not its state: nothing is made or removed there.
    let held = control::is_state_of(&entry.state, &entry.worktree).then(|| control::claim(&entry.state));
    let claim = match held {
        Some(Ok(Some(claim))) => Some(claim),
        None => None,
        // Somebody has come meanwhile, or it cannot be known: looked at again next time.
        Some(Ok(None) | Err(_)) => return,
    };
    let left = sweep::kill_leftovers(&sweep::worktree_tag(&entry.worktree));
    if left > 0 {
        let worktree = entry.worktree.display();
        ctx.events
            .note(format!("ended {left} processes that a run left behind in {worktree}, which is gone"));
    }
    if let Some(claim) = claim {
        claim.clear();
    }
    registry::forget(&ctx.dirs, entry);
}

fn text(stacks: &[Stack]) -> String {
    if stacks.is_empty() {
        return "No stack runs. `devrun up -d` starts one here.\n".into();
    }
    let titles = TITLES.map(String::from);
    let rows: Vec<[String; 8]> = std::iter::once(titles).chain(stacks.iter().map(cells)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    if let Some(stack) = stacks.iter().find(|stack| stack.state == "stale") {
        let _ = write!(
            out,
            "\nstale: it was killed and nobody cleaned up; `devrun -C {} down` does.\n",
            harmless(&stack.worktree)
        );
    }
    if let Some(stack) = stacks.iter().find(|stack| stack.state == "silent") {
        let pid = stack.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
        let _ = write!(
            out,
            "\nsilent: its devrun{pid} does not answer; `devrun -C {} down` ends it.\n",
            harmless(&stack.worktree)
        );
    }
    out
}

fn cells(stack: &Stack) -> [String; 8] {
    let ports = || stack.ports.values().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let live = |text: String| if stack.processes == 0 { "-".into() } else { text };
    [
        stack.state.clone(),
        harmless(&stack.repo),
        stack.branch.as_deref().map_or_else(|| "-".into(), harmless),
        stack.url.as_deref().map_or_else(ports, harmless),
        stack.age_seconds.map_or_else(|| "-".into(), age),
        live(format!("{} MB", stack.memory_bytes.div_ceil(1_000_000))),
        live(format!("{:.1} %", stack.cpu_percent)),
        harmless(&stack.worktree),
    ]
}

/// In the largest unit that says enough.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn stack(state: &str, processes: usize) -> Stack {
        Stack {
            repo: "shop".into(),
            worktree: "/w/shop-x".into(),
            branch: Some("feature/x".into()),
            state: state.into(),
            ports: BTreeMap::from([("web".into(), 3147)]),
            url: (processes > 0).then(|| "http://localhost:3147".into()),
            pid: Some(7),
            age_seconds: Some(7300),
            processes,
            memory_bytes: 123_400_000,
            cpu_seconds: 1.0,
            cpu_percent: 0.3,
        }
    }

    #[test]
    fn people_read_a_row_for_each_and_what_to_do_about_odd_ones() {
        insta::assert_snapshot!(text(&[stack("ready", 3), stack("silent", 0)]), @r"
        STATE   REPO  BRANCH     URL                    AGE  MEMORY  CPU    WORKTREE
        ready   shop  feature/x  http://localhost:3147  2 h  124 MB  0.3 %  /w/shop-x
        silent  shop  feature/x  3147                   2 h  -       -      /w/shop-x

        silent: its devrun (pid 7) does not answer; `devrun -C /w/shop-x down` ends it.
        ");
        assert!(text(&[]).starts_with("No stack runs"));
    }
}
