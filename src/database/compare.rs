//! Compares the schemas and rows of two databases of one repository. Reads both, and changes nothing.

mod objects;
mod row_changes;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use self::objects::SchemaObject;
pub use self::objects::{ObjectChange, SchemaChanges};
pub use self::row_changes::{RowChange, RowChanges, RowDifference};
use super::BranchDatabase;
use super::catalogue::{self, identifier};
use super::connect::{ConnectError, reach};
use crate::error::{Code, Explain};

const CONNECT: Duration = Duration::from_secs(20);
/// The time limit for counting the rows of one table. After that, an estimate is used.
const COUNTING: &str = "10s";

/// The comparison failed.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A statement failed.
    #[error("cannot compare the databases: {0}")]
    Sql(String),
    #[error("{0} has no parent to compare it with")]
    NoParent(String),
    #[error("there is no table {table} in {database}")]
    NoTable { table: String, database: String },
    #[error("the rows of {0} cannot be compared: it has no primary key")]
    NoKey(String),
    #[error("the rows of {table} cannot be compared: it has more than {most}")]
    TooMany { table: String, most: usize },
}

impl Explain for CompareError {
    fn code(&self) -> Code {
        match self {
            CompareError::Connect(error) => error.code(),
            CompareError::Sql(_) => Code::DatabaseFailed,
            CompareError::NoParent(_) => Code::DatabaseMissing,
            CompareError::NoTable { .. } | CompareError::NoKey(_) | CompareError::TooMany { .. } => {
                Code::Usage
            }
        }
    }

    fn fix(&self) -> Option<String> {
        match self {
            CompareError::Connect(error) => error.fix(),
            CompareError::Sql(_) => None,
            CompareError::NoParent(_) => {
                Some("name the other database: devrun db diff OTHER (`devrun db list` lists them)".into())
            }
            CompareError::NoTable { .. } => Some("write the table as TABLE or SCHEMA.TABLE".into()),
            CompareError::NoKey(_) | CompareError::TooMany { .. } => {
                Some("compare its rows with SQL: devrun db psql".into())
            }
        }
    }
}

impl From<tokio_postgres::Error> for CompareError {
    fn from(error: tokio_postgres::Error) -> CompareError {
        CompareError::Sql(catalogue::words(&error))
    }
}

/// The number of rows of one table in both databases; `None` where the table does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRows {
    pub table: String,
    pub before: Option<RowCount>,
    pub after: Option<RowCount>,
}

/// A number of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowCount {
    pub rows: u64,
    /// False if it is the server's estimate.
    pub is_exact: bool,
}

/// The differences between two databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseDifference {
    pub schema: SchemaChanges,
    /// One entry for each table, by name.
    pub rows: Vec<TableRows>,
}

/// Compares `own` with the database `base`.
pub async fn databases(
    base: &BranchDatabase,
    own: &BranchDatabase,
) -> Result<DatabaseDifference, CompareError> {
    let (before, base_client) = read(base).await?;
    let (after, own_client) = read(own).await?;
    let schema = objects::between(&before, &after);
    let tables = |objects: &[SchemaObject]| -> Vec<String> {
        objects.iter().filter(|one| one.kind == "table").map(|one| one.name.clone()).collect()
    };
    let before = counts(&base_client, tables(&before)).await?;
    let after = counts(&own_client, tables(&after)).await?;
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let rows = names.into_iter().map(|name| TableRows {
        table: name.clone(),
        before: before.get(name).copied(),
        after: after.get(name).copied(),
    });
    Ok(DatabaseDifference { schema, rows: rows.collect() })
}

/// Compares the rows of `table`, at most `limit` of which are returned with their values.
pub async fn rows(
    base: &BranchDatabase,
    own: &BranchDatabase,
    table: &str,
    limit: usize,
) -> Result<RowChanges, CompareError> {
    let (base_client, own_client) = (session(base).await?, session(own).await?);
    row_changes::between((&base_client, &base.name), (&own_client, &own.name), table, limit).await
}

async fn read(branch: &BranchDatabase) -> Result<(Vec<SchemaObject>, Client), CompareError> {
    let client = session(branch).await?;
    Ok((objects::list(&client).await?, client))
}

/// Opens a session that reads one state of the database. The server prints all names there with their schema, also if the role has
/// another `search_path`.
async fn session(branch: &BranchDatabase) -> Result<Client, CompareError> {
    let client = reach(branch, None, CONNECT).await?;
    let begin = "set search_path = ''; set statement_timeout = '60s'; begin isolation level repeatable read read only";
    client.batch_execute(begin).await?;
    Ok(client)
}

/// Counts the rows of `tables`, which are quoted names.
async fn counts(client: &Client, tables: Vec<String>) -> Result<BTreeMap<String, RowCount>, CompareError> {
    let mut all = BTreeMap::new();
    for table in tables {
        let name = if table.contains('.') { table.clone() } else { format!("public.{table}") };
        let exact =
            format!("savepoint a; set local statement_timeout = '{COUNTING}'; select count(*) from {name}");
        let (rows, is_exact) = match number(client, &exact).await {
            Ok(rows) => (rows, true),
            Err(error) if is_limit(&error) => {
                let estimate = format!(
                    "rollback to savepoint a; select greatest(reltuples, 0)::bigint from pg_catalog.pg_class where oid = {}::regclass",
                    catalogue::literal(&name)
                );
                (number(client, &estimate).await?, false)
            }
            Err(error) => return Err(error.into()),
        };
        all.insert(table, RowCount { rows, is_exact });
    }
    Ok(all)
}

/// Returns true if counting took too long or is not permitted.
fn is_limit(error: &tokio_postgres::Error) -> bool {
    let limits = [SqlState::QUERY_CANCELED, SqlState::INSUFFICIENT_PRIVILEGE];
    error.code().is_some_and(|code| limits.contains(code))
}

/// Returns the number in the last row of the answer.
async fn number(client: &Client, sql: &str) -> Result<u64, tokio_postgres::Error> {
    let answer = client.simple_query(sql).await?;
    let last = answer.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    });
    Ok(last.unwrap_or_default())
}

/// Returns `columns` as a list for a statement.
fn column_list(columns: &[String], prefix: &str) -> String {
    columns.iter().map(|name| format!("{prefix}{}", identifier(name))).collect::<Vec<_>>().join(", ")
}
