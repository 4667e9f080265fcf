//! Facts stated by a repository's files: variables that code reads, values that files give them, commands, services.
//!
//! A fact has the file and line that states it, so that every later decision can name its source. Only the submodules read files.

mod across_files;
mod address;
mod cache;
mod commands;
mod compose;
mod database_tools;
mod development_files;
mod dockerfile;
mod envfiles;
mod file;
mod javascript;
mod kind;
mod python;
mod reading;
mod redacted;
mod settings;
mod syntax;
mod walk;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use crate::plan::FileLine;

/// Reads the worktree at `root`. Env files that it lacks are read from `main_root`. The folder `state` keeps facts of
/// unchanged files between runs; without it, every file is read.
pub fn read(root: &Path, main_root: Option<&Path>, state: Option<&Path>) -> Facts {
    reading::read(root, main_root, state, &reading::Limits::default())
}

/// All facts of one worktree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Files of the worktree relative to its top, nearest first, then by name. Folders of tools and their output are left out.
    pub files: Vec<PathBuf>,
    /// Variables that code reads.
    pub reads: Vec<VariableRead>,
    /// Values that files give to variables.
    pub values: Vec<GivenValue>,
    /// Commands in the repository's scripts and documents.
    pub commands: Vec<Command>,
    /// Python modules that define applications, tasks or models.
    pub modules: Vec<PythonModule>,
    /// Services of compose files.
    pub services: Vec<Service>,
    /// Loopback addresses in code that no variable can change.
    pub addresses: Vec<FixedAddress>,
    /// Addresses of a Postgres in Python code that no variable can change.
    pub databases: Vec<FixedDatabase>,
    /// Env files that code names.
    pub loads: Vec<Load>,
    /// Tenant URLs of documents and env examples.
    pub tenants: Vec<TenantUrl>,
    /// Ports that Dockerfiles expose.
    pub exposed: Vec<ExposedPort>,
    /// Variables whose example names, in a comment, a command that makes a random value.
    pub made: Vec<String>,
    /// The limits that stopped the reading early, one sentence each.
    pub limits: Vec<String>,
}

/// Code that reads one environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariableRead {
    /// The variable's name in the environment, prefix included.
    pub name: String,
    /// Other names that the same setting accepts, strongest first.
    pub aliases: Vec<String>,
    /// The code.
    pub at: FileLine,
    /// The construct that reads it.
    pub by: ReadConstruct,
    /// True when the code fails without the variable.
    pub required: bool,
    /// The default as text, if the code has a literal one.
    pub default: Option<String>,
    /// The minimum length that the code accepts, in characters.
    pub min_length: Option<usize>,
    /// Placeholders that the code refuses, such as `changethis`.
    pub refused: Vec<String>,
    /// True when the value is a list of texts (pydantic parses JSON, or the code splits at commas).
    pub list: bool,
}

/// The construct that reads a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadConstruct {
    /// `process.env.NAME`.
    Node,
    /// `import.meta.env.NAME`: the value is built into code for the browser.
    ImportMeta,
    /// `os.environ[…]`, `os.getenv(…)`, Starlette's `Config(…)`, `decouple`, `environs`.
    Python,
    /// A field of a pydantic `BaseSettings` class. Names ignore case unless the class says otherwise.
    Settings,
    /// `env("NAME")` of a Prisma schema.
    Prisma,
}

/// A value that a file gives to a variable. `Debug` and `Serialize` leave out values of env files: they may be secret.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct GivenValue {
    /// The variable.
    pub name: String,
    /// Its value as the file's usual reader returns it; `${…}` of compose files is replaced by the default, or by the value in
    /// the `.env` beside the file.
    pub value: String,
    /// The line.
    pub at: FileLine,
    /// The kind of file.
    pub by: Giver,
}

/// The kind of file that gives a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Giver {
    /// An env file that a loader reads (`.env`, `.env.local`, `.env.development`). Its values are the user's and may be
    /// secret.
    EnvFile,
    /// An env file of the main worktree that this worktree lacks. The line's path is relative to the main worktree.
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

/// A command in the repository's scripts and documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The command as one line, continuation lines joined.
    pub text: String,
    /// Where it is written.
    pub at: FileLine,
    /// The kind of file.
    pub by: Author,
    /// The folder that it runs in, relative to the top, if known: from `cd backend && …`, `working_dir`, or the
    /// script's folder.
    pub directory: Option<PathBuf>,
}

/// The kind of file that holds a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Author {
    /// A script of `package.json`, by its name.
    Package(String),
    /// `[project.scripts]`, `[tool.poe.tasks]`, `[tool.pdm.scripts]` and similar tables of `pyproject.toml`, by its
    /// name.
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
    /// A call of `uvicorn.run` in Python code, written as the equivalent command.
    Code,
    /// A code block of a README or of CLAUDE.md, AGENTS.md, CONTRIBUTING.md.
    Document,
}

/// A port in `EXPOSE` of a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExposedPort {
    pub port: u16,
    /// The line.
    pub at: FileLine,
}

/// The URL of a Postgres in code, or the port in the settings of Django.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedDatabase {
    pub at: FileLine,
    /// The port, and an expression that reads it from a variable. `None` for a URL.
    pub port: Option<(u16, String)>,
}

