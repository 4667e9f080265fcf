//! `devrun db delete`: deletes the branch database, and the records of it in this worktree.

use serde_json::json;

use super::undo_checks::UndoTarget;
use crate::cli::args::Undo;
use crate::cli::printed;
use crate::context::Context;
use crate::database::undo::Undoing;
use crate::error::{Exit, Report};
use crate::prepare::Databases;
use crate::ui::console::Console;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &Undo,
    as_json: bool,
) -> Result<Exit, Report> {
    let databases = Databases::open(ctx).await?;
    let name = args.which.name.as_ref().unwrap_or(&databases.own.name);
    let provider = databases.provider;
    let deleted = match UndoTarget::find(ctx, &databases, name, Undoing::Delete, args).await? {
        Some(target) => {
            let snapshots = match target.entry.snapshots.as_slice() {
                [] => String::new(),
                all => format!(", and its snapshots {}", all.join(", ")),
            };
            let question = format!("Delete {name} ({provider}) with everything in it{snapshots}?");
            target.confirm(console, &question, args, None, as_json).await?;
            let _turns = target.turns(ctx, &databases, &format!("deleting {name}")).await?;
            databases.delete(name).await?
        }
        // The database is already gone; this deletes the records of it.
        None => databases.delete(name).await?,
    };
    printed(if as_json {
        console.print_json(&json!({ "provider": provider, "name": name, "deleted": deleted }))
    } else if deleted {
        console.print(&format!("{name} is deleted.\n"))
    } else {
        console.print(&format!("There is no {name}.\n"))
    })
}
