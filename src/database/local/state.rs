//! Stores what devrun remembers of a cluster: its repository, port and passwords. Also finds the cluster of a
//! repository.
//!
//! The id is stored in the repository's shared folder, so it survives moves. A copy of that folder has the same id;
//! devrun recognises it by the path that the cluster remembers, and gives it a new id.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::LocalError;
use crate::os::fs;
use crate::text::url_encoded;

/// The role of applications. It owns the branch databases.
pub(super) const APP: &str = "app";

/// Raised to 2 when passwords were no longer sent over TCP: other processes may know the passwords of older states.
const VERSION: u32 = 2;
const ID_FILE: &str = "repo-id";

/// The first port for clusters, and the number of ports. They are below the range that the kernel gives to clients.
const PORTS: (u16, u16) = (20_000, 12_000);

/// The facts that devrun remembers of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClusterState {
    version: u32,
    pub(super) shared: String,
    /// TCP port on 127.0.0.1.
    pub(super) port: u16,
    /// Password of the superuser `devrun`.
    pub(super) admin_password: String,
    /// Password of the role `app`.
    pub(super) app_password: String,
}

impl ClusterState {
    /// Returns the state of a new cluster, with random passwords.
    pub(super) fn new(id: &str, shared: &Path) -> Result<ClusterState, LocalError> {
        Ok(ClusterState {
            version: VERSION,
            shared: shared.to_string_lossy().into_owned(),
            port: port_of(id),
            admin_password: random_password()?,
            app_password: random_password()?,
        })
    }

    /// Returns a state with new passwords if the known ones may have been seen by others, or `None` if they are safe.
    pub(super) fn renewed(&self) -> Result<Option<ClusterState>, LocalError> {
        if self.version >= VERSION {
            return Ok(None);
        }
        let (admin_password, app_password) = (random_password()?, random_password()?);
        Ok(Some(ClusterState { version: VERSION, admin_password, app_password, ..self.clone() }))
    }

    /// Reads the state in `path`. Returns `None` if it is missing or invalid.
    pub(super) fn load(path: &Path) -> Result<Option<ClusterState>, LocalError> {
        let Some(bytes) = fs::read(path)? else { return Ok(None) };
        Ok(serde_json::from_slice::<ClusterState>(&bytes).ok().filter(|state| {
            let password = |text: &str| text.len() == 32 && is_hex(text);
            state.port != 0 && password(&state.admin_password) && password(&state.app_password)
        }))
    }

    /// Returns the application's URL of the database `name`.
    pub(super) fn url(&self, name: &str) -> String {
        format!("postgresql://{APP}:{}@127.0.0.1:{}/{}", self.app_password, self.port, url_encoded(name))
    }

    /// Writes the state to `path`, readable by us alone.
    pub(super) fn save(&self, path: &Path) -> Result<(), LocalError> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| LocalError::io("write", path)(std::io::Error::other(error)))?;
        bytes.push(b'\n');
        Ok(fs::replace(path, &bytes, 0o600)?)
    }
}

/// Returns the repository's id, if it has one. A damaged id is looked up in the states of the clusters below
/// `clusters`.
pub(super) fn known_id(shared: &Path, clusters: &Path) -> Result<Option<String>, LocalError> {
    let path = shared.join(ID_FILE);
    let Some(bytes) = fs::read(&path)? else { return Ok(None) };
    match parse_id(&bytes) {
        Some(id) => Ok(Some(id)),
        None => remembered(shared, clusters)
            .map(Some)
            .ok_or(LocalError::Identity { path, clusters: clusters.into() }),
    }
}

/// Returns the id of the cluster that remembers `shared` as its repository.
fn remembered(shared: &Path, clusters: &Path) -> Option<String> {
    let shared = shared.canonicalize().unwrap_or_else(|_| shared.to_path_buf());
    let mut ids: Vec<String> =
        each(clusters).filter(|(_, state)| Path::new(&state.shared) == shared).map(|(id, _)| id).collect();
    // With two clusters, it is unknown which has the repository's databases.
    if ids.len() == 1 { ids.pop() } else { None }
}

/// Returns every cluster below `clusters` that has a readable state, as id and state.
fn each(clusters: &Path) -> impl Iterator<Item = (String, ClusterState)> {
    ids(clusters).filter_map(|id| of(&clusters.join(&id)).map(|state| (id, state)))
}

/// Returns the ids of the clusters below `clusters`.
pub(super) fn ids(clusters: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(clusters).into_iter().flatten().flatten();
    entries.filter_map(|entry| parse_id(entry.file_name().to_str()?.as_bytes()))
}

/// Returns the state of the cluster in `folder`, if it can be read.
pub(super) fn of(folder: &Path) -> Option<ClusterState> {
    ClusterState::load(&folder.join("state.json")).ok()?
}

