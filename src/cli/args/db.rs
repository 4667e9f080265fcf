//! Defines the command line of `devrun db`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// The branch database of this worktree, or another one by its full name (`devrun db list`).
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Db {
    /// Print its URL, the password masked.
    Url(DbUrlArgs),
    /// Open psql in it; what stands behind `--` is psql's.
    Psql(Psql),
    /// Show what it is, where it came from and whether its migrations are done.
    Status(Named),
    /// Show every branch database there is, with its worktree.
    List,
    /// Show what differs from its parent, or from OTHER: schema, numbers of rows, and with --rows the rows of a table.
    Diff(DbDiff),
    /// Make it a copy of its parent again, and migrate it. Everything in it is lost.
    Reset(Reset),
    /// Take a snapshot of it under a name, which is kept until the database is deleted; without a name, list them.
    Snapshot(SnapshotArgs),
    /// Show the snapshots of all databases.
    Snapshots,
    /// Make it a copy of one of its snapshots again, and migrate it. Everything in it now is lost.
    Restore(Restore),
    /// Delete it with everything in it. The next `devrun` makes a new one.
    Delete(Undo),
    /// Show the heads of the Alembic migrations, their authors and the command that merges them; on a terminal, offer to run
    /// it. Exits with 85 if there are several. Needs no database.
    Heads,
    /// Fill the database that branches are copied from with another one: a Postgres URL, a file of SQL or a dump.
    Import(DbImport),
    /// Show the extensions of Postgres that its server offers, and where each one comes from.
    Extensions,
    /// Start the local database server and let it run without a stack, for example for a database client.
    Start,
    /// Stop the server that `start` has started; a stack that uses it keeps it.
    Stop,
    /// Move all local databases of the repository to a newer major version of Postgres.
    Upgrade(DbUpgrade),
    /// Make it if need be and run its migrations, as `up` does, but start nothing.
    Migrate,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DbUpgrade {
    /// Keep the folder with the data of the old version, and print its path.
    #[arg(long)]
    pub(in crate::cli) keep_old: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Named {
    /// Its full name; this worktree's when left out.
    #[arg(value_name = "DATABASE")]
    pub(in crate::cli) name: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DbUrlArgs {
    #[command(flatten)]
    pub(in crate::cli) which: Named,
    /// The URL that goes through no pooler.
    #[arg(long)]
    pub(in crate::cli) direct: bool,
    /// Print the password instead of masking it.
    #[arg(long)]
    pub(in crate::cli) reveal: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Psql {
    #[command(flatten)]
    pub(in crate::cli) which: Named,
    /// Arguments for psql.
    #[arg(last = true, value_name = "ARGS")]
    pub(in crate::cli) args: Vec<OsString>,
}

/// The state of the parent that a reset copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum CopiedState {
    /// As it is now.
    Parent,
    /// As it was when it was last migrated, or copied while it was in use.
    Snapshot,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Reset {
    #[command(flatten)]
    pub(in crate::cli) undo: Undo,
    /// The state of the parent to copy. `snapshot` is older, and is copied at once however the parent is used.
    #[arg(long, value_name = "STATE", default_value = "parent")]
    pub(in crate::cli) from: CopiedState,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DbDiff {
    /// The full name of the database to compare with; its parent when left out.
    #[arg(value_name = "OTHER")]
    pub(in crate::cli) other: Option<String>,
    /// Show the rows of TABLE that differ, by primary key.
    #[arg(long, value_name = "TABLE")]
    pub(in crate::cli) rows: Option<String>,
    /// The most rows to show.
    #[arg(long, value_name = "COUNT", default_value_t = 50, requires = "rows")]
    pub(in crate::cli) limit: usize,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DbImport {
    /// A Postgres URL, or the path of a file of SQL or of a dump (`pg_dump --format=custom`). It is only read.
    #[arg(value_name = "URL|FILE", required_unless_present = "url_env")]
    pub(in crate::cli) source: Option<String>,
    /// Take the URL from the variable NAME of the environment or of an env file, so that its password is in no command line.
    #[arg(long, value_name = "NAME", conflicts_with = "source")]
    pub(in crate::cli) url_env: Option<String>,
    /// Import tables without their rows.
    #[arg(long)]
    pub(in crate::cli) schema_only: bool,
    /// Leave out the rows of the tables that match PATTERN, as `pg_dump` does: `logs`, `audit.*`. May be repeated.
    #[arg(long, value_name = "PATTERN")]
    pub(in crate::cli) exclude_table_data: Vec<String>,
    /// Replace personal data before the database can be used, by the rules in FILE: `table.column: rule` lines.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) mask: Option<PathBuf>,
    /// Do not ask. Needed without a terminal, and with --json.
    #[arg(short, long)]
    pub(in crate::cli) yes: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SnapshotArgs {
    /// The name of the snapshot.
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: Option<String>,
    /// Replace the snapshot that has this name.
    #[arg(long, requires = "name")]
    pub(in crate::cli) replace: bool,
    /// Delete the snapshot.
    #[arg(long, requires = "name", conflicts_with = "replace")]
    pub(in crate::cli) delete: bool,
    /// List the snapshots, as `devrun db snapshots` does.
    #[arg(long, conflicts_with = "name")]
    pub(in crate::cli) list: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Restore {
    /// The snapshot, of this worktree's database.
    #[arg(value_name = "NAME")]
    pub(in crate::cli) snapshot: String,
    /// Do not ask. Needed without a terminal, and with --json.
    #[arg(short, long)]
    pub(in crate::cli) yes: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Undo {
    #[command(flatten)]
    pub(in crate::cli) which: Named,
    /// Do not ask. Needed without a terminal, and with --json.
    #[arg(short, long)]
    pub(in crate::cli) yes: bool,
}
