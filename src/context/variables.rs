//! Names of the environment variables that devrun sets or reads.

/// Names the run of a process. devrun finds the processes of a run by this variable; a process of a worktree without it
/// was started by hand.
pub const RUN: &str = "DEVRUN_RUN";
/// Holds the name of the process in the plan.
pub const PROCESS: &str = "DEVRUN_PROCESS";
/// Names the cluster of a database server.
pub const CLUSTER: &str = "DEVRUN_CLUSTER";
/// Holds the path of the worktree that an environment belongs to. Set in every process of the worktree.
pub const WORKTREE: &str = "DEVRUN_WORKTREE";
/// Holds the names of the variables that devrun set. A devrun that one of these processes starts in another worktree removes them.
pub const VARIABLES: &str = "DEVRUN_VARIABLES";
/// Holds the path of a new worktree that the calling devrun prepares, so that git's hook does not.
pub const PREPARED: &str = "DEVRUN_PREPARED";
/// Holds the address that a process must bind.
pub const HOST: &str = "DEVRUN_HOST";
/// Holds the origins of the worktree's pages, separated by commas, for lists of allowed origins.
pub const ORIGINS: &str = "DEVRUN_ORIGINS";
/// Holds the folder of a service's data.
pub const DATA: &str = "DEVRUN_DATA";
/// Holds the socket of the handover module: descriptor, port and inode. `supervisor/handover.cjs` has the same name.
pub const LISTEN: &str = "DEVRUN_LISTEN";
/// Holds the ports of the redirect module: `8000:8123,9000:9123`. `supervisor/redirect.cjs` has the same name.
pub const REDIRECTS: &str = "DEVRUN_REDIRECTS";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_modules_read_the_same_variables() {
        assert!(include_str!("../supervisor/handover.cjs").contains(LISTEN));
        assert!(include_str!("../supervisor/redirect.cjs").contains(REDIRECTS));
    }
}
