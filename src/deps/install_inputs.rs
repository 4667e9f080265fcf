//! Records what an install was made from: contents of files, identity of tools, settings. Starts no process.
//!
//! The contents decide. Size, modification time and inode only avoid hashing a file again that has not changed. Of a file above
//! 64 MiB, size and modification time decide.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::os::read::{self, Limit, ReadError};
use crate::text::hex;

/// The coarsest clock of a file system. If a file was modified less than this before a snapshot, a later change may
/// leave the modification time as it is, so the next snapshot reads the contents.
const TICK: Duration = Duration::from_secs(2);

/// The inputs of an install.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallInputs {
    /// The folder that contains the files.
    pub root: PathBuf,
    /// Paths of files below `root`. A file that does not exist is recorded as missing.
    pub files: BTreeSet<PathBuf>,
    /// Executables, identified by resolved path, size and modification time.
    pub tools: Vec<PathBuf>,
    /// Choices that change the result: manager, arguments.
    pub settings: Vec<String>,
}

/// The recorded state of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fact {
    size: u64,
    /// Nanoseconds since 1970.
    modified: i64,
    inode: u64,
    sha256: String,
}

/// The state of [`InstallInputs`] at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The time of the snapshot, in nanoseconds since 1970.
    taken: i64,
    files: BTreeMap<String, Option<Fact>>,
    identity: String,
}

impl Snapshot {
    /// Records the state of `inputs`. Does not read files whose size, time and inode equal those in `known`. Returns
    /// the number of files read too.
    pub fn take(inputs: &InstallInputs, known: Option<&Snapshot>) -> (Snapshot, usize) {
        let taken = nanoseconds(SystemTime::now());
        let mut read = 0;
        let files = inputs.files.iter().map(|file| {
            let name = file.to_string_lossy().into_owned();
            let old = known.and_then(|known| Some((known.taken, known.files.get(&name)?.as_ref()?)));
            let fact = fact(&inputs.root.join(file), old, &mut read);
            (name, fact)
        });
        let files = files.collect();
        (Snapshot { taken, files, identity: identity(inputs) }, read)
    }

    /// Returns a hash of the settings, the tools, and the names and contents of the files.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        field(&mut hash, self.identity.as_bytes());
        for (name, fact) in &self.files {
            field(&mut hash, name.as_bytes());
            field(&mut hash, fact.as_ref().map_or("missing", |fact| fact.sha256.as_str()).as_bytes());
        }
        hex(hash.finalize())
    }

    /// Returns this snapshot with the files of `later` that did not exist before: the install has written them.
    #[must_use]
    pub fn with_new_files(mut self, later: &Snapshot) -> Snapshot {
        for (name, fact) in &mut self.files {
            if fact.is_none() {
                *fact = later.files.get(name).cloned().flatten();
            }
        }
        self
    }
}

fn fact(path: &Path, old: Option<(i64, &Fact)>, count: &mut usize) -> Option<Fact> {
    let meta = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let modified = meta.modified().map_or(0, nanoseconds);
    let (size, inode) = (meta.len(), meta.ino());
    if let Some((taken, fact)) = old {
        let settled =
            i64::try_from(TICK.as_nanos()).is_ok_and(|tick| fact.modified.saturating_add(tick) < taken);
        if settled && (fact.size, fact.modified, fact.inode) == (size, modified, inode) {
            return Some(fact.clone());
        }
    }
    *count += 1;
    let sha256 = match read::file(path, Limit::LARGE) {
        Ok(bytes) => hex(Sha256::digest(bytes)),
        // Reading it at every start would take too long.
        Err(ReadError::TooLarge(_)) => format!("{size} bytes of {modified}"),
        Err(_) => return None,
    };
    Some(Fact { size, modified, inode, sha256 })
}

fn identity(inputs: &InstallInputs) -> String {
    let mut hash = Sha256::new();
    for setting in &inputs.settings {
        field(&mut hash, setting.as_bytes());
    }
    for tool in &inputs.tools {
        let real = std::fs::canonicalize(tool).unwrap_or_else(|_| tool.clone());
        field(&mut hash, real.as_os_str().as_bytes());
        if let Ok(meta) = std::fs::metadata(&real) {
            field(&mut hash, &meta.len().to_le_bytes());
            field(&mut hash, &meta.modified().map_or(0, nanoseconds).to_le_bytes());
        }
    }
    hex(hash.finalize())
}

/// Hashes the length first, so that two fields never look like one.
fn field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

