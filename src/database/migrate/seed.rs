//! Fills a parent database once, after its first migrations: with a command, a file of SQL, or a dump.
//!
//! A record in the database itself (table `_devrun.seed`) states that it is to be seeded. devrun makes the record while the database is
//! still empty. So a database that existed before is never seeded, a seed that failed or was killed runs again, and a database that was
//! emptied is seeded again.
//!
//! A command may have written some of its rows before it was killed. The record shows that the command had begun, so
//! the next run empties the database and begins with the migrations. Files and dumps are applied in one transaction.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::lock::{self, MigrationLock};
use super::seed_error::SeedError;
use super::step_output::StepOutput;
use super::{CONNECT, MigrateError, effect, marker};
use crate::context::Context;
use crate::database::{BranchDatabase, Provider};
use crate::event::{Event, Step};
use crate::os::cmd::Cmd;
use crate::plan::RunCommand;
use crate::text::Mask;

const TABLE: &str =
    "create table if not exists _devrun.seed (done boolean not null, at timestamptz not null default now())";
const BEGUN: &str = "alter table _devrun.seed add column if not exists begun timestamptz; update _devrun.seed set begun = now()";
const NOT_BEGUN: &str = "update _devrun.seed set begun = null";
/// Empties a database. Its owner is a member of `pg_database_owner`.
const EMPTY: &str = "do $$ declare name text; begin \
    for name in select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' loop \
    execute format('drop schema %I cascade', name); end loop; \
    perform lo_unlink(oid) from pg_largeobject_metadata; \
    create schema public authorization pg_database_owner; grant usage on schema public to public; end $$";
const DONE: &str = "update _devrun.seed set done = true, at = now()";

/// The source of the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeedSource {
    Command(RunCommand),
    /// A file of SQL, and the psql that applies it.
    Sql {
        file: PathBuf,
        psql: PathBuf,
    },
    /// A dump in Postgres' custom format.
    Dump(PathBuf),
}

/// The seed of a database.
#[derive(Clone, Debug)]
pub struct SeedRequest<'a> {
    pub branch: &'a BranchDatabase,
    pub source: SeedSource,
    /// The absolute path of the folder to run a command in.
    pub directory: PathBuf,
    /// The whole environment of the command or of psql.
    pub env: BTreeMap<OsString, OsString>,
    /// The time limit.
    pub limit: Duration,
}

impl SeedRequest<'_> {
    fn mask(&self) -> Mask {
        Mask::of_urls([&*self.branch.url, &*self.branch.direct_url]).and(Mask::of_variables(&self.env))
    }

    /// Returns the work in a few words.
    fn doing(&self) -> String {
        match &self.source {
            SeedSource::Command(run) => run.to_string(),
            SeedSource::Sql { file, .. } | SeedSource::Dump(file) => file.display().to_string(),
        }
    }
}

/// Empties `branch` if its seed was killed in the middle. Records that `branch` is to be seeded, if it is empty and was never
/// migrated. Call it before the migrations. Waits at most `limit` for another devrun that seeds.
pub async fn prepare(ctx: &Context, branch: &BranchDatabase, limit: Duration) -> Result<(), MigrateError> {
    let (is_half_done, client) = lock::in_session(branch, CONNECT, is_half_done).await?;
    if is_half_done {
        // While another devrun seeds, the record looks the same.
        let turn = MigrationLock::take(ctx, branch, limit, client).await?;
        let client = turn.client().await?;
        if self::is_half_done(&client).await? {
            let name = &branch.name;
            ctx.events
                .warn(format!("the seed of {name} was killed before it had finished: {name} is made again"));
            client.batch_execute(EMPTY).await?;
        }
    }
    let look = async |client: &Client| {
        let is_fresh = state(client).await?.is_none()
            && marker::read(client).await?.is_empty()
            && effect::is_empty(client).await?;
        Ok(is_fresh)
    };
    let (is_fresh, client) = lock::in_session(branch, CONNECT, look).await?;
    if is_fresh {
        marker::make(&client).await?;
        let insert =
            "insert into _devrun.seed (done) select false where not exists (select from _devrun.seed)";
        client.batch_execute(&format!("{TABLE}; {insert}")).await?;
    }
    Ok(())
}

