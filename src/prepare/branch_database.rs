//! Chooses the provider and the name of a worktree's branch database, creates the database if it is missing, and
//! migrates it.

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::command_env;
use super::database_names;
use super::database_record::DatabaseRecord;
use super::extension_advice;
use super::former_database;
use super::migrated_files;
use super::provider_variables::VariableSources;
use super::ready_database::{DatabaseAddress, ReadyDatabase};
use super::seed;
use super::{DatabaseConditions, Progress, ResolvedWorktree};
use crate::config::model::Migrate;
use crate::config::provider::ProviderChoice as Choice;
use crate::config::resolve;
use crate::context::Context;
use crate::database::database_label::DatabaseLabel;
use crate::database::migrate::{self, MigrateError, MigrateRequest, Migrated};
use crate::database::names;
use crate::database::provider_request::ProviderRequest;
use crate::database::providers;
use crate::database::{BranchDatabase, Entrust, Provider, Purpose, WantedDatabase};
use crate::error::{Code, Report};
use crate::event::{Event, Step};
use crate::os::read::{self, Limit};
use crate::plan::{DatabaseOrigin, Environment, Need};
use crate::recognition::contract::{alembic, alembic_code};
use crate::worktree;

/// Maximum duration of a migration.
const MIGRATION: Duration = Duration::from_mins(10);

/// The database that the configuration asks for, and its provider.
pub(super) struct ChosenProvider {
    pub(super) provider: Rc<dyn Provider>,
    pub(super) wanted: WantedDatabase,
}

/// Chooses the provider and renders the names. Returns `None` if the configuration asks for no database. `allow_parent` is as in
/// [`super::Options`].
pub(super) fn choose(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    allow_parent: bool,
) -> Result<Option<ChosenProvider>, Report> {
    let Some(database) = &resolved.config.database else { return Ok(None) };
    let asked = resolve::database(database, &resolved.scope)?;
    let default = match resolved.default_branch.as_deref() {
        Some(branch) => {
            Some(database.branch.render(&resolved.scope.clone().with_branch(&names::branch(branch)))?)
        }
        None => None,
    };
    let provider = match asked.provider {
        Choice::None => return Ok(None),
        Choice::Auto => None,
        Choice::Named(name) => Some(name),
    };
    let provider = providers::choose(
        ctx,
        &ProviderRequest {
            provider,
            settings: &asked.settings,
            parent: asked.parent.as_deref(),
            default: default.as_deref(),
            name_is_computed: database.branch.text.contains("${"),
            allow_parent,
            worktree: &resolved.worktree,
            variables: &VariableSources { ctx, resolved },
        },
    )?;
    let name = provider.safe_name(&asked.branch);
    let parent = asked.parent.or(default).map_or_else(|| name.clone(), |parent| provider.safe_name(&parent));
    let label = match resolved.branch() {
        Some(branch) => DatabaseLabel::Branch(branch.into()),
        None => DatabaseLabel::Detached(resolved.worktree.slug.clone()),
    };
    let wanted = WantedDatabase { label, name, parent, worktree: resolved.worktree.path.clone() };
    Ok(Some(ChosenProvider { provider, wanted }))
}

/// Returns the reason why the provider of the branch database cannot be used on this machine, if there is one. Starts nothing.
pub async fn unreachable_database(ctx: &Context, resolved: &ResolvedWorktree) -> Option<Report> {
    let ChosenProvider { provider, .. } = choose(ctx, resolved, false).ok()??;
    provider.reach().await.err()
}

/// Stops database servers of repositories that no longer exist, if no devrun uses them. Sends a note for each.
pub fn stop_abandoned_servers(ctx: &Context) {
    for repository in providers::stop_abandoned(ctx) {
        ctx.events.note(format!("stopped the database server of {repository}, which is gone"));
    }
}

/// Creates the branch database unless it exists, or renames the one that this worktree had before its branch or folder
/// was renamed. Sends the event for the step. Returns `None` if the configuration asks for no database.
pub(super) async fn ensure(
    ctx: &Context,
    resolved: Rc<ResolvedWorktree>,
    progress: Progress,
    conditions: DatabaseConditions,
    entrust: Entrust<'_>,
) -> Result<Option<ReadyDatabase>, Report> {
    // On another thread, so that this start does not wait: there may be many clusters, and stopping a server takes time.
    let abandoned = ctx.clone();
    tokio::task::spawn_blocking(move || stop_abandoned_servers(&abandoned));
    let Some(ChosenProvider { provider, mut wanted }) = choose(ctx, &resolved, conditions.allow_parent)?
    else {
        return Ok(None);
    };
    let start = Instant::now();
    let ensured = async {
        provider.open(Purpose::Run(entrust)).await?;
        let former =
            former_database::take_over(ctx, &resolved, &*provider, &wanted, conditions.beside_stack).await?;
        if let Some(name) = former {
            wanted.name = name;
        }
        make(ctx, &resolved, &progress, &*provider, &wanted).await
    };
    let branch =
        ensured.await.inspect_err(|_| ctx.events.send(Event::StepFailed { step: Step::Database }))?;
    let state = &resolved.worktree.state;
    if let Some(text) = DatabaseRecord::load(state).and_then(|record| record.left_with(provider.name())) {
        ctx.events.note(text);
    }
    DatabaseRecord::of(&wanted, provider.name()).save(state);
    if branch.origin == DatabaseOrigin::Existing {
        let (provider, id) = (provider.clone(), branch.id.clone());
        // Nothing waits for the refresh, and the run may end before it without harm.
        tokio::task::spawn_local(async move { provider.refresh(&id).await });
    }
    let worked = branch.origin != DatabaseOrigin::Existing;
    let outcome = match &branch.origin {
        DatabaseOrigin::Existing => format!("{} is there", branch.name),
        DatabaseOrigin::Empty => format!("{} created empty", branch.name),
        DatabaseOrigin::CopyOf(parent) => format!("{} created from {parent}", branch.name),
    };
    ctx.events.send(Event::StepDone { step: Step::Database, outcome, worked, took: start.elapsed() });
    Ok(Some(ReadyDatabase { provider, branch }))
}

