//! The databases of a Postgres server, as all providers with such a server keep them: the comments that devrun writes, the
//! databases that it creates, and the lock of all devruns that create some.
//!
//! A database is created under a temporary name, and gets its comment and its final name in one transaction. So no name
//! ever refers to half a copy, and no database of devrun lacks the comment. The comments can be read without connecting to
//! each database.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::names::RESERVED_PREFIX;
use super::{ListedDatabase, WantedDatabase};
use crate::error::{Code, Explain};
use crate::event::{Event, Events, Step};

/// The time limit for other devruns to create their databases.
const TURN_LIMIT: Duration = Duration::from_mins(10);
pub(super) const TEMPORARY: &str = "_devrun-tmp-";
/// The key of the makers' lock, the same in all devruns: `devr` in ASCII.
const MAKERS: u32 = 0x6465_7672;

/// The database for devrun's locks and for its sessions that need no branch database. It is never copied.
pub(super) const MAINTENANCE: &str = "postgres";

/// An error of a server's catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A statement failed.
    #[error("cannot {doing}: {reason}")]
    Sql {
        /// The failed action, as a verb.
        doing: String,
        /// The reason, in the server's words.
        reason: String,
        /// The server's SQLSTATE, if it sent one.
        state: Option<SqlState>,
    },
    /// A database cannot get another name while programs are connected to it.
    #[error("{from} has to be called {to} now, and programs are connected to it")]
    InUse {
        from: String,
        to: String,
        /// The sessions in words.
        sessions: Vec<String>,
    },
    /// Another devrun has held a lock of the server for too long.
    #[error("another devrun has been copying or migrating a database for more than {seconds} s")]
    Busy {
        /// The time limit in seconds.
        seconds: u64,
    },
}

impl Explain for CatalogueError {
    fn code(&self) -> Code {
        match self {
            CatalogueError::InUse { .. } => Code::AlreadyRunning,
            CatalogueError::Sql { .. } | CatalogueError::Busy { .. } => Code::DatabaseFailed,
        }
    }

    fn why(&self) -> Option<String> {
        let CatalogueError::InUse { sessions, .. } = self else { return None };
        let sessions = sessions.join(", ");
        Some(format!(
            "it was made for this worktree before the branch or the folder got its present name: {sessions}"
        ))
    }

    fn fix(&self) -> Option<String> {
        match self {
            CatalogueError::Busy { .. } => Some("wait until it has finished, or stop it".into()),
            CatalogueError::InUse { .. } => Some(
                "end them (`devrun down`, psql, a stack of another worktree), then the same again".into(),
            ),
            CatalogueError::Sql { state: Some(state), .. } if *state == SqlState::DISK_FULL => {
                Some("make room on the disk of the databases: `devrun db list` shows them, `devrun prune` removes old ones".into())
            }
            CatalogueError::Sql { .. } => None,
        }
    }
}

impl CatalogueError {
    pub(super) fn sql(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> CatalogueError {
        let doing = doing.into();
        move |error| CatalogueError::Sql { doing, reason: words(&error), state: error.code().cloned() }
    }

    /// Returns an error that is not the server's.
    pub(super) fn with(doing: impl Into<String>, reason: impl Into<String>) -> CatalogueError {
        CatalogueError::Sql { doing: doing.into(), reason: reason.into(), state: None }
    }
}

/// An existing database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerDatabase {
    /// The cluster's identifier and the database's oid. A database that is dropped and created again has another id.
    pub(super) id: String,
    pub(super) oid: String,
}

/// The comment that devrun wrote when it created a database.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(super) struct DatabaseComment {
    branch: String,
    #[serde(default)]
    worktree: Option<PathBuf>,
    #[serde(default)]
    parent: Option<String>,
    #[serde(default)]
    created: Option<u64>,
    /// The branch database with whose URL a program created it.
    #[serde(default)]
    pub(super) creator: Option<String>,
}

impl DatabaseComment {
    /// Returns the comment `text`; `None` if devrun did not write it.
    pub(super) fn read(text: &str) -> Option<DatabaseComment> {
        serde_json::from_str(text).ok()
    }
}

/// Returns the database `name` if it exists.
pub(super) async fn find(client: &Client, name: &str) -> Result<Option<ServerDatabase>, CatalogueError> {
    let sql = format!(
        "SELECT c.system_identifier, d.oid FROM pg_control_system() c, pg_database d WHERE d.datname = {}",
        literal(name)
    );
    let rows = rows(client, &sql, &format!("look for database {name}")).await?;
    Ok(rows.first().and_then(|row| {
        let (system, oid) = (row.first()?.as_deref()?, row.get(1)?.as_deref()?);
        Some(ServerDatabase { id: format!("{system}-{oid}"), oid: oid.into() })
    }))
}

