//! Gives subcommands access to the repository's branch databases without a run: to list, migrate, reset or delete them.
//!
//! Creates only what the user asked for. If no database was ever made, the list is empty, and devrun starts no server
//! to find that out. A server that was started for such a subcommand is stopped with it.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;

use super::branch_database::{self, ChosenProvider};
use super::database_names;
use super::provider_variables::VariableSources;
use super::ready_database::ReadyDatabase;
use super::{DatabaseConditions, Progress, ResolvedWorktree, Tasks, preview, resolved_worktree, seed, steps};
use crate::context::Context;
use crate::database::compare::{self, CompareError, DatabaseDifference, RowChanges};
use crate::database::extension_list::{self, ServerExtension};
use crate::database::import::{ImportRequest, Imported};
use crate::database::migrate::{MigrationSource, SchemaState, schema_state};
use crate::database::providers;
use crate::database::saved_snapshots::SavedSnapshot;
use crate::database::undo::{UndoError, Undoing, permit};
use crate::database::upgrade::Upgraded;
use crate::database::variables::Variables;
use crate::database::{BranchDatabase, ListedDatabase, Provider, Purpose, ServerState, WantedDatabase};
use crate::error::{Code, Report};
use crate::plan::Need;
use crate::worktree::Worktree;

/// The branch databases that this worktree's provider has.
pub struct Databases {
    ctx: Context,
    /// The worktree, its configuration and its ports.
    pub resolved: Rc<ResolvedWorktree>,
    /// The database of this worktree, which may not exist.
    pub own: WantedDatabase,
    /// Name of the provider.
    pub provider: &'static str,
    /// The state of the provider's server before it was opened; `None` if devrun starts no server for it.
    pub server: Option<ServerState>,
    source: Rc<dyn Provider>,
}

impl Databases {
    /// Reads the configuration and opens the provider. Fails if the configuration asks for no database.
    pub async fn open(ctx: &Context) -> Result<Databases, Report> {
        Databases::of(ctx, preview::resolve_without_starting(ctx).await?).await
    }

    /// Works like [`Databases::open`] for `worktree`, but leases no ports.
    pub async fn open_without_lease(ctx: &Context, worktree: &Worktree) -> Result<Databases, Report> {
        Databases::of(ctx, resolved_worktree::read_without_lease(ctx, worktree.clone()).await?).await
    }

    async fn of(ctx: &Context, resolved: ResolvedWorktree) -> Result<Databases, Report> {
        let resolved = Rc::new(resolved);
        let ctx = &resolved.discreet(ctx);
        let Some(ChosenProvider { provider: source, wanted }) =
            branch_database::choose(ctx, &resolved, false)?
        else {
            return Err(none());
        };
        let server = source.server()?;
        source.open(Purpose::Look).await?;
        Ok(Databases { ctx: ctx.clone(), resolved, own: wanted, provider: source.name(), server, source })
    }

    /// Ends the access, and so stops a server that nothing else uses. Returns the state of the server, `None` if devrun starts none.
    pub fn close(self) -> Result<Option<ServerState>, Report> {
        let Databases { ctx, resolved, source, .. } = self;
        drop(source);
        branch_database::choose(&ctx, &resolved, false)?.ok_or_else(none)?.provider.server()
    }

    /// Returns the description of the database `name`; `None` if it does not exist.
    pub async fn describe(&self, name: &str) -> Result<Option<ListedDatabase>, Report> {
        Ok(self.source.describe(name).await?.map(|entry| self.labelled(entry)))
    }

    /// Returns the name of the database of `branch`. `None` if databases are not named after branches.
    pub fn name_of(&self, branch: &str) -> Option<String> {
        database_names::name_of(&self.resolved, &*self.source, branch).ok().flatten()
    }

