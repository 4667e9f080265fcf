//! The `url` provider: databases on a Postgres server that the user names.
//!
//! devrun connects with a URL from the environment or an env file, whose role needs no more than CREATEDB. A branch
//! database is a copy of the parent: the database in the URL, or `database.parent`. devrun never uses, changes or ends
//! sessions in the parent, or in a database that it did not copy from this parent.

mod error;

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use self::error::UrlError;
use super::swap::{put_in_place, remove};
use crate::context::Context;
use crate::database::catalogue::{self, CatalogueError, ServerDatabase, identifier, publication};
use crate::database::connect::{connect, parse};
use crate::database::provider_request::ProviderRequest;
use crate::database::saved_snapshots::{self, SavedSnapshot};
use crate::database::undo::{UndoError, Undoing};
use crate::database::{
    BranchDatabase, ListedDatabase, Provider, ProviderFuture, Purpose, Urls, WantedDatabase,
};
use crate::error::Report;
use crate::event::{Event, Step as Preparation};
use crate::plan::DatabaseOrigin;

/// The time limit for the server to answer.
const CONNECT: Duration = Duration::from_secs(20);
/// Databases that a server needs for itself, so that they are no parents.
const NO_PARENTS: [&str; 3] = [catalogue::MAINTENANCE, "template0", "template1"];

/// The databases of devrun on one server.
pub(super) struct UrlProvider {
    ctx: Context,
    /// The URL from the variable, without the driver in its scheme.
    url: url::Url,
    /// The database to copy.
    parent: String,
}

impl UrlProvider {
    /// Returns the provider with the settings in `request`. Sends nothing. Errors if there is no usable URL or no parent.
    pub(super) fn configured(ctx: &Context, request: &ProviderRequest<'_>) -> Result<UrlProvider, Report> {
        let name = request.section("url").text("admin_env").ok_or(UrlError::NoSetting)?;
        let variable = request.variables.find(&name).ok_or_else(|| UrlError::NoVariable(name.clone()))?;
        let unusable =
            |reason: String| UrlError::Unusable { name: name.clone(), place: variable.place.clone(), reason };
        let config = parse(&variable.value).map_err(|error| unusable(error.to_string()))?;
        // A scheme such as `postgresql+asyncpg` also names a driver.
        let rest = variable.value.split_once("://").map_or("", |(_, rest)| rest);
        let url = url::Url::parse(&format!("postgresql://{rest}"))
            .map_err(|error| unusable(format!("it cannot be parsed: {error}")))?;
        // A parameter of the URL may name another database than its path.
        let moved = parse(&with_database(&url, catalogue::MAINTENANCE));
        if !moved.is_ok_and(|moved| moved.get_dbname() == Some(catalogue::MAINTENANCE)) {
            return Err(unusable("its parameters name the database".into()).into());
        }
        let parent = request.parent.or(config.get_dbname()).filter(|parent| !NO_PARENTS.contains(parent));
        let parent = parent.ok_or_else(|| UrlError::NoParent(name.clone()))?.to_string();
        Ok(UrlProvider { ctx: ctx.clone(), url, parent })
    }

    fn url(&self, database: &str) -> String {
        with_database(&self.url, database)
    }

    /// Connects to the server, in a database that is no parent, because a session in a parent prevents its copy.
    async fn client(&self) -> Result<Client, Report> {
        Ok(connect(&self.url(catalogue::MAINTENANCE), CONNECT).await?)
    }

    fn branch(
        &self,
        name: &str,
        found: ServerDatabase,
        origin: DatabaseOrigin,
        copied_from: Option<String>,
    ) -> BranchDatabase {
        let url = self.url(name);
        BranchDatabase {
            id: found.id,
            name: name.into(),
            direct_url: url.clone(),
            url,
            admin_socket: None,
            records: None,
            origin,
            copied_from,
        }
    }

    /// Adds to `entry` the reason why devrun must not change it.
    fn marked(&self, entry: ListedDatabase) -> ListedDatabase {
        let kept = if entry.name == self.parent {
            Some("the database that others are copied from")
        } else if !entry.made_by_devrun {
            Some("a database that devrun did not make")
        } else if entry.parent.as_ref() != Some(&self.parent) {
            Some("a copy of another parent")
        } else {
            None
        };
        ListedDatabase { kept, ..entry }
    }

    /// Returns the database `name` if it exists. Errors if devrun did not copy it from the parent.
    async fn own(
        &self,
        client: &Client,
        name: &str,
        doing: &'static str,
    ) -> Result<Option<ServerDatabase>, Report> {
        let Some(found) = catalogue::find(client, name).await? else { return Ok(None) };
        let entry = catalogue::entries(client, Some(name)).await?.into_iter().next();
        // A database that the list leaves out is a template or the server's own.
        let entry =
            entry.unwrap_or_else(|| ListedDatabase { name: name.into(), ..ListedDatabase::default() });
        match self.marked(entry).kept {
            Some(what) => Err(UrlError::Kept { name: name.into(), what, doing }.into()),
            None => Ok(Some(found)),
        }
    }

