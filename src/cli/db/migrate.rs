//! `devrun db migrate`: prepares the database and runs its migrations as `up` does, but starts no servers. Works beside
//! a running stack too.

use serde_json::json;

use super::maintenance;
use crate::cli::{database_limit, printed};
use crate::context::Context;
use crate::error::{Exit, Report};
use crate::plan::DatabaseOrigin;
use crate::prepare;
use crate::ui::console::Console;

pub(super) async fn run(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let worktree = prepare::locate(ctx).await?;
    // A stack that starts now waits for the lock and then finds the migrations done.
    let turn = maintenance::begin(ctx, &worktree, "migrating").await?;
    let (provider, branch, migrated) = match prepare::migrate(ctx, turn.is_none()).await {
        Ok(migrated) => migrated,
        Err(report) => return Err(database_limit::explain(ctx, &worktree, report).await),
    };
    let origin = match &branch.origin {
        DatabaseOrigin::Existing => "was there".to_string(),
        DatabaseOrigin::Empty => "was made empty".into(),
        DatabaseOrigin::CopyOf(parent) => format!("was made a copy of {parent}"),
    };
    printed(if as_json {
        let made = branch.origin != DatabaseOrigin::Existing;
        console.print_json(&json!({
            "provider": provider, "name": branch.name, "id": branch.id, "made": made, "migrated": migrated,
        }))
    } else {
        let migrated = migrated.unwrap_or_else(|| "there are no migrations".into());
        console.print(&format!("{} {origin}: {migrated}.\n", branch.name))
    })
}