    /// Returns `entry` with the present label, if it is the database of this worktree: some services never change the label
    /// of a database that was renamed with its branch.
    fn labelled(&self, mut entry: ListedDatabase) -> ListedDatabase {
        let label = &self.own.label;
        let is_named_after_it = || match self.resolved.branch() {
            Some(branch) => self.name_of(branch).is_some_and(|name| name == self.own.name),
            None => label.is_detached(),
        };
        if entry.name == self.own.name && entry.made_by_devrun && is_named_after_it() {
            entry.label = Some(label.clone());
            if label.is_detached() {
                entry.worktree = Some(self.own.worktree.clone());
            }
        }
        entry
    }

    /// Returns the descriptions of all databases.
    pub async fn list(&self) -> Result<Vec<ListedDatabase>, Report> {
        Ok(self.source.list().await?.into_iter().map(|entry| self.labelled(entry)).collect())
    }

    /// Returns the address of the database `name`. Fails if it does not exist.
    pub async fn find(&self, name: &str) -> Result<BranchDatabase, Report> {
        let found = self.source.find(name).await?;
        found.ok_or_else(|| UndoError::Missing(name.into()).into())
    }

    /// Returns the address of the database `name`, as [`Databases::find`] does. Errors if it is no Postgres, which `verb` needs.
    pub async fn find_postgres(&self, name: &str, verb: &'static str) -> Result<BranchDatabase, Report> {
        let branch = self.find(name).await?;
        if branch.records.is_none() {
            return Ok(branch);
        }
        Err(UndoError::NoPostgres { provider: self.provider, name: name.into(), verb }.into())
    }

    /// Returns the extensions that the server offers, asked in this worktree's database or, if there is none, in another.
    pub async fn extensions(&self) -> Result<(BranchDatabase, Vec<ServerExtension>), Report> {
        let all: BTreeSet<String> = self.list().await?.into_iter().map(|entry| entry.name).collect();
        let preferred = [&self.own.name, &self.own.parent].into_iter().find(|name| all.contains(*name));
        let name = preferred.or(all.first()).unwrap_or(&self.own.name);
        let branch = self.find_postgres(name, "devrun db extensions").await?;
        let found = extension_list::list(&branch).await?;
        Ok((branch, found))
    }

    /// Returns the state of the schema of `branch`; `None` if this worktree has no migrations to compare with.
    pub async fn schema_state(&self, branch: &BranchDatabase) -> Result<Option<SchemaState>, Report> {
        let own = branch.name == self.own.name;
        let migrate = self.resolved.config.database.as_ref().and_then(|database| database.migrate.as_ref());
        let Some(migrate) = migrate else { return Ok(None) };
        let folder = self.resolved.folder(&migrate.directory);
        let source = own.then_some(MigrationSource {
            command: &migrate.run,
            is_sql: migrate.is_sql,
            directory: &folder,
            globs: &migrate.inputs,
        });
        Ok(Some(schema_state(branch, source).await?))
    }

    /// Returns the database `name` if `doing` is allowed on it; `None` if it does not exist. `named` is true if the
    /// user wrote the whole name.
    pub async fn permitted(
        &self,
        name: &str,
        doing: Undoing,
        named: bool,
    ) -> Result<Option<ListedDatabase>, Report> {
        let Some(entry) = self.describe(name).await? else { return Ok(None) };
        permit(&entry, doing, named)?;
        Ok(Some(entry))
    }

