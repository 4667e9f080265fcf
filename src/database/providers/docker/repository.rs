//! The id of a repository, which is in the names and labels of its containers, and the folder with its records.
//!
//! The id is in the repository's shared folder, so it survives moves. A copy of the repository gets another id, because two
//! repositories must not share containers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::database::providers::records::Records;
use crate::os::fs::{self, FsError, Lock, LockKind};

const FILE: &str = "docker.json";
const LOCK: &str = "docker.lock";
const WAIT: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
struct RepositoryFile {
    id: String,
    /// The shared folder that the id was made for.
    shared: PathBuf,
}

/// A repository with containers.
pub(super) struct ContainerRepository {
    pub(super) id: String,
    /// The records of its databases, with their passwords. Outside the repository.
    pub(super) records: Records,
}

impl ContainerRepository {
    /// Returns the repository with the shared folder `shared`, if it has had containers. `data` is devrun's folder for large data.
    pub(super) fn known(shared: &Path, data: &Path) -> Result<Option<ContainerRepository>, FsError> {
        let Some(file) = load(shared)? else { return Ok(None) };
        let is_copy = file.shared != physical(shared)
            && load(&file.shared).ok().flatten().is_some_and(|other| other.id == file.id);
        Ok((!is_copy).then(|| ContainerRepository::with(file.id, data)))
    }

    /// Returns the repository, and gives it an id if it has none.
    pub(super) async fn ensure(shared: &Path, data: &Path) -> Result<ContainerRepository, FsError> {
        let _lock = Lock::take(&shared.join(LOCK), LockKind::Exclusive, WAIT).await?;
        let id = match ContainerRepository::known(shared, data)? {
            Some(known) => known.id,
            None => format!("{:012x}", random()? & 0xffff_ffff_ffff),
        };
        let file = RepositoryFile { id: id.clone(), shared: physical(shared) };
        let path = shared.join(FILE);
        let bytes = serde_json::to_vec(&file).unwrap_or_default();
        if fs::read(&path)?.as_deref() != Some(&bytes) {
            fs::replace(&path, &bytes, 0o600)?;
        }
        Ok(ContainerRepository::with(id, data))
    }

    fn with(id: String, data: &Path) -> ContainerRepository {
        let records = Records::in_folder(data.join("docker").join(&id));
        ContainerRepository { id, records }
    }

    /// Returns the name of the container, and of its volume, of the database that was made as `given`.
    pub(super) fn container(&self, given: &str) -> String {
        format!("devrun-{}-{given}", self.id)
    }
}

/// Returns 64 random bits.
pub(super) fn random() -> Result<u64, FsError> {
    getrandom::u64().map_err(|error| FsError::Io {
        action: "read",
        path: "/dev/urandom".into(),
        source: std::io::Error::other(error.to_string()),
    })
}

fn load(shared: &Path) -> Result<Option<RepositoryFile>, FsError> {
    let Some(bytes) = fs::read(&shared.join(FILE))? else { return Ok(None) };
    let is_id = |id: &str| id.len() == 12 && id.chars().all(|c| c.is_ascii_hexdigit());
    Ok(serde_json::from_slice(&bytes).ok().filter(|file: &RepositoryFile| is_id(&file.id)))
}

fn physical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_moved_repository_keeps_its_id_and_a_copy_gets_another() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two, moved] = ["one", "two", "moved"].map(|name| folder.path().join(name));
        for path in [&one, &two] {
            std::fs::create_dir(path).unwrap();
        }
        let first = ContainerRepository::ensure(&one, folder.path()).await.unwrap().id;
        std::fs::copy(one.join(FILE), two.join(FILE)).unwrap();
        assert!(
            ContainerRepository::known(&two, folder.path()).unwrap().is_none(),
            "a copy shares containers"
        );
        let copy = ContainerRepository::ensure(&two, folder.path()).await.unwrap().id;
        std::fs::rename(&one, &moved).unwrap();
        assert_eq!(ContainerRepository::ensure(&moved, folder.path()).await.unwrap().id, first);
        assert_ne!(copy, first);
        assert_eq!(ContainerRepository::known(&two, folder.path()).unwrap().unwrap().id, copy);
    }
}
