//! `devrun up -d`: the stack in the background. Starts a devrun that stays, or finds the one that runs, and returns when
//! everything is ready.

use std::fs::File;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::args;
use crate::context::Context;
use crate::control::client::Client;
use crate::control::protocol::Ask;
use crate::control::{self, Record, State};
use crate::error::{Code, Exit, Report};
use crate::os::cmd::{Cmd, Detached};
use crate::os::deadline::Deadline;
use crate::os::{fs, read};
use crate::prepare;
use crate::ui::console::Console;
use crate::worktree::Worktree;

/// How long somebody who holds the worktree may take to say who he is.
const OTHERS: Duration = Duration::from_secs(30);
/// The least that one that was just started gets until it can be asked, however little time there is.
const START: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Up,
    as_json: bool,
) -> Result<Exit, Report> {
    let worktree = prepare::locate(ctx).await?;
    let deadline = Deadline::within(Duration::from_secs(args.timeout));
    let record = loop {
        match control::look(&worktree.state, deadline.left().min(OTHERS)).await? {
            State::Running(record) if record.is_passing() => {
                give_way(ctx, &worktree, &record, deadline).await?;
            }
            State::Running(record) => {
                ctx.events.note(format!("already running (pid {})", record.pid));
                break record;
            }
            State::Unknown => return Err(super::nobody_knows()),
            State::Free => break begin(ctx, args, &worktree, deadline).await?,
        }
    };
    let client = Client::new(record.socket()?);
    let status = if args.no_wait {
        client.status().await?
    } else {
        match client.post("/wait", &Ask::within(Vec::new(), deadline.left())).await {
            Ok(status) => status,
            Err(report) => return Err(super::running::reason(&worktree, report, deadline.left()).await),
        }
    };
    super::status::show(console, &status, as_json)
}

/// Time is up, and nothing was started, nor will be.
fn late(deadline: Deadline, cause: String) -> Report {
    Report::new(Code::TimedOut, format!("nothing was started within {} s", deadline.limit.as_secs()))
        .with_cause(cause)
        .with_fix("devrun up -d, with a longer --timeout")
}

/// Waits until the one that stands in the way is gone. Nothing is started before that: whoever gives up leaves nothing behind
/// that would start a stack when nobody waits for it any more.
async fn give_way(
    ctx: &Context,
    worktree: &Worktree,
    record: &Record,
    deadline: Deadline,
) -> Result<(), Report> {
    let doing = record.doing();
    ctx.events.note(format!("{doing}: waiting for its end"));
    if control::wait_for_turn(&worktree.state, record.pid, deadline.left()).await? {
        return Ok(());
    }
    let names = super::running::still_there(record).await.unwrap_or_default();
    let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    Err(late(deadline, format!("{doing}{names}")))
}

/// Starts the one that stays and waits until it, or another that was quicker, can be asked.
async fn begin(
    ctx: &Context,
    args: &args::Up,
    worktree: &Worktree,
    deadline: Deadline,
) -> Result<Record, Report> {
    fs::make_private_dir(&worktree.state)?;
    let log = worktree.state.join("up.log");
    let unusable = |source| fs::FsError::Io { action: "write", path: log.clone(), source };
    let err = File::create(&log).map_err(unusable)?;
    let this = std::env::current_exe().map_err(|error| Report::bug(format!("where is devrun? {error}")))?;
    let cmd = Cmd::new(this)
        .arg("up")
        .args(args.strict_ports.then_some("--strict-ports"))
        .args(args.strict_isolation.map(|strict| format!("--strict-isolation={strict}")))
        .args(args.allow_parent.then_some("--allow-parent"))
        .directory(&worktree.path)
        .only_env(&ctx.env);
    let before = control::last_written(&worktree.state);
    let child = cmd.detach(std::process::Stdio::null(), err).map_err(|error| {
        Report::new(Code::SpawnFailed, format!("devrun could not be started in the background: {error}"))
    })?;
    let (start, enough) = (Instant::now(), deadline.left().max(START));
    loop {
        // Asked first: one that ends between the two is seen in the next round.
        let over = child.ended.is_finished();
        let state = control::look(&worktree.state, Duration::ZERO).await?;
        let is_late = start.elapsed() >= enough;
        match state {
            State::Running(record) if !record.is_passing() && record.socket.is_some() => return Ok(record),
            State::Free if over => return Err(failed(worktree, before, &log, child).await),
            State::Unknown if over && (is_late || start.elapsed() >= OTHERS) => {
                return Err(super::nobody_knows());
            }
            _ if !is_late => tokio::time::sleep(POLL).await,
            State::Running(record) if record.pid == child.pid => {
                let message = "the stack that was started is being taken down";
                return Err(Report::new(Code::NotRunning, message).with_fix("devrun why"));
            }
            _ => {
                // It would start when nobody waits for it any more.
                if !over {
                    let _ = kill(Pid::from_raw(child.pid.cast_signed()), Signal::SIGTERM);
                }
                return Err(late(deadline, "the devrun in the background did not begin in time".into()));
            }
        }
    }
}

/// Returns why the devrun in the background ended. `before` is when the record of an earlier run was written: one that
/// ended before it held the worktree wrote none, and then its own words count.
async fn failed(
    worktree: &Worktree,
    before: Option<control::Written>,
    log: &std::path::Path,
    child: Detached,
) -> Report {
    let is_new = control::last_written(&worktree.state) != before;
    if let Some(error) = control::last(&worktree.state).filter(|_| is_new).and_then(|last| last.error) {
        return error.into();
    }
    let ending =
        child.ended.await.map_or_else(|_| "in an unknown way".into(), |ending| format!("with {ending}"));
    let said = read::tail(log, 64 << 10).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    Report::new(Code::ProcessEnded, format!("the devrun in the background ended {ending}")).with_cause(said)
}
