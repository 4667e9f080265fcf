//! The databases that an upgrade moves, with the statements that define them in the new cluster.

use tokio_postgres::Client;

use crate::database::catalogue::{CatalogueError, identifier, literal, rows};
use crate::database::local::error::LocalError;
use crate::database::names::RESERVED_PREFIX;
use crate::database::saved_snapshots;

/// A database of the old cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MovedDatabase {
    pub(super) name: String,
    /// False for snapshots, which nothing connects to.
    pub(super) allows_connections: bool,
    /// The statement that creates it, empty, with its oid.
    pub(super) create: String,
    /// The statements that give it its comment, privileges and limits when it is complete.
    pub(super) complete: Vec<String>,
    /// The identifiers of the two clusters, with which the ids of databases begin.
    pub(super) systems: (String, String),
}

impl MovedDatabase {
    /// Returns true for snapshots that users have named.
    pub(super) fn is_snapshot(&self) -> bool {
        self.name.starts_with(saved_snapshots::PREFIX)
    }

    /// Returns the name for people.
    pub(super) fn shown(&self) -> &str {
        if self.is_snapshot() { "a snapshot" } else { &self.name }
    }
}

/// Returns the databases of `source`. Leaves out the server's own, and those that devrun can make again: half-made ones and the
/// snapshots behind copies of a parent in use.
pub(super) async fn list(source: &Client, target: &Client) -> Result<Vec<MovedDatabase>, LocalError> {
    let doing = "list the databases";
    let system = "SELECT system_identifier FROM pg_control_system()";
    let systems = (one(source, system).await?, one(target, system).await?);
    // Other rules for sorting than those of new databases are kept, for example those that a test needs.
    let create = format!(
        "SELECT d.datname, d.datallowconn, \
         format('CREATE DATABASE %I OID %s TEMPLATE template0 STRATEGY FILE_COPY OWNER %I ENCODING %L', d.datname, d.oid, \
         pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding)) || CASE WHEN \
         (d.datlocprovider, d.datcollate, d.datctype, d.locale) IS NOT DISTINCT FROM (t.datlocprovider, t.datcollate, t.datctype, t.locale) \
         THEN '' ELSE format(' LC_COLLATE %L LC_CTYPE %L', d.datcollate, d.datctype) || CASE d.datlocprovider \
         WHEN 'i' THEN format(' LOCALE_PROVIDER icu ICU_LOCALE %L', d.locale) \
         WHEN 'b' THEN format(' LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', d.locale) \
         ELSE ' LOCALE_PROVIDER libc' END END, \
         shobj_description(d.oid, 'pg_database'), d.datistemplate, d.datconnlimit, \
         (SELECT string_agg(CASE WHEN a.grantee = 0 THEN format('GRANT %s ON DATABASE %I TO PUBLIC', a.privilege_type, d.datname) \
         ELSE format('GRANT %s ON DATABASE %I TO %I', a.privilege_type, d.datname, pg_get_userbyid(a.grantee)) END \
         || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END, '; ') FROM aclexplode(d.datacl) a) \
         FROM (SELECT *, oid AS id, COALESCE(to_jsonb(p) ->> 'datlocale', to_jsonb(p) ->> 'daticulocale') AS locale FROM pg_database p) d, \
         (SELECT *, COALESCE(to_jsonb(p) ->> 'datlocale', to_jsonb(p) ->> 'daticulocale') AS locale FROM pg_database p) t \
         WHERE t.datname = 'template0' AND d.datname NOT IN ('template0', 'template1', 'postgres') \
         AND (NOT starts_with(d.datname, '{RESERVED_PREFIX}') OR starts_with(d.datname, '{}')) ORDER BY d.oid",
        saved_snapshots::PREFIX
    );
    let all = rows(source, &create, doing).await?.into_iter().map(|row| definition(row, &systems));
    all.collect::<Option<Vec<_>>>()
        .ok_or_else(|| CatalogueError::with(doing, "the answer is incomplete").into())
}

async fn one(client: &Client, sql: &str) -> Result<String, LocalError> {
    let found = rows(client, sql, "identify the cluster").await?;
    let cell = found.into_iter().next().and_then(|row| row.into_iter().next()?);
    cell.ok_or_else(|| CatalogueError::with("identify the cluster", "there is no answer").into())
}

fn definition(row: Vec<Option<String>>, systems: &(String, String)) -> Option<MovedDatabase> {
    let [name, allows, create, comment, template, limit, grants] =
        <[Option<String>; 7]>::try_from(row).ok()?;
    let name = name?;
    let quoted = identifier(&name);
    let allows_connections = allows? == "t";
    let mut complete = Vec::new();
    if let Some(comment) = comment {
        // A snapshot names the database that it was taken of by its id.
        let (old, new) = systems;
        let comment = comment.replace(&format!("\"{old}-"), &format!("\"{new}-"));
        complete.push(format!("COMMENT ON DATABASE {quoted} IS {}", literal(&comment)));
    }
    if let Some(grants) = grants {
        complete.push(format!("REVOKE ALL ON DATABASE {quoted} FROM PUBLIC; {grants}"));
    }
    let (template, limit) = (template? == "t", limit?);
    complete.push(format!(
        "ALTER DATABASE {quoted} IS_TEMPLATE {template} CONNECTION LIMIT {limit} ALLOW_CONNECTIONS {allows_connections}"
    ));
    Some(MovedDatabase { name, allows_connections, create: create?, complete, systems: systems.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_in_a_comment_follow_the_cluster() {
        let comment = r#"{"snapshot":"a","of":"dev-x","id":"7-20000","taken":9}"#;
        let row = ["_devrun-saved-1", "f", "CREATE", comment, "f", "-1"].map(|cell| Some(cell.to_string()));
        let row = row.into_iter().chain([None]).collect();
        let found = definition(row, &("7".into(), "8".into())).unwrap();
        assert!(found.is_snapshot() && !found.allows_connections);
        assert!(found.complete[0].contains(r#""id":"8-20000""#), "{}", found.complete[0]);
        assert!(found.complete[1].ends_with("ALLOW_CONNECTIONS false"), "{}", found.complete[1]);
    }
}
