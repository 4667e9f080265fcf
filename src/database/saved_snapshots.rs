//! Snapshots of branch databases that users name: databases that nothing connects to, with a comment that says of which
//! database each one is. devrun updates these comments when it renames the branch database, and deletes the snapshots
//! with it.

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::ListedDatabase;
use super::catalogue::{self, CatalogueError, ServerDatabase, identifier, literal, rows};
use crate::error::{Code, Explain, RERUN};
use crate::os::clock;
use crate::text::quoted;

/// The beginning of the name of such a database.
pub(super) const PREFIX: &str = "_devrun-saved-";
/// The most characters of a snapshot's name.
const LONGEST: usize = 64;

/// A snapshot that a user has named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSnapshot {
    pub name: String,
    /// The branch database that it was taken of.
    pub of: String,
    /// In seconds since 1970.
    pub taken: u64,
    /// The size in bytes, if it is known.
    pub size: Option<u64>,
    /// The id that the branch database had.
    pub source_id: String,
    /// The name of the database on the server.
    pub(super) database: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct SnapshotComment {
    snapshot: String,
    of: String,
    id: String,
    taken: u64,
}

/// The reason why a snapshot is not taken, restored or deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error("the provider {provider} takes no snapshots of branch databases")]
    NotSupported { provider: &'static str },
    #[error("{name:?} cannot be the name of a snapshot")]
    Name { name: String },
    #[error("{of} has a snapshot {name} already")]
    Exists { name: String, of: String },
    #[error("{of} has no snapshot {name:?}")]
    Missing {
        name: String,
        of: String,
        /// The names of those that exist.
        known: Vec<String>,
    },
    /// Neon copies no branch that expires.
    #[error("{of} expires, so Neon takes no snapshot of it")]
    Expires { of: String },
}

impl Explain for SnapshotError {
    fn code(&self) -> Code {
        match self {
            SnapshotError::NotSupported { .. } | SnapshotError::Expires { .. } => Code::DatabaseFailed,
            SnapshotError::Name { .. } | SnapshotError::Exists { .. } => Code::Usage,
            SnapshotError::Missing { .. } => Code::DatabaseMissing,
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            SnapshotError::NotSupported { .. } => {
                "use the provider `local`, or the snapshots of the service itself".into()
            }
            SnapshotError::Name { .. } => {
                format!("take at most {LONGEST} letters, digits, dots, dashes and underscores")
            }
            SnapshotError::Exists { name, .. } => {
                format!("take another name, or replace it: devrun db snapshot {} --replace", quoted(name))
            }
            SnapshotError::Expires { .. } => format!("leave out `database.neon.expires_in`, and {RERUN}"),
            SnapshotError::Missing { known, .. } if known.is_empty() => {
                "devrun db snapshot NAME takes one".into()
            }
            SnapshotError::Missing { known, .. } => format!("it has: {}", known.join(", ")),
        })
    }
}

/// Returns an error if `name` cannot be the name of a snapshot.
pub fn check_name(name: &str) -> Result<(), SnapshotError> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if (1..=LONGEST).contains(&name.len()) && name.chars().all(is_fine) && !name.starts_with('-') {
        Ok(())
    } else {
        Err(SnapshotError::Name { name: name.into() })
    }
}

/// Returns all snapshots of the server, those of one database by the time at which they were taken.
pub(super) async fn list(client: &Client) -> Result<Vec<SavedSnapshot>, CatalogueError> {
    let sql = format!(
        "SELECT d.datname, shobj_description(d.oid, 'pg_database'), \
         CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN pg_database_size(d.oid) END \
         FROM pg_database d WHERE starts_with(d.datname, {})",
        literal(PREFIX)
    );
    let found = rows(client, &sql, "list the snapshots").await?;
    let mut all: Vec<SavedSnapshot> = found.into_iter().filter_map(parse).collect();
    all.sort_by(|one, other| (&one.of, one.taken, &one.name).cmp(&(&other.of, other.taken, &other.name)));
    Ok(all)
}

fn parse(row: Vec<Option<String>>) -> Option<SavedSnapshot> {
    let [database, comment, size] = <[Option<String>; 3]>::try_from(row).ok()?;
    let comment: SnapshotComment = serde_json::from_str(&comment?).ok()?;
    Some(SavedSnapshot {
        name: comment.snapshot,
        of: comment.of,
        taken: comment.taken,
        size: size.and_then(|size| size.parse().ok()),
        source_id: comment.id,
        database: database?,
    })
}

