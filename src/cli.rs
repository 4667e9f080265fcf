//! The command line: what can be asked, and one file for each verb that answers.

mod agents;
mod args;
mod attach;
mod attend;
mod db;
mod detach;
mod down;
mod env;
mod events;
mod exec;
mod init;
mod logs;
mod ls;
mod mcp;
mod order;
mod plan;
mod ports;
mod running;
mod status;
mod up;
mod url;
mod why;

use std::ffi::OsString;
use std::future::Future;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::args::{Cli, Verb};
use self::order::Order;
use crate::context::{Context, Dirs};
use crate::error::{Code, Exit, Report};
use crate::supervisor::keeper::{self, Role};
use crate::ui::console::Console;
use crate::ui::style::harmless;

/// Understands `args`, does what they ask and returns the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let started = std::time::Instant::now();
    let cli = match Cli::understand(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody to tell is no reason to fail otherwise.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage.status() } else { Exit::Ok.status() });
        }
    };
    ExitCode::from(dispatch(cli, started).status())
}

fn dispatch(cli: Cli, started: std::time::Instant) -> Exit {
    if let Err(error) = spare_descriptors() {
        let message = format!("devrun may open fewer than {DESCRIPTORS} more files: {error}");
        let report = Report::new(Code::State, message).with_fix("raise the limit: ulimit -n 1024");
        return early_failure(&report);
    }
    let verb = cli.verb.unwrap_or(Verb::Up(cli.up));
    // The fork comes before anything that could make a thread.
    let link = match &verb {
        Verb::Up(args) if !args.detach => match keeper::split() {
            Ok(Role::Keeper(keeper)) => {
                let dirs = Dirs::from_env(&std::env::vars_os().collect());
                return keeper.watch(&up::shared(&dirs), up::settle);
            }
            Ok(Role::Supervisor(link)) => Some(link),
            Err(error) => return early_failure(&Report::bug(format!("cannot fork: {error}"))),
        },
        _ => None,
    };
    let env = std::env::vars_os().collect();
    let console = match Console::new(&env) {
        Ok(console) => console,
        Err(error) => return early_failure(&Report::bug(format!("standard streams are unusable: {error}"))),
    };
    if cli.json {
        console.speak_json();
    }
    let made = make_context(cli.directory.as_deref(), env, &console, started);
    let ctx = match made {
        Ok(ctx) => ctx,
        Err(report) => {
            console.fail(&report);
            console.flush();
            return report.exit;
        }
    };
    let json = cli.json;
    in_runtime(&console.clone(), async move {
        match (verb, link) {
            (Verb::Up(args), Some(link)) => up::run(&ctx, &console, &args, json, link).await,
            (Verb::Up(args), None) => detach::run(&ctx, &console, &args, json).await,
            (Verb::Db(verb), _) => db::run(&ctx, &console, &verb, json).await,
            (Verb::Agents, _) => agents::run(&console),
            (Verb::Mcp, _) => mcp::run(&ctx).await,
            (Verb::Why(args), _) => why::run(&ctx, &console, &args, json).await,
            (Verb::Ls, _) => ls::run(&ctx, &console, json).await,
            (Verb::Status, _) => status::run(&ctx, &console, json).await,
            (Verb::Start(args), _) => order::run(&ctx, &console, Order::Start, &args, json).await,
            (Verb::Stop(args), _) => order::run(&ctx, &console, Order::Stop, &args, json).await,
            (Verb::Restart(args), _) => order::run(&ctx, &console, Order::Restart, &args, json).await,
            (Verb::Wait(args), _) => order::run(&ctx, &console, Order::Wait, &args, json).await,
            (Verb::Attach(args), _) => attach::run(&ctx, &console, &args).await,
            (Verb::Events, _) => events::run(&ctx, &console).await,
            (Verb::Down(args), _) => down::run(&ctx, &console, &args, json).await,
            (Verb::Plan, _) => plan::run(&ctx, &console, json).await,
            (Verb::Env(args), _) => env::run(&ctx, &console, &args, json).await,
            (Verb::Ports, _) => ports::run(&ctx, &console, json).await,
            (Verb::Url(args), _) => url::run(&ctx, &console, &args, json).await,
            (Verb::Exec(args), _) => exec::run(&ctx, &console, &args).await,
            (Verb::Init(args), _) => init::run(&ctx, &console, &args, json).await,
            (Verb::Logs(args), _) => logs::run(&ctx, &console, &args, json).await,
        }
    })
}

