//! `devrun ports`: the ports of this worktree, leased now if they were not.

use serde_json::json;

use crate::context::Context;
use crate::error::{Exit, Report};
use crate::prepare;
use crate::ui::console::Console;

pub(super) async fn run(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let ground = prepare::look(ctx).await?;
    let lease = &ground.lease;
    if as_json {
        let value = json!({ "slot": lease.slot, "ports": lease.ports });
        return super::printed(console.print_json(&value));
    }
    let rows: Vec<_> = lease.ports.iter().collect();
    super::printed(console.print(&super::columns(&rows)))
}
