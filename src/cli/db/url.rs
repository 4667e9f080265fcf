//! `devrun db url`: prints the URL of the branch database. Masks the password by default.

use serde_json::json;

use crate::cli::args::DbUrlArgs;
use crate::cli::printed;
use crate::context::Context;
use crate::database::ServerState;
use crate::error::{Exit, Report};
use crate::prepare::Databases;
use crate::text::shown_url;
use crate::ui::console::Console;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &DbUrlArgs,
    as_json: bool,
) -> Result<Exit, Report> {
    let databases = Databases::open(ctx).await?;
    let branch = databases.find(args.which.name.as_ref().unwrap_or(&databases.own.name)).await?;
    if databases.server == Some(ServerState::Stopped) {
        ctx.events
            .note("nothing of this repository runs, so the database server is stopped again: `devrun up -d`");
    }
    let url = if args.direct { &branch.direct_url } else { &branch.url };
    let url = if args.reveal { url.clone() } else { shown_url(url) };
    printed(if as_json {
        let DbUrlArgs { direct, reveal, .. } = args;
        console.print_json(&json!({
            "provider": databases.provider, "name": branch.name, "url": url, "direct": direct, "revealed": reveal,
        }))
    } else {
        console.print(&format!("{url}\n"))
    })
}
