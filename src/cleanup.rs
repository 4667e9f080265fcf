//! Cleans up what worktrees leave behind: processes, control groups, a socket, a registry entry, a run record, a lease, the claim on a
//! database server, a browser profile, branches and databases. Finds it, decides what may be removed (`decide`, pure), and removes it.
//!
//! `up`, `down` and `ls` use `leftovers`; `prune` uses all of this module; `servers` finds servers that devrun does not
//! supervise. This module never changes files that a user wrote: git itself removes worktrees, and refuses dirty ones.

pub mod browser;
pub mod decide;
pub mod facts;
pub mod gather;
pub mod leftovers;
pub mod remove;
pub mod servers;
