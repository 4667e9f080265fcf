//! Reads the migration files and computes their fingerprint. If the fingerprint changes, the migrations must run again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::error::MigrateError;
use crate::os::blocking;
use crate::os::read::{self, Limit, ReadError};
use crate::plan::RunCommand;
use crate::text::hex;

/// The time limit for finding and reading all files.
const TIME: Duration = Duration::from_secs(30);
/// The limit for the total size in bytes: all files are kept in memory.
const TOTAL: usize = 256 << 20;

/// The migration files with a hash of each, keyed by the path relative to the migrations' folder.
pub type FileDigests = BTreeMap<PathBuf, String>;

/// Returns the files below `directory` that match `globs`. Blocks. Errors if a glob is invalid or a file cannot be read.
pub fn file_digests(directory: &Path, globs: &[String]) -> Result<FileDigests, MigrateError> {
    Ok(MigrationFiles::read(directory, globs)?.digests())
}

/// The matched files with their contents, keyed by the path relative to the migrations' folder.
#[derive(Debug, Default)]
pub(super) struct MigrationFiles {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl MigrationFiles {
    /// Calls [`MigrationFiles::read`] on another thread, with a time limit: a network mount may not answer.
    pub(super) async fn gather(directory: &Path, globs: &[String]) -> Result<MigrationFiles, MigrateError> {
        let (folder, globs) = (directory.to_path_buf(), globs.to_vec());
        let read = blocking::run(TIME, move || MigrationFiles::read(&folder, &globs)).await;
        read.unwrap_or_else(|stuck| Err(MigrateError::Read { path: directory.into(), source: stuck.into() }))
    }

    /// Reads the files below `directory` that match `globs`. Skips a file that vanishes during the call. Errors if a
    /// glob is invalid or a file cannot be read.
    pub(super) fn read(directory: &Path, globs: &[String]) -> Result<MigrationFiles, MigrateError> {
        let mut files = BTreeMap::new();
        let mut left = TOTAL;
        let root = glob::Pattern::escape(&directory.to_string_lossy());
        for pattern in globs {
            let paths = glob::glob(&format!("{root}/{pattern}")).map_err(|error| MigrateError::Inputs {
                pattern: pattern.clone(),
                reason: error.msg.to_string(),
            })?;
            for entry in paths {
                let (path, content) = match entry {
                    Ok(path) if path.is_dir() => continue,
                    Ok(path) => {
                        let limit = Limit { bytes: Limit::LARGE.bytes.min(left), ..Limit::LARGE };
                        (path.clone(), read::file(&path, limit))
                    }
                    Err(error) => (error.path().to_path_buf(), Err(ReadError::Io(error.into()))),
                };
                match content {
                    Ok(content) => {
                        left -= content.len();
                        let relative = path.strip_prefix(directory).unwrap_or(&path);
                        files.insert(relative.to_path_buf(), content);
                    }
                    Err(error) if error.is_missing() => {}
                    Err(source) => return Err(MigrateError::Read { path, source }),
                }
            }
        }
        Ok(MigrationFiles { files })
    }

    /// Returns all files, sorted by path.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.files.iter().map(|(path, content)| (path.as_path(), content.as_slice()))
    }

    /// Returns the sha256 of each file as hex.
    pub(super) fn digests(&self) -> FileDigests {
        self.files.iter().map(|(path, content)| (path.clone(), hex(Sha256::digest(content)))).collect()
    }

    /// Returns the sha256 of `command` and all files as hex. Each part is preceded by its length, so that different
    /// parts never give the same bytes.
    pub(super) fn fingerprint(&self, command: &RunCommand) -> String {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        match command {
            RunCommand::Shell(line) => {
                add(b"shell");
                add(line.as_bytes());
            }
            RunCommand::Argv(words) => {
                add(b"argv");
                add(&(words.len() as u64).to_be_bytes());
                for word in words {
                    add(word.as_bytes());
                }
            }
        }
        for (path, content) in &self.files {
            add(path.as_os_str().as_encoded_bytes());
            add(content);
        }
        hex(hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::Builder::new().prefix("in[put]s").tempdir().unwrap();
        for (path, content) in files {
            crate::os::fs::replace(&dir.path().join(path), content.as_bytes(), 0o644).unwrap();
        }
        dir
    }

    fn print(dir: &tempfile::TempDir, globs: &[&str]) -> String {
        let globs: Vec<String> = globs.iter().map(ToString::to_string).collect();
        MigrationFiles::read(dir.path(), &globs).unwrap().fingerprint(&RunCommand::Shell("m".into()))
    }

    #[test]
    fn the_folder_does_not_change_the_fingerprint() {
        let files = [("v/a.py", "1"), ("v/b.py", "2"), ("v/c.txt", "3")];
        let (one, two) = (folder(&files), folder(&files));
        assert_eq!(print(&one, &["v/*.py"]), print(&two, &["v/*.py"]));
        assert_eq!(print(&one, &["v/*.py", "v/a*"]), print(&two, &["v/*.py"]), "matched twice, counted once");
        assert_ne!(print(&one, &["v/*"]), print(&two, &["v/*.py"]));
        assert_ne!(
            print(&one, &["v/*.py"]),
            print(&folder(&[("v/a.py", "1"), ("v/z.py", "2")]), &["v/*.py"])
        );
    }

    #[test]
    fn folders_and_dangling_links_are_skipped_and_an_empty_match_is_allowed() {
        let dir = folder(&[("v/deep.py/x", "1")]);
        std::os::unix::fs::symlink("nowhere", dir.path().join("v/gone.py")).unwrap();
        assert_eq!(print(&dir, &["v/*.py", "none/**/*.sql"]), print(&dir, &[]));
    }

    #[test]
    fn a_pipe_or_a_device_is_an_error_and_does_not_block() {
        let dir = folder(&[("v/a.py", "1")]);
        nix::unistd::mkfifo(&dir.path().join("v/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("v/zero")).unwrap();
        for name in ["v/pipe", "v/zero"] {
            let error = MigrationFiles::read(dir.path(), &[name.into()]).unwrap_err();
            assert!(matches!(error, MigrateError::Read { path, .. } if path.ends_with(name)));
        }
    }

    #[test]
    fn an_invalid_glob_is_an_error() {
        let error = MigrationFiles::read(Path::new("/"), &["a***".into()]).unwrap_err();
        assert!(matches!(error, MigrateError::Inputs { pattern, .. } if pattern == "a***"));
    }

    proptest! {
        #[test]
        fn different_files_have_different_fingerprints(
            one in prop::collection::btree_map("[ab]{1,2}", "[ab]{0,2}", 0..3),
            two in prop::collection::btree_map("[ab]{1,2}", "[ab]{0,2}", 0..3),
        ) {
            let inputs = |map: &BTreeMap<String, String>| MigrationFiles {
                files: map.iter().map(|(k, v)| (k.into(), v.clone().into_bytes())).collect(),
            };
            let run = RunCommand::Argv(vec!["m".into()]);
            prop_assert_eq!(one == two, inputs(&one).fingerprint(&run) == inputs(&two).fingerprint(&run));
        }
    }
}
