//! `devrun init --agents`: adds devrun to the files that coding agents read, or removes it from them.

mod change;
mod edit;
mod instructions;
mod json_document;
mod json_entries;
mod line_diff;
mod toml_scripts;
mod tools;

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use self::change::{FileChange, Selection, changes};
use crate::cli::{args, printed};
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::os::fs::{Lock, LockKind};
use crate::prepare;
use crate::ui::console::Console;
use crate::ui::style::harmless;

/// The lock of the commands that edit these files, in the folder of the repository's state.
const LOCK: &str = "agent-files.lock";
/// How long another devrun may take to edit them.
const LOCK_WAIT: Duration = Duration::from_secs(10);

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Init,
    as_json: bool,
) -> Result<Exit, Report> {
    let worktree = prepare::locate(ctx).await?;
    let selection = match (args.remove, args.all) {
        (true, _) => Selection::Remove,
        (false, true) => Selection::All,
        (false, false) => Selection::Used,
    };
    let home = ctx.var("HOME").map(Path::new);
    let shown = changes(&worktree, home, selection)?;
    let is_change = shown.iter().any(FileChange::is_change);
    let only_shows = !is_change || !args.yes && (as_json || !Console::can_ask());
    let fails = |error| Report::new(Code::State, format!("the answer cannot be shown or read: {error}"));
    if !as_json {
        console.print(&text(&shown)).map_err(fails)?;
    }
    let written =
        if only_shows { false } else { args.yes || console.ask("Write this?").await.map_err(fails)? };
    if written {
        let _lock = Lock::take(&worktree.shared.join(LOCK), LockKind::Exclusive, LOCK_WAIT).await?;
        let now = changes(&worktree, home, selection)?;
        // With --yes, the changes of another devrun that wrote the same are fine.
        if !args.yes && now != shown {
            return Err(Report::new(
                Code::State,
                "a file was changed after it was shown; nothing was written",
            )
            .with_fix("run the same command again"));
        }
        for change in now.iter().filter(|change| change.is_change()) {
            change.write(&worktree.path)?;
        }
    }
    if as_json {
        let files: Vec<_> = shown.iter().map(FileChange::object).collect();
        return printed(console.print_json(&json!({ "written": written, "files": files })));
    }
    let last = match (is_change, written) {
        (false, _) => "Nothing to change.\n".to_string(),
        (true, true) => "Written. Commit the files, so that every worktree has them.\n".into(),
        (true, false) => format!("Nothing was written. To write it: {} --yes\n", command(args)),
    };
    printed(console.print(&last))
}

/// Returns the command line that was given, without `--yes`.
fn command(args: &args::Init) -> String {
    let options = [(args.all, " --all"), (args.remove, " --remove")];
    let options: String = options.into_iter().filter(|(given, _)| *given).map(|(_, option)| option).collect();
    format!("devrun init --agents{options}")
}

/// Formats the changes, a file after the other.
fn text(changes: &[FileChange]) -> String {
    let mut out = String::new();
    for change in changes {
        let action = match change.action() {
            "none" if !change.by_hand.is_empty() => "by hand",
            "none" => "nothing to change",
            action => action,
        };
        let _ = writeln!(out, "{} ({}): {action}", change.path, change.tool.name());
        out.push_str(&change.diff());
        for part in &change.by_hand {
            let _ = writeln!(out, "  not edited: {}", harmless(&part.why));
            part.snippet.lines().for_each(|line| {
                let _ = writeln!(out, "    {}", harmless(line));
            });
        }
    }
    out
}
