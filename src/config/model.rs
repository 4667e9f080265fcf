//! The checked configuration, in the same form for devrun.yaml, Procfiles and recognised projects.
//!
//! A value in which the user may write `${…}` stays a [`Template`], with its place, until the names that it uses are known.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::env_output::{EnvOutput, NamePattern};
use crate::config::interpolate::Template;
use crate::config::presets::{PresetProgram, ServicePreset};
use crate::config::provider::{ProviderChoice, ProviderSettings};
use crate::config::source::ConfigPosition;
use crate::config::url_forms::UrlForm;
use crate::context::WITHHELD;
pub use crate::plan::Accepted;
use crate::plan::{
    BoundVariable, ComposeService, Condition, LogLimits, Need, RepositoryNotice, Restart, RunCommand,
    ServiceData, Stdin,
};

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the project, if the file sets one.
    pub name: Option<String>,
    /// Base of every named port. Bases are at least [`SLOTS`](crate::config::port_base::SLOTS) apart; the slot is added to each.
    pub ports: BTreeMap<String, u16>,
    /// Env files relative to a worktree, weakest first.
    pub env_files: Vec<PathBuf>,
    /// Variables for every process, in the order written.
    pub env: Vec<(String, Template)>,
    /// Files that devrun writes for programs that it does not start, in the order written.
    pub env_out: Vec<EnvOutput>,
    /// Variables to read from the login shell.
    pub shell_env: Vec<NamePattern>,
    /// The folders in which to install packages.
    pub dependencies: Dependencies,
    /// Steps that make files which the product needs, in the order written.
    pub setup: Vec<SetupStep>,
    /// The branch database; `None` if the configuration asks for none.
    pub database: Option<DatabaseConfig>,
    /// Processes in the order written, at least one.
    pub processes: Vec<ProcessConfig>,
    /// The services, in the order written. Their processes are among `processes`.
    pub services: Vec<ServiceConfig>,
    /// The variables in `env` that services added, each with the name of its service.
    pub provided: BTreeMap<String, String>,
    /// The variables in `provided` whose values are not written in a file.
    pub computed_by_service: BTreeSet<String>,
    /// Compose files to compare with the services, and where each is written.
    pub compose: Vec<(PathBuf, ConfigPosition)>,
    /// Named URLs to print, in the order written.
    pub urls: Vec<(String, Template)>,
    /// Loopback ports in the repository's code, with the port that Node programs reach instead.
    pub redirects: BTreeMap<u16, Redirect>,
    /// How much of each process's output is kept.
    pub logs: LogLimits,
    /// True to prune in the background of a start, at most once a day.
    pub prunes_daily: bool,
    /// The files and the recognised parts that this configuration came from.
    pub provenance: Provenance,
}

impl Config {
    /// Returns the kinds of preparation that this configuration asks for.
    pub fn configured(&self) -> BTreeSet<Need> {
        let node = (!self.dependencies.node.is_empty()).then_some(Need::Node);
        let python = (!self.dependencies.python.is_empty()).then_some(Need::Python);
        let database = self.database.is_some().then_some(Need::Database);
        let setup = (!self.setup.is_empty()).then_some(Need::Setup);
        [node, python, database, setup].into_iter().flatten().collect()
    }

    /// Returns the variables that hold the branch database's URL; empty without a database.
    pub fn url_env(&self) -> &[UrlVariable] {
        self.database.as_ref().map_or(&[], |database| &database.url_env)
    }

    /// Returns the variables that only devrun itself reads: [`WITHHELD`], and secrets that the database provider names.
    pub fn withheld(&self) -> impl Iterator<Item = &str> {
        let named = self.database.iter().flat_map(|database| database.settings.variables(database.provider));
        WITHHELD.into_iter().chain(named)
    }

    /// Iterates over every template of `env:`, at the top level and in the processes.
    pub fn variables(&self) -> impl Iterator<Item = &(String, Template)> {
        self.env.iter().chain(self.processes.iter().flat_map(|process| &process.env))
    }
}

