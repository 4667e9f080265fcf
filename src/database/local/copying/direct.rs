//! Clones a database that no session uses.
//!
//! The server locks the database first: from then on, new connections wait for the end of the clone. So devrun soon
//! checks if a session is left, and then cancels the statement before a client waits for long.

use std::time::{Duration, Instant};

use super::{Copier, cell, clone_sql};
use crate::database::catalogue::{ServerDatabase, rows};
use crate::database::local::error::LocalError;

/// How long a session may delay the clone: one of devrun, which only reads a few rows, or one of another program, which may be ending.
const OWN_PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_millis(10);

/// The first characters of the `application_name` of devrun's sessions.
pub(super) const OWN_SESSION: &str = "devrun (pid ";

/// The result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloneResult {
    /// The clone is complete.
    Done,
    /// A session uses the database.
    InUse,
}

impl Copier<'_> {
    /// Clones `database`, which has the name `from`, if no session uses it. Ends no session.
    pub(super) async fn clone_unused(
        &self,
        from: &str,
        database: &ServerDatabase,
        to: &str,
    ) -> Result<CloneResult, LocalError> {
        let doing = format!("copy database {from}");
        if self.has_sessions(database, true, &doing).await? {
            return Ok(CloneResult::InUse);
        }
        let backend = cell(rows(self.maker, "SELECT pg_backend_pid()", &doing).await?).unwrap_or_default();
        let sql = clone_sql(from, to);
        let statement = self.maker.batch_execute(&sql);
        tokio::pin!(statement);
        let begin = Instant::now();
        let mut is_cancelled = false;
        let ended = loop {
            tokio::select! {
                ended = &mut statement => break ended,
                () = tokio::time::sleep(POLL) => {}
            }
            let foreign_only = begin.elapsed() < OWN_PATIENCE;
            if begin.elapsed() > PATIENCE && self.has_sessions(database, foreign_only, &doing).await? {
                is_cancelled = true;
                let cancel = format!("SELECT pg_cancel_backend({backend})");
                rows(self.watcher, &cancel, &doing).await?;
                break statement.await;
            }
        };
        if is_cancelled {
            // The signal may arrive after the statement; then it cancels this one.
            let _ = self.maker.batch_execute("SELECT 1").await;
        }
        match ended {
            Ok(()) => Ok(CloneResult::Done),
            Err(error) if is_cancelled || is_in_use(&error) => Ok(CloneResult::InUse),
            Err(error) => Err(LocalError::sql(doing)(error)),
        }
    }

    /// Returns true if a session uses the database. With `foreign_only`, sessions of devrun do not count.
    async fn has_sessions(
        &self,
        database: &ServerDatabase,
        foreign_only: bool,
        doing: &str,
    ) -> Result<bool, LocalError> {
        let own = if foreign_only {
            format!("AND NOT starts_with(application_name, '{OWN_SESSION}')")
        } else {
            String::new()
        };
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datid = {} AND backend_type = 'client backend' {own}",
            database.oid
        );
        Ok(cell(rows(self.watcher, &sql, doing).await?).as_deref() != Some("0"))
    }
}

fn is_in_use(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&tokio_postgres::error::SqlState::OBJECT_IN_USE)
}
