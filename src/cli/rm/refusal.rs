//! Reports why a worktree is not removed, and asks the user.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::decision::{Refusal, RemovalFacts};
use crate::cli::args;
use crate::cli::confirm::{Confirmation, confirm};
use crate::error::{Code, Report};
use crate::text::quoted;
use crate::ui::console::Console;

/// Returns the error that lists every reason, and the command that allows all of them.
pub(super) fn refused(facts: &RemovalFacts, refusals: &[Refusal], args: &args::Rm) -> Report {
    let reasons: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    let report = Report::new(Code::WorktreeKept, format!("{} is not removed", facts.path.display()))
        .with_cause(reasons.join("\n"));
    let options: Option<BTreeSet<&str>> = refusals.iter().map(Refusal::option).collect();
    match options {
        Some(options) => {
            let command = command(args);
            let keeps = if options.contains("--unmerged") { "; --keep-branch keeps the branch" } else { "" };
            let yes = if args.yes { " --yes" } else { "" };
            report.with_fix(format!(
                "if you mean it: {command} {}{yes}{keeps}",
                options.into_iter().collect::<Vec<_>>().join(" ")
            ))
        }
        None => report.with_fix("remove the worktrees inside it first"),
    }
}

/// Returns the command line that was given, without `--yes`.
fn command(args: &args::Rm) -> String {
    let mut command = "devrun rm".to_string();
    if let Some(name) = &args.name {
        let _ = write!(command, " {}", quoted(name));
    }
    for (is_given, option) in [
        (args.uncommitted, "--uncommitted"),
        (args.unmerged, "--unmerged"),
        (args.locked, "--locked"),
        (args.keep_database, "--keep-database"),
        (args.keep_branch, "--keep-branch"),
    ] {
        if is_given {
            let _ = write!(command, " {option}");
        }
    }
    command
}

/// Asks the user. Errors if the user refuses or cannot be asked.
pub(super) async fn confirm_removal(
    console: &Console,
    facts: &RemovalFacts,
    args: &args::Rm,
    as_json: bool,
) -> Result<(), Report> {
    let question = Confirmation {
        text: "Remove all this?",
        outcome: &format!("{} would be removed", facts.path.display()),
        refused: "nothing was removed",
        command: &format!("{} --yes", command(args)),
    };
    confirm(console, question, as_json).await
}
