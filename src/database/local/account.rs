//! Decides which account the server runs as, and where its files are so that this account can reach them.
//!
//! Postgres refuses to run as root. For any other user the server runs as that user, with its files below the user's
//! own folders. For root it runs as another account, which often cannot enter root's folders; then all files are below
//! `/var/lib/devrun`.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User};

use super::error::LocalError;
use crate::context::{Context, Dirs};
use crate::os::cmd::Cmd;
use crate::os::fs;

/// The base folder if root's own folders are closed to the server's account.
const OPEN_FOLDER: &str = "/var/lib/devrun";

/// The account that the server's programs run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// The user that runs devrun.
    Ourselves,
    /// Another account, because devrun runs as root.
    Other {
        /// The user id.
        uid: u32,
        /// The group id.
        gid: u32,
    },
}

/// The folders for large files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    /// Has one folder per cluster.
    pub(super) clusters: PathBuf,
    /// Has one folder per set of binaries.
    pub(super) binaries: PathBuf,
}

/// The key of a lookup in /etc/passwd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who<'a> {
    Uid(u32),
    Name(&'a str),
}

impl Account {
    /// Returns the account for a repository that `owner` owns. Errors if no account is suitable.
    pub(super) fn choose(ctx: &Context, owner: u32) -> Result<Account, LocalError> {
        let sudo = ctx.var("SUDO_UID").and_then(|uid| uid.parse().ok());
        let found = decide(nix::unistd::geteuid().as_raw(), owner, sudo, &|who| {
            let user = match who {
                Who::Uid(uid) => User::from_uid(Uid::from_raw(uid)),
                Who::Name(name) => User::from_name(name),
            };
            user.ok().flatten().map(|user| (user.uid.as_raw(), user.gid.as_raw()))
        });
        found.map_err(|reason| LocalError::Account { reason })
    }

    /// Returns the user id that the server runs as.
    pub(super) fn uid(self) -> u32 {
        match self {
            Account::Ourselves => nix::unistd::geteuid().as_raw(),
            Account::Other { uid, .. } => uid,
        }
    }

    /// Makes `cmd` run as this account.
    pub(super) fn run(self, cmd: Cmd) -> Cmd {
        match self {
            Account::Ourselves => cmd,
            Account::Other { uid, gid } => cmd.user(uid, gid),
        }
    }

    /// Makes this account the owner of `path`.
    pub(super) fn own(self, path: &Path) -> Result<(), LocalError> {
        let Account::Other { uid, gid } = self else { return Ok(()) };
        nix::unistd::chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|errno| LocalError::io("change the owner of", path)(errno.into()))
    }

    /// Creates `path` and its missing parents. They are private to us; if the server runs as another account, every
    /// account can pass through them but not list them.
    pub(super) fn make_dir(self, path: &Path) -> Result<(), LocalError> {
        if self == Account::Ourselves {
            return Ok(fs::make_private_dir(path)?);
        }
        let mut missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
        while let Some(folder) = missing.pop() {
            // With its final mode from the beginning: another devrun that saw it closed for a moment would choose
            // [`OPEN_FOLDER`], and the repository would have two clusters.
            fs::make_dir(folder, 0o711)?;
        }
        Ok(())
    }

    /// Returns folders that this account can reach.
    pub(super) fn home(self, dirs: &Dirs) -> Home {
        let open = Path::new(OPEN_FOLDER);
        let base = |preferred: &Path| if self.may_enter(preferred) { preferred } else { open }.to_path_buf();
        Home { clusters: base(&dirs.data).join("pg"), binaries: base(&dirs.cache).join("pgbin") }
    }

    /// Returns true if this account can pass through the existing part of `path`. devrun creates the rest so that it
    /// can.
    fn may_enter(self, path: &Path) -> bool {
        let Account::Other { uid, gid } = self else { return true };
        path.ancestors()
            .filter_map(|folder| std::fs::metadata(folder).ok())
            .all(|meta| lets_through(meta.permissions().mode(), (meta.uid(), meta.gid()), (uid, gid)))
    }
}

