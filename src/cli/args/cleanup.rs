//! Defines the command lines of the verbs that look for leftovers and remove them.

use std::time::Duration;

use clap::Args;

use crate::text::duration;

/// The default of `--older-than`.
pub(in crate::cli) const YOUNGEST: Duration = Duration::from_hours(24);

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on the command line")]
pub(in crate::cli) struct Prune {
    /// Only print what would be removed, and why the rest is kept.
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Also remove worktrees and branches whose work is in the default branch, or in the branch that it follows.
    #[arg(long)]
    pub(in crate::cli) merged: bool,
    /// Keep worktrees, branches and databases that are younger: 12h, 7d.
    #[arg(long, value_name = "AGE", default_value = "1d", value_parser = age)]
    pub(in crate::cli) older_than: Duration,
    /// Do not ask. Without a terminal, nothing is removed unless this is given.
    #[arg(short, long)]
    pub(in crate::cli) yes: bool,
    /// Write a systemd user timer (a launchd agent on macOS) that prunes this repository every day, after showing it.
    #[arg(long, conflicts_with_all = ["merged", "older_than", "remove_timer"])]
    pub(in crate::cli) install_timer: bool,
    /// Switch that timer off and delete its files.
    #[arg(long, conflicts_with_all = ["merged", "older_than"])]
    pub(in crate::cli) remove_timer: bool,
    /// The call that `prune: { auto: daily }` makes.
    #[arg(long, hide = true, requires = "yes", conflicts_with_all = ["merged", "older_than", "dry_run", "install_timer", "remove_timer"])]
    pub(in crate::cli) daily: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Ls {
    /// Show only stacks of this repository.
    #[arg(long)]
    pub(in crate::cli) here: bool,
    /// Show servers in worktrees of this repository that devrun does not supervise, and how to end each one.
    #[arg(long)]
    pub(in crate::cli) strays: bool,
    /// Keep the list on the screen and refresh it, as `devrun top` does.
    #[arg(long, conflicts_with = "strays")]
    pub(in crate::cli) watch: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Top {
    /// Show only stacks of this repository.
    #[arg(long)]
    pub(in crate::cli) here: bool,
}

/// Parses `12h` or `7d`.
fn age(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| "takes a duration such as 12h or 7d".into())
}
