//! `devrun db`: works on the branch database outside a run. A Ctrl-C drops the work in progress, which releases its
//! locks.

mod delete;
mod diff;
mod extensions;
mod heads;
mod import;
mod list;
mod migrate;
mod psql;
pub(super) mod reset;
mod restore;
mod server;
mod snapshot;
mod status;
mod undo_checks;
mod upgrade;
mod url;
pub(super) mod worktree_lock;

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::args::Db;
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::os::start_obstacle;
use crate::supervisor::state_machine::Outcome;
use crate::supervisor::stop_requests::StopRequests;
use crate::text::duration;
use crate::ui::console::Console;
use crate::ui::style::harmless;

/// How long a command that reads a few facts may take: a little more than one call to a busy provider.
const QUERY_LIMIT: Duration = Duration::from_secs(90);

/// Returns the error for signal handlers that cannot be installed.
#[expect(clippy::needless_pass_by_value, reason = "called by map_err")]
pub(super) fn deaf(error: std::io::Error) -> Report {
    start_obstacle::refused("cannot listen for signals", &error)
}

pub(super) async fn run(ctx: &Context, console: &Console, verb: &Db, as_json: bool) -> Result<Exit, Report> {
    let mut stops = StopRequests::listen(None).map_err(deaf)?;
    if let Db::Psql(args) = verb {
        return psql::run(ctx, console, args, stops).await;
    }
    if matches!(verb, Db::Heads) {
        return heads::run(ctx, console, as_json, stops).await;
    }
    let answer = async {
        match verb {
            Db::Url(args) => in_time(Box::pin(url::run(ctx, console, args, as_json))).await,
            Db::Status(args) => in_time(Box::pin(status::run(ctx, console, args, as_json))).await,
            Db::Extensions => in_time(Box::pin(extensions::run(ctx, console, as_json))).await,
            Db::List => in_time(Box::pin(list::run(ctx, console, as_json))).await,
            Db::Import(args) => import::run(ctx, console, args, as_json).await,
            Db::Diff(args) => diff::run(ctx, console, args, as_json).await,
            Db::Start => server::start(ctx, console, as_json).await,
            Db::Stop => server::stop(ctx, console, as_json).await,
            Db::Snapshots => in_time(Box::pin(snapshot::list(ctx, console, as_json))).await,
            Db::Snapshot(args) => snapshot::run(ctx, console, args, as_json).await,
            Db::Restore(args) => restore::run(ctx, console, args, as_json).await,
            Db::Reset(args) => reset::run(ctx, console, args, as_json).await,
            Db::Delete(args) => delete::run(ctx, console, args, as_json).await,
            Db::Upgrade(args) => upgrade::run(ctx, console, args, as_json).await,
            Db::Migrate => migrate::run(ctx, console, as_json).await,
            Db::Psql(_) | Db::Heads => Ok(Exit::Ok),
        }
    };
    tokio::select! {
        biased;
        why = stops.next() => Ok(Outcome::from(why).exit),
        answer = answer => answer,
    }
}

/// Limits the time of a command that reads a few facts, even while other commands hold the database.
async fn in_time(look: impl Future<Output = Result<Exit, Report>>) -> Result<Exit, Report> {
    let late = |_| {
        let message = format!("the database did not answer within {} s", QUERY_LIMIT.as_secs());
        Report::new(Code::TimedOut, message).with_fix("try again in a moment")
    };
    tokio::time::timeout(QUERY_LIMIT, look).await.map_err(late)?
}

/// Formats rows as columns. The first row has their titles.
fn table(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    rows.iter().fold(String::new(), |mut out, row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{:width$}", harmless(cell)));
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        out
    })
}

/// Formats the path of a folder, and marks it if it does not exist any more.
fn folder_text(folder: &Path) -> String {
    let gone = if folder.is_dir() { "" } else { " (gone)" };
    format!("{}{gone}", folder.display())
}

/// Formats how long ago `seconds` since 1970 are, in one unit.
fn age(seconds: u64) -> String {
    let taken = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
    format!(
        "{} ago",
        duration::rounded(SystemTime::now().duration_since(taken).unwrap_or_default().as_secs())
    )
}

/// Formats a number of bytes in the largest unit that is precise enough.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{:.1} MB", f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1e6),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}
