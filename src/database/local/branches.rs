//! Databases within the cluster: look for one, make one, copy one that is in use.
//!
//! A database is made under a temporary name and renamed when it is whole, so a name never stands for half a copy. One
//! advisory lock serves all makers of a cluster; what carries a temporary name while we hold it was left by a killed one.
//!
//! The parent may be in use. `CREATE DATABASE` locks it first: from then on newcomers wait for the end of the copy,
//! they are not refused. Sessions that were there are ended as soon as they are outside a transaction, and all of them
//! after [`PATIENCE`]: the server itself would give up soon after.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::cluster::APP;
use super::error::LocalError;
use super::state::random_id;
use crate::database::Wanted;
use crate::event::{Event, Events, Step};

/// How long sessions of the parent may finish their transactions.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long other devruns may take to make their databases.
const TURN_LIMIT: Duration = Duration::from_mins(10);
pub(super) const TEMPORARY: &str = "_devrun-tmp-";
/// Any number, the same in all devruns: `devr` in ASCII.
const MAKERS: u32 = 0x6465_7672;

/// The database that devrun's own sessions and locks are in: it is never copied.
pub const MAINTENANCE: &str = "postgres";

/// The advisory lock in [`MAINTENANCE`] of the database `name`: exclusive to migrate it, shared to copy it.
pub fn migration_key(name: &str) -> i64 {
    let digest = Sha256::digest(["devrun-migration:", name].concat());
    let first = digest.first_chunk::<8>().copied().unwrap_or_default();
    // Positive, as `pg_locks` shows the two halves without a sign.
    i64::from_be_bytes(first) & i64::MAX
}

/// A database that was looked for and found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Cluster and number of the database: names this very database for good.
    pub(super) id: String,
    pub(super) oid: String,
}

/// How [`make`] came by a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// Somebody else made it meanwhile.
    Existing,
    /// Empty.
    Empty,
    /// As a copy of the parent with this id.
    CopyOf(String),
}

/// Looks for `name`.
pub(super) async fn look(client: &Client, name: &str) -> Result<Option<Found>, LocalError> {
    let sql = format!(
        "SELECT c.system_identifier, d.oid FROM pg_control_system() c, pg_database d WHERE d.datname = {}",
        literal(name)
    );
    let rows = rows(client, &sql, &format!("look for database {name}")).await?;
    Ok(rows.first().and_then(|row| {
        let (system, oid) = (row.first()?.as_deref()?, row.get(1)?.as_deref()?);
        Some(Found { id: format!("{system}-{oid}"), oid: oid.into() })
    }))
}

/// Makes the database that `wanted` describes, unless it exists. `maker` holds the lock until it is closed; `watcher`
/// is another connection, which looks after the parent's sessions.
pub(super) async fn make(
    maker: &Client,
    watcher: &Client,
    wanted: &Wanted,
    events: &Events,
) -> Result<(Found, Made), LocalError> {
    if wanted.parent != wanted.name {
        keep_from_migrating(maker, &wanted.parent, events).await?;
    }
    take_turn(maker, events).await?;
    sweep(maker).await?;
    if let Some(found) = look(maker, &wanted.name).await? {
        return Ok((found, Made::Existing));
    }
    let copier = Copier { maker, watcher, events };
    let made = if wanted.parent == wanted.name {
        copier.create(wanted, &wanted.name, None).await?;
        Made::Empty
    } else {
        let parent = copier.parent(wanted).await?;
        copier.create(wanted, &wanted.name, Some(&parent)).await?;
        Made::CopyOf(parent.id)
    };
    let found = look(maker, &wanted.name).await?;
    let gone = || LocalError::Sql {
        doing: format!("make database {}", wanted.name),
        reason: "it was dropped as soon as it was there".into(),
    };
    Ok((found.ok_or_else(gone)?, made))
}

/// Waits until no other devrun makes a database in this cluster.
pub(super) async fn take_turn(maker: &Client, events: &Events) -> Result<(), LocalError> {
    let lock = format!("pg_try_advisory_lock({MAKERS})");
    take_lock(maker, &lock, "waiting for another devrun that makes a database", events).await
}

/// Waits until no devrun migrates the database `name`, and keeps others from it as long as `maker` lives. Taken before
/// [`take_turn`]: a migration may be long, and databases with other parents are made in the meantime.
pub(super) async fn keep_from_migrating(
    maker: &Client,
    name: &str,
    events: &Events,
) -> Result<(), LocalError> {
    let lock = format!("pg_try_advisory_lock_shared({})", migration_key(name));
    take_lock(maker, &lock, &format!("waiting for the migration of {name}"), events).await
}

