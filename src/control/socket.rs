//! The unix socket of a worktree: where it lies, who may use it.
//!
//! In a folder of this user's alone, readable by this user alone, and each peer's uid is asked of the kernel. Paths stay
//! below 104 bytes, which is what macOS takes.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::context::{Dirs, in_tmp};
use crate::os::fs::{self, FsError};

/// The longest path of a socket that every system takes, without the zero at its end.
const LONGEST: usize = 103;

/// Where the socket of the worktree with this tag lies.
pub fn path(dirs: &Dirs, tag: &str) -> PathBuf {
    let name = format!("{tag}.sock");
    let usual = dirs.runtime.join(&name);
    if usual.as_os_str().len() <= LONGEST {
        return usual;
    }
    in_tmp().join(name)
}

/// Listens at `path`; to be called by the one who holds the worktree's lock, so what is there is stale.
pub fn listen(path: &Path) -> Result<UnixListener, FsError> {
    let failed = |source| FsError::Io { action: "listen at", path: path.into(), source };
    fs::make_own_dir(path.parent().unwrap_or(Path::new("/")))?;
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// True when nobody listens at `path`, which the kernel says: one that hangs still does.
pub async fn is_deserted(path: &Path) -> bool {
    let deserted = [ErrorKind::ConnectionRefused, ErrorKind::NotFound];
    UnixStream::connect(path).await.is_err_and(|error| deserted.contains(&error.kind()))
}

/// True when the other side is this user, or root.
pub fn is_trusted(stream: &UnixStream) -> bool {
    let me = nix::unistd::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| may_ask(peer.uid(), me))
}

/// True when the user `peer` may ask a supervisor of the user `me`.
fn may_ask(peer: u32, me: u32) -> bool {
    peer == me || peer == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_owner_and_root_may_ask() {
        assert!(may_ask(1000, 1000) && may_ask(0, 1000) && may_ask(0, 0));
        assert!(!may_ask(1001, 1000) && !may_ask(1000, 0) && !may_ask(65_534, 1000));
    }

    #[tokio::test]
    async fn a_socket_is_deserted_once_nobody_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own/x.sock");
        assert!(is_deserted(&path).await);
        let listener = listen(&path).unwrap();
        assert!(!is_deserted(&path).await);
        assert!(is_trusted(&UnixStream::connect(&path).await.unwrap()));
        drop(listener);
        assert!(path.exists() && is_deserted(&path).await);
    }
}