/// Returns the snapshot `name` of the database `of`.
pub(super) async fn find(client: &Client, of: &str, name: &str) -> Result<SavedSnapshot, FindError> {
    let all: Vec<SavedSnapshot> = list(client).await?.into_iter().filter(|one| one.of == of).collect();
    let known = all.iter().map(|one| one.name.clone()).collect();
    let found = all.into_iter().find(|one| one.name == name);
    Ok(found.ok_or_else(|| SnapshotError::Missing { name: name.into(), of: of.into(), known })?)
}

/// The server did not answer, or there is no such snapshot.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

impl Explain for FindError {
    fn code(&self) -> Code {
        match self {
            FindError::Catalogue(error) => error.code(),
            FindError::Snapshot(error) => error.code(),
        }
    }

    fn fix(&self) -> Option<String> {
        match self {
            FindError::Catalogue(error) => error.fix(),
            FindError::Snapshot(error) => error.fix(),
        }
    }
}

/// Makes the database `temporary` the snapshot `name` of `source`, whose name is `of`.
pub(super) async fn publish(
    client: &Client,
    temporary: &str,
    (name, of): (&str, &str),
    source: &ServerDatabase,
) -> Result<(), CatalogueError> {
    let taken = clock::unix_seconds();
    let comment = SnapshotComment { snapshot: name.into(), of: of.into(), id: source.id.clone(), taken };
    let doing = format!("keep the snapshot {name}");
    let comment =
        serde_json::to_string(&comment).map_err(|error| CatalogueError::with(&doing, error.to_string()))?;
    let random = getrandom::u64().map_err(|error| CatalogueError::with(&doing, error.to_string()))?;
    let (from, to) = (identifier(temporary), identifier(&format!("{PREFIX}{random:016x}")));
    let sql = format!(
        "BEGIN; COMMENT ON DATABASE {from} IS {}; ALTER DATABASE {from} RENAME TO {to}; \
         ALTER DATABASE {to} ALLOW_CONNECTIONS false; COMMIT",
        literal(&comment)
    );
    client.batch_execute(&sql).await.map_err(CatalogueError::sql(doing))
}

/// Deletes a snapshot.
pub(super) async fn remove(client: &Client, snapshot: &SavedSnapshot) -> Result<(), CatalogueError> {
    let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(&snapshot.database));
    let doing = format!("delete the snapshot {}", snapshot.name);
    client.batch_execute(&sql).await.map_err(CatalogueError::sql(doing))
}

/// Deletes the snapshots of the database `of`. Returns their names.
pub(super) async fn remove_all(client: &Client, of: &str) -> Result<Vec<String>, CatalogueError> {
    let mut removed = Vec::new();
    for snapshot in list(client).await?.into_iter().filter(|one| one.of == of) {
        remove(client, &snapshot).await?;
        removed.push(snapshot.name);
    }
    Ok(removed)
}

/// Records that the database `from`, with its snapshots, is called `to`, if it really got that name.
pub(super) async fn follow(client: &Client, from: &ListedDatabase, to: &str) -> Result<(), CatalogueError> {
    let is_renamed = catalogue::find(client, to).await?.is_some_and(|found| found.id == from.id);
    if !is_renamed {
        return Ok(());
    }
    let from = from.name.as_str();
    let doing = format!("rename the snapshots of {from}");
    for one in list(client).await?.into_iter().filter(|one| one.of == from) {
        let comment =
            SnapshotComment { snapshot: one.name, of: to.into(), id: one.source_id, taken: one.taken };
        let comment = serde_json::to_string(&comment)
            .map_err(|error| CatalogueError::with(&doing, error.to_string()))?;
        let sql = format!("COMMENT ON DATABASE {} IS {}", identifier(&one.database), literal(&comment));
        client.batch_execute(&sql).await.map_err(CatalogueError::sql(&doing))?;
    }
    Ok(())
}

/// Adds to each entry the names of its snapshots.
pub(super) async fn attach(
    client: &Client,
    mut entries: Vec<ListedDatabase>,
) -> Result<Vec<ListedDatabase>, CatalogueError> {
    for one in list(client).await? {
        if let Some(entry) = entries.iter_mut().find(|entry| entry.name == one.of) {
            entry.snapshots.push(one.name);
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_need_no_quoting() {
        for name in ["before-import", "1", "a.b_C"] {
            assert_eq!(check_name(name), Ok(()));
        }
        for name in ["", "-x", "a b", "é", "a/b", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn only_a_comment_of_a_snapshot_counts() {
        let row = |comment: &str| parse(vec![Some("_devrun-saved-1".into()), Some(comment.into()), None]);
        let snapshot = row(r#"{"snapshot":"a","of":"dev-x","id":"7-5","taken":9}"#).unwrap();
        assert_eq!((&*snapshot.name, &*snapshot.of, snapshot.taken), ("a", "dev-x", 9));
        assert_eq!(row(r#"{"branch":"x"}"#), None);
    }
}
