//! Migrates databases that are no Postgres. devrun cannot look into them, so a file of the repository's shared folder records that
//! the command succeeded, and a lock beside it lets one devrun migrate at a time.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::migration_files::MigrationFiles;
use super::schema_change::SchemaChange;
use super::{MigrateError, MigrateRequest, Migrated, check_history, error, execute};
use crate::context::Context;
use crate::database::alembic_history::History;
use crate::os::cmd::Cmd;
use crate::os::fs::{self, FsError, Lock, LockKind};

/// The success of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MigrationRecord {
    /// The id of the database in which it succeeded.
    id: String,
    fingerprint: String,
}

/// Makes sure that the command has succeeded on this database with the current files, as [`super::ensure`] does. `path` is the file
/// of the record.
pub(super) async fn ensure(
    ctx: &Context,
    request: &MigrateRequest<'_>,
    path: &Path,
) -> Result<Migrated, MigrateError> {
    if request.psql.is_some() {
        return Err(MigrateError::NeedsPostgres(request.name.clone()));
    }
    let inputs = MigrationFiles::gather(&request.directory, &request.inputs).await?;
    let wanted =
        MigrationRecord { id: request.branch.id.clone(), fingerprint: inputs.fingerprint(&request.command) };
    if load(path)?.as_ref() == Some(&wanted) {
        return Ok(Migrated::idle("up to date", &inputs));
    }
    let _turn = take_turn(ctx, request, path).await?;
    if load(path)?.as_ref() == Some(&wanted) {
        return Ok(Migrated::idle("migrated by another devrun just now", &inputs));
    }
    let history = History::read(inputs.files());
    check_history(ctx, request, &inputs, &history)?;
    // Removed first, so that a failed run never counts as a success.
    if let Err(source) = std::fs::remove_file(path)
        && source.kind() != std::io::ErrorKind::NotFound
    {
        return Err(FsError::Io { action: "remove", path: path.into(), source }.into());
    }
    let mask = request.mask();
    if let Err((error, tail)) = execute(ctx, request, vec![Cmd::of(&request.command)]).await {
        return Err(error::explain(request, &mask, &history, &error, tail, &SchemaChange::default()));
    }
    fs::replace(path, &serde_json::to_vec(&wanted).unwrap_or_default(), 0o600)?;
    Ok(Migrated { outcome: "migrated".into(), worked: true, files: inputs.digests() })
}

async fn take_turn(ctx: &Context, request: &MigrateRequest<'_>, path: &Path) -> Result<Lock, MigrateError> {
    let lock: PathBuf = path.with_extension("lock");
    if let Some(lock) = Lock::try_take(&lock, LockKind::Exclusive)? {
        return Ok(lock);
    }
    ctx.events.note(format!("another devrun is migrating {}: waiting for it", request.name));
    match Lock::take(&lock, LockKind::Exclusive, request.limit).await {
        Err(FsError::Locked { waited, .. }) => {
            Err(MigrateError::Locked { name: request.name.clone(), waited, holder: "another devrun".into() })
        }
        taken => Ok(taken?),
    }
}

/// Returns the record in `path`. A file that cannot be parsed counts as none.
fn load(path: &Path) -> Result<Option<MigrationRecord>, FsError> {
    Ok(fs::read(path)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Returns the fingerprint of the files with which the command has succeeded in the database `id`, if it has. `path` is the file of the
/// record.
pub(super) fn fingerprint(path: &Path, id: &str) -> Result<Option<String>, FsError> {
    Ok(load(path)?.filter(|record| record.id == id).map(|record| record.fingerprint))
}