/// Returns true if the repository that the cluster `id` remembers no longer exists there or has another id.
pub(super) fn is_abandoned(id: &str, state: &ClusterState) -> bool {
    let shared = Path::new(&state.shared);
    match shared.join(ID_FILE).try_exists() {
        Ok(false) => true,
        Ok(true) => fs::read(&shared.join(ID_FILE))
            .ok()
            .flatten()
            .and_then(|bytes| parse_id(&bytes))
            .is_some_and(|there| there != id),
        // A folder that cannot be read may still exist.
        Err(_) => false,
    }
}

/// Returns the repository's id. `None` if it has none or a damaged one.
pub(super) fn read_id(shared: &Path) -> Option<String> {
    parse_id(&fs::read(&shared.join(ID_FILE)).ok()??)
}

/// Returns the repository's id and creates it if there is none. Two devruns that create it at once agree on one id. A
/// damaged id is looked up as in [`known_id`] and written again.
pub(super) fn repository_id(shared: &Path, clusters: &Path) -> Result<String, LocalError> {
    let path = shared.join(ID_FILE);
    for _ in 0..3 {
        match fs::read(&path)? {
            Some(bytes) => {
                if let Some(id) = parse_id(&bytes) {
                    return Ok(id);
                }
                let id = remembered(shared, clusters)
                    .ok_or_else(|| LocalError::Identity { path: path.clone(), clusters: clusters.into() })?;
                write_id(shared, &id)?;
                return Ok(id);
            }
            None => publish_first(shared, &path)?,
        }
    }
    Err(LocalError::io("read", &path)(std::io::ErrorKind::NotFound.into()))
}

/// Gives the repository a new id. The caller holds the lock of the old id's cluster.
pub(super) fn renew_id(shared: &Path) -> Result<String, LocalError> {
    let id = random_id()?;
    write_id(shared, &id)?;
    Ok(id)
}

fn write_id(shared: &Path, id: &str) -> Result<(), LocalError> {
    let path = shared.join(ID_FILE);
    fs::replace(&path, format!("{id}\n").as_bytes(), 0o644)?;
    give_to_owner(&path, shared);
    Ok(())
}

/// Writes a new id, unless another devrun has written one first.
fn publish_first(shared: &Path, path: &Path) -> Result<(), LocalError> {
    fs::make_private_dir(shared)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let mut file = tempfile::Builder::new()
        .prefix(".devrun-")
        .permissions(mode)
        .tempfile_in(shared)
        .map_err(LocalError::io("write", path))?;
    writeln!(file, "{}", random_id()?).map_err(LocalError::io("write", path))?;
    match file.persist_noclobber(path) {
        Ok(_) => give_to_owner(path, shared),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(LocalError::io("write", path)(error.error)),
    }
    Ok(())
}

/// Changes the owner of a file that root creates in a user's repository to that user.
fn give_to_owner(path: &Path, shared: &Path) {
    let Ok(meta) = std::fs::metadata(shared) else { return };
    // Only root can change the owner, and only files of root need it.
    let _ = std::os::unix::fs::chown(path, Some(meta.uid()), Some(meta.gid()));
}

fn parse_id(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    (text.len() == 16 && is_hex(text)).then(|| text.to_string())
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The relation between the repository and the path that its cluster remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RepositoryMatch {
    /// It is the remembered repository.
    Same,
    /// It is the remembered repository, which was moved.
    Moved,
    /// It is a copy. The original still exists.
    Copy,
}

/// Compares `shared`, which contains `id`, with the path that its cluster remembers.
pub(super) fn kinship(id: &str, shared: &Path, remembered: &str) -> RepositoryMatch {
    let original = Path::new(remembered);
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let there = fs::read(&original.join(ID_FILE)).ok().flatten().and_then(|bytes| parse_id(&bytes));
    decide(
        shared == original,
        identity(original).is_some() && identity(original) == identity(shared),
        there.as_deref() == Some(id),
    )
}

fn decide(same_path: bool, same_folder: bool, original_has_id: bool) -> RepositoryMatch {
    match (same_path, same_folder, original_has_id) {
        (true, ..) => RepositoryMatch::Same,
        (false, false, true) => RepositoryMatch::Copy,
        (false, ..) => RepositoryMatch::Moved,
    }
}

/// Returns the port that the hexadecimal digits of `id` choose from the range.
pub(in crate::database) fn port_of(id: &str) -> u16 {
    let number = id.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0);
    PORTS.0 + u16::try_from(number % u32::from(PORTS.1)).unwrap_or(0)
}

/// The number of consecutive ports that are tried.
pub(super) const PORT_TRIES: u16 = 200;

/// Returns the first of [`PORT_TRIES`] ports from `from` on for which `is_free` returns true. Wraps around at the end of the range.
pub(in crate::database) fn free_port(from: u16, is_free: &dyn Fn(u16) -> bool) -> Option<u16> {
    let offset = from.saturating_sub(PORTS.0) % PORTS.1;
    (0..PORT_TRIES).map(|step| PORTS.0 + (offset + step) % PORTS.1).find(|port| is_free(*port))
}

/// Returns the port after `port`. Wraps around at the end of the range.
pub(in crate::database) fn next_port(port: u16) -> u16 {
    PORTS.0 + (port.saturating_sub(PORTS.0) + 1) % PORTS.1
}

