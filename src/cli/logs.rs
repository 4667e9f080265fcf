//! `devrun logs`: prints the output of this worktree's processes, and follows it on request.

use std::path::Path;
use std::time::{Duration, SystemTime};

use regex::bytes::Regex;
use serde_json::json;

use super::args;
use crate::context::Context;
use crate::control::client::Client;
use crate::control::{self, LockHolder};
use crate::error::{Code, Exit, Report};
use crate::logs::query::{self, Filter, ProcessLine};
use crate::logs::{self, Timestamp};
use crate::os::fs::FsError;
use crate::prepare;
use crate::ui::console::Console;
use crate::ui::prefixes::Prefixes;

/// How many lines are printed by default, and for a coding agent.
const SHOWN: usize = 200;
const SHOWN_SHORT: usize = 40;
/// Time between two checks for new lines.
const POLL: Duration = Duration::from_millis(50);
/// How long a supervisor may take to list its processes.
const PROMPT: Duration = Duration::from_millis(500);
/// How many checks without new lines come before each check that the stack still runs.
const IDLE_CHECKS: u32 = 5;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Logs,
    as_json: bool,
) -> Result<Exit, Report> {
    let filter = filter(args)?;
    let worktree = prepare::locate(ctx).await?;
    let folder = logs::folder(&worktree.state);
    let unreadable = |source| FsError::Io { action: "read the logs in", path: folder.clone(), source };
    let mut known = query::names(&folder).map_err(unreadable)?;
    let silent = expected(&worktree.state).await.into_iter().filter(|name| !known.contains(name));
    known.extend(silent.collect::<Vec<_>>());
    known.sort_by_key(|name| (name == logs::OWN, name.clone()));
    let names = chosen(&known, &args.names)?;
    if known.is_empty() {
        ctx.events.note("nothing has run in this worktree yet");
    }
    let shown = if console.is_short() { SHOWN_SHORT } else { SHOWN };
    let count = args.lines.or_else(|| args.since.is_none().then_some(shown));
    let running = args.follow && runs(&worktree.state).await?;
    let (told, mut follow) = query::read(&folder, &names, &filter, count).map_err(unreadable)?;
    let mut page = Page::new(console, &names, as_json);
    let mut printed = page.print(&told);
    if told.is_empty() && !known.is_empty() && !args.follow {
        ctx.events.note("no line matches; `devrun why` shows the state of the processes, `devrun logs devrun` shows what devrun did");
    }
    let mut quiet = 0;
    while running && printed.is_ok() {
        let told = follow.more().map_err(unreadable)?;
        if !told.is_empty() {
            quiet = 0;
            printed = page.print(&told);
            continue;
        }
        quiet += 1;
        if quiet % IDLE_CHECKS == 0 && !runs(&worktree.state).await? {
            // Lines may have been written between the last read and the end of the stack.
            let told = follow.more().map_err(unreadable)?;
            printed = page.print(&told);
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    super::printed(printed)
}

/// Returns the names of the logs of the running stack: one for each process, and that of devrun. A process that has just started
/// has no log yet.
async fn expected(state: &Path) -> Vec<String> {
    let Ok(LockHolder::Running(record)) = control::lock_holder(state, Duration::ZERO).await else {
        return Vec::new();
    };
    let Ok(socket) = record.socket() else { return Vec::new() };
    let status = Client::new(socket).known_within(PROMPT).await.unwrap_or_default();
    let processes = status.processes.iter().map(|process| logs::name_of_process(&process.name));
    processes.chain([logs::OWN.to_string()]).collect()
}

async fn runs(state: &Path) -> Result<bool, Report> {
    Ok(!matches!(control::lock_holder(state, Duration::ZERO).await?, LockHolder::Free))
}

fn filter(args: &args::Logs) -> Result<Filter, Report> {
    let since = args.since.as_deref().map(|text| {
        Timestamp::understand(text, SystemTime::now()).ok_or_else(|| {
            Report::new(Code::Usage, format!("--since does not understand `{text}`"))
                .with_fix("90s, 5m, 2h, 1d, or a time as in 2026-01-31T12:00:00Z")
        })
    });
    let grep = args.grep.as_deref().map(|text| {
        Regex::new(text).map_err(|error| {
            Report::new(Code::Usage, "the pattern of --grep is not a valid regular expression")
                .with_cause(error.to_string())
                .with_fix("write `\\` before a character that is meant literally, as in `GET /\\?id=`")
        })
    });
    Ok(Filter { since: since.transpose()?, grep: grep.transpose()? })
}

/// Returns the names in `known` that are in `asked`, or all if `asked` is empty. Errors if a name is unknown.
fn chosen(known: &[String], asked: &[String]) -> Result<Vec<String>, Report> {
    if asked.is_empty() {
        return Ok(known.to_vec());
    }
    if let Some(unknown) = asked.iter().find(|name| !known.contains(name)) {
        let fix = match known {
            [] => "start it: nothing has run in this worktree yet".into(),
            known => format!("one of: {}", known.join(", ")),
        };
        return Err(
            Report::new(Code::ProcessUnknown, format!("there are no logs of {unknown}")).with_fix(fix)
        );
    }
    // Keeps the order of `known` and drops duplicates.
    Ok(known.iter().filter(|name| asked.contains(name)).cloned().collect())
}

/// Prints lines with the prefix of their process, or as JSON.
struct Page<'a> {
    console: &'a Console,
    names: &'a [String],
    prefixes: Prefixes,
    as_json: bool,
    text: Vec<u8>,
    buffer: Vec<u8>,
}

impl Page<'_> {
    fn new<'a>(console: &'a Console, names: &'a [String], as_json: bool) -> Page<'a> {
        let shown: Vec<&str> = names.iter().map(String::as_str).collect();
        let prefixes = Prefixes::new(&shown, console.style());
        Page { console, names, prefixes, as_json, text: Vec::new(), buffer: Vec::new() }
    }

    fn print(&mut self, told: &[ProcessLine]) -> std::io::Result<()> {
        for part in told.chunks(1000) {
            self.text.clear();
            for told in part {
                self.add(told)?;
            }
            self.console.print(&self.text)?;
        }
        Ok(())
    }

    fn add(&mut self, ProcessLine { process, line }: &ProcessLine) -> std::io::Result<()> {
        let Page { text, buffer, .. } = self;
        if self.as_json {
            let mut object = json!({
                "time": line.time.as_str(),
                "process": self.names[*process],
                "line": String::from_utf8_lossy(&line.text),
            });
            if line.continued {
                object["continued"] = true.into();
            }
            text.extend_from_slice(object.to_string().as_bytes());
            text.push(b'\n');
            return Ok(());
        }
        // Lines of processes are printed as they were written. Lines of devrun get a time.
        let is_timed = self.names[*process] == logs::OWN && !line.continued;
        let mut whole = if is_timed { format!("{} ", line.time.as_str()).into_bytes() } else { Vec::new() };
        whole.extend_from_slice(&line.text);
        whole.push(b'\n');
        self.prefixes.write(buffer, *process, &whole, line.continued, |piece| {
            text.extend_from_slice(piece);
            Ok(())
        })
    }
}
