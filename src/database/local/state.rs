//! What is remembered of a cluster: whose it is, its port and passwords. And which cluster belongs to a repository.
//!
//! The id lies in the repository's shared folder, so it survives moves. A copy of the repository's folder carries the
//! same id; it is told apart by the path the cluster remembers, and gets an id of its own.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::cluster::APP;
use super::error::LocalError;
use crate::os::fs;

/// Raised to 2 when passwords stopped going over TCP: those of a state before may be known to others.
const VERSION: u32 = 2;
const ID_FILE: &str = "repo-id";

/// First of the ports clusters use, and how many: below what the kernel gives to clients.
const PORTS: (u16, u16) = (20_000, 12_000);

/// What is remembered of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    /// The repository's shared folder.
    pub(super) shared: String,
    /// TCP port on 127.0.0.1.
    pub(super) port: u16,
    /// Password of the superuser `devrun`.
    pub(super) admin_password: String,
    /// Password of the role `app`.
    pub(super) app_password: String,
}

impl State {
    /// For a cluster that does not exist yet.
    pub(super) fn new(id: &str, shared: &Path) -> Result<State, LocalError> {
        Ok(State {
            version: VERSION,
            shared: shared.to_string_lossy().into_owned(),
            port: port_of(id),
            admin_password: random_password()?,
            app_password: random_password()?,
        })
    }

    /// New passwords where the known ones may have been seen by others; `None` where they are good.
    pub(super) fn renewed(&self) -> Result<Option<State>, LocalError> {
        if self.version >= VERSION {
            return Ok(None);
        }
        let (admin_password, app_password) = (random_password()?, random_password()?);
        Ok(Some(State { version: VERSION, admin_password, app_password, ..self.clone() }))
    }

    /// What `path` holds; `None` when it is missing or makes no sense, which the caller heals.
    pub(super) fn load(path: &Path) -> Result<Option<State>, LocalError> {
        let Some(bytes) = fs::read(path)? else { return Ok(None) };
        Ok(serde_json::from_slice::<State>(&bytes).ok().filter(|state| {
            let password = |text: &str| text.len() == 32 && is_hex(text);
            state.port != 0 && password(&state.admin_password) && password(&state.app_password)
        }))
    }

    /// The application's URL of the database `name`.
    pub(super) fn url(&self, name: &str) -> String {
        format!("postgresql://{APP}:{}@127.0.0.1:{}/{}", self.app_password, self.port, path_segment(name))
    }

    /// Keeps it, for us alone.
    pub(super) fn save(&self, path: &Path) -> Result<(), LocalError> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| LocalError::io("write", path)(std::io::Error::other(error)))?;
        bytes.push(b'\n');
        Ok(fs::replace(path, &bytes, 0o600)?)
    }
}

/// The repository's id, if it has one; a damaged one is found again in the states of the clusters below `clusters`.
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

/// The id of the cluster that remembers `shared` as its repository.
fn remembered(shared: &Path, clusters: &Path) -> Option<String> {
    let shared = shared.canonicalize().unwrap_or_else(|_| shared.to_path_buf());
    let mut ids: Vec<String> =
        each(clusters).filter(|(_, state)| Path::new(&state.shared) == shared).map(|(id, _)| id).collect();
    // With two, it is not known whose the databases are.
    if ids.len() == 1 { ids.pop() } else { None }
}

/// Every cluster below `clusters` with a readable state: its id and the state.
pub(super) fn each(clusters: &Path) -> impl Iterator<Item = (String, State)> {
    std::fs::read_dir(clusters).into_iter().flatten().flatten().filter_map(|entry| {
        let id = parse_id(entry.file_name().to_str()?.as_bytes())?;
        let state = State::load(&entry.path().join("state.json")).ok()??;
        Some((id, state))
    })
}

/// True when no repository at the path that the cluster `id` remembers has that id.
pub(super) fn is_abandoned(id: &str, state: &State) -> bool {
    let shared = Path::new(&state.shared);
    match shared.join(ID_FILE).try_exists() {
        Ok(false) => true,
        Ok(true) => fs::read(&shared.join(ID_FILE))
            .ok()
            .flatten()
            .and_then(|bytes| parse_id(&bytes))
            .is_some_and(|there| there != id),
        // A folder that cannot be read may be there.
        Err(_) => false,
    }
}

/// The repository's id, made if there is none. Two devruns that make it at once agree on one.
/// A damaged one is found again, as in [`known_id`], and written anew.
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

/// Gives the repository another id. The caller holds the lock of the cluster of the old one.
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

/// Writes a new id, unless somebody was faster.
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

/// What root leaves in somebody's repository belongs to that somebody.
fn give_to_owner(path: &Path, shared: &Path) {
    let Ok(meta) = std::fs::metadata(shared) else { return };
    // Only root can, and only for root it matters.
    let _ = std::os::unix::fs::chown(path, Some(meta.uid()), Some(meta.gid()));
}

