//! What `devrun db` understands.

use std::ffi::OsString;

use clap::{Args, Subcommand};

/// The branch database of this worktree, or another one by its full name (`devrun db list`).
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Db {
    /// Print its URL, the password masked.
    Url(Url),
    /// Open psql in it; what stands behind `--` is psql's.
    Psql(Psql),
    /// Show what it is, where it came from and whether its migrations are done.
    Status(Named),
    /// Show every branch database there is, with its worktree.
    List,
    /// Make it a copy of its parent again, and migrate it. Everything in it is lost.
    Reset(Undo),
    /// Delete it with everything in it. The next `devrun` makes it anew.
    Delete(Undo),
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
pub(in crate::cli) struct Url {
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

#[derive(Debug, Args)]
pub(in crate::cli) struct Undo {
    #[command(flatten)]
    pub(in crate::cli) which: Named,
    /// Do not ask. Needed where nobody can be asked, and with --json.
    #[arg(short, long)]
    pub(in crate::cli) yes: bool,
}
