//! Applies the rules of a mask to the new database.

use tokio_postgres::Client;

use crate::database::catalogue::{CatalogueError, identifier, words};
use crate::database::import::{ImportError, ImportRequest};
use crate::database::masking::{self, ColumnMask};
use crate::error::Report;

/// Replaces the values of the columns that the request masks. Rewrites the tables, so that the old values are nowhere in the
/// files of the database, which copies share.
pub(super) async fn apply(client: &Client, request: &ImportRequest) -> Result<(), Report> {
    let random = getrandom::u64().and_then(|one| Ok((one, getrandom::u64()?)));
    let (one, two) = random.map_err(|error| CatalogueError::with("mask the rows", error.to_string()))?;
    let salt = format!("{one:016x}{two:016x}");
    for (table, masks) in masking::by_table(&request.masks) {
        let mut typed = Vec::new();
        for mask in masks {
            typed.push((mask, kind(client, request, mask).await?));
        }
        let failed = |error: tokio_postgres::Error| ImportError::Mask {
            file: request.mask_file.clone(),
            table: format!("{}.{}", table.0, table.1),
            reason: words(&error),
        };
        client.batch_execute(&masking::update(table, &typed, &salt)).await.map_err(failed)?;
        let rewrite = format!("VACUUM (FULL) {}.{}", identifier(table.0), identifier(table.1));
        client.batch_execute(&rewrite).await.map_err(failed)?;
    }
    Ok(())
}

/// Returns the type of the column of `mask`. Errors if there is no such column.
async fn kind(client: &Client, request: &ImportRequest, mask: &ColumnMask) -> Result<String, Report> {
    let sql = "SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = $3 \
        AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped";
    let found = client.query_opt(sql, &[&mask.schema, &mask.table, &mask.column]).await;
    let found = found.map_err(CatalogueError::sql("look at the columns"))?;
    let column = || format!("{}.{}.{}", mask.schema, mask.table, mask.column);
    let missing =
        || ImportError::MaskColumn { file: request.mask_file.clone(), line: mask.line, column: column() };
    let row = found.ok_or_else(missing)?;
    Ok(row.try_get(0).map_err(CatalogueError::sql("look at the columns"))?)
}
