//! Copies a parent as it is at one instant, while other programs use it.
//!
//! A parent without sessions is cloned directly. A parent in use is read under one MVCC snapshot: devrun clones the
//! database's *snapshot*, an earlier clone that has no sessions, and replaces the tables that changed since. If that is
//! not possible, it dumps and restores, with programs that it downloads if there are none. Both leave the sessions of the
//! parent alone. Only if neither is possible, devrun ends them for the time of a direct clone, and says so.

mod closing;
mod direct;
mod dump;
mod error;
mod files;
mod method;
mod reader;
mod relations;
mod replace;
mod schema;
mod snapshot;
mod vacuum;

use std::future::Future;
use std::time::{Duration, SystemTime};

use tokio_postgres::Client;

pub(super) use self::closing::{Hold, close_sessions};
use self::direct::CloneResult;
pub(super) use self::dump::DumpTools;
use self::error::CopyFailure;
use self::snapshot::ParentSnapshot;
pub(super) use self::snapshot::drop_orphans;
use super::Local;
use super::error::LocalError;
use super::state::APP;
use crate::database::catalogue::{CatalogueError, ServerDatabase, identifier, literal, temporary_name};
use crate::event::Events;
use crate::text::duration;

/// The time limit of one attempt to copy a parent beside its sessions.
const LIMIT: Duration = Duration::from_mins(20);

/// The state of the parent that a copy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CopyState {
    /// At an instant during the copy.
    Current,
    /// When its snapshot was taken.
    Snapshot,
}

/// A way to copy a database that leaves its sessions alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CopyMethod {
    /// Clone the snapshot and replace the tables that changed since.
    Replace,
    /// Dump the database and restore the dump.
    Dump,
}

/// How copies read a parent in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct ParentReading {
    /// How long a table may be locked by a client, for example by a migration.
    pub(super) lock_limit: Duration,
    /// Gets the session with the MVCC snapshot when it has read everything.
    pub(super) finished: fn(CopyMethod, Client),
}

impl Default for ParentReading {
    fn default() -> ParentReading {
        ParentReading { lock_limit: Duration::from_secs(30), finished: |_, session| drop(session) }
    }
}

/// The connections that make databases.
pub(super) struct Copier<'a> {
    pub(super) local: &'a Local,
    /// Holds the makers' lock.
    pub(super) maker: &'a Client,
    /// Looks at sessions while `maker` works.
    pub(super) watcher: &'a Client,
    pub(super) events: &'a Events,
    pub(super) reading: ParentReading,
}

/// The database to copy.
pub(super) struct CopySource<'a> {
    pub(super) name: &'a str,
    pub(super) database: &'a ServerDatabase,
}

