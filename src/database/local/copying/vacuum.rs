//! Vacuums tables before a snapshot, so that a program that only reads them later does not change their files.
//!
//! Postgres writes to a page when it first reads a row that was inserted or deleted since the last vacuum: it notes in the
//! row that the transaction has ended. Autovacuum writes to the pages of a table that had many inserts.

use tokio_postgres::Client;

use super::files::DataFiles;
use super::relations::{ParentChanges, Relation, RelationKind};
use crate::database::catalogue::CatalogueError;

/// A smaller table is replaced in a copy as fast as it is vacuumed.
const SMALL: u64 = 1 << 20;

/// Vacuums those of the changed relations that are large. Returns false if there are none. `client` is in no transaction.
pub(super) async fn large(
    client: &Client,
    changes: &ParentChanges,
    files: &DataFiles,
) -> Result<bool, CatalogueError> {
    let has_rows = |relation: &&Relation| relation.kind != RelationKind::Sequence;
    let names: Vec<&str> = changes
        .relations
        .iter()
        .filter(has_rows)
        .filter(|relation| files.bytes(relation.node) > SMALL)
        .map(|relation| relation.name.as_str())
        .collect();
    if names.is_empty() {
        return Ok(false);
    }
    // Shortening a file or cleaning its indexes needs time or locks, and changes nothing for later readers.
    let options = "SKIP_LOCKED, TRUNCATE FALSE, INDEX_CLEANUP OFF, PROCESS_TOAST FALSE";
    let sql = format!("VACUUM ({options}) {}", names.join(", "));
    client.batch_execute(&sql).await.map_err(CatalogueError::sql("vacuum the tables"))?;
    Ok(true)
}
