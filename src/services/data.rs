//! Prepares the folder of a service's data: empties it, or begins with a copy of the main worktree's data.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::resp::{self, RespValue};
use crate::os::fs::{self, FsError};
use crate::os::read;
use crate::plan::ServiceData;

/// Name of the folder, in a worktree's state, with the data of its services.
const FOLDER: &str = "services";
/// Time limit for the main worktree's server to save its data.
const SAVING: Duration = Duration::from_mins(1);

/// The data of one service.
#[derive(Clone, Debug)]
pub struct DataFolder {
    /// The folder.
    pub path: PathBuf,
    /// How [`prepare`] treats the folder.
    pub data: ServiceData,
    /// The file to copy from the main worktree: its folder and its name. `None` in the main worktree.
    pub copied_from: Option<(PathBuf, &'static str)>,
}

/// Returns the folder of the data of the service `name`, in the state folder of a worktree.
pub fn folder(state: &Path, name: &str) -> PathBuf {
    state.join(FOLDER).join(name)
}

/// Prepares the folder, which only this user can enter. Returns true if it now begins with a copy. May block.
pub fn prepare(folder: &DataFolder) -> Result<bool, FsError> {
    let DataFolder { path, data, copied_from } = folder;
    if *data == ServiceData::Empty {
        remove(path)?;
    }
    fs::make_own_dir(path)?;
    match copied_from {
        Some((from, name)) if *data == ServiceData::Copy && !path.join(name).exists() => {
            copy(&from.join(name), &path.join(name))
        }
        _ => Ok(false),
    }
}

/// Makes the Redis server on `port` write its data to disk, if it keeps them in `folder`. Returns false if that server does
/// not confirm the write. Returns true if there is no such server.
pub async fn save(port: u16, folder: &Path) -> bool {
    let asked = resp::ask("127.0.0.1", port, &[vec!["CONFIG", "GET", "dir"]], Duration::from_secs(2)).await;
    let is_it = |answer: &RespValue| match answer {
        RespValue::List(items) => items.get(1).is_some_and(|dir| is_same(Path::new(dir), folder)),
        _ => false,
    };
    if !asked.is_ok_and(|answers| answers.first().is_some_and(is_it)) {
        return true;
    }
    let saved = resp::ask("127.0.0.1", port, &[vec!["SAVE"]], SAVING).await;
    saved.is_ok_and(|answers| answers == [RespValue::Text("OK".into())])
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn remove(path: &Path) -> Result<(), FsError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("empty", path, error)),
        _ => Ok(()),
    }
}

/// Copies a file. The copy has its name only once it is complete. Returns false if there is no file.
fn copy(from: &Path, to: &Path) -> Result<bool, FsError> {
    let mut source = match read::open(from) {
        Ok(source) => source,
        Err(error) if error.is_missing() => return Ok(false),
        Err(error) => return Err(failed("read", from, error.into())),
    };
    let folder = to.parent().unwrap_or(Path::new("."));
    let permissions = std::fs::Permissions::from_mode(0o600);
    let new = tempfile::Builder::new().prefix(".devrun-").permissions(permissions).tempfile_in(folder);
    let mut new = new.map_err(|error| failed("write", to, error))?;
    io::copy(&mut source, new.as_file_mut()).map_err(|error| failed("write", to, error))?;
    new.persist(to).map_err(|error| failed("write", to, error.error))?;
    Ok(true)
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> FsError {
    FsError::Io { action, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folders {
        dir: tempfile::TempDir,
    }

    impl Folders {
        fn new() -> Folders {
            Folders { dir: tempfile::tempdir().unwrap() }
        }

        fn folder(&self, data: ServiceData) -> DataFolder {
            let main = self.dir.path().join("main");
            DataFolder { path: self.dir.path().join("own"), data, copied_from: Some((main, "dump.rdb")) }
        }

        fn write(&self, path: &str, text: &str) {
            fs::replace(&self.dir.path().join(path), text.as_bytes(), 0o644).unwrap();
        }

        fn read(&self, path: &str) -> Option<String> {
            std::fs::read_to_string(self.dir.path().join(path)).ok()
        }
    }

    #[test]
    fn empty_data_is_deleted_and_kept_data_stays() {
        let folders = Folders::new();
        folders.write("own/dump.rdb", "old");
        assert!(!prepare(&folders.folder(ServiceData::Keep)).unwrap());
        assert_eq!(folders.read("own/dump.rdb").as_deref(), Some("old"));
        assert!(!prepare(&folders.folder(ServiceData::Empty)).unwrap());
        assert_eq!(folders.read("own/dump.rdb"), None);
        let mode = std::fs::metadata(folders.dir.path().join("own")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn copy_is_made_once_and_only_from_an_existing_file() {
        let folders = Folders::new();
        assert!(!prepare(&folders.folder(ServiceData::Copy)).unwrap());
        folders.write("main/dump.rdb", "data");
        assert!(prepare(&folders.folder(ServiceData::Copy)).unwrap());
        assert_eq!(folders.read("own/dump.rdb").as_deref(), Some("data"));
        folders.write("main/dump.rdb", "newer");
        assert!(!prepare(&folders.folder(ServiceData::Copy)).unwrap());
        assert_eq!(folders.read("own/dump.rdb").as_deref(), Some("data"));
        let names = std::fs::read_dir(folders.dir.path().join("own")).unwrap().count();
        assert_eq!(names, 1, "no temporary file is left");
    }

    #[test]
    fn link_in_the_place_of_the_folder_is_removed_and_its_target_stays() {
        let folders = Folders::new();
        folders.write("target/file", "x");
        std::os::unix::fs::symlink(folders.dir.path().join("target"), folders.dir.path().join("own"))
            .unwrap();
        prepare(&folders.folder(ServiceData::Empty)).unwrap();
        assert_eq!(folders.read("target/file").as_deref(), Some("x"));
        assert!(!folders.dir.path().join("own").is_symlink());
    }
}
