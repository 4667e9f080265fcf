//! `devrun db start` and `devrun db stop`: start and stop the local database server without a stack.

use serde_json::json;

use crate::cli::printed;
use crate::context::Context;
use crate::database::ServerState;
use crate::error::{Exit, Report};
use crate::prepare;
use crate::ui::console::Console;

pub(super) async fn start(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let provider = prepare::start_server(ctx).await?;
    printed(if as_json {
        console.print_json(&json!({ "provider": provider, "server": ServerState::Running.word() }))
    } else {
        console.print("The database server runs until `devrun db stop`.\n")
    })
}

pub(super) async fn stop(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let (provider, state) = prepare::stop_server(ctx).await?;
    printed(if as_json {
        console.print_json(&json!({ "provider": provider, "server": state.word() }))
    } else if state == ServerState::Running {
        console.print("The database server runs until the last stack that uses it ends.\n")
    } else {
        console.print("The database server is stopped.\n")
    })
}
