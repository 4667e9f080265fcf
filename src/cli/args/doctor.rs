//! Defines the command line of `devrun doctor`.

use clap::Args;

#[derive(Debug, Args)]
pub(in crate::cli) struct Doctor {
    /// Also make the changes that are safe, after showing them: add lines to .git/info/exclude, remove sockets, records and leases of
    /// runs that have ended.
    #[arg(long)]
    pub(in crate::cli) fix: bool,
    /// With --fix: also install git's post-checkout hook.
    #[arg(long, requires = "fix")]
    pub(in crate::cli) hook: bool,
    /// With --fix: do not ask. Without a terminal, nothing is changed unless this is given.
    #[arg(short, long, requires = "fix")]
    pub(in crate::cli) yes: bool,
}
