//! `devrun db restore`: makes the branch database a copy of one of its snapshots again, and migrates it.

use serde_json::json;

use super::undo_checks::UndoTarget;
use crate::cli::args::{Named, Restore, Undo};
use crate::cli::printed;
use crate::context::Context;
use crate::database::saved_snapshots::SnapshotError;
use crate::database::undo::{UndoError, Undoing};
use crate::error::{Exit, Report};
use crate::prepare::Databases;
use crate::ui::console::Console;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &Restore,
    as_json: bool,
) -> Result<Exit, Report> {
    let databases = Databases::open(ctx).await?;
    let (name, snapshot) = (&databases.own.name, &args.snapshot);
    let undo = Undo { which: Named { name: None }, yes: args.yes };
    let all = databases.snapshots().await?;
    let known: Vec<String> = all.into_iter().filter(|one| one.of == *name).map(|one| one.name).collect();
    if !known.contains(snapshot) {
        let (name, of) = (snapshot.clone(), name.clone());
        return Err(SnapshotError::Missing { name, of, known }.into());
    }
    let Some(target) = UndoTarget::find(ctx, &databases, name, Undoing::Restore, &undo).await? else {
        return Err(UndoError::Missing(name.clone()).into());
    };
    let provider = databases.provider;
    let question =
        format!("Make {name} ({provider}) a copy of its snapshot {snapshot}? Everything in it now is lost.");
    target.confirm(console, &question, &undo, Some(snapshot), as_json).await?;
    let _turns = target.turns(ctx, &databases, &format!("restoring {name}")).await?;
    let (branch, migrated) = databases.restore_snapshot(snapshot).await?;
    printed(if as_json {
        console.print_json(&json!({
            "provider": provider, "name": branch.name, "id": branch.id, "snapshot": snapshot, "restored": true,
            "migrated": migrated,
        }))
    } else {
        let migrated = migrated.unwrap_or_else(|| "there are no migrations".into());
        console.print(&format!("{name} is a copy of its snapshot {snapshot}: {migrated}.\n"))
    })
}
