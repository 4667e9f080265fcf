//! The leftovers of one worktree: where they are, and how they are removed.
//!
//! Every path here is derived from the physical path of the worktree, so the leftovers of a worktree that no longer exists
//! are found too.

use std::path::{Path, PathBuf};

use crate::context::{Context, Dirs};
use crate::control::registry::{self, StackEntry};
use crate::control::{self, Claim, socket};
use crate::database::providers;
use crate::error::Report;
use crate::os::cgroup::ControlGroup;
use crate::ports;
use crate::supervisor::keeper::{KeptResource, ResourceKind};
use crate::supervisor::sweep::{self, SharedServers};
use crate::worktree::Worktree;

/// The leftovers of one worktree, which may not exist any more.
#[derive(Clone, Debug)]
pub struct Leftovers {
    /// Physical path of the worktree.
    pub worktree: PathBuf,
    /// The part of a run's tag that identifies the worktree.
    pub tag: String,
    /// The path of its socket.
    pub socket: PathBuf,
    /// The path of its registry entry.
    pub entry: PathBuf,
}

impl Leftovers {
    /// Returns the leftovers of the worktree at `path`. Reads no file.
    pub fn of(dirs: &Dirs, path: &Path) -> Leftovers {
        let tag = sweep::worktree_tag(path);
        let (socket, entry) = (socket::path(dirs, &tag), registry::file(dirs, &tag));
        Leftovers { worktree: path.into(), tag, socket, entry }
    }

    /// Returns the files in the runtime folder, which are removed when a run ends.
    pub fn files(&self) -> [&Path; 2] {
        [&self.socket, &self.entry]
    }

    /// Returns the registry entry of a stack in `worktree`.
    pub fn registry_entry(&self, worktree: &Worktree, groups: Vec<PathBuf>) -> StackEntry {
        StackEntry {
            worktree: worktree.path.clone(),
            state: worktree.state.clone(),
            repo: worktree.repo(),
            branch: worktree.git.as_ref().and_then(|git| git.branch()).map(Into::into),
            groups,
            file: self.entry.clone(),
        }
    }

    /// Kills the processes that carry the worktree's tag or are in `groups`, and removes the groups. The caller holds the
    /// worktree's lock, or has made sure that no devrun can take it. Returns the number of killed processes.
    pub fn end_processes(&self, dirs: &Dirs, groups: &[ControlGroup]) -> usize {
        sweep::kill_leftovers(&self.tag, groups, &shared_servers(dirs))
    }

    /// Deletes the socket and the registry entry.
    pub fn remove_files(&self) {
        for file in self.files() {
            // A file that stays is stale and does no harm: no process holds the worktree's lock.
            let _ = std::fs::remove_file(file);
        }
    }

    /// Releases the ports of the worktree. Returns false if it had none. Errors if the table of leases cannot be changed.
    pub async fn release_lease(&self, ctx: &Context) -> Result<bool, Report> {
        Ok(ports::release(ctx, &self.worktree).await?)
    }
}

/// Returns the database servers that a run must not end with its own processes.
pub fn shared_servers(dirs: &Dirs) -> SharedServers {
    SharedServers::below(providers::server_folders(dirs))
}

/// Releases `resource` after all processes of the run are dead. The keeper calls this, or the supervisor if the keeper
/// died first.
pub fn release(resource: KeptResource) {
    match resource.kind {
        // The file is still there if the supervisor was killed.
        ResourceKind::Trace(file) => drop(std::fs::remove_file(file)),
        ResourceKind::Cluster(folder) => providers::stop_if_last(resource.held, &folder),
        ResourceKind::Lock | ResourceKind::Group(_) => {}
    }
}

/// Removes what a run in `worktree` left whose supervisor and keeper were both killed. Returns the number of killed
/// processes. Does nothing if the last run cleaned up. Errors if an unused database server cannot be stopped.
pub fn end_run(ctx: &Context, worktree: &Worktree, claim: &Claim) -> Result<usize, Report> {
    let leftovers = Leftovers::of(&ctx.dirs, &worktree.path);
    let groups = claim.groups_left(&leftovers.tag);
    if !claim.unclean && groups.is_empty() {
        return Ok(0);
    }
    let killed = leftovers.end_processes(&ctx.dirs, &groups);
    leftovers.remove_files();
    providers::stop_unused(ctx, worktree)?;
    claim.clear();
    Ok(killed)
}

/// Removes what a stack left that has no supervisor and whose worktree is gone. Returns the number of killed processes;
/// `None` if another devrun holds the worktree's lock, so that nothing was done.
pub fn end_orphaned(ctx: &Context, entry: &StackEntry) -> Option<usize> {
    // Hold the lock, so that no devrun starts there. If the state folder was deleted with the worktree, none can
    // start. A folder without a record of that worktree is not its state folder, and is left as it is.
    let held = control::is_state_of(&entry.state, &entry.worktree).then(|| control::claim(&entry.state));
    let claim = match held {
        Some(Ok(Some(claim))) => Some(claim),
        None => None,
        // Another devrun holds the lock, or the lock cannot be checked. The next call tries again.
        Some(Ok(None) | Err(_)) => return None,
    };
    let leftovers = Leftovers::of(&ctx.dirs, &entry.worktree);
    let groups = ControlGroup::left(&entry.groups, &leftovers.tag);
    let killed = leftovers.end_processes(&ctx.dirs, &groups);
    if let Some(claim) = claim {
        claim.clear();
    }
    leftovers.remove_files();
    Some(killed)
}