    /// Replaces a database by a new copy of its parent, or with `from_snapshot` of the parent's last snapshot. Migrates this worktree's own
    /// database; another worktree's is migrated at its next run. Returns the database and a few words on the migrations.
    pub async fn reset(
        &self,
        entry: &ListedDatabase,
        from_snapshot: bool,
    ) -> Result<(BranchDatabase, Option<String>), Report> {
        let source = &self.source;
        let reset = async |wanted: &WantedDatabase| {
            if from_snapshot { source.reset_from_snapshot(wanted).await } else { source.reset(wanted).await }
        };
        if entry.name != self.own.name {
            let Some(parent) = entry.parent.clone() else {
                return Err(UndoError::Orphan(entry.name.clone()).into());
            };
            let wanted = WantedDatabase {
                label: entry.label.clone().unwrap_or_else(|| entry.name.as_str().into()),
                name: entry.name.clone(),
                parent,
                worktree: entry.worktree.clone().unwrap_or_else(|| self.own.worktree.clone()),
            };
            return Ok((reset(&wanted).await?, None));
        }
        let mut shop = ToolInstaller::open(&self.ctx, &self.resolved);
        let (ctx, resolved, progress) = (&self.ctx, &*self.resolved, shop.progress.clone());
        let work = Box::pin(async {
            branch_database::make_parent(ctx, resolved, &progress, &**source, &self.own).await?;
            let branch = reset(&self.own).await?;
            let settled = ReadyDatabase { provider: source.clone(), branch };
            let migrated = migrated(ctx, resolved, &settled, &progress).await?;
            Ok((settled.branch, migrated))
        });
        shop.during(work).await
    }

    /// Returns the database to compare with, and this worktree's. Without `other`, the first is the parent.
    pub async fn pair(&self, other: Option<&str>) -> Result<(BranchDatabase, BranchDatabase), Report> {
        let own = &self.own.name;
        let parent = match (other, self.describe(own).await?) {
            (Some(other), _) => other.to_string(),
            (None, None) => return Err(UndoError::Missing(own.clone()).into()),
            (None, Some(entry)) => entry.parent.unwrap_or_else(|| self.own.parent.clone()),
        };
        if parent == *own {
            return Err(CompareError::NoParent(own.clone()).into());
        }
        let verb = "devrun db diff";
        Ok((self.find_postgres(&parent, verb).await?, self.find_postgres(own, verb).await?))
    }

    /// Compares the schemas and numbers of rows of two databases.
    pub async fn difference(
        &self,
        base: &BranchDatabase,
        own: &BranchDatabase,
    ) -> Result<DatabaseDifference, Report> {
        Ok(compare::databases(base, own).await?)
    }

    /// Compares the rows of a table of two databases. Returns at most `limit` of those that differ.
    pub async fn row_changes(
        &self,
        base: &BranchDatabase,
        own: &BranchDatabase,
        table: &str,
        limit: usize,
    ) -> Result<RowChanges, Report> {
        Ok(compare::rows(base, own, table, limit).await?)
    }

    /// Takes the snapshot `snapshot` of this worktree's database.
    pub async fn save_snapshot(&self, snapshot: &str) -> Result<SavedSnapshot, Report> {
        self.find(&self.own.name).await?;
        self.source.save_snapshot(&self.own.name, snapshot).await
    }

    /// Returns the snapshots of all databases.
    pub async fn snapshots(&self) -> Result<Vec<SavedSnapshot>, Report> {
        self.source.saved_snapshots().await
    }

    /// Deletes the snapshot `snapshot` of this worktree's database.
    pub async fn delete_snapshot(&self, snapshot: &str) -> Result<(), Report> {
        self.source.delete_snapshot(&self.own.name, snapshot).await
    }

    /// Replaces this worktree's database by a copy of its snapshot, and migrates it. Returns the database and a few words on the
    /// migrations.
    pub async fn restore_snapshot(&self, snapshot: &str) -> Result<(BranchDatabase, Option<String>), Report> {
        let mut shop = ToolInstaller::open(&self.ctx, &self.resolved);
        let progress = shop.progress.clone();
        let work = Box::pin(async {
            let branch = self.source.restore_snapshot(&self.own, snapshot).await?;
            let settled = ReadyDatabase { provider: self.source.clone(), branch };
            let migrated = migrated(&self.ctx, &self.resolved, &settled, &progress).await?;
            Ok((settled.branch, migrated))
        });
        shop.during(work).await
    }

