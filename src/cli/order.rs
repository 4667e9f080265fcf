//! `devrun start`, `stop`, `restart` and `wait`: asks something of some processes, or of all, and returns when it is done.

use std::time::Duration;

use super::args;
use crate::context::Context;
use crate::control::client::Client;
use crate::control::protocol::Ask;
use crate::error::{Exit, Report};
use crate::os::deadline::Deadline;
use crate::ui::console::Console;

/// What is asked; the path it is posted to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Start,
    Stop,
    Restart,
    Wait,
}

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    order: Order,
    args: &args::Order,
    as_json: bool,
) -> Result<Exit, Report> {
    let deadline = Deadline::within(Duration::from_secs(args.timeout));
    let found = super::running::find_within(ctx, deadline.left()).await?;
    let path = match order {
        Order::Start => "/start",
        Order::Stop => "/stop",
        Order::Restart => "/restart",
        Order::Wait => "/wait",
    };
    let ask = Ask::within(args.names.clone(), deadline.left());
    match Client::new(found.socket()?).post(path, &ask).await {
        Ok(status) => super::status::show(console, &status, as_json),
        Err(report) => Err(super::running::reason(&found.worktree, report, deadline.left()).await),
    }
}
