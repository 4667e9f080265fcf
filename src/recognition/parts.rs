//! The processes that a repository consists of, found among its facts, and the parts that were not understood.
//!
//! Values only; each part names the file and line that it was concluded from.

pub mod application;
pub mod backend;
pub mod database;
pub mod django;
pub mod frontend;
pub mod migrations;
pub mod module;
pub mod node;
pub mod procfile;
pub mod python;
pub mod redis;
pub mod server;
pub mod tree;
pub mod words;
pub mod worker;

use std::path::{Path, PathBuf};

use self::python::Project;
use self::tree::Tree;
use super::facts::{Facts, Spot};

/// Everything that was recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Processes, backends first.
    pub processes: Vec<Part>,
    /// Folder of the Node packages, where the lock file is.
    pub node: Option<PathBuf>,
    /// Folder of the Python project.
    pub python: Option<PathBuf>,
    /// How the database gets its schema; a database without one is wanted when `wants_database` is true.
    pub migrations: Option<Migrations>,
    /// True when a part reads a Postgres URL or its pieces, or a migration tool was found.
    pub wants_database: bool,
    /// True when a part expects Redis.
    pub wants_redis: Option<Spot>,
    /// Parts that were seen and not understood.
    pub left_out: Vec<LeftOut>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Name of the process, and of its port.
    pub name: String,
    /// What kind of program it is.
    pub kind: Kind,
    /// Folder it runs in, relative to the top.
    pub directory: PathBuf,
    /// Folders whose code is this part's: its own, and those of workspace packages that it depends on.
    pub sources: Vec<PathBuf>,
    /// The shell command.
    pub run: String,
    /// How it comes to its port.
    pub port: PartPort,
    /// Keys of `ready:`, as YAML in one line: `http: /healthz`.
    pub ready: Option<String>,
    /// Ports that the repository gives this part when it runs alone: from scripts and compose files, else the server's
    /// default.
    pub usual_ports: Vec<u16>,
    /// Names that compose files give this part.
    pub services: Vec<String>,
    /// Where this was concluded from.
    pub at: Option<Spot>,
    /// The conclusion in a few words: `FastAPI in backend (app.main:app)`.
    pub remark: String,
}

/// What kind of program a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Serves an API.
    Backend,
    /// Serves pages to a browser.
    Frontend,
    /// Works without a port of its own.
    Worker,
    /// Ends by itself before the others start.
    Job,
    /// A server beside the product, such as Redis.
    Service,
}

/// How a part comes to its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartPort {
    /// It has none.
    None,
    /// It binds the port itself.
    Binds(u16),
    /// devrun hands over a socket that listens already.
    Listens(u16),
}

/// How the schema of the database comes to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrations {
    /// The shell command.
    pub run: String,
    /// Folder it runs in.
    pub directory: PathBuf,
    /// Patterns of the files whose change means work, relative to `directory`.
    pub inputs: Vec<String>,
    /// Where this was concluded from.
    pub at: Option<Spot>,
    /// The conclusion in a few words: `Alembic in backend`.
    pub remark: String,
}

/// A part that was seen and not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The manifest, script or service that names it.
    pub at: Spot,
    /// One sentence: what it names and what was not found.
    pub why: String,
    /// Lines of devrun.yaml that would add it.
    pub lines: String,
    /// The choices, when there are several.
    pub candidates: Vec<String>,
}

/// The port of the first backend; the slot is added.
const BACKEND: u16 = 8100;