/// Returns every database except the server's own and those with devrun's reserved prefix: half-made ones and snapshots. With `name`,
/// returns only that database.
pub(super) async fn entries(
    client: &Client,
    name: Option<&str>,
) -> Result<Vec<ListedDatabase>, CatalogueError> {
    let only = name.map(|name| format!("AND d.datname = {}", literal(name))).unwrap_or_default();
    let sql = format!(
        "SELECT c.system_identifier, d.oid, d.datname, shobj_description(d.oid, 'pg_database'), CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN pg_database_size(d.oid) END \
         FROM pg_control_system() c, pg_database d WHERE NOT d.datistemplate AND d.datname <> 'postgres' \
         AND NOT starts_with(d.datname, {}) {only} ORDER BY d.datname",
        literal(RESERVED_PREFIX)
    );
    let rows = rows(client, &sql, "list the databases").await?;
    Ok(rows.into_iter().filter_map(entry).collect())
}

fn entry(row: Vec<Option<String>>) -> Option<ListedDatabase> {
    let [system, oid, name, remark, size] = <[Option<String>; 5]>::try_from(row).ok()?;
    let remark = remark.and_then(|text| DatabaseComment::read(&text));
    let made_by_devrun = remark.is_some();
    let none =
        DatabaseComment { branch: String::new(), worktree: None, parent: None, created: None, creator: None };
    let DatabaseComment { branch, worktree, parent, created, creator } = remark.unwrap_or(none);
    Some(ListedDatabase {
        id: format!("{}-{}", system?, oid?),
        name: name?,
        parent,
        made_by_devrun,
        label: Some(branch).filter(|branch| !branch.is_empty()).map(Into::into),
        worktree,
        creator,
        created,
        size: size.and_then(|size| size.parse().ok()),
        snapshots: Vec::new(),
        kept: None,
    })
}

/// Waits until no other devrun creates a database in this cluster, then holds the lock while `maker` lives.
pub(super) async fn take_turn(maker: &Client, events: &Events) -> Result<(), CatalogueError> {
    let lock = format!("pg_try_advisory_lock({MAKERS})");
    take_lock(maker, &lock, "waiting for another devrun that makes a database", events).await
}

/// Waits until `lock`, an expression that tries to take an advisory lock, is true. Errors after [`TURN_LIMIT`]. `doing` is for messages.
pub(super) async fn take_lock(
    maker: &Client,
    lock: &str,
    doing: &str,
    events: &Events,
) -> Result<(), CatalogueError> {
    let start = Instant::now();
    let mut told = false;
    let sql = format!("SET statement_timeout = '15min'; SELECT {lock}");
    loop {
        let rows = rows(maker, &sql, "wait for other devruns").await?;
        if rows.first().and_then(|row| row.first()?.as_deref()) == Some("t") {
            return Ok(());
        }
        if start.elapsed() > TURN_LIMIT {
            return Err(CatalogueError::Busy { seconds: TURN_LIMIT.as_secs() });
        }
        if !told && start.elapsed() > Duration::from_secs(1) {
            events.send(Event::StepProgress { step: Step::Database, detail: doing.into() });
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Drops the databases of this role that killed devruns left half-made. The caller holds the makers' lock, so none of them is still
/// being created.
pub(super) async fn sweep(maker: &Client) -> Result<(), CatalogueError> {
    let doing = "clear away half-made databases";
    let sql = format!(
        "SELECT datname FROM pg_database WHERE starts_with(datname, {}) AND pg_has_role(datdba, 'MEMBER')",
        literal(TEMPORARY)
    );
    for name in rows(maker, &sql, doing).await?.into_iter().filter_map(|row| row.into_iter().next()?) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(&name));
        maker.batch_execute(&sql).await.map_err(CatalogueError::sql(doing))?;
    }
    Ok(())
}

/// Returns a temporary name that no other database has.
pub(super) fn temporary_name() -> Result<String, CatalogueError> {
    let number = getrandom::u64()
        .map_err(|error| CatalogueError::with("read the source of randomness", error.to_string()))?;
    Ok(format!("{TEMPORARY}{number:016x}"))
}

/// Returns statements that give the database `temporary` its comment and its final name. Run them in one transaction,
/// so that no database has one without the other.
pub(super) fn publication(
    wanted: &WantedDatabase,
    temporary: &str,
    parent: Option<&ServerDatabase>,
) -> String {
    format!(
        "COMMENT ON DATABASE {0} IS {1}; ALTER DATABASE {0} RENAME TO {2}",
        identifier(temporary),
        literal(&remark(wanted, parent, SystemTime::now())),
        identifier(&wanted.name)
    )
}

/// Returns the comment of a database: one line of JSON. It can be read from every database and disappears with its own.
fn remark(wanted: &WantedDatabase, parent: Option<&ServerDatabase>, now: SystemTime) -> String {
    let created = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut remark = serde_json::json!({
        "branch": wanted.label,
        "worktree": wanted.worktree.to_string_lossy(),
        "created": created,
    });
    if let Some(parent) = parent {
        remark["parent"] = wanted.parent.clone().into();
        remark["parent_oid"] = parent.oid.clone().into();
    }
    remark.to_string()
}

/// Gives the database `from` the name, label and worktree of `wanted`, unless the name is taken or `from` is gone. The caller
/// holds the makers' lock. Errors if programs are connected to it.
pub(super) async fn rename(
    client: &Client,
    from: &ListedDatabase,
    wanted: &WantedDatabase,
) -> Result<(), CatalogueError> {
    let same = find(client, &from.name).await?.is_some_and(|found| found.id == from.id);
    if !same || find(client, &wanted.name).await?.is_some() {
        return Ok(());
    }
    let remark = serde_json::json!({
        "branch": wanted.label,
        "worktree": wanted.worktree.to_string_lossy(),
        "created": from.created,
        "parent": from.parent,
    });
    let (old, new) = (identifier(&from.name), identifier(&wanted.name));
    let remark = literal(&remark.to_string());
    let sql =
        format!("BEGIN; COMMENT ON DATABASE {old} IS {remark}; ALTER DATABASE {old} RENAME TO {new}; COMMIT");
    match client.batch_execute(&sql).await {
        Ok(()) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => {
            let (from, to) = (from.name.clone(), wanted.name.clone());
            // The failed transaction is still open.
            client.batch_execute("ROLLBACK").await.map_err(CatalogueError::sql("rename a database"))?;
            Err(CatalogueError::InUse { sessions: sessions(client, &from).await?, from, to })
        }
        Err(error) => {
            Err(CatalogueError::sql(format!("rename database {} to {}", from.name, wanted.name))(error))
        }
    }
}

/// Returns the sessions in the database `name` in words: `2 of uvicorn (role app)`.
pub(super) async fn sessions(client: &Client, name: &str) -> Result<Vec<String>, CatalogueError> {
    // The program of another role's session is hidden from a role without privileges.
    let sql = format!(
        "SELECT count(*), COALESCE(NULLIF(application_name, ''), 'an unnamed program'), usename \
         FROM pg_stat_activity WHERE datname = {} GROUP BY 2, 3 ORDER BY 2, 3",
        literal(name)
    );
    let rows = rows(client, &sql, "list the sessions in the database").await?;
    let sessions = rows.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>());
    Ok(sessions
        .filter_map(|row| match &row[..] {
            [count, program, role] => Some(format!("{count} of {program} (role {role})")),
            _ => None,
        })
        .collect())
}

