//! Collects the inputs that runs and most subcommands need: worktree, configuration, ports, env files, and the names
//! for templates.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Options;
use super::files::Files;
use super::ready_database::{DatabaseAddress, ReadyDatabase};
use super::{
    compose, given_databases, host_label, login_shell, secrets, service_plan, service_programs, tools,
};
use crate::config::envfile::{EnvFile, EnvFilePlaces};
use crate::config::environment::{self, EnvironmentInputs};
use crate::config::foreign_variables::{self, Worktrees};
use crate::config::venvs::Venvs;
use crate::config::{self, Config, ConfigError, Scope, node_bin, other_databases, resolve, urls};
use crate::context::Context;
use crate::database::names;
use crate::deps::{ToolEnv, python};
use crate::error::{Holder, REPLACE_SERVER, Report};
use crate::os::proc::ProcessEntry;
use crate::os::{blocking, fs};
use crate::plan::{
    Checkout, Computed, Database, Environment, ForeignVariable, Notice, Origin, Plan, PlannedWorktree,
    Process, PythonInstall, RepositoryNotice,
};
use crate::ports::port_holder;
use crate::ports::table::LeaseRow;
use crate::ports::{self, Homing, Lease, Obstacle, Request, Reserved};
use crate::recognition;
use crate::text::Mask;
use crate::worktree::{self, Worktree, WorktreeError};

/// The data that is known before anything is installed or created.
#[derive(Clone, Debug)]
pub struct ResolvedWorktree {
    pub worktree: Worktree,
    /// Name of the repository's default branch. Looked up only if there is a database, because its parent may be named
    /// after it.
    pub default_branch: Option<String>,
    /// Its configuration.
    pub config: Config,
    /// The lease of its ports.
    pub lease: Lease,
    /// Its env files.
    pub files: Files,
    /// The environment that devrun was started with, without variables of another worktree, and the variables of the login
    /// shell.
    pub inherited: BTreeMap<OsString, OsString>,
    /// Names of the variables in `inherited` that come from the login shell.
    pub login_shell: BTreeSet<String>,
    /// Variables that were removed because they pointed into another worktree.
    pub foreign: Vec<ForeignVariable>,
    /// devrun's own names with their values, and the environment on top of env files.
    pub scope: Scope,
}

/// Finds the worktree of the current folder. Sends a note if the folder is not in a git repository.
pub async fn locate(ctx: &Context) -> Result<Worktree, Report> {
    let worktree = worktree::locate(ctx).await?;
    if worktree.git.is_none() {
        ctx.events
            .note(format!("not in a git repository: {} counts as the worktree", worktree.path.display()));
    }
    Ok(worktree)
}

/// Reads the configuration, and leases and reserves ports for a run that is about to start.
pub(super) async fn lease(
    ctx: &Context,
    worktree: Worktree,
    options: &Options,
) -> Result<(ResolvedWorktree, Reserved), Report> {
    let config = load(ctx, &worktree).await?;
    let request = request(&worktree, &config, options.strict_ports, Homing::Return);
    let leasing = ports::lease_and_reserve(ctx, &request);
    let (leased, default) = tokio::join!(leasing, default_branch(ctx, &worktree, &config));
    let (lease, reserved) = leased?;
    Ok((build(ctx, worktree, default?, config, lease).await?, reserved))
}

/// Reads the configuration and the ports for a subcommand that starts nothing. Takes an existing lease as it is, even
/// if other processes use its ports.
pub(super) async fn read(ctx: &Context, worktree: Worktree) -> Result<ResolvedWorktree, Report> {
    let config = configuration(ctx, &worktree).await?;
    let request = request(&worktree, &config, false, Homing::Stay);
    let (lease, default) =
        tokio::join!(ports::recorded(ctx, &request), default_branch(ctx, &worktree, &config));
    let resolved = build(ctx, worktree, default?, config, lease?).await?;
    resolved.foreign.iter().for_each(|foreign| ctx.events.warn(foreign_text(foreign)));
    Ok(resolved)
}

