//! Makes and keeps the random texts for `${secret.NAME}`. They are stored beside the repository's git data, once for
//! all of its worktrees.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use crate::config::Config;
use crate::error::{Code, Explain};
use crate::os::fs::{self, FsError, Lock, LockKind};
use crate::text::{hex, quoted};

/// Name of the file, in devrun's folder for the repository.
const FILE: &str = "secrets.json";
/// Maximum time to wait for the lock; another devrun writes the file in milliseconds.
const WAIT: Duration = Duration::from_secs(10);
/// Number of random bytes, written as twice as many hexadecimal digits.
const BYTES: usize = 32;

/// A secret could not be read or stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FsError),
    /// The file has other content.
    #[error("{path} is not a valid file of devrun's secrets: {source}")]
    Unreadable {
        /// Path of the file.
        path: String,
        /// The parser's message, without the file's text.
        source: serde_json::Error,
    },
    /// The system returned no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

impl Explain for SecretError {
    fn code(&self) -> Code {
        match self {
            SecretError::File(error) => error.code(),
            SecretError::Unreadable { .. } | SecretError::Random(_) => Code::State,
        }
    }

    fn fix(&self) -> Option<String> {
        match self {
            SecretError::File(error) => error.fix(),
            SecretError::Unreadable { path, .. } => Some(format!(
                "move {} away; the next run makes new secrets, so sessions signed with the old ones end",
                quoted(path)
            )),
            SecretError::Random(_) => None,
        }
    }
}

/// Returns the names of the secrets in the templates of `config`.
pub(super) fn named(config: &Config) -> BTreeSet<String> {
    let names = config.variables().flat_map(|(_, template)| template.names());
    names.filter_map(|name| name.strip_prefix("secret.").map(Into::into)).collect()
}

/// Returns the values of `names` from the file in `folder`, and adds the missing ones to it. The first read needs no
/// lock, because the file is replaced as a whole and a secret in it never changes.
pub(super) fn ensure(
    folder: &Path,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, String>, SecretError> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let path = folder.join(FILE);
    let has_all = |known: &BTreeMap<String, String>| names.iter().all(|name| known.contains_key(name));
    let mut known = read(&path)?;
    if !has_all(&known) {
        fs::make_private_dir(folder)?;
        let _lock = Lock::take_blocking(&folder.join("secrets.lock"), LockKind::Exclusive, WAIT)?;
        known = read(&path)?;
        for name in names {
            if !known.contains_key(name) {
                known.insert(name.clone(), random()?);
            }
        }
        let text = serde_json::json!(known).to_string();
        fs::replace(&path, text.as_bytes(), 0o600)?;
    }
    known.retain(|name, _| names.contains(name));
    Ok(known)
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, SecretError> {
    match fs::read(path)? {
        None => Ok(BTreeMap::new()),
        Some(bytes) => serde_json::from_slice(&bytes)
            .map_err(|source| SecretError::Unreadable { path: path.display().to_string(), source }),
    }
}

fn random() -> Result<String, SecretError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(SecretError::Random)?;
    Ok(hex(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
        names.map(String::from).into()
    }

    #[test]
    fn a_secret_is_made_once_and_kept_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("devrun");
        let first = ensure(&folder, &names(["A"])).unwrap();
        let second = ensure(&folder, &names(["A", "B"])).unwrap();
        assert_eq!(first["A"], second["A"]);
        assert_ne!(second["A"], second["B"]);
        assert!(second["B"].len() == 64 && second["B"].bytes().all(|byte| byte.is_ascii_hexdigit()));
        let mode = std::fs::metadata(folder.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn nothing_is_written_where_no_secret_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("devrun");
        assert!(ensure(&folder, &names([])).unwrap().is_empty());
        assert!(!folder.exists());
    }

    #[test]
    fn many_devruns_at_once_agree() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("devrun");
        let all: BTreeSet<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| ensure(&folder, &names(["A"])).unwrap()["A"].clone()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn a_file_of_something_else_is_left_alone_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        crate::os::fs::replace(&dir.path().join(FILE), b"s3cret", 0o600).unwrap();
        let error = ensure(dir.path(), &names(["A"])).unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
        assert!(error.fix().unwrap().contains("move "));
        assert_eq!(std::fs::read(dir.path().join(FILE)).unwrap(), b"s3cret");
    }
}
