//! Brings the schema of a branch database up to date with the migration files, once, however many devruns ask for it.
//!
//! A database may exist with a half-finished migration, so success is recorded separately: a marker in the branch
//! database has the database's id and a fingerprint of command and files, and is written only after success. If the
//! marker matches, the command does not run. The command is the user's; it runs on the direct connection under an
//! advisory lock.

mod address;
mod advice;
mod ambiguous_heads;
pub mod drift;
mod drop_statement;
mod effect;
mod error;
mod extensions;
mod failure_cause;
mod lock;
mod marker;
mod migration_files;
mod migration_tool;
mod python;
mod recorded;
mod schema_change;
pub mod seed;
mod seed_error;
mod sql;
mod status;
mod step_output;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub use self::drop_statement::drop_command;
pub use self::error::MigrateError;
use self::extensions::DueFiles;
pub use self::failure_cause::ExtensionAdvice;
#[cfg(feature = "fixture")]
pub use self::failure_cause::FailureCause;
use self::lock::MigrationLock;
use self::marker::Marker;
use self::migration_files::MigrationFiles;
pub use self::migration_files::{FileDigests, file_digests};
use self::schema_change::{SchemaChange, SchemaSnapshot};
pub use self::status::{MigrationSource, MigrationStatus, SchemaState, alembic_history, schema_state};
use self::step_output::StepOutput;
use tokio_postgres::Client;

use crate::context::Context;
use crate::database::BranchDatabase;
use crate::database::alembic_history::{self, History};
use crate::event::{Event, Step};
use crate::os::cmd::{Cmd, CmdError};
use crate::plan::{DatabaseOrigin, RunCommand};
use crate::text::Mask;

/// The provider has just connected to the database, so it may be slow but not absent.
const CONNECT: Duration = Duration::from_secs(20);

/// The migration to run.
#[derive(Clone, Debug)]
pub struct MigrateRequest<'a> {
    /// The database to migrate.
    pub branch: &'a BranchDatabase,
    /// The database's name in messages.
    pub name: String,
    /// The user's command.
    pub command: RunCommand,
    /// psql, if the inputs are files of SQL that it applies once each instead of the command. The environment says where it
    /// connects.
    pub psql: Option<PathBuf>,
    /// The worktree.
    pub root: PathBuf,
    /// The absolute path of the folder to run it in.
    pub directory: PathBuf,
    /// Globs relative to `directory`. If one of the files changes, the command must run again.
    pub inputs: Vec<String>,
    /// The command's whole environment. It has the direct URL of the database under the names that the project uses.
    pub env: BTreeMap<OsString, OsString>,
    /// The variable with the database's URL, for messages.
    pub variable: String,
    /// The `file:line` with the URL of another database that the command certainly uses.
    pub elsewhere: Option<String>,
    /// The `file:line` with the URL of another database that the command may use.
    pub suspect: Option<String>,
    /// True if devrun installs packages for the command.
    pub has_packages: bool,
    /// The time limit of each command, and the time limit of the wait for another devrun that migrates.
    pub limit: Duration,
}

/// The result of a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// A few words for the user.
    pub outcome: String,
    /// False if the command did not have to run.
    pub worked: bool,
    /// The files that the database is up to date with.
    pub files: FileDigests,
}

impl MigrateRequest<'_> {
    /// Returns the mask that hides the database's secrets and those of the command's environment.
    fn mask(&self) -> Mask {
        Mask::of_urls([&*self.branch.url, &*self.branch.direct_url]).and(Mask::of_variables(&self.env))
    }
}

impl Migrated {
    fn idle(outcome: impl Into<String>, inputs: &MigrationFiles) -> Migrated {
        Migrated { outcome: outcome.into(), worked: false, files: inputs.digests() }
    }
}

/// Makes sure that the command has succeeded on this database with the current files. If it already has, this costs one
/// connection and one round trip. If a call is killed before it has recorded the success, the next call runs the
/// command again.
pub async fn ensure(ctx: &Context, request: &MigrateRequest<'_>) -> Result<Migrated, MigrateError> {
    if let Some(path) = &request.branch.records {
        return recorded::ensure(ctx, request, path).await;
    }
    let inputs = MigrationFiles::gather(&request.directory, &request.inputs).await?;
    let fingerprint = inputs.fingerprint(&request.command);
    let look = async |client: &Client| {
        let migrations = (&request.command, request.psql.is_some());
        let read = read_verdict(client, request.branch, &fingerprint, migrations, &inputs).await;
        read.map(|(_, verdict)| verdict)
    };
    let (verdict, client) = lock::in_session(request.branch, CONNECT.min(request.limit), look).await?;
    if verdict == Verdict::InStep {
        return Ok(Migrated::idle("up to date", &inputs));
    }
    let turn = MigrationLock::take(ctx, request.branch, request.limit, client).await?;
    // Read again: the devrun that held the lock may have migrated in the meantime.
    let done = match look(&*turn.client().await?).await? {
        Verdict::InStep => return Ok(Migrated::idle("migrated by another devrun just now", &inputs)),
        Verdict::Copied => {
            let outcome = match &request.branch.origin {
                DatabaseOrigin::CopyOf(parent) => format!("already migrated in {parent}"),
                DatabaseOrigin::Existing | DatabaseOrigin::Empty => "already migrated in its parent".into(),
            };
            Migrated::idle(outcome, &inputs)
        }
        Verdict::Stale => {
            run(ctx, request, &turn, &inputs).await?;
            Migrated { outcome: "migrated".into(), worked: true, files: inputs.digests() }
        }
    };
    let command = request.mask().apply(&request.command.to_string());
    let client = turn.client().await?;
    marker::write(&client, &request.branch.id, &fingerprint, &command).await?;
    if done.worked {
        drift::remember(&client, request).await;
    }
    Ok(done)
}