/// Where a configuration came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Names of the files that were read, such as `devrun.yaml` and `Procfile`.
    pub files: Vec<String>,
    /// One remark for each part that was recognised; empty when the user wrote all of it.
    pub recognised: Vec<String>,
    /// Warnings that stop nothing: ignored lines, ignored files.
    pub warnings: Vec<String>,
    /// Facts about the recognised parts that the user should know.
    pub notices: Vec<RepositoryNotice>,
    /// The services of the compose files that the configuration names.
    pub compose: Vec<ComposeService>,
    /// The YAML that recognition adds to the files; empty when it adds nothing.
    pub added: String,
    /// Variables that recognition gave their values, without those that the file sets itself.
    pub bindings: Vec<BoundVariable>,
}

impl Provenance {
    /// Returns the binding that gives the variable its value for `process`; without `process`, the binding for every
    /// process.
    pub fn binding(&self, name: &str, process: Option<&str>) -> Option<&BoundVariable> {
        self.bindings.iter().find(|one| one.name == name && one.process.as_deref() == process)
    }

    /// Returns one line: `devrun.yaml`, or `recognised: Next.js in frontend, FastAPI in backend (app.main:app)`.
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

/// Folders with packages to install, relative to the worktree. The first folder of each kind is the main one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// Folders with the lock files of Node packages.
    pub node: Vec<PathBuf>,
    /// Folders of Python projects.
    pub python: Vec<PathBuf>,
}

/// A step that runs when its inputs changed, before the processes start.
#[derive(Clone, Debug)]
pub struct SetupStep {
    pub name: String,
    pub run: RunCommand,
    /// The folder to run it in, relative to the worktree.
    pub directory: PathBuf,
    /// Globs relative to `directory`. Without any, the step runs at every start.
    pub inputs: Vec<String>,
    /// The preparation to wait for, if the step names any, and where.
    pub needs: Option<(BTreeSet<Need>, ConfigPosition)>,
}

/// The branch database a configuration asks for.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// The provider that makes it. Never [`ProviderChoice::None`]: `Config::database` is `None` in that case.
    pub provider: ProviderChoice,
    /// Its name.
    pub branch: Template,
    /// The database that it is a copy of; the provider's default if absent.
    pub parent: Option<Template>,
    /// Variables that hold its URL; never empty.
    pub url_env: Vec<UrlVariable>,
    /// How to migrate its schema.
    pub migrate: Option<Migrate>,
    /// How to fill the parent after its first migrations.
    pub seed: Option<SeedConfig>,
    /// Settings of the providers.
    pub settings: ProviderSettings,
}

/// A variable that holds the branch database's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlVariable {
    pub name: String,
    /// The form of the URL in it.
    pub form: UrlForm,
    /// Where it is written.
    pub at: ConfigPosition,
}

/// How to migrate a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrate {
    /// The command that migrates.
    pub run: RunCommand,
    /// The folder to run it in, relative to the worktree.
    pub directory: PathBuf,
    /// Globs relative to `directory`. A change of a file that matches means that the migrations must run.
    pub inputs: Vec<String>,
    /// True when `inputs` are SQL files. `run` is then psql, which applies each file once.
    pub is_sql: bool,
}

/// How to fill a parent database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedConfig {
    pub input: SeedInput,
    /// The folder to run a command in, relative to the worktree.
    pub directory: PathBuf,
}

