//! The unix socket of a worktree: its path and its access control.
//!
//! The socket lies in a folder that only this user can read, and the uid of each peer is taken from the kernel. Paths
//! stay below 104 bytes, the limit of macOS.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::context::{Dirs, in_tmp};
use crate::os::fs::{self, FsError};

/// The longest socket path that every system accepts, in bytes without the final zero.
const LONGEST: usize = 103;

/// Returns the path of the socket of the worktree with this tag. Uses `/tmp` if the usual path is too long.
pub fn path(dirs: &Dirs, tag: &str) -> PathBuf {
    let name = format!("{tag}.sock");
    let usual = dirs.runtime.join(&name);
    if usual.as_os_str().len() <= LONGEST {
        return usual;
    }
    in_tmp().join(name)
}

/// Listens at `path`, in place of any socket there. The caller must hold the worktree's lock, so that an old socket is
/// stale. Errors if the folder or the socket cannot be made.
pub fn listen(path: &Path) -> Result<UnixListener, FsError> {
    let failed = |source| FsError::Io { action: "listen at", path: path.into(), source };
    fs::make_own_dir(path.parent().unwrap_or(Path::new("/")))?;
    // The kernel refuses connections between bind(2) and listen(2), so the path leads to the socket only afterwards.
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let listener = UnixListener::bind(&new).map_err(failed)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)?;
    Ok(listener)
}

/// Returns true if no process listens at `path`. A process that hangs still listens.
pub async fn is_deserted(path: &Path) -> bool {
    let deserted = [ErrorKind::ConnectionRefused, ErrorKind::NotFound];
    UnixStream::connect(path).await.is_err_and(|error| deserted.contains(&error.kind()))
}

/// Returns true if the peer is this user or root.
pub fn is_trusted(stream: &UnixStream) -> bool {
    let me = nix::unistd::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| may_ask(peer.uid(), me))
}

/// Returns true if the user `peer` may use a supervisor of the user `me`.
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
    async fn socket_without_a_listener_is_deserted() {
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
