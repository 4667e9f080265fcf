//! `devrun doctor`: shows what would go wrong here and how to prevent it. With `--fix`, makes the changes that are safe, after showing
//! them.

mod changes;
mod output;

use super::confirm::{Confirmation, confirm};
use super::{args, hook, printed};
use crate::context::Context;
use crate::doctor::{self, DoctorFacts, DoctorFinding, Severity};
use crate::error::{Exit, Report};
use crate::prepare;
use crate::ui::console::Console;
use crate::worktree::Worktree;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Doctor,
    as_json: bool,
) -> Result<Exit, Report> {
    let own = prepare::locate(ctx).await?;
    let (facts, found) = look(ctx, console, &own).await;
    let changes = if args.fix { changes::of(&found, args.hook) } else { Vec::new() };
    let only_shows = changes.is_empty() || !args.yes && (as_json || !Console::can_ask());
    if !as_json {
        printed(console.print(&output::text(&found, console)))?;
        printed(console.print(&output::planned(&changes)))?;
    }
    if only_shows {
        if as_json {
            printed(console.print_json(&output::object(&found, &changes, None)))?;
        } else if !changes.is_empty() {
            printed(console.print(&format!("To make them: {}\n", console.located(&again(args)))))?;
        }
        return Ok(status(&found));
    }
    if !args.yes {
        let question = Confirmation {
            text: "Make these changes?",
            outcome: "the changes would be made",
            refused: "nothing was changed",
            command: &again(args),
        };
        confirm(console, question, as_json).await?;
    }
    let mut failures = Vec::new();
    for change in &changes {
        failures.extend(changes::make(ctx, &own, &facts, change).await.err());
    }
    let (_, left) = look(ctx, console, &own).await;
    if as_json {
        printed(console.print_json(&output::object(&left, &changes, Some(&failures))))?;
    } else {
        printed(console.print(&output::made(&changes, &failures, &left)))?;
    }
    match failures.into_iter().next() {
        Some(first) if !as_json => Err(first.with_fix("`devrun doctor` shows what is left")),
        Some(first) => Ok(first.exit),
        None => Ok(status(&left)),
    }
}

/// Gathers the facts and returns the findings, errors first.
async fn look(ctx: &Context, console: &Console, own: &Worktree) -> (DoctorFacts, Vec<DoctorFinding>) {
    let (mut facts, hooks) = tokio::join!(Box::pin(doctor::gather(ctx, own)), hook::facts(ctx));
    match hooks {
        Ok(hooks) => facts.hooks = hooks,
        Err(why) => facts.unfinished.push(("hooks", why)),
    }
    let mut found = doctor::findings(&facts);
    for finding in &mut found {
        finding.fix = console.located(&finding.fix);
    }
    (facts, found)
}

fn status(found: &[DoctorFinding]) -> Exit {
    let has_error = found.iter().any(|finding| finding.id.severity() == Severity::Error);
    if has_error { Exit::Problems } else { Exit::Ok }
}

/// Returns the command that makes the changes that this call shows.
fn again(args: &args::Doctor) -> String {
    format!("devrun doctor --fix{} --yes", if args.hook { " --hook" } else { "" })
}
