//! Copies a parent with `pg_dump` and `pg_restore`, under an MVCC snapshot.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::CopyFailure;
use super::reader::ParentReader;
use super::{Copier, CopyMethod, CopySource, cell, clone_sql};
use crate::database::catalogue::rows;
use crate::database::local::binaries::server_env;
use crate::database::local::{ClientAccess, Local, dump_programs, server};
use crate::os::cmd::{Cmd, CmdError};
use crate::os::deadline::Deadline;

/// The time limit of each program.
const LIMIT: Duration = Duration::from_mins(9);
/// The time limit of a download of the programs. Other devruns wait for the copy.
const FETCH_LIMIT: Duration = Duration::from_mins(2);
/// How long `pg_dump` waits for a lock, and how long a client that waits for ours can work then.
const LOCK_WAIT: Duration = Duration::from_millis(300);
/// How long clients that lock tables can delay the dump.
const TURN_LIMIT: Duration = Duration::from_secs(30);
/// The beginning of the name of a dump's file.
const DUMP: &str = "dump-";

/// `pg_dump` and `pg_restore` of the server's version.
#[derive(Debug)]
pub(in crate::database::local) struct DumpTools {
    folder: PathBuf,
}

impl DumpTools {
    /// Returns the programs, searched beside those of the server, in the usual folders, among the downloads and on PATH.
    pub(in crate::database::local) async fn find(local: &Local) -> Option<DumpTools> {
        let major = local.cluster.made_by().ok()??;
        let beside = server::programs(&local.cluster.data());
        dump_programs::find(local, beside, major..=major).await.map(|folder| DumpTools { folder })
    }

    /// Returns the programs; downloads them if there are none. The error is the reason in words.
    pub(in crate::database::local) async fn find_or_fetch(local: &Local) -> Result<DumpTools, String> {
        let major = local.cluster.made_by().map_err(|error| error.to_string())?;
        let major = major.ok_or("the version of the server is unknown")?;
        let beside = server::programs(&local.cluster.data());
        let fetched = dump_programs::find_or_fetch(local, beside, major..=major);
        let in_time = tokio::time::timeout(FETCH_LIMIT, fetched).await;
        let too_long = |_| Err(format!("the download took longer than {} s", FETCH_LIMIT.as_secs()));
        in_time.unwrap_or_else(too_long).map(|folder| DumpTools { folder })
    }

    /// Prepares `program`, which connects as devrun's superuser.
    pub(in crate::database::local) fn command(
        &self,
        local: &Local,
        program: &str,
        access: &ClientAccess,
    ) -> Cmd {
        let cmd = Cmd::new(self.folder.join(program)).directory(&local.cluster.folder).limit(LIMIT);
        let cmd = cmd.only_env(server_env()).arg("--no-password");
        access.env.iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value))
    }
}

/// Makes `temporary` a copy of `source`.
pub(super) async fn copy(
    copier: &Copier<'_>,
    source: &CopySource<'_>,
    tools: &DumpTools,
    temporary: &str,
) -> Result<(), CopyFailure> {
    let local = copier.local;
    let folder = &local.cluster.folder;
    remove_old(folder)?;
    copier.maker.batch_execute(&clone_sql("template0", temporary)).await?;
    // The file is removed when it is dropped.
    let file = tempfile::Builder::new().prefix(DUMP).tempfile_in(folder)?;
    let access = local.client_access()?;
    let reader = dump(copier, source, tools, &access, file.path()).await?;
    (copier.reading.finished)(CopyMethod::Dump, reader.client);
    let restore = tools
        .command(local, "pg_restore", &access)
        .args(["--jobs=2", "--exit-on-error"])
        .arg(format!("--dbname={temporary}"))
        .arg(file.path());
    restore.ok().await.map_err(|error| reason(&error))?;
    copier.wait_until_unused(temporary).await?;
    Ok(())
}

/// Dumps `source` to `file`. Returns the session whose snapshot was dumped.
///
/// `pg_dump` takes locks too. It waits behind a client that waits for our locks, while we wait for `pg_dump`: then we
/// let that client go ahead, and begin again.
async fn dump(
    copier: &Copier<'_>,
    source: &CopySource<'_>,
    tools: &DumpTools,
    access: &ClientAccess,
    file: &Path,
) -> Result<ParentReader, CopyFailure> {
    let deadline = Deadline::within(TURN_LIMIT);
    loop {
        let reader = ParentReader::open(copier, source).await?;
        let dump = tools
            .command(copier.local, "pg_dump", access)
            .env("PGDATABASE", source.name)
            .args(["--format=custom", "--compress=0"])
            .arg(format!("--lock-wait-timeout={}", LOCK_WAIT.as_millis()))
            .arg(format!("--snapshot={}", reader.export().await?))
            .arg("--file")
            .arg(file);
        let Err(error) = dump.ok().await else { return Ok(reader) };
        if deadline.left().is_zero() || !has_waiting_client(copier, source).await? {
            return Err(reason(&error));
        }
        drop(reader);
        tokio::time::sleep(LOCK_WAIT).await;
    }
}

/// Returns true if a client waits for a lock that keeps readers from a table.
async fn has_waiting_client(copier: &Copier<'_>, source: &CopySource<'_>) -> Result<bool, CopyFailure> {
    let sql = format!(
        "SELECT count(*) FROM pg_locks WHERE database = {} AND locktype = 'relation' AND NOT granted \
         AND mode = 'AccessExclusiveLock'",
        source.database.oid
    );
    Ok(cell(rows(copier.watcher, &sql, "look for locks").await?).as_deref() != Some("0"))
}

fn reason(error: &CmdError) -> CopyFailure {
    CopyFailure::Reason(error.tail(3).unwrap_or_else(|| error.to_string()))
}

/// Removes the dumps of killed devruns. The caller holds the makers' lock.
fn remove_old(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(DUMP) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