/// How many files any verb may need open at the same time, the runtime's own among them.
const DESCRIPTORS: usize = 24;

/// Tries whether so many can be opened: without this a library panics halfway.
fn spare_descriptors() -> std::io::Result<()> {
    let stderr = std::io::stderr();
    let spare: std::io::Result<Vec<_>> =
        (0..DESCRIPTORS).map(|_| stderr.as_fd().try_clone_to_owned()).collect();
    spare.map(drop)
}

/// Runs `answer` on this thread: children die with the thread that made them, and this one lives to the end.
fn in_runtime(console: &Console, answer: impl Future<Output = Result<Exit, Report>>) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return early_failure(&Report::bug(format!("no runtime: {error}"))),
    };
    let local = tokio::task::LocalSet::new();
    let answered = local.block_on(&runtime, answer);
    // Tasks of ours may hold commands under way: dropping them ends those.
    drop(local);
    runtime.shutdown_background();
    let exit = answered.unwrap_or_else(|report| {
        console.fail(&report);
        report.exit
    });
    console.flush();
    exit
}

fn make_context(
    directory: Option<&Path>,
    env: std::collections::BTreeMap<OsString, OsString>,
    console: &Console,
    started: std::time::Instant,
) -> Result<Context, Report> {
    // A folder named in full can be worked in even when the one we stand in was removed under us.
    let cwd = match directory {
        Some(directory) if directory.is_absolute() => directory.to_path_buf(),
        Some(directory) => working_directory()?.join(directory),
        None => working_directory()?,
    };
    if !cwd.is_dir() {
        return Err(Report::new(Code::State, format!("{} is not a directory", cwd.display()))
            .with_fix("give -C a directory that exists"));
    }
    let dirs = Dirs::from_env(&env);
    Ok(Context { cwd, dirs, events: console.events(), started, colour: console.style().colour, env })
}

fn working_directory() -> Result<PathBuf, Report> {
    std::env::current_dir().map_err(|error| {
        Report::new(Code::State, format!("the working directory cannot be read: {error}"))
            .with_fix("change to a folder that exists")
    })
}

#[expect(clippy::print_stderr, reason = "the console itself could not be made")]
fn early_failure(report: &Report) -> Exit {
    eprint!("{}", crate::ui::failure::text(report, crate::ui::style::Style::PLAIN));
    report.exit
}

/// The answer was printed; that nobody reads it (a closed pipe, as with `head`) is no failure.
fn printed(result: std::io::Result<()>) -> Result<Exit, Report> {
    match result {
        Ok(()) => Ok(Exit::Ok),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
        Err(error) => Err(Report::new(Code::State, format!("cannot write the answer: {error}"))),
    }
}

/// Somebody holds the worktree's lock and does not say who he is.
fn nobody_knows() -> Report {
    Report::new(Code::AlreadyRunning, "another devrun holds this worktree and does not say which")
        .with_cause("it is just starting, or has been ending for long")
        .with_fix("try again in a moment")
}

/// Two columns: names padded to the longest, then values. Nothing in them commands a terminal or begins another row.
fn columns<N: AsRef<str>, V: std::fmt::Display>(rows: &[(N, V)]) -> String {
    use std::fmt::Write;
    let width = rows.iter().map(|(name, _)| name.as_ref().chars().count()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{:width$}  {}", harmless(name.as_ref()), harmless(&value.to_string()));
        text
    })
}
