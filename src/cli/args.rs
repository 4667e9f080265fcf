//! Defines the command line and its help.

mod cleanup;
mod db;
mod doctor;
mod help;
mod hook;
mod worktrees;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

pub(super) use self::cleanup::{Ls, Prune, Top, YOUNGEST};
pub(super) use self::db::{
    CopiedState, Db, DbDiff, DbImport, DbUpgrade, DbUrlArgs, Named, Psql, Reset, Restore, SnapshotArgs, Undo,
};
pub(super) use self::doctor::Doctor;
pub(super) use self::help::{CompletedShell, Completions, HelpArgs, ManArgs, SchemaArgs};
pub(super) use self::hook::{Hook, HookInstall, HookPostCheckout, HookPrepare, HookWorktreeRemove};
pub(super) use self::worktrees::{New, Rm, SyncArgs};
use super::version;
use crate::text::duration;

/// Turns this git worktree into a running, isolated copy of the product.
///
/// Without a verb, `devrun` means `devrun up`: it gives the worktree its own ports and its own Postgres branch database, installs the
/// dependencies, runs the migrations, starts every process and prints the URLs. Ctrl-C takes all of it down.
#[derive(Debug, Parser)]
#[command(name = "devrun", version = version::current(), max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "\
Files:    devrun.yaml, else what devrun recognises (Next.js, FastAPI and others), else a Procfile.
Exit:     0 fine; a child's own code; 128+signal (130 Ctrl-C); 2 usage; 80 config; 81 git; 82 ports;
          83 dependencies; 84 database; 85 migration; 86 readiness; 87 process; 88 busy; 89 worktree gone;
          90 not isolated; 91 problems found; 74 state; 70 bug.
Examples: devrun                         everything up, here
          devrun -C ../feature-x         the same for another worktree
          eval \"$(devrun env --reveal)\"  its environment in this shell
          devrun exec -- pytest          a command in its environment
          devrun with -- pytest          the same, with the stack up until it ends
          devrun prune --dry-run         what deleted worktrees and branches left behind")]
