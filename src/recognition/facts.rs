//! Facts that a repository's own files state: variables that code reads, values that files give them, commands, services.
//!
//! Values only. A fact has the file and the line that states it, so that every later decision can name its source.

mod address;
mod cache;
mod commands;
mod compose;
mod dockerfile;
mod envfiles;
mod file;
mod javascript;
mod kind;
mod links;
mod python;
mod reading;
mod settings;
mod shown;
mod small;
mod syntax;
mod walk;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Reads the worktree at `root`. Env files that it lacks are read from `main_root`. `state` is the worktree's own state
/// folder, where facts of unchanged files are kept between runs; without it every file is read.
pub fn read(root: &Path, main_root: Option<&Path>, state: Option<&Path>) -> Facts {
    reading::read(root, main_root, state, &reading::Limits::default())
}

/// Everything that was read from one worktree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Files of the worktree relative to its top, nearest first, then by name. Ignored folders are left out.
    pub files: Vec<PathBuf>,
    /// Variables that code reads.
    pub reads: Vec<Read>,
    /// Values that files give to variables.
    pub values: Vec<Given>,
    /// Commands that the repository's own words run.
    pub commands: Vec<Command>,
    /// Python modules that say something about applications, tasks or models.
    pub modules: Vec<Module>,
    /// Services of compose files.
    pub services: Vec<Service>,
    /// Loopback addresses in code that no variable can change.
    pub addresses: Vec<FixedAddress>,
    /// Env files that code names.
    pub loads: Vec<Load>,
    /// Tenant URLs of documents and env examples.
    pub tenants: Vec<TenantUrl>,
    /// Limits that ended the reading early, one sentence each.
    pub limits: Vec<String>,
}

/// A line of a file of the worktree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Spot {
    /// Path relative to the top of the worktree.
    pub file: PathBuf,
    /// Line number, counted from 1.
    pub line: u32,
}

/// Code that reads one environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// The variable's name as the environment must have it, prefix included.
    pub name: String,
    /// Other names that the same setting accepts, strongest first.
    pub aliases: Vec<String>,
    /// The code.
    pub at: Spot,
    /// The construct that reads it.
    pub by: Reader,
    /// True when the code fails without the variable.
    pub required: bool,
    /// The default as text, when the code has a literal one.
    pub default: Option<String>,
    /// The least length that the code accepts, in characters.
    pub min_length: Option<usize>,
    /// Placeholders that the code refuses, such as `changethis`.
    pub refused: Vec<String>,
    /// True when the value is a list of texts (pydantic parses JSON, or the code splits at commas).
    pub list: bool,
}

/// The construct that reads a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reader {
    /// `process.env.NAME`.
    Node,
    /// `import.meta.env.NAME`: the value is built into code for the browser.
    ImportMeta,
    /// `os.environ[…]`, `os.getenv(…)`, Starlette's `Config(…)`, `decouple`, `environs`.
    Python,
    /// A field of a pydantic `BaseSettings` class; names ignore case unless the class says otherwise.
    Settings,
    /// `env("NAME")` of a Prisma schema.
    Prisma,
}

/// A value that a file gives to a variable. `Debug` and `Serialize` leave out values of env files: they may be secret.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Given {
    /// The variable.
    pub name: String,
    /// Its value as the file's own reader would give it; `${…}` of compose files is resolved to the default.
    pub value: String,
    /// The line.
    pub at: Spot,
    /// The kind of file.
    pub by: Giver,
}

/// The kind of file that gives a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Giver {
    /// An env file that a loader reads (`.env`, `.env.local`, `.env.development`). Values of the user, possibly secret.
    EnvFile,
    /// The same, from the main worktree, for an env file that this worktree lacks; the line's path is relative to the main
    /// worktree.
    MainEnvFile,
    /// A committed example: `.env.example`, `.sample`, `.template`, `.dist`.
    Example,
    /// `environment:` of the compose service of this name.
    Compose(String),
    /// `build.args` of the compose service of this name.
    BuildArg(String),
    /// `ENV` or `ARG` of a Dockerfile.
    Dockerfile,
    /// `NAME=value` before a command of a script.
    Script,
    /// `sqlalchemy.url` of `alembic.ini`; the name is `sqlalchemy.url`.
    AlembicIni,
}

/// A command that the repository's own words run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The command as one line, continuation lines joined.
    pub text: String,
    /// Where it is written.
    pub at: Spot,
    /// The kind of file.
    pub by: Author,
    /// Folder that it runs in, relative to the top, when that is known: `cd backend && …`, `working_dir`, the script's
    /// folder.
    pub directory: Option<PathBuf>,
}

