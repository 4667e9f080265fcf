//! `devrun db reset`: the branch database as a fresh copy of its parent, migrated again.

use serde_json::json;

use super::undo::Doomed;
use crate::cli::args::Undo;
use crate::cli::printed;
use crate::context::Context;
use crate::database::undo::{UndoError, Undoing};
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
    let Some(doomed) = Doomed::look(ctx, &databases, name, Undoing::Reset, args).await? else {
        return Err(UndoError::Missing(name.clone()).into());
    };
    let own = *name == databases.own.name;
    let parent = match (&doomed.entry.parent, own) {
        (Some(parent), _) => parent.clone(),
        (None, true) => databases.own.parent.clone(),
        (None, false) => return Err(UndoError::Orphan(name.clone()).into()),
    };
    let provider = databases.provider;
    let question = format!("Make {name} ({provider}) a copy of {parent} again? Everything in it is lost.");
    doomed.confirm(console, &question, args, as_json).await?;
    let _turns = doomed.turns(ctx, &databases, &format!("resetting {name}")).await?;
    let (branch, migrated) = databases.reset(&doomed.entry).await?;
    printed(if as_json {
        console.print_json(&json!({
            "provider": provider, "name": branch.name, "id": branch.id, "parent": parent, "reset": true,
            "migrated": migrated,
        }))
    } else {
        let migrated = match migrated {
            Some(migrated) => migrated,
            None if own => "there are no migrations".into(),
            None => "the next `devrun` of its worktree migrates it".into(),
        };
        console.print(&format!("{name} is a copy of {parent} again: {migrated}.\n"))
    })
}
