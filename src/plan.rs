//! The shared data types: what devrun runs in one worktree, with every value resolved.
//!
//! Holds values and simple questions about them: no I/O, no knowledge of git, YAML, Neon or hashing.

mod away_from_home_slot;
mod compose;
mod origin;
mod program_wheel;
mod python_install;
mod service;
mod setting;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::away_from_home_slot::{Away, Obstacle};
pub use self::compose::{ComposeProvider, ComposeService};
pub use self::origin::{BoundVariable, Computed, EnvFileWorktree, EnvLine, FileLine, Origin, Reason};
pub use self::program_wheel::ProgramWheel;
pub use self::python_install::PythonInstall;
pub use self::service::{PlannedService, ServiceData};
pub use self::setting::{Section, Sections, Setting};

/// Everything resolved for one worktree. Immutable; the supervisor runs exactly this.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name of the project, from the configuration or the repository's folder.
    pub project: String,
    /// The worktree.
    pub worktree: PlannedWorktree,
    /// Slot of the lease. Every port of the worktree is its base plus the slot.
    pub slot: u16,
    /// Named ports, with the slot already added.
    pub ports: BTreeMap<String, u16>,
    /// Why the slot is not the home slot; `None` if it is.
    pub away: Option<Away>,
    /// The branch database, when there is one.
    pub database: Option<Database>,
    /// The environment of every process, to which each process adds its own variables; a process inherits nothing else.
    pub env: Environment,
    /// The processes, in the order they were written.
    pub processes: Vec<Process>,
    /// Named URLs to print, in the order they were written.
    pub urls: Vec<(String, String)>,
    /// The URLs of the HTTP servers under the worktree's own host names, by the same names as in `urls`.
    pub host_urls: Vec<(String, String)>,
    /// Loopback ports in the repository's code, with the port of this worktree that Node processes reach instead.
    pub redirects: BTreeMap<u16, u16>,
    /// Loopback ports of servers that the configuration shares with other worktrees on purpose.
    pub shared_ports: BTreeSet<u16>,
    /// Variables that recognition gave their values, without those that the configuration file sets itself.
    pub bindings: Vec<BoundVariable>,
    /// How much of each process's output is kept.
    pub logs: LogLimits,
    /// The Python projects whose packages devrun installs, the main one first.
    pub python: Vec<PythonInstall>,
}

impl Plan {
    /// Returns the URLs of the processes that start by themselves, and the configured ones that lead elsewhere.
    pub fn started_urls(&self) -> Vec<(String, String)> {
        let idle = |url: &str| {
            let port = url::Url::parse(url).ok().and_then(|url| url.port());
            let mut idle = self.processes.iter().filter(|process| !process.autostart);
            port.is_some() && idle.any(|process| process.port.as_ref().map(PortUse::port) == port)
        };
        self.urls.iter().filter(|(_, url)| !idle(url)).cloned().collect()
    }

    /// Returns the URL of the server `name` under the worktree's own host name.
    pub fn host_url(&self, name: &str) -> Option<&str> {
        let found = self.host_urls.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }
}

/// A fact about the stack that the user should know: a part that was left out, an address that no variable changes, a
/// backend that refuses requests from the page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// One sentence, with the file and line that it is about.
    pub text: String,
    /// Lines of configuration that resolve it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Notice {
    /// Returns a notice without a fix.
    pub fn new(text: String) -> Notice {
        Notice { text, fix: None }
    }
}

/// A notice about the files of the repository. Its text may depend on the processes that run the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryNotice {
    /// The notice.
    pub notice: Notice,
    /// The code whose connections devrun redirects, if the notice is about such code.
    pub redirect: Option<RedirectedCode>,
}

impl RepositoryNotice {
    /// Returns a notice with the same text for all processes.
    pub fn certain(notice: Notice) -> RepositoryNotice {
        RepositoryNotice { notice, redirect: None }
    }
}

/// Code whose connections devrun redirects if a process loads devrun's modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectedCode {
    /// The file, relative to the worktree.
    pub file: PathBuf,
    /// The text of the notice if no process with that code loads devrun's modules.
    pub without_modules: String,
}

/// How much of a process's output devrun keeps on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Maximum size of one file, in bytes.
    pub size: u64,
    /// Maximum number of files, the current one included.
    pub files: u32,
}

