//! Clones the snapshot of a parent, and replaces the tables that changed since by those of the parent.
//!
//! The order makes it exact: first the MVCC snapshot of the parent, then a checkpoint (`CREATE DATABASE` makes one), then
//! a look at the parent's files. So every change that the MVCC snapshot can see is in a file that differs from the
//! manifest.

use futures_util::{SinkExt, StreamExt};
use tokio_postgres::Client;

use super::error::CopyFailure;
use super::files::DataFiles;
use super::reader::ParentReader;
use super::relations::{self, ParentChanges, Relation, RelationKind};
use super::snapshot::{ParentSnapshot, read_files};
use super::{Copier, CopyMethod, CopySource, DumpTools, method, schema};
use crate::database::catalogue::{CatalogueError, literal, rows};

/// Makes `temporary` a copy of `source`. Errors if the result would not be exact, or if a dump is possible and faster.
pub(super) async fn copy(
    copier: &Copier<'_>,
    source: &CopySource<'_>,
    snapshot: &ParentSnapshot,
    temporary: &str,
) -> Result<(), CopyFailure> {
    let reader = ParentReader::open(copier, source).await?;
    let describe = async {
        let sum = schema::sum(&reader.client).await?;
        Ok((sum, relations::list(&reader.client).await?))
    };
    let doing = format!("copy database {}", source.name);
    let clone = async { copier.clone(&snapshot.name, temporary, &doing).await.map_err(CopyFailure::from) };
    // The search takes as long as a clone whose blocks are shared.
    let find_tools = async { Ok(DumpTools::find(copier.local).await) };
    let ((sum, relations), (), tools) = tokio::try_join!(describe, clone, find_tools)?;
    let now: DataFiles = read_files(copier, source.database).await?;
    let target = copier.local.session_in(temporary).await?;
    let has_same_schema = *snapshot.schema() == sum;
    let changes = relations::changes(&relations, &relations::list(&target).await?, snapshot.files(), &now);
    if let Some(reason) = method::objection(has_same_schema, &changes, tools.is_some()) {
        return Err(CopyFailure::Reason(reason));
    }
    replace(&reader.client, &target, &changes).await?;
    refresh_views(copier, &reader.client, &target, &changes).await?;
    drop(target);
    (copier.reading.finished)(CopyMethod::Replace, reader.client);
    copier.wait_until_unused(temporary).await?;
    Ok(())
}

fn of_kind(changes: &ParentChanges, kind: RelationKind) -> impl Iterator<Item = &Relation> {
    changes.relations.iter().filter(move |relation| relation.kind == kind)
}

async fn replace(reader: &Client, target: &Client, changes: &ParentChanges) -> Result<(), CopyFailure> {
    let tables: Vec<&Relation> = of_kind(changes, RelationKind::Table).collect();
    target
        .batch_execute("SET statement_timeout = '20min'; SET session_replication_role = replica; BEGIN")
        .await?;
    if !tables.is_empty() {
        // Without triggers in its description, a table is emptied although foreign keys refer to it, and no trigger
        // runs. This transaction ends with the same triggers as before.
        let oids: Vec<String> = tables.iter().map(|table| table.oid.to_string()).collect();
        let hide = format!(
            "UPDATE pg_class SET relhastriggers = false WHERE relhastriggers AND oid IN ({}) RETURNING oid",
            oids.join(", ")
        );
        let hidden = rows(target, &hide, "hide the triggers").await?;
        let hidden: Vec<String> = hidden.into_iter().filter_map(|row| row.into_iter().next()?).collect();
        let names: Vec<String> = tables.iter().map(|table| format!("ONLY {}", table.name)).collect();
        target.batch_execute(&format!("TRUNCATE {}", names.join(", "))).await?;
        for table in tables {
            copy_rows(reader, target, table).await?;
        }
        if !hidden.is_empty() {
            let show =
                format!("UPDATE pg_class SET relhastriggers = true WHERE oid IN ({})", hidden.join(", "));
            target.batch_execute(&show).await?;
        }
    }
    set_sequences(reader, target, changes).await?;
    target.batch_execute("COMMIT").await?;
    Ok(())
}

/// Copies the rows of `table`. In the binary form, no setting of the parent (such as `DateStyle` or `search_path`) can
/// change how the copy reads a value.
async fn copy_rows(reader: &Client, target: &Client, table: &Relation) -> Result<(), CopyFailure> {
    let columns = format!("{} ({})", table.name, table.columns);
    let rows = reader.copy_out(&format!("COPY {columns} TO STDOUT (FORMAT binary)")).await?;
    let sink = target.copy_in(&format!("COPY {columns} FROM STDIN (FORMAT binary)")).await?;
    tokio::pin!(rows, sink);
    while let Some(row) = rows.next().await {
        sink.feed(row?).await?;
    }
    sink.finish().await?;
    Ok(())
}

async fn set_sequences(reader: &Client, target: &Client, changes: &ParentChanges) -> Result<(), CopyFailure> {
    let read: Vec<String> = of_kind(changes, RelationKind::Sequence)
        .map(|sequence| {
            format!("SELECT {}, last_value, is_called FROM {}", literal(&sequence.name), sequence.name)
        })
        .collect();
    if read.is_empty() {
        return Ok(());
    }
    let values = rows(reader, &read.join(" UNION ALL "), "read the sequences").await?;
    let set: Vec<String> = values
        .into_iter()
        .filter_map(|row| {
            let [name, last, is_called] = <[Option<String>; 3]>::try_from(row).ok()?;
            Some(format!("setval({}, {}, {})", literal(&name?), last?, literal(&is_called?)))
        })
        .collect();
    for some in set.chunks(500) {
        target.batch_execute(&format!("SELECT {}", some.join(", "))).await?;
    }
    Ok(())
}

/// Refreshes the changed materialized views. Reports those that have other rows than in the parent, whose rows are older.
async fn refresh_views(
    copier: &Copier<'_>,
    reader: &Client,
    target: &Client,
    changes: &ParentChanges,
) -> Result<(), CopyFailure> {
    for view in of_kind(changes, RelationKind::View) {
        target.batch_execute(&format!("REFRESH MATERIALIZED VIEW {}", view.name)).await?;
        let sum = format!("SELECT count(*), sum(hashtextextended(v::text, 0)::numeric) FROM {} v", view.name);
        if rows(reader, &sum, "read a view").await? != rows(target, &sum, "read a view").await? {
            copier.events.note(format!(
                "the materialized view {} has older rows in the parent; the copy has refreshed ones",
                view.name
            ));
        }
    }
    Ok(())
}

impl Copier<'_> {
    /// Waits until the database `name` has no session, so that devrun's own has ended. Returns after 500 checks in any
    /// case. Statements that need a database without sessions check this only ten times a second.
    pub(super) async fn wait_until_unused(&self, name: &str) -> Result<(), CatalogueError> {
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = {}", literal(name));
        for _ in 0..500 {
            if super::cell(rows(self.watcher, &sql, "wait for a session to end").await?).as_deref()
                == Some("0")
            {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        Ok(())
    }
}