async fn take_lock(maker: &Client, lock: &str, doing: &str, events: &Events) -> Result<(), LocalError> {
    let start = Instant::now();
    let mut told = false;
    let sql = format!("SET statement_timeout = '15min'; SELECT {lock}");
    loop {
        let rows = rows(maker, &sql, "wait for other devruns").await?;
        if rows.first().and_then(|row| row.first()?.as_deref()) == Some("t") {
            return Ok(());
        }
        if start.elapsed() > TURN_LIMIT {
            return Err(LocalError::Busy { seconds: TURN_LIMIT.as_secs() });
        }
        if !told && start.elapsed() > Duration::from_secs(1) {
            events.send(Event::StepProgress { step: Step::Database, detail: doing.into() });
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Drops what killed makers left. The caller holds the lock, so nobody is making anything.
pub(super) async fn sweep(maker: &Client) -> Result<(), LocalError> {
    let doing = "clear away half-made databases";
    let sql = format!("SELECT datname FROM pg_database WHERE starts_with(datname, {})", literal(TEMPORARY));
    for name in rows(maker, &sql, doing).await?.into_iter().filter_map(|row| row.into_iter().next()?) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(&name));
        maker.batch_execute(&sql).await.map_err(LocalError::sql(doing))?;
    }
    Ok(())
}

pub(super) struct Copier<'a> {
    pub(super) maker: &'a Client,
    pub(super) watcher: &'a Client,
    pub(super) events: &'a Events,
}

/// A lock that a statement of the maker's takes on a database before it waits for the sessions there to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// To copy it: those in a transaction may finish it, for a while.
    Copy,
    /// To take it away: they are ended at once.
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
            Hold::Copy => PATIENCE,
            Hold::Removal => Duration::ZERO,
        }
    }
}

/// Sessions that were ended: process id and program of each; and for how long newcomers waited.
#[derive(Debug, Default)]
pub(super) struct Interrupted {
    sessions: BTreeMap<String, String>,
    took: Duration,
}

impl Copier<'_> {
    /// The parent, made empty when there is none: a branch can come before anything was done on the default branch.
    pub(super) async fn parent(&self, wanted: &Wanted) -> Result<Found, LocalError> {
        let name = &wanted.parent;
        if let Some(found) = look(self.maker, name).await? {
            return Ok(found);
        }
        let parent = Wanted { label: name.clone(), name: name.clone(), ..wanted.clone() };
        self.create(&parent, name, None).await?;
        self.events.note(format!("{name} did not exist yet: it was made empty, and copied"));
        look(self.maker, name).await?.ok_or_else(|| LocalError::Sql {
            doing: format!("make database {name}"),
            reason: "it was dropped as soon as it was there".into(),
        })
    }

    async fn create(&self, wanted: &Wanted, name: &str, parent: Option<&Found>) -> Result<(), LocalError> {
        let temporary = self.fill(wanted, parent).await?;
        let sql = format!("BEGIN; {}; COMMIT", publication(wanted, &temporary, parent));
        self.maker.batch_execute(&sql).await.map_err(LocalError::sql(format!("make database {name}")))
    }

    /// Makes the whole database under a temporary name, which it returns.
    pub(super) async fn fill(&self, wanted: &Wanted, parent: Option<&Found>) -> Result<String, LocalError> {
        let name = &wanted.name;
        let doing = || match parent {
            Some(_) => format!("copy database {} to {name}", wanted.parent),
            None => format!("make database {name}"),
        };
        self.events.send(Event::StepProgress { step: Step::Database, detail: doing() });
        let temporary = format!("{TEMPORARY}{}", random_id()?);
        let template = if parent.is_some() { &wanted.parent } else { "template0" };
        let sql = format!(
            "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY OWNER {APP}",
            identifier(&temporary),
            identifier(template)
        );
        match parent {
            Some(parent) => {
                let interrupted = self.run(&sql, &doing(), parent, Hold::Copy).await?;
                if !interrupted.sessions.is_empty() {
                    self.events.warn(told(&wanted.parent, &interrupted));
                }
            }
            None => self.maker.batch_execute(&sql).await.map_err(LocalError::sql(doing()))?,
        }
        Ok(temporary)
    }

    /// Runs a statement that waits for the end of all sessions in `database`, and sees to it that they end.
    pub(super) async fn run(
        &self,
        sql: &str,
        doing: &str,
        database: &Found,
        hold: Hold,
    ) -> Result<Interrupted, LocalError> {
        let backend = rows(self.maker, "SELECT pg_backend_pid()", doing).await?;
        let backend = backend.into_iter().next().and_then(|row| row.into_iter().next()?).unwrap_or_default();
        let statement = self.maker.batch_execute(sql);
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
            for row in rows(self.watcher, &end_sessions(&database.oid, &backend, hold, all), doing).await? {
                first.get_or_insert_with(Instant::now);
                let mut row = row.into_iter().map(Option::unwrap_or_default);
                sessions.insert(row.next().unwrap_or_default(), row.next().unwrap_or_default());
            }
        };
        done.map_err(LocalError::sql(doing))?;
        Ok(Interrupted { sessions, took: first.map_or(Duration::ZERO, |first| first.elapsed()) })
    }
}