/// A Python module that defines applications, tasks or models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonModule {
    /// The file, relative to the top.
    pub file: PathBuf,
    /// Applications, and functions that return one.
    pub applications: Vec<Application>,
    /// Absolute and relative imports (`app.api.routes`, `.deps`), with the names that `from … import` takes.
    pub imports: Vec<Import>,
    /// Routes with a certain path: the path (with the literal prefix of its router) and the name of the object that has
    /// the route.
    pub routes: Vec<(String, String)>,
}

/// A module-level object that is an ASGI application, or a function that returns one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Its name in the module.
    pub name: String,
    /// Line number, counted from 1.
    pub line: u32,
    /// The kind of object.
    pub kind: ApplicationKind,
    /// Routers and applications that it includes or mounts.
    pub includes: Vec<Include>,
    /// True when the call sets `openapi_url` or has computed arguments.
    pub hides_schema: bool,
    /// True for a factory with parameters without a default, which a server cannot call by its name alone.
    pub needs_arguments: bool,
}

/// A router or an application inside another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Include {
    /// Its name as the code writes it: `router`, `users.router`, `app.api.users.router`.
    pub name: String,
    /// The path below which it answers, empty for the root; `None` if the code computes it.
    pub prefix: Option<String>,
}

/// The kind of an application object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApplicationKind {
    /// `NAME = FastAPI(…)`.
    Object,
    /// `def NAME() -> FastAPI`, or a function that returns a `FastAPI(…)` object.
    Factory,
    /// `NAME = factory()`, with the name of the function, which is defined or imported in this module.
    Made(String),
    /// `NAME = APIRouter(…)`: not an application, but an application may include it.
    Router,
    /// `NAME = Celery(…)`.
    Celery,
    /// A Dramatiq broker is set, or actors are declared, in this module. The name is the module's.
    Dramatiq,
    /// `NAME = Worker(…)` of RQ.
    Rq,
    /// A class `NAME` with settings of an arq worker.
    Arq,
    /// The module uses `NAME.metadata.create_all`, such as that of `SQLModel` or `Base`, or `metadata.create_all`.
    CreateAll,
}

/// One import statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The module, with leading dots when it is relative.
    pub module: String,
    /// The names that it imports from the module; empty for `import module`.
    pub names: Vec<String>,
    /// Line number, counted from 1.
    pub line: u32,
}

/// A service of a compose file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name, which the other services use as a host name.
    pub name: String,
    /// The compose file and the line of the service.
    pub at: Option<FileLine>,
    pub image: Option<String>,
    /// The folder that its image is built from, relative to the top.
    pub build: Option<PathBuf>,
    /// Published ports: the port on the host, and the port in the container.
    pub ports: Vec<(u16, u16)>,
    /// Its command, as one line.
    pub command: Option<String>,
    /// Its env files, relative to the top.
    pub env_files: Vec<PathBuf>,
    /// Services that it starts after.
    pub depends_on: Vec<String>,
    /// Files and folders of the repository that a database runs when it is first created, relative to the top, each
    /// with its path in the container.
    pub scripts: Vec<(PathBuf, String)>,
}

impl Service {
    /// Returns the name of its image without registry, tag and digest: `redis` for `docker.io/bitnami/redis:7@sha256:…`.
    pub fn image_name(&self) -> Option<&str> {
        let last = self.image.as_deref()?.rsplit('/').next()?;
        last.split([':', '@']).next().filter(|name| !name.is_empty())
    }
}

/// Reads the services of one compose file. Returns the reason if it cannot be read.
pub fn compose_services(file: &Path, text: &str) -> Result<Vec<Service>, String> {
    let facts = compose::compose(file, text);
    match facts.limits.into_iter().next() {
        Some(limit) => Err(limit),
        None => Ok(facts.services),
    }
}

/// A loopback address in code that no variable can change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedAddress {
    /// The code.
    pub at: FileLine,
    /// The address as written: `http://127.0.0.1:8000/:path*`.
    pub text: String,
    pub port: u16,
    /// True when the code allows requests from this origin (CORS); false when the code connects to the address.
    pub origin: bool,
    /// True when the code runs in Node or Python (a configuration file, a route handler, a server component), false
    /// when it runs in the browser; `None` if neither is certain.
    pub server: Option<bool>,
}

/// Code that names an env file: `env_file=".env"`, `load_dotenv(".env.local")`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// The code.
    pub at: FileLine,
    /// The file as the code writes it, relative to the working directory of the process unless `from_code` is true.
    /// Empty if the loader searches for `.env` in the folder of the code and its parents.
    pub file: String,
    /// True when the code builds the path from its own location (`Path(__file__).parent / ".env"`). `file` is then
    /// relative to the top of the worktree.
    pub from_code: bool,
}

/// A URL of the form `http://NAME.localhost[:PORT]/path` in a document or an env example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantUrl {
    /// The line.
    pub at: FileLine,
    /// The URL as written.
    pub text: String,
    /// The host: `acme.localhost`.
    pub host: String,
    /// The port, when the URL has one.
    pub port: Option<u16>,
    /// The path with its leading `/`, query included; empty when there is none.
    pub path: String,
}
