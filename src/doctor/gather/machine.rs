//! Gathers the limits of this machine: disks, open files, watches, shared memory, and how names below `localhost` resolve.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};

use super::off_thread;
use crate::context::Context;
use crate::doctor::facts::MachineFacts;
use crate::os::read;
use crate::worktree::Worktree;

/// Bytes of a system file that are read.
const SYSTEM_FILE: usize = 64 << 10;
/// Services of the system that resolve every name below `localhost`.
const RESOLVERS: [&str; 2] = ["myhostname", "resolve"];

pub(super) async fn gather(ctx: &Context, own: &Worktree) -> Result<MachineFacts, String> {
    let folders = [&own.path, &ctx.dirs.state, &ctx.dirs.data, &ctx.dirs.cache].map(PathBuf::clone);
    off_thread(move || {
        let hosts = text("/etc/hosts").unwrap_or_default();
        MachineFacts {
            disks: disks(&folders),
            open_files: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
            watches: number("/proc/sys/fs/inotify/max_user_watches"),
            watch_instances: number("/proc/sys/fs/inotify/max_user_instances"),
            shared_memory: shared_memory(),
            resolves_localhost: text("/etc/nsswitch.conf").and_then(|text| resolves(&text)),
            known_hosts: names(&hosts),
        }
    })
    .await
}

fn text(file: &str) -> Option<String> {
    String::from_utf8(read::head(Path::new(file), SYSTEM_FILE).ok()?).ok()
}

fn number(file: &str) -> Option<u64> {
    text(file)?.trim().parse().ok()
}

/// Returns the free bytes of each disk, with the first folder on it. A folder that does not exist yet counts as its parent.
fn disks(folders: &[PathBuf]) -> Vec<(PathBuf, u64)> {
    let mut found: BTreeMap<u64, (PathBuf, u64)> = BTreeMap::new();
    for folder in folders.iter().rev() {
        let Some(existing) = folder.ancestors().find(|folder| folder.is_dir()) else { continue };
        let (Ok(meta), Ok(disk)) = (existing.metadata(), rustix::fs::statvfs(existing)) else { continue };
        // Some network folders do not report a size.
        if disk.f_blocks > 0 {
            found.insert(meta.dev(), (existing.into(), disk.f_bavail.saturating_mul(disk.f_frsize)));
        }
    }
    found.into_values().collect()
}

/// Returns the size of `/dev/shm`, if this system has it.
fn shared_memory() -> Option<u64> {
    let disk = rustix::fs::statvfs("/dev/shm").ok()?;
    Some(disk.f_blocks.saturating_mul(disk.f_frsize))
}

/// Returns true if a service in the line `hosts` of `nsswitch.conf` resolves every name below `localhost`.
fn resolves(configuration: &str) -> Option<bool> {
    let line = configuration.lines().find_map(|line| line.trim().strip_prefix("hosts:"))?;
    Some(line.split_whitespace().any(|word| RESOLVERS.contains(&word)))
}

/// Returns the names in a hosts file.
fn names(hosts: &str) -> BTreeSet<String> {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.flat_map(|line| line.split_whitespace().skip(1)).map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_line_decides_about_names_below_localhost() {
        assert_eq!(
            resolves("passwd: files\nhosts: files mymachines resolve [!UNAVAIL=return] dns\n"),
            Some(true)
        );
        assert_eq!(resolves("hosts: files myhostname dns\n"), Some(true));
        assert_eq!(resolves("hosts:          files dns\n"), Some(false));
        assert_eq!(resolves("passwd: files\n"), None);
    }

    #[test]
    fn hosts_have_several_names_and_comments() {
        let found = names("127.0.0.1 localhost demo.localhost # other\n\n# 1.2.3.4 no\n");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["demo.localhost", "localhost"]);
    }

    #[test]
    fn a_disk_is_listed_once() {
        let dir = tempfile::tempdir().unwrap();
        let found = disks(&[dir.path().into(), dir.path().join("missing/folder")]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, dir.path());
    }
}
