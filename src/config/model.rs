//! The checked configuration: what the rest of devrun sees, whatever file it came from.
//!
//! Values only. Anything a person may write with `${…}` stays a [`Template`] with its place until the names it uses are
//! known.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::address::Form;
use crate::config::interpolate::Template;
use crate::config::source::At;
use crate::plan::{Condition, LogLimits, Need, Restart, Run};

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the project, when the file says one.
    pub name: Option<String>,
    /// Base of every named port, at least [`SLOTS`] apart from each other; the slot is added.
    pub ports: BTreeMap<String, u16>,
    /// Env files relative to a worktree, weakest first.
    pub env_files: Vec<PathBuf>,
    /// Variables for every process, in the order written.
    pub env: Vec<(String, Template)>,
    /// Whose packages to install.
    pub dependencies: Dependencies,
    /// The branch database; `None` when there is none to have.
    pub database: Option<Database>,
    /// Processes in the order written, at least one.
    pub processes: Vec<Process>,
    /// Named URLs to print, in the order written.
    pub urls: Vec<(String, Template)>,
    /// How much of each process's output is kept.
    pub logs: LogLimits,
    /// Where all this came from.
    pub provenance: Provenance,
}

/// How many slots there are: bases must be this far apart, or two worktrees could meet on one port.
pub const SLOTS: u16 = 100;

impl Config {
    /// The preparation that this configuration knows at all.
    pub fn configured(&self) -> BTreeSet<Need> {
        let node = self.dependencies.node.is_some().then_some(Need::Node);
        let python = self.dependencies.python.is_some().then_some(Need::Python);
        let database = self.database.is_some().then_some(Need::Database);
        [node, python, database].into_iter().flatten().collect()
    }

    /// The variables that hold the branch database's URL; empty without a database.
    pub fn url_env(&self) -> &[UrlVariable] {
        self.database.as_ref().map_or(&[], |database| &database.url_env)
    }

    /// Every template of `env:`, at the top and of the processes.
    pub fn variables(&self) -> impl Iterator<Item = &(String, Template)> {
        self.env.iter().chain(self.processes.iter().flat_map(|process| &process.env))
    }
}

/// Where a configuration came from, for people who wonder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Files read, by the names people know them by: `devrun.yaml`, `Procfile`.
    pub files: Vec<String>,
    /// What was recognised rather than written, one remark each; empty when all of it was written.
    pub recognised: Vec<String>,
    /// What should be looked at one day: ignored lines, ignored files.
    pub warnings: Vec<String>,
    /// Facts about what was recognised that a person should know.
    pub notices: Vec<Notice>,
}

/// A fact about what was recognised that a person should know: a part that was left out, an address that no variable
/// changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// One sentence, with the file and line that it is about.
    pub text: String,
    /// Lines to write.
    pub fix: Option<String>,
}

impl Provenance {
    /// One line: `devrun.yaml`, or `recognised: Next.js in frontend, FastAPI in backend (app.main:app)`.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        if !self.files.is_empty() {
            parts.push(self.files.join(", "));
        }
        if !self.recognised.is_empty() {
            parts.push(format!("recognised: {}", self.recognised.join(", ")));
        }
        parts.join("; ")
    }
}

/// Whose packages to install: folders relative to the worktree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// Where the lock file of the Node packages is.
    pub node: Option<PathBuf>,
    /// Where the Python project is.
    pub python: Option<PathBuf>,
}

/// The branch database a configuration asks for.
#[derive(Clone, Debug)]
pub struct Database {
    /// Who makes it. Never [`Provider::None`]: then there is no database at all.
    pub provider: Provider,
    /// Its name.
    pub branch: Template,
    /// What it is a copy of; the provider's default when absent.
    pub parent: Option<Template>,
    /// Variables that get its URL; never empty.
    pub url_env: Vec<UrlVariable>,
    /// How its schema is brought in step.
    pub migrate: Option<Migrate>,
    /// Settings of the provider `local`.
    pub local: Local,
    /// Settings of the provider `neon`.
    pub neon: Neon,
    /// Image of the provider `docker`.
    pub docker_image: Option<Template>,
    /// URL of the provider `url`; the first of `url_env` in the environment when absent.
    pub url: Option<Template>,
    /// What the provider `command` runs; present exactly with it.
    pub command: Option<Command>,
}