    /// Replaces the parent by another database. Creates the server if there is none. If the parent is this worktree's own
    /// database, migrates it. Returns the result, and a few words on the migrations.
    pub async fn import(&self, request: &ImportRequest) -> Result<(Imported, Option<String>), Report> {
        let mut shop = ToolInstaller::open(&self.ctx, &self.resolved);
        let mut held = ServerClaims::default();
        let progress = shop.progress.clone();
        let work = Box::pin(async {
            let mut entrust = held.receiver();
            self.source.open(Purpose::Run(&mut entrust)).await?;
            let name = self.own.parent.clone();
            let is_own = name == self.own.name;
            // The new database keeps the branch and worktree of the one that it replaces.
            let known = self.describe(&name).await?.filter(|_| !is_own).unwrap_or_default();
            let label = if is_own { self.own.label.clone() } else { name.as_str().into() };
            let wanted = WantedDatabase {
                label: known.label.unwrap_or(label),
                worktree: known.worktree.unwrap_or_else(|| self.own.worktree.clone()),
                name: name.clone(),
                parent: name,
            };
            let imported = self.source.import(&wanted, request).await?;
            if !is_own {
                return Ok((imported, None));
            }
            let branch = self.find(&wanted.name).await?;
            let settled = ReadyDatabase { provider: self.source.clone(), branch };
            Ok((imported, migrated(&self.ctx, &self.resolved, &settled, &progress).await?))
        });
        shop.during(work).await
    }

    /// Returns the variable `name` of the environment or of an env file.
    pub fn variable(&self, name: &str) -> Option<String> {
        let sources = VariableSources { ctx: &self.ctx, resolved: &self.resolved };
        sources.find(name).map(|variable| variable.value)
    }

    /// Returns true if other clones may keep databases in the same place.
    pub fn is_shared(&self) -> bool {
        self.source.is_shared()
    }

    /// Deletes a database. Returns false if it did not exist.
    pub async fn delete(&self, name: &str) -> Result<bool, Report> {
        self.source.delete(name).await
    }
}

/// Starts the database server and lets it run without a stack. Returns the name of the provider.
pub async fn start_server(ctx: &Context) -> Result<&'static str, Report> {
    let source = provider_of(ctx).await?;
    let mut held = ServerClaims::default();
    let mut entrust = held.receiver();
    source.open(Purpose::Run(&mut entrust)).await?;
    let provider = source.name();
    if source.keep_server()? { Ok(provider) } else { Err(UndoError::NoServer { provider }.into()) }
}

/// Starts the database server of a running stack again if it was killed, so that it stays while a stack uses it. Returns true
/// if the server had to be started. Errors if it does not start.
pub async fn restart_killed_server(ctx: &Context) -> Result<bool, Report> {
    // An error in the configuration is reported where it is used.
    let Ok(source) = provider_of(ctx).await else { return Ok(false) };
    if source.server()? != Some(ServerState::Stopped) {
        return Ok(false);
    }
    let mut held = ServerClaims::default();
    let mut entrust = held.receiver();
    source.open(Purpose::Run(&mut entrust)).await?;
    Ok(source.server()? == Some(ServerState::Running))
}

/// Stops the database server unless a devrun uses it. Returns the name of the provider, and the server's state.
pub async fn stop_server(ctx: &Context) -> Result<(&'static str, ServerState), Report> {
    let source = provider_of(ctx).await?;
    source.release_server()?;
    let provider = source.name();
    let state = source.server()?.ok_or(UndoError::NoServer { provider })?;
    Ok((provider, state))
}

/// Moves the databases of the server that devrun starts to a newer major version of Postgres. With `keep_old`, keeps the old
/// data. Returns the name of the provider, and the result.
pub async fn upgrade_server(ctx: &Context, keep_old: bool) -> Result<(&'static str, Upgraded), Report> {
    let source = provider_of(ctx).await?;
    Ok((source.name(), source.upgrade(keep_old).await?))
}

async fn provider_of(ctx: &Context) -> Result<Rc<dyn Provider>, Report> {
    let resolved = preview::resolve_without_starting(ctx).await?;
    let chosen = branch_database::choose(&resolved.discreet(ctx), &resolved, false)?;
    Ok(chosen.ok_or_else(none)?.provider)
}

