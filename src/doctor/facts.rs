//! The facts from which `findings` makes findings. No behaviour. A fact that could not be gathered has its empty value, from which no
//! finding follows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::cleanup::facts::RunFacts;
use crate::cleanup::servers::StrayServer;
use crate::error::Report;
use crate::plan::{FileLine, ForeignVariable, Notice};
use crate::recognition::contract::Remark;
use crate::worktree::ListedWorktree;

/// All facts about one worktree, its repository and this machine.
#[derive(Debug, Default)]
pub struct DoctorFacts {
    /// Top level of this worktree.
    pub root: PathBuf,
    /// The worktrees that git lists, this one included, and whether the folder of each exists.
    pub worktrees: Vec<(ListedWorktree, bool)>,
    pub configuration: ConfigurationFacts,
    pub code: CodeFacts,
    pub tools: ToolFacts,
    pub packages: Vec<PackageFolder>,
    pub venvs: Vec<VenvFolder>,
    pub nested: NestedFacts,
    pub ignored: IgnoreFacts,
    pub hooks: Option<HookFacts>,
    /// The leftovers of runs in the worktrees of the repository.
    pub runs: Vec<RunFacts>,
    pub servers: Vec<StrayServer>,
    pub machine: MachineFacts,
    /// The checks that did not finish, each with the reason.
    pub unfinished: Vec<(&'static str, String)>,
}

/// The resolved configuration.
#[derive(Debug, Default)]
pub struct ConfigurationFacts {
    /// Why there is none.
    pub refusal: Option<Report>,
    /// Folders with Node packages and Python projects, relative to the worktree.
    pub node: Vec<PathBuf>,
    pub python: Vec<PathBuf>,
    /// True if devrun starts a Postgres for this worktree.
    pub has_local_database: bool,
    pub processes: Vec<ConfiguredProcess>,
    /// Services without an installed program.
    pub missing_services: Vec<Report>,
    /// Ports of this worktree, by name.
    pub ports: BTreeMap<String, u16>,
    /// The names of these ports, by their bases.
    pub bases: BTreeMap<u16, String>,
    /// Loopback ports that Node programs reach at another port.
    pub redirects: BTreeSet<u16>,
    /// URLs with a host on this machine that devrun prints, and variables that hold such a URL.
    pub urls: Vec<LocalAddress>,
    pub variables: Vec<LocalAddress>,
    /// Why the provider of the branch database cannot be used, and the line that asks for a database.
    pub unreachable_database: Option<(Report, Option<FileLine>)>,
    /// Variables that name another Postgres, in one notice.
    pub other_databases: Option<Notice>,
    pub foreign: Vec<ForeignVariable>,
    pub env_files: BTreeSet<PathBuf>,
    /// Files of `env_out`, with the line of each.
    pub env_out: Vec<(PathBuf, FileLine)>,
}

/// A process and its command.
#[derive(Debug, Default)]
pub struct ConfiguredProcess {
    pub name: String,
    /// Where it is written; `None` if recognition made it.
    pub at: Option<FileLine>,
    pub run: String,
    /// Relative to the worktree.
    pub directory: PathBuf,
    /// The folder of its Python package in `directory`, if the command names a module in one.
    pub package: Option<PathBuf>,
}

/// A URL on this machine, without its other parts, which may be secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalAddress {
    /// The name of the URL or variable.
    pub name: String,
    pub host: String,
    pub port: Option<u16>,
    pub at: Option<FileLine>,
}

/// Facts that recognition read from the code.
#[derive(Debug, Default)]
pub struct CodeFacts {
    pub remarks: Vec<Remark>,
    /// Ports that the repository uses when it runs alone, with the part that has each.
    pub usual_ports: BTreeMap<u16, String>,
    /// Packages of logins with cookies, with the line that names each.
    pub logins: Vec<(String, FileLine)>,
    /// The limits that stopped the reading early.
    pub limits: Vec<String>,
}

