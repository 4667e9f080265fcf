//! Finds and creates databases in the cluster.
//!
//! A database is created under a temporary name and renamed when it is complete, so no name ever refers to half a copy.
//! All devruns that create databases in a cluster take one advisory lock. Databases with a temporary name that exist
//! while we hold the lock were left by a killed devrun.

use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use super::copying::{Copier, CopySource, CopyState, clone_sql, drop_orphans};
use super::error::LocalError;
use super::unfinished_imports;
use crate::database::WantedDatabase;
use crate::database::catalogue::{
    CatalogueError, ServerDatabase, find, publication, sweep, take_lock, take_turn, temporary_name,
};
use crate::event::{Event, Events, Step};

/// Returns the key of the advisory lock for the database `name`. The lock is taken in `postgres`: exclusively to
/// migrate the database, shared to copy it.
pub fn migration_key(name: &str) -> i64 {
    let digest = Sha256::digest(["devrun-migration:", name].concat());
    let first = digest.first_chunk::<8>().copied().unwrap_or_default();
    // Positive, because `pg_locks` shows the two halves as unsigned numbers.
    i64::from_be_bytes(first) & i64::MAX
}

/// How [`make`] obtained a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DatabaseSource {
    /// Another devrun created it during the call.
    Existing,
    /// It was created empty.
    Empty,
    /// It was created as a copy of the parent with this id.
    CopyOf(String),
}

/// Creates the database that `wanted` describes, unless it exists. The maker's connection holds the lock until it is
/// closed.
pub(super) async fn make(
    copier: &Copier<'_>,
    wanted: &WantedDatabase,
) -> Result<(ServerDatabase, DatabaseSource), LocalError> {
    let (maker, events) = (copier.maker, copier.events);
    if wanted.parent != wanted.name {
        keep_from_migrating(maker, &wanted.parent, events).await?;
    }
    take_turn(maker, events).await?;
    clear_away(copier).await?;
    if let Some(found) = find(maker, &wanted.name).await? {
        return Ok((found, DatabaseSource::Existing));
    }
    let made = if wanted.parent == wanted.name {
        copier.create(wanted, &wanted.name, None).await?;
        DatabaseSource::Empty
    } else {
        let parent = copier.parent(wanted).await?;
        copier.create(wanted, &wanted.name, Some(&parent)).await?;
        DatabaseSource::CopyOf(parent.id)
    };
    let found = find(maker, &wanted.name).await?;
    let gone = || {
        LocalError::from(CatalogueError::with(
            format!("make database {}", wanted.name),
            "it was dropped right after it was created",
        ))
    };
    Ok((found.ok_or_else(gone)?, made))
}

/// Waits until no devrun migrates the database `name`, and prevents migrations while `maker` lives. Called before
/// [`take_turn`], because a migration may take long, and databases with other parents can be created during that time.
pub(super) async fn keep_from_migrating(
    maker: &Client,
    name: &str,
    events: &Events,
) -> Result<(), LocalError> {
    let lock = format!("pg_try_advisory_lock_shared({})", migration_key(name));
    Ok(take_lock(maker, &lock, &format!("waiting for the migration of {name}"), events).await?)
}

/// Drops what killed devruns and dropped parents left. The caller holds the makers' lock.
pub(super) async fn clear_away(copier: &Copier<'_>) -> Result<(), LocalError> {
    sweep(copier.maker).await?;
    unfinished_imports::sweep(copier.maker).await?;
    drop_orphans(copier).await
}

impl Copier<'_> {
    /// Returns the parent. Creates it empty if it does not exist: a branch can come before any work on the default
    /// branch.
    pub(super) async fn parent(&self, wanted: &WantedDatabase) -> Result<ServerDatabase, LocalError> {
        let name = &wanted.parent;
        if let Some(found) = find(self.maker, name).await? {
            return Ok(found);
        }
        let parent = WantedDatabase { label: name.as_str().into(), name: name.clone(), ..wanted.clone() };
        self.create(&parent, name, None).await?;
        self.events.note(format!("{name} did not exist yet: it was created empty, then copied"));
        find(self.maker, name).await?.ok_or_else(|| {
            LocalError::from(CatalogueError::with(
                format!("make database {name}"),
                "it was dropped right after it was created",
            ))
        })
    }

    async fn create(
        &self,
        wanted: &WantedDatabase,
        name: &str,
        parent: Option<&ServerDatabase>,
    ) -> Result<(), LocalError> {
        let temporary = self.fill(wanted, parent, CopyState::Current).await?;
        let sql = format!("BEGIN; {}; COMMIT", publication(wanted, &temporary, parent));
        self.maker.batch_execute(&sql).await.map_err(LocalError::sql(format!("make database {name}")))
    }

    /// Creates the complete database under a temporary name and returns that name.
    pub(super) async fn fill(
        &self,
        wanted: &WantedDatabase,
        parent: Option<&ServerDatabase>,
        state: CopyState,
    ) -> Result<String, LocalError> {
        let name = &wanted.name;
        let doing = || match parent {
            Some(_) => format!("copy database {} to {name}", wanted.parent),
            None => format!("make database {name}"),
        };
        self.events.send(Event::StepProgress { step: Step::Database, detail: doing() });
        let temporary = temporary_name()?;
        if let Some(database) = parent {
            let source = CopySource { name: &wanted.parent, database };
            match state {
                CopyState::Current => self.copy(&source, &temporary).await?,
                CopyState::Snapshot => self.copy_snapshot(&source, &temporary).await?,
            }
            self.copy_settings(&source, &temporary).await?;
        } else {
            let sql = clone_sql("template0", &temporary);
            self.maker.batch_execute(&sql).await.map_err(LocalError::sql(doing()))?;
        }
        Ok(temporary)
    }
}