/// Works like [`read`], but leases nothing: the ports may be those of another worktree by the time of a run.
pub(super) async fn read_without_lease(
    ctx: &Context,
    worktree: Worktree,
) -> Result<ResolvedWorktree, Report> {
    let config = configuration(ctx, &worktree).await?;
    let request = request(&worktree, &config, false, Homing::Stay);
    let lease = ports::expected(ctx, &request)?;
    let default = default_branch(ctx, &worktree, &config).await?;
    build(ctx, worktree, default, config, lease).await
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

/// Maximum time to read the configuration and the env files, which may be named pipes.
pub(super) const READING: Duration = Duration::from_secs(30);

/// Runs `read`, which reads files of the worktree, on another thread, because a network mount may not answer.
async fn off_thread<T: Send + 'static>(
    worktree: &Worktree,
    read: impl FnOnce(&Path, Option<&Path>) -> Result<T, ConfigError> + Send + 'static,
) -> Result<T, ConfigError> {
    let path = worktree.path.clone();
    let (root, main) = (path.clone(), main_root(worktree).map(Path::to_path_buf));
    let done = blocking::run(READING, move || read(&root, main.as_deref())).await;
    done.unwrap_or_else(|stuck| Err(ConfigError::Unreadable { path, source: stuck.into() }))
}

/// Returns the configuration alone: leases no ports and reads no env files.
pub async fn configuration(ctx: &Context, worktree: &Worktree) -> Result<Config, ConfigError> {
    let paths = recognition_paths(ctx, worktree);
    off_thread(worktree, move |root, main| {
        let mut config = config::load(root, main, &|| recognition::recognise(&paths))?;
        compose::add(root, &mut config)?;
        Ok(config)
    })
    .await
}

