//! `devrun why`: prints what a process is waiting for or why it ended, its last lines, and the one command that would
//! help. Without a name, it picks the process that ended the stack, else the one in the worst state, or says that all is well. It also
//! works after the end of a stack.

mod answer;

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use self::answer::{Subject, Surroundings, WhyAnswer, WhyFix};
use super::args;
use super::recent_error::{self, RecentError};
use crate::context::dependency_lists::{MissingModule, ProgramPackages};
use crate::context::missing_settings::{self, ProgramPlace};
use crate::context::refused_database::RefusedDatabase;
use crate::context::{Context, code_place};
use crate::control::stack_handle;
use crate::control::status::{Changed, PendingMigrations, ProcessStatus, State, Status};
use crate::error::{Exit, Report};
use crate::event::Events;
use crate::logs::{self, Timestamp, query};
use crate::plan::Plan;
use crate::prepare::{self, AddressLines, Preview};
use crate::text::{Mask, failed_requests, reload, repeats, traceback};
use crate::ui::compact;
use crate::ui::console::Console;
use crate::ui::style::{self, Style, harmless};
use crate::worktree::Worktree;

/// How many of the last lines of a process are printed, without requests that were answered well, and with repeated lines once.
const LINES: usize = 20;
/// How many lines are read for them.
const READ: usize = 200;
/// How long after its last reload a server may still be loading its code.
const RELOAD: Duration = Duration::from_secs(15);

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
    // The start of the stack has printed the remarks of the preview.
    let quiet = Context { events: Events::new(|_| {}), ..ctx.clone() };
    let preview = prepare::preview(&quiet).await.ok();
    let plan = preview.as_ref().map(|preview| &preview.plan);
    let root = &found.worktree.path;
    let mask = mask(ctx, plan);
    let (lines, planned) = match subject {
        Subject::Process(process) => {
            let planned = plan.and_then(|plan| plan.processes.iter().find(|one| one.name == process.name));
            (last_lines(&mask, &found.worktree.state, process), planned)
        }
        Subject::Stack => (LastLines::default(), None),
    };
    let mut set = missing_settings::set_names(plan.into_iter().flat_map(|plan| plan.env.vars.keys()));
    set.extend(planned.into_iter().flat_map(|process| process.env.keys().cloned()));
    let directory = planned.map_or(root.as_path(), |process| &process.directory);
    let place = ProgramPlace { directory, root, set: &set };
    let started = found.record.as_ref().map(|record| record.started);
    let command = planned.map(|process| harmless(&process.run.to_string()));
    let refused = |process: Option<&str>, output: &str| {
        let Preview { plan, resolved, .. } = preview.as_ref()?;
        let lines = || AddressLines::of(resolved).of_process(process.unwrap_or_default());
        RefusedDatabase::read(output, &plan.database.as_ref()?.masked_url, &lines)
    };
    let around = Surroundings {
        runs,
        refused: &|output| refused(planned.map(|process| process.name.as_str()), output),
        command: command.as_deref(),
        lines: lines.newest(),
        root,
        whole: &|place| code_place::whole(place, directory, root),
        package: &|name, place| {
            let program = plan.zip(planned).map(|(plan, process)| ProgramPackages::of(plan, process));
            MissingModule { name, place, root, program, started }.state()
        },
        is_reloading: lines.is_reloading,
        examples: &|names| missing_settings::with_examples(names, &place),
    };
    let answer = answer::answer(&status, subject, &around);
    let error = recent_error(&status, subject, &mask, &found.worktree);
    let answer = match error.filter(|_| runs && answer.fault.is_none()) {
        Some(error) => answer::with_recent_error(answer, &status, error),
        None => answer,
    };
    let asked = answer.recent_error.as_ref().and_then(|error| refused(Some(&error.process), &error.said));
    let answer = match asked {
        Some(asked) => answer::with_refused_database(answer, &asked),
        None => answer,
    };
    let is_started = matches!(status.state, State::Ready | State::Degraded);
    let answer = match &preview {
        Some(preview) if preview.server_is_down && runs && is_started => answer::with_stopped_server(answer),
        _ => answer,
    };
    let mut status = status;
    super::status::locate(console, &mut status);
    let fix = answer.fix.map(|fix| WhyFix::from(console.located(&fix)));
    let answer = WhyAnswer { fix, changed: status.changed.take(), pending: status.pending.take(), ..answer };
    super::printed(if as_json {
        console.print_json(&json!(answer))
    } else {
        let shown = if answer.lines.is_empty() { Vec::new() } else { lines.shown() };
        let answer = WhyAnswer { lines: shown, ..once(&answer) };
        console.print(&console.shortened(&text(&answer, console.style())))
    })
}

