//! Checks that a successful migration changed the branch database. A tool that reads its address from another variable
//! or file succeeds too, but changes a database that every worktree shares.

use std::path::Path;

use tokio_postgres::Client;

use super::MigrateRequest;
use super::error::MigrateError;
use super::migration_tool::{self, ALEMBIC_TABLE};
use super::schema_change::SchemaSnapshot;
use crate::database::alembic_history::{self, History};
use crate::os::read::{self, Limit};

/// Errors if the effect of the request's command is not visible in the database of `client`.
pub(super) async fn check(
    request: &MigrateRequest<'_>,
    client: &Client,
    history: &History,
) -> Result<(), MigrateError> {
    let command = request.command.to_string();
    let missing = match migration_tool::of_command(&command).next().map(|tool| tool.table) {
        Some(ALEMBIC_TABLE) => missing_revision(request, client, history).await?,
        // Prisma's `db push` creates tables but no state table, so a database with tables passes.
        Some(table) if !has_table(client, table).await? && is_empty(client).await? => {
            Some(format!("it has no table {table}"))
        }
        _ => None,
    };
    match missing {
        None => Ok(()),
        Some(missing) => Err(MigrateError::Elsewhere {
            name: request.name.clone(),
            command: request.mask().apply(&command),
            missing,
            variable: request.variable.clone(),
            reads: request.suspect.clone().or_else(|| written_address(&request.root, &request.directory)),
        }),
    }
}

/// Returns what the database lacks of the revision that Alembic should have reached.
async fn missing_revision(
    request: &MigrateRequest<'_>,
    client: &Client,
    history: &History,
) -> Result<Option<String>, MigrateError> {
    if !has_table(client, "alembic_version").await? {
        // A project may rename the table. Then the database has other tables, so it is not empty.
        let empty = is_empty(client).await?;
        return Ok(empty.then(|| "it has no table alembic_version".to_string()));
    }
    // Only `upgrade head` ends at a revision that the files name.
    if alembic_history::upgrades_to_head(&request.command).is_none() || !history.is_certain() {
        return Ok(None);
    }
    let heads = history.heads();
    // `ambiguous_heads::forbid` refuses several heads before the command runs.
    let [head] = heads.as_slice() else { return Ok(None) };
    let found = revisions(client).await?.unwrap_or_default();
    let reached = found.is_empty() || found.contains(&head.revision);
    Ok((!reached).then(|| format!("it is at revision {}, not at {}", found.join(", "), head.revision)))
}

/// Returns the revisions in `alembic_version`; `None` if there is no such table in the search path.
pub(super) async fn revisions(client: &Client) -> Result<Option<Vec<String>>, MigrateError> {
    let visible = "select to_regclass('alembic_version') is not null";
    if !client.query_one(visible, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let rows = client.query("select version_num::text from alembic_version order by 1", &[]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<_, _>>().map(Some)
}

/// Reads the revisions and the schema of the database of `client`.
pub(super) async fn snapshot(client: &Client) -> Result<SchemaSnapshot, MigrateError> {
    let statement = "select md5(coalesce(string_agg(line, E'\\n' order by line), '')) from ( \
        select format('%s.%s.%s %s %s', n.nspname, c.relname, a.attname, a.atttypid, a.attnotnull) as line \
        from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace \
        where a.attnum > 0 and not a.attisdropped and c.relname not in ('alembic_version', 'alembic_version_pkc') \
        and n.nspname not in ('pg_catalog', 'information_schema', '_devrun') and n.nspname not like 'pg\\_%' \
        union all select format('%s %s', e.enumtypid, e.enumlabel) from pg_enum e) as lines";
    let hash = client.query_one(statement, &[]).await?.try_get(0)?;
    Ok(SchemaSnapshot { revisions: revisions(client).await?, hash })
}

/// Returns true if any schema has a table `name`.
async fn has_table(client: &Client, name: &str) -> Result<bool, MigrateError> {
    let statement = "select exists (select from pg_class where relname = $1 and relkind in ('r', 'p'))";
    Ok(client.query_one(statement, &[&name]).await?.try_get(0)?)
}

/// The condition in SQL that [`is_empty`] tests.
pub(super) const IS_EMPTY: &str = "not exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace \
    where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and n.nspname not in ('pg_catalog', 'information_schema', '_devrun') \
    and n.nspname not like 'pg\\_%' \
    and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e'))";

/// Returns true if the database has no table, view or sequence of any kind except those of devrun and of extensions.
pub(super) async fn is_empty(client: &Client) -> Result<bool, MigrateError> {
    Ok(client.query_one(&format!("select {IS_EMPTY}"), &[]).await?.try_get(0)?)
}

/// Returns the line of the `alembic.ini` in `directory` that sets the URL, relative to `root`: `backend/alembic.ini:3`.
fn written_address(root: &Path, directory: &Path) -> Option<String> {
    let file = directory.join("alembic.ini");
    let ini = read::text(&file, Limit::SMALL).ok()?;
    let line = ini.lines().position(|line| {
        line.trim_start()
            .strip_prefix("sqlalchemy.url")
            .is_some_and(|rest| rest.trim_start().starts_with('='))
    })?;
    let file = file.strip_prefix(root).unwrap_or(&file);
    Some(format!("{}:{}", file.display(), line + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_with_the_address_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let backend = folder.path().join("backend");
        std::fs::create_dir(&backend).unwrap();
        assert_eq!(written_address(folder.path(), &backend), None);
        let ini = "[alembic]\nscript_location = alembic\n\nsqlalchemy.url = postgresql://x:y@localhost/z\n";
        crate::os::fs::replace(&backend.join("alembic.ini"), ini.as_bytes(), 0o600).unwrap();
        assert_eq!(written_address(folder.path(), &backend), Some("backend/alembic.ini:4".into()));
    }
}
