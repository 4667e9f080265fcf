//! Defines the command line of `devrun hook`.

use std::ffi::OsString;

use clap::{Args, Subcommand};

/// Hooks that prepare worktrees which other programs make.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Hook {
    /// Add a marked block to git's post-checkout hook, which leases the ports of each new worktree.
    Install(HookInstall),
    /// Remove the block; the rest of the hook stays.
    Uninstall,
    /// Show which file git runs, and whether the block is in it.
    Status,
    /// Called by the block in git's hook: prepares a worktree that was just added. Always exits with 0.
    PostCheckout(HookPostCheckout),
    /// For Claude Code's `WorktreeCreate`: read its JSON on standard input, make the worktree, print its path.
    WorktreeCreate,
    /// For Claude Code's `WorktreeRemove`: read its JSON on standard input, remove the worktree if no work is lost.
    WorktreeRemove(HookWorktreeRemove),
    /// For the setup scripts of Cursor, Codex and Conductor: lease the ports of this worktree.
    Prepare(HookPrepare),
}

#[derive(Debug, Default, Args)]
pub(in crate::cli) struct HookInstall {
    /// The hook also installs the packages of each new worktree, which may run scripts of the branch.
    #[arg(long)]
    pub(in crate::cli) packages: bool,
    /// Write to a folder of hooks outside this repository, which other repositories may use too.
    #[arg(long)]
    pub(in crate::cli) shared: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HookPostCheckout {
    /// Install packages in the background.
    #[arg(long)]
    pub(in crate::cli) packages: bool,
    /// The arguments that git passes: the old commit, the new commit, and 1 for a branch or 0 for files.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OLD NEW FLAG")]
    pub(in crate::cli) arguments: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HookWorktreeRemove {
    /// Discard changes that are not committed.
    #[arg(long)]
    pub(in crate::cli) uncommitted: bool,
    /// Delete the branch although no other branch contains its commits. Left out: such a branch stays, with its database.
    #[arg(long)]
    pub(in crate::cli) unmerged: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HookPrepare {
    /// Install packages too, which may run scripts of the branch.
    #[arg(long)]
    pub(in crate::cli) packages: bool,
}
