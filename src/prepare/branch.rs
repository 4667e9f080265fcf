//! The branch database of a worktree: which provider, which name, made when missing, its schema in step.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::ground::Address;
use super::{Entrust, Ground, Progress, neon};
use crate::config::model::Provider as Choice;
use crate::config::{needs, programs, resolve};
use crate::context::Context;
use crate::database::local::{Local, LocalRequest};
use crate::database::migrate::{self, MigrateRequest, Migrated};
use crate::database::neon::{Neon, NeonRequest, fit};
use crate::database::{Branch, Provider, Wanted, names};
use crate::error::{Code, Report};
use crate::event::{Event, Step};
use crate::plan::{Database, DatabaseOrigin, Environment, Need};
use crate::worktree::{self, Worktree};

/// The provider whose URLs may go through a pooler.
pub(super) const NEON: &str = "neon";
/// How long a migration may take.
const MIGRATION: Duration = Duration::from_mins(10);

/// A branch database that exists, and who made it.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) provider: &'static str,
    pub(super) branch: Branch,
}

impl Settled {
    pub(super) fn address(&self) -> Address<'_> {
        let Branch { name, url, direct_url, .. } = &self.branch;
        let unpooled = self.has_pooler().then_some(direct_url.as_str());
        Address { name, url, unpooled }
    }

    fn has_pooler(&self) -> bool {
        self.provider == NEON
    }

    /// As shown: without its password.
    pub(super) fn shown(&self) -> Database {
        Database {
            provider: self.provider.into(),
            name: self.branch.name.clone(),
            origin: self.branch.origin.clone(),
            masked_url: masked(&self.branch.url),
        }
    }
}

/// `url` with stars for its password.
pub fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    match rest.split_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
        Some((user, host)) => format!("{scheme}://{user}:***@{host}"),
        None => url.into(),
    }
}

/// What the configuration asks for: provider, database, names.
pub(super) struct Choosing {
    pub(super) asked: resolve::Database,
    pub(super) wanted: Wanted,
    /// What the default branch's own database is called, where there is a default branch.
    pub(super) default: Option<String>,
    /// Present when Neon is the provider.
    pub(super) neon: Option<NeonRequest>,
}

/// Reads what is wanted; `None` when the configuration wants no database.
pub(super) fn choose(ctx: &Context, ground: &Ground) -> Result<Option<Choosing>, Report> {
    let Some(database) = &ground.config.database else { return Ok(None) };
    let asked = resolve::database(database, &ground.scope)?;
    if asked.provider == Choice::None {
        return Ok(None);
    }
    let neon = neon::request(ctx, ground, &asked)?;
    let name = if neon.is_some() { fit(&asked.branch) } else { names::safe(&asked.branch) };
    let default = match ground.default_branch.as_deref() {
        Some(branch) => {
            Some(names::safe(&database.branch.render(&ground.scope.clone().with_branch(branch))?))
        }
        None => None,
    };
    let parent = match (&asked.parent, &default) {
        (Some(parent), _) => names::safe(parent),
        (None, Some(default)) => default.clone(),
        (None, None) => name.clone(),
    };
    let label = match ground.branch() {
        Some(branch) => branch.to_string(),
        None => format!("detached at {}", ground.worktree.slug),
    };
    Ok(Some(Choosing {
        asked,
        neon,
        default,
        wanted: Wanted { label, name, parent, worktree: ground.worktree.path.clone() },
    }))
}

/// What the local provider is asked for. With `auto` it is the one that is used.
pub(super) fn local(ground: &Ground, asked: &resolve::Database) -> Result<LocalRequest, Report> {
    match asked.provider {
        Choice::Auto | Choice::Local => {}
        other => {
            let message = format!("database provider `{}` is not available yet", other.word());
            return Err(Report::new(Code::ConfigInvalid, message)
                .with_fix("use `provider: local`, or `provider: none` and set DATABASE_URL yourself"));
        }
    }
    let bin = asked.local_bin.as_deref().map(|bin| programs(&ground.worktree, bin)).transpose()?;
    Ok(request(&ground.worktree, bin))
}