/// Returns the rows of the last statement in `sql`, in one round trip.
pub(super) async fn rows(
    client: &Client,
    sql: &str,
    doing: &str,
) -> Result<Vec<Vec<Option<String>>>, CatalogueError> {
    let messages = client.simple_query(sql).await.map_err(CatalogueError::sql(doing))?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(Into::into)).collect()),
        _ => None,
    });
    Ok(rows.collect())
}

pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "''"))
}

pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('\0', "").replace('"', "\"\""))
}

/// Returns the server's message and detail, or the driver's error with its cause.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => match db.detail() {
            Some(detail) => format!("{} ({detail})", db.message()),
            None => db.message().to_string(),
        },
        None => std::error::Error::source(error)
            .map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(remark: Option<&str>) -> ListedDatabase {
        let row = [Some("7"), Some("5"), Some("dev-x"), remark, Some("42")];
        entry(row.map(|cell| cell.map(Into::into)).to_vec()).unwrap()
    }

    #[test]
    fn only_a_comment_of_devrun_counts() {
        let ours =
            row(Some(r#"{"branch":"x","worktree":"/w","created":1,"parent":"dev-main","parent_oid":"4"}"#));
        assert!(ours.made_by_devrun && ours.parent.as_deref() == Some("dev-main"));
        assert_eq!(ours.created, Some(1));
        assert_eq!((ours.id.as_str(), ours.size), ("7-5", Some(42)));
        for remark in [None, Some("staging, do not touch"), Some("{}"), Some("[1]")] {
            let theirs = row(remark);
            assert!(!theirs.made_by_devrun && theirs.label.is_none(), "{remark:?}");
        }
    }

    #[test]
    fn quotes_in_a_name_cannot_end_the_quotation() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(identifier("a\"; DROP DATABASE b; --"), "\"a\"\"; DROP DATABASE b; --\"");
    }

    #[test]
    fn the_remark_is_one_line_of_json() {
        let wanted = WantedDatabase {
            label: "it's \"x\"\n".into(),
            name: "dev-x".into(),
            parent: "dev-main".into(),
            worktree: "/w".into(),
        };
        let parent = ServerDatabase { id: "1-2".into(), oid: "2".into() };
        let text = remark(&wanted, Some(&parent), SystemTime::UNIX_EPOCH + Duration::from_secs(5));
        assert!(!text.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["branch"], &value["created"]), (&"it's \"x\"\n".into(), &5.into()));
        assert_eq!(value["parent_oid"], "2");
    }
}
