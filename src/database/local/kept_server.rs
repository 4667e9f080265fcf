//! Keeps the server running without a stack: `devrun db start` records the server's process, and `devrun db stop` removes the
//! record. A record of another process, such as one before a reboot, has no effect.

use std::path::{Path, PathBuf};

use super::cluster;
use super::error::LocalError;
use super::postmaster;
use crate::os::fs;

fn record(cluster: &Path) -> PathBuf {
    cluster.join("kept-running")
}

/// Records that the running server of the cluster folder `cluster` runs on when its last user ends.
pub(super) fn keep(cluster: &Path) -> Result<(), LocalError> {
    let Some(server) = postmaster::running(&cluster::data(cluster)) else { return Ok(()) };
    Ok(fs::replace(&record(cluster), server.pid.to_string().as_bytes(), 0o600)?)
}

/// Removes the record.
pub(super) fn release(cluster: &Path) -> Result<(), LocalError> {
    match std::fs::remove_file(record(cluster)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LocalError::io("remove", &record(cluster))(error))
        }
        _ => Ok(()),
    }
}

/// Returns true if the running server runs on without a user.
pub(super) fn is_kept(cluster: &Path) -> bool {
    let recorded = fs::read(&record(cluster)).ok().flatten();
    let recorded = recorded.and_then(|bytes| String::from_utf8(bytes).ok()?.trim().parse::<u32>().ok());
    let running = postmaster::running(&cluster::data(cluster)).map(|server| server.pid);
    recorded.is_some() && recorded == running
}
