//! Compares a database before and after its move: its objects, the rows of each table, the values of sequences.

use std::collections::BTreeMap;
use std::fmt;

use tokio_postgres::Client;

use crate::database::catalogue::{CatalogueError, identifier, rows};

/// Tables with their number of rows, sequences with their last value, other relations without a number, and other kinds of objects with
/// their number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DatabaseContents(BTreeMap<CountedObject, Option<u64>>);

/// A relation by its quoted name, or all objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum CountedObject {
    Table(String),
    Sequence(String),
    PartitionedTable(String),
    ForeignTable(String),
    View(String),
    All(&'static str),
}

impl fmt::Display for CountedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CountedObject::Table(name) => write!(f, "table {name}"),
            CountedObject::Sequence(name) => write!(f, "sequence {name}"),
            CountedObject::PartitionedTable(name) => write!(f, "partitioned table {name}"),
            CountedObject::ForeignTable(name) => write!(f, "foreign table {name}"),
            CountedObject::View(name) => write!(f, "view {name}"),
            CountedObject::All(kind) => f.write_str(kind),
        }
    }
}

/// Returns the contents of the database of `client`. The session has no time limit.
pub(super) async fn read(client: &Client) -> Result<DatabaseContents, CatalogueError> {
    let doing = "compare the databases";
    let own = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'";
    let of_extension = |catalogue: &str| {
        format!(
            "EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{catalogue}'::regclass AND e.objid = c.oid AND e.deptype = 'e')"
        )
    };
    let relations = format!(
        "SELECT c.relkind::text, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't' AND {own} AND NOT {} ORDER BY 1, 2, 3",
        of_extension("pg_class")
    );
    let mut found = BTreeMap::new();
    for row in rows(client, &relations, doing).await? {
        let Ok([Some(kind), Some(schema), Some(name)]) = <[Option<String>; 3]>::try_from(row) else {
            continue;
        };
        let relation = format!("{}.{}", identifier(&schema), identifier(&name));
        // The move refreshes materialized views, so they may have more rows than before.
        let (object, count): (fn(String) -> CountedObject, _) = match kind.as_str() {
            "r" => (CountedObject::Table, Some(format!("SELECT count(*) FROM ONLY {relation}"))),
            "S" => (CountedObject::Sequence, Some(format!("SELECT greatest(last_value, 0) FROM {relation}"))),
            "p" => (CountedObject::PartitionedTable, None),
            "f" => (CountedObject::ForeignTable, None),
            _ => (CountedObject::View, None),
        };
        let count = match count {
            Some(sql) => number(client, &sql, doing).await?,
            None => None,
        };
        found.insert(object(relation), count);
    }
    let functions = of_extension("pg_proc");
    let others = [
        (
            "indexes",
            format!(
                "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('i', 'I') AND {own}"
            ),
        ),
        (
            "functions",
            format!(
                "pg_proc c JOIN pg_namespace n ON n.oid = c.pronamespace WHERE {own} AND NOT {functions}"
            ),
        ),
        // Newer servers also count columns that are not null.
        (
            "constraints",
            format!(
                "pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE c.contype IN ('c', 'f', 'p', 'u', 'x') AND {own}"
            ),
        ),
        ("triggers", "pg_trigger WHERE NOT tgisinternal".into()),
        ("policies", "pg_policy".into()),
        ("extensions", "pg_extension".into()),
        ("large objects", "pg_largeobject_metadata".into()),
    ];
    for (what, from) in others {
        let sql = format!("SELECT count(*) FROM {from}");
        found.insert(CountedObject::All(what), number(client, &sql, doing).await?);
    }
    Ok(DatabaseContents(found))
}

async fn number(client: &Client, sql: &str, doing: &str) -> Result<Option<u64>, CatalogueError> {
    let cell = rows(client, sql, doing).await?.into_iter().next().and_then(|row| row.into_iter().next()?);
    Ok(cell.and_then(|cell| cell.parse().ok()))
}

impl DatabaseContents {
    /// Returns the number of tables.
    pub(super) fn tables(&self) -> usize {
        self.0.keys().filter(|object| matches!(object, CountedObject::Table(_))).count()
    }

    /// Returns the number of rows in all tables.
    pub(super) fn rows(&self) -> u64 {
        let tables = self.0.iter().filter(|(object, _)| matches!(object, CountedObject::Table(_)));
        tables.filter_map(|(_, count)| *count).sum()
    }

    /// Returns the first difference in words, or `None` if `after` has the same contents.
    pub(super) fn difference(&self, after: &DatabaseContents) -> Option<String> {
        let words = |count: &Option<u64>| count.map_or_else(String::new, |count| format!(" ({count})"));
        let lost = self.0.iter().find_map(|(name, before)| match after.0.get(name) {
            None => Some(format!("{name} is missing")),
            Some(now) if now != before => Some(format!("{name}: before{}, now{}", words(before), words(now))),
            Some(_) => None,
        });
        let added =
            || after.0.keys().find(|name| !self.0.contains_key(*name)).map(|name| format!("{name} is new"));
        lost.or_else(added)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(all: &[(CountedObject, Option<u64>)]) -> DatabaseContents {
        DatabaseContents(all.iter().cloned().collect())
    }

    fn table(name: &str) -> CountedObject {
        CountedObject::Table(name.into())
    }

    fn view(name: &str) -> CountedObject {
        CountedObject::View(name.into())
    }

    #[test]
    fn a_lost_row_or_object_is_a_difference() {
        let before = contents(&[(table("a"), Some(2)), (view("v"), None)]);
        assert_eq!(before.difference(&before), None);
        assert_eq!((before.tables(), before.rows()), (1, 2));
        for (after, difference) in [
            (contents(&[(table("a"), Some(1)), (view("v"), None)]), "table a: before (2), now (1)"),
            (contents(&[(table("a"), Some(2))]), "view v is missing"),
            (contents(&[(table("a"), Some(2)), (view("v"), None), (view("w"), None)]), "view w is new"),
        ] {
            assert_eq!(before.difference(&after).as_deref(), Some(difference));
        }
    }
}