/// Returns the folders and the PATH for recognition.
pub fn recognition_paths(ctx: &Context, worktree: &Worktree) -> recognition::RecognitionPaths {
    recognition::RecognitionPaths {
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

/// Returns the names of the env files that devrun reads in `worktree`. Returns the default ones if the configuration is
/// missing or invalid.
pub async fn env_file_names(ctx: &Context, worktree: &Worktree) -> BTreeSet<PathBuf> {
    let Ok(config) = configuration(ctx, worktree).await else {
        return config::schema::default_env_files().into_iter().collect();
    };
    let own = config.processes.iter().flat_map(|process| &process.env_files);
    config.env_files.iter().chain(own).cloned().collect()
}

/// Returns the template of the path of new worktrees, if devrun.yaml of `worktree` has one. Errors if it is invalid.
pub async fn worktree_path(
    ctx: &Context,
    worktree: &Worktree,
    name: &str,
) -> Result<Option<PathBuf>, ConfigError> {
    let template = off_thread(worktree, config::worktree_path).await?;
    let scope = Scope::new(ctx.env.clone()).with_new_worktree(&worktree.repo(), name);
    template.map(|template| Ok(PathBuf::from(template.render(&scope)?))).transpose()
}

/// Moves the worktree's lease to its home slot. Fails if that slot is not free. The worktree must have no running
/// stack.
pub async fn move_home(ctx: &Context, worktree: &Worktree) -> Result<Lease, Report> {
    let config = configuration(ctx, worktree).await?;
    Ok(ports::lease(ctx, &request(worktree, &config, false, Homing::Now)).await?)
}

/// Returns the servers of this worktree that were started by hand and listen on the ports of its home slot or of its
/// current slot.
pub async fn started_by_hand(
    ctx: &Context,
    worktree: &Worktree,
) -> Result<Vec<(ProcessEntry, Holder)>, Report> {
    let config = configuration(ctx, worktree).await?;
    let wanted = ports::wanted(ctx, &request(worktree, &config, false, Homing::Stay))?;
    let mut found: Vec<(ProcessEntry, Holder)> = Vec::new();
    for (entry, holder) in wanted.into_iter().flat_map(|port| port_holder::own_by_hand(port, &worktree.path))
    {
        if found.iter().all(|(known, _)| known.pid != entry.pid) {
            found.push((entry, holder));
        }
    }
    Ok(found)
}

fn request(worktree: &Worktree, config: &Config, strict: bool, homing: Homing) -> Request {
    Request {
        worktree: worktree.path.clone(),
        repository: worktree.git.as_ref().map(|git| git.common_dir.clone()),
        bases: config.ports.clone(),
        span: config::port_base::SLOTS,
        strict,
        homing,
    }
}

fn main_root(worktree: &Worktree) -> Option<&Path> {
    worktree.git.as_ref()?.main_worktree.as_deref()
}

async fn build(
    ctx: &Context,
    worktree: Worktree,
    default_branch: Option<String>,
    mut config: Config,
    lease: Lease,
) -> Result<ResolvedWorktree, Report> {
    if let Some(moved) = &lease.moved {
        let later = match &lease.away {
            Some(away) if away.returns => {
                format!("and the next start tries its home slot {} again", away.home)
            }
            _ => "and keeps it".into(),
        };
        let replace = match moved.obstacle {
            Obstacle::OwnServer(_) => format!(". `{REPLACE_SERVER}` ends that server and takes its port"),
            _ => String::new(),
        };
        ctx.events.note(format!("{moved}; this worktree now has slot {}, {later}{replace}", lease.slot));
    }
    if lease.left.is_some() {
        ctx.events.note(format!("this worktree is back in its home slot {}", lease.slot));
    }
    let (configured, mut inherited, here) = (config.clone(), ctx.env.clone(), worktree.clone());
    let outside = Box::pin(own_links(ctx, &worktree, &config)).await;
    let rows = ports::list(ctx)?.into_iter();
    let of_row = |row: LeaseRow| row.ports.into_values().map(move |port| (row.worktree.clone(), port));
    let leased: Vec<(PathBuf, u16)> = rows.flat_map(of_row).collect();
    let of_shell = Box::pin(login_shell::read(ctx, &config.shell_env)).await;
    let login_shell: BTreeSet<String> =
        of_shell.keys().filter_map(|name| name.to_str().map(Into::into)).collect();
    inherited.extend(of_shell);
    let read = move |root: &Path, main: Option<&Path>| {
        let others = worktree::others(&here);
        let worktrees = Worktrees { own: root, others: &others, physical: &fs::physical };
        let mut foreign = foreign_variables::clean(&mut inherited, &worktrees);
        let mut tidy = |file: &mut EnvFile| foreign.extend(file.without_foreign(&worktrees));
        let (others, leased, outside) = (others.as_slice(), leased.as_slice(), outside.as_slice());
        let places = EnvFilePlaces { root, main, others, leased, examples: true, outside };
        let files = Files::load(&configured, places, &inherited, &mut tidy)?;
        Ok((files, inherited, foreign))
    };
    let (files, inherited, foreign) = off_thread(&worktree, read).await?;
    for file in files.all() {
        for warning in &file.warnings {
            ctx.events.warn(warning.clone());
        }
    }
    given_databases::bind(&mut config, &files, &inherited);
    files.replacements(&config).into_iter().for_each(|text| ctx.events.note(text));
    let vars = environment::with_left(environment::layer(&files.common, &inherited), &files.left);
    let scope = Scope::new(vars)
        .with_branch(&branch_label(&worktree))
        .with_worktree(&worktree.path, &worktree.slug)
        .with_host(&host_label::choose(&ports::list(ctx)?, &worktree.path, &worktree.slug))
        .with_ports(lease.slot, &lease.ports)
        .with_private(&login_shell)
        .with_secrets(&secrets::ensure(&worktree.shared, &secrets::named(&config))?);
    Ok(ResolvedWorktree {
        worktree,
        default_branch,
        config,
        lease,
        files,
        inherited,
        login_shell,
        foreign,
        scope,
    })
}

/// Returns the files of `env_out` that are links which no commit made. Only those may lead out of the worktree.
async fn own_links(ctx: &Context, worktree: &Worktree, config: &Config) -> Vec<PathBuf> {
    let mut own = Vec::new();
    for output in &config.env_out {
        if worktree::is_own_link(ctx, &worktree.path, &output.path).await {
            own.push(output.path.clone());
        }
    }
    own
}

fn foreign_text(foreign: &ForeignVariable) -> String {
    let (name, worktree) = (&foreign.name, foreign.worktree.display());
    if foreign.is_partial {
        return format!("the part of {name} that points into {worktree} is removed from the environment");
    }
    format!("{name} is removed from the environment, because it points into {worktree}")
}

/// Returns the value of `${branch}`: the git branch, or without one a name that no other worktree has.
fn branch_label(worktree: &Worktree) -> String {
    match worktree.git.as_ref().and_then(|git| git.branch()) {
        Some(branch) => names::branch(branch),
        None => names::detached(&worktree.slug, &worktree::slug::hash(&worktree.path)),
    }
}

/// Returns the notice, corrected if it says that connections are redirected and no process with that code loads devrun's modules.
fn without_redirects(known: &RepositoryNotice, plan: &Plan) -> Notice {
    let RepositoryNotice { notice, redirect } = known;
    let Some(code) = redirect else { return notice.clone() };
    let file = plan.worktree.path.join(&code.file);
    let depth = |process: &&Process| {
        file.starts_with(&process.directory).then(|| process.directory.components().count())
    };
    let deepest = plan.processes.iter().filter_map(|process| depth(&process)).max();
    let mut own = plan.processes.iter().filter(|process| deepest.is_some() && depth(process) == deepest);
    if own.clone().next().is_none() || own.any(|process| process.node_preload) {
        return notice.clone();
    }
    Notice { text: code.without_modules.clone(), fix: notice.fix.clone() }
}

impl ResolvedWorktree {
    /// Returns the git branch, if one is checked out.
    pub fn branch(&self) -> Option<&str> {
        self.worktree.git.as_ref()?.branch()
    }

    fn head(&self) -> Checkout {
        match (&self.worktree.git, self.branch()) {
            (_, Some(branch)) => Checkout::Branch(branch.into()),
            (Some(_), None) => Checkout::Detached,
            (None, None) => Checkout::None,
        }
    }

    /// Returns the absolute path of a configured folder, without `.` components, for display.
    pub(super) fn folder(&self, directory: &Path) -> PathBuf {
        self.worktree.path.join(directory).components().collect()
    }

    /// Returns the Python projects whose packages devrun installs.
    fn python_installs(&self) -> Vec<PythonInstall> {
        let folders = self.config.dependencies.python.iter().map(|folder| self.folder(folder));
        folders.filter_map(|folder| python::planned(&folder, &self.worktree.path)).collect()
    }

    /// Returns the virtual environments of this worktree, including those not created yet.
    pub(super) fn venvs(&self) -> Venvs {
        let folders = self.config.dependencies.python.iter().map(|folder| self.folder(folder));
        Venvs::new(folders.map(|folder| {
            let venv = python::venv(&folder, &self.worktree.path);
            (folder, venv)
        }))
    }

    /// Puts the programs of the Python project and of the Node packages around `folder` first on PATH, so that a
    /// command in `folder` finds them. Fails if PATH cannot hold one of the folders.
    pub fn add_programs(
        &self,
        folder: &Path,
        vars: &mut BTreeMap<OsString, OsString>,
    ) -> Result<(), ConfigError> {
        let venvs = self.venvs();
        if let Some(venv) = venvs.own(folder) {
            let path = venvs.path_for(vars.get(OsStr::new("PATH")), venv)?;
            vars.extend([("PATH".into(), path), ("VIRTUAL_ENV".into(), venv.into())]);
        }
        let path = vars.get(OsStr::new("PATH")).map(OsString::as_os_str);
        if let Some(path) = node_bin::path_with_node_bins(&self.worktree.path, folder, path)? {
            vars.insert("PATH".into(), path);
        }
        Ok(())
    }

    /// Returns the common environment, with the variables of `database` if there is one.
    pub(super) fn environment(
        &self,
        ctx: &Context,
        database: Option<DatabaseAddress<'_>>,
    ) -> Result<Environment, Report> {
        let scope = self.scope_with(database);
        let venvs = self.venvs();
        let inputs = EnvironmentInputs {
            config: &self.config,
            files: &self.files.common,
            left: &self.files.left,
            inherited: &self.inherited,
            login_shell: &self.login_shell,
            scope: &scope,
            worktree: &self.worktree.path,
            venv: venvs.main(),
            colour: ctx.colour,
        };
        let mut env = environment::compose(&inputs)?;
        let path = env.vars.get(OsStr::new("PATH"));
        let programs = service_programs::names_to_download(&self.config.services, scope.variable("PATH"));
        let state = &self.worktree.state;
        if let Some(path) = tools::path_with_links(path, state, &self.config.dependencies, &programs)? {
            env.vars.insert("PATH".into(), path);
            env.origins.insert("PATH".into(), Origin::Computed(Computed::SearchPath));
        }
        Ok(env)
    }

    /// Returns the environment for installing packages: env files and the inherited environment, without the variables
    /// of another virtual environment, of git, and of secrets that no process gets.
    pub(super) fn install_env(&self) -> ToolEnv {
        let mut vars = environment::layer(&self.files.common, &self.inherited);
        for name in ["VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"].into_iter().chain(self.config.withheld()) {
            vars.remove(OsStr::new(name));
        }
        vars.retain(|name, _| !worktree::git::REPOSITORY_VARS.iter().any(|var| name == *var));
        vars
    }

    /// Returns a notice for each env file that is read in place of a missing one.
    pub(super) fn env_file_notices(&self) -> Vec<Notice> {
        self.files.replacements(&self.config).into_iter().map(Notice::new).collect()
    }

    /// Returns the notices for the user: from recognition, on variables that lead to another database or worktree, and on a database that
    /// several worktrees share.
    pub(super) fn notices(&self, plan: &Plan) -> Vec<Notice> {
        let database = self.config.database.as_ref();
        let elsewhere = database.and_then(|database| other_databases::notice(database, &plan.env.elsewhere));
        let foreign = self.foreign.iter().map(|one| Notice { text: foreign_text(one), fix: None });
        let known = self.config.provenance.notices.iter().map(|notice| without_redirects(notice, plan));
        known.chain(elsewhere).chain(foreign).chain(self.shared_database(plan)).collect()
    }

    /// Returns a notice if other worktrees are on this branch, so that they have the same database.
    fn shared_database(&self, plan: &Plan) -> Option<Notice> {
        let names = self.config.database.as_ref()?.branch.names();
        let is = |name: &str| names.iter().any(|known| known == name);
        if !is("branch") || ["slug", "worktree", "slot"].into_iter().any(is) {
            return None;
        }
        let others = worktree::on_same_branch(&self.worktree);
        let others: Vec<String> = others.iter().map(|path| path.display().to_string()).collect();
        let (branch, database) = (self.branch()?, &plan.database.as_ref()?.name);
        let others = (!others.is_empty()).then(|| others.join(", "))?;
        let text =
            format!("the branch {branch} is checked out in {others} too: they share the database {database}");
        Some(Notice { text, fix: Some("git switch -c NAME".into()) })
    }

    /// Returns a mask for the secrets of the env files and of the inherited environment.
    pub(super) fn mask(&self) -> Mask {
        let own = self.files.all().flat_map(|file| &file.vars);
        let own = own.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Mask::of_variables(own.chain(environment::layer(&self.files.common, &self.inherited)))
            .and(self.shell_mask())
    }

    /// Returns a mask for the values of the login shell.
    pub(super) fn shell_mask(&self) -> Mask {
        let of_shell = self.login_shell.iter().filter_map(|name| self.inherited.get(OsStr::new(name)));
        Mask::of_values(of_shell.map(OsString::as_os_str))
    }

    /// Returns `ctx` with these secrets masked in its events.
    pub(super) fn discreet(&self, ctx: &Context) -> Context {
        Context { events: self.mask().events(&ctx.events), ..ctx.clone() }
    }

    /// Returns the plan.
    pub(super) fn plan(&self, ctx: &Context, database: Option<&ReadyDatabase>) -> Result<Plan, Report> {
        self.planned(ctx, database.map(ReadyDatabase::address), database.map(ReadyDatabase::shown))
    }

    /// Returns the plan for a database with the address `known`, if it has one yet, and shown as `database`.
    pub(super) fn planned(
        &self,
        ctx: &Context,
        known: Option<DatabaseAddress<'_>>,
        database: Option<Database>,
    ) -> Result<Plan, Report> {
        let mut env = self.environment(ctx, known)?;
        env.elsewhere.extend(self.led_elsewhere(&env, known.map(|known| known.url)));
        // The `env:` of a process may pass on variables that the common environment withholds, or leaves out until the
        // database has an address.
        let mut names = env.vars.clone();
        let held: BTreeSet<&str> =
            self.config.withheld().chain(self.config.env.iter().map(|(name, _)| name.as_str())).collect();
        for (name, value) in environment::layer(&self.files.common, &self.inherited) {
            if name.to_str().is_some_and(|name| held.contains(name)) {
                names.entry(name).or_insert(value);
            }
        }
        let scope = self.scope_with(known).with_env(environment::with_left(names, &self.files.left));
        let of_shell = self.shell_mask();
        let mask = Mask::of_variables(&env.vars).and(of_shell.clone());
        let root = &self.worktree.path;
        let given = |process: &_| self.given_lines(&env, process);
        let mut processes = resolve::processes(&self.config, root, &scope, &given, &self.venvs())?;
        for Process { env, secrets, .. } in &mut processes {
            let passed_on = env.iter().filter(|(_, value)| of_shell.finds(value));
            secrets.extend(passed_on.map(|(name, _)| name.clone()));
        }
        let mut plan = Plan {
            project: self.project(),
            worktree: PlannedWorktree {
                path: root.clone(),
                head: self.head(),
                slug: self.worktree.slug.clone(),
                state: self.worktree.state.clone(),
            },
            slot: self.lease.slot,
            away: self.lease.away.clone(),
            ports: self.lease.ports.clone(),
            database,
            processes,
            host_urls: urls::host_urls(&self.config, &scope),
            urls: urls::urls(&self.config, &scope)?
                .into_iter()
                .map(|(name, url)| (name, mask.apply(&url)))
                .collect(),
            redirects: resolve::redirects(&self.config, &scope),
            shared_ports: service_plan::shared_ports(&self.config, &self.scope),
            bindings: self.config.provenance.bindings.clone(),
            logs: self.config.logs,
            python: self.python_installs(),
            env,
        };
        service_plan::add_folders(&mut plan);
        Ok(plan)
    }

    pub(super) fn scope_with(&self, database: Option<DatabaseAddress<'_>>) -> Scope {
        let scope = self.scope.clone();
        let Some(DatabaseAddress { name, url, unpooled }) = database else { return scope };
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
