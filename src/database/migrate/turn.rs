//! The right to migrate one database: an advisory lock, held as long as a connection lives.
//!
//! Postgres copies a database only while no session is in it. On the local server the lock is therefore held in the database
//! `postgres`, and a session in the branch database lasts for a few statements: a devrun that waits or migrates is never in
//! the way of one that copies. The copier holds the same lock in shared mode, so it copies no half-migrated database.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::marker::{self, KEY, Marker};
use super::{CONNECT, MigrateError, MigrateRequest};
use crate::context::Context;
use crate::database::connect::{ConnectError, reach};
use crate::database::local::{MAINTENANCE, migration_key};

/// Time between two attempts at a lock that another devrun holds.
const POLL: Duration = Duration::from_millis(50);
/// Attempts at the first read: a copier may end such a session, and the next one waits for the end of the copy.
const LOOKS: u32 = 5;

/// The held lock.
pub(super) struct Turn {
    holder: Rc<Client>,
    /// The lock is held in another database of the same server.
    is_elsewhere: bool,
}

/// Reads the markers without the lock; also gives the connection.
pub(super) async fn first_look(request: &MigrateRequest<'_>) -> Result<(Vec<Marker>, Client), MigrateError> {
    for _ in 1..LOOKS {
        let client = session(request).await?;
        match marker::read(&client).await {
            Ok(markers) => return Ok((markers, client)),
            Err(error) if !client.is_closed() => return Err(error),
            Err(_) => {}
        }
    }
    let client = session(request).await?;
    Ok((marker::read(&client).await?, client))
}

async fn session(request: &MigrateRequest<'_>) -> Result<Client, ConnectError> {
    reach(request.branch, None, CONNECT.min(request.limit)).await
}

impl Turn {
    /// Waits for the lock of the request's database. `client` is a connection to that database.
    pub(super) async fn take(
        ctx: &Context,
        request: &MigrateRequest<'_>,
        client: Client,
    ) -> Result<Turn, MigrateError> {
        let is_elsewhere = request.branch.door.is_some();
        let (client, key) = if is_elsewhere {
            drop(client);
            let holder = reach(request.branch, Some(MAINTENANCE), CONNECT.min(request.limit)).await?;
            (holder, migration_key(&request.branch.name))
        } else {
            (client, KEY)
        };
        let start = Instant::now();
        let mut told = false;
        while !marker::try_lock(&client, key).await? {
            let holder = marker::lock_holder(&client, key).await?;
            if start.elapsed() >= request.limit {
                let holder = holder.unwrap_or_else(|| "another devrun".into());
                return Err(MigrateError::Locked {
                    name: request.name.clone(),
                    waited: request.limit,
                    holder,
                });
            }
            if let Some(holder) = holder.filter(|_| !told) {
                told = true;
                ctx.events.note(format!("{holder} is migrating {}: waiting for it", request.name));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(Turn { holder: Rc::new(client), is_elsewhere })
    }

    /// A connection to the database itself, for a few statements.
    pub(super) async fn client(&self, request: &MigrateRequest<'_>) -> Result<Rc<Client>, ConnectError> {
        if self.is_elsewhere { Ok(Rc::new(session(request).await?)) } else { Ok(Rc::clone(&self.holder)) }
    }
}