impl Copier<'_> {
    /// Makes the database `temporary` an exact copy of `source` as it is at one instant during the call.
    pub(super) async fn copy(&self, source: &CopySource<'_>, temporary: &str) -> Result<(), LocalError> {
        self.warn_of_little_space(source).await?;
        if self.clone_unused(source.name, source.database, temporary).await? == CloneResult::Done {
            return Ok(());
        }
        let snapshot = ParentSnapshot::load(self, source.database).await?;
        let mut reasons = Vec::new();
        match &snapshot {
            None => reasons.push("there is no earlier clone of it".into()),
            Some(snapshot) => {
                let copy = Box::pin(replace::copy(self, source, snapshot, temporary));
                let Some(reason) = self.attempt(copy, temporary).await? else { return Ok(()) };
                reasons.push(reason);
            }
        }
        match Box::pin(DumpTools::find_or_fetch(self.local)).await {
            Err(why) => {
                let why = why.lines().collect::<Vec<_>>().join("; ");
                reasons.push(format!("there is no pg_dump of the server's version ({why})"));
            }
            Ok(tools) => {
                let copy = Box::pin(dump::copy(self, source, &tools, temporary));
                let Some(reason) = self.attempt(copy, temporary).await? else { return Ok(()) };
                reasons.push(reason);
            }
        }
        self.copy_without_sessions(source, temporary, &reasons.join("; ")).await
    }

    /// Waits for one way to copy a parent beside its sessions. If it is not possible, removes what it made and returns the reason.
    async fn attempt(
        &self,
        copy: impl Future<Output = Result<(), CopyFailure>>,
        temporary: &str,
    ) -> Result<Option<String>, LocalError> {
        let ended = tokio::time::timeout(LIMIT, copy).await;
        match ended.unwrap_or_else(|_| Err(CopyFailure::Reason("it took too long".into()))) {
            Ok(()) => Ok(None),
            Err(CopyFailure::Error(error)) => Err(error),
            Err(CopyFailure::Reason(reason)) => self.remove(temporary).await.map(|()| Some(reason)),
        }
    }

    /// Makes `temporary` a clone of the snapshot of `source`, however old it is, and reports its age.
    pub(super) async fn copy_snapshot(
        &self,
        source: &CopySource<'_>,
        temporary: &str,
    ) -> Result<(), LocalError> {
        let name = source.name;
        let snapshot = ParentSnapshot::load(self, source.database).await?;
        let snapshot = snapshot.ok_or_else(|| LocalError::NoSnapshot(name.into()))?;
        self.clone(&snapshot.name, temporary, &format!("copy the snapshot of {name}")).await?;
        let age = SystemTime::now().duration_since(snapshot.taken()).unwrap_or_default();
        self.events.note(format!("copied {name} as it was {} ago", duration::rounded(age.as_secs())));
        Ok(())
    }

    /// Takes a new snapshot of `source` if that makes later copies faster, and if no session uses it.
    pub(super) async fn refresh_snapshot(&self, source: &CopySource<'_>) -> Result<(), LocalError> {
        snapshot::refresh(self, source).await
    }

    /// Ends the sessions of `source` for the time of a direct clone. Keeps that clone as the snapshot, so that this is
    /// not needed again until the schema changes.
    async fn copy_without_sessions(
        &self,
        source: &CopySource<'_>,
        temporary: &str,
        reason: &str,
    ) -> Result<(), LocalError> {
        let name = source.name;
        let doing = format!("copy database {name}");
        self.events.warn(format!("{name} is in use, and cannot be copied beside its connections: {reason}"));
        let clone = temporary_name()?;
        let files = snapshot::flushed_files(self, source.database).await?;
        let closed =
            close_sessions(self, &clone_sql(name, &clone), &doing, source.database, Hold::Copy).await?;
        if let Some(words) = closed.words() {
            let waited = closed.took.as_secs_f32();
            self.events.warn(format!("to copy {name}, {words}, and new ones waited {waited:.1} s"));
        }
        let snapshot = snapshot::publish(self, source.database, &clone, files).await?;
        self.clone(&snapshot.name, temporary, &doing).await
    }

    /// Clones the database `from`, which has no sessions.
    pub(super) async fn clone(&self, from: &str, to: &str, doing: &str) -> Result<(), LocalError> {
        self.maker.batch_execute(&clone_sql(from, to)).await.map_err(LocalError::sql(doing))
    }

    /// Gives the database `temporary` the settings of `source` (`ALTER DATABASE ... SET`, also for single roles), which
    /// belong to no copy that the server makes.
    pub(super) async fn copy_settings(
        &self,
        source: &CopySource<'_>,
        temporary: &str,
    ) -> Result<(), LocalError> {
        let sql = format!(
            "INSERT INTO pg_db_role_setting SELECT d.oid, s.setrole, s.setconfig FROM pg_db_role_setting s, pg_database d \
             WHERE s.setdatabase = {} AND d.datname = {}",
            source.database.oid,
            literal(temporary)
        );
        self.maker.batch_execute(&sql).await.map_err(LocalError::sql("copy the settings of a database"))
    }

    pub(super) async fn remove(&self, name: &str) -> Result<(), LocalError> {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(name));
        self.maker.batch_execute(&sql).await.map_err(LocalError::sql("remove a half-made database"))
    }
}

/// Returns the statement that clones a database file by file, on file systems that can by sharing their blocks.
pub(super) fn clone_sql(from: &str, to: &str) -> String {
    format!("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY OWNER {APP}", identifier(to), identifier(from))
}

/// Returns true if a parent in use can be dumped.
#[cfg(test)]
pub(super) async fn has_dump_tools(local: &Local) -> bool {
    DumpTools::find(local).await.is_some()
}

/// Returns the first cell of the first row.
pub(super) fn cell(rows: Vec<Vec<Option<String>>>) -> Option<String> {
    rows.into_iter().next()?.into_iter().next()?
}

fn failed(doing: &str, reason: impl Into<String>) -> LocalError {
    CatalogueError::with(doing, reason).into()
}