/// Finds the processes of the worktree at `root` among its `facts`. `available` says whether a program is on PATH.
pub fn find(root: &Path, facts: &Facts, available: &dyn Fn(&str) -> bool) -> Parts {
    let tree = Tree::new(root, facts);
    let projects = python::projects(&tree);
    let packages = node::packages(&tree);
    let (served, beside) = application::find(&tree, &projects);
    let mut parts = Parts::default();
    let mut taken: Vec<String> = Vec::new();
    let installed = served.first().map(|served| python::packages(&tree, &served.project));
    for (index, served) in (0..).zip(&served) {
        let home = python::packages(&tree, &served.project);
        let name = if index == 0 {
            "backend".to_string()
        } else {
            frontend::own_name(&served.project, "backend", &taken)
        };
        if Some(&home) != installed.as_ref() {
            parts.left_out.push(elsewhere(&tree, served, &name));
            continue;
        }
        taken.push(name.clone());
        parts.processes.push(backend::part(&tree, served, &name, index));
    }
    if parts.processes.is_empty()
        && let Some(part) = django::part(&tree, &projects, BACKEND)
    {
        taken.push(part.name.clone());
        parts.processes.push(part);
    }
    let home = parts.processes.first().map(|part| part.directory.clone());
    parts.python = installed.or_else(|| {
        let covering = python::covering(&projects, &home.as_ref()?.join("manage.py"))?;
        Some(python::packages(&tree, &covering.folder))
    });

    let frontends = frontend::find(&tree, &packages);
    let (shown, left_out) = frontend::parts(&tree, &packages, &frontends, &mut taken);
    parts.left_out.extend(frontend::silent(&tree, &packages, &frontends));
    parts.left_out.extend(left_out);
    parts.node = frontends.first().map(|frontend| frontend.install.clone());
    parts.processes.extend(shown);

    parts.migrations = migrations::find(&tree, &projects, &packages, home.as_deref());
    parts.wants_database = parts.migrations.is_some() || database::is_wanted(&tree, &projects, &packages);
    let no_process = parts.processes.is_empty();
    if no_process {
        // The Procfile is all that says what runs; its packages and database are prepared as for any other shape.
        parts.python = projects.first().map(|project| python::packages(&tree, &project.folder));
        parts.node = packages.first().map(|package| node::install_folder(&tree, &packages, &package.folder));
    }
    if let Some(installed) = parts.python.clone() {
        let workers = worker::parts(&tree, &projects, &installed, &mut taken);
        parts.left_out.extend(worker::silent(&tree, &projects, &workers));
        parts.processes.extend(workers);
    }
    // A Procfile without packages and database is read by the configuration itself, as foreman reads it.
    let is_bare =
        parts.processes.is_empty() && parts.python.is_none() && parts.node.is_none() && !parts.wants_database;
    if !is_bare {
        let extra = procfile::parts(&facts.commands, &parts.processes, parts.migrations.as_ref(), &mut taken);
        parts.processes.extend(extra);
    }
    parts.left_out.extend(silent(&tree, &projects, &served));
    parts.left_out.extend(beside.iter().map(another));
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
    if parts.node.is_none()
        && let Some(migrations) = &parts.migrations
        && let Some(package) = packages.iter().find(|package| package.folder == migrations.directory)
    {
        parts.node = Some(node::install_folder(&tree, &packages, &package.folder));
    }
    parts
}

/// An application whose packages are not those of the first.
fn elsewhere(tree: &Tree<'_>, served: &application::Served, name: &str) -> LeftOut {
    let part = backend::part(tree, served, name, 1);
    LeftOut {
        at: served.at.clone(),
        why: format!(
            "{} is left out: devrun installs the packages of one Python project, and this one has its own",
            part.remark
        ),
        lines: format!(
            "recognise: true\nports: {{ {name}: 8200 }}\nprocesses:\n  {name}: {{ run: '{}', directory: {}, listen: {name} }}\n",
            part.run,
            tree::shown(&part.directory)
        ),
        candidates: Vec::new(),
    }
}

/// An application that words name beside the one that was taken.
fn another(served: &application::Served) -> LeftOut {
    let target = format!("{}:{}", served.target.module, served.target.name);
    LeftOut {
        at: served.at.clone(),
        why: format!("{target} is left out: another application of its project was taken"),
        lines: format!("processes:\n  backend: {{ run: uvicorn {target} --reload --fd $BACKEND_FD }}\n"),
        candidates: vec![target],
    }
}

/// Projects that name `FastAPI` and in which no application was found, at any depth.
fn silent(tree: &Tree<'_>, projects: &[Project], served: &[application::Served]) -> Vec<LeftOut> {
    let has = |project: &Project| {
        served.iter().any(|served| {
            served.place.file.starts_with(&project.folder) || project.folder.starts_with(&served.project)
        })
    };
    let silent = projects.iter().filter(|project| application::is_fastapi(project) && !has(project));
    silent
        .map(|project| {
            let at = project.spot(tree, "fastapi");
            LeftOut {
                why: format!(
                    "{} names fastapi, and no application was found: no `uvicorn MODULE:NAME` in a script, Makefile, \
                     Dockerfile, compose file or README, and no `FastAPI(…)` object in {}",
                    at.file.display(),
                    tree::shown(&project.folder)
                ),
                at,
                lines: format!(
                    "recognise: true\nports: {{ backend: 8100 }}\nprocesses:\n  backend: {{ run: uvicorn MODULE:app --reload --fd $BACKEND_FD, directory: {}, listen: backend }}\n",
                    tree::shown(&project.folder)
                ),
                candidates: Vec::new(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
