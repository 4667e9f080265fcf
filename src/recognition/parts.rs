//! The processes of a repository, derived from its facts, and the parts that recognition could not resolve.
//!
//! Reads manifests, configurations and SQL files through [`Tree`]; everything else comes from the facts. Each part names the file and
//! line that it was derived from.

pub mod application;
pub mod backend;
pub mod command_line;
pub mod database;
pub mod django;
pub mod frontend;
pub mod left_out;
pub mod migrations;
pub mod module;
pub mod node;
pub mod other_server;
pub mod probe_page;
pub mod procfile;
pub mod python;
pub mod redis;
pub mod server;
pub mod sql;
pub mod tree;
pub mod worker;

use std::path::{Path, PathBuf};

use self::tree::Tree;
use super::facts::{Facts, FileLine};

/// Everything that recognition found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Processes, backends first.
    pub processes: Vec<Part>,
    /// Folders of Node packages, where the lock files are; the main one first.
    pub node: Vec<PathBuf>,
    /// Folders of Python projects; the main one first.
    pub python: Vec<PathBuf>,
    /// How the database gets its schema. May be `None` although `wants_database` is true.
    pub migrations: Option<Migrations>,
    /// True when a part reads a Postgres URL or parts of one, or a migration tool was found.
    pub wants_database: bool,
    /// The line that shows that a part expects Redis; `None` if no part does.
    pub wants_redis: Option<FileLine>,
    /// Parts that were found but could not be resolved.
    pub left_out: Vec<LeftOut>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Name of the process, and of its port.
    pub name: String,
    /// The kind of program.
    pub kind: PartKind,
    /// The framework, if a rule depends on it.
    pub framework: Framework,
    /// Folder it runs in, relative to the top.
    pub directory: PathBuf,
    /// Folders with the code of this part: its own folder, and those of workspace packages that it depends on.
    pub sources: Vec<PathBuf>,
    /// The shell command; empty for a service, whose preset has one.
    pub run: String,
    /// How it gets its port.
    pub port: PartPort,
    /// Keys of `ready:`, as YAML in one line: `http: /healthz`.
    pub ready: Option<String>,
    /// Ports that the repository uses for this part when it runs alone: from scripts and compose files, else the
    /// server's default.
    pub usual_ports: Vec<u16>,
    /// Names of this part in compose files.
    pub services: Vec<String>,
    /// The line that this was derived from.
    pub at: Option<FileLine>,
    /// A short description: `FastAPI in backend (app.main:app)`.
    pub remark: String,
}

/// The kind of program that a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// Serves an API.
    Backend,
    /// Serves pages to a browser.
    Frontend,
    /// Works in the background, without a port; or an entry of a Procfile, which may have a port.
    Worker,
    /// Runs to completion before the others start.
    Job,
    /// A server beside the product, such as Redis.
    Service,
}

/// A framework that some rule treats specially.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framework {
    NextJs,
    Celery,
    /// Any other, or none.
    #[default]
    Other,
}

/// How a part gets its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartPort {
    /// It has no port.
    None,
    /// It binds the port itself.
    Binds(u16),
    /// devrun passes a listening socket to it.
    Listens(u16),
}

/// How to migrate the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrations {
    /// The shell command.
    pub run: String,
    /// Folder it runs in.
    pub directory: PathBuf,
    /// Patterns of files relative to `directory`. A change of a file that matches means that the migrations must run.
    pub inputs: Vec<String>,
    /// The line that this was derived from.
    pub at: Option<FileLine>,
    /// A short description: `Alembic in backend`.
    pub remark: String,
    /// True when `inputs` are SQL files that are applied once each. `run` is then empty.
    pub is_sql: bool,
}

/// The application's own database, if it is not a Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherDatabase {
    /// Its kind, such as `SQLite`.
    pub kind: &'static str,
    /// True when it is a file, so that each worktree has its own.
    pub is_file: bool,
    /// The line that gives its address.
    pub at: FileLine,
}

/// A part that was found but could not be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The manifest, script or service that names it.
    pub at: FileLine,
    /// One sentence that says what it names and what was not found.
    pub why: String,
    /// Lines of devrun.yaml that would add it.
    pub lines: String,
    /// The choices, if there are several.
    pub candidates: Vec<String>,
}

/// Port base of the first backend.
const BACKEND: u16 = 8100;

/// Adds the workers to `parts`. Without a Python application, devrun installs no Python packages, so it leaves the workers out.
fn add_workers(
    parts: &mut Parts,
    tree: &Tree<'_>,
    projects: &[python::PythonProject],
    installed: &mut Vec<PathBuf>,
    taken: &mut Vec<String>,
) {
    if installed.is_empty() {
        let workers = worker::parts(tree, projects, &mut Vec::new(), &mut taken.clone());
        if workers.is_empty() {
            parts.left_out.extend(worker::without_process(tree, projects, &workers));
        }
        parts.left_out.extend(workers.iter().map(worker::without_application));
        return;
    }
    let workers = worker::parts(tree, projects, installed, taken);
    parts.left_out.extend(worker::without_process(tree, projects, &workers));
    parts.processes.extend(workers);
}

