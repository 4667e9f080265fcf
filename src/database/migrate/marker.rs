//! Reads and writes the success marker in the branch database, and takes the lock around it.
//!
//! The marker is in a separate schema, so that tools which compare the schema with models do not propose to drop it.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::error::MigrateError;

/// `devrun` in ASCII: the key of the advisory lock that every devrun takes in a database before it migrates. On the local server, devrun
/// takes another lock, in `postgres`.
pub(super) const LOCK_KEY: i64 = 0x6465_7672_756e;

/// One row: the command and files of `fingerprint` succeeded in the database with the id `branch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) branch: String,
    pub(super) fingerprint: String,
}

/// Returns every marker, including those that came with a copy of another database.
pub(super) async fn read(client: &Client) -> Result<Vec<Marker>, MigrateError> {
    let answer = match client.simple_query("select branch_id, fingerprint from _devrun.marker").await {
        Ok(answer) => answer,
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let markers = answer.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some(Marker { branch: row.get(0)?.into(), fingerprint: row.get(1)?.into() })
        }
        _ => None,
    });
    Ok(markers.collect())
}

/// Deletes all markers. The caller holds the lock.
pub(super) async fn clear(client: &Client) -> Result<(), MigrateError> {
    make(client).await?;
    Ok(client.batch_execute("delete from _devrun.marker").await?)
}

/// Records success for `branch` and deletes the markers of other branches. The caller holds the lock.
pub(super) async fn write(
    client: &Client,
    branch: &str,
    fingerprint: &str,
    command: &str,
) -> Result<(), MigrateError> {
    // The migration may have dropped every schema that it found.
    make(client).await?;
    let statement = "with others as (delete from _devrun.marker where branch_id <> $1) \
        insert into _devrun.marker (branch_id, fingerprint, command) values ($1, $2, $3) \
        on conflict (branch_id) do update \
        set fingerprint = excluded.fingerprint, command = excluded.command, migrated_at = now()";
    client.execute(statement, &[&branch, &fingerprint, &command]).await?;
    Ok(())
}

/// Creates the table if it is missing. Checks first, because `if not exists` needs the right to create even when the
/// table exists.
pub(super) async fn make(client: &Client) -> Result<(), MigrateError> {
    let present = client.query_one("select to_regclass('_devrun.marker') is not null", &[]).await?;
    if !present.try_get::<_, bool>(0)? {
        let statements = "create schema if not exists _devrun; \
            create table if not exists _devrun.marker (branch_id text primary key, fingerprint text not null, \
            command text not null, migrated_at timestamptz not null default now())";
        client.batch_execute(statements).await?;
    }
    Ok(())
}

/// Takes the lock until the connection ends. Returns false if another session holds it.
pub(super) async fn try_lock(client: &Client, key: i64) -> Result<bool, MigrateError> {
    Ok(client.query_one("select pg_try_advisory_lock($1)", &[&key]).await?.try_get(0)?)
}

/// Returns the application name of the session that holds the lock.
pub(super) async fn locking_session(client: &Client, key: i64) -> Result<Option<String>, MigrateError> {
    let statement = "select a.application_name from pg_locks l join pg_stat_activity a using (pid) \
        where l.locktype = 'advisory' and l.mode = 'ExclusiveLock' and l.granted and l.objsubid = 1 \
        and l.database = (select oid from pg_database where datname = current_database()) \
        and (l.classid::bigint << 32 | l.objid::bigint) = $1";
    let row = client.query_opt(statement, &[&key]).await?;
    Ok(row.and_then(|row| row.try_get(0).ok()).filter(|name: &String| !name.is_empty()))
}