async fn make(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    progress: &Progress,
    provider: &dyn Provider,
    wanted: &WantedDatabase,
) -> Result<BranchDatabase, Report> {
    if provider.makes_parents()
        && let Some(branch) = provider.find(&wanted.name).await?
    {
        return Ok(branch);
    }
    make_parent(ctx, resolved, progress, provider, wanted).await?;
    provider.ensure(wanted).await
}

/// Creates, migrates and seeds the parent if it is missing or its seed failed, and if this worktree has the default branch's
/// migrations.
pub(super) async fn make_parent(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    progress: &Progress,
    provider: &dyn Provider,
    wanted: &WantedDatabase,
) -> Result<(), Report> {
    let has_parent = wanted.parent != wanted.name;
    if has_parent
        && provider.makes_parents()
        && !seed::is_complete(resolved, provider.find(&wanted.parent).await?.as_ref()).await?
        && has_parents_migrations(ctx, resolved).await
    {
        let default = resolved.default_branch.as_deref().filter(|branch| {
            let named = database_names::name_of(resolved, provider, branch).ok().flatten();
            named.as_ref() == Some(&wanted.parent)
        });
        let label = default.unwrap_or(&wanted.parent).into();
        let parent = WantedDatabase { label, name: wanted.parent.clone(), ..wanted.clone() };
        let parent = provider.ensure(&parent).await?;
        let address = DatabaseAddress { name: &parent.name, url: &parent.url, unpooled: None };
        let env = resolved.environment(ctx, Some(address))?;
        seed::prepare(ctx, resolved, &parent).await?;
        run_migrations(ctx, resolved, &env, provider, &parent, progress).await?;
        seed::run(ctx, resolved, &env, provider, &parent, progress).await?;
    }
    Ok(())
}

/// Returns true if this worktree's migrations are the same as the default branch's, so that it may run them in the
/// parent.
async fn has_parents_migrations(ctx: &Context, resolved: &ResolvedWorktree) -> bool {
    let default = resolved.default_branch.as_deref();
    let migrate = resolved.config.database.as_ref().and_then(|database| database.migrate.as_ref());
    let (Some(default), Some(migrate)) = (default, migrate) else { return false };
    if migrate.inputs.is_empty() {
        return false;
    }
    let paths: Vec<String> = migrate
        .inputs
        .iter()
        .map(|input| migrate.directory.join(input).to_string_lossy().into_owned())
        .chain(seed::file(resolved))
        .collect();
    worktree::sees_same_files(ctx, &resolved.worktree.path, default, &paths).await
}

/// Migrates `branch`, seeds it if it is a parent that was empty, then prepares it to be copied while it is in use. Returns a few words on
/// the migrations and the seed; `None` if there are no migrations and nothing was seeded.
pub(super) async fn migrate(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    env: &Environment,
    provider: &dyn Provider,
    branch: &BranchDatabase,
    progress: &Progress,
) -> Result<Option<String>, Report> {
    let is_seeded = resolved.config.database.as_ref().is_some_and(|database| database.seed.is_some())
        && provider.makes_parents()
        && choose(ctx, resolved, true)?.is_some_and(|chosen| {
            chosen.wanted.parent == chosen.wanted.name && chosen.wanted.name == branch.name
        });
    if is_seeded {
        seed::prepare(ctx, resolved, branch).await?;
    }
    let mut told = run_migrations(ctx, resolved, env, provider, branch, progress).await?;
    if is_seeded && let Some(seeded) = seed::run(ctx, resolved, env, provider, branch, progress).await? {
        told = Some(told.map_or_else(|| seeded.clone(), |told| format!("{told}, {seeded}")));
    }
    // Without the preparation, copies take longer.
    if let Err(report) = provider.prepare_copies(&branch.name).await {
        ctx.events.warn(format!("{} is not ready for fast copies: {}", branch.name, report.message));
    }
    Ok(told)
}