    /// Errors if `name` is the parent, so that nothing works in it.
    fn guard(&self, name: &str) -> Result<(), UrlError> {
        if name == self.parent { Err(UrlError::Parent(name.into())) } else { Ok(()) }
    }

    async fn ensure_database(&self, wanted: &WantedDatabase) -> Result<BranchDatabase, Report> {
        let name = &wanted.name;
        self.guard(name)?;
        let client = self.client().await?;
        if let Some(found) = self.own(&client, name, "use").await? {
            return Ok(self.branch(name, found, DatabaseOrigin::Existing, None));
        }
        self.take_turn(&client).await?;
        if let Some(found) = self.own(&client, name, "use").await? {
            return Ok(self.branch(name, found, DatabaseOrigin::Existing, None));
        }
        let (wanted, temporary, parent) = self.copy(&client, wanted).await?;
        let sql = format!("BEGIN; {}; COMMIT", publication(&wanted, &temporary, Some(&parent)));
        let doing = format!("make database {name}");
        client.batch_execute(&sql).await.map_err(CatalogueError::sql(&doing))?;
        self.made(&client, name, &doing, parent).await
    }

    async fn reset_database(&self, wanted: &WantedDatabase) -> Result<BranchDatabase, Report> {
        let name = &wanted.name;
        self.guard(name)?;
        let client = self.client().await?;
        self.take_turn(&client).await?;
        let doing = format!("reset database {name}");
        let old = self.own(&client, name, Undoing::Reset.word()).await?;
        let (wanted, temporary, parent) = self.copy(&client, wanted).await?;
        let publication = publication(&wanted, &temporary, Some(&parent));
        put_in_place(&client, &self.ctx.events, name, old.is_some(), &publication, &doing).await?;
        self.made(&client, name, &doing, parent).await
    }

    async fn save(&self, name: &str, snapshot: &str) -> Result<SavedSnapshot, Report> {
        self.guard(name)?;
        let client = self.client().await?;
        self.take_turn(&client).await?;
        let found = self.own(&client, name, "copy").await?;
        let found = found.ok_or_else(|| UndoError::Missing(name.into()))?;
        let older = saved_snapshots::list(&client).await?;
        let temporary = self.clone_of(&client, name, &format!("take a snapshot of {name}")).await?;
        saved_snapshots::publish(&client, &temporary, (snapshot, name), &found).await?;
        for one in older.iter().filter(|one| one.of == name && one.name == snapshot) {
            saved_snapshots::remove(&client, one).await?;
        }
        Ok(saved_snapshots::find(&client, name, snapshot).await?)
    }

    async fn restore(&self, wanted: &WantedDatabase, snapshot: &str) -> Result<BranchDatabase, Report> {
        let name = &wanted.name;
        self.guard(name)?;
        let client = self.client().await?;
        self.take_turn(&client).await?;
        let saved = saved_snapshots::find(&client, name, snapshot).await?;
        let old = self.own(&client, name, Undoing::Restore.word()).await?;
        let doing = format!("restore the snapshot {snapshot}");
        let temporary = self.clone_of(&client, &saved.database, &doing).await?;
        let wanted = WantedDatabase { parent: self.parent.clone(), ..wanted.clone() };
        let parent = catalogue::find(&client, &self.parent).await?;
        let parent = parent.ok_or_else(|| UrlError::ParentMissing(self.parent.clone()))?;
        let publication = publication(&wanted, &temporary, Some(&parent));
        put_in_place(&client, &self.ctx.events, name, old.is_some(), &publication, &doing).await?;
        let parent = ServerDatabase { id: saved.source_id, ..parent };
        self.made(&client, name, &doing, parent).await
    }

    /// Copies the database `from` to one with a temporary name. Returns that name. Ends no session.
    async fn clone_of(&self, client: &Client, from: &str, doing: &str) -> Result<String, Report> {
        let temporary = catalogue::temporary_name()?;
        let sql = format!("CREATE DATABASE {} TEMPLATE {}", identifier(&temporary), identifier(from));
        match client.batch_execute(&sql).await {
            Ok(()) => Ok(temporary),
            Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => {
                let sessions = catalogue::sessions(client, from).await?;
                Err(UrlError::Busy { name: from.into(), sessions }.into())
            }
            Err(error) => Err(CatalogueError::sql(doing)(error).into()),
        }
    }

    /// Takes the lock of all devruns that create databases on this server, until `client` is closed.
    async fn take_turn(&self, client: &Client) -> Result<(), Report> {
        catalogue::take_turn(client, &self.ctx.events).await?;
        Ok(catalogue::sweep(client).await?)
    }

