//! The command line: parses the arguments and runs a command. Each command has a file in this module; `start`, `stop`, `restart` and
//! `wait` share one.

mod agents;
mod args;
mod attach;
mod caller;
mod complete;
mod completions;
mod confirm;
mod daily_prune;
mod database_limit;
mod db;
mod detach;
mod doctor;
mod down;
mod end_signals;
mod env;
mod events;
mod exec;
mod help;
mod hook;
mod init;
mod logs;
mod ls;
mod man;
mod mcp;
mod new;
mod open;
mod own_program;
mod plan;
mod ports;
mod process_verbs;
mod prune;
mod recent_error;
mod rm;
mod run_command;
mod running;
mod schema;
mod self_check;
mod status;
mod sync;
mod take_down;
mod top;
mod up;
mod url;
mod version;
mod why;
mod with;

use std::ffi::OsString;
use std::future::Future;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::args::{Cli, Verb};
use self::own_program::this_program;
use self::process_verbs::ProcessVerb;
use crate::cleanup::leftovers;
use crate::context::{Context, Dirs, agent};
use crate::error::{Code, Exit, Report};
use crate::os::start_obstacle::refused;
use crate::supervisor::keeper::{self, Role};
use crate::text::Mask;
use crate::ui::console::Console;
use crate::ui::style::harmless;

