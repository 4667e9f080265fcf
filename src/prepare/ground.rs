//! What every verb stands on: which worktree, which configuration, which ports, and the names templates may use.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Options;
use super::branch::Settled;
use super::{secrets, tools};
use crate::config::envfile::{self, EnvFile, Found};
use crate::config::environment::{self, Inputs};
use crate::config::{self, Config, ConfigError, Scope, resolve};
use crate::context::{Context, WITHHELD};
use crate::deps::{Env, python};
use crate::error::Report;
use crate::os::blocking;
use crate::plan::{Database, Environment, Head, Need, Origin, Place, Plan};
use crate::ports::{self, Lease, Request};
use crate::recognition;
use crate::text::Mask;
use crate::worktree::{self, Worktree, WorktreeError};

/// What is known before anything is installed or created.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Which worktree.
    pub worktree: Worktree,
    /// Name of the repository's default branch, when there is a database whose parent it may name.
    pub default_branch: Option<String>,
    /// What to run in it.
    pub config: Config,
    /// Its ports.
    pub lease: Lease,
    /// Its env files, weakest first.
    pub files: Vec<EnvFile>,
    /// Devrun's own names with their values, and env files under the inherited environment.
    pub scope: Scope,
}

/// Finds out which worktree this is; says so when it is none.
pub async fn locate(ctx: &Context) -> Result<Worktree, Report> {
    let worktree = worktree::locate(ctx).await?;
    if worktree.git.is_none() {
        ctx.events
            .note(format!("not in a git repository: {} counts as the worktree", worktree.path.display()));
    }
    Ok(worktree)
}

/// Reads the configuration and leases ports for a run that is about to start.
pub(super) async fn lease(ctx: &Context, worktree: Worktree, options: &Options) -> Result<Ground, Report> {
    let config = load(ctx, &worktree).await?;
    let request = request(&worktree, &config, options.strict_ports);
    let (lease, default) = tokio::join!(ports::lease(ctx, &request), default_branch(ctx, &worktree, &config));
    build(ctx, worktree, default?, config, lease?).await
}

/// The same for verbs that only look: a lease that exists is taken as it is, whoever is on its ports now.
pub(super) async fn read(ctx: &Context, worktree: Worktree) -> Result<Ground, Report> {
    let config = configuration(ctx, &worktree).await?;
    let request = request(&worktree, &config, false);
    let (lease, default) = tokio::join!(ports::look(ctx, &request), default_branch(ctx, &worktree, &config));
    build(ctx, worktree, default?, config, lease?).await
}

async fn default_branch(
    ctx: &Context,
    worktree: &Worktree,
    config: &Config,
) -> Result<Option<String>, WorktreeError> {
    match config.database {
        Some(_) => worktree::default_branch(ctx, worktree).await,
        None => Ok(None),
    }
}

/// How long reading the configuration and the env files may take, a named pipe among them.
const READING: Duration = Duration::from_secs(30);

/// Runs `read`, which reads files of the worktree, off this thread: a network mount may not answer.
async fn off_thread<T: Send + 'static>(
    worktree: &Worktree,
    read: impl FnOnce(&Path, Option<&Path>) -> Result<T, ConfigError> + Send + 'static,
) -> Result<T, ConfigError> {
    let path = worktree.path.clone();
    let (root, main) = (path.clone(), main_root(worktree).map(Path::to_path_buf));
    let done = blocking::run(READING, move || read(&root, main.as_deref())).await;
    done.unwrap_or_else(|stuck| Err(ConfigError::Unreadable { path, source: stuck.into() }))
}

async fn configuration(ctx: &Context, worktree: &Worktree) -> Result<Config, ConfigError> {
    let place = place(ctx, worktree);
    off_thread(worktree, move |root, main| config::load(root, main, &|| recognition::recognise(&place))).await
}

/// Where recognition looks for what the repository says about itself.
pub fn place(ctx: &Context, worktree: &Worktree) -> recognition::Place {
    recognition::Place {
        root: worktree.path.clone(),
        main_root: main_root(worktree).filter(|main| *main != worktree.path).map(Path::to_path_buf),
        state: Some(worktree.state.clone()),
        path: ctx.env.get(OsStr::new("PATH")).cloned(),
    }
}

async fn load(ctx: &Context, worktree: &Worktree) -> Result<Config, Report> {
    let config = configuration(ctx, worktree).await?;
    if !config.provenance.recognised.is_empty() {
        ctx.events.note(config.provenance.summary());
    }
    for warning in &config.provenance.warnings {
        ctx.events.warn(warning.clone());
    }
    Ok(config)
}

fn request(worktree: &Worktree, config: &Config, strict: bool) -> Request {
    Request {
        worktree: worktree.path.clone(),
        repository: worktree.git.as_ref().map(|git| git.common_dir.clone()),
        bases: config.ports.clone(),
        span: config::model::SLOTS,
        strict,
    }
}

fn main_root(worktree: &Worktree) -> Option<&Path> {
    worktree.git.as_ref()?.main_worktree.as_deref()
}

async fn build(
    ctx: &Context,
    worktree: Worktree,
    default_branch: Option<String>,
    config: Config,
    lease: Lease,
) -> Result<Ground, Report> {
    if let Some(moved) = &lease.moved {
        ctx.events.note(format!("{moved}; this worktree now has slot {} and keeps it", lease.slot));
    }
    let (names, inherited) = (config.env_files.clone(), ctx.env.clone());
    let read = move |root: &Path, main: Option<&Path>| envfile::load(&names, root, main, &inherited);
    let files = off_thread(&worktree, read).await?;
    for file in &files {
        for warning in &file.warnings {
            ctx.events.warn(warning.clone());
        }
        if file.found == Found::Main {
            ctx.events
                .note(format!("{} is read from the main worktree: there is none here", file.name.display()));
        }
    }
    let scope = Scope::new(environment::layer(&files, &ctx.env))
        .with_branch(&branch_label(&worktree))
        .with_worktree(&worktree.path, &worktree.slug)
        .with_ports(lease.slot, &lease.ports)
        .with_secrets(&secrets::ensure(&worktree.shared, &secrets::named(&config))?);
    Ok(Ground { worktree, default_branch, config, lease, files, scope })
}