fn nanoseconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::os::fs::replace;

    fn inputs(root: &Path, files: &[&str]) -> InstallInputs {
        InstallInputs {
            root: root.into(),
            files: files.iter().map(PathBuf::from).collect(),
            ..InstallInputs::default()
        }
    }

    fn age(path: &Path) {
        let old = SystemTime::now() - Duration::from_mins(1);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    }

    #[test]
    fn unchanged_files_are_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        replace(&dir.path().join("a"), b"1", 0o600).unwrap();
        age(&dir.path().join("a"));
        let inputs = inputs(dir.path(), &["a", "missing"]);
        let (first, read) = Snapshot::take(&inputs, None);
        assert_eq!(read, 1);
        let (second, read) = Snapshot::take(&inputs, Some(&first));
        assert_eq!((read, second.digest()), (0, first.digest()));
    }

    #[test]
    fn a_touched_file_counts_as_equal_and_a_changed_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        replace(&file, b"1", 0o600).unwrap();
        age(&file);
        let inputs = inputs(dir.path(), &["a"]);
        let (first, _) = Snapshot::take(&inputs, None);
        replace(&file, b"1", 0o600).unwrap();
        let (touched, read) = Snapshot::take(&inputs, Some(&first));
        assert_eq!((read, touched.digest()), (1, first.digest()));
        replace(&file, b"2", 0o600).unwrap();
        assert_ne!(Snapshot::take(&inputs, Some(&first)).0.digest(), first.digest());
        std::fs::remove_file(&file).unwrap();
        assert_ne!(Snapshot::take(&inputs, Some(&first)).0.digest(), first.digest());
    }

    #[test]
    fn a_file_changed_within_the_clocks_tick_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        replace(&file, b"1", 0o600).unwrap();
        let inputs = inputs(dir.path(), &["a"]);
        let (first, _) = Snapshot::take(&inputs, None);
        assert_eq!(Snapshot::take(&inputs, Some(&first)).1, 1);
    }

    #[test]
    fn a_large_file_is_known_by_size_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        let file = std::fs::File::create(&path).unwrap();
        let inputs = inputs(dir.path(), &["large"]);
        let digest = |size: u64, time: u64| {
            file.set_len(size).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(time)).unwrap();
            Snapshot::take(&inputs, None).0.digest()
        };
        let size = Limit::LARGE.bytes as u64 + 1;
        let first = digest(size, 1);
        assert_eq!(first, digest(size, 1));
        assert_ne!(first, digest(size, 2));
        assert_ne!(first, digest(size + 1, 1));
        std::fs::remove_file(&path).unwrap();
        assert_ne!(first, Snapshot::take(&inputs, None).0.digest());
    }

    #[test]
    fn another_tool_or_setting_changes_the_digest() {
        let dir = tempfile::tempdir().unwrap();
        let tool = dir.path().join("node");
        replace(&tool, b"1", 0o700).unwrap();
        let with = |tools: &[&Path], settings: &[&str]| {
            let inputs = InstallInputs {
                tools: tools.iter().map(PathBuf::from).collect(),
                settings: settings.iter().map(ToString::to_string).collect(),
                ..inputs(dir.path(), &[])
            };
            Snapshot::take(&inputs, None).0.digest()
        };
        let before = with(&[&tool], &["npm"]);
        assert_eq!(before, with(&[&tool], &["npm"]));
        assert_ne!(before, with(&[&tool], &["pnpm"]));
        assert_ne!(before, with(&[], &["npm"]));
        replace(&tool, b"22", 0o700).unwrap();
        assert_ne!(before, with(&[&tool], &["npm"]));
    }

    #[test]
    fn files_that_the_install_wrote_count_as_inputs() {
        let dir = tempfile::tempdir().unwrap();
        let inputs = inputs(dir.path(), &["lock", "package.json"]);
        let (before, _) = Snapshot::take(&inputs, None);
        replace(&dir.path().join("lock"), b"1", 0o600).unwrap();
        let (after, _) = Snapshot::take(&inputs, None);
        assert_eq!(before.with_new_files(&after).digest(), after.digest());
    }

    proptest! {
        #[test]
        fn contents_and_names_never_run_into_each_other(
            a in "[a-z]{1,3}", b in "[a-z]{1,3}", x in "[a-z]{0,3}", y in "[a-z]{0,3}"
        ) {
            let digest = |name: &str, text: &str| {
                let dir = tempfile::tempdir().unwrap();
                replace(&dir.path().join(name), text.as_bytes(), 0o600).unwrap();
                Snapshot::take(&inputs(dir.path(), &[name]), None).0.digest()
            };
            prop_assert_eq!((&a, &x) == (&b, &y), digest(&a, &x) == digest(&b, &y));
        }
    }
}
