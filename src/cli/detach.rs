//! `devrun up -d`: the stack in the background. Starts a devrun that stays, or finds the one that runs, and returns when
//! everything is ready.

use std::fs::File;
use std::time::{Duration, Instant};

use super::args;
use crate::context::Context;
use crate::control::client::Client;
use crate::control::protocol::Ask;
use crate::control::{self, Record, State};
use crate::error::{Code, Exit, Report};
use crate::os::cmd::{Cmd, Detached};
use crate::os::fs;
use crate::prepare;
use crate::ui::console::Console;
use crate::worktree::Worktree;

/// How long the one that stays may take until it can be asked.
const START: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Up,
    as_json: bool,
) -> Result<Exit, Report> {
    let worktree = prepare::locate(ctx).await?;
    let limit = Duration::from_secs(args.timeout);
    let start = Instant::now();
    let record = match control::look(&worktree.state, START).await? {
        State::Running(record) if !record.ending && record.errand.is_none() => {
            ctx.events.note(format!("already running (pid {})", record.pid));
            record
        }
        State::Unknown => return Err(super::nobody_knows()),
        State::Running(_) | State::Free => begin(ctx, args, &worktree).await?,
    };
    let client = Client::new(record.socket()?);
    let status = if args.no_wait {
        client.status().await?
    } else {
        let left = limit.saturating_sub(start.elapsed());
        let ask = Ask { names: Vec::new(), timeout_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX) };
        match client.post("/wait", &ask).await {
            Ok(status) => status,
            Err(report) => return Err(super::running::reason(&worktree, report).await),
        }
    };
    super::status::show(console, &status, as_json)
}

/// Starts the one that stays and waits until it, or another that was quicker, can be asked.
async fn begin(ctx: &Context, args: &args::Up, worktree: &Worktree) -> Result<Record, Report> {
    fs::make_private_dir(&worktree.state)?;
    let log = worktree.state.join("up.log");
    let unusable = |source| fs::FsError::Io { action: "write", path: log.clone(), source };
    let err = File::create(&log).map_err(unusable)?;
    let this = std::env::current_exe().map_err(|error| Report::bug(format!("where is devrun? {error}")))?;
    let cmd = Cmd::new(this)
        .arg("up")
        .args(args.strict_ports.then_some("--strict-ports"))
        .args(args.allow_parent.then_some("--allow-parent"))
        .directory(&worktree.path)
        .only_env(&ctx.env);
    let child = cmd.detach(std::process::Stdio::null(), err).map_err(|error| {
        Report::new(Code::SpawnFailed, format!("devrun could not be started in the background: {error}"))
    })?;
    let start = Instant::now();
    loop {
        // Asked first: one that ends between the two is seen in the next round.
        let over = child.ended.is_finished();
        match control::look(&worktree.state, Duration::ZERO).await? {
            State::Running(record) if !record.ending && record.socket.is_some() => return Ok(record),
            State::Free if over => return Err(failed(worktree, &log, child).await),
            // The one that was started waits for it, and says so when that takes too long.
            State::Running(Record { errand: Some(_), .. }) if !over => tokio::time::sleep(POLL).await,
            _ if start.elapsed() > START => return Err(super::nobody_knows()),
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

/// Why the one that was to stay did not.
async fn failed(worktree: &Worktree, log: &std::path::Path, child: Detached) -> Report {
    if let Some(error) = control::last(&worktree.state).and_then(|last| last.error) {
        return error.into();
    }
    let ending =
        child.ended.await.map_or_else(|_| "in an unknown way".into(), |ending| format!("with {ending}"));
    let said = std::fs::read_to_string(log).unwrap_or_default();
    Report::new(Code::ProcessEnded, format!("the devrun in the background ended {ending}")).with_cause(said)
}
