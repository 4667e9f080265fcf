//! `devrun db`: the branch database outside a run. A Ctrl-C leaves nothing half-done: what is dropped gives its claims back.

mod delete;
mod errand;
mod list;
mod migrate;
mod psql;
mod reset;
mod status;
mod undo;
mod url;

use std::path::Path;
use std::time::Duration;

use super::args::Db;
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::supervisor::machine::Outcome;
use crate::supervisor::signals::Stops;
use crate::ui::console::Console;

/// How long a verb that only looks may take: a little more than one call of a busy provider.
const LOOK: Duration = Duration::from_secs(90);

/// The report of a devrun that cannot listen for signals.
#[expect(clippy::needless_pass_by_value, reason = "called by map_err")]
pub(super) fn deaf(error: std::io::Error) -> Report {
    Report::bug(format!("cannot listen for signals: {error}"))
}

pub(super) async fn run(ctx: &Context, console: &Console, verb: &Db, as_json: bool) -> Result<Exit, Report> {
    let mut stops = Stops::listen(None).map_err(deaf)?;
    if let Db::Psql(args) = verb {
        return psql::run(ctx, console, args, stops).await;
    }
    let answer = async {
        match verb {
            Db::Url(args) => in_time(Box::pin(url::run(ctx, console, args, as_json))).await,
            Db::Status(args) => in_time(Box::pin(status::run(ctx, console, args, as_json))).await,
            Db::List => in_time(Box::pin(list::run(ctx, console, as_json))).await,
            Db::Reset(args) => reset::run(ctx, console, args, as_json).await,
            Db::Delete(args) => delete::run(ctx, console, args, as_json).await,
            Db::Migrate => migrate::run(ctx, console, as_json).await,
            Db::Psql(_) => Ok(Exit::Ok),
        }
    };
    tokio::select! {
        biased;
        why = stops.next() => Ok(Outcome::from(why).exit),
        answer = answer => answer,
    }
}

/// Who only looks does not wait for ever, whatever others are doing.
async fn in_time(look: impl Future<Output = Result<Exit, Report>>) -> Result<Exit, Report> {
    let late = |_| {
        let message = format!("the database did not tell within {} s", LOOK.as_secs());
        Report::new(Code::TimedOut, message).with_fix("try again in a moment")
    };
    tokio::time::timeout(LOOK, look).await.map_err(late)?
}

/// A folder of another time or machine, for people.
fn place(folder: &Path) -> String {
    let gone = if folder.is_dir() { "" } else { " (gone)" };
    format!("{}{gone}", folder.display())
}

/// Bytes in the largest unit that says enough.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{:.1} MB", f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1e6),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}
