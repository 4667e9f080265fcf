//! `devrun ports`: prints the ports of this worktree, and leases them first if needed. `--move-home` leases the home
//! slot again.

use serde_json::json;

use super::args;
use super::db::worktree_lock;
use crate::context::Context;
use crate::error::{Code, Exit, Report, START};
use crate::prepare;
use crate::text::harmless;
use crate::ui::console::Console;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::PortsArgs,
    as_json: bool,
) -> Result<Exit, Report> {
    if args.move_home {
        move_home(ctx).await?;
    }
    let resolved = prepare::resolve_without_starting(ctx).await?;
    let lease = &resolved.lease;
    if as_json {
        let mut value = json!({ "slot": lease.slot, "ports": lease.ports });
        if let Some(away) = &lease.away {
            value["away"] = json!(away);
        }
        return super::printed(console.print_json(&value));
    }
    let rows: Vec<_> = lease.ports.iter().collect();
    let mut text = super::columns(&rows);
    if let Some(away) = &lease.away {
        text = format!("{text}\nslot {}, {}\n", lease.slot, harmless(&away.to_string()));
    }
    super::printed(console.print(&text))
}

/// Leases the home slot. Holds the worktree's lock during that time, so that no stack can start. Errors if a stack runs.
async fn move_home(ctx: &Context) -> Result<(), Report> {
    let worktree = prepare::locate(ctx).await?;
    let Some(_lock) = worktree_lock::begin(ctx, &worktree, "moving its ports").await? else {
        return Err(Report::new(Code::AlreadyRunning, "a stack runs on the ports of this worktree")
            .with_fix(format!("devrun down && devrun ports --move-home && {START}")));
    };
    prepare::move_home(ctx, &worktree).await?;
    Ok(())
}
