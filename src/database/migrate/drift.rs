//! Finds differences between a branch database and the migrations: revisions that are newer than all files, and objects
//! that no migration has made.
//!
//! After each migration devrun writes the names of all objects, with the revisions at that time, into the comment of its
//! schema `_devrun`. A later look, one query, compares them. If the revisions have changed since, another program has
//! migrated, and nothing is known about the objects.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::migration_files::MigrationFiles;
use super::migration_tool::{self, RecordedRevisions, RevisionForm, SQL_FILES};
use super::{MigrateError, MigrateRequest, effect, lock};
use crate::database::BranchDatabase;
use crate::database::alembic_history::History;
use crate::database::catalogue::literal;
use crate::plan::RunCommand;

/// A schema with more objects is not remembered.
const MOST: usize = 20_000;

/// The query for the text that [`remember`] has written.
const KNOWN: &str = "select 'known', obj_description(to_regnamespace('_devrun'), 'pg_namespace')";

/// The differences between a database and the migrations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaDrift {
    /// Revisions of the database that are newer than all files.
    pub newer_revisions: Vec<String>,
    /// Objects that did not exist after the last migration, with their kinds: `table public.leads`.
    pub new_objects: Vec<String>,
}

/// The comment of the schema `_devrun`.
#[derive(Debug, Serialize, Deserialize)]
struct SchemaRecord {
    revisions: BTreeSet<String>,
    objects: BTreeSet<String>,
}

/// Remembers the objects of the database of `client` after a migration. If that fails, drift is only not noticed. A command that
/// reached no new revision made no objects, so that those of a failed attempt remain new.
pub(super) async fn remember(client: &Client, request: &MigrateRequest<'_>) {
    let Some(RecordedRevisions { query, .. }) = revisions_of(&request.command, request.psql.is_some()) else {
        return;
    };
    let Ok((found, known)) = read(client, query).await else { return };
    if known.is_some_and(|known| known.revisions == found.revisions) {
        return;
    }
    // The record of older revisions must not stay: they would differ at each start.
    let text = if found.objects.len() > MOST {
        "null".into()
    } else {
        let Ok(text) = serde_json::to_string(&found) else { return };
        literal(&text)
    };
    let _ = client.batch_execute(&format!("comment on schema _devrun is {text}")).await;
}

/// Returns the objects in the database of `client` that its last successful migration did not leave; none if its revisions have changed
/// since, or if nothing is known about it. `is_sql` is true if devrun applies files of SQL itself.
pub(super) async fn new_objects(client: &Client, command: &RunCommand, is_sql: bool) -> Vec<String> {
    let Some(RecordedRevisions { query, .. }) = revisions_of(command, is_sql) else { return Vec::new() };
    match read(client, query).await {
        Ok((now, Some(known))) => added(&known, &now),
        _ => Vec::new(),
    }
}

/// Returns true if another program has undone migrations in the database of `client` since `command` succeeded there: the revisions have
/// changed, and to none that is newer than `files`. With `is_sql`: the tables are gone.
pub(super) async fn is_undone(
    client: &Client,
    (command, is_sql): (&RunCommand, bool),
    files: &MigrationFiles,
) -> Result<bool, MigrateError> {
    if is_sql {
        return is_emptied(client).await;
    }
    let Some(RecordedRevisions { query, form }) = revisions_of(command, false) else { return Ok(false) };
    let (now, Some(known)) = read_revisions(client, query).await? else { return Ok(false) };
    Ok(now != known.revisions && newer(form, &now, files).is_empty())
}

/// Returns true if the last migration left tables in the database of `client`, and there are none.
pub(super) async fn is_emptied(client: &Client) -> Result<bool, MigrateError> {
    let (_, known) = rows(client, &format!("{KNOWN} where {}", effect::IS_EMPTY)).await?;
    Ok(known.is_some_and(|known| known.objects.iter().any(|object| object.starts_with("table "))))
}

/// Returns the present revisions, and the remembered record; no record if the revisions may not be read.
async fn read_revisions(
    client: &Client,
    revisions: &str,
) -> Result<(BTreeSet<String>, Option<SchemaRecord>), MigrateError> {
    let both = format!("{KNOWN} union all select 'revision', r.* from ({revisions}) r");
    let read = match rows(client, &both).await {
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => rows(client, KNOWN).await,
        read => read,
    };
    match read {
        Ok((now, known)) => Ok((now.revisions, known)),
        Err(error) => match MigrateError::from(error) {
            lost @ MigrateError::Lost(_) => Err(lost),
            _ => Ok(Default::default()),
        },
    }
}