/// Returns 64 random bits in hex.
pub(super) fn random_id() -> Result<String, LocalError> {
    let number = getrandom::u64().map_err(|error| {
        LocalError::io("read", Path::new("the source of randomness"))(std::io::Error::other(error))
    })?;
    Ok(format!("{number:016x}"))
}

/// Returns 128 random bits in hex, which need no quoting anywhere.
fn random_password() -> Result<String, LocalError> {
    Ok(random_id()? + &random_id()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_created_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let clusters = dir.path().join("pg");
        let id = repository_id(dir.path(), &clusters).unwrap();
        assert_eq!(id.len(), 16);
        assert_eq!(repository_id(dir.path(), &clusters).unwrap(), id);
        assert_ne!(renew_id(dir.path()).unwrap(), id);
    }

    #[test]
    fn a_damaged_id_is_found_in_the_cluster_that_remembers_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().canonicalize().unwrap();
        let clusters = shared.join("pg");
        let id = repository_id(&shared, &clusters).unwrap();
        ClusterState::new(&id, &shared).unwrap().save(&clusters.join(&id).join("state.json")).unwrap();
        let other = ClusterState::new("0123456789abcdef", Path::new("/elsewhere")).unwrap();
        other.save(&clusters.join("0123456789abcdef/state.json")).unwrap();
        fs::replace(&shared.join(ID_FILE), &id.as_bytes()[..8], 0o644).unwrap();
        assert_eq!(known_id(&shared, &clusters).unwrap().as_ref(), Some(&id));
        assert_eq!(repository_id(&shared, &clusters).unwrap(), id);
        assert_eq!(fs::read(&shared.join(ID_FILE)).unwrap().unwrap(), format!("{id}\n").as_bytes());
    }

    #[test]
    fn a_damaged_id_that_no_cluster_remembers_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::replace(&dir.path().join(ID_FILE), b"../../etc", 0o644).unwrap();
        let clusters = dir.path().join("pg");
        assert!(matches!(repository_id(dir.path(), &clusters), Err(LocalError::Identity { .. })));
        assert!(matches!(known_id(dir.path(), &clusters), Err(LocalError::Identity { .. })));
    }

    #[test]
    fn a_cluster_is_abandoned_if_its_repository_is_gone_or_has_another_id() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("repo");
        let id = repository_id(&shared, dir.path()).unwrap();
        let state = ClusterState::new(&id, &shared).unwrap();
        assert!(!is_abandoned(&id, &state));
        renew_id(&shared).unwrap();
        assert!(is_abandoned(&id, &state));
        std::fs::remove_dir_all(&shared).unwrap();
        assert!(is_abandoned(&id, &state));
    }

    #[test]
    fn a_copied_and_a_moved_repository_are_distinguished() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        let id = repository_id(&first, dir.path()).unwrap();
        let remembered = first.to_str().unwrap();
        assert_eq!(kinship(&id, &first, remembered), RepositoryMatch::Same);
        fs::replace(&second.join(ID_FILE), id.as_bytes(), 0o644).unwrap();
        assert_eq!(kinship(&id, &second, remembered), RepositoryMatch::Copy);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&first, &link).unwrap();
        assert_eq!(kinship(&id, &link, remembered), RepositoryMatch::Moved);
        std::fs::remove_dir_all(&first).unwrap();
        assert_eq!(kinship(&id, &second, remembered), RepositoryMatch::Moved);
    }

    #[test]
    fn ports_stay_in_their_range_and_wrap_around() {
        for id in ["0000000000000000", "ffffffffffffffff", "00002edf00000000"] {
            assert!((20_000..32_000).contains(&port_of(id)));
        }
        assert_eq!(free_port(31_999, &|port| port != 31_999), Some(20_000));
        assert_eq!(free_port(20_005, &|_| false), None);
        assert_eq!(next_port(31_999), 20_000);
    }

    #[test]
    fn passwords_of_an_older_state_are_renewed_once() {
        let dir = tempfile::tempdir().unwrap();
        let state = ClusterState::new("0123456789abcdef", dir.path()).unwrap();
        assert_eq!(state.renewed().unwrap(), None);
        let old = ClusterState { version: 1, ..state };
        let new = old.renewed().unwrap().unwrap();
        assert_ne!(new.admin_password, old.admin_password);
        assert_ne!(new.app_password, old.app_password);
        assert_eq!((&new.shared, new.port), (&old.shared, old.port));
        assert_eq!(new.renewed().unwrap(), None);
    }

    #[test]
    fn a_state_is_read_back_and_a_torn_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        assert_eq!(ClusterState::load(&path).unwrap(), None);
        let state = ClusterState::new("0123456789abcdef", dir.path()).unwrap();
        state.save(&path).unwrap();
        assert_eq!(ClusterState::load(&path).unwrap(), Some(state));
        fs::replace(&path, b"{\"version\":1", 0o600).unwrap();
        assert_eq!(ClusterState::load(&path).unwrap(), None);
    }
}