/// Gives the database `temporary` its remark and its name; to be run in one transaction, so that the two come together.
pub(super) fn publication(wanted: &Wanted, temporary: &str, parent: Option<&Found>) -> String {
    format!(
        "COMMENT ON DATABASE {0} IS {1}; ALTER DATABASE {0} RENAME TO {2}",
        identifier(temporary),
        literal(&remark(wanted, parent, SystemTime::now())),
        identifier(&wanted.name)
    )
}

/// A session that neither works nor was just opened.
const IDLE: &str = "AND a.state = 'idle' AND a.state_change < clock_timestamp() - interval '50 ms' \
                    AND a.application_name NOT LIKE 'devrun (pid %'";

/// Ends sessions in the database `oid`, once backend `maker` has locked it: before that they would come back. Those in
/// a transaction are left alone unless `all`, and so are those that were busy an instant ago and those of devrun, which end
/// by themselves. Gives process id and program of each.
fn end_sessions(oid: &str, maker: &str, hold: Hold, all: bool) -> String {
    let outside = if all { "" } else { IDLE };
    let mode = hold.mode();
    // Materialised: as a mere condition, the planner might end a session before it asks whose it is.
    format!(
        "WITH chosen AS MATERIALIZED (SELECT a.pid, a.application_name FROM pg_stat_activity a \
         WHERE a.datid = {oid} AND a.backend_type = 'client backend' {outside} \
         AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = {maker} AND l.locktype = 'object' \
         AND l.classid = 'pg_database'::regclass AND l.objid = {oid} AND l.mode = '{mode}' AND l.granted)) \
         SELECT pid, application_name FROM chosen WHERE pg_terminate_backend(pid)"
    )
}

impl Interrupted {
    /// `2 connections to it were closed (2 of uvicorn)`; `None` when there were none.
    pub(super) fn words(&self) -> Option<String> {
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

fn told(parent: &str, interrupted: &Interrupted) -> String {
    let words = interrupted.words().unwrap_or_default();
    let waited = interrupted.took.as_secs_f32();
    format!("{parent} was in use: to copy it, {words}, and new ones waited {waited:.1} s")
}

/// What the catalogue says about a database: one JSON line. Readable from every database, gone with its own.
fn remark(wanted: &Wanted, parent: Option<&Found>, now: SystemTime) -> String {
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

/// Rows of the last statement in `sql`, in one round trip.
pub(super) async fn rows(
    client: &Client,
    sql: &str,
    doing: &str,
) -> Result<Vec<Vec<Option<String>>>, LocalError> {
    let messages = client.simple_query(sql).await.map_err(LocalError::sql(doing))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_cannot_end_a_quotation() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(identifier("a\"; DROP DATABASE b; --"), "\"a\"\"; DROP DATABASE b; --\"");
    }

    #[test]
    fn the_warning_names_programs_and_the_time() {
        let sessions = BTreeMap::from(
            [("7", "uvicorn"), ("8", ""), ("9", "uvicorn")].map(|(a, b)| (a.into(), b.into())),
        );
        assert_eq!(
            told("dev-main", &Interrupted { sessions, took: Duration::from_millis(320) }),
            "dev-main was in use: to copy it, 3 connections to it were closed (1 of an unnamed program, 2 of uvicorn), and new ones \
             waited 0.3 s"
        );
    }

    #[test]
    fn the_remark_is_one_line_of_json() {
        let wanted = Wanted {
            label: "it's \"x\"\n".into(),
            name: "dev-x".into(),
            parent: "dev-main".into(),
            worktree: "/w".into(),
        };
        let parent = Found { id: "1-2".into(), oid: "2".into() };
        let text = remark(&wanted, Some(&parent), SystemTime::UNIX_EPOCH + Duration::from_secs(5));
        assert!(!text.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["branch"], &value["created"]), (&"it's \"x\"\n".into(), &5.into()));
        assert_eq!(value["parent_oid"], "2");
    }
}