/// Returns the differences in `branch`. `None` if the database cannot be reached within `limit`, or if its migration tool is not
/// known. `is_sql` is true if devrun applies files of SQL itself; `globs` are relative to `directory`.
pub async fn drift(
    branch: &BranchDatabase,
    (command, is_sql): (&RunCommand, bool),
    directory: &Path,
    globs: &[String],
    limit: Duration,
) -> Option<SchemaDrift> {
    let RecordedRevisions { query, form } = revisions_of(command, is_sql)?;
    let files = MigrationFiles::gather(directory, globs).await.ok()?;
    let look = async |client: &Client| read(client, query).await;
    let ((now, known), _) = lock::in_session(branch, limit, look).await.ok()?;
    Some(SchemaDrift {
        newer_revisions: newer(form, &now.revisions, &files),
        new_objects: known.map(|known| added(&known, &now)).unwrap_or_default(),
    })
}

/// Returns the revisions that the tool of `command` records.
fn revisions_of(command: &RunCommand, is_sql: bool) -> Option<RecordedRevisions> {
    if is_sql {
        return Some(SQL_FILES);
    }
    migration_tool::of_command(&command.to_string()).find_map(|tool| tool.revisions)
}

/// Returns the present revisions and objects, and those that were remembered.
async fn read(
    client: &Client,
    revisions: &str,
) -> Result<(SchemaRecord, Option<SchemaRecord>), MigrateError> {
    let own = "n.nspname not in ('information_schema', '_devrun') and n.nspname !~ '^pg_'";
    let of_extension = |catalogue: &str, alias: &str| {
        format!(
            "exists (select from pg_depend d where d.classid = '{catalogue}'::regclass and d.objid = {alias}.oid and d.deptype = 'e')"
        )
    };
    // Partitions come and go while programs work. A sequence of a column belongs to the column.
    let relation = format!(
        "not c.relispartition and c.relpersistence <> 't' and {own} and not {}",
        of_extension("pg_class", "c")
    );
    let sql = format!(
        "select 'object', case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' \
           when 'f' then 'foreign table' else 'table' end || ' ' || n.nspname || '.' || c.relname \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and {relation} \
         and not (c.relkind = 'S' and exists (select from pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i'))) \
         union all select 'object', 'column ' || n.nspname || '.' || c.relname || '.' || a.attname from pg_attribute a \
         join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace \
         where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'f') and {relation} \
         union all select 'object', 'index ' || n.nspname || '.' || c.relname || '.' || i.relname from pg_index x \
         join pg_class c on c.oid = x.indrelid join pg_class i on i.oid = x.indexrelid join pg_namespace n on n.oid = c.relnamespace \
         where {relation} \
         union all select 'object', 'function ' || n.nspname || '.' || p.proname from pg_proc p \
         join pg_namespace n on n.oid = p.pronamespace where {own} and not {} \
         union all select 'object', 'type ' || n.nspname || '.' || t.typname from pg_type t \
         join pg_namespace n on n.oid = t.typnamespace where t.typtype in ('e', 'd') and {own} and not {} \
         union all select 'revision', r.* from ({revisions}) r union all {KNOWN}",
        of_extension("pg_proc", "p"),
        of_extension("pg_type", "t"),
    );
    Ok(rows(client, &sql).await?)
}

/// Returns the revisions and objects that the query `sql` finds, and those that were remembered.
async fn rows(
    client: &Client,
    sql: &str,
) -> Result<(SchemaRecord, Option<SchemaRecord>), tokio_postgres::Error> {
    let mut now = SchemaRecord { revisions: BTreeSet::new(), objects: BTreeSet::new() };
    let mut known = None;
    for message in client.simple_query(sql).await? {
        let SimpleQueryMessage::Row(row) = message else { continue };
        match (row.get(0), row.get(1)) {
            (Some("object"), Some(name)) => drop(now.objects.insert(name.into())),
            (Some("revision"), Some(name)) => drop(now.revisions.insert(name.into())),
            (Some("known"), Some(text)) => known = serde_json::from_str(text).ok(),
            _ => {}
        }
    }
    Ok((now, known))
}

/// Returns the objects of `now` that are not known. Leaves out the columns and indexes of new tables.
fn added(known: &SchemaRecord, now: &SchemaRecord) -> Vec<String> {
    if known.revisions != now.revisions {
        return Vec::new();
    }
    let new: Vec<&String> = now.objects.difference(&known.objects).collect();
    let tables: Vec<String> =
        new.iter().filter_map(|object| Some(format!("{}.", object.strip_prefix("table ")?))).collect();
    let is_part = |object: &str| {
        let place = object.strip_prefix("column ").or_else(|| object.strip_prefix("index "));
        place.is_some_and(|place| tables.iter().any(|table| place.starts_with(table.as_str())))
    };
    let mut new: Vec<String> =
        new.into_iter().filter(|object| !is_part(object)).map(|name| statement_name(name)).collect();
    // Tables first: the message shows only some of them.
    new.sort_by_key(|object| !object.starts_with("table "));
    new
}

/// Returns the name of `object` as a statement needs it: an index is in the schema of its table.
fn statement_name(object: &str) -> String {
    let index = object.strip_prefix("index ").and_then(|name| name.split_once('.'));
    match index.and_then(|(schema, rest)| Some((schema, rest.split_once('.')?.1))) {
        Some((schema, name)) => format!("index {schema}.{name}"),
        None => object.into(),
    }
}

