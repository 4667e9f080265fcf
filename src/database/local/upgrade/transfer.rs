//! Copies one database into the new cluster with `pg_dump` and `pg_restore`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Client;

use super::comparison::{self, DatabaseContents};
use super::definitions::MovedDatabase;
use crate::database::catalogue::{identifier, literal, rows, temporary_name};
use crate::database::local::binaries::{Binaries, server_env};
use crate::database::local::copying::clone_sql;
use crate::database::local::error::LocalError;
use crate::database::local::{Local, dump_programs};
use crate::database::upgrade::UpgradeError;
use crate::error::Report;
use crate::os::cmd::{Cmd, CmdError};

/// The time limit of each program.
const LIMIT: Duration = Duration::from_hours(6);

/// `pg_dump` and `pg_restore` that know both servers.
#[derive(Debug)]
pub(super) struct UpgradeTools(PathBuf);

impl UpgradeTools {
    /// Returns the newest programs that are not older than the old server and not newer than the new one.
    pub(super) async fn find(
        old: &Local,
        present: &Binaries,
        newest: &Binaries,
    ) -> Result<UpgradeTools, UpgradeError> {
        let (least, most) = (present.major, newest.major);
        let beside = [newest.bin.clone(), present.bin.clone()];
        let found = dump_programs::find_or_fetch(old, beside, least..=most).await;
        found.map(UpgradeTools).map_err(|reason| UpgradeError::NoTools { least, most, reason })
    }

    /// Runs `program`, which connects to the server of `local` as devrun's superuser.
    async fn run(
        &self,
        local: &Local,
        program: &'static str,
        args: &[&str],
        file: &Path,
    ) -> Result<(), ToolFailure> {
        let access = local.client_access()?;
        let cmd = Cmd::new(self.0.join(program))
            .directory(&local.cluster.folder)
            .limit(LIMIT)
            .only_env(server_env());
        let cmd = access.env.iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value));
        cmd.arg("--no-password").args(args).arg(file).ok().await?;
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum ToolFailure {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(transparent)]
    Program(#[from] CmdError),
}

impl ToolFailure {
    fn of(self, program: &'static str, database: &MovedDatabase) -> Report {
        match self {
            ToolFailure::Local(error) => error.into(),
            ToolFailure::Program(error) => {
                let tail = error.tail(8).unwrap_or_else(|| error.to_string());
                UpgradeError::Tool { program, database: database.shown().into(), tail }.into()
            }
        }
    }
}

/// Errors if the new server lacks an extension of `database`.
pub(super) async fn check_extensions(
    old: &Local,
    target: &Client,
    database: &MovedDatabase,
    newest: &Binaries,
) -> Result<(), Report> {
    // Nothing can connect to a snapshot. If it has an extension that its database has not, restoring it fails.
    if !database.allows_connections {
        return Ok(());
    }
    let doing = "look for extensions";
    let session = old.session_in(&database.name).await?;
    let used = rows(&session, "SELECT extname FROM pg_extension", doing).await.map_err(LocalError::from)?;
    let available =
        rows(target, "SELECT name FROM pg_available_extensions", doing).await.map_err(LocalError::from)?;
    match used.into_iter().find(|row| !available.contains(row)).and_then(|row| row.into_iter().next()?) {
        None => Ok(()),
        Some(name) => {
            let (database, bin) = (database.name.clone(), newest.bin.clone());
            Err(UpgradeError::Extension { name, database, major: newest.major, bin }.into())
        }
    }
}

/// Makes `database` in the new cluster. Returns what it contains there, which is what it contains in the old one.
pub(super) async fn copy(
    old: &Local,
    source: &Client,
    new: &Local,
    target: &Client,
    database: &MovedDatabase,
    tools: &UpgradeTools,
) -> Result<DatabaseContents, Report> {
    let doing = format!("move the database {}", database.shown());
    let run =
        async |client: &Client, sql: &str| client.batch_execute(sql).await.map_err(LocalError::sql(&doing));
    // Nothing can connect to a snapshot, and nothing is changed in the old cluster: a clone of it is dumped. If devrun is
    // killed, the next one that makes a database drops the clone.
    let clone =
        if database.allows_connections { None } else { Some(temporary_name().map_err(LocalError::from)?) };
    if let Some(clone) = &clone {
        run(source, &clone_sql(&database.name, clone)).await?;
    }
    let from = clone.as_deref().unwrap_or(&database.name);
    let file = tempfile::Builder::new()
        .prefix("upgrade-")
        .tempfile_in(&new.cluster.folder)
        .map_err(LocalError::io("write to", &new.cluster.folder))?;
    let by_name = format!("--dbname={}", connection(from));
    let args = ["--format=custom", "--compress=0", "--no-tablespaces", &by_name, "--file"];
    tools.run(old, "pg_dump", &args, file.path()).await.map_err(|failure| failure.of("pg_dump", database))?;
    let before = contents(old, from, "SELECT 1").await?;
    if let Some(clone) = &clone {
        run(source, &format!("DROP DATABASE {} WITH (FORCE)", identifier(clone))).await?;
    }
    run(target, &database.create).await?;
    let by_name = format!("--dbname={}", connection(&database.name));
    let args = ["--jobs=2", "--exit-on-error", &by_name];
    tools
        .run(new, "pg_restore", &args, file.path())
        .await
        .map_err(|failure| failure.of("pg_restore", database))?;
    // The marker of a migration names its database by the id, which begins with the identifier of the cluster.
    let (was, is) =
        (literal(&format!("{}-", database.systems.0)), literal(&format!("{}-", database.systems.1)));
    let markers = format!(
        "DO $$ BEGIN IF to_regclass('_devrun.marker') IS NOT NULL THEN UPDATE _devrun.marker \
         SET branch_id = {is} || substr(branch_id, length({was}) + 1) WHERE starts_with(branch_id, {was}); END IF; END $$; ANALYZE"
    );
    let after = contents(new, &database.name, &markers).await?;
    if let Some(difference) = before.difference(&after) {
        return Err(UpgradeError::Differs { database: database.shown().into(), difference }.into());
    }
    for sql in &database.complete {
        run(target, sql).await?;
    }
    Ok(after)
}

/// Runs `first` in the database `name` of `local`, then returns what it contains.
async fn contents(local: &Local, name: &str, first: &str) -> Result<DatabaseContents, LocalError> {
    let session = local.session_in(name).await?;
    // A time limit counts from the beginning of a string of statements, so it is lifted before.
    for sql in ["SET statement_timeout = 0", first] {
        session.batch_execute(sql).await.map_err(LocalError::sql(format!("prepare the database {name}")))?;
    }
    Ok(comparison::read(&session).await?)
}

/// Returns the database `name` as a connection string: a name with `=` would be read as one.
fn connection(name: &str) -> String {
    format!("dbname='{}'", name.replace('\\', "\\\\").replace('\'', "\\'"))
}