/// Programs of this machine. A version is `None` if the program does not print one in time.
#[derive(Debug, Default)]
pub struct ToolFacts {
    /// `None` if no package needs Node, or if Node is not on PATH.
    pub node: Option<InstalledTool>,
    /// True if packages need Node and Node is not on PATH.
    pub lacks_node: bool,
    /// Ranges of `engines.node`.
    pub engines: Vec<(FileLine, String)>,
    /// Versions in `.nvmrc` and `.node-version`.
    pub pinned: Vec<(PathBuf, String)>,
    pub managers: Vec<WantedManager>,
    /// Remarks on lock files of several package managers.
    pub lockfiles: Vec<String>,
    /// Programs that devrun would have to download first.
    pub lacks_python: bool,
    pub lacks_postgres: bool,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledTool {
    pub path: PathBuf,
    pub version: Option<String>,
}

/// A package manager that a folder needs.
#[derive(Debug)]
pub struct WantedManager {
    pub program: &'static str,
    /// The exact version that the manifest pins.
    pub pin: Option<String>,
    pub manifest: PathBuf,
    pub installed: Option<InstalledTool>,
}

/// The packages of a folder with a manifest.
#[derive(Debug, Default)]
pub struct PackageFolder {
    /// Relative to the worktree.
    pub folder: PathBuf,
    /// True if `node_modules`, or the file of Yarn that replaces it, exists in the folder or above it in the worktree.
    pub is_installed: bool,
    /// The target of `node_modules`, if that is a link.
    pub link: Option<PathBuf>,
    /// The nearest `node_modules` above the worktree.
    pub outer: Option<PathBuf>,
}

/// A virtual environment.
#[derive(Debug, Default)]
pub struct VenvFolder {
    /// Relative to the worktree.
    pub path: PathBuf,
    pub link: Option<PathBuf>,
    /// The path that its scripts name, if that is another environment.
    pub made_for: Option<PathBuf>,
}

/// Facts about worktrees inside this one, and this one inside another checkout.
#[derive(Debug, Default)]
pub struct NestedFacts {
    /// Relative paths of worktrees in the folder of this one.
    pub inside: Vec<PathBuf>,
    /// Configuration files of tools that search the whole folder.
    pub tools: Vec<SearchingTool>,
    pub next: Vec<NextApplication>,
    /// A lock file of packages in a folder above this worktree.
    pub outer_lockfile: Option<PathBuf>,
}

/// The kind of tool that searches a folder for files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchingToolKind {
    Jest,
    Vitest,
    Eslint,
    TypeScript,
}

/// A tool at the top of this worktree.
#[derive(Debug)]
pub struct SearchingTool {
    pub kind: SearchingToolKind,
    /// Its configuration; `package.json` if it has no other.
    pub file: PathBuf,
    pub text: String,
}

/// An application of Next.js.
#[derive(Debug)]
pub struct NextApplication {
    /// The configuration, or the manifest if there is none.
    pub file: PathBuf,
    /// True if the configuration names the root of the project.
    pub has_root: bool,
    /// The installed version, or the lowest that the manifest allows.
    pub version: Option<String>,
    /// The path from the application to the root of the workspace: `..`, or empty.
    pub up: PathBuf,
}

/// Files that git should ignore and does not.
#[derive(Debug, Default)]
pub struct IgnoreFacts {
    /// The shared git directory.
    pub common_dir: Option<PathBuf>,
    /// Existing env files that are neither ignored nor tracked.
    pub env_files: Vec<PathBuf>,
    /// Files of `env_out` that are not ignored, and whether git tracks them.
    pub env_out: Vec<(PathBuf, FileLine, bool)>,
    /// Worktrees inside another one that are not ignored there: the outer one, and the relative path.
    pub worktrees: Vec<(PathBuf, PathBuf)>,
}

/// The state of devrun's block in git's post-checkout hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookState {
    Missing,
    Outdated,
    Installed,
    /// lefthook makes the hooks, so the block is in its configuration.
    Managed,
    /// git does not run the hook, or devrun does not edit it.
    Ignored,
}

/// Facts about git's hooks.
#[derive(Clone, Debug)]
pub struct HookFacts {
    /// The hook that git runs after a checkout.
    pub file: PathBuf,
    pub state: HookState,
    /// Why git does not run it.
    pub why: Option<String>,
    /// The folder that `core.hooksPath` names, if it does not exist and husky does not make it.
    pub missing_folder: Option<PathBuf>,
    /// True if the block would find devrun.
    pub finds_program: bool,
}

/// Limits of this machine; `None` if a limit is unknown or absent.
#[derive(Debug, Default)]
pub struct MachineFacts {
    /// Folders that devrun writes to, with the free bytes of each disk.
    pub disks: Vec<(PathBuf, u64)>,
    pub open_files: Option<u64>,
    pub watches: Option<u64>,
    pub watch_instances: Option<u64>,
    /// The size of `/dev/shm` in bytes.
    pub shared_memory: Option<u64>,
    /// True if programs other than browsers resolve every name below `localhost`.
    pub resolves_localhost: Option<bool>,
    /// Names in `/etc/hosts`.
    pub known_hosts: BTreeSet<String>,
}