/// What `${branch}` means: the git branch; without one, a name that no other worktree has.
fn branch_label(worktree: &Worktree) -> String {
    match worktree.git.as_ref().and_then(|git| git.branch()) {
        Some(branch) => branch.to_string(),
        None => format!("detached-{}-{:.8}", worktree.slug, worktree::slug::hash(&worktree.path)),
    }
}

/// How a branch database is reached.
#[derive(Clone, Copy)]
pub(super) struct Address<'a> {
    pub(super) name: &'a str,
    /// For the application.
    pub(super) url: &'a str,
    /// Past the pooler, where the provider has one.
    pub(super) unpooled: Option<&'a str>,
}

impl Ground {
    /// The git branch, when there is one.
    pub fn branch(&self) -> Option<&str> {
        self.worktree.git.as_ref()?.branch()
    }

    fn head(&self) -> Head {
        match (&self.worktree.git, self.branch()) {
            (_, Some(branch)) => Head::Branch(branch.into()),
            (Some(_), None) => Head::Detached,
            (None, None) => Head::None,
        }
    }

    /// A configured folder, absolute. People read it: `.` adds nothing to it.
    pub(super) fn folder(&self, directory: &Path) -> PathBuf {
        self.worktree.path.join(directory).components().collect()
    }

    /// Where this worktree's virtual environment is or will be.
    pub fn venv(&self) -> Option<PathBuf> {
        let directory = self.config.dependencies.python.as_ref()?;
        Some(python::venv(&self.folder(directory), &self.worktree.path))
    }

    /// The environment, with a database's names when there is one.
    pub(super) fn environment(
        &self,
        ctx: &Context,
        database: Option<Address<'_>>,
    ) -> Result<Environment, Report> {
        let scope = self.scope_with(database);
        let venv = self.venv();
        let inputs = Inputs {
            config: &self.config,
            files: &self.files,
            inherited: &ctx.env,
            scope: &scope,
            worktree: &self.worktree.path,
            venv: venv.as_deref(),
            colour: ctx.colour,
        };
        let mut env = environment::compose(&inputs)?;
        let path = env.vars.get(OsStr::new("PATH"));
        let needs: Vec<Need> = self.config.configured().into_iter().collect();
        if let Some(path) = tools::search_path(path, &self.worktree.state, &needs) {
            env.vars.insert("PATH".into(), path);
            env.origins.insert("PATH".into(), Origin::Computed);
        }
        Ok(env)
    }

    /// The environment to install with: env files and what devrun was started with, but of no other worktree.
    pub(super) fn install_env(&self, ctx: &Context) -> Env {
        let mut vars = environment::layer(&self.files, &ctx.env);
        for name in ["VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"].into_iter().chain(WITHHELD) {
            vars.remove(OsStr::new(name));
        }
        vars.retain(|name, _| !worktree::git::REPOSITORY_VARS.iter().any(|var| name == *var));
        vars
    }

    /// Returns what hides the secrets of the env files and of the environment devrun was started with.
    pub(super) fn mask(&self, ctx: &Context) -> Mask {
        Mask::of_variables(environment::layer(&self.files, &ctx.env))
    }

    /// Everything resolved.
    pub(super) fn plan(&self, ctx: &Context, database: Option<&Settled>) -> Result<Plan, Report> {
        self.planned(ctx, database.map(Settled::address), database.map(Settled::shown))
    }

    /// The plan for a database with this address, if it is known, shown as `database`.
    pub(super) fn planned(
        &self,
        ctx: &Context,
        known: Option<Address<'_>>,
        database: Option<Database>,
    ) -> Result<Plan, Report> {
        let env = self.environment(ctx, known)?;
        // A process's own `env:` may pass on what the common environment leaves out.
        let mut names = env.vars.clone();
        for (name, value) in environment::layer(&self.files, &ctx.env) {
            if WITHHELD.iter().any(|withheld| name == *withheld) {
                names.entry(name).or_insert(value);
            }
        }
        let scope = self.scope_with(known).with_env(names);
        let mask = Mask::of_variables(&env.vars);
        let root = &self.worktree.path;
        Ok(Plan {
            project: self.project(),
            worktree: Place {
                path: root.clone(),
                head: self.head(),
                slug: self.worktree.slug.clone(),
                state: self.worktree.state.clone(),
            },
            slot: self.lease.slot,
            ports: self.lease.ports.clone(),
            database,
            processes: resolve::processes(&self.config, root, &scope)?,
            urls: resolve::urls(&self.config, &scope)?
                .into_iter()
                .map(|(name, url)| (name, mask.apply(&url)))
                .collect(),
            logs: self.config.logs,
            env,
        })
    }

    fn scope_with(&self, database: Option<Address<'_>>) -> Scope {
        let scope = self.scope.clone();
        let Some(Address { name, url, unpooled }) = database else { return scope };
        let scope = scope.with_database(name, url);
        match unpooled {
            Some(direct) => scope.with_unpooled(direct),
            None => scope,
        }
    }

    fn project(&self) -> String {
        self.config.name.clone().unwrap_or_else(|| self.worktree.repo())
    }
}