/// The source of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeedInput {
    Run(RunCommand),
    /// A file of SQL or a dump, relative to the worktree.
    File(PathBuf),
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of devrun.yaml that is on or off")]
pub struct ProcessConfig {
    pub name: String,
    /// Where it is written.
    pub at: ConfigPosition,
    /// The command, exactly as written: `${…}` is not replaced in it.
    pub run: RunCommand,
    /// The folder to run it in, relative to the worktree.
    pub directory: PathBuf,
    /// Env files for this process only, relative to the top of the worktree, weakest first.
    pub env_files: Vec<PathBuf>,
    /// Variables for this process only, in the order written.
    pub env: Vec<(String, Template)>,
    /// The port it uses; no two processes have the same.
    pub port: Option<PortRef>,
    /// Processes to wait for, each with the state that it must reach. All of them exist, and there is no cycle.
    pub depends_on: Vec<(String, Condition)>,
    /// Preparation that must finish before the process starts.
    pub needs: BTreeSet<Need>,
    /// Its readiness probe.
    pub ready: Option<Ready>,
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
    pub service: Option<ServiceProcess>,
}

/// The process of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceProcess {
    pub preset: Option<&'static ServicePreset>,
    /// Programs of which the first one that is installed runs; empty if the file has a command.
    pub programs: &'static [PresetProgram],
    /// The treatment of its data at the start of a run; `None` if it has no folder for data.
    pub data: Option<ServiceData>,
}

/// An entry of `services`.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    pub name: String,
    /// Where it is written.
    pub at: ConfigPosition,
    pub preset: Option<&'static ServicePreset>,
    /// The command, instead of that of the preset.
    pub run: Option<RunCommand>,
    /// The folder to run it in, relative to the worktree.
    pub directory: PathBuf,
    /// The base of its port, and where it is written.
    pub base: Option<(u16, ConfigPosition)>,
    pub ready: Option<Ready>,
    /// Variables for every process, instead of those of the preset.
    pub env: Option<Vec<(String, Template)>>,
    pub data: Option<ServiceData>,
    /// The preparation to wait for, if the entry names any, and where.
    pub needs: Option<(BTreeSet<Need>, ConfigPosition)>,
    pub autostart: bool,
    /// The application of a worker.
    pub app: Option<Template>,
    /// The queues of a worker; empty for the usual ones.
    pub queues: Vec<Template>,
    /// The server that several worktrees share, instead of a process.
    pub shared: Option<SharedServer>,
}

impl ServiceConfig {
    /// Returns true if other processes wait for it.
    pub fn is_server(&self) -> bool {
        self.shared.is_none() && self.preset.is_none_or(ServicePreset::is_server)
    }
}

/// A server that several worktrees share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedServer {
    /// Its URL for this worktree.
    pub url: Template,
    pub by: SharedBy,
    /// Where it is written.
    pub at: ConfigPosition,
}

/// How worktrees are kept apart on a shared server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedBy {
    /// By the number of the database.
    Database,
    /// By a prefix of keys.
    Prefix,
}

/// The target of connections to a port that is hard-coded in the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// A name among `ports`.
    pub port: String,
    /// Where it is written.
    pub at: ConfigPosition,
}

/// The port of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRef {
    /// Its name among `ports`.
    pub name: String,
    /// True when devrun binds it and passes the socket to the process (`listen`).
    pub listens: bool,
    /// False when devrun gave a port to a Procfile's process that does not ask for one; it may not bind it.
    pub asked: bool,
    /// Where it is written.
    pub at: ConfigPosition,
}

/// The readiness probe of a process.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The check that must pass.
    pub probe: ProbeConfig,
    /// Time between attempts.
    pub interval: Duration,
    /// Time one attempt may take.
    pub timeout: Duration,
    /// Time from the start after which the process counts as failed.
    pub deadline: Duration,
}

/// The check of a readiness probe, before ports are known.
#[derive(Clone, Debug)]
pub enum ProbeConfig {
    /// `GET path` on the process's port.
    Http {
        /// Path, with a leading slash.
        path: Template,
        /// `Host` header.
        host: Option<Template>,
        /// The status that counts.
        status: Accepted,
    },
    /// The process's port accepts a connection.
    Tcp,
    /// A line of the process's output matches.
    Log(regex::bytes::Regex),
    /// A command ends with status 0.
    Exec(RunCommand),
}
