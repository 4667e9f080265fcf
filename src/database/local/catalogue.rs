//! What the server's own catalogue says of its databases: their remarks are readable without connecting to them.

use std::path::PathBuf;

use serde::Deserialize;
use tokio_postgres::Client;

use super::branches::{literal, rows};
use super::error::LocalError;
use crate::database::Entry;
use crate::database::names::RESERVED_PREFIX;

/// What devrun wrote down when it made a database; see `branches`.
#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Remark {
    branch: String,
    #[serde(default)]
    worktree: Option<PathBuf>,
    #[serde(default)]
    parent: Option<String>,
}

/// Every database beside the server's own and half-made ones; only the one called `name`, where it is given.
pub(super) async fn entries(client: &Client, name: Option<&str>) -> Result<Vec<Entry>, LocalError> {
    let only = name.map(|name| format!("AND d.datname = {}", literal(name))).unwrap_or_default();
    let sql = format!(
        "SELECT c.system_identifier, d.oid, d.datname, shobj_description(d.oid, 'pg_database'), pg_database_size(d.oid) \
         FROM pg_control_system() c, pg_database d WHERE NOT d.datistemplate AND d.datname <> 'postgres' \
         AND NOT starts_with(d.datname, {}) {only} ORDER BY d.datname",
        literal(RESERVED_PREFIX)
    );
    let rows = rows(client, &sql, "list the databases").await?;
    Ok(rows.into_iter().filter_map(entry).collect())
}

fn entry(row: Vec<Option<String>>) -> Option<Entry> {
    let [system, oid, name, remark, size] = <[Option<String>; 5]>::try_from(row).ok()?;
    let remark = remark.and_then(|text| serde_json::from_str::<Remark>(&text).ok());
    let made_by_devrun = remark.is_some();
    let Remark { branch, worktree, parent } =
        remark.unwrap_or(Remark { branch: String::new(), worktree: None, parent: None });
    Some(Entry {
        id: format!("{}-{}", system?, oid?),
        name: name?,
        parent,
        made_by_devrun,
        git_branch: Some(branch).filter(|branch| !branch.is_empty()),
        worktree,
        size: size.and_then(|size| size.parse().ok()),
        kept: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(remark: Option<&str>) -> Entry {
        let row = [Some("7"), Some("5"), Some("dev-x"), remark, Some("42")];
        entry(row.map(|cell| cell.map(Into::into)).to_vec()).unwrap()
    }

    #[test]
    fn a_remark_of_devruns_is_told_from_anybody_elses() {
        let ours =
            row(Some(r#"{"branch":"x","worktree":"/w","created":1,"parent":"dev-main","parent_oid":"4"}"#));
        assert!(ours.made_by_devrun && ours.parent.as_deref() == Some("dev-main"));
        assert_eq!((ours.id.as_str(), ours.size), ("7-5", Some(42)));
        for remark in [None, Some("staging, do not touch"), Some("{}"), Some("[1]")] {
            let theirs = row(remark);
            assert!(!theirs.made_by_devrun && theirs.git_branch.is_none(), "{remark:?}");
        }
    }
}
