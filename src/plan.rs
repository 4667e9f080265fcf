//! The nouns everybody shares: what one worktree's run consists of, fully resolved.
//!
//! Values only. No behaviour beyond trivial accessors, no I/O, no knowledge of git, YAML, Neon or hashing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Everything resolved for one worktree. Immutable once made; the supervisor runs it and nothing else.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name of the project, from the configuration or the repository's folder.
    pub project: String,
    /// The worktree this is for.
    pub worktree: Place,
    /// Slot of the lease: every port of the worktree is its base plus this.
    pub slot: u16,
    /// Named ports, already shifted by the slot.
    pub ports: BTreeMap<String, u16>,
    /// The branch database, when there is one.
    pub database: Option<Database>,
    /// The environment every process starts from, complete: nothing else is inherited.
    pub env: Environment,
    /// The processes, in the order they were written.
    pub processes: Vec<Process>,
    /// Named URLs to print, in the order they were written.
    pub urls: Vec<(String, String)>,
    /// How much of each process's output is kept.
    pub logs: LogLimits,
}

/// How much of a process's output is kept on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes in one file at most.
    pub size: u64,
    /// Files at most, the current one included.
    pub files: u32,
}

impl Default for LogLimits {
    fn default() -> LogLimits {
        LogLimits { size: 10 << 20, files: 3 }
    }
}

/// Where a run happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Physical path of the worktree's top level.
    pub path: PathBuf,
    /// What is checked out.
    pub head: Head,
    /// A short name safe in host names, files and logs.
    pub slug: String,
    /// Folder for this worktree's own state; vanishes with the worktree where git allows it.
    pub state: PathBuf,
}

/// What is checked out in a worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// A branch, perhaps without a commit yet. Name without `refs/heads/`; invalid UTF-8 replaced.
    Branch(String),
    /// A commit without a branch.
    Detached,
    /// Nothing: the folder is not in a git repository.
    None,
}

impl Head {
    /// The branch's name, when there is one.
    pub fn branch(&self) -> Option<&str> {
        match self {
            Head::Branch(name) => Some(name),
            Head::Detached | Head::None => None,
        }
    }
}

/// An environment, with the names whose values must be masked when shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Every variable.
    pub vars: BTreeMap<OsString, OsString>,
    /// Names devrun itself set (computed or from `env:`/env files), in this map's sense: name → origin.
    pub origins: BTreeMap<String, Origin>,
    /// Names whose values hold secrets.
    pub secrets: BTreeSet<String>,
}

/// Where a variable's value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// One of `env_files`.
    File,
    /// `env:` of devrun.yaml.
    Config,
    /// Computed by devrun.
    Computed,
}

/// The branch database, as shown: the URL itself lives in [`Environment`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Provider's name: `local`, `neon`, …
    pub provider: String,
    /// Name of the database or branch, as a person knows it.
    pub name: String,
    /// How it came to be.
    pub origin: DatabaseOrigin,
    /// The URL with its password masked.
    pub masked_url: String,
}

/// How a branch database came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseOrigin {
    /// It was there.
    Existing,
    /// Made now, empty.
    Empty,
    /// Made now as a copy of this parent.
    CopyOf(String),
}

/// One process of the run.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its name: the key in `processes:` or the Procfile.
    pub name: String,
    /// What to execute.
    pub run: Run,
    /// Absolute folder to execute it in.
    pub directory: PathBuf,
    /// Variables on top of the plan's environment (`PORT`, `<NAME>_FD`, the process's own `env:`).
    pub env: BTreeMap<String, String>,
    /// The port it binds, or that devrun binds for it.
    pub port: Option<PortUse>,
    /// Processes that must have got somewhere first.
    pub depends_on: Vec<(String, Condition)>,
    /// Preparation that must be done first.
    pub needs: BTreeSet<Need>,
    /// How to know that it is ready; without one, started is ready.
    pub ready: Option<Readiness>,
    /// What to do when it ends.
    pub restart: Restart,
    /// Number of the signal that asks it to stop.
    pub stop_signal: i32,
    /// How long it may take before it is killed.
    pub stop_grace: Duration,
    /// Give it a terminal of its own.
    pub tty: bool,
    /// Start it with the others.
    pub autostart: bool,
    /// Let it be reached from other machines: its host is 0.0.0.0 instead of 127.0.0.1.
    pub expose: bool,
}

/// What to execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// Handed to `/bin/sh -c` as it stands.
    Shell(String),
    /// Executed directly; never empty.
    Argv(Vec<String>),
}

/// How a process comes to its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortUse {
    /// The process binds the port itself.
    Binds {
        /// The port's name.
        name: String,
        /// Its number.
        port: u16,
    },
    /// devrun binds and listens before the start and hands the socket over.
    Listens {
        /// The port's name.
        name: String,
        /// Its number.
        port: u16,
        /// The variable that tells the process its descriptor.
        fd_env: String,
        /// Let Node programs take it by a module that is loaded into them.
        node: bool,
    },
}

impl PortUse {
    /// The port's number, however it is bound.
    pub fn port(&self) -> u16 {
        match self {
            PortUse::Binds { port, .. } | PortUse::Listens { port, .. } => *port,
        }
    }
}

/// How far a dependency must have got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Its process exists.
    Started,
    /// Its readiness probe passed.
    Ready,
    /// It ended with status 0.
    Completed,
}

/// A piece of preparation a process may have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// Node packages installed.
    Node,
    /// Python environment in step.
    Python,
    /// Branch database there and migrated.
    Database,
}

impl Need {
    /// Every need.
    pub const ALL: [Need; 3] = [Need::Node, Need::Python, Need::Database];

    /// The word used in configuration and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Need::Node => "node",
            Need::Python => "python",
            Need::Database => "database",
        }
    }
}

/// How to know that a process is ready.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// What to look at.
    pub probe: Probe,
    /// Time between attempts.
    pub interval: Duration,
    /// Time one attempt may take.
    pub timeout: Duration,
    /// Time until it counts as failed.
    pub deadline: Duration,
}

/// What a readiness probe looks at.
#[derive(Clone, Debug)]
pub enum Probe {
    /// `GET path` on the process's port at 127.0.0.1.
    Http {
        /// Path, with a leading slash.
        path: String,
        /// `Host` header; `localhost:<port>` when absent. The port is added when it has none.
        host: Option<String>,
        /// The status that counts; any 2xx or 3xx when absent.
        status: Option<u16>,
        /// Port to ask.
        port: u16,
    },
    /// The port accepts a connection.
    Tcp {
        /// Port to ask.
        port: u16,
    },
    /// A line of its output matches.
    Log(regex::bytes::Regex),
    /// A command, run like the process itself, ends with status 0.
    Exec(Run),
}

/// What to do when a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// When to start it again.
    pub policy: RestartPolicy,
    /// How often, before giving up.
    pub max: u32,
}

/// When to start a process again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Never: its end is the end of the run.
    No,
    /// After any end but status 0.
    OnFailure,
    /// After every end.
    Always,
}