/// A variable that gets the branch database's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlVariable {
    /// Its name.
    pub name: String,
    /// The form of the URL in it.
    pub form: Form,
}

/// Who makes branch databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Neon when its key and project are there, else local.
    Auto,
    /// A server of devrun's own on this machine.
    Local,
    /// Neon branches.
    Neon,
    /// A container.
    Docker,
    /// A database that is there already.
    Url,
    /// A command of the project's.
    Command,
    /// Nobody: no database.
    None,
}

impl Provider {
    /// Every provider, by its word.
    pub const WORDS: [(&'static str, Provider); 7] = [
        ("auto", Provider::Auto),
        ("local", Provider::Local),
        ("neon", Provider::Neon),
        ("docker", Provider::Docker),
        ("url", Provider::Url),
        ("command", Provider::Command),
        ("none", Provider::None),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Provider::WORDS.iter().find(|(_, provider)| *provider == self).map_or("?", |(word, _)| word)
    }
}

/// How a schema is brought in step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrate {
    /// What to run.
    pub run: Run,
    /// Where, relative to the worktree.
    pub directory: PathBuf,
    /// Globs relative to `directory`: the files whose change means there is something to do.
    pub inputs: Vec<String>,
}

/// Settings of the provider `local`.
#[derive(Clone, Debug, Default)]
pub struct Local {
    /// Folder of the server's programs (`initdb`, `postgres`, …).
    pub bin: Option<Template>,
}

/// Settings of the provider `neon`.
#[derive(Clone, Debug, Default)]
pub struct Neon {
    /// Project; `NEON_PROJECT_ID` of the environment when absent.
    pub project_id: Option<Template>,
    /// Parent branch, where `database.parent` says nothing.
    pub parent: Option<Template>,
    /// Database on the branch.
    pub database: Option<Template>,
    /// Role to connect as.
    pub role: Option<Template>,
    /// Give the application the pooled URL.
    pub pooled: Option<bool>,
    /// Copy the parent's schema without its rows.
    pub schema_only: Option<bool>,
    /// How long until Neon removes the branch by itself.
    pub expires_in: Option<Duration>,
    /// Idle time until its compute sleeps.
    pub suspend_timeout: Option<Duration>,
    /// Least and most compute units of its compute.
    pub compute_units: Option<(f64, f64)>,
}

/// What the provider `command` runs. The branch's name is in `DEVRUN_DATABASE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Makes sure the database exists and prints its URL on the last line.
    pub ensure: Run,
    /// Removes it.
    pub drop: Option<Run>,
}

/// One process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// Where it is written.
    pub at: At,
    /// What to execute; nothing in it is replaced.
    pub run: Run,
    /// Where, relative to the worktree.
    pub directory: PathBuf,
    /// Variables of its own, in the order written.
    pub env: Vec<(String, Template)>,
    /// The port it uses; no two processes have the same.
    pub port: Option<PortRef>,
    /// Processes that must have got somewhere first: all known, never in a circle.
    pub depends_on: Vec<(String, Condition)>,
    /// Preparation that must be done first.
    pub needs: BTreeSet<Need>,
    /// How to know that it is ready.
    pub ready: Option<Ready>,
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

/// The port a process uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRef {
    /// Its name among `ports`.
    pub name: String,
    /// True when devrun binds it and hands it over (`listen`).
    pub listens: bool,
    /// True when Node programs are made to take what is handed over.
    pub node: bool,
    /// False when a Procfile's process got it without asking: whether it binds it is not known.
    pub asked: bool,
    /// Where it is written.
    pub at: At,
}

/// How to know that a process is ready.
#[derive(Clone, Debug)]
pub struct Ready {
    /// What to look at.
    pub probe: Probe,
    /// Time between attempts.
    pub interval: Duration,
    /// Time one attempt may take.
    pub timeout: Duration,
    /// Time until it counts as failed.
    pub deadline: Duration,
}

/// What a readiness probe looks at, before ports are known.
#[derive(Clone, Debug)]
pub enum Probe {
    /// `GET path` on the process's port.
    Http {
        /// Path, with a leading slash.
        path: Template,
        /// `Host` header.
        host: Option<Template>,
        /// The status that counts.
        status: Option<u16>,
    },
    /// The process's port accepts a connection.
    Tcp,
    /// A line of its output matches.
    Log(regex::bytes::Regex),
    /// A command ends with status 0.
    Exec(Run),
}