/// Returns the revisions that Alembic recorded in `branch`; none if they cannot be read.
pub async fn revisions(branch: &BranchDatabase) -> Vec<String> {
    let read = lock::in_session(branch, CONNECT, effect::revisions).await;
    read.ok().and_then(|(revisions, _)| revisions).unwrap_or_default()
}

/// The meaning of the markers in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The command succeeded here with the same files.
    InStep,
    /// The command succeeded in the database that this one was copied from.
    Copied,
    /// The command has to run.
    Stale,
}

/// Reads the markers of the database of `client`, and their meaning: [`Verdict::Stale`] in spite of a marker if another program has undone
/// migrations.
async fn read_verdict(
    client: &Client,
    branch: &BranchDatabase,
    fingerprint: &str,
    migrations: (&RunCommand, bool),
    inputs: &MigrationFiles,
) -> Result<(Vec<Marker>, Verdict), MigrateError> {
    // Both statements are sent before the first answer arrives.
    let (markers, is_undone) =
        tokio::join!(marker::read(client), drift::is_undone(client, migrations, inputs));
    let markers = markers?;
    let verdict = if is_undone? { Verdict::Stale } else { verdict(&markers, branch, fingerprint) };
    Ok((markers, verdict))
}

fn verdict(markers: &[Marker], branch: &BranchDatabase, fingerprint: &str) -> Verdict {
    let names = |id: &str| markers.iter().any(|m| m.branch == id && m.fingerprint == fingerprint);
    if names(&branch.id) {
        Verdict::InStep
    } else if branch.copied_from.as_deref().is_some_and(names) {
        Verdict::Copied
    } else {
        Verdict::Stale
    }
}

/// Errors if the command certainly migrates another database, or if Alembic cannot follow its files. Warns about what may be wrong.
fn check_history(
    ctx: &Context,
    request: &MigrateRequest<'_>,
    inputs: &MigrationFiles,
    history: &History,
) -> Result<(), MigrateError> {
    if let Some(line) = &request.elsewhere {
        return Err(MigrateError::Refused {
            name: request.name.clone(),
            command: request.mask().apply(&request.command.to_string()),
            line: line.clone(),
            variable: request.variable.clone(),
        });
    }
    if let Some(line) = &request.suspect {
        ctx.events.warn(format!(
            "{line} has the URL of a Postgres: if the migration uses it, it changes that database instead of {}",
            request.name
        ));
    }
    ambiguous_heads::forbid(request, history)?;
    if inputs.files().next().is_none() && !request.inputs.is_empty() {
        let globs = request.inputs.join(", ");
        ctx.events.warn(format!(
            "no file in {} matches {globs}: new migrations there will not be noticed",
            request.directory.display()
        ));
    }
    Ok(())
}

/// Runs `commands` one after the other. Returns the error of the one that failed, and the last lines of the output.
async fn execute(
    ctx: &Context,
    request: &MigrateRequest<'_>,
    commands: Vec<Cmd>,
) -> Result<(), (CmdError, String)> {
    let mask = request.mask();
    let doing = mask.apply(&request.command.to_string());
    ctx.events.send(Event::StepStarted { step: Step::Migrate, doing });
    let mut output = StepOutput::new(&ctx.events, &mask);
    let mut env = request.env.clone();
    env.extend(python::path(request).map(|path| ("PYTHONPATH".into(), path)));
    let mut failed = None;
    for command in commands {
        let command = command.only_env(&env).directory(&request.directory).limit(request.limit);
        failed = command.watched(&mut |line| output.show(line)).await.err();
        if failed.is_some() {
            break;
        }
    }
    failed.map_or(Ok(()), |error| Err((error, output.condensed())))
}

/// Runs the command, or psql for each file that is due. Deletes the marker first, so that a failed run never counts as a success.
async fn run(
    ctx: &Context,
    request: &MigrateRequest<'_>,
    turn: &MigrationLock,
    inputs: &MigrationFiles,
) -> Result<(), MigrateError> {
    let history = History::read(inputs.files());
    check_history(ctx, request, inputs, &history)?;
    let mask = request.mask();
    let (commands, files) = match &request.psql {
        None => {
            let files = extensions::due(request, &history, &*turn.client().await?).await?;
            (vec![Cmd::of(&request.command)], files)
        }
        Some(psql) => {
            let due = sql::due(ctx, request, inputs, &*turn.client().await?).await?;
            let files = due.iter().map(|due| due.path.clone()).collect();
            (due.iter().map(|due| sql::command(psql, due)).collect(), DueFiles::Only(files))
        }
    };
    extensions::check(request, inputs, &files, &*turn.client().await?).await?;
    marker::clear(&*turn.client().await?).await?;
    let before = effect::snapshot(&*turn.client().await?).await?;
    match execute(ctx, request, commands).await {
        Ok(()) => effect::check(request, &*turn.client().await?, &history).await,
        Err((error, tail)) => {
            let left = match turn.client().await {
                Ok(client) => left_by(request, &client, &before).await,
                Err(_) => SchemaChange::default(),
            };
            Err(error::explain(request, &mask, &history, &error, tail, &left))
        }
    }
}

/// Returns the changes that the failed command of `request` left, and the objects that earlier ones left.
async fn left_by(request: &MigrateRequest<'_>, client: &Client, before: &SchemaSnapshot) -> SchemaChange {
    let Ok(after) = effect::snapshot(client).await else { return SchemaChange::default() };
    let by_revision = alembic_history::upgrades_to_head(&request.command).is_some();
    let objects = drift::new_objects(client, &request.command, request.psql.is_some()).await;
    SchemaChange::between(before, after, by_revision, objects)
}

#[cfg(test)]
mod tests;
