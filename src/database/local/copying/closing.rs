//! Runs a statement that needs a database without sessions, and ends the sessions that are left there.
//!
//! The statement locks the database first: from then on new connections wait and are not refused.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::direct::OWN_SESSION;
use super::{Copier, cell};
use crate::database::catalogue::{ServerDatabase, rows};
use crate::database::local::error::LocalError;

/// How much time sessions of a parent have to finish their transactions.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(2);

/// The lock that the statement takes on the database before it waits for the sessions there to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::database::local) enum Hold {
    /// Copy it. Sessions in a transaction have [`TRANSACTION_LIMIT`] to finish.
    Copy,
    /// Remove it. Sessions are ended at once.
    Removal,
}

impl Hold {
    const fn mode(self) -> &'static str {
        match self {
            Hold::Copy => "ShareLock",
            Hold::Removal => "AccessExclusiveLock",
        }
    }

    const fn patience(self) -> Duration {
        match self {
            Hold::Copy => TRANSACTION_LIMIT,
            Hold::Removal => Duration::ZERO,
        }
    }
}

/// The sessions that were ended (process id and program of each), without those of devrun, and how long new connections waited.
#[derive(Debug, Default)]
pub(in crate::database::local) struct Closed {
    sessions: BTreeMap<String, String>,
    pub(in crate::database::local) took: Duration,
}

/// Runs `sql` on the maker's connection and, until it is done, ends the sessions in `database`, because `sql` waits for their end.
pub(in crate::database::local) async fn close_sessions(
    copier: &Copier<'_>,
    sql: &str,
    doing: &str,
    database: &ServerDatabase,
    hold: Hold,
) -> Result<Closed, LocalError> {
    let backend = cell(rows(copier.maker, "SELECT pg_backend_pid()", doing).await?).unwrap_or_default();
    let statement = copier.maker.batch_execute(sql);
    tokio::pin!(statement);
    let begin = Instant::now();
    let mut sessions: BTreeMap<String, String> = BTreeMap::new();
    let mut first: Option<Instant> = None;
    let done = loop {
        tokio::select! {
            done = &mut statement => break done,
            () = tokio::time::sleep(Duration::from_millis(15)) => {}
        }
        let all = begin.elapsed() > hold.patience();
        for row in rows(copier.watcher, &end_sessions(&database.oid, &backend, hold, all), doing).await? {
            first.get_or_insert_with(Instant::now);
            let mut row = row.into_iter().map(Option::unwrap_or_default);
            let (pid, program) = (row.next().unwrap_or_default(), row.next().unwrap_or_default());
            // devrun's own sessions only read, and repeat their statements, so no program lost a connection.
            if !program.starts_with(OWN_SESSION) {
                sessions.insert(pid, program);
            }
        }
    };
    done.map_err(LocalError::sql(doing))?;
    Ok(Closed { sessions, took: first.map_or(Duration::ZERO, |first| first.elapsed()) })
}

/// Matches sessions that have been idle for 50 ms and are not devrun's.
const IDLE: &str = "AND a.state = 'idle' AND a.state_change < clock_timestamp() - interval '50 ms' \
                    AND a.application_name NOT LIKE 'devrun (pid %'";

/// Returns a query that ends sessions in the database `oid`. It does nothing until backend `maker` has locked the
/// database, because the clients would reconnect. Unless `all` is set, it spares sessions in a transaction, sessions
/// that were busy a moment ago and sessions of devrun, which end soon anyway. The rows are process id and program of
/// each session.
fn end_sessions(oid: &str, maker: &str, hold: Hold, all: bool) -> String {
    let outside = if all { "" } else { IDLE };
    let mode = hold.mode();
    // MATERIALIZED: with a plain condition the planner might end a session before it checks to which database it
    // belongs.
    format!(
        "WITH chosen AS MATERIALIZED (SELECT a.pid, a.application_name FROM pg_stat_activity a \
         WHERE a.datid = {oid} AND a.backend_type = 'client backend' {outside} \
         AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = {maker} AND l.locktype = 'object' \
         AND l.classid = 'pg_database'::regclass AND l.objid = {oid} AND l.mode = '{mode}' AND l.granted)) \
         SELECT pid, application_name FROM chosen WHERE pg_terminate_backend(pid)"
    )
}

impl Closed {
    /// Returns `2 connections to it were closed (2 of uvicorn)`, or `None` if there were none.
    pub(in crate::database::local) fn words(&self) -> Option<String> {
        let count = self.sessions.len();
        let mut programs: BTreeMap<&str, u32> = BTreeMap::new();
        for program in self.sessions.values() {
            let program = if program.is_empty() { "an unnamed program" } else { program };
            *programs.entry(program).or_default() += 1;
        }
        let programs: Vec<String> =
            programs.iter().map(|(program, count)| format!("{count} of {program}")).collect();
        let (plural, verb) = if count == 1 { ("", "was") } else { ("s", "were") };
        let programs = programs.join(", ");
        (count > 0).then(|| format!("{count} connection{plural} to it {verb} closed ({programs})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_connections_are_counted_by_program() {
        let sessions = BTreeMap::from(
            [("7", "uvicorn"), ("8", ""), ("9", "uvicorn")].map(|(a, b)| (a.into(), b.into())),
        );
        let closed = Closed { sessions, took: Duration::from_millis(320) };
        assert_eq!(
            closed.words().unwrap(),
            "3 connections to it were closed (1 of an unnamed program, 2 of uvicorn)"
        );
        assert_eq!(Closed::default().words(), None);
    }
}
