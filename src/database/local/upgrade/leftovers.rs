//! The folders that an upgrade uses, and their removal after one that was killed.
//!
//! | folder | is there |
//! |---|---|
//! | `upgrade` | from the beginning until the old data are removed or kept |
//! | `data.old` | from the moment at which the data change places, until the new server has started |
//! | `data.removed` | while the old data are deleted |

use std::path::{Path, PathBuf};

use crate::database::local::cluster::{Cluster, data};
use crate::database::local::error::LocalError;
use crate::database::local::server;

/// Returns the folder of the new cluster.
pub(super) fn new_folder(cluster: &Path) -> PathBuf {
    cluster.join("upgrade")
}

/// Returns the folder of the old data, as long as it can be needed again.
pub(super) fn old_data(cluster: &Path) -> PathBuf {
    cluster.join("data.old")
}

fn removed_data(cluster: &Path) -> PathBuf {
    cluster.join("data.removed")
}

/// Stops the server of the cluster in `folder`, and the second one of an upgrade that was killed.
pub(in crate::database::local) fn stop_servers(folder: &Path) {
    server::stop(&data(folder));
    let new = new_folder(folder);
    if new.exists() {
        server::stop(&data(&new));
    }
}

/// Undoes an upgrade that was killed before it was finished, and removes its folders. The caller holds the start lock.
pub(in crate::database::local) fn undo(cluster: &Cluster) -> Result<(), LocalError> {
    let folder = &cluster.folder;
    let (new, old, removed) = (new_folder(folder), old_data(folder), removed_data(folder));
    if new.exists() || old.exists() {
        stop_servers(folder);
    }
    if old.exists() {
        let place = cluster.data();
        if place.exists() {
            let aside = data(&new);
            cluster.account.make_dir(&new)?;
            std::fs::rename(&place, &aside).map_err(LocalError::io("rename", &place))?;
        }
        std::fs::rename(&old, &place).map_err(LocalError::io("rename", &old))?;
    }
    remove(&removed)?;
    remove(&new)
}

/// Removes or keeps the folder `back` of the data of Postgres `from`, after the new server has started. Returns the folder if it
/// was kept.
pub(super) fn finish(
    cluster: &Cluster,
    back: &Path,
    from: u32,
    keep: bool,
) -> Result<Option<PathBuf>, LocalError> {
    let names = (1..).map(|count| match count {
        1 => format!("data-{from}"),
        _ => format!("data-{from}-{count}"),
    });
    let free = names.map(|name| cluster.folder.join(name)).find(|path| !path.exists());
    let kept = free.filter(|_| keep);
    // From this moment on, the old data are not used again.
    let place = kept.clone().unwrap_or_else(|| removed_data(&cluster.folder));
    std::fs::rename(back, &place).map_err(LocalError::io("rename", back))?;
    if kept.is_none() {
        remove(&place)?;
    }
    remove(&new_folder(&cluster.folder))?;
    Ok(kept)
}

fn remove(folder: &Path) -> Result<(), LocalError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LocalError::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}