/// The folder that `database.local.bin` names. Refuses one that a branch could bring: programs in it would run as soon as a verb
/// needs the server.
fn programs(worktree: &Worktree, bin: &Path) -> Result<PathBuf, Report> {
    let refused = |why: &str| {
        Report::new(Code::ConfigInvalid, format!("database.local.bin ({}) is refused: {why}", bin.display()))
            .with_fix(
                "set it to the absolute path of a folder outside the worktree that holds postgres and initdb",
            )
    };
    if !bin.is_absolute() {
        return Err(refused("it is not an absolute path"));
    }
    let git = worktree.git.as_ref();
    let roots = [
        Some(worktree.path.as_path()),
        git.and_then(|git| git.main_worktree.as_deref()),
        git.map(|git| git.common_dir.as_path()),
    ];
    let physical = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let place = physical(bin);
    if roots.into_iter().flatten().any(|root| place.starts_with(physical(root)) || bin.starts_with(root)) {
        return Err(refused("it lies in the repository, so a checked-out branch can replace its programs"));
    }
    Ok(bin.to_path_buf())
}

pub(super) fn request(worktree: &Worktree, bin: Option<PathBuf>) -> LocalRequest {
    let npmrc = worktree.path.join(".npmrc");
    LocalRequest {
        shared: worktree.shared.clone(),
        owner_uid: owner(&worktree.path),
        bin,
        looks: false,
        npmrc: npmrc.is_file().then_some(npmrc),
    }
}

/// Stops a database server that nobody uses, because every devrun that did was killed. Needs no configuration.
pub fn stop_unused_server(ctx: &Context, worktree: &Worktree) -> Result<(), Report> {
    Local::stop_unused(ctx, &request(worktree, None))
}

/// Stops database servers of repositories that are gone and whose devruns were all killed.
pub fn stop_abandoned_servers(ctx: &Context) {
    for repository in Local::stop_abandoned(ctx) {
        ctx.events.note(format!("stopped the database server of {repository}, which is gone"));
    }
}

fn owner(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map_or_else(|_| nix::unistd::geteuid().as_raw(), |meta| meta.uid())
}

/// Makes sure the branch database exists.
pub(super) async fn ensure(
    ctx: &Context,
    ground: Rc<Ground>,
    progress: Progress,
    allow_parent: bool,
    entrust: Entrust<'_>,
) -> Result<Option<Settled>, Report> {
    stop_abandoned_servers(ctx);
    let Some(Choosing { asked, wanted, neon, .. }) = choose(ctx, &ground)? else { return Ok(None) };
    let start = Instant::now();
    let ensured = async {
        if let Some(request) = neon {
            if asked.provider == Choice::Auto {
                neon::note(ctx, &request);
            }
            let grant = if allow_parent { request.grant.allowed() } else { request.grant };
            return on_neon(ctx, NeonRequest { grant, ..request }, &wanted).await;
        }
        let provider = Local::open(ctx, local(&ground, &asked)?, Some(entrust)).await?;
        let branch = make(ctx, &ground, &progress, &provider, &wanted).await?;
        Ok::<_, Report>((provider.name(), branch))
    };
    let (provider, branch) =
        ensured.await.inspect_err(|_| ctx.events.send(Event::StepFailed { step: Step::Database }))?;
    let worked = branch.origin != DatabaseOrigin::Existing;
    let outcome = match &branch.origin {
        DatabaseOrigin::Existing => format!("{} is there", branch.name),
        DatabaseOrigin::Empty => format!("{} created empty", branch.name),
        DatabaseOrigin::CopyOf(parent) => format!("{} created from {parent}", branch.name),
    };
    ctx.events.send(Event::StepDone { step: Step::Database, outcome, worked, took: start.elapsed() });
    Ok(Some(Settled { provider, branch }))
}

/// Neon's parent is others' business: it is copied as it is, never made and never migrated.
async fn on_neon(
    ctx: &Context,
    request: NeonRequest,
    wanted: &Wanted,
) -> Result<(&'static str, Branch), Report> {
    let provider = Neon::open(ctx, request)?;
    let branch = provider.ensure(wanted).await?;
    let name = provider.name();
    if branch.origin == DatabaseOrigin::Existing {
        let id = branch.id.clone();
        // Nobody waits for it, and a run that ends before has done no harm.
        tokio::task::spawn_local(async move { provider.refresh(&id).await });
    }
    Ok((name, branch))
}

