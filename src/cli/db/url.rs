//! `devrun db url`: where the branch database is. The password is masked unless asked for.

use serde_json::json;

use crate::cli::args::DbUrl;
use crate::cli::printed;
use crate::context::Context;
use crate::error::{Exit, Report};
use crate::prepare::{Databases, masked};
use crate::ui::console::Console;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &DbUrl,
    as_json: bool,
) -> Result<Exit, Report> {
    let databases = Databases::open(ctx).await?;
    let branch = databases.find(args.which.name.as_ref().unwrap_or(&databases.own.name)).await?;
    if databases.server_ran == Some(false) {
        ctx.events
            .note("nothing of this repository runs, so the database server is stopped again: `devrun up -d`");
    }
    let url = if args.direct { &branch.direct_url } else { &branch.url };
    let url = if args.reveal { url.clone() } else { masked(url) };
    printed(if as_json {
        let DbUrl { direct, reveal, .. } = args;
        console.print_json(&json!({
            "provider": databases.provider, "name": branch.name, "url": url, "direct": direct, "revealed": reveal,
        }))
    } else {
        console.print(&format!("{url}\n"))
    })
}