fn parse_id(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    (text.len() == 16 && is_hex(text)).then(|| text.to_string())
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn path_segment(name: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(name, KEPT).to_string()
}

/// What the path that a cluster remembers says about the repository that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kinship {
    /// It is the one.
    Same,
    /// It is the one, and was moved.
    Moved,
    /// It is a copy; the original is still there.
    Copy,
}

/// Compares `shared`, which holds `id`, with the path its cluster remembers.
pub(super) fn kinship(id: &str, shared: &Path, remembered: &str) -> Kinship {
    let original = Path::new(remembered);
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let there = fs::read(&original.join(ID_FILE)).ok().flatten().and_then(|bytes| parse_id(&bytes));
    decide(
        shared == original,
        identity(original).is_some() && identity(original) == identity(shared),
        there.as_deref() == Some(id),
    )
}

fn decide(same_path: bool, same_folder: bool, original_has_id: bool) -> Kinship {
    match (same_path, same_folder, original_has_id) {
        (true, ..) => Kinship::Same,
        (false, false, true) => Kinship::Copy,
        (false, ..) => Kinship::Moved,
    }
}

fn port_of(id: &str) -> u16 {
    let number = id.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0);
    PORTS.0 + u16::try_from(number % u32::from(PORTS.1)).unwrap_or(0)
}

/// How many ports in a row are tried.
pub(super) const PORT_TRIES: u16 = 200;

/// The first port from `from` on for which `is_free` holds, going round within the range.
pub(super) fn free_port(from: u16, is_free: &dyn Fn(u16) -> bool) -> Option<u16> {
    let offset = from.saturating_sub(PORTS.0) % PORTS.1;
    (0..PORT_TRIES).map(|step| PORTS.0 + (offset + step) % PORTS.1).find(|port| is_free(*port))
}

/// The port after `port`, going round.
pub(super) fn next_port(port: u16) -> u16 {
    PORTS.0 + (port.saturating_sub(PORTS.0) + 1) % PORTS.1
}

/// 64 random bits in hex.
pub(super) fn random_id() -> Result<String, LocalError> {
    let number = getrandom::u64().map_err(|error| {
        LocalError::io("read", Path::new("the source of randomness"))(std::io::Error::other(error))
    })?;
    Ok(format!("{number:016x}"))
}

/// 128 random bits in hex: needs no quoting anywhere.
fn random_password() -> Result<String, LocalError> {
    Ok(random_id()? + &random_id()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_once_and_kept() {
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
        State::new(&id, &shared).unwrap().save(&clusters.join(&id).join("state.json")).unwrap();
        let other = State::new("0123456789abcdef", Path::new("/elsewhere")).unwrap();
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
    fn a_cluster_is_abandoned_when_its_repository_is_gone_or_another() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("repo");
        let id = repository_id(&shared, dir.path()).unwrap();
        let state = State::new(&id, &shared).unwrap();
        assert!(!is_abandoned(&id, &state));
        renew_id(&shared).unwrap();
        assert!(is_abandoned(&id, &state));
        std::fs::remove_dir_all(&shared).unwrap();
        assert!(is_abandoned(&id, &state));
    }

    #[test]
    fn a_copy_is_told_from_a_move() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        let id = repository_id(&first, dir.path()).unwrap();
        let remembered = first.to_str().unwrap();
        assert_eq!(kinship(&id, &first, remembered), Kinship::Same);
        fs::replace(&second.join(ID_FILE), id.as_bytes(), 0o644).unwrap();
        assert_eq!(kinship(&id, &second, remembered), Kinship::Copy);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&first, &link).unwrap();
        assert_eq!(kinship(&id, &link, remembered), Kinship::Moved);
        std::fs::remove_dir_all(&first).unwrap();
        assert_eq!(kinship(&id, &second, remembered), Kinship::Moved);
    }

    #[test]
    fn ports_stay_in_their_range_and_go_round() {
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
        let state = State::new("0123456789abcdef", dir.path()).unwrap();
        assert_eq!(state.renewed().unwrap(), None);
        let old = State { version: 1, ..state };
        let new = old.renewed().unwrap().unwrap();
        assert_ne!(new.admin_password, old.admin_password);
        assert_ne!(new.app_password, old.app_password);
        assert_eq!((&new.shared, new.port), (&old.shared, old.port));
        assert_eq!(new.renewed().unwrap(), None);
    }

    #[test]
    fn a_state_comes_back_and_a_torn_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        assert_eq!(State::load(&path).unwrap(), None);
        let state = State::new("0123456789abcdef", dir.path()).unwrap();
        state.save(&path).unwrap();
        assert_eq!(State::load(&path).unwrap(), Some(state));
        fs::replace(&path, b"{\"version\":1", 0o600).unwrap();
        assert_eq!(State::load(&path).unwrap(), None);
    }
}