async fn make(
    ctx: &Context,
    ground: &Ground,
    progress: &Progress,
    provider: &dyn Provider,
    wanted: &Wanted,
) -> Result<Branch, Report> {
    if let Some(branch) = provider.find(&wanted.name).await? {
        return Ok(branch);
    }
    make_parent(ctx, ground, progress, provider, wanted).await?;
    provider.ensure(wanted).await
}

/// Makes and migrates the parent when it is missing and this worktree may migrate it.
pub(super) async fn make_parent(
    ctx: &Context,
    ground: &Ground,
    progress: &Progress,
    provider: &dyn Provider,
    wanted: &Wanted,
) -> Result<(), Report> {
    let has_parent = wanted.parent != wanted.name;
    if has_parent
        && provider.find(&wanted.parent).await?.is_none()
        && has_parents_migrations(ctx, ground).await
    {
        let parent = Wanted { label: wanted.parent.clone(), name: wanted.parent.clone(), ..wanted.clone() };
        let parent = provider.ensure(&parent).await?;
        let address = Address { name: &parent.name, url: &parent.url, unpooled: None };
        let env = ground.environment(ctx, Some(address))?;
        migrate(ctx, ground, &env, &parent, progress).await?;
    }
    Ok(())
}

/// True when this worktree's migrations are the default branch's, so that running them in the parent puts nothing there
/// that does not belong.
async fn has_parents_migrations(ctx: &Context, ground: &Ground) -> bool {
    let default = ground.default_branch.as_deref();
    let migrate = ground.config.database.as_ref().and_then(|database| database.migrate.as_ref());
    let (Some(default), Some(migrate)) = (default, migrate) else { return false };
    let paths: Vec<String> = migrate
        .inputs
        .iter()
        .map(|input| migrate.directory.join(input).to_string_lossy().into_owned())
        .collect();
    worktree::sees_same_files(ctx, &ground.worktree.path, default, &paths).await
}

/// Brings the schema of `branch` in step; says how in a few words, `None` when there are no migrations.
pub(super) async fn migrate(
    ctx: &Context,
    ground: &Ground,
    env: &Environment,
    branch: &Branch,
    progress: &Progress,
) -> Result<Option<String>, Report> {
    let Some(migrate) = ground.config.database.as_ref().and_then(|database| database.migrate.as_ref()) else {
        return Ok(None);
    };
    // Migrations never go through a pooler.
    let mut vars = if branch.direct_url == branch.url {
        env.vars.clone()
    } else {
        let direct = &branch.direct_url;
        let address = Address { name: &branch.name, url: direct, unpooled: Some(direct) };
        ground.environment(ctx, Some(address))?.vars
    };
    // The tag of this run, by which the next one finds what a killed one left; processes get tags of their own.
    let tag = ctx.env.get_key_value(OsStr::new("DEVRUN_RUN"));
    vars.extend(tag.map(|(name, value)| (name.clone(), value.clone())));
    let directory = ground.folder(&migrate.directory);
    let path = vars.get(OsStr::new("PATH")).map(OsString::as_os_str);
    if let Some(path) = programs::search_path(&ground.worktree.path, &directory, path) {
        vars.insert("PATH".into(), path);
    }
    let request = MigrateRequest {
        branch,
        name: branch.name.clone(),
        command: migrate.run.clone(),
        directory,
        inputs: migrate.inputs.clone(),
        env: vars,
        limit: MIGRATION,
    };
    progress.until(&tools(ground, migrate)).await;
    let start = Instant::now();
    let migrated = migrate::ensure(ctx, &request).await.map_err(Report::from).inspect_err(|report| {
        if report.code == Code::DatabaseUnavailable {
            // What is remembered of a branch may be what is wrong: the next run asks again.
            Neon::forget(&ground.worktree.state);
        }
    });
    let Migrated { outcome, worked } = migrated?;
    let took = start.elapsed();
    let told = if worked { format!("{outcome} in {:.1} s", took.as_secs_f64()) } else { outcome.clone() };
    ctx.events.send(Event::StepDone { step: Step::Migrate, outcome, worked, took });
    Ok(Some(told))
}

/// What the migration command itself needs.
pub(super) fn tools(ground: &Ground, migrate: &crate::config::model::Migrate) -> BTreeSet<Need> {
    let mut needs = needs::infer(&migrate.run, &ground.config.configured(), false);
    needs.remove(&Need::Database);
    needs
}
