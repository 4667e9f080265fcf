//! What the command line understands, and the help it gives.

mod db;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

pub(super) use self::db::{Db, Named, Psql, Undo, Url as DbUrl};

/// Turns this git worktree into a running, isolated copy of the product.
///
/// Without a verb, `devrun` means `devrun up`: ports of this worktree's own, dependencies installed, a Postgres branch
/// database of its own with migrations done, every process started, the URLs printed. Ctrl-C takes all of it down.
#[derive(Debug, Parser)]
#[command(name = "devrun", version, max_term_width = 100)]
#[command(after_help = "\
Files:    devrun.yaml, else Procfile, else the shape of the repository (Next.js, FastAPI, Alembic).
Exit:     0 fine; a child's own code; 128+signal (130 Ctrl-C); 2 usage; 80 config; 81 git; 82 ports;
          83 dependencies; 84 database; 85 migration; 86 readiness; 87 process; 88 busy; 74 state; 70 bug.
Examples: devrun                         everything up, here
          devrun -C ../feature-x         the same for another worktree
          eval \"$(devrun env --reveal)\"  its environment in this shell
          devrun exec -- pytest          a command in its environment")]
pub(super) struct Cli {
    /// Work in DIR instead of the current directory.
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub(super) directory: Option<PathBuf>,
    /// Print answers and errors as JSON on standard output.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) up: Up,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

impl Cli {
    /// Understands `args`. Options of `up` stand before a verb only when that verb is left out.
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
    Why(Why),
    /// Show every stack of yours on this machine, wherever you stand.
    Ls,
    /// Start processes that are down (all, without a name); return when they are ready.
    Start(Order),
    /// Stop processes and leave the others running; return when they are gone.
    Stop(Order),
    /// Stop processes and start them again; return when they are ready.
    Restart(Order),
    /// Wait until the stack, or the processes that are named, are ready.
    Wait(Order),
    /// Type into the terminal of a process (`tty: true`) and see what it shows; Ctrl-] leaves.
    Attach(Attach),
    /// Print everything that happens, a line of JSON each, until the stack ends.
    Events,
    /// Show everything that `up` would run, without running it.
    Plan,
    /// Print the environment of the stack.
    Env(Env),
    /// Print this worktree's ports.
    Ports,
    /// Print what the processes wrote, whether or not they run.
    Logs(Logs),
    /// Print the stack's URLs, or one of them.
    Url(Url),
    /// Run a command in the stack's environment (its database, its ports, its .venv on PATH).
    Exec(Exec),
    /// Look at the branch database, migrate it, start it over.
    #[command(subcommand)]
    Db(Db),
    /// Serve up, down, status, logs, restart and why to an agent, as MCP on standard input and output.
    Mcp,
    /// Print what a coding agent has to know, to paste into AGENTS.md or CLAUDE.md.
    Agents,
    /// Write down what devrun recognises here as a devrun.yaml.
    Init(Init),
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
    /// With -d: seconds to wait until everything is ready.
    #[arg(long, value_name = "SECONDS", default_value_t = LONG, value_parser = seconds())]
    pub(super) timeout: u64,
    /// Fail when a port of this worktree is busy, instead of moving to other ports.
    #[arg(long)]
    pub(super) strict_ports: bool,
    /// Fail when a process is connected to a server that is not this worktree's; the default where CI is set.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(super) strict_isolation: Option<bool>,
    /// Work in the default, a protected or the parent branch on Neon, where `database.branch` names it literally.
    #[arg(long)]
    pub(super) allow_parent: bool,
}

impl Default for Up {
    fn default() -> Up {
        Up {
            detach: false,
            no_wait: false,
            timeout: LONG,
            strict_ports: false,
            strict_isolation: None,
            allow_parent: false,
        }
    }
}

/// As long as a first start may take that has to fetch everything, in seconds.
const LONG: u64 = 600;

fn seconds() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=86_400)
}

#[derive(Debug, Args)]
pub(super) struct Attach {
    /// Name of the process.
    pub(super) name: String,
}

#[derive(Debug, Args)]
pub(super) struct Order {
    /// Names of processes; all when there is none.
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Seconds to wait until it is done.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = seconds())]
    pub(super) timeout: u64,
}

#[derive(Debug, Args)]
pub(super) struct Why {
    /// Name of a process; without it, the first that is not fine.
    #[arg(value_name = "NAME")]
    pub(super) name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Down {
    /// Seconds to wait for the end; then a devrun that does not answer is killed.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = seconds())]
    pub(super) timeout: u64,
}

#[derive(Debug, Args)]
pub(super) struct Env {
    /// How to print it: for `eval` in a shell, as a dotenv file, or as a JSON object.
    #[arg(long, value_enum, default_value_t = Format::Shell)]
    pub(super) format: Format,
    /// Print secrets instead of masking them.
    #[arg(long)]
    pub(super) reveal: bool,
    /// Print the inherited variables too, not only those devrun adds or changes.
    #[arg(long)]
    pub(super) all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// `export NAME='value'`
    Shell,
    /// `NAME="value"`
    Dotenv,
    /// `{"NAME": "value"}`
    Json,
}

#[derive(Debug, Args)]
pub(super) struct Url {
    /// Which one, by its printed name; upper and lower case alike.
    pub(super) name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Go on with what is written from now on, until the stack ends.
    #[arg(short, long)]
    pub(super) follow: bool,
    /// The last N lines (200 unless --since is given).
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
pub(super) struct Init {
    /// Print it instead of writing devrun.yaml.
    #[arg(long)]
    pub(super) print: bool,
    /// Print everything that was found in the repository, with its sources, and the questions that it leaves open.
    #[arg(long, conflicts_with = "print")]
    pub(super) facts: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understand(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::understand(args.iter().map(OsString::from))
    }

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_verb_means_up_with_its_options() {
        let cli = understand(&["devrun", "--strict-ports", "-C", "/x"]).unwrap();
        assert!(cli.verb.is_none() && cli.up.strict_ports);
        assert_eq!(cli.directory.unwrap(), PathBuf::from("/x"));
    }

    #[test]
    fn options_of_all_verbs_may_stand_on_either_side_of_the_verb() {
        for args in [["devrun", "ports", "--json", "-C", "/x"], ["devrun", "-C", "/x", "--json", "ports"]] {
            let cli = understand(&args).unwrap();
            assert!(cli.json && cli.directory.is_some() && matches!(cli.verb, Some(Verb::Ports)));
        }
    }

    #[test]
    fn an_option_of_up_before_another_verb_is_a_mistake() {
        assert!(understand(&["devrun", "--strict-ports", "down"]).is_err());
        assert!(understand(&["devrun", "up", "--strict-ports"]).is_ok());
    }
}
