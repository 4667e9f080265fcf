//! Files of SQL, each applied once: psql runs a file and records it in one transaction, so a file that failed or was killed in the middle
//! is applied again. A file with a statement of [`ALONE`] runs without a transaction.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use super::error::MigrateError;
use super::migration_files::MigrationFiles;
use super::{MigrateRequest, drift, marker};
use crate::context::Context;
use crate::os::cmd::Cmd;
use crate::text::hex;

/// Statements that Postgres refuses inside a transaction.
const ALONE: [&str; 2] = ["concurrently", "vacuum"];

/// A file that is to be applied.
pub(super) struct Due {
    pub(super) path: PathBuf,
    digest: String,
    /// False when it holds a statement that must run alone.
    in_transaction: bool,
}

/// Returns the files of the request that were not applied in the database of `client`, nor in the one that it is a copy of.
/// Warns of files that were changed since. If all tables are gone, no file counts as applied.
pub(super) async fn due(
    ctx: &Context,
    request: &MigrateRequest<'_>,
    inputs: &MigrationFiles,
    client: &Client,
) -> Result<Vec<Due>, MigrateError> {
    marker::make(client).await?;
    let table = "create table if not exists _devrun.applied (path text primary key, digest text not null, \
        applied_at timestamptz not null default now())";
    client.batch_execute(table).await?;
    if drift::is_emptied(client).await? {
        client.batch_execute("delete from _devrun.applied").await?;
    }
    let rows = client.query("select path, digest from _devrun.applied", &[]).await?;
    let mut applied = std::collections::BTreeMap::new();
    for row in rows {
        applied.insert(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
    }
    let mut due = Vec::new();
    for (path, content) in ordered(&request.inputs, inputs) {
        let digest = hex(Sha256::digest(content));
        match applied.get(&*path.to_string_lossy()) {
            Some(known) if *known == digest => {}
            Some(_) => ctx.events.warn(format!(
                "{} was changed after it was applied to {}, and is not applied again: write the change as a new file",
                path.display(),
                request.name
            )),
            None => {
                let in_transaction = !must_run_alone(&String::from_utf8_lossy(content));
                due.push(Due { path: path.to_path_buf(), digest, in_transaction });
            }
        }
    }
    Ok(due)
}

/// Returns true when the SQL in `text` holds one of the words of [`ALONE`] outside comments.
fn must_run_alone(text: &str) -> bool {
    let mut rest = text.to_ascii_lowercase();
    // A comment in a comment ends at the first end, which leaves more text to search and never less.
    while let Some((before, after)) = rest.split_once("/*") {
        rest = format!("{before} {}", after.split_once("*/").map_or("", |(_, after)| after));
    }
    rest.lines().any(|line| {
        let code = line.split_once("--").map_or(line, |(code, _)| code);
        ALONE.iter().any(|word| code.contains(word))
    })
}

/// Returns the files in the order of `patterns`; those of one pattern by the number that their name begins with, then by name.
fn ordered<'a>(patterns: &[String], inputs: &'a MigrationFiles) -> Vec<(&'a Path, &'a [u8])> {
    let mut found: Vec<(&Path, &[u8])> = Vec::new();
    for pattern in patterns.iter().filter_map(|pattern| glob::Pattern::new(pattern).ok()) {
        let is_new =
            |path: &Path| pattern.matches_path(path) && !found.iter().any(|(known, _)| *known == path);
        let mut files: Vec<_> = inputs.files().filter(|(path, _)| is_new(path)).collect();
        files.sort_by_key(|(path, _)| (number(path), path.to_path_buf()));
        found.extend(files);
    }
    found
}

fn number(path: &Path) -> u64 {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let end = name.find(|c: char| !c.is_ascii_digit()).unwrap_or(name.len());
    name[..end].parse().unwrap_or(u64::MAX)
}

/// Returns the command that applies `due` and records it.
pub(super) fn command(psql: &Path, due: &Due) -> Cmd {
    let Due { path, digest, in_transaction } = due;
    let file = PathBuf::from(".").join(path);
    let name = path.to_string_lossy().replace('\'', "''");
    let record = format!("insert into _devrun.applied (path, digest) values ('{name}', '{digest}')");
    let mut words: Vec<std::ffi::OsString> =
        ["-X", "-q", "-v", "ON_ERROR_STOP=1"].into_iter().map(Into::into).collect();
    words.extend(in_transaction.then(|| "-1".into()));
    words.extend(["-f".into(), file.into(), "-c".into(), record.into()]);
    Cmd::new(psql).args(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statements_outside_comments_run_without_a_transaction() {
        for alone in ["CREATE INDEX CONCURRENTLY i ON t (a);", "vacuum t;", "/* why */ vacuum t; -- done"] {
            assert!(must_run_alone(alone), "{alone}");
        }
        for plain in [
            "-- no VACUUM here\nselect 1;",
            "/* CREATE INDEX\nCONCURRENTLY */ select 1;",
            "select 1;",
            "/* vacuum",
        ] {
            assert!(!must_run_alone(plain), "{plain}");
        }
    }

    #[test]
    fn files_come_in_the_order_of_the_patterns_and_of_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["db/init.sql", "migrations/10_c.sql", "migrations/2_b.sql", "migrations/a.sql"] {
            crate::os::fs::replace(&dir.path().join(file), b"", 0o600).unwrap();
        }
        let patterns = ["migrations/2*.sql", "db/*.sql", "migrations/*.sql"].map(String::from);
        let inputs = MigrationFiles::read(dir.path(), &patterns).unwrap();
        let found: Vec<String> =
            ordered(&patterns, &inputs).iter().map(|(path, _)| path.display().to_string()).collect();
        assert_eq!(found, ["migrations/2_b.sql", "db/init.sql", "migrations/10_c.sql", "migrations/a.sql"]);
    }
}