/// Returns the revisions that are newer than all `files`. An older one without a file was squashed or deleted.
fn newer(form: RevisionForm, revisions: &BTreeSet<String>, files: &MigrationFiles) -> Vec<String> {
    if form == RevisionForm::Alembic {
        let history = History::read(files.files());
        let is_newer =
            |revision: &&String| history.is_certain() && !history.is_empty() && !history.defines(revision);
        return revisions.iter().filter(is_newer).cloned().collect();
    }
    // The last file of each folder of migrations.
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for (path, _) in files.files() {
        let Some((folder, name)) = revision_of(form, path) else { continue };
        let newest = last.entry(folder).or_default();
        if is_before(newest, &name) {
            *newest = name;
        }
    }
    let is_newer = |revision: &&String| {
        let (folder, name) = match form {
            RevisionForm::Django => revision.split_once('/').unwrap_or_default(),
            _ => ("", revision.rsplit('/').next().unwrap_or(revision)),
        };
        last.get(folder).is_some_and(|newest| is_before(newest, name))
    };
    revisions.iter().filter(is_newer).cloned().collect()
}

/// Returns the revision that a file stands for, with the application of Django that has it.
fn revision_of(form: RevisionForm, path: &Path) -> Option<(String, String)> {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    match form {
        RevisionForm::Prisma => {
            let is_migration = path.file_name().is_some_and(|name| name == "migration.sql");
            Some((String::new(), text(path.parent().filter(|_| is_migration)?.file_name())?))
        }
        RevisionForm::Django => {
            let folder = path.parent().filter(|folder| folder.ends_with("migrations"))?.parent()?;
            let name = text(path.file_stem()).filter(|name| name != "__init__")?;
            // The migrations of a project whose folder is the application itself have no folder above them.
            Some((text(folder.file_name())?, name))
        }
        RevisionForm::Files | RevisionForm::Alembic => Some((String::new(), text(path.file_name())?)),
    }
}

/// Returns true if `other` is the later one, by the number at its start. Equal numbers are not ordered.
fn is_before(name: &str, other: &str) -> bool {
    let number = |name: &str| -> Option<u128> {
        let digits: String = name.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    match (number(name), number(other)) {
        (Some(one), Some(two)) => one < two,
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(ToString::to_string).collect()
    }

    fn newer_than(form: RevisionForm, revisions: &[&str], paths: &[&str]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for path in paths {
            let (path, content) = path.split_once('=').unwrap_or((path, ""));
            crate::os::fs::replace(&folder.path().join(path), content.as_bytes(), 0o600).unwrap();
        }
        let files = MigrationFiles::read(folder.path(), &["**/*".into()]).unwrap();
        newer(form, &set(revisions), &files)
    }

    #[test]
    fn revisions_after_the_last_file_are_newer_for_each_tool() {
        use RevisionForm::{Alembic, Django, Files, Prisma};
        let sql = ["migrations/001_a.sql", "migrations/2_b.sql"];
        assert_eq!(
            newer_than(Files, &["migrations/001_a.sql", "migrations/3_c.sql"], &sql),
            ["migrations/3_c.sql"]
        );
        assert!(newer_than(Files, &["migrations/1_squashed.sql"], &sql).is_empty());
        assert_eq!(newer_than(Files, &["20260102", "20260103"], &["db/20260102_x.sql"]), ["20260103"]);
        let prisma = ["m/20260101_init/migration.sql", "m/migration_lock.toml"];
        assert_eq!(newer_than(Prisma, &["20260101_init", "20260102_more"], &prisma), ["20260102_more"]);
        let django = ["shop/migrations/0001_initial.py", "shop/migrations/__init__.py"];
        let applied = ["auth/0012_x", "shop/0001_initial", "shop/0002_more"];
        assert_eq!(newer_than(Django, &applied, &django), ["shop/0002_more"]);
        let alembic = ["v/1.py=revision = 'a1'\ndown_revision = None\n"];
        assert_eq!(newer_than(Alembic, &["a1", "b2"], &alembic), ["b2"]);
        for tool in [Files, Prisma, Django, Alembic] {
            assert!(newer_than(tool, &["9_x", "shop/9_x"], &[]).is_empty(), "{tool:?}");
        }
    }

    #[test]
    fn a_new_table_is_one_object_and_a_migration_of_another_program_hides_all() {
        let record = |revisions: &[&str], objects: &[&str]| SchemaRecord {
            revisions: set(revisions),
            objects: set(objects),
        };
        let known = record(&["1"], &["table public.a", "column public.a.n"]);
        let objects = [
            "table public.a",
            "column public.a.n",
            "column public.a.m",
            "view public.v",
            "table public.b",
            "column public.b.n",
            "index public.b.b_pkey",
            "index public.a.by_n",
        ];
        assert_eq!(
            added(&known, &record(&["1"], &objects)),
            ["table public.b", "column public.a.m", "index public.by_n", "view public.v"]
        );
        assert_eq!(added(&known, &record(&["2"], &objects)), [""; 0]);
    }
}