    /// Copies the parent to a database with a temporary name. Returns `wanted` with the copied parent, the temporary name, and the parent.
    /// Ends no session: those in the parent are not devrun's.
    async fn copy(
        &self,
        client: &Client,
        wanted: &WantedDatabase,
    ) -> Result<(WantedDatabase, String, ServerDatabase), Report> {
        let parent = catalogue::find(client, &self.parent).await?;
        let parent = parent.ok_or_else(|| UrlError::ParentMissing(self.parent.clone()))?;
        let wanted = WantedDatabase { parent: self.parent.clone(), ..wanted.clone() };
        let doing = format!("copy database {} to {}", self.parent, wanted.name);
        self.ctx.events.send(Event::StepProgress { step: Preparation::Database, detail: doing.clone() });
        let temporary = catalogue::temporary_name()?;
        let sql = format!("CREATE DATABASE {} TEMPLATE {}", identifier(&temporary), identifier(&self.parent));
        match client.batch_execute(&sql).await {
            Ok(()) => Ok((wanted, temporary, parent)),
            Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => {
                let sessions = catalogue::sessions(client, &self.parent).await?;
                Err(UrlError::InUse { parent: self.parent.clone(), sessions }.into())
            }
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                let reason = catalogue::words(&error);
                Err(UrlError::NotPermitted { parent: self.parent.clone(), reason }.into())
            }
            Err(error) => Err(CatalogueError::sql(doing)(error).into()),
        }
    }

    async fn made(
        &self,
        client: &Client,
        name: &str,
        doing: &str,
        parent: ServerDatabase,
    ) -> Result<BranchDatabase, Report> {
        let made = catalogue::find(client, name).await?;
        let made =
            made.ok_or_else(|| CatalogueError::with(doing, "it was dropped right after it was created"))?;
        let origin = DatabaseOrigin::CopyOf(self.parent.clone());
        Ok(self.branch(name, made, origin, Some(parent.id)))
    }
}

/// Returns `url` with another database.
fn with_database(url: &url::Url, database: &str) -> String {
    let mut url = url.clone();
    url.set_path(database);
    url.into()
}

impl Provider for UrlProvider {
    fn name(&self) -> &'static str {
        "url"
    }

    /// Returns false: the parent is not devrun's, and is copied as it is.
    fn makes_parents(&self) -> bool {
        false
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn address(&self, name: &str) -> Result<Option<Urls>, Report> {
        self.guard(name)?;
        let url = self.url(name);
        Ok(Some(Urls { direct_url: url.clone(), url }))
    }

    fn open<'a>(&'a self, _purpose: Purpose<'a>) -> ProviderFuture<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn find<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, Option<BranchDatabase>> {
        Box::pin(async move {
            let found = self.own(&self.client().await?, name, "use").await?;
            Ok(found.map(|found| self.branch(name, found, DatabaseOrigin::Existing, None)))
        })
    }

    fn ensure<'a>(&'a self, wanted: &'a WantedDatabase) -> ProviderFuture<'a, BranchDatabase> {
        Box::pin(self.ensure_database(wanted))
    }

    fn describe<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, Option<ListedDatabase>> {
        Box::pin(async move {
            let client = self.client().await?;
            let found = catalogue::entries(&client, Some(name)).await?;
            let found = saved_snapshots::attach(&client, found).await?;
            Ok(found.into_iter().next().map(|entry| self.marked(entry)))
        })
    }

    fn list(&self) -> ProviderFuture<'_, Vec<ListedDatabase>> {
        Box::pin(async move {
            let client = self.client().await?;
            let all = catalogue::entries(&client, None).await?;
            let all = saved_snapshots::attach(&client, all).await?;
            Ok(all.into_iter().map(|entry| self.marked(entry)).collect())
        })
    }

    fn rename<'a>(&'a self, from: &'a ListedDatabase, wanted: &'a WantedDatabase) -> ProviderFuture<'a, ()> {
        Box::pin(async move {
            let client = self.client().await?;
            self.take_turn(&client).await?;
            catalogue::rename(&client, from, wanted).await?;
            Ok(saved_snapshots::follow(&client, from, &wanted.name).await?)
        })
    }

    fn reset<'a>(&'a self, wanted: &'a WantedDatabase) -> ProviderFuture<'a, BranchDatabase> {
        Box::pin(self.reset_database(wanted))
    }

    fn save_snapshot<'a>(&'a self, name: &'a str, snapshot: &'a str) -> ProviderFuture<'a, SavedSnapshot> {
        Box::pin(self.save(name, snapshot))
    }

    fn saved_snapshots(&self) -> ProviderFuture<'_, Vec<SavedSnapshot>> {
        Box::pin(async move { Ok(saved_snapshots::list(&self.client().await?).await?) })
    }

    fn restore_snapshot<'a>(
        &'a self,
        wanted: &'a WantedDatabase,
        snapshot: &'a str,
    ) -> ProviderFuture<'a, BranchDatabase> {
        Box::pin(self.restore(wanted, snapshot))
    }

    fn delete_snapshot<'a>(&'a self, name: &'a str, snapshot: &'a str) -> ProviderFuture<'a, ()> {
        Box::pin(async move {
            let client = self.client().await?;
            let found = saved_snapshots::find(&client, name, snapshot).await?;
            Ok(saved_snapshots::remove(&client, &found).await?)
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, bool> {
        Box::pin(async move {
            let client = self.client().await?;
            self.take_turn(&client).await?;
            if self.own(&client, name, Undoing::Delete.word()).await?.is_none() {
                return Ok(false);
            }
            remove(&client, name, &format!("delete database {name}")).await?;
            saved_snapshots::remove_all(&client, name).await?;
            Ok(true)
        })
    }
}
