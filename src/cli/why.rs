//! `devrun why`: prints what a process is waiting for or why it ended, its last lines, and the one command that would
//! help. Without a name, it picks the first process that is not fine, or says that all is well. It also works after the
//! end of a stack.

mod answer;
mod changed;

use std::fmt::Write;
use std::path::Path;

use serde_json::json;

use self::answer::{Subject, Surroundings, WhyAnswer};
use super::args;
use crate::context::{Context, missing_settings};
use crate::control::stack_handle;
use crate::control::status::ProcessStatus;
use crate::error::{Exit, Report};
use crate::logs::{self, Timestamp, query};
use crate::plan::Plan;
use crate::prepare;
use crate::text::Mask;
use crate::ui::console::Console;
use crate::ui::style::{self, Style, harmless};

/// How many of the last lines of a process are printed.
const LINES: usize = 20;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::WhyArgs,
    as_json: bool,
) -> Result<Exit, Report> {
    let found = super::running::find(ctx).await?;
    let status = found.status().await?;
    let runs = found.record.is_some();
    let subject = match &args.name {
        Some(name) => {
            Subject::Process(status.process(name).ok_or_else(|| stack_handle::unknown(&status, name))?)
        }
        None => answer::subject(&status),
    };
    let preview = prepare::preview(ctx).await.ok();
    let plan = preview.as_ref().map(|preview| &preview.plan);
    let root = &found.worktree.path;
    let (lines, folder) = match subject {
        Subject::Process(process) => {
            let folder = plan.and_then(|plan| {
                let this = plan.processes.iter().find(|one| one.name == process.name)?;
                Some(this.directory.clone())
            });
            (last_lines(&mask(ctx, plan), &found.worktree.state, process), folder)
        }
        Subject::Stack => (Vec::new(), None),
    };
    let started = found.record.as_ref().map(|record| record.started);
    let around = Surroundings {
        runs,
        lines: &lines,
        root,
        changed: &|| started.and_then(|started| changed::since(root, started)),
        examples: &|names| missing_settings::with_examples(names, folder.as_deref().unwrap_or(root), root),
    };
    let answer = answer::answer(&status, subject, &around);
    let answer = WhyAnswer { changed: status.changed.clone(), ..answer };
    super::printed(if as_json {
        console.print_json(&json!(answer))
    } else {
        console.print(&text(&answer, console.style()))
    })
}

/// Returns the mask that hides the secrets in the environment of the processes. Without a valid configuration it hides
/// only the secrets that devrun was started with.
fn mask(ctx: &Context, plan: Option<&Plan>) -> Mask {
    let inherited = Mask::of_variables(&ctx.env);
    plan.map_or_else(|| inherited.clone(), |plan| Mask::of_plan(plan).and(inherited.clone()))
}

/// Returns the last lines that the current or last start of `process` wrote; none if this run has not started it.
fn last_lines(mask: &Mask, state: &Path, process: &ProcessStatus) -> Vec<String> {
    let Some(started) = process.started else { return Vec::new() };
    let since = Timestamp::at(started);
    let lines = query::tail_since(&logs::folder(state), &process.name, since, LINES).unwrap_or_default();
    let text = |line: &[u8]| mask.apply(style::plain(&String::from_utf8_lossy(line)).trim_end());
    lines.into_iter().map(|line| text(&line.text)).filter(|line| !line.is_empty()).collect()
}

fn text(answer: &WhyAnswer, style: Style) -> String {
    let mut out = format!("{}\n", harmless(&answer.summary));
    let mut part = |title: &str, body: &str| {
        let _ = writeln!(out, "  {}: {}", style.dim(title), harmless(body));
    };
    if let Some(place) = &answer.correct {
        part("correct", place);
    }
    if let Some(fault) = answer.fault {
        part("fault", fault.words());
    }
    for line in answer.cause.iter().flat_map(|cause| cause.lines()) {
        part("why", line);
    }
    if let Some(fix) = &answer.fix {
        part("fix", fix);
    }
    if let Some(changed) = &answer.changed {
        out.push_str(&crate::ui::notice::text(&changed.notice(), style));
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
