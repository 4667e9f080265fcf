//! Databases that the programs of a worktree have created themselves, such as Django's for its tests.
//!
//! All worktrees use one role, so the server does not record which of them created a database. devrun finds out from the
//! server's log or from the name, and writes it into the comment: then the database belongs to the branch, and is
//! deleted with the branch's own.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::error::LocalError;
use super::state::APP;
use crate::database::catalogue::{CatalogueError, identifier, literal, rows};
use crate::database::names::{RESERVED_PREFIX, has_word, is_named_after};
use crate::os::clock;
use crate::os::read;

/// How much of the server's log is searched.
const LOG_BYTES: usize = 4 << 20;
const DOING: &str = "look for databases that programs have made";

/// A branch database, from its comment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Branch {
    name: String,
    comment: Value,
}

#[derive(Deserialize)]
struct Comment {
    #[serde(default)]
    creator: Option<String>,
}

/// Writes a comment on each database without one that a program has created, if the branch of the program is known.
pub(super) async fn claim(client: &Client, log: &Path) -> Result<(), LocalError> {
    let sql = format!(
        "SELECT d.datname, shobj_description(d.oid, 'pg_database'), r.rolname FROM pg_database d \
         JOIN pg_roles r ON r.oid = d.datdba WHERE NOT d.datistemplate AND NOT starts_with(d.datname, {})",
        literal(RESERVED_PREFIX)
    );
    let (mut branches, mut unknown) = (Vec::new(), Vec::new());
    for row in rows(client, &sql, DOING).await? {
        let Ok([Some(name), comment, Some(owner)]) = <[Option<String>; 3]>::try_from(row) else { continue };
        let Some(comment) = comment else {
            if owner == APP {
                unknown.push(name);
            }
            continue;
        };
        let comment: Value = serde_json::from_str(&comment).unwrap_or_default();
        if comment["branch"].is_string() && comment["creator"].is_null() {
            branches.push(Branch { name, comment });
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let log = read::tail(log, LOG_BYTES).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    for name in unknown {
        let Some(branch) = by_log(&name, &branches, &log).or_else(|| by_name(&name, &branches)) else {
            continue;
        };
        let comment = json!({
            "branch": branch.comment["branch"],
            "worktree": branch.comment["worktree"],
            "created": clock::unix_seconds(),
            "creator": branch.name,
        });
        let sql = format!("COMMENT ON DATABASE {} IS {}", identifier(&name), literal(&comment.to_string()));
        // It fails if the program has dropped the database in the meantime.
        let _ = client.batch_execute(&sql).await;
    }
    Ok(())
}

/// Returns the databases that programs have created with the URL of `branch`, as far as [`claim`] found them.
pub(super) async fn of(client: &Client, branch: &str) -> Result<Vec<String>, CatalogueError> {
    let sql =
        "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database WHERE NOT datistemplate";
    let all = rows(client, sql, DOING).await?;
    let names = all.into_iter().filter_map(|row| {
        let [name, comment] = <[Option<String>; 2]>::try_from(row).ok()?;
        let comment: Comment = serde_json::from_str(&comment?).ok()?;
        name.filter(|_| comment.creator.as_deref() == Some(branch))
    });
    Ok(names.collect())
}

/// Returns the branch database in whose session `name` was created last.
fn by_log<'a>(name: &str, branches: &'a [Branch], log: &str) -> Option<&'a Branch> {
    let session = log.lines().rev().find_map(|line| {
        let (prefix, statement) = line.split_once(" LOG:  ")?;
        let is_creation =
            statement.to_ascii_lowercase().contains("create database") && has_word(statement, name);
        is_creation.then(|| prefix.rsplit_once('@')).flatten()
    });
    let (_, database) = session?;
    branches.iter().find(|branch| branch.name == database)
}

/// Returns the branch database whose name is the longest that is part of `name`.
fn by_name<'a>(name: &str, branches: &'a [Branch]) -> Option<&'a Branch> {
    let matching = branches.iter().filter(|branch| is_named_after(name, &branch.name));
    matching.max_by_key(|branch| branch.name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branches(names: &[&str]) -> Vec<Branch> {
        names.iter().map(|name| Branch { name: (*name).into(), comment: Value::Null }).collect()
    }

    #[test]
    fn the_log_names_the_database_of_the_session() {
        let branches = branches(&["dev-main", "dev-login"]);
        let log = "2026-11-29 20:00:00.000 UTC [9] psql@dev-main LOG:  statement: CREATE DATABASE test2\n\
            2026-11-29 20:00:00.100 UTC [9] a @ b@dev-login LOG:  execute s1: create database \"test\" owner app;\n\
            2026-11-29 20:00:00.200 UTC [9] psql@dev-main LOG:  statement: DROP DATABASE test\n";
        let found = |name| by_log(name, &branches, log).map(|branch| branch.name.as_str());
        assert_eq!(
            (found("test"), found("test2"), found("est")),
            (Some("dev-login"), Some("dev-main"), None)
        );
    }

    #[test]
    fn a_name_with_the_name_of_a_branch_database_belongs_to_it() {
        let branches = branches(&["dev-a", "dev-a_b", "dev-main"]);
        let found = |name| by_name(name, &branches).map(|branch| branch.name.as_str());
        assert_eq!(found("test_dev-a"), Some("dev-a"));
        assert_eq!(found("test_dev-a_gw0"), Some("dev-a"));
        assert_eq!(found("test_dev-a_b_1"), Some("dev-a_b"));
        assert_eq!((found("test_dev-a-c"), found("dev-mainly"), found("other")), (None, None, None));
    }
}