/// Returns the mask that hides the secrets in the environment of the processes. Without a valid configuration it hides
/// only the secrets that devrun was started with.
fn mask(ctx: &Context, plan: Option<&Plan>) -> Mask {
    let inherited = Mask::of_variables(&ctx.env);
    plan.map_or_else(|| inherited.clone(), |plan| Mask::of_plan(plan).and(inherited.clone()))
}

/// Returns the newest error that a process of the ready `subject` has logged.
fn recent_error(
    status: &Status,
    subject: Subject<'_>,
    mask: &Mask,
    worktree: &Worktree,
) -> Option<RecentError> {
    let processes = match subject {
        _ if !answer::is_ready(status, subject) => return None,
        Subject::Stack => status.processes.as_slice(),
        Subject::Process(process) => std::slice::from_ref(process),
    };
    let text = |line: &[u8]| text_of(mask, line);
    recent_error::newest(processes, &worktree.state, &worktree.path, &text)
}

/// Returns a line of output as text, without secrets.
fn text_of(mask: &Mask, line: &[u8]) -> String {
    mask.apply(style::plain(&String::from_utf8_lossy(line)).trim_end())
}

/// The last lines of a process since its last reload, up to [`READ`], without empty lines and requests that were answered well.
#[derive(Default)]
struct LastLines {
    texts: Vec<String>,
    /// True if the server began to load its code again at most [`RELOAD`] ago.
    is_reloading: bool,
}

impl LastLines {
    /// Returns the last [`LINES`] lines.
    fn newest(&self) -> &[String] {
        &self.texts[self.texts.len().saturating_sub(LINES)..]
    }

    /// Returns the last [`LINES`] lines for a reader, with repeated lines once and tracebacks shortened.
    fn shown(&self) -> Vec<String> {
        // Before the lines are cut, because a cut group is no repetition of a whole one.
        let text = traceback::condense(&repeats::collapsed(&self.texts).join("\n"));
        let lines: Vec<String> = text.lines().map(Into::into).collect();
        lines[lines.len().saturating_sub(LINES)..].to_vec()
    }
}

/// Returns the last lines that the current or last start of `process` wrote; none if this run has not started it.
fn last_lines(mask: &Mask, state: &Path, process: &ProcessStatus) -> LastLines {
    let Some(started) = process.started else { return LastLines::default() };
    let since = Timestamp::at(started);
    let lines = query::tail_since(&logs::folder(state), &process.name, since, READ).unwrap_or_default();
    let text = |line: &[u8]| text_of(mask, line);
    let last_reload = lines.iter().rposition(|line| reload::is_reload(&text(&line.text)));
    let is_reloading = last_reload.is_some_and(|at| lines[at].time >= Timestamp::ago(RELOAD));
    // Earlier lines are about code that has changed.
    let texts = lines[last_reload.unwrap_or(0)..].iter().map(|line| text(&line.text));
    let texts = texts.filter(|line| !line.is_empty() && !failed_requests::is_success(line)).collect();
    LastLines { texts, is_reloading }
}

/// Returns `answer` with its place in the code named once.
fn once(answer: &WhyAnswer) -> WhyAnswer {
    let place = answer.correct.as_deref();
    WhyAnswer {
        summary: compact::without_place(&answer.summary, place),
        cause: answer.cause.as_ref().map(|cause| compact::without_place(cause, place)),
        fix: answer.fix.as_ref().map(|fix| compact::with_pronoun(fix, place).into()),
        ..answer.clone()
    }
}

fn text(answer: &WhyAnswer, style: Style) -> String {
    let mut out = format!("{}\n", harmless(&answer.summary));
    let mut part = |title: &str, body: &str| {
        for (row, line) in body.lines().enumerate() {
            let title = if row == 0 { format!("{}: ", style.dim(title)) } else { "  ".into() };
            let _ = writeln!(out, "  {title}{}", harmless(line));
        }
    };
    if let Some(place) = &answer.correct {
        part("correct", place);
    }
    if let Some(fault) = answer.fault {
        part("fault", fault.words());
    }
    if let Some(cause) = &answer.cause {
        part("why", cause);
    }
    if let Some(fix) = &answer.fix {
        part("fix", fix);
    }
    let changed = answer.changed.as_ref().map(Changed::notice);
    for notice in changed.into_iter().chain(answer.pending.as_ref().map(PendingMigrations::notice)) {
        out.push_str(&crate::ui::notice::text(&notice, style));
    }
    if !answer.lines.is_empty() {
        let name = answer.process.as_deref().unwrap_or_default();
        let _ = writeln!(out, "\nLast lines of {}, shortened:", harmless(name));
        for line in &answer.lines {
            let _ = writeln!(out, "  {}", harmless(line));
        }
    }
    out
}