/// Creates the branch database unless it exists and migrates it, as `up` does before it starts the processes. Returns
/// the name of the provider, the database, and a few words on the migrations. `beside_stack` is true if a stack of this worktree
/// runs.
pub async fn migrate(
    ctx: &Context,
    beside_stack: bool,
) -> Result<(&'static str, BranchDatabase, Option<String>), Report> {
    let resolved = Rc::new(preview::resolve_without_starting(ctx).await?);
    let ctx = &resolved.discreet(ctx);
    let mut shop = ToolInstaller::open(ctx, &resolved);
    let mut held = ServerClaims::default();
    let progress = shop.progress.clone();
    let work = Box::pin(async {
        let mut entrust = held.receiver();
        let conditions = DatabaseConditions { allow_parent: false, beside_stack };
        let ensuring =
            branch_database::ensure(ctx, resolved.clone(), progress.clone(), conditions, &mut entrust);
        let settled = ensuring.await?.ok_or_else(none)?;
        let migrated = migrated(ctx, &resolved, &settled, &progress).await?;
        Ok((settled.provider.name(), settled.branch, migrated))
    });
    shop.during(work).await
}

async fn migrated(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    settled: &ReadyDatabase,
    progress: &Progress,
) -> Result<Option<String>, Report> {
    let env = resolved.environment(ctx, Some(settled.address()))?;
    branch_database::migrate(ctx, resolved, &env, &*settled.provider, &settled.branch, progress).await
}

fn none() -> Report {
    Report::new(Code::DatabaseMissing, "this project has no branch database")
        .with_fix("write a `database:` section in devrun.yaml; `devrun help database` describes it")
}

/// Claims on servers. Dropping them stops each server that has no other user.
#[derive(Default)]
pub(super) struct ServerClaims(Vec<(PathBuf, OwnedFd)>);

impl ServerClaims {
    /// Returns a function that adds the claim on a server, for a provider that is opened for a run.
    pub(super) fn receiver(&mut self) -> impl FnMut(PathBuf, OwnedFd) -> Result<(), Report> {
        |folder, claim| {
            self.0.push((folder, claim));
            Ok(())
        }
    }
}

impl Drop for ServerClaims {
    fn drop(&mut self) {
        for (cluster, claim) in self.0.drain(..) {
            providers::stop_if_last(claim, &cluster);
        }
    }
}

/// Installs the packages that migrations and the seed need, while other work goes on.
struct ToolInstaller {
    progress: Progress,
    gates: UnboundedReceiver<Result<Need, Report>>,
    _tasks: Tasks,
}

impl ToolInstaller {
    fn open(ctx: &Context, resolved: &Rc<ResolvedWorktree>) -> ToolInstaller {
        let migrate = resolved.config.database.as_ref().and_then(|database| database.migrate.as_ref());
        let mut needs =
            migrate.map_or_else(BTreeSet::new, |migrate| branch_database::tools(resolved, migrate));
        needs.extend(seed::tools(resolved));
        let met = Need::ALL.into_iter().filter(|need| !needs.contains(need)).collect();
        let (sender, gates) = unbounded_channel();
        let progress =
            Progress { mask: resolved.mask(), gates: sender, met: Rc::new(watch::Sender::new(met)) };
        let mut tasks = Tasks::default();
        for need in needs {
            tasks.spawn(steps::install(ctx.clone(), resolved.clone(), need, progress.clone()));
        }
        ToolInstaller { progress, gates, _tasks: tasks }
    }

    /// Runs `work`. Fails as soon as the installation of a tool fails.
    async fn during<T>(
        &mut self,
        mut work: impl Future<Output = Result<T, Report>> + Unpin,
    ) -> Result<T, Report> {
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done.map_err(|report| self.progress.mask.report(report)),
                Some(gate) = self.gates.recv() => drop(gate?),
            }
        }
    }
}
