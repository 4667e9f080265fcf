//! Whom the server runs as, and where its files lie so that this user can reach them.
//!
//! Postgres refuses to run as root. Anybody else runs it as themselves, below their own folders. Root runs it as
//! somebody else, who often cannot enter root's folders: then everything lies below `/var/lib/devrun`.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User};

use super::error::LocalError;
use crate::context::{Context, Dirs};
use crate::os::cmd::Cmd;
use crate::os::fs;

/// Used by root where its own folders are closed to the server's user.
const OPEN_FOLDER: &str = "/var/lib/devrun";

/// Whom the server's programs run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// The user who runs devrun.
    Ourselves,
    /// Somebody else, because we are root.
    Other {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// Where the large things lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    /// Holds a folder per cluster.
    pub(super) clusters: PathBuf,
    /// Holds a folder per set of binaries.
    pub(super) binaries: PathBuf,
}

/// How a user is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who<'a> {
    Uid(u32),
    Name(&'a str),
}

impl Account {
    /// The account for a repository that belongs to `owner`.
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

    /// The user that the server runs as.
    pub(super) fn uid(self) -> u32 {
        match self {
            Account::Ourselves => nix::unistd::geteuid().as_raw(),
            Account::Other { uid, .. } => uid,
        }
    }

    /// Lets `cmd` run as this account.
    pub(super) fn run(self, cmd: Cmd) -> Cmd {
        match self {
            Account::Ourselves => cmd,
            Account::Other { uid, gid } => cmd.user(uid, gid),
        }
    }

    /// Gives `path` to this account.
    pub(super) fn own(self, path: &Path) -> Result<(), LocalError> {
        let Account::Other { uid, gid } = self else { return Ok(()) };
        nix::unistd::chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|errno| LocalError::io("change the owner of", path)(errno.into()))
    }

    /// Makes `path` and its missing parents: closed to everybody else, but for an account other than ours to be passed
    /// through.
    pub(super) fn make_dir(self, path: &Path) -> Result<(), LocalError> {
        if self == Account::Ourselves {
            return Ok(fs::make_private_dir(path)?);
        }
        let mut missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
        while let Some(folder) = missing.pop() {
            fs::make_private_dir(folder)?;
            set_mode(folder, 0o711)?;
        }
        Ok(())
    }

    /// Where this account can reach its files.
    pub(super) fn home(self, dirs: &Dirs) -> Home {
        let open = Path::new(OPEN_FOLDER);
        let base = |preferred: &Path| if self.may_enter(preferred) { preferred } else { open }.to_path_buf();
        Home { clusters: base(&dirs.data).join("pg"), binaries: base(&dirs.cache).join("pgbin") }
    }

    /// True when this account can pass through `path`, as far as it exists; what is missing will be made by us.
    fn may_enter(self, path: &Path) -> bool {
        let Account::Other { uid, gid } = self else { return true };
        path.ancestors()
            .filter_map(|folder| std::fs::metadata(folder).ok())
            .all(|meta| lets_through(meta.permissions().mode(), (meta.uid(), meta.gid()), (uid, gid)))
    }
}

/// Returns every folder that may hold clusters: that of this user, and that for the account root gives a server to.
pub fn cluster_folders(dirs: &Dirs) -> [PathBuf; 2] {
    [&dirs.data, Path::new(OPEN_FOLDER)].map(|base| base.join("pg"))
}

/// Returns the folders that hold clusters of this user.
pub(super) fn all_clusters(dirs: &Dirs) -> Vec<PathBuf> {
    // Only root gives its server to another account.
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

/// The first of repository's owner, the user behind sudo, `postgres` and `nobody` who exists and is not root.
fn decide(
    euid: u32,
    owner: u32,
    sudo: Option<u32>,
    look_up: &dyn Fn(Who) -> Option<(u32, u32)>,
) -> Result<Account, &'static str> {
    if euid != 0 {
        return look_up(Who::Uid(euid))
            .map(|_| Account::Ourselves)
            .ok_or("initdb wants an entry in /etc/passwd for it, and there is none");
    }
    [Some(Who::Uid(owner)), sudo.map(Who::Uid), Some(Who::Name("postgres")), Some(Who::Name("nobody"))]
        .into_iter()
        .flatten()
        .filter_map(look_up)
        .find(|(uid, _)| *uid != 0)
        .map(|(uid, gid)| Account::Other { uid, gid })
        .ok_or("as root it needs another user to run as, and neither the repository's owner nor postgres nor nobody will do")
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
    fn everybody_but_root_is_themselves() {
        assert_eq!(decide(1000, 0, None, &passwd), Ok(Account::Ourselves));
        assert!(decide(4711, 4711, None, &passwd).is_err());
    }

    #[test]
    fn root_becomes_the_owner_or_the_sudo_user_or_a_system_user() {
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