pub(super) struct Cli {
    /// Work in DIR instead of the current directory.
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub(super) directory: Option<PathBuf>,
    /// Print answers and errors as JSON on standard output.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Print everything, also when a coding agent runs devrun: its output is short otherwise. `DEVRUN_AGENT=0` does the same.
    #[arg(long, global = true)]
    pub(super) verbose: bool,
    #[command(flatten)]
    pub(super) up: Up,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

impl Cli {
    /// Parses `args`. Errors if they are invalid, or if options of `up` come before another command.
    pub(super) fn understand(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        let cli = Cli::try_parse_from(args)?;
        if cli.verb.is_some() && cli.up != Up::default() {
            let message = "options of `up` belong behind it: devrun up --strict-ports";
            return Err(Cli::command().error(clap::error::ErrorKind::ArgumentConflict, message));
        }
        Ok(cli)
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Bring the whole stack up and stay with it (the default).
    Up(Up),
    /// Take this worktree's stack down; return when it is gone and its ports are free.
    Down(Down),
    /// Show what the stack of this worktree is doing.
    #[command(visible_alias = "ps")]
    Status,
    /// Say what a process is waiting for or why it ended, its last lines, and the one command that would help.
    Why(WhyArgs),
    /// Show all stacks that you run on this machine, from any folder.
    Ls(Ls),
    /// Watch all stacks on this machine; open, restart, stop them and follow their logs with a key.
    Top(Top),
    /// Remove what worktrees, branches and killed runs left behind: processes, ports, records, branch databases.
    Prune(Prune),
    /// Show what would go wrong here and how to prevent it: tools, packages, ports, databases, ignored files, limits.
    Doctor(Doctor),
    /// Start processes that are down (all, without a name); return when they are ready.
    Start(ProcessArgs),
    /// Stop processes and leave the others running; return when they are gone.
    Stop(ProcessArgs),
    /// Stop processes and start them again; return when they are ready.
    Restart(ProcessArgs),
    /// Wait until the stack, or the processes that are named, are ready.
    Wait(ProcessArgs),
    /// Type into the terminal of a process (`tty: true`) and see what it shows; Ctrl-] leaves.
    Attach(Attach),
    /// Print everything that happens, a line of JSON each, until the stack ends.
    Events,
    /// Show everything that `up` would run, without running it.
    Plan,
    /// Print the environment of the stack, or where each of its variables comes from.
    Env(EnvArgs),
    /// Print this worktree's ports.
    Ports(PortsArgs),
    /// Print what the processes wrote, whether or not they run.
    Logs(Logs),
    /// Print the stack's URLs, or one of them.
    Url(UrlArgs),
    /// Open the tenant's page of the running stack, or the URL that is named, in the browser.
    Open(Open),
    /// Run a command in the stack's environment (its database, its ports, its .venv on PATH).
    Exec(Exec),
    /// Bring the stack up, run a command as `exec` does, and take the stack down if it did not run before.
    With(With),
    /// Make a worktree and its branch, or find the one that exists; print its path.
    New(New),
    /// Throw a worktree away: its stack, database, folder and branch. Says so first, and refuses unsaved work.
    Rm(Rm),
    /// Rebase this branch onto its upstream or the default branch; then update packages, setup steps and the database.
    Sync(SyncArgs),
    /// Look at the branch database, migrate it, start it over.
    #[command(subcommand)]
    Db(Db),
    /// Prepare worktrees that git and agents make: git's post-checkout, `WorktreeCreate` and `WorktreeRemove` of Claude Code.
    #[command(subcommand)]
    Hook(Hook),
    /// Serve up, down, status, logs, restart and why to an agent, as MCP on standard input and output.
    Mcp,
    /// Print the manual for coding agents; `devrun init --agents` writes a block that points to it.
    Agents,
    /// Write down what devrun recognises here as a devrun.yaml; with --agents, add devrun to the files of coding agents.
    Init(Init),
    /// Print the help of a verb or a page of the documentation; without a name, list the pages.
    Help(HelpArgs),
    /// Print what this devrun is, where its files are, and what it can and cannot promise on this machine.
    SelfCheck,
    /// Print or install the script that completes command lines in a shell, with the names of processes, URLs, branches.
    Completions(Completions),
    /// Write the manual pages: one for each verb, and devrun.yaml(5).
    Man(ManArgs),
    /// Print the JSON Schema of devrun.yaml, for editors.
    Schema(SchemaArgs),
}

#[derive(Debug, PartialEq, Eq, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on the command line")]
pub(super) struct Up {
    /// Stay in the background: return when everything is ready, with what `devrun status` prints.
    #[arg(short, long)]
    pub(super) detach: bool,
    /// With -d: return as soon as it has begun.
    #[arg(long, requires = "detach")]
    pub(super) no_wait: bool,
    /// With -d: time to wait until everything is ready.
    #[arg(long, value_name = "TIME", default_value_t = LONG, value_parser = seconds)]
    pub(super) timeout: u64,
    /// With -d: end the stack when the process PID has ended, after a grace period.
    #[arg(long, value_name = "PID", requires = "detach", conflicts_with = "with_parent")]
    pub(super) with_pid: Option<u32>,
    /// With -d: the same for the process that calls devrun. That is often a shell which ends at once.
    #[arg(long, requires = "detach")]
    pub(super) with_parent: bool,
    /// With --with-pid or --with-parent: the time between the end of the process and the end of the stack.
    #[arg(long, value_name = "TIME", requires = "detach", default_value_t = GRACE, value_parser = seconds)]
    pub(super) grace: u64,
    /// The caller of the devrun that started this one in the background, as JSON.
    #[arg(long, value_name = "JSON", hide = true, conflicts_with = "detach")]
    pub(super) caller: Option<String>,
    /// Fail when a port of this worktree is busy, instead of moving to other ports.
    #[arg(long)]
    pub(super) strict_ports: bool,
    /// Fail when a process is connected to a server that is not this worktree's; the default where CI is set.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(super) strict_isolation: Option<bool>,
    /// Work in the default, a protected or the parent branch on Neon, where `database.branch` names it literally.
    #[arg(long)]
    pub(super) allow_parent: bool,
    /// End servers of this worktree that were started by hand and hold its ports, after asking.
    #[arg(long)]
    pub(super) replace: bool,
    /// With --replace: do not ask.
    #[arg(short, long, requires = "replace")]
    pub(super) yes: bool,
    /// Keep no status line at the bottom of the terminal.
    #[arg(long, conflicts_with = "detach")]
    pub(super) no_status: bool,
}

impl Default for Up {
    fn default() -> Up {
        Up {
            detach: false,
            no_wait: false,
            timeout: LONG,
            with_pid: None,
            with_parent: false,
            grace: GRACE,
            caller: None,
            strict_ports: false,
            strict_isolation: None,
            allow_parent: false,
            replace: false,
            yes: false,
            no_status: false,
        }
    }
}

/// The default timeout in seconds: a first start may have to download everything.
const LONG: u64 = 600;

/// The default grace period in seconds, after the end of the process that a stack is bound to.
const GRACE: u64 = 30;

/// Parses a time on the command line: `90` seconds, `90s`, `2m`. Errors if it is less than a second or more than a day.
fn seconds(text: &str) -> Result<u64, String> {
    let number = text.parse().ok();
    let seconds = number.or_else(|| Some(duration::parse(text)?.as_secs()));
    seconds
        .filter(|seconds| (1..=86_400).contains(seconds))
        .ok_or_else(|| "takes seconds or a duration such as 90s or 2m, up to 24h".into())
}

#[derive(Debug, Args)]
pub(super) struct PortsArgs {
    /// Move back to the home slot first; an error when its ports are not free.
    #[arg(long)]
    pub(super) move_home: bool,
}

#[derive(Debug, Args)]
pub(super) struct Attach {
    /// Name of the process.
    pub(super) name: String,
}

#[derive(Debug, Args)]
pub(super) struct ProcessArgs {
    /// Names of processes; all when there is none.
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Time to wait until it is done: 90, 90s, 2m.
    #[arg(long, value_name = "TIME", default_value_t = 120, value_parser = seconds)]
    pub(super) timeout: u64,
}

#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// Name of a process; without it, the one in the worst state.
    #[arg(value_name = "NAME")]
    pub(super) name: Option<String>,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on the command line")]
pub(super) struct Down {
    /// Time to wait for the end; then a devrun that does not answer is killed.
    #[arg(long, value_name = "TIME", default_value_t = 30, value_parser = seconds)]
    pub(super) timeout: u64,
    /// Take down the stacks of all worktrees of this repository.
    #[arg(long, conflicts_with = "strays")]
    pub(super) all: bool,
    /// Take down the stacks that this session of an agent or terminal started, in all repositories.
    #[arg(long, conflicts_with_all = ["strays", "all"])]
    pub(super) mine: bool,
    /// End the servers in this worktree that devrun does not supervise, after asking.
    #[arg(long)]
    pub(super) strays: bool,
    /// With --strays: do not ask.
    #[arg(short, long, requires = "strays")]
    pub(super) yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct EnvArgs {
    /// How to print it: for `eval` in a shell, as a dotenv file, or as a JSON object.
    #[arg(long, value_enum, default_value_t = Format::Shell)]
    pub(super) format: Format,
    /// Print secrets instead of masking them.
    #[arg(long)]
    pub(super) reveal: bool,
    /// Print the inherited variables too, not only those devrun adds or changes.
    #[arg(long)]
    pub(super) all: bool,
    /// Print where the value of each variable comes from, why devrun set it, for which process it holds, and which other
    /// values do not count.
    #[arg(long, conflicts_with = "format")]
    pub(super) explain: bool,
    /// Print the environment of this process: what every process gets, and its own variables.
    #[arg(long, value_name = "NAME")]
    pub(super) process: Option<String>,
    /// With --explain: these variables only.
    #[arg(value_name = "VARIABLE", requires = "explain")]
    pub(super) names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// `export NAME=value`
    Shell,
    /// `NAME="value"`
    Dotenv,
    /// `{"NAME": "value"}`
    Json,
}

#[derive(Debug, Args)]
pub(super) struct UrlArgs {
    /// Which one, by its printed name; upper and lower case alike.
    pub(super) name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Open {
    /// Which URL, by its printed name; upper and lower case alike.
    #[arg(value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Start Chromium or Chrome with a profile of this worktree, so that logins of two worktrees never replace each other.
    #[arg(long, conflicts_with = "print")]
    pub(super) browser_profile: bool,
    /// Only print the URL.
    #[arg(long)]
    pub(super) print: bool,
}

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Go on with what is written from now on, until the stack ends.
    #[arg(short, long)]
    pub(super) follow: bool,
    /// The last N lines (200 unless --since is given, 40 for a coding agent).
    #[arg(short = 'n', long = "lines", value_name = "N")]
    pub(super) lines: Option<usize>,
    /// Nothing older: 90s, 5m, 2h, 1d, or a time as in 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// Only lines that match this regular expression.
    #[arg(long, value_name = "REGEX")]
    pub(super) grep: Option<String>,
    /// Processes; `devrun` for what devrun itself did. All of them unless named.
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Exec {
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct With {
    /// Make the branch database a copy of its parent first. Everything in it is lost.
    #[arg(long)]
    pub(super) fresh: bool,
    /// Write what the processes print during the command to DIR, a file for each.
    #[arg(long, value_name = "DIR")]
    pub(super) logs: Option<PathBuf>,
    /// Time to wait until the stack is ready: 90, 90s, 2m.
    #[arg(long, value_name = "TIME", default_value_t = LONG, value_parser = seconds)]
    pub(super) timeout: u64,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on the command line")]
pub(super) struct Init {
    /// Print it instead of writing devrun.yaml.
    #[arg(long)]
    pub(super) print: bool,
    /// Print everything that was found in the repository, with its sources, and the questions that it leaves open.
    #[arg(long, conflicts_with = "print")]
    pub(super) facts: bool,
    /// Instead, add devrun to the files of the coding agents that are used here: hooks, scripts for worktrees, an MCP server, and a
    /// block in AGENTS.md. Shows the changes first, and asks.
    #[arg(long, conflicts_with_all = ["print", "facts"])]
    pub(super) agents: bool,
    /// With --agents: the files of all agents, whether or not they are used.
    #[arg(long, requires = "agents")]
    pub(super) all: bool,
    /// With --agents: remove what it added.
    #[arg(long, requires = "agents", conflicts_with = "all")]
    pub(super) remove: bool,
    /// Write without asking: a file that is only proposed because nothing was recognised, or the changes of --agents.
    #[arg(short, long, conflicts_with_all = ["print", "facts"])]
    pub(super) yes: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understand(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::understand(args.iter().map(OsString::from))
    }

    #[test]
    fn command_line_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_verb_means_up_with_its_options() {
        let cli = understand(&["devrun", "--strict-ports", "-C", "/x"]).unwrap();
        assert!(cli.verb.is_none() && cli.up.strict_ports);
        assert_eq!(cli.directory.unwrap(), PathBuf::from("/x"));
    }

    #[test]
    fn global_options_are_accepted_before_and_after_the_verb() {
        for args in [["devrun", "ports", "--json", "-C", "/x"], ["devrun", "-C", "/x", "--json", "ports"]] {
            let cli = understand(&args).unwrap();
            assert!(cli.json && cli.directory.is_some() && matches!(cli.verb, Some(Verb::Ports(_))));
        }
    }

    #[test]
    fn an_option_of_up_before_another_verb_is_an_error() {
        assert!(understand(&["devrun", "--strict-ports", "down"]).is_err());
        assert!(understand(&["devrun", "up", "--strict-ports"]).is_ok());
    }
}
