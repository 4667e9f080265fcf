//! The rows of a table that differ between two databases, by primary key.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tokio_postgres::Client;

use super::{CompareError, column_list};
use crate::database::catalogue::literal;

/// The most rows of a table that are compared: their keys are kept in memory.
const MOST: usize = 500_000;

/// How a row differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowDifference {
    Added,
    Removed,
    Changed,
}

/// A row that differs. The values are those of the columns that both tables have.
#[derive(Clone, Debug, PartialEq)]
pub struct RowChange {
    pub difference: RowDifference,
    /// The values of the primary key, as text.
    pub key: Vec<String>,
    pub before: Option<Map<String, Value>>,
    pub after: Option<Map<String, Value>>,
}

/// The differences between the rows of two tables.
#[derive(Clone, Debug, PartialEq)]
pub struct RowChanges {
    /// The columns of the primary key.
    pub key: Vec<String>,
    pub added: usize,
    pub removed: usize,
    pub changed: usize,
    /// The first of them, by key.
    pub rows: Vec<RowChange>,
}

/// The keys of a table, each with a hash of its row.
type Hashes = BTreeMap<Vec<String>, String>;

struct Table {
    /// The quoted name with its schema.
    name: String,
    columns: Vec<String>,
    key: Vec<String>,
}

pub(super) async fn between(
    (base, base_name): (&Client, &str),
    (own, own_name): (&Client, &str),
    table: &str,
    limit: usize,
) -> Result<RowChanges, CompareError> {
    let missing = |database: &str| CompareError::NoTable { table: table.into(), database: database.into() };
    let before = find(base, table).await?.ok_or_else(|| missing(base_name))?;
    let after = find(own, table).await?.ok_or_else(|| missing(own_name))?;
    if after.key.is_empty() || after.key != before.key {
        return Err(CompareError::NoKey(table.into()));
    }
    let columns: Vec<String> =
        after.columns.iter().filter(|column| before.columns.contains(column)).cloned().collect();
    let old = hashes(base, &before, &columns).await?;
    let new = hashes(own, &after, &columns).await?;
    let different = differences(&old, &new);
    let count = |wanted| different.iter().filter(|(_, difference)| **difference == wanted).count();
    let chosen: Vec<_> = different.iter().take(limit).collect();
    let keys: BTreeSet<Vec<String>> = chosen.iter().map(|(key, _)| (*key).clone()).collect();
    let mut old_rows = values(base, &before, &columns, &keys).await?;
    let mut new_rows = values(own, &after, &columns, &keys).await?;
    let rows = chosen.into_iter().map(|(key, difference)| RowChange {
        difference: *difference,
        before: old_rows.remove(key),
        after: new_rows.remove(key),
        key: key.clone(),
    });
    Ok(RowChanges {
        added: count(RowDifference::Added),
        removed: count(RowDifference::Removed),
        changed: count(RowDifference::Changed),
        rows: rows.collect(),
        key: after.key,
    })
}

/// Returns the keys that differ. Pure.
fn differences(old: &Hashes, new: &Hashes) -> BTreeMap<Vec<String>, RowDifference> {
    let keys: BTreeSet<&Vec<String>> = old.keys().chain(new.keys()).collect();
    let difference = |key: &Vec<String>| match (old.get(key), new.get(key)) {
        (None, _) => Some(RowDifference::Added),
        (_, None) => Some(RowDifference::Removed),
        (old, new) => (old != new).then_some(RowDifference::Changed),
    };
    keys.into_iter().filter_map(|key| Some((key.clone(), difference(key)?))).collect()
}

/// Finds the table that the user calls `table`: a name with or without its schema.
async fn find(client: &Client, table: &str) -> Result<Option<Table>, CompareError> {
    let sql = "select format('%I.%I', n.nspname, c.relname), \
        array(select attname::text from pg_catalog.pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped order by attnum), \
        array(select a.attname::text from pg_catalog.pg_index i, unnest(i.indkey::int2[]) with ordinality as k(attnum, position) \
            join pg_catalog.pg_attribute a on a.attnum = k.attnum where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid order by k.position) \
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
        where c.relkind in ('r', 'p') and (n.nspname || '.' || c.relname = $1 or n.nspname = 'public' and c.relname = $1)";
    let Some(row) = client.query_opt(sql, &[&table]).await? else { return Ok(None) };
    Ok(Some(Table { name: row.try_get(0)?, columns: row.try_get(1)?, key: row.try_get(2)? }))
}

fn key_texts(table: &Table) -> String {
    let texts =
        table.key.iter().map(|name| format!("{}::text", crate::database::catalogue::identifier(name)));
    format!("array[{}]", texts.collect::<Vec<_>>().join(", "))
}

async fn hashes(client: &Client, table: &Table, columns: &[String]) -> Result<Hashes, CompareError> {
    let sql = format!(
        "select {}, md5(row({})::text) from {} limit {}",
        key_texts(table),
        column_list(columns, ""),
        table.name,
        MOST + 1
    );
    let rows = client.query(&sql, &[]).await?;
    if rows.len() > MOST {
        return Err(CompareError::TooMany { table: table.name.clone(), most: MOST });
    }
    let pair = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
    rows.iter().map(pair).collect::<Result<_, tokio_postgres::Error>>().map_err(CompareError::from)
}

/// Returns the values of the rows with these keys.
async fn values(
    client: &Client,
    table: &Table,
    columns: &[String],
    keys: &BTreeSet<Vec<String>>,
) -> Result<BTreeMap<Vec<String>, Map<String, Value>>, CompareError> {
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let list = |key: &Vec<String>| {
        let parts: Vec<String> = key.iter().map(|part| literal(part)).collect();
        format!("(array[{}]::text[])", parts.join(", "))
    };
    let wanted: Vec<String> = keys.iter().map(list).collect();
    let texts = key_texts(table);
    let sql = format!(
        "select {texts}, (select to_jsonb(r) from (select {}) r)::text from {} t where {texts} in (values {})",
        column_list(columns, "t."),
        table.name,
        wanted.join(", ")
    );
    let mut all = BTreeMap::new();
    for row in client.query(&sql, &[]).await? {
        let text: String = row.try_get(1)?;
        let value: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
        all.insert(row.try_get(0)?, value);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_added_removed_or_changed() {
        let hashes = |all: &[(&str, &str)]| -> Hashes {
            all.iter().map(|(key, hash)| (vec![(*key).to_string()], (*hash).to_string())).collect()
        };
        let found = differences(
            &hashes(&[("1", "a"), ("2", "b"), ("3", "c")]),
            &hashes(&[("1", "a"), ("2", "x"), ("4", "d")]),
        );
        let found: Vec<_> = found.into_iter().map(|(key, difference)| (key.concat(), difference)).collect();
        assert_eq!(
            found,
            [
                ("2".into(), RowDifference::Changed),
                ("3".into(), RowDifference::Removed),
                ("4".into(), RowDifference::Added)
            ]
        );
    }
}
