//! `devrun db migrate`: what `up` does before the servers, alone. Beside a running stack it works too.

use serde_json::json;

use super::errand;
use crate::cli::printed;
use crate::context::Context;
use crate::error::{Exit, Report};
use crate::plan::DatabaseOrigin;
use crate::prepare;
use crate::ui::console::Console;

pub(super) async fn run(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let worktree = prepare::locate(ctx).await?;
    // A run that begins meanwhile waits, and finds it done.
    let _turn = errand::begin(ctx, &worktree, "migrating").await?;
    let (provider, branch, migrated) = prepare::migrate(ctx).await?;
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
