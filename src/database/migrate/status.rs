//! Reports how up to date the schema of a branch database is, for read-only verbs. Runs nothing and marks nothing.

use std::path::Path;

use tokio_postgres::Client;

use super::migration_files::MigrationFiles;
use super::{CONNECT, MigrateError, Verdict, drift, effect, lock, marker, recorded, verdict};
use crate::database::BranchDatabase;
use crate::database::alembic_history::History;
use crate::plan::RunCommand;

/// The meaning of the marker in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationStatus {
    /// The command succeeded there with the current files.
    UpToDate,
    /// The command succeeded there, but with other files, or another command did.
    Pending,
    /// The database has a revision that no file defines: other code migrated it.
    Ahead,
    /// No command has succeeded there, or the last run failed or was interrupted.
    Unmigrated,
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
            MigrationStatus::Migrated => "migrated",
            MigrationStatus::Empty => "empty",
        }
    }
}

/// The state of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaState {
    /// The meaning of the marker.
    pub status: MigrationStatus,
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

/// Reads the marker and Alembic's revisions in `branch`. `source` is `None` if the branch is another one than the worktree's.
pub async fn schema_state(
    branch: &BranchDatabase,
    source: Option<MigrationSource<'_>>,
) -> Result<SchemaState, MigrateError> {
    let mut heads = Vec::new();
    let mut known = None;
    let fingerprint = match source {
        Some(MigrationSource { command, directory, globs, .. }) => {
            let inputs = MigrationFiles::gather(directory, globs).await?;
            let history = History::read(inputs.files());
            if history.is_certain() {
                heads = history.heads().into_iter().map(|head| head.revision).collect();
                known = Some(history);
            }
            Some(inputs.fingerprint(command))
        }
        None => None,
    };
    if let Some(path) = &branch.records {
        let status = match (recorded::fingerprint(path, &branch.id)?, fingerprint) {
            (None, _) => MigrationStatus::Unmigrated,
            (Some(_), None) => MigrationStatus::Migrated,
            (Some(done), Some(now)) if done == now => MigrationStatus::UpToDate,
            (Some(_), Some(_)) => MigrationStatus::Pending,
        };
        return Ok(SchemaState { status, revisions: Vec::new(), heads, new_objects: Vec::new() });
    }
    let look = async |client: &Client| {
        let new_objects = match source {
            Some(source) => drift::new_objects(client, source.command, source.is_sql).await,
            None => Vec::new(),
        };
        let markers = marker::read(client).await?;
        Ok((markers, effect::is_empty(client).await?, effect::revisions(client).await?, new_objects))
    };
    let ((markers, holds_nothing, revisions, new_objects), _) =
        lock::in_session(branch, CONNECT, look).await?;
    let own = markers.iter().any(|marker| marker.branch == branch.id);
    let marked = match fingerprint {
        _ if !own => MigrationStatus::Unmigrated,
        None => MigrationStatus::Migrated,
        Some(fingerprint) if verdict(&markers, branch, &fingerprint) == Verdict::InStep => {
            MigrationStatus::UpToDate
        }
        Some(_) => MigrationStatus::Pending,
    };
    // A successful command that left the database empty has changed another database, or none.
    let is_empty = marked == MigrationStatus::UpToDate && holds_nothing;
    let revisions = revisions.unwrap_or_default();
    let status = match marked {
        _ if is_empty => MigrationStatus::Empty,
        // The failed migration that removed the marker has left the revisions of the earlier ones.
        MigrationStatus::Unmigrated if is_behind(&revisions, known.as_ref()) => MigrationStatus::Pending,
        MigrationStatus::Pending | MigrationStatus::Unmigrated if is_ahead(&revisions, known.as_ref()) => {
            MigrationStatus::Ahead
        }
        marked => marked,
    };
    Ok(SchemaState { status, revisions, heads, new_objects })
}

/// Returns true if no file defines one of the database's revisions.
fn is_ahead(revisions: &[String], history: Option<&History>) -> bool {
    history.is_some_and(|history| {
        !history.is_empty() && revisions.iter().any(|revision| !history.defines(revision))
    })
}

/// Returns true if the files define all revisions of the database, and heads that it has not reached.
fn is_behind(revisions: &[String], history: Option<&History>) -> bool {
    history.is_some_and(|history| {
        let is_reached = |head: &str| revisions.iter().any(|revision| revision == head);
        !revisions.is_empty()
            && revisions.iter().all(|revision| history.defines(revision))
            && !history.heads().iter().all(|head| is_reached(&head.revision))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_at_an_earlier_revision_of_the_files_is_behind() {
        let one: (&Path, &[u8]) = (Path::new("v/1.py"), b"revision = '0001'\ndown_revision = None\n");
        let two: (&Path, &[u8]) = (Path::new("v/2.py"), b"revision = '0002'\ndown_revision = '0001'\n");
        let history = History::read([one, two]);
        assert!(is_behind(&["0001".into()], Some(&history)));
        assert!(!is_behind(&["0002".into()], Some(&history)));
        assert!(!is_behind(&["0003".into()], Some(&history)), "ahead");
        assert!(!is_behind(&[], Some(&history)));
        assert!(!is_behind(&["0001".into()], None));
    }

    #[test]
    fn a_revision_that_no_file_defines_is_ahead_of_the_files() {
        let file: (&Path, &[u8]) = (Path::new("v/1.py"), b"revision = '0001'\ndown_revision = None\n");
        let history = History::read([file]);
        assert!(is_ahead(&["0002a".into()], Some(&history)));
        assert!(!is_ahead(&["0001".into()], Some(&history)));
        assert!(!is_ahead(&["0002a".into()], Some(&History::default())));
        assert!(!is_ahead(&["0002a".into()], None));
    }
}
