//! Restores the rows of a dump into a database that has its tables.

use std::io::Write;
use std::path::Path;

use super::Local;
use super::copying::DumpTools;
use super::error::LocalError;
use crate::os::cmd::CmdError;

/// Tables of migration tools, whose rows the migrations have written already.
const RECORDS: [&str; 7] = [
    "alembic_version",
    "_prisma_migrations",
    "__drizzle_migrations",
    "django_migrations",
    "knex_migrations",
    "knex_migrations_lock",
    "schema_migrations",
];

/// Fills the tables of `database` from the dump in `file`, in one transaction. Foreign keys and triggers do not act.
pub(super) async fn rows(local: &Local, database: &str, file: &Path) -> Result<(), LocalError> {
    let tools = Box::pin(DumpTools::find_or_fetch(local)).await.map_err(LocalError::NoDumpTools)?;
    let access = local.client_access()?;
    let failed = |error: CmdError| LocalError::Restore {
        file: file.into(),
        tail: error.tail(8).unwrap_or_else(|| error.to_string()),
    };
    let listed = tools.command(local, "pg_restore", &access).arg("--list").arg(file);
    let listed = listed.ok().await.map_err(failed)?;
    let mut list = tempfile::Builder::new()
        .prefix("restore-")
        .tempfile_in(&local.cluster.folder)
        .map_err(LocalError::io("write to", &local.cluster.folder))?;
    list.write_all(row_entries(&listed.text()).as_bytes()).map_err(LocalError::io("write", list.path()))?;
    let restore = tools
        .command(local, "pg_restore", &access)
        .args(["--data-only", "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"])
        .arg("--use-list")
        .arg(list.path())
        .arg(format!("--dbname={database}"))
        .arg(file);
    restore.ok().await.map_err(failed)?;
    Ok(())
}

/// Returns the lines of a dump's list of contents that stand for rows, without those of migration tools and of devrun.
fn row_entries(list: &str) -> String {
    let is_kept = |line: &&str| {
        // `3456; 0 16385 TABLE DATA public users app`
        let words: Vec<&str> = line.split(' ').skip(3).collect();
        match words.as_slice() {
            ["TABLE", "DATA", schema, table, ..] => *schema != "_devrun" && !RECORDS.contains(table),
            ["SEQUENCE", "SET", schema, ..] => *schema != "_devrun",
            ["BLOB" | "BLOBS", ..] => true,
            _ => false,
        }
    };
    let kept: Vec<&str> = list.lines().filter(|line| !line.starts_with(';')).filter(is_kept).collect();
    kept.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_of_the_application_are_restored() {
        let list = ";\n; Archive created at 2026\n3; 1259 1 TABLE public users app\n9; 0 1 TABLE DATA public users app\n\
                    10; 0 2 TABLE DATA public alembic_version app\n11; 0 3 TABLE DATA _devrun marker app\n\
                    12; 0 0 SEQUENCE SET public users_id_seq app\n13; 2606 4 CONSTRAINT public users users_pkey app\n";
        assert_eq!(
            row_entries(list),
            "9; 0 1 TABLE DATA public users app\n12; 0 0 SEQUENCE SET public users_id_seq app\n"
        );
    }
}
