//! `devrun self-check`: prints what this devrun is, where its files are, and what it can and cannot promise on this machine.
//!
//! Each family gathers its facts in one function and judges them in another, which is pure.

mod build;
mod database;
mod folders;
mod line;
mod network;
mod processes;

use std::fmt::Write;

use serde_json::json;

use self::line::{CheckLine, Promise};
use crate::context::Context;
use crate::error::{Exit, Report};
use crate::ui::console::Console;
use crate::ui::style::{Style, harmless};

pub(super) async fn run(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let lines: Vec<CheckLine> = [
        build::judge(&build::facts()),
        folders::judge(&folders::facts(ctx)),
        processes::judge(&processes::facts()),
        network::judge(&network::facts(ctx).await),
        database::judge(&database::facts(ctx)),
    ]
    .concat();
    super::printed(if as_json {
        console.print_json(&json!({ "lines": lines }))
    } else {
        console.print(&text(&lines, console.style()))
    })
}

/// Formats the lines, with a blank line between families.
fn text(lines: &[CheckLine], style: Style) -> String {
    let width = lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut family = lines.first().map_or("", |line| line.family);
    for line in lines {
        if line.family != family {
            text.push('\n');
            family = line.family;
        }
        let (mark, colour) = match line.promise {
            Promise::Fact => (' ', ""),
            Promise::Kept => ('+', "32"),
            Promise::Limited => ('~', "33"),
            Promise::Missing => ('-', "31"),
        };
        let mark = if style.colour && !colour.is_empty() {
            format!("\u{1b}[{colour}m{mark}\u{1b}[0m")
        } else {
            mark.to_string()
        };
        let _ = writeln!(text, "{mark} {:width$}  {}", line.name, harmless(&line.text));
    }
    text
}
