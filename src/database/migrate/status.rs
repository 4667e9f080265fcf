//! Reports how up to date the schema of a branch database is, for read-only verbs. Runs nothing and marks nothing.

use std::path::Path;

use tokio_postgres::Client;

use super::migration_files::MigrationFiles;
use super::{CONNECT, MigrateError, Verdict, drift, effect, lock, marker, read_verdict, recorded};
use crate::database::BranchDatabase;
use crate::database::alembic_history::{self, History};
use crate::database::connect::Patience;
use crate::plan::RunCommand;

/// How far the migrations of a database are, by its marker and by Alembic's revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationStatus {
    /// The command succeeded there with the current files, or it did not and the database is at the heads of the files.
    UpToDate,
    /// The command succeeded there, but with other files, or another command did, or the database is before a head.
    Pending,
    /// The database has a revision that no file defines: other code migrated it.
    Ahead,
    /// No command has succeeded there, or the last run failed or was interrupted.
    Unmigrated,
    /// As [`MigrationStatus::Unmigrated`], but the database has revisions, and there are no files to compare them with.
    Unrecorded,
    /// The command succeeded there. There are no files to compare with.
    Migrated,
    /// The command succeeded, but the database is empty: it changed another database, or there is nothing to create.
    Empty,
}

impl MigrationStatus {
    /// Returns the word that is printed.
    pub const fn word(self) -> &'static str {
        match self {
            MigrationStatus::UpToDate => "up-to-date",
            MigrationStatus::Pending => "pending",
            MigrationStatus::Ahead => "ahead",
            MigrationStatus::Unmigrated => "unmigrated",
            MigrationStatus::Unrecorded => "unrecorded",
            MigrationStatus::Migrated => "migrated",
            MigrationStatus::Empty => "empty",
        }
    }
}

/// The state of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaState {
    /// How far the migrations are.
    pub status: MigrationStatus,
    /// True if the command has succeeded with the current files.
    pub is_recorded: bool,
    /// The revisions that Alembic recorded in the database.
    pub revisions: Vec<String>,
    /// The heads of the migration files, if all files can be read.
    pub heads: Vec<String>,
    /// The objects that no migration up to the revisions makes, as far as that is known.
    pub new_objects: Vec<String>,
}

/// The migrations of a worktree.
#[derive(Clone, Copy, Debug)]
pub struct MigrationSource<'a> {
    /// The user's command.
    pub command: &'a RunCommand,
    /// True if devrun applies the files itself, as SQL.
    pub is_sql: bool,
    /// The folder of the command.
    pub directory: &'a Path,
    /// The globs of the files, relative to `directory`.
    pub globs: &'a [String],
}

/// Reads Alembic's history from the files in `directory` that match `globs`.
pub async fn alembic_history(directory: &Path, globs: &[String]) -> Result<History, MigrateError> {
    Ok(History::read(MigrationFiles::gather(directory, globs).await?.files()))
}

/// Reads the marker and Alembic's revisions in `branch`, or the record of a database that is no Postgres. `source` is `None` if the branch
/// is another one than the worktree's.
pub async fn schema_state(
    branch: &BranchDatabase,
    source: Option<MigrationSource<'_>>,
) -> Result<SchemaState, MigrateError> {
    let mut heads = Vec::new();
    let mut known = None;
    let current = match source {
        Some(MigrationSource { command, directory, globs, .. }) => {
            let inputs = MigrationFiles::gather(directory, globs).await?;
            let history = History::read(inputs.files());
            if history.is_certain() {
                heads = history.heads().into_iter().map(|head| head.revision).collect();
                known = Some(history);
            }
            Some((inputs.fingerprint(command), inputs))
        }
        None => None,
    };
    if let Some(path) = &branch.records {
        let status = match (recorded::fingerprint(path, &branch.id)?, current) {
            (None, _) => MigrationStatus::Unmigrated,
            (Some(_), None) => MigrationStatus::Migrated,
            (Some(done), Some((now, _))) if done == now => MigrationStatus::UpToDate,
            (Some(_), Some(_)) => MigrationStatus::Pending,
        };
        let is_recorded = status == MigrationStatus::UpToDate;
        return Ok(SchemaState {
            status,
            is_recorded,
            revisions: Vec::new(),
            heads,
            new_objects: Vec::new(),
        });
    }
    let look = async |client: &Client| {
        let new_objects = match source {
            Some(source) => drift::new_objects(client, source.command, source.is_sql).await,
            None => Vec::new(),
        };
        let (markers, is_current) = match (&current, source) {
            (Some((fingerprint, inputs)), Some(source)) => {
                let migrations = (source.command, source.is_sql);
                let (markers, verdict) =
                    read_verdict(client, branch, fingerprint, migrations, inputs).await?;
                (markers, verdict == Verdict::InStep)
            }
            _ => (marker::read(client).await?, false),
        };
        let is_marked = markers.iter().any(|marker| marker.branch == branch.id);
        Ok((
            is_marked,
            is_current,
            effect::is_empty(client).await?,
            effect::revisions(client).await?,
            new_objects,
        ))
    };
    let ((is_marked, is_current, holds_nothing, revisions, new_objects), _) =
        lock::in_session(branch, Patience::of_a_look(CONNECT), look).await?;
    let marked = match &current {
        _ if !is_marked => MigrationStatus::Unmigrated,
        None => MigrationStatus::Migrated,
        Some(_) if is_current => MigrationStatus::UpToDate,
        Some(_) => MigrationStatus::Pending,
    };
    let is_recorded = marked == MigrationStatus::UpToDate;
    let revisions = revisions.unwrap_or_default();
    let to_head = source.is_some_and(|source| alembic_history::upgrades_to_head(source.command).is_some());
    let status = match combined(marked, &revisions, known.as_ref(), to_head) {
        // A successful command that left the database empty has changed another database, or none.
        MigrationStatus::UpToDate if holds_nothing => MigrationStatus::Empty,
        status => status,
    };
    Ok(SchemaState { status, is_recorded, revisions, heads, new_objects })
}

