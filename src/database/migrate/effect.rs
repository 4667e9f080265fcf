//! Checks that a migration that succeeded changed the branch database. A tool that takes its address from another variable
//! or file succeeds as well, and changes a database that every worktree shares.

use std::path::Path;

use tokio_postgres::Client;

use super::failure::MigrateError;
use super::{MigrateRequest, text};
use crate::database::heads::{self, History};
use crate::os::read::{self, Limit};

/// Migration tools by a word of their command, and the table that each keeps its state in.
const TOOLS: [(&str, &str); 6] = [
    ("alembic", "alembic_version"),
    ("prisma", "_prisma_migrations"),
    ("drizzle-kit migrate", "__drizzle_migrations"),
    ("manage.py migrate", "django_migrations"),
    ("knex", "knex_migrations"),
    ("dbmate", "schema_migrations"),
];

/// Returns an error when the effect of the request's command is not in the database of `client`.
pub(super) async fn check(
    request: &MigrateRequest<'_>,
    client: &Client,
    history: &History,
) -> Result<(), MigrateError> {
    let command = text(&request.command);
    let missing = match tool(&command) {
        Some("alembic_version") => missing_revision(request, client, history).await?,
        // `db push` makes tables and keeps no state.
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
            reads: written_address(&request.directory),
        }),
    }
}

/// Returns the table that the tool of `command` keeps its state in.
fn tool(command: &str) -> Option<&'static str> {
    TOOLS.iter().find(|(word, _)| command.contains(word)).map(|(_, table)| *table)
}

/// Returns what is missing of the revision that Alembic should have reached.
async fn missing_revision(
    request: &MigrateRequest<'_>,
    client: &Client,
    history: &History,
) -> Result<Option<String>, MigrateError> {
    if !has_table(client, "alembic_version").await? {
        // A project may give the table another name, and then has other tables as well.
        let empty = is_empty(client).await?;
        return Ok(empty.then(|| "it has no table alembic_version".to_string()));
    }
    // Only `upgrade head` ends at a revision that the files name.
    if heads::upgrades_to_head(&request.command).is_none() || !history.is_certain() {
        return Ok(None);
    }
    let heads = history.heads();
    // Several heads are refused before the command runs.
    let [head] = heads.as_slice() else { return Ok(None) };
    let found = revisions(client).await?;
    let reached = found.is_empty() || found.contains(&head.revision);
    Ok((!reached).then(|| format!("it is at revision {}, not at {}", found.join(", "), head.revision)))
}

/// Returns the revisions in `alembic_version`; none when the table lies in a schema outside the search path.
async fn revisions(client: &Client) -> Result<Vec<String>, MigrateError> {
    let visible = "select to_regclass('alembic_version') is not null";
    if !client.query_one(visible, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(Vec::new());
    }
    let rows = client.query("select version_num::text from alembic_version order by 1", &[]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// True when any schema has a table `name`.
async fn has_table(client: &Client, name: &str) -> Result<bool, MigrateError> {
    let statement = "select exists (select from pg_class where relname = $1 and relkind in ('r', 'p'))";
    Ok(client.query_one(statement, &[&name]).await?.try_get(0)?)
}

/// True when the database holds no table, view or sequence but devrun's own and those of extensions.
pub(super) async fn is_empty(client: &Client) -> Result<bool, MigrateError> {
    let statement = "select not exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace \
        where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and n.nspname not in ('pg_catalog', 'information_schema', '_devrun') \
        and n.nspname not like 'pg\\_%' \
        and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e'))";
    Ok(client.query_one(statement, &[]).await?.try_get(0)?)
}

/// Returns the line of `alembic.ini` that holds an address, as `alembic.ini:3`.
fn written_address(directory: &Path) -> Option<String> {
    let ini = read::text(&directory.join("alembic.ini"), Limit::SMALL).ok()?;
    let line = ini.lines().position(|line| {
        line.trim_start()
            .strip_prefix("sqlalchemy.url")
            .is_some_and(|rest| rest.trim_start().starts_with('='))
    })?;
    Some(format!("alembic.ini:{}", line + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_known_by_their_commands() {
        assert_eq!(tool("uv run alembic -c db/alembic.ini upgrade head"), Some("alembic_version"));
        assert_eq!(tool("npx prisma migrate deploy"), Some("_prisma_migrations"));
        assert_eq!(tool("python manage.py migrate"), Some("django_migrations"));
        assert_eq!(tool("psql -f schema.sql"), None);
    }

    #[test]
    fn the_line_with_the_address_is_found() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(written_address(folder.path()), None);
        let ini = "[alembic]\nscript_location = alembic\n\nsqlalchemy.url = postgresql://x:y@localhost/z\n";
        crate::os::fs::replace(&folder.path().join("alembic.ini"), ini.as_bytes(), 0o600).unwrap();
        assert_eq!(written_address(folder.path()), Some("alembic.ini:4".into()));
    }
}
