//! The snapshot of a parent: a clone of it without sessions, and the state of the parent's files before the clone.
//!
//! The file with that state names both databases by their oids, so it never describes another pair of databases.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::direct::CloneResult;
use super::error::CopyFailure;
use super::files::{DataFiles, SETTLED};
use super::schema::{self, SchemaSum};
use super::{Copier, CopySource, failed, method, relations, vacuum};
use crate::database::catalogue::{ServerDatabase, find, identifier, literal, rows, temporary_name};
use crate::database::local::Local;
use crate::database::local::error::LocalError;
use crate::os::clock;
use crate::os::fs;

/// The beginning of a snapshot's name, before the oid of the parent.
const PREFIX: &str = "_devrun-snap-";
const VERSION: u32 = 2;
/// [`refresh`] takes no snapshot of a parent with more bytes: it costs as much disk, and on most file systems as much time.
const LARGEST: u64 = 4 << 30;

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    parent_oid: String,
    snapshot_oid: String,
    /// Seconds since 1970.
    taken: u64,
    schema: SchemaSum,
    files: DataFiles,
}

/// The snapshot of one parent.
#[derive(Debug)]
pub(super) struct ParentSnapshot {
    pub(super) name: String,
    record: Record,
}

impl ParentSnapshot {
    /// Returns the snapshot of `parent`. `None` if there is none.
    pub(super) async fn load(
        copier: &Copier<'_>,
        parent: &ServerDatabase,
    ) -> Result<Option<ParentSnapshot>, LocalError> {
        let name = format!("{PREFIX}{}", parent.oid);
        let Some(bytes) = fs::read(&record_path(copier.local, &parent.oid))? else { return Ok(None) };
        let Ok(record) = serde_json::from_slice::<Record>(&bytes) else { return Ok(None) };
        let found = find(copier.maker, &name).await?;
        let is_of = |found: ServerDatabase| {
            record.version == VERSION && record.parent_oid == parent.oid && record.snapshot_oid == found.oid
        };
        Ok(found.is_some_and(is_of).then_some(ParentSnapshot { name, record }))
    }

    /// Returns the files of the parent before the snapshot was taken.
    pub(super) fn files(&self) -> &DataFiles {
        &self.record.files
    }

    /// Returns the schema of the snapshot, and of each clone of it.
    pub(super) fn schema(&self) -> &SchemaSum {
        &self.record.schema
    }

    pub(super) fn taken(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.record.taken)
    }
}

/// Takes a new snapshot of `source`, unless the one that exists is good enough or a session uses the parent.
pub(super) async fn refresh(copier: &Copier<'_>, source: &CopySource<'_>) -> Result<(), LocalError> {
    let session = copier.local.session_in(source.name).await?;
    let sum = schema::sum(&session).await?;
    let all = relations::list(&session).await?;
    let mut files = flushed_files(copier, source.database).await?;
    let last = ParentSnapshot::load(copier, source.database).await?;
    let known = last.as_ref().map(|snapshot| snapshot.files().clone()).unwrap_or_default();
    let changes = relations::changes(&all, &all, &known, &files);
    let is_new = last.is_none_or(|last| method::is_worth_a_snapshot(last.record.schema == sum, &changes));
    if !is_new || files.total() > LARGEST {
        return Ok(());
    }
    if vacuum::large(&session, &changes, &files).await? {
        files = flushed_files(copier, source.database).await?;
    }
    drop(session);
    copier.wait_until_unused(source.name).await?;
    let clone = temporary_name()?;
    if copier.clone_unused(source.name, source.database, &clone).await? == CloneResult::Done {
        publish(copier, source.database, &clone, files).await?;
    }
    Ok(())
}

/// Makes the database `clone` the snapshot of `parent`. `files` is the state of the parent's files before the clone.
pub(super) async fn publish(
    copier: &Copier<'_>,
    parent: &ServerDatabase,
    clone: &str,
    files: DataFiles,
) -> Result<ParentSnapshot, LocalError> {
    let doing = "keep a snapshot of the database";
    let name = format!("{PREFIX}{}", parent.oid);
    // Later copies read the schema from the record. It is that of the clone, because the parent's may have changed since.
    let session = copier.local.session_in(clone).await?;
    let schema = schema::sum(&session).await?;
    drop(session);
    copier.wait_until_unused(clone).await?;
    copier.remove(&name).await?;
    let (from, to) = (identifier(clone), identifier(&name));
    let sql = format!(
        "BEGIN; ALTER DATABASE {from} RENAME TO {to}; ALTER DATABASE {to} ALLOW_CONNECTIONS false; COMMIT"
    );
    copier.maker.batch_execute(&sql).await.map_err(LocalError::sql(doing))?;
    let made = find(copier.maker, &name).await?.ok_or_else(|| failed(doing, "it was dropped"))?;
    let taken = clock::unix_seconds();
    let record = Record {
        version: VERSION,
        parent_oid: parent.oid.clone(),
        snapshot_oid: made.oid,
        taken,
        schema,
        files,
    };
    let bytes = serde_json::to_vec(&record).map_err(|error| failed(doing, error.to_string()))?;
    fs::replace(&record_path(copier.local, &parent.oid), &bytes, 0o600)?;
    Ok(ParentSnapshot { name, record })
}

/// Writes everything that is only in memory to the files of `database`, and returns the state of those that have not
/// changed since.
pub(super) async fn flushed_files(
    copier: &Copier<'_>,
    database: &ServerDatabase,
) -> Result<DataFiles, LocalError> {
    copier
        .maker
        .batch_execute("CHECKPOINT")
        .await
        .map_err(LocalError::sql("write the database to its files"))?;
    tokio::time::sleep(SETTLED).await;
    let files = read_files(copier, database).await?;
    Ok(files.settled(SystemTime::now()))
}

/// Returns the state of the files of `database`.
pub(super) async fn read_files(
    copier: &Copier<'_>,
    database: &ServerDatabase,
) -> Result<DataFiles, LocalError> {
    let folder = copier.local.cluster.data().join("base").join(&database.oid);
    let read = tokio::task::spawn_blocking({
        let folder = folder.clone();
        move || DataFiles::read(&folder)
    });
    let read = read.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    read.map_err(LocalError::io("read", &folder))
}

/// Drops the snapshots of parents that no longer exist. The caller holds the makers' lock.
pub(in crate::database::local) async fn drop_orphans(copier: &Copier<'_>) -> Result<(), LocalError> {
    let prefix = literal(PREFIX);
    let sql = format!(
        "SELECT s.datname FROM pg_database s WHERE starts_with(s.datname, {prefix}) \
         AND NOT EXISTS (SELECT FROM pg_database p WHERE s.datname = {prefix} || p.oid)"
    );
    let orphans = rows(copier.maker, &sql, "look for snapshots of dropped databases").await?;
    for name in orphans.into_iter().filter_map(|row| row.into_iter().next()?) {
        copier.remove(&name).await?;
        if let Some(oid) = name.strip_prefix(PREFIX) {
            // Without its database, the file has no effect.
            let _ = std::fs::remove_file(record_path(copier.local, oid));
        }
    }
    Ok(())
}

fn record_path(local: &Local, oid: &str) -> PathBuf {
    local.cluster.folder.join(format!("snapshot-{oid}.json"))
}

impl From<std::io::Error> for CopyFailure {
    fn from(error: std::io::Error) -> CopyFailure {
        CopyFailure::Reason(error.to_string())
    }
}