/// Finds the processes of the worktree at `root` from its `facts`. `available` returns whether a program is on PATH or can be
/// downloaded.
pub fn find(root: &Path, facts: &Facts, available: &dyn Fn(&str) -> bool) -> Parts {
    let tree = Tree::new(root, facts);
    let projects = python::projects(&tree);
    let packages = node::packages(&tree);
    let (served, beside) = application::find(&tree, &projects);
    let mut parts = Parts::default();
    let mut taken: Vec<String> = Vec::new();
    let mut installed: Vec<PathBuf> = Vec::new();
    let mut index = 0;
    for served in &served {
        let home = python::packages(&tree, &served.project);
        let name = if installed.is_empty() {
            "backend".to_string()
        } else {
            frontend::own_name(&served.project, "backend", &taken)
        };
        let part = backend::part(&tree, served, &name, index);
        if !python::installs(&tree, &mut installed, &home, &part.directory) {
            parts.left_out.push(left_out::elsewhere(served, &part));
            continue;
        }
        index += 1;
        taken.push(name);
        parts.processes.push(part);
    }
    if parts.processes.is_empty()
        && let Some(part) = django::part(&tree, &projects, BACKEND)
    {
        taken.push(part.name.clone());
        parts.processes.push(part);
    }
    let home = parts.processes.first().map(|part| part.directory.clone());
    if installed.is_empty()
        && let Some(home) = &home
    {
        let covering = python::covering(&projects, &home.join("manage.py"));
        installed.extend(covering.map(|project| python::packages(&tree, &project.folder)));
    }

    let frontends = frontend::find(&tree, &packages);
    let (shown, left_out) = frontend::parts(&tree, &packages, &frontends, &mut taken);
    parts.left_out.extend(frontend::without_process(&tree, &packages, &frontends));
    parts.left_out.extend(left_out);
    for frontend in frontends.iter().filter(|frontend| shown.iter().any(|part| frontend.is(part))) {
        if !parts.node.contains(&frontend.install) {
            parts.node.push(frontend.install.clone());
        }
    }
    parts.processes.extend(shown);

    parts.migrations = migrations::find(&tree, &projects, &packages, home.as_deref());
    parts.wants_database = parts.migrations.is_some() || database::is_wanted(&tree, &projects, &packages);
    if parts.migrations.is_none() && parts.wants_database {
        match sql::find(&tree) {
            Ok(found) => parts.migrations = found,
            Err(left_out) => parts.left_out.push(left_out),
        }
    }
    let no_process = parts.processes.is_empty();
    if no_process {
        // Only the Procfile says what to run. Its packages and database are prepared as for any other repository.
        installed.extend(projects.first().map(|project| python::packages(&tree, &project.folder)));
        let first = packages.first();
        parts.node.extend(first.map(|package| node::install_folder(&tree, &packages, &package.folder)));
    }
    add_workers(&mut parts, &tree, &projects, &mut installed, &mut taken);
    parts.python = installed;
    // The configuration itself reads a Procfile without packages and database, as foreman does.
    let is_bare = parts.processes.is_empty()
        && parts.python.is_empty()
        && parts.node.is_empty()
        && !parts.wants_database;
    if !is_bare {
        let extra = procfile::parts(&facts.commands, &parts.processes, parts.migrations.as_ref(), &mut taken);
        parts.processes.extend(extra);
    }
    let silent = left_out::without_process(&tree, &projects, &served, &parts);
    parts.left_out.extend(silent);
    parts.left_out.extend(beside.iter().map(left_out::another));
    if parts.processes.is_empty() {
        return Parts { left_out: parts.left_out, ..Parts::default() };
    }
    if let Some(at) = redis::expected(&tree) {
        match redis::part(&tree, &at, available) {
            Ok(part) => parts.processes.push(part),
            Err(left_out) => parts.left_out.push(left_out),
        }
        parts.wants_redis = Some(at);
    }
    probe_page::choose(&tree, &mut parts.processes, facts.tenants.first());
    if let Some(migrations) = &parts.migrations
        && let Some(package) = packages.iter().find(|package| package.folder == migrations.directory)
    {
        let install = node::install_folder(&tree, &packages, &package.folder);
        if parts.node.is_empty() || (node::is_locked(&tree, &install) && !parts.node.contains(&install)) {
            parts.node.push(install);
        }
    }
    parts
}

impl Parts {
    /// Removes the branch database, because the application's own database is of another kind. For a database in a
    /// file, the migrations become a job that runs before everything else; for a server that all worktrees share, they
    /// do not run.
    pub fn without_postgres(&mut self, other: &OtherDatabase) {
        self.wants_database = false;
        let Some(migrations) = self.migrations.take() else { return };
        if migrations.is_sql {
            // SQL files for Postgres are useless for another kind of database.
        } else if other.is_file {
            self.processes.push(Part {
                name: "migrate".into(),
                kind: PartKind::Job,
                framework: Framework::Other,
                directory: migrations.directory,
                sources: Vec::new(),
                run: migrations.run,
                port: PartPort::None,
                ready: None,
                usual_ports: Vec::new(),
                services: Vec::new(),
                at: migrations.at,
                remark: migrations.remark,
            });
        } else {
            self.left_out.push(LeftOut {
                at: other.at.clone(),
                why: format!(
                    "the application uses {}, for which devrun cannot create branch databases: every worktree uses the same \
                     database, and devrun does not migrate it",
                    other.kind
                ),
                lines: String::new(),
                candidates: Vec::new(),
            });
        }
    }
}

#[cfg(test)]
mod tests;
