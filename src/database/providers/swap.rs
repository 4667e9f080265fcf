//! Gives a complete database the name of an older one on the same server, and removes the older one.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::database::catalogue::{self, CatalogueError, identifier, literal, rows};
use crate::event::Events;

/// How often sessions are ended in a database that is replaced, because clients may connect again in between.
const ATTEMPTS: u32 = 3;

/// Runs `publication`, which gives a complete database the name `name`, and removes the database that had the name, if it `exists`.
/// Ends the sessions in the latter.
pub(super) async fn put_in_place(
    client: &Client,
    events: &Events,
    name: &str,
    exists: bool,
    publication: &str,
    doing: &str,
) -> Result<(), CatalogueError> {
    if !exists {
        let sql = format!("BEGIN; {publication}; COMMIT");
        return client.batch_execute(&sql).await.map_err(CatalogueError::sql(doing));
    }
    let aside = catalogue::temporary_name()?;
    let rename = format!("ALTER DATABASE {} RENAME TO {}", identifier(name), identifier(&aside));
    alone(client, events, name, &format!("BEGIN; {rename}; {publication}; COMMIT"), doing).await?;
    remove(client, &aside, doing).await
}

/// Runs a statement that needs the database `name`, which devrun has made, without sessions. Ends these sessions.
async fn alone(
    client: &Client,
    events: &Events,
    name: &str,
    sql: &str,
    doing: &str,
) -> Result<(), CatalogueError> {
    let end =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}", literal(name));
    let mut attempt = 1;
    let mut ended = 0;
    loop {
        ended += rows(client, &end, doing).await?.len();
        match client.batch_execute(sql).await {
            Ok(()) => break,
            Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) && attempt < ATTEMPTS => {
                client.batch_execute("ROLLBACK").await.map_err(CatalogueError::sql(doing))?;
                attempt += 1;
            }
            Err(error) => return Err(CatalogueError::sql(doing)(error)),
        }
    }
    if ended > 0 {
        let plural = if ended == 1 { "" } else { "s" };
        events.warn(format!("{name} was in use: devrun closed {ended} connection{plural} to it"));
    }
    Ok(())
}

/// Drops the database `name`, if it exists, and ends the sessions in it.
pub(super) async fn remove(client: &Client, name: &str, doing: &str) -> Result<(), CatalogueError> {
    let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(name));
    client.batch_execute(&sql).await.map_err(CatalogueError::sql(doing))
}
