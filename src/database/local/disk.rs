//! Checks the disk of a cluster: refuses a network file system, and warns of little space before a copy.

use std::path::Path;

use super::copying::{Copier, CopySource};
use super::error::LocalError;
use crate::database::catalogue::rows;

/// If more bytes than this are free, devrun does not read the size of a parent.
const PLENTY: u64 = 20 << 30;

/// Errors if `folder` is on a network file system: after a lost connection or with two clients, Postgres loses data there.
/// Source: <https://www.postgresql.org/docs/current/creating-cluster.html#CREATING-CLUSTER-FILESYSTEM>
pub(super) fn refuse_network(folder: &Path) -> Result<(), LocalError> {
    // If the system does not answer, initdb reports the fault of the folder.
    let Ok(system) = nix::sys::statfs::statfs(folder) else { return Ok(()) };
    match network(&system) {
        Some(kind) => Err(LocalError::NetworkDisk { folder: folder.into(), kind }),
        None => Ok(()),
    }
}

/// Returns the name of the network file system.
#[cfg(target_os = "linux")]
fn network(system: &nix::sys::statfs::Statfs) -> Option<&'static str> {
    kind(system.filesystem_type().0)
}

#[cfg(not(target_os = "linux"))]
fn network(system: &nix::sys::statfs::Statfs) -> Option<&'static str> {
    ["nfs", "smbfs", "afpfs", "webdav"].into_iter().find(|kind| *kind == system.filesystem_type_name())
}

/// Returns the name of the network file system with this number. 9p is not one of them: sandboxes use it for local files.
/// Source: `include/uapi/linux/magic.h`
#[cfg(target_os = "linux")]
#[expect(clippy::unreadable_literal, reason = "as in the source")]
fn kind(magic: impl Into<i64>) -> Option<&'static str> {
    // The number has 32 bits; some systems extend its sign.
    match magic.into() & 0xFFFF_FFFF {
        0x6969 => Some("NFS"),
        0x517B | 0xFF534D42 | 0xFE534D42 => Some("SMB"),
        0x5346414F | 0x6B414653 => Some("AFS"),
        0x00C36400 => Some("Ceph"),
        0x0BD00BD0 => Some("Lustre"),
        0x73757245 => Some("Coda"),
        _ => None,
    }
}

impl Copier<'_> {
    /// Warns if the disk may be too small for a copy of `source`.
    pub(super) async fn warn_of_little_space(&self, source: &CopySource<'_>) -> Result<(), LocalError> {
        let folder = self.local.cluster.data();
        let Ok(disk) = rustix::fs::statvfs(&folder) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free > PLENTY || shares_blocks(&folder) {
            return Ok(());
        }
        let sql = format!("SELECT pg_database_size({}::oid)", source.database.oid);
        let size = super::copying::cell(rows(self.maker, &sql, "read the size of a database").await?);
        let Some(size) = size.and_then(|text| text.parse().ok()) else { return Ok(()) };
        if is_short(free, size) {
            self.events.warn(format!(
                "{} has {} MB, and the disk of {} has {} MB left: the copy may not fit",
                source.name,
                size / 1_000_000,
                self.local.cluster.folder.display(),
                free / 1_000_000
            ));
        }
        Ok(())
    }
}

/// Returns true for file systems on which a clone shares the blocks of its source.
fn shares_blocks(folder: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::statfs::{BTRFS_SUPER_MAGIC, XFS_SUPER_MAGIC, statfs};
        statfs(folder)
            .is_ok_and(|system| [BTRFS_SUPER_MAGIC, XFS_SUPER_MAGIC].contains(&system.filesystem_type()))
    }
    #[cfg(not(target_os = "linux"))]
    {
        nix::sys::statfs::statfs(folder).is_ok_and(|system| system.filesystem_type_name() == "apfs")
    }
}

/// Returns true if a copy of `size` bytes leaves less than half of its size free.
fn is_short(free: u64, size: u64) -> bool {
    free < size.saturating_add(size / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn network_file_systems_are_recognised() {
        assert_eq!(kind(0x6969), Some("NFS"));
        assert_eq!(kind(i64::from(0xFE53_4D42_u32.cast_signed())), Some("SMB"), "with its sign extended");
        for local in [0xEF53, 0x0102_1994, 0x5846_5342, 0x9123_683E, 0x794C_7630, 0x0102_1997_i64] {
            assert_eq!(kind(local), None, "{local:x}");
        }
        assert!(refuse_network(Path::new("/tmp")).is_ok());
    }

    #[test]
    fn a_copy_needs_half_more_than_its_size() {
        assert!(is_short(149, 100) && !is_short(150, 100) && is_short(0, u64::MAX));
    }
}
