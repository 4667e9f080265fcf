//! `devrun prune`: removes what worktrees, branches and killed runs left, after showing it.
//!
//! Without `--yes`, it only prints what it would do if there is no terminal or with `--json`: a script that forgets the option loses
//! nothing.

mod table;
mod timer;
mod timer_files;

use serde_json::json;

use super::confirm::{Confirmation, confirm};
use super::new::{LOCK, LOCK_WAIT};
use super::{args, daily_prune, printed};
use crate::cleanup::decide::{self, Decision, Rules};
use crate::cleanup::gather;
use crate::cleanup::remove;
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::os::fs::{Lock, LockKind};
use crate::prepare;
use crate::ui::console::Console;
use crate::worktree::Worktree;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Prune,
    as_json: bool,
) -> Result<Exit, Report> {
    let own = prepare::locate(ctx).await?;
    if own.git.is_none() {
        let message = format!("{} is not in a git repository", own.path.display());
        return Err(Report::new(Code::GitFailed, message).with_fix("run it in a worktree of the repository"));
    }
    if args.install_timer {
        return timer::install(ctx, console, args, as_json, &own).await;
    }
    if args.remove_timer {
        return timer::remove(ctx, console, args, as_json, &own).await;
    }
    if !args.daily {
        return prune(ctx, console, args, as_json, &own).await;
    }
    let Some(turn) = daily_prune::take_turn(&own)? else {
        ctx.events.note("another devrun prunes this repository, or did so within a day");
        return Ok(Exit::Ok);
    };
    let now = jiff::Timestamp::now();
    printed(console.print(&format!("{now:.0} devrun prune in {}\n", own.path.display())))?;
    let pruned = prune(ctx, console, args, as_json, &own).await;
    turn.finish()?;
    pruned
}

async fn prune(
    ctx: &Context,
    console: &Console,
    args: &args::Prune,
    as_json: bool,
    own: &Worktree,
) -> Result<Exit, Report> {
    let rules = Rules { merged: args.merged, older_than: args.older_than };
    let gathered = Box::pin(gather::gather(ctx, own, &rules)).await?;
    let problems = &gathered.problems;
    for problem in problems {
        ctx.events.warn(format!("the branch databases are left out: {}", problem.message));
    }
    let decisions = decide::decide(&gathered.facts, &rules);
    let count = decisions.iter().filter(|decision| decision.removes).count();
    let only_shows = args.dry_run || !args.yes && (as_json || !Console::can_ask());
    if !as_json {
        printed(console.print(&table::text(&decisions)))?;
    }
    if only_shows || count == 0 {
        let answer = Answer { decisions: &decisions, acted: !only_shows, failures: &[], problems };
        return show_only(console, args, &answer, count, as_json);
    }
    if !args.yes {
        let question = Confirmation {
            text: &format!("Remove {}?", things(count)),
            outcome: &format!("{} would be removed", things(count)),
            refused: "nothing was removed",
            command: &again(args),
        };
        confirm(console, question, as_json).await?;
    }
    // Taken after the question, because `new` and `rm` would wait for the answer.
    let lock = Lock::take(&own.shared.join(LOCK), LockKind::Exclusive, LOCK_WAIT).await?;
    let failures = remove::remove(ctx, own, &gathered, &decisions, &rules).await;
    drop(lock);
    let removed = count - failures.len();
    if as_json {
        let answer = Answer { decisions: &decisions, acted: true, failures: &failures, problems };
        printed(console.print_json(&answer.object()))?;
        // The errors are in the answer.
        return Ok(failures.first().map_or(Exit::Ok, |(_, first)| first.exit));
    }
    printed(console.print(&format!("Removed {}.\n", things(removed))))?;
    let Some((_, first)) = failures.first() else { return Ok(Exit::Ok) };
    let causes = failures.iter().map(|(at, report)| {
        let cause = report.cause.as_deref().map(|cause| format!(" ({cause})")).unwrap_or_default();
        format!("{}: {}{cause}", decisions[*at].name, report.message)
    });
    Err(Report::new(first.code, format!("{} could not be removed", things(failures.len())))
        .with_cause(causes.collect::<Vec<_>>().join("\n"))
        .with_fix("`devrun prune --dry-run` shows what is left"))
}

fn show_only(
    console: &Console,
    args: &args::Prune,
    answer: &Answer<'_>,
    count: usize,
    as_json: bool,
) -> Result<Exit, Report> {
    if as_json {
        return printed(console.print_json(&answer.object()));
    }
    printed(console.print(&match count {
        0 => "Nothing to remove.\n".to_string(),
        _ => format!("Would remove {}: {}\n", things(count), again(args)),
    }))
}

/// Returns the command that removes what this call shows.
fn again(args: &args::Prune) -> String {
    let merged = if args.merged { " --merged" } else { "" };
    let age = args.older_than.as_secs();
    let older =
        if args.older_than == args::YOUNGEST { String::new() } else { format!(" --older-than {age}s") };
    format!("devrun prune{merged}{older} --yes")
}

fn things(count: usize) -> String {
    format!("{count} thing{}", if count == 1 { "" } else { "s" })
}

/// The answer, for JSON.
struct Answer<'a> {
    decisions: &'a [Decision],
    /// True if devrun has tried to remove what it chose.
    acted: bool,
    /// The errors of decisions, by their position.
    failures: &'a [(usize, Report)],
    /// The reasons why branch databases were left out.
    problems: &'a [Report],
}

impl Answer<'_> {
    fn object(&self) -> serde_json::Value {
        let items = self.decisions.iter().enumerate().map(|(at, decision)| {
            let failure = self.failures.iter().find(|(failed, _)| *failed == at);
            let error = failure.map(|(_, report)| &report.message);
            json!({
                "kind": decision.kind,
                "name": decision.name,
                "remove": decision.removes,
                "reason": decision.reason,
                "removed": self.acted && decision.removes && error.is_none(),
                "error": error,
            })
        });
        let problems: Vec<&String> = self.problems.iter().map(|report| &report.message).collect();
        json!({ "dry_run": !self.acted, "items": items.collect::<Vec<_>>(), "problems": problems })
    }
}
