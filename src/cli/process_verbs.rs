//! `devrun start`, `stop`, `restart` and `wait`: posts a request about some processes, or all, and returns when it is
//! done.

use std::time::Duration;

use super::args;
use crate::context::Context;
use crate::control::client::Client;
use crate::control::protocol::Ask;
use crate::error::{Exit, Report};
use crate::os::deadline::Deadline;
use crate::ui::console::Console;

/// The command, which selects the path to post to.
#[derive(Clone, Copy, Debug)]
pub(super) enum ProcessVerb {
    Start,
    Stop,
    Restart,
    Wait,
}

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    order: ProcessVerb,
    args: &args::ProcessArgs,
    as_json: bool,
) -> Result<Exit, Report> {
    let deadline = Deadline::within(Duration::from_secs(args.timeout));
    let found = super::running::find_within(ctx, deadline.left()).await?;
    let path = match order {
        ProcessVerb::Start => "/start",
        ProcessVerb::Stop => "/stop",
        ProcessVerb::Restart => "/restart",
        ProcessVerb::Wait => "/wait",
    };
    if matches!(order, ProcessVerb::Start | ProcessVerb::Restart) && found.runs_here() {
        // Without the server, no process that uses the database becomes ready.
        super::detach::restart_server(ctx).await?;
    }
    let ask = Ask::within(args.names.clone(), deadline.left());
    match Client::new(found.socket()?).post(path, &ask).await {
        Ok(status) => super::status::show_state(ctx, console, status, as_json),
        Err(report) => Err(super::running::reason(&found.worktree, report, deadline.left()).await),
    }
}
