//! The processes that a repository consists of, found among its facts, and the parts that were not understood.
//!
//! Values only; each part names the file and line that it was concluded from.

use std::path::PathBuf;

use super::facts::Spot;

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