/// The kind of file that holds a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Author {
    /// A script of `package.json`, by its name.
    Package(String),
    /// `[project.scripts]`, `[tool.poe.tasks]`, `[tool.pdm.scripts]` and the like of `pyproject.toml`, by its name.
    Pyproject(String),
    /// A target of a Makefile.
    Make(String),
    /// A recipe of a justfile.
    Just(String),
    /// `CMD` or `ENTRYPOINT` of a Dockerfile.
    Dockerfile,
    /// `command:` of a compose service.
    Compose(String),
    /// An entry of a Procfile.
    Procfile(String),
    /// A shell script of the repository.
    Shell,
    /// A call of `uvicorn.run` in Python code, written as the command that it stands for.
    Code,
    /// A code block of a README or of CLAUDE.md, AGENTS.md, CONTRIBUTING.md.
    Document,
}

/// A Python module that says something about applications, tasks or models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// The file, relative to the top.
    pub file: PathBuf,
    /// Applications and functions that make them.
    pub applications: Vec<Application>,
    /// Absolute and relative imports: `app.api.routes`, `.deps`; with the names that `from … import` takes.
    pub imports: Vec<Import>,
    /// Routes that are certain: path (with the literal prefix of its router) and the name of the object that has them.
    pub routes: Vec<(String, String)>,
}

/// A module-level object, or a function, that is an ASGI application or gives one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Its name in the module.
    pub name: String,
    /// Line number, counted from 1.
    pub line: u32,
    /// What it is.
    pub kind: ApplicationKind,
    /// Routers and applications that it includes or mounts.
    pub includes: Vec<Include>,
    /// True when the call names `openapi_url` or passes arguments that are computed.
    pub hides_schema: bool,
    /// True for a factory that has parameters without a default, so that no server can call it by its name alone.
    pub needs_arguments: bool,
}

/// A router or an application inside another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Include {
    /// Its name as the code writes it: `router`, `users.router`, `app.api.users.router`.
    pub name: String,
    /// The path below which it answers, empty for none; `None` when the code computes it.
    pub prefix: Option<String>,
}

/// What an application object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApplicationKind {
    /// `NAME = FastAPI(…)`.
    Object,
    /// `def NAME() -> FastAPI`, or a function that returns a `FastAPI(…)` object.
    Factory,
    /// `NAME = factory()`, with the name of the function; it is defined or imported in this module.
    Made(String),
    /// `NAME = APIRouter(…)`: no application, but what one includes.
    Router,
    /// `NAME = Celery(…)`.
    Celery,
    /// A Dramatiq broker is set, or actors are declared, in this module; the name is the module's own.
    Dramatiq,
    /// A function or module that starts an RQ worker; `NAME = Worker(…)`.
    Rq,
    /// A class `NAME` with the settings of an arq worker.
    Arq,
    /// `NAME = SQLModel`/`Base.metadata.create_all` is called in this module.
    CreateAll,
}

/// One import statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The module, with leading dots when it is relative.
    pub module: String,
    /// The names that are taken from it; empty for `import module`.
    pub names: Vec<String>,
    /// Line number, counted from 1.
    pub line: u32,
}

/// A service of a compose file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name, which is a host name for the other services.
    pub name: String,
    /// The compose file and the line of the service.
    pub at: Option<Spot>,
    /// Its image.
    pub image: Option<String>,
    /// The folder that its image is built from, relative to the top.
    pub build: Option<PathBuf>,
    /// Published ports: on the host, in the container.
    pub ports: Vec<(u16, u16)>,
    /// Its command, as one line.
    pub command: Option<String>,
    /// Its env files, relative to the top.
    pub env_files: Vec<PathBuf>,
    /// Services that it starts after.
    pub depends_on: Vec<String>,
}

/// A loopback address in code that no variable can change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedAddress {
    /// The code.
    pub at: Spot,
    /// The address as it is written: `http://127.0.0.1:8000/:path*`.
    pub text: String,
    /// Its port.
    pub port: u16,
    /// True when it is an origin that the code allows (CORS), not an address that the code connects to.
    pub origin: bool,
    /// True when the code runs in Node or Python (a configuration file, a route handler, a server component), false when it is for
    /// the browser; `None` when neither is certain.
    pub server: Option<bool>,
}

/// Code that names an env file: `env_file=".env"`, `load_dotenv(".env.local")`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// The code.
    pub at: Spot,
    /// The file as the code writes it, relative to the working directory of the process unless `from_code` is true;
    /// empty when the loader looks for `.env` in the folder of the code and in those above it.
    pub file: String,
    /// True when the code builds the path from its own place (`Path(__file__).parent / ".env"`): `file` is then relative
    /// to the top of the worktree.
    pub from_code: bool,
}

/// A URL of the form `http://NAME.localhost[:PORT]/path` in a document or an env example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantUrl {
    /// The line.
    pub at: Spot,
    /// The URL as written.
    pub text: String,
    /// The host: `acme.localhost`.
    pub host: String,
    /// The port, when the URL has one.
    pub port: Option<u16>,
    /// The path with its leading `/`, query included; empty when there is none.
    pub path: String,
}
