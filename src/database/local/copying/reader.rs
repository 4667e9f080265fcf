//! A session that reads a parent in use, as the parent is at one instant.
//!
//! An MVCC snapshot does not cover what empties or rewrites a table (`TRUNCATE`, `ALTER TABLE`). So the session locks the tables against
//! that before it takes its snapshot, and checks that they are all the tables that the snapshot sees. It takes these locks without waiting,
//! and waits at most 100 ms for another lock while it holds them: a longer wait could end in a deadlock, in which the server would cancel a
//! statement of a client.

use std::time::Duration;

use tokio_postgres::Client;

use super::error::CopyFailure;
use super::{Copier, CopySource, cell};
use crate::database::catalogue::{CatalogueError, literal, rows};
use crate::database::local::error::LocalError;
use crate::os::deadline::Deadline;

/// How long the session waits for a lock once it holds its own. It is much shorter than the time after which the server
/// looks for a deadlock, so a client that waits for us is not cancelled.
const IMPATIENCE: &str = "SET LOCAL lock_timeout = '100ms'";
const POLL: Duration = Duration::from_millis(20);

pub(super) struct ParentReader {
    pub(super) client: Client,
}

impl ParentReader {
    /// Opens the session and takes the snapshot.
    pub(super) async fn open(
        copier: &Copier<'_>,
        source: &CopySource<'_>,
    ) -> Result<ParentReader, CopyFailure> {
        let client = copier.local.session_in(source.name).await?;
        client
            .batch_execute(
                "SET statement_timeout = '20min'; SET idle_in_transaction_session_timeout = '20min'",
            )
            .await?;
        let deadline = Deadline::within(copier.reading.lock_limit);
        loop {
            let locked = lock(&client).await;
            if matches!(locked, Ok(true)) {
                return Ok(ParentReader { client });
            }
            client.batch_execute("ROLLBACK").await?;
            if deadline.left().is_zero() {
                let holder = holder(copier, source).await?;
                return Err(match (holder, locked) {
                    (Some(holder), _) => LocalError::Locked { name: source.name.into(), holder }.into(),
                    (None, Err(error)) => error.into(),
                    (None, Ok(_)) => CopyFailure::Reason("its tables keep changing".into()),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Returns the name under which another session can take the same snapshot.
    pub(super) async fn export(&self) -> Result<String, CopyFailure> {
        let name = cell(rows(&self.client, "SELECT pg_export_snapshot()", "export the snapshot").await?);
        name.ok_or_else(|| CopyFailure::Reason("the server exported no snapshot".into()))
    }
}

/// Locks all tables, then takes the snapshot. Returns false if the snapshot sees other tables.
async fn lock(client: &Client) -> Result<bool, CatalogueError> {
    const TABLES: &str = "SELECT c.oid, format('ONLY %I.%I', n.nspname, c.relname) FROM pg_class c \
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p') \
        AND c.relpersistence <> 't' ORDER BY c.oid";
    let doing = "lock the tables";
    let tables = rows(client, TABLES, doing).await?;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    client.batch_execute(begin).await.map_err(CatalogueError::sql(doing))?;
    let names: Vec<&str> = tables.iter().filter_map(|row| row.get(1)?.as_deref()).collect();
    if !names.is_empty() {
        let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT", names.join(", "));
        client.batch_execute(&lock).await.map_err(CatalogueError::sql(doing))?;
    }
    client.batch_execute(IMPATIENCE).await.map_err(CatalogueError::sql(doing))?;
    // The first query of the transaction takes the snapshot.
    Ok(rows(client, TABLES, doing).await? == tables)
}

/// Returns the program that holds a table against readers, in words.
async fn holder(copier: &Copier<'_>, source: &CopySource<'_>) -> Result<Option<String>, CatalogueError> {
    let sql = format!(
        "SELECT format('%s (process %s of the server)', COALESCE(NULLIF(a.application_name, ''), 'an unnamed program'), a.pid) \
         FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid WHERE a.datname = {} AND l.locktype = 'relation' \
         AND l.mode = 'AccessExclusiveLock' AND l.granted ORDER BY a.xact_start LIMIT 1",
        literal(source.name)
    );
    Ok(cell(rows(copier.watcher, &sql, "look for locks").await?))
}