/// Returns the status of a database from `marked`, its status by the marker, and from Alembic's `revisions`. `history` is that of
/// the files, if it is certain; `to_head` is true if the command upgrades to its head.
fn combined(
    marked: MigrationStatus,
    revisions: &[String],
    history: Option<&History>,
    to_head: bool,
) -> MigrationStatus {
    use MigrationStatus::{Ahead, Pending, Unmigrated, Unrecorded, UpToDate};
    if revisions.is_empty() {
        return marked;
    }
    let Some(history) = history.filter(|history| !history.is_empty()) else {
        return if marked == Unmigrated { Unrecorded } else { marked };
    };
    let by_revision = if !revisions.iter().all(|revision| history.defines(revision)) {
        Ahead
    } else if history.heads().iter().all(|head| revisions.contains(&head.revision)) {
        UpToDate
    } else {
        Pending
    };
    match marked {
        // Only a command that upgrades to the head has to reach it.
        UpToDate if !to_head => UpToDate,
        // The failed migration that removed the marker has left the revisions of the earlier ones.
        UpToDate | Unmigrated => by_revision,
        Pending if by_revision == Ahead => Ahead,
        marked => marked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_decides_what_the_marker_does_not_know() {
        use MigrationStatus::{Ahead, Migrated, Pending, Unmigrated, Unrecorded, UpToDate};
        let one: (&Path, &[u8]) = (Path::new("v/1.py"), b"revision = '0001'\ndown_revision = None\n");
        let two: (&Path, &[u8]) = (Path::new("v/2.py"), b"revision = '0002'\ndown_revision = '0001'\n");
        let files = History::read([one, two]);
        let none = History::default();
        for (marked, revision, history, to_head, expected) in [
            (Unmigrated, "0001", Some(&files), true, Pending),
            (Unmigrated, "0002", Some(&files), true, UpToDate),
            (Unmigrated, "0002", Some(&files), false, UpToDate),
            (Unmigrated, "0003", Some(&files), true, Ahead),
            (Unmigrated, "0002", Some(&none), true, Unrecorded),
            (Unmigrated, "0002", None, true, Unrecorded),
            (Unmigrated, "", Some(&files), true, Unmigrated),
            (Pending, "0002", Some(&files), true, Pending),
            (Pending, "0003", Some(&files), true, Ahead),
            (UpToDate, "0001", Some(&files), true, Pending),
            (UpToDate, "0001", Some(&files), false, UpToDate),
            (UpToDate, "0002", Some(&files), true, UpToDate),
            (UpToDate, "0003", Some(&files), true, Ahead),
            (UpToDate, "0003", Some(&none), true, UpToDate),
            (UpToDate, "", Some(&files), true, UpToDate),
            (Migrated, "0003", None, false, Migrated),
        ] {
            let revisions: Vec<String> =
                Some(revision.to_string()).into_iter().filter(|id| !id.is_empty()).collect();
            let found = combined(marked, &revisions, history, to_head);
            assert_eq!(found, expected, "{marked:?} {revision} {to_head}");
        }
    }
}