impl Default for LogLimits {
    fn default() -> LogLimits {
        LogLimits { size: 10 << 20, files: 3 }
    }
}

/// The worktree that a plan belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedWorktree {
    /// Physical path of the worktree's top level.
    pub path: PathBuf,
    /// The checked-out branch or commit.
    pub head: Checkout,
    /// A short name that is safe in host names, file names and logs.
    pub slug: String,
    /// Folder for devrun's state of this worktree: inside git's folder for the worktree if that is writable, so that
    /// git deletes it with the worktree.
    pub state: PathBuf,
}

/// The branch or commit that is checked out in a worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checkout {
    /// The name of a branch without `refs/heads/`, with invalid UTF-8 replaced. The branch may have no commit yet.
    Branch(String),
    /// A commit, not a branch.
    Detached,
    /// The folder is not in a git repository.
    None,
}

impl Checkout {
    /// Returns the branch's name, if a branch is checked out.
    pub fn branch(&self) -> Option<&str> {
        match self {
            Checkout::Branch(name) => Some(name),
            Checkout::Detached | Checkout::None => None,
        }
    }
}

/// An environment, and the names of the values that must be masked in output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Every variable.
    pub vars: BTreeMap<OsString, OsString>,
    /// Origin of each variable that devrun computed or that `env:` or an env file sets.
    pub origins: BTreeMap<String, Origin>,
    /// Names of variables that hold secrets.
    pub secrets: BTreeSet<String>,
    /// The values of the variables that were read from the login shell. Other variables may contain them.
    pub shell_values: Vec<OsString>,
    /// Variables that name a Postgres other than the branch database.
    pub elsewhere: Vec<OtherDatabaseVariable>,
}

/// A variable that names a Postgres other than the branch database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherDatabaseVariable {
    /// The variable.
    pub name: String,
    /// The host, or the folder of the socket, that it names.
    pub host: String,
    /// The form in which it names the server.
    pub form: OtherDatabaseForm,
}

/// The form in which variables name a Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtherDatabaseForm {
    /// A URL with this scheme.
    Url(String),
    /// One part of the address in each of these variables, with the part of the branch database that belongs there.
    Parts(Vec<(String, &'static str)>),
}

/// A variable that devrun removed because it pointed into another worktree of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignVariable {
    /// The variable.
    pub name: String,
    /// The worktree that it pointed into.
    pub worktree: PathBuf,
    /// True if other entries of the list stay.
    pub is_partial: bool,
}

/// The branch database, as shown to the user. The URL with its password is in [`Environment`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Name of the provider: `local`, `neon`, …
    pub provider: String,
    /// Name of the database or branch.
    pub name: String,
    /// Whether devrun found it, created it or copied it.
    pub origin: DatabaseOrigin,
    /// The URL with its password masked.
    pub masked_url: String,
}

/// Whether a branch database existed, was created or was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseOrigin {
    /// It existed already.
    Existing,
    /// Created now, empty.
    Empty,
    /// Created now as a copy of this parent.
    CopyOf(String),
}

/// One process of the run.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of devrun.yaml that is on or off")]
pub struct Process {
    /// Its name: the key in `processes:` or the Procfile.
    pub name: String,
    /// The command to execute.
    pub run: RunCommand,
    /// Absolute folder to execute it in.
    pub directory: PathBuf,
    /// Variables added to the plan's environment (`PORT`, `<NAME>_FD`, the process's own `env:`).
    pub env: BTreeMap<String, String>,
    /// Origins of the values in `env`.
    pub origins: BTreeMap<String, Origin>,
    /// Names of variables in `env` that hold secrets.
    pub secrets: BTreeSet<String>,
    /// The port it binds, or that devrun binds for it.
    pub port: Option<PortUse>,
    /// Processes to wait for, each with the state that it must reach.
    pub depends_on: Vec<(String, Condition)>,
    /// Preparation that must finish before the process starts.
    pub needs: BTreeSet<Need>,
    /// Its readiness probe. Without one, the process is ready as soon as it starts.
    pub ready: Option<Readiness>,
    /// Whether to start it again when it ends.
    pub restart: Restart,
    /// Number of the signal that stops it.
    pub stop_signal: i32,
    /// Time from that signal until it is killed.
    pub stop_grace: Duration,
    /// Run it on a pseudo-terminal.
    pub tty: bool,
    /// Its standard input.
    pub stdin: Stdin,
    /// Start it together with the other processes.
    pub autostart: bool,
    /// Make it reachable from other machines: `DEVRUN_HOST` is 0.0.0.0 instead of 127.0.0.1.
    pub expose: bool,
    /// Load devrun's modules into its Node programs. The modules take over the socket and apply the redirects.
    pub node_preload: bool,
    /// The service that it is, if it came from `services:`.
    pub service: Option<PlannedService>,
}

