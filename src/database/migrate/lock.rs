//! Takes the lock for migrating one database: an advisory lock, which Postgres releases when its session ends.
//!
//! Postgres copies a database only while no session is connected to it. On the local server the lock is therefore held
//! in the database `postgres`, and a session in the branch database lasts for a few statements only, so a devrun that
//! waits or migrates does not delay a copy. The copying devrun holds the same lock in shared mode, so it never copies a
//! half-migrated database.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::marker::{self, LOCK_KEY};
use super::{CONNECT, MigrateError};
use crate::context::Context;
use crate::database::BranchDatabase;
use crate::database::catalogue::MAINTENANCE;
use crate::database::connect::{ConnectError, Patience, reach};
use crate::database::local::migration_key;
use crate::os::deadline::Deadline;

/// The time between two attempts to take a lock that another devrun holds.
const POLL: Duration = Duration::from_millis(50);

/// The held lock.
pub(super) struct MigrationLock {
    branch: BranchDatabase,
    /// The time limit for a connection.
    connect: Duration,
    holder: Rc<Client>,
    /// True if the lock is held in another database of the same server.
    is_elsewhere: bool,
}

/// Runs `statements` in a new session and returns their result with the connection. A devrun that copies the database
/// ends this session; then the statements run again in a new session, which the server admits after the copy. The
/// statements must therefore only read. Errors if this takes longer than `patience`.
pub(super) async fn in_session<T>(
    branch: &BranchDatabase,
    patience: impl Into<Patience>,
    statements: impl AsyncFn(&Client) -> Result<T, MigrateError>,
) -> Result<(T, Client), MigrateError> {
    let patience = patience.into();
    let deadline = Deadline::within(patience.limit());
    loop {
        let client = reach(branch, None, patience).await?;
        match statements(&client).await {
            // The error may arrive before the client notices that its connection is closed.
            Err(MigrateError::Lost(_)) if !deadline.left().is_zero() => {}
            ended => return Ok((ended?, client)),
        }
    }
}

impl MigrationLock {
    /// Waits for the lock of the database `branch`. `client` is a connection to it. Errors if `limit` passes.
    pub(super) async fn take(
        ctx: &Context,
        branch: &BranchDatabase,
        limit: Duration,
        client: Client,
    ) -> Result<MigrationLock, MigrateError> {
        let connect = CONNECT.min(limit);
        let is_elsewhere = branch.admin_socket.is_some();
        let (client, key) = if is_elsewhere {
            drop(client);
            let holder = reach(branch, Some(MAINTENANCE), connect).await?;
            (holder, migration_key(&branch.name))
        } else {
            (client, LOCK_KEY)
        };
        let start = Instant::now();
        let mut told = false;
        while !marker::try_lock(&client, key).await? {
            let holder = marker::locking_session(&client, key).await?;
            if start.elapsed() >= limit {
                let holder = holder.unwrap_or_else(|| "another devrun".into());
                return Err(MigrateError::Locked { name: branch.name.clone(), waited: limit, holder });
            }
            if let Some(holder) = holder.filter(|_| !told) {
                told = true;
                ctx.events.note(format!("{holder} is migrating {}: waiting for it", branch.name));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(MigrationLock { branch: branch.clone(), connect, holder: Rc::new(client), is_elsewhere })
    }

    /// Returns a connection to the database itself, for a few statements.
    pub(super) async fn client(&self) -> Result<Rc<Client>, ConnectError> {
        if self.is_elsewhere {
            Ok(Rc::new(reach(&self.branch, None, self.connect).await?))
        } else {
            Ok(Rc::clone(&self.holder))
        }
    }
}
