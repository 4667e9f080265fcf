//! The clusters whose repository no longer exists: lists them, stops their servers, and deletes them.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::error::LocalError;
use super::{Local, account, cluster, postmaster, state, upgrade};
use crate::context::Context;
use crate::error::Report;
use crate::os::fs::{self, Lock, LockKind};

/// A cluster whose repository no longer exists where the cluster remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbandonedCluster {
    /// The id that its repository has, or had.
    pub id: String,
    /// The cluster's folder.
    pub folder: PathBuf,
    /// The shared folder of its repository, as the cluster remembers it.
    pub repository: PathBuf,
    /// True if a devrun uses its server.
    pub is_used: bool,
    /// The time since its server last wrote a checkpoint, which it also does when it stops, or since devrun wrote the state of a cluster
    /// without data. `None` if it is unknown.
    pub unused_for: Option<Duration>,
}

impl Local {
    /// Returns the clusters of this user whose repository no longer exists where they remember it.
    pub fn abandoned(ctx: &Context) -> Vec<AbandonedCluster> {
        let mut found = Vec::new();
        for clusters in account::all_clusters(&ctx.dirs) {
            for id in state::ids(&clusters) {
                let folder = clusters.join(&id);
                let Some(state) = state::of(&folder).filter(|state| state::is_abandoned(&id, state)) else {
                    continue;
                };
                found.push(AbandonedCluster {
                    is_used: !matches!(users(&folder, LockKind::Exclusive), Ok(Some(_))),
                    unused_for: last_use(&folder)
                        .and_then(|last| SystemTime::now().duration_since(last).ok()),
                    repository: state.shared.into(),
                    id,
                    folder,
                });
            }
        }
        found
    }

    /// Returns the id of the repository with the shared folder `shared`.
    pub fn repository_id(shared: &Path) -> Option<String> {
        state::read_id(shared)
    }

    /// Stops the servers of this user whose repository no longer exists and that no devrun uses. Returns the shared
    /// folders of these repositories.
    pub fn stop_abandoned(ctx: &Context) -> Vec<String> {
        let mut stopped = Vec::new();
        for clusters in account::all_clusters(&ctx.dirs) {
            for id in state::ids(&clusters) {
                let folder = clusters.join(&id);
                let data = cluster::data(&folder);
                if postmaster::running(&data).is_none() {
                    continue;
                }
                let Some(state) = state::of(&folder).filter(|state| state::is_abandoned(&id, state)) else {
                    continue;
                };
                if let Ok(Some(alone)) = users(&folder, LockKind::Exclusive) {
                    upgrade::stop_servers(&folder);
                    drop(alone);
                    stopped.push(state.shared);
                }
            }
        }
        stopped
    }

    /// Stops the server of `abandoned` and deletes its folder. Returns false if a devrun uses it, if its repository is
    /// there again, or if its state cannot be read.
    pub fn remove_abandoned(abandoned: &AbandonedCluster) -> Result<bool, Report> {
        let AbandonedCluster { id, folder, .. } = abandoned;
        let Some(alone) = users(folder, LockKind::Exclusive)? else { return Ok(false) };
        if !state::of(folder).is_some_and(|state| state::is_abandoned(id, &state)) {
            return Ok(false);
        }
        upgrade::stop_servers(folder);
        std::fs::remove_dir_all(folder).map_err(LocalError::io("delete", folder))?;
        drop(alone);
        Ok(true)
    }
}

/// Takes the lock that every user of the cluster in `folder` holds. Returns `None` if it is taken.
fn users(folder: &Path, kind: LockKind) -> Result<Option<Lock>, fs::FsError> {
    Lock::try_take(&folder.join("users.lock"), kind)
}

/// Returns the time at which the server last wrote its control file; without one, the time at which devrun wrote the state.
fn last_use(folder: &Path) -> Option<SystemTime> {
    let files = [cluster::data(folder).join("global/pg_control"), folder.join("state.json")];
    files.iter().find_map(|file| file.metadata().and_then(|meta| meta.modified()).ok())
}
