//! The names and locks of databases that imports fill, and the removal of those that a killed import left.

use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use super::error::LocalError;
use crate::database::catalogue::{CatalogueError, identifier, literal, rows};

/// The beginning of the name of a database that is being filled.
const PREFIX: &str = "_devrun-import-";

/// Returns a name that no other database has.
pub(super) fn name() -> Result<String, CatalogueError> {
    let random = getrandom::u64()
        .map_err(|error| CatalogueError::with("read the source of randomness", error.to_string()))?;
    Ok(format!("{PREFIX}{random:016x}"))
}

/// Marks the database `name` as one that an import fills, while `session` lives.
pub(super) async fn lock(session: &Client, name: &str) -> Result<(), CatalogueError> {
    let sql = format!("SET statement_timeout = 0; SELECT pg_advisory_lock({})", key(name));
    rows(session, &sql, "begin an import").await.map(drop)
}

/// Drops the databases that killed imports left.
pub(super) async fn sweep(client: &Client) -> Result<(), LocalError> {
    let doing = "clear away half-made imports";
    let sql = format!("SELECT datname FROM pg_database WHERE starts_with(datname, {})", literal(PREFIX));
    for name in rows(client, &sql, doing).await?.into_iter().filter_map(|row| row.into_iter().next()?) {
        let key = key(&name);
        let free = rows(client, &format!("SELECT pg_try_advisory_lock({key})"), doing).await?;
        if free.first().and_then(|row| row.first()?.as_deref()) == Some("t") {
            let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(&name));
            let dropped = client.batch_execute(&sql).await;
            rows(client, &format!("SELECT pg_advisory_unlock({key})"), doing).await?;
            dropped.map_err(LocalError::sql(doing))?;
        }
    }
    Ok(())
}

/// Returns the key of the advisory lock of the import into the database `name`.
fn key(name: &str) -> i64 {
    let digest = Sha256::digest(["devrun-import:", name].concat());
    i64::from_be_bytes(digest.first_chunk::<8>().copied().unwrap_or_default()) & i64::MAX
}
