//! `devrun db reset`: makes the branch database a fresh copy of its parent and migrates it.

use serde_json::json;

use super::undo_checks::UndoTarget;
use crate::cli::args::{CopiedState, Named, Reset, Undo};
use crate::cli::printed;
use crate::context::Context;
use crate::database::undo::{UndoError, Undoing};
use crate::error::{Exit, Report};
use crate::prepare::Databases;
use crate::ui::console::Console;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    reset: &Reset,
    as_json: bool,
) -> Result<Exit, Report> {
    let args = &reset.undo;
    let databases = Databases::open(ctx).await?;
    let name = args.which.name.as_ref().unwrap_or(&databases.own.name);
    let Some(target) = UndoTarget::find(ctx, &databases, name, Undoing::Reset, args).await? else {
        return Err(UndoError::Missing(name.clone()).into());
    };
    let own = *name == databases.own.name;
    let parent = match (&target.entry.parent, own) {
        (Some(parent), _) => parent.clone(),
        (None, true) => databases.own.parent.clone(),
        (None, false) => return Err(UndoError::Orphan(name.clone()).into()),
    };
    let provider = databases.provider;
    let question = format!("Make {name} ({provider}) a copy of {parent} again? Everything in it is lost.");
    target.confirm(console, &question, args, None, as_json).await?;
    let _turns = target.turns(ctx, &databases, &format!("resetting {name}")).await?;
    let (branch, migrated) = databases.reset(&target.entry, reset.from == CopiedState::Snapshot).await?;
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

/// Makes the branch database of this worktree a new copy of its parent and migrates it, without asking. Returns its
/// name; `None` if it does not exist yet. Errors if it must not be reset or a stack uses it.
pub(in crate::cli) async fn own_database(ctx: &Context) -> Result<Option<String>, Report> {
    let databases = Databases::open(ctx).await?;
    let name = &databases.own.name;
    let undo = Undo { which: Named { name: None }, yes: true };
    let Some(target) = UndoTarget::find(ctx, &databases, name, Undoing::Reset, &undo).await? else {
        return Ok(None);
    };
    let _turns = target.turns(ctx, &databases, &format!("resetting {name}")).await?;
    databases.reset(&target.entry, false).await?;
    Ok(Some(name.clone()))
}