/// The standard input of a process without a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stdin {
    /// A pipe without data that stays open as long as the process lives. Programs such as watchers exit at end of
    /// input.
    #[default]
    Open,
    /// `/dev/null`: end of input at once.
    Null,
}

/// The command to execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunCommand {
    /// Passed unchanged to `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments, executed without a shell. Never empty.
    Argv(Vec<String>),
}

/// The command as the user would type it.
impl fmt::Display for RunCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunCommand::Shell(line) => f.write_str(line),
            RunCommand::Argv(words) => f.write_str(&words.join(" ")),
        }
    }
}

/// How a process gets its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortUse {
    /// The process binds the port itself.
    Binds {
        /// The port's name.
        name: String,
        /// Its number.
        port: u16,
    },
    /// devrun binds the port and listens before the start, and passes the socket to the process.
    Listens {
        /// The port's name.
        name: String,
        /// Its number.
        port: u16,
        /// The variable that holds the number of the socket's file descriptor.
        fd_env: String,
    },
}

impl PortUse {
    /// Returns the port's number.
    pub fn port(&self) -> u16 {
        match self {
            PortUse::Binds { port, .. } | PortUse::Listens { port, .. } => *port,
        }
    }
}

/// The state that a dependency must reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Its process exists.
    Started,
    /// Its readiness probe passed.
    Ready,
    /// It ended with status 0.
    Completed,
}

/// A part of the preparation that a process may have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// Node packages are installed.
    Node,
    /// The Python environment is up to date.
    Python,
    /// The branch database exists and is migrated.
    Database,
    /// The steps of `setup:` are done.
    Setup,
}

impl Need {
    /// Every need.
    pub const ALL: [Need; 4] = [Need::Node, Need::Python, Need::Database, Need::Setup];

    /// Returns the name used in configuration and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Need::Node => "node",
            Need::Python => "python",
            Need::Database => "database",
            Need::Setup => "setup",
        }
    }
}

/// The readiness probe of a process.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// The check that must pass.
    pub probe: Probe,
    /// Time between attempts.
    pub interval: Duration,
    /// Time one attempt may take.
    pub timeout: Duration,
    /// Time from the start after which the process counts as failed.
    pub deadline: Duration,
}

/// The check of a readiness probe.
#[derive(Clone, Debug)]
pub enum Probe {
    /// `GET path` on the process's port at 127.0.0.1.
    Http {
        /// Path, with a leading slash.
        path: String,
        /// `Host` header; `localhost:<port>` if absent. devrun adds the port to a value without one.
        host: Option<String>,
        /// The status that counts.
        status: Accepted,
        /// Port to ask.
        port: u16,
    },
    /// The port accepts a connection.
    Tcp {
        /// Port to ask.
        port: u16,
    },
    /// A line of the process's output matches.
    Log(regex::bytes::Regex),
    /// A command ends with status 0. It runs in the folder and environment of the process.
    Exec(RunCommand),
}

/// The HTTP status that makes a process ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accepted {
    /// Any 2xx or 3xx.
    #[default]
    Success,
    /// Any status below 500: the server answers, even if the page is missing or forbidden.
    Any,
    /// This status only.
    Only(u16),
}

impl Accepted {
    /// Returns true if `status` makes the process ready.
    pub fn takes(self, status: u16) -> bool {
        match self {
            Accepted::Success => (200..400).contains(&status),
            Accepted::Any => status < 500,
            Accepted::Only(wanted) => status == wanted,
        }
    }
}

/// Whether to start a process again when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// When to start it again.
    pub policy: RestartPolicy,
    /// Maximum number of restarts in a row. A process that stays up long enough resets the count.
    pub max: u32,
}

/// When to start a process again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never. Its end ends the run, except status 0 of a process that others wait for to complete.
    No,
    /// After every end except with status 0.
    OnFailure,
    /// After every end.
    Always,
}
