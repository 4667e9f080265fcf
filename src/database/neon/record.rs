//! What this worktree remembers of its branch: the branch's id, and the URLs that go with it.
//!
//! Never trusted over the service: it only counts for the very branch the service has just named, and saves asking for URLs
//! that cannot have changed. Only its owner can read it, because the URLs hold a password.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::os::fs::{self, FsError};

const VERSION: u32 = 1;

/// One branch, with its URLs.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct Record {
    version: u32,
    /// Service, project, and which database is asked for as which role: another wish is another record.
    pub(super) wish: Vec<String>,
    pub(super) branch: String,
    pub(super) name: String,
    pub(super) url: String,
    pub(super) direct_url: String,
}

/// Not the URLs.
impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("branch", &self.branch)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Record {
    pub(super) fn new(wish: Vec<String>, branch: &str, name: &str, url: &str, direct_url: &str) -> Record {
        Record {
            version: VERSION,
            wish,
            branch: branch.into(),
            name: name.into(),
            url: url.into(),
            direct_url: direct_url.into(),
        }
    }

    /// What is remembered for `wish`. A file that cannot be understood counts as none: everything in it can be asked for.
    pub(super) fn load(state: &Path, wish: &[String]) -> Result<Option<Record>, FsError> {
        let Some(bytes) = fs::read(&place(state))? else { return Ok(None) };
        let record: Option<Record> = serde_json::from_slice(&bytes).ok();
        Ok(record.filter(|record| record.version == VERSION && record.wish == wish))
    }

    pub(super) fn save(&self, state: &Path) -> Result<(), FsError> {
        fs::replace(&place(state), &serde_json::to_vec(self).unwrap_or_default(), 0o600)
    }

    /// Forgets everything; the next run asks.
    pub(super) fn forget(state: &Path) {
        // What is not there is forgotten already.
        let _ = std::fs::remove_file(place(state));
    }
}

fn place(state: &Path) -> PathBuf {
    state.join("neon.json")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_private_and_counts_for_one_wish_only() {
        let dir = tempfile::tempdir().unwrap();
        let wish = vec!["project".to_string()];
        let record = Record::new(wish.clone(), "br-a", "dev-x", "postgresql://u:Xsecret5@h/d", "x");
        record.save(dir.path()).unwrap();
        assert_eq!(Record::load(dir.path(), &wish).unwrap(), Some(record.clone()));
        assert_eq!(Record::load(dir.path(), &["other".into()]).unwrap(), None);
        let mode = std::fs::metadata(place(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{record:?}").contains("Xsecret5"));
        fs::replace(&place(dir.path()), b"{", 0o600).unwrap();
        assert_eq!(Record::load(dir.path(), &wish).unwrap(), None);
        Record::forget(dir.path());
        assert_eq!(Record::load(dir.path(), &wish).unwrap(), None);
    }
}
