//! `devrun why`: what a process is waiting for or why it ended, its last lines, and the one command that would help. Without
//! a name: the first process that is not fine, or that all is well. Answers after the end of a stack as well.

mod answer;
mod changed;

use std::fmt::Write;
use std::path::Path;

use serde_json::json;

use self::answer::{Answer, Subject};
use super::args;
use crate::context::Context;
use crate::control::desk;
use crate::error::{Exit, Report};
use crate::logs::{self, query};
use crate::text::hide_in_urls;
use crate::ui::console::Console;
use crate::ui::style::{self, Style, harmless};

/// How many lines of a process are shown.
const LINES: usize = 20;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Why,
    as_json: bool,
) -> Result<Exit, Report> {
    let found = super::running::find(ctx).await?;
    let status = found.status().await?;
    let runs = found.record.is_some();
    let subject = match &args.name {
        Some(name) => Subject::Process(status.process(name).ok_or_else(|| desk::unknown(&status, name))?),
        None => answer::subject(&status),
    };
    let lines = match subject {
        Subject::Process(process) => last_lines(&found.worktree.state, &process.name),
        Subject::Stack => Vec::new(),
    };
    let started = found.record.as_ref().map(|record| record.started);
    let changed = || started.and_then(|started| changed::since(&found.worktree.path, started));
    let answer = answer::answer(&status, subject, runs, lines, changed);
    super::printed(if as_json {
        console.print_json(&json!(answer))
    } else {
        console.print(&text(&answer, console.style()))
    })
}

/// The last lines that process `name` wrote, whether or not it runs.
fn last_lines(state: &Path, name: &str) -> Vec<String> {
    let lines = query::tail(&logs::folder(state), name, LINES).unwrap_or_default();
    let text = |line: &[u8]| hide_in_urls(style::plain(&String::from_utf8_lossy(line)).trim_end());
    lines.into_iter().map(|line| text(&line.text)).filter(|line| !line.is_empty()).collect()
}

fn text(answer: &Answer, style: Style) -> String {
    let mut out = format!("{}\n", harmless(&answer.summary));
    let mut part = |title: &str, body: &str| {
        let _ = writeln!(out, "  {}: {}", style.dim(title), harmless(body));
    };
    if let Some(fault) = answer.fault {
        part("fault", fault.words());
    }
    for line in answer.cause.iter().flat_map(|cause| cause.lines()) {
        part("why", line);
    }
    if let Some(place) = &answer.correct {
        part("correct", place);
    }
    if let Some(fix) = &answer.fix {
        part("fix", fix);
    }
    if !answer.lines.is_empty() {
        let name = answer.process.as_deref().unwrap_or_default();
        let _ = writeln!(out, "\nLast lines of {}:", harmless(name));
        for line in &answer.lines {
            let _ = writeln!(out, "  {}", harmless(line));
        }
    }
    out
}
