//! Imports another database as the parent: into a new database, which is masked and then takes the parent's name.
//!
//! The new database has a name that only imports use, and an advisory lock while its import works. So an import does not keep other devruns
//! from making databases, and the next devrun that makes or imports one drops what a killed import left.

mod archive;
mod masks;
mod plain;
mod source;

use std::path::Path;

use tokio_postgres::{Client, Config};

use self::source::Tools;
use super::admin_socket::ConnectFailure;
use super::copying::{Copier, clone_sql};
use super::error::LocalError;
use super::state::APP;
use super::{Local, branches, reset_and_delete, unfinished_imports};
use crate::database::WantedDatabase;
use crate::database::catalogue::{CatalogueError, MAINTENANCE, identifier, publication, rows, take_turn};
use crate::database::import::DUMP_MAGIC;
use crate::database::import::{ImportError, ImportRequest, ImportSource, Imported};
use crate::error::Report;
use crate::event::{Event, Step};
use crate::os::read;

/// Replaces the database that `wanted` names, a parent, by the source of the request.
pub(super) async fn import(
    copier: &Copier<'_>,
    wanted: &WantedDatabase,
    request: &ImportRequest,
) -> Result<Imported, Report> {
    let local = copier.local;
    let doing = format!("import into {}", wanted.name);
    unfinished_imports::sweep(copier.watcher).await?;
    let name = unfinished_imports::name()?;
    // The mark ends when this session is closed.
    let lock = local.session_in(MAINTENANCE).await?;
    unfinished_imports::lock(&lock, &name).await?;
    let made = fill(local, &lock, &name, request, &doing).await;
    if made.is_err() {
        // If this fails, the next devrun that makes a database drops it.
        let _ =
            lock.batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(&name))).await;
    }
    let imported = made?;
    branches::keep_from_migrating(copier.maker, &wanted.name, copier.events).await?;
    take_turn(copier.maker, copier.events).await?;
    branches::clear_away(copier).await?;
    let publication = publication(wanted, &name, None);
    reset_and_delete::put_in_place(copier, &wanted.name, &publication, &doing).await?;
    Ok(imported)
}

async fn fill(
    local: &Local,
    admin: &Client,
    name: &str,
    request: &ImportRequest,
    doing: &str,
) -> Result<Imported, Report> {
    let run = async |sql: String| {
        admin.batch_execute(&sql).await.map_err(|error| Report::from(LocalError::sql(doing)(error)))
    };
    run(clone_sql("template0", name)).await?;
    // Triggers and foreign keys do not act while rows arrive and are masked.
    run(format!("ALTER DATABASE {} SET session_replication_role = replica", identifier(name))).await?;
    let left_out = match &request.source {
        ImportSource::Server(server) => {
            let tools = source::tools_for(local, server).await?;
            create_extensions(local, name, &server.extensions).await?;
            let file = source::dump(local, &tools, server, request).await?;
            archive::restore(local, &tools, name, file.path(), &server.extensions, request).await?
        }
        ImportSource::File(path) => from_file(local, name, path, request).await?,
    };
    let client = session(local, name).await?;
    progress(local, "masking".into());
    masks::apply(&client, request).await?;
    progress(local, "collecting statistics".into());
    client.batch_execute("ANALYZE").await.map_err(LocalError::sql(doing))?;
    let sql = "SELECT pg_database_size(current_database()), \
               (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') \
               AND n.nspname NOT IN ('pg_catalog', 'information_schema', '_devrun'))";
    let found = rows(&client, sql, doing).await?.into_iter().next().unwrap_or_default();
    let number = |at: usize| found.get(at)?.as_deref()?.parse::<u64>().ok();
    let imported = Imported {
        size: number(0).unwrap_or_default(),
        tables: number(1).unwrap_or_default(),
        masked: request.masks.len(),
        left_out,
    };
    drop(client);
    run(format!("ALTER DATABASE {} RESET session_replication_role", identifier(name))).await?;
    Ok(imported)
}

async fn from_file(
    local: &Local,
    name: &str,
    path: &Path,
    request: &ImportRequest,
) -> Result<Vec<String>, Report> {
    let unreadable = |source| ImportError::Unreadable { path: path.into(), source };
    if read::head(path, DUMP_MAGIC.len()).map_err(unreadable)? != DUMP_MAGIC {
        return plain::load(local, name, path, request).await;
    }
    let tools = Tools::find(local, 0).await?;
    let extensions = archive::extensions(local, &tools, path).await?;
    create_extensions(local, name, &extensions).await?;
    archive::restore(local, &tools, name, path, &extensions, request).await
}

/// Creates extensions, each in its schema, as devrun's superuser: the role of applications may not create all of them.
async fn create_extensions(local: &Local, name: &str, wanted: &[(String, String)]) -> Result<(), Report> {
    let admin = local.session_in(name).await?;
    for (extension, schema) in wanted {
        if extension == "plpgsql" {
            continue;
        }
        let schema = identifier(schema);
        let sql = format!(
            "CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {APP}; \
             CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {schema} CASCADE",
            identifier(extension)
        );
        // `public` exists, and belongs to the owner of the database.
        let sql = if schema == "\"public\"" {
            format!("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA public CASCADE", identifier(extension))
        } else {
            sql
        };
        if let Err(error) = admin.batch_execute(&sql).await {
            let known = crate::database::extensions::names(&admin).await.unwrap_or_default();
            if known.contains(extension) {
                return Err(LocalError::sql(format!("create the extension {extension}"))(error).into());
            }
            let fix = Local::extension_fix(&local.ctx, &local.request, extension);
            return Err(ImportError::Extension { name: extension.clone(), fix }.into());
        }
    }
    Ok(())
}

/// Opens a session of the role of applications, which owns everything that is imported.
async fn session(local: &Local, database: &str) -> Result<Client, LocalError> {
    let mut config = Config::new();
    config
        .user(APP)
        .password(&local.state.borrow().app_password)
        .dbname(database)
        .application_name(format!("devrun (pid {})", std::process::id()));
    local.cluster.admin_socket().open(&config).await.map_err(|refusal| {
        let (ConnectFailure::Password(said)
        | ConnectFailure::NotNow(said)
        | ConnectFailure::Full(said)
        | ConnectFailure::Final(said)) = refusal;
        CatalogueError::with("connect to the new database", said).into()
    })
}

fn progress(local: &Local, detail: String) {
    local.ctx.events.send(Event::StepProgress { step: Step::Database, detail });
}
