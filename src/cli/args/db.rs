//! Defines the command line of `devrun db`.

use std::ffi::OsString;

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
    /// Make it a copy of its parent again, and migrate it. Everything in it is lost.
    Reset(Reset),
    /// Delete it with everything in it. The next `devrun` makes a new one.
    Delete(Undo),
    /// Show the heads of the Alembic migrations, their authors and the command that merges them; on a terminal, offer to run
    /// it. Exits with 85 if there are several. Needs no database.
    Heads,
    /// Show the extensions of Postgres that its server offers, and where each one comes from.
    Extensions,
    /// Make it if need be and run its migrations, as `up` does, but start nothing.
    Migrate,
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
pub(in crate::cli) struct Undo {
    #[command(flatten)]
    pub(in crate::cli) which: Named,
    /// Do not ask. Needed without a terminal, and with --json.
    #[arg(short, long)]
    pub(in crate::cli) yes: bool,
}