async fn run_migrations(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    env: &Environment,
    provider: &dyn Provider,
    branch: &BranchDatabase,
    progress: &Progress,
) -> Result<Option<String>, Report> {
    let Some(migrate) = resolved.config.database.as_ref().and_then(|database| database.migrate.as_ref())
    else {
        return Ok(None);
    };
    let directory = resolved.folder(&migrate.directory);
    let mut vars = command_env::schema(ctx, resolved, env, branch, &directory, &migrate.run)?;
    let psql = if migrate.is_sql {
        command_env::lead_psql(&mut vars, branch);
        Some(command_env::psql(ctx, resolved, "database.migrate.sql").await?)
    } else {
        None
    };
    let tools = tools(resolved, migrate);
    let (elsewhere, suspect) = fixed_urls(resolved, migrate);
    let request = MigrateRequest {
        branch,
        name: branch.name.clone(),
        command: migrate.run.clone(),
        psql,
        root: resolved.worktree.path.clone(),
        directory,
        inputs: migrate.inputs.clone(),
        env: vars,
        variable: resolved.config.url_env().first().map_or("DATABASE_URL", |url| url.name.as_str()).into(),
        elsewhere,
        suspect,
        has_packages: !tools.is_empty(),
        limit: MIGRATION,
    };
    progress.until(&tools).await;
    let start = Instant::now();
    let migrated = match migrate::ensure(ctx, &request).await {
        // The migration has not run yet.
        Err(MigrateError::Extension { extension, .. }) if provider.provide_extension(&extension).await? => {
            migrate::ensure(ctx, &request).await
        }
        migrated => migrated,
    };
    let migrated = match migrated {
        Err(error) => Err(with_relatives(ctx, resolved, provider, branch, error).await),
        migrated => migrated,
    };
    let migrated = migrated.map_err(Report::from).inspect_err(|report| {
        if report.code == Code::DatabaseUnavailable {
            // The remembered address of the branch may be wrong; without it, the next run asks the provider again.
            provider.forget();
        }
    });
    let Migrated { outcome, worked, files } = migrated?;
    migrated_files::save(&resolved.worktree.state, files);
    let took = start.elapsed();
    let told = if worked { format!("{outcome} in {:.1} s", took.as_secs_f64()) } else { outcome.clone() };
    ctx.events.send(Event::StepDone { step: Step::Migrate, outcome, worked, took });
    Ok(Some(told))
}

/// Adds one fact to `error`: how to get a missing extension, that devrun does not reset the database, or that the parent has the same
/// unknown revision.
async fn with_relatives(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    provider: &dyn Provider,
    branch: &BranchDatabase,
    error: MigrateError,
) -> MigrateError {
    if let Some(extension) = error.missing_extension().map(String::from) {
        let advice = Box::pin(extension_advice::of(resolved, provider, &extension)).await;
        return error.with_extension_advice(advice);
    }
    if provider
        .describe(&branch.name)
        .await
        .is_ok_and(|entry| entry.is_some_and(|entry| entry.kept.is_some()))
    {
        return error.of_kept();
    }
    if !error.is_unknown_revision() {
        return error;
    }
    let chosen = choose(ctx, resolved, true).ok().flatten();
    let Some(parent) = chosen.map(|chosen| chosen.wanted.parent) else { return error };
    match provider.find(&parent).await {
        Ok(Some(database)) => error.with_parent(&parent, &migrate::revisions(&database).await),
        _ => error,
    }
}

/// Returns the line with the URL of a database that Alembic would certainly migrate instead of the branch database, and the line
/// with one that it may migrate.
fn fixed_urls(resolved: &ResolvedWorktree, migrate: &Migrate) -> (Option<String>, Option<String>) {
    let command = migrate.run.to_string();
    let words: Vec<&str> = command.split_whitespace().collect();
    if !words.iter().any(|word| word.rsplit('/').next() == Some("alembic")) || words.contains(&"-x") {
        return (None, None);
    }
    let given = words.iter().position(|word| matches!(*word, "-c" | "--config"));
    let name = given.and_then(|at| words.get(at + 1).copied()).unwrap_or("alembic.ini");
    let folder = resolved.folder(&migrate.directory);
    let (ini, root) = (folder.join(name), &resolved.worktree.path);
    let source = |path: &Path| read::text(path, Limit::SMALL).ok();
    if let Some(line) = alembic::fixed_url(&ini, &source) {
        return (Some(format!("{}:{line}", ini.display())), None);
    }
    let mut roots = vec![folder.join("src"), folder.clone()];
    roots.extend((folder != *root).then(|| root.clone()));
    match alembic_code::url_in_code(&ini, &roots, &source) {
        Some(url) if url.is_certain => (Some(format!("{}:{}", url.file.display(), url.line)), None),
        Some(url) => (None, Some(format!("{}:{}", url.file.display(), url.line))),
        None => (None, None),
    }
}

/// Returns the needs of the migration command itself.
pub(super) fn tools(resolved: &ResolvedWorktree, migrate: &Migrate) -> BTreeSet<Need> {
    if migrate.is_sql { BTreeSet::new() } else { command_env::tools(resolved, &migrate.run) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_and_database_have_the_same_providers() {
        assert!(crate::config::provider::names().eq(providers::NAMES));
    }
}
