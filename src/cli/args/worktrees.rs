//! Defines the command lines of `devrun new`, `devrun rm` and `devrun sync`.

use clap::Args;

/// The path of the worktree is the only line on standard output: `cd "$(devrun new NAME)"`.
#[derive(Debug, Args)]
pub(in crate::cli) struct New {
    /// Name of the branch. Blanks become hyphens; the folder gets hyphens for slashes too.
    pub(in crate::cli) name: String,
    /// Where a new branch begins: a branch, tag or commit. Left out: the commit that is checked out here.
    #[arg(long, value_name = "REF")]
    pub(in crate::cli) from: Option<String>,
    /// Start its stack in the background, and return when it is ready.
    #[arg(long)]
    pub(in crate::cli) up: bool,
}

/// Ends the stack, releases the ports, deletes the branch database, the worktree and the branch. Each option below allows one
/// thing that it otherwise refuses.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on the command line")]
pub(in crate::cli) struct Rm {
    /// Branch, folder name or path of the worktree; the one around the current folder when left out.
    #[arg(value_name = "NAME|PATH")]
    pub(in crate::cli) name: Option<String>,
    /// Discard changes that are not committed.
    #[arg(long)]
    pub(in crate::cli) uncommitted: bool,
    /// Delete the branch although its commits are not merged.
    #[arg(long)]
    pub(in crate::cli) unmerged: bool,
    /// Remove it although `git worktree lock` protects it.
    #[arg(long)]
    pub(in crate::cli) locked: bool,
    /// Keep the branch database.
    #[arg(long)]
    pub(in crate::cli) keep_database: bool,
    /// Keep the branch.
    #[arg(long)]
    pub(in crate::cli) keep_branch: bool,
    /// Only print what would be done.
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Do not ask. Needed without a terminal, and with --json.
    #[arg(short, long)]
    pub(in crate::cli) yes: bool,
}

/// Fetches, rebases the branch onto the branch that it follows or onto the default branch of the remote, installs packages, runs
/// the steps of `setup:` whose inputs changed, and migrates the branch database. Starts no processes. Never runs by itself.
#[derive(Debug, Args)]
pub(in crate::cli) struct SyncArgs {
    /// Rebase onto this branch, tag or commit.
    #[arg(long, value_name = "REF")]
    pub(in crate::cli) onto: Option<String>,
    /// Merge instead of rebasing.
    #[arg(long)]
    pub(in crate::cli) merge: bool,
    /// Restart the running processes whose files, packages or database changed.
    #[arg(long)]
    pub(in crate::cli) restart: bool,
}