/// Returns true if `branch` is to be seeded.
pub async fn is_due(branch: &BranchDatabase) -> Result<bool, MigrateError> {
    let (state, _) = lock::in_session(branch, CONNECT, state).await?;
    Ok(state == Some(false))
}

/// Seeds the database of the request if that is due. Returns a few words for the user; `None` if nothing was to do.
pub async fn ensure(
    ctx: &Context,
    request: &SeedRequest<'_>,
    provider: &dyn Provider,
) -> Result<Option<String>, SeedError> {
    if !is_due(request.branch).await? {
        return Ok(None);
    }
    let (_, client) = lock::in_session(request.branch, CONNECT, state).await?;
    let turn = MigrationLock::take(ctx, request.branch, request.limit, client).await?;
    // Read again: the devrun that held the lock may have seeded in the meantime.
    if state(&*turn.client().await?).await? != Some(false) {
        return Ok(None);
    }
    let start = Instant::now();
    let doing = request.mask().apply(&format!("seeding {}: {}", request.branch.name, request.doing()));
    ctx.events.send(Event::StepStarted { step: Step::Migrate, doing });
    match &request.source {
        SeedSource::Command(run) => {
            turn.client().await?.batch_execute(BEGUN).await.map_err(MigrateError::from)?;
            let ended = watched(ctx, request, Cmd::of(run)).await;
            if ended.is_err() {
                // The user sees the failure, and may have changed the rows before the next run.
                turn.client().await?.batch_execute(NOT_BEGUN).await.map_err(MigrateError::from)?;
            }
            ended?;
        }
        SeedSource::Sql { file, psql } => {
            // psql runs the file and records it in one transaction.
            let words = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-1", "-f"];
            watched(ctx, request, Cmd::new(psql).args(words).arg(file).args(["-c", DONE])).await?;
        }
        SeedSource::Dump(file) => {
            let restored = provider.restore_rows(&request.branch.name, file).await;
            restored.map_err(|report| SeedError::Restore {
                name: request.branch.name.clone(),
                report: Box::new(report),
            })?;
        }
    }
    record(&*turn.client().await?).await?;
    Ok(Some(format!("seeded in {:.1} s", start.elapsed().as_secs_f64())))
}

async fn record(client: &Client) -> Result<(), MigrateError> {
    // The seed may have dropped every schema that it found.
    marker::make(client).await?;
    let insert = "insert into _devrun.seed (done) select true where not exists (select from _devrun.seed)";
    Ok(client.batch_execute(&format!("{TABLE}; {DONE}; {insert}")).await?)
}

async fn watched(ctx: &Context, request: &SeedRequest<'_>, command: Cmd) -> Result<(), SeedError> {
    let mask = request.mask();
    let mut output = StepOutput::new(&ctx.events, &mask);
    let command = command.only_env(&request.env).directory(&request.directory).limit(request.limit);
    match command.watched(&mut |line| output.show(line)).await {
        Ok(_) => Ok(()),
        Err(error) => Err(SeedError::Failed {
            name: request.branch.name.clone(),
            what: mask.apply(&request.doing()),
            is_missing: error.is_missing_program(),
            how: mask.apply(&error.ending()),
            tail: output.condensed(),
            directory: request.directory.clone(),
        }),
    }
}

/// Returns true if the command of a seed was killed, or is at work.
async fn is_half_done(client: &Client) -> Result<bool, MigrateError> {
    // Records that an older devrun made lack the column.
    let statement = "select true from _devrun.seed s where not done and to_jsonb(s) ->> 'begun' is not null";
    match client.query_opt(statement, &[]).await {
        Ok(row) => Ok(row.is_some()),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns true if the database of `client` was seeded, false if it is to be seeded, `None` if neither.
async fn state(client: &Client) -> Result<Option<bool>, MigrateError> {
    match client.query_opt("select done from _devrun.seed limit 1", &[]).await {
        Ok(row) => Ok(row.map(|row| row.try_get(0)).transpose()?),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
