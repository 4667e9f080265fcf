//! `devrun ls --strays`: lists servers in the worktrees of this repository that devrun does not supervise.

use std::fmt::Write;

use serde_json::json;

use crate::cleanup::gather::{repository_runs, search_roots};
use crate::cleanup::servers::{self, StrayServer};
use crate::cli::printed;
use crate::context::Context;
use crate::error::{Exit, Report};
use crate::prepare;
use crate::text::duration;
use crate::ui::console::Console;
use crate::ui::style::harmless;

const TITLES: [&str; 6] = ["PID", "PORT", "AGE", "WORKTREE", "END IT", "COMMAND"];

pub(super) async fn run(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let own = prepare::locate(ctx).await?;
    let found = servers::find(&search_roots(&repository_runs(ctx, &own).await?));
    printed(if as_json {
        console.print_json(&json!({ "strays": found }))
    } else {
        console.print(&text(&found))
    })
}

fn text(found: &[StrayServer]) -> String {
    if found.is_empty() {
        return "There is no stray: devrun supervises every server that runs in the worktrees of this repository.\n".into();
    }
    let titles = TITLES.map(String::from);
    let rows: Vec<[String; 6]> = std::iter::once(titles).chain(found.iter().map(cells)).collect();
    let widths: [usize; 6] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    rows.iter().fold(String::new(), |mut out, row| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        out
    })
}

fn cells(server: &StrayServer) -> [String; 6] {
    let gone = if server.worktree_is_gone { " (gone)" } else { "" };
    [
        server.pid.to_string(),
        server.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        server.age_seconds.map_or_else(|| "-".into(), duration::rounded),
        format!("{}{gone}", harmless(&server.worktree.to_string_lossy())),
        server.end.clone(),
        harmless(&server.command),
    ]
}
