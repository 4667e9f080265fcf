//! `devrun db heads`: prints the Alembic heads with their authors, and the command that merges several. On a terminal, offers to
//! run that command.

use std::fmt::Display;

use serde_json::json;

use crate::cli::confirm::{Confirmation, confirm};
use crate::cli::run_command::run_in_foreground;
use crate::cli::{columns, printed, this_program};
use crate::context::Context;
use crate::database::alembic_history::{self, AlembicHead};
use crate::error::{Code, Exit, Fault, Report};
use crate::os::cmd::Cmd;
use crate::prepare::{self, MigrationHeads};
use crate::supervisor::state_machine::Outcome;
use crate::supervisor::stop_requests::StopRequests;
use crate::text::quoted;
use crate::ui::console::Console;
use crate::worktree::{self, Authorship};

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    as_json: bool,
    mut stops: StopRequests,
) -> Result<Exit, Report> {
    let looking = Box::pin(async {
        let found = prepare::migration_heads(ctx).await?;
        let mut authors = Vec::new();
        for head in &found.heads {
            authors.push(worktree::authorship(ctx, &found.directory, &head.file).await);
        }
        let merge = merge_command(&found);
        printed(if as_json {
            console.print_json(&object(&found, &authors, merge.as_deref()))
        } else {
            console.print(&console.shortened(&text(&found, &authors, merge.as_deref())))
        })?;
        if !found.is_certain {
            ctx.events.warn("not every migration file was understood: `alembic heads` may list other heads");
        }
        let Some(merge) = merge else { return Ok(None) };
        if as_json || !Console::can_ask() {
            return Ok(Some(None));
        }
        let question = Confirmation {
            text: "Run this command?",
            outcome: "the heads would be merged",
            refused: "the heads were not merged",
            command: &merge,
        };
        match confirm(console, question, as_json).await {
            Ok(()) => Ok(Some(Some(found))),
            Err(report) if report.code == Code::NotConfirmed => Ok(Some(None)),
            Err(report) => Err(report),
        }
    });
    let several = tokio::select! {
        biased;
        why = stops.next() => return Ok(Outcome::from(why).exit),
        looked = looking => looked?,
    };
    let Some(confirmed) = several else { return Ok(Exit::Ok) };
    let Some(found) = confirmed else { return Ok(Exit::Migration) };
    // `devrun` may not be on PATH.
    let program = quoted(this_program()?);
    let line = alembic_history::merge_command_with(&program, &found.prefix, &found.directory, &found.heads);
    let cmd = Cmd::shell(&line).directory(&ctx.cwd).only_env(&ctx.env);
    console.flush();
    let exit = run_in_foreground(&cmd, stops, &|error| not_run(&line, error)).await?;
    if exit == Exit::Ok {
        ctx.events.note("read and commit the new file, then run `devrun db migrate`");
    }
    Ok(exit)
}

/// Returns the error for the command `line` that cannot be started.
fn not_run(line: &str, error: &dyn Display) -> Report {
    Report::new(Code::SpawnFailed, format!("the merge command cannot be run: {error}"))
        .with_fault(Fault::Environment)
        .with_fix(format!("run it by hand: {line}"))
}

/// Returns the command that merges the heads, or `None` if there are fewer than two.
fn merge_command(found: &MigrationHeads) -> Option<String> {
    let MigrationHeads { heads, directory, prefix, .. } = found;
    (heads.len() > 1).then(|| alembic_history::merge_command(prefix, directory, heads))
}

fn text(found: &MigrationHeads, authors: &[Option<Authorship>], merge: Option<&str>) -> String {
    let row = |(head, author): (&AlembicHead, &Option<Authorship>)| {
        let AlembicHead { revision, file, message } = head;
        let author = author.as_ref().map_or_else(
            || "not committed".to_string(),
            |Authorship { author, date, commit }| format!("{author}, {date}, {commit}"),
        );
        (revision.clone(), format!("{message} ({author}) {}", file.display()))
    };
    let rows: Vec<(String, String)> = found.heads.iter().zip(authors).map(row).collect();
    match merge {
        None if rows.is_empty() => "There are no migrations.\n".into(),
        None => columns(&rows),
        Some(merge) => format!("{}Merge them: {merge}\n", columns(&rows)),
    }
}

fn object(found: &MigrationHeads, authors: &[Option<Authorship>], merge: Option<&str>) -> serde_json::Value {
    let heads = found.heads.iter().zip(authors).map(|(head, author)| {
        json!({
            "revision": head.revision,
            "message": head.message,
            "file": head.file.to_string_lossy(),
            "author": author.as_ref().map(|author| &author.author),
            "date": author.as_ref().map(|author| &author.date),
            "commit": author.as_ref().map(|author| &author.commit),
        })
    });
    json!({ "heads": heads.collect::<Vec<_>>(), "certain": found.is_certain, "merge": merge })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_command_that_does_not_start_is_the_environments_fault() {
        let report = not_run("devrun exec -- alembic merge a b", &"no memory");
        assert_eq!(report.fault, Some(Fault::Environment));
        assert_eq!(report.fix.as_deref(), Some("run it by hand: devrun exec -- alembic merge a b"));
    }
}