/// Parses `args`, runs the command and returns its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let started = std::time::Instant::now();
    if let Some(shell) = std::env::var_os(complete::VARIABLE) {
        return complete::answer(&shell, args);
    }
    let cli = match Cli::understand(args) {
        Ok(cli) => cli,
        Err(error) => {
            // The exit code is the same if the message cannot be printed.
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
    // Only one thread may exist at a fork, so devrun forks before it builds the runtime.
    let link = match &verb {
        Verb::Up(args) if !args.detach => match keeper::split() {
            Ok(Role::Keeper(keeper)) => {
                let dirs = Dirs::from_env(&std::env::vars_os().collect());
                return keeper.watch(&leftovers::shared_servers(&dirs), leftovers::release);
            }
            Ok(Role::Supervisor(link)) => Some(link),
            Err(error) => return early_failure(&refused("cannot fork", &error)),
        },
        _ => None,
    };
    let env = std::env::vars_os().collect();
    let is_short = !cli.verbose && agent::recognise(&env, caller::is_on_terminal()).is_some();
    let console = match Console::new(&env, is_short) {
        Ok(console) => console,
        Err(error) => return early_failure(&refused("standard streams are unusable", &error)),
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
    if let Some(directory) = cli.directory.filter(|_| is_elsewhere(&ctx.cwd)) {
        console.works_in(&directory);
    }
    let json = cli.json;
    let mask = Mask::of_variables(&ctx.env);
    in_runtime(&console.clone(), &mask, async move {
        match (verb, link) {
            (Verb::Up(args), Some(link)) => Box::pin(up::run(&ctx, &console, &args, json, link)).await,
            (Verb::Up(args), None) => detach::run(&ctx, &console, &args, json).await,
            (Verb::New(args), _) => Box::pin(new::run(&ctx, &console, &args, json)).await,
            (Verb::Rm(args), _) => Box::pin(rm::run(&ctx, &console, &args, json)).await,
            (Verb::Sync(args), _) => Box::pin(sync::run(&ctx, &console, &args, json)).await,
            (Verb::Hook(verb), _) => Box::pin(hook::run(&ctx, &console, &verb, json)).await,
            (Verb::Db(verb), _) => db::run(&ctx, &console, &verb, json).await,
            (Verb::Agents, _) => agents::run(&console),
            (Verb::Mcp, _) => mcp::run(&ctx).await,
            (Verb::Why(args), _) => why::run(&ctx, &console, &args, json).await,
            (Verb::Ls(args), _) if args.watch => Box::pin(top::run(&ctx, &console, args.here, json)).await,
            (Verb::Ls(args), _) => ls::run(&ctx, &console, &args, json).await,
            (Verb::Top(args), _) => Box::pin(top::run(&ctx, &console, args.here, json)).await,
            (Verb::Prune(args), _) => Box::pin(prune::run(&ctx, &console, &args, json)).await,
            (Verb::Doctor(args), _) => Box::pin(doctor::run(&ctx, &console, &args, json)).await,
            (Verb::Status, _) => status::run(&ctx, &console, json).await,
            (Verb::Start(args), _) => {
                process_verbs::run(&ctx, &console, ProcessVerb::Start, &args, json).await
            }
            (Verb::Stop(args), _) => process_verbs::run(&ctx, &console, ProcessVerb::Stop, &args, json).await,
            (Verb::Restart(args), _) => {
                process_verbs::run(&ctx, &console, ProcessVerb::Restart, &args, json).await
            }
            (Verb::Wait(args), _) => process_verbs::run(&ctx, &console, ProcessVerb::Wait, &args, json).await,
            (Verb::Attach(args), _) => attach::run(&ctx, &console, &args).await,
            (Verb::Events, _) => events::run(&ctx, &console).await,
            (Verb::Down(args), _) => down::run(&ctx, &console, &args, json).await,
            (Verb::Plan, _) => plan::run(&ctx, &console, json).await,
            (Verb::Env(args), _) => env::run(&ctx, &console, &args, json).await,
            (Verb::Ports(args), _) => ports::run(&ctx, &console, &args, json).await,
            (Verb::Url(args), _) => url::run(&ctx, &console, &args, json).await,
            (Verb::Open(args), _) => open::run(&ctx, &console, &args, json).await,
            (Verb::Exec(args), _) => exec::run(&ctx, &console, &args).await,
            (Verb::With(args), _) => Box::pin(with::run(&ctx, &console, &args, json)).await,
            (Verb::Init(args), _) => init::run(&ctx, &console, &args, json).await,
            (Verb::Help(args), _) => help::run(&ctx, &console, &args, json).await,
            (Verb::SelfCheck, _) => self_check::run(&ctx, &console, json).await,
            (Verb::Completions(args), _) => completions::run(&ctx, &console, &args, json),
            (Verb::Man(args), _) => man::run(&ctx, &console, &args, json),
            (Verb::Schema(args), _) => schema::run(&ctx, &console, &args, json),
            (Verb::Logs(args), _) => logs::run(&ctx, &console, &args, json).await,
        }
    })
}

/// How many files a command may need to open at the same time, including those of the runtime.
const DESCRIPTORS: usize = 24;

/// Errors if fewer than [`DESCRIPTORS`] more files can be opened. A library that runs out of descriptors later would panic halfway.
fn spare_descriptors() -> std::io::Result<()> {
    let stderr = std::io::stderr();
    let spare: std::io::Result<Vec<_>> =
        (0..DESCRIPTORS).map(|_| stderr.as_fd().try_clone_to_owned()).collect();
    spare.map(drop)
}

/// Runs `answer` on this thread and returns its exit code. Children are killed when the thread that started them ends
/// (`PR_SET_PDEATHSIG`), and this thread lives until the process ends.
fn in_runtime(console: &Console, mask: &Mask, answer: impl Future<Output = Result<Exit, Report>>) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return early_failure(&refused("no runtime", &error)),
    };
    let local = tokio::task::LocalSet::new();
    let answered = local.block_on(&runtime, answer);
    // Tasks may own running commands, which end when the tasks are dropped.
    drop(local);
    runtime.shutdown_background();
    let exit = answered.unwrap_or_else(|report| {
        let exit = report.exit;
        console.fail(&mask.report(report));
        exit
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
    // An absolute path works even if the current directory has been deleted.
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
    // Masks in all events the secrets that devrun was started with.
    let events = Mask::of_variables(&env).events(&console.events());
    Ok(Context { cwd, dirs, events, started, colour: console.style().colour, env })
}

/// Returns true if `folder` is not the current directory, or if one of the two cannot be resolved.
fn is_elsewhere(folder: &Path) -> bool {
    let here = std::env::current_dir().and_then(std::fs::canonicalize);
    let there = std::fs::canonicalize(folder);
    !matches!((here, there), (Ok(here), Ok(there)) if here == there)
}

fn working_directory() -> Result<PathBuf, Report> {
    std::env::current_dir().map_err(|error| {
        Report::new(Code::State, format!("the working directory cannot be read: {error}"))
            .with_fix("change to a folder that exists")
    })
}

#[expect(clippy::print_stderr, reason = "the console itself could not be made")]
fn early_failure(report: &Report) -> Exit {
    eprint!("{}", crate::ui::error_text::text(report, crate::ui::style::Style::PLAIN));
    report.exit
}

/// Converts the result of printing an answer. A closed pipe, as with `head`, is not an error.
fn printed(result: std::io::Result<()>) -> Result<Exit, Report> {
    match result {
        Ok(()) => Ok(Exit::Ok),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
        Err(error) => Err(Report::new(Code::State, format!("cannot write the answer: {error}"))
            .with_fix("check the file or program to which standard output leads")),
    }
}

/// Returns the error for a lock whose holder has written no record.
fn unknown_lock_holder() -> Report {
    Report::new(Code::AlreadyRunning, "another devrun keeps this worktree locked")
        .with_cause("it is still starting, or its shutdown is taking unusually long")
        .with_fix("try again in a moment")
}

/// Returns `url`, followed by the URL with the worktree's own host name if there is one.
fn beside(url: &str, host_url: Option<&str>) -> String {
    host_url.map_or_else(|| url.to_string(), |host_url| format!("{url}  {host_url}"))
}

/// Formats two columns: names, padded to the longest, and values. Masks control characters and line breaks.
fn columns<N: AsRef<str>, V: std::fmt::Display>(rows: &[(N, V)]) -> String {
    use std::fmt::Write;
    let width = rows.iter().map(|(name, _)| name.as_ref().chars().count()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{:width$}  {}", harmless(name.as_ref()), harmless(&value.to_string()));
        text
    })
}