/// Returns every folder that may contain clusters: the user's own one and the one for servers of root.
pub fn cluster_folders(dirs: &Dirs) -> [PathBuf; 2] {
    [&dirs.data, Path::new(OPEN_FOLDER)].map(|base| base.join("pg"))
}

/// Returns the folders that contain clusters of this user.
pub(super) fn all_clusters(dirs: &Dirs) -> Vec<PathBuf> {
    // Only root runs its server as another account.
    let own = if nix::unistd::geteuid().is_root() { 2 } else { 1 };
    cluster_folders(dirs).into_iter().take(own).collect()
}

/// Sets the permissions of `path`.
pub(super) fn set_mode(path: &Path, mode: u32) -> Result<(), LocalError> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(LocalError::io("set the mode of", path))
}

fn lets_through(mode: u32, owner: (u32, u32), user: (u32, u32)) -> bool {
    let bit = if owner.0 == user.0 {
        0o100
    } else if owner.1 == user.1 {
        0o010
    } else {
        0o001
    };
    mode & bit != 0
}

/// Returns the first of these accounts that exists and is not root: the repository's owner, the user behind sudo,
/// `postgres`, `nobody`. For a user other than root, returns that user. Errors if there is no such account, or if that
/// user has no entry in `/etc/passwd`.
fn decide(
    euid: u32,
    owner: u32,
    sudo: Option<u32>,
    look_up: &dyn Fn(Who) -> Option<(u32, u32)>,
) -> Result<Account, &'static str> {
    if euid != 0 {
        return look_up(Who::Uid(euid))
            .map(|_| Account::Ourselves)
            .ok_or("initdb needs an entry for this user in /etc/passwd, and there is none");
    }
    [Some(Who::Uid(owner)), sudo.map(Who::Uid), Some(Who::Name("postgres")), Some(Who::Name("nobody"))]
        .into_iter()
        .flatten()
        .filter_map(look_up)
        .find(|(uid, _)| *uid != 0)
        .map(|(uid, gid)| Account::Other { uid, gid })
        .ok_or("for root it must run as another user, and neither the repository's owner nor postgres nor nobody is suitable")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwd(who: Who) -> Option<(u32, u32)> {
        match who {
            Who::Uid(0) => Some((0, 0)),
            Who::Uid(1000) => Some((1000, 100)),
            Who::Name("nobody") => Some((65534, 65534)),
            Who::Uid(_) | Who::Name(_) => None,
        }
    }

    #[test]
    fn every_user_but_root_runs_the_server_itself() {
        assert_eq!(decide(1000, 0, None, &passwd), Ok(Account::Ourselves));
        assert!(decide(4711, 4711, None, &passwd).is_err());
    }

    #[test]
    fn root_uses_the_owner_or_the_sudo_user_or_a_system_user() {
        let user = Ok(Account::Other { uid: 1000, gid: 100 });
        assert_eq!(decide(0, 1000, None, &passwd), user);
        assert_eq!(decide(0, 0, Some(1000), &passwd), user);
        let nobody = Ok(Account::Other { uid: 65534, gid: 65534 });
        assert_eq!(decide(0, 0, Some(0), &passwd), nobody);
        assert_eq!(decide(0, 4711, None, &passwd), nobody);
        assert!(decide(0, 0, None, &|_| None).is_err());
    }

    #[test]
    fn a_closed_folder_lets_only_its_owner_through() {
        assert!(lets_through(0o700, (7, 7), (7, 1)));
        assert!(!lets_through(0o700, (0, 0), (7, 7)));
        assert!(lets_through(0o711, (0, 0), (7, 7)));
        assert!(lets_through(0o710, (0, 7), (9, 7)));
        assert!(!lets_through(0o701, (0, 7), (9, 7)), "the group's bits come before the others'");
    }
}
