//! Stores the id and the URLs of this worktree's branch.
//!
//! The service has precedence: the record is used only for the branch that the service has just named, and saves
//! requests for URLs that cannot have changed. Only [`super::Neon::address`], which sends no request, uses the record
//! by name. Only the owner can read the file, because the URLs contain a password.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::os::fs::{self, FsError};

const VERSION: u32 = 1;

/// One branch and its URLs.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct BranchRecord {
    version: u32,
    /// Service, project, database, role, and if the URL is pooled. A record with other values is not used.
    pub(super) wish: Vec<String>,
    pub(super) branch: String,
    pub(super) name: String,
    pub(super) url: String,
    pub(super) direct_url: String,
}

/// Leaves out the URLs, which contain a password.
impl std::fmt::Debug for BranchRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BranchRecord")
            .field("branch", &self.branch)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl BranchRecord {
    pub(super) fn new(
        wish: Vec<String>,
        branch: &str,
        name: &str,
        url: &str,
        direct_url: &str,
    ) -> BranchRecord {
        BranchRecord {
            version: VERSION,
            wish,
            branch: branch.into(),
            name: name.into(),
            url: url.into(),
            direct_url: direct_url.into(),
        }
    }

    /// Returns the record for `wish`. An invalid file counts as no record, because the service can return everything in
    /// it.
    pub(super) fn load(state: &Path, wish: &[String]) -> Result<Option<BranchRecord>, FsError> {
        let Some(bytes) = fs::read(&path(state))? else { return Ok(None) };
        let record: Option<BranchRecord> = serde_json::from_slice(&bytes).ok();
        Ok(record.filter(|record| record.version == VERSION && record.wish == wish))
    }

    pub(super) fn save(&self, state: &Path) -> Result<(), FsError> {
        fs::replace(&path(state), &serde_json::to_vec(self).unwrap_or_default(), 0o600)
    }

    /// Deletes the record. The next run requests everything again.
    pub(super) fn forget(state: &Path) {
        // A missing file is fine.
        let _ = std::fs::remove_file(path(state));
    }
}

fn path(state: &Path) -> PathBuf {
    state.join("neon.json")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_record_is_private_and_counts_for_one_wish_only() {
        let dir = tempfile::tempdir().unwrap();
        let wish = vec!["project".to_string()];
        let record = BranchRecord::new(wish.clone(), "br-a", "dev-x", "postgresql://u:Xsecret5@h/d", "x");
        record.save(dir.path()).unwrap();
        assert_eq!(BranchRecord::load(dir.path(), &wish).unwrap(), Some(record.clone()));
        assert_eq!(BranchRecord::load(dir.path(), &["other".into()]).unwrap(), None);
        let mode = std::fs::metadata(path(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{record:?}").contains("Xsecret5"));
        fs::replace(&path(dir.path()), b"{", 0o600).unwrap();
        assert_eq!(BranchRecord::load(dir.path(), &wish).unwrap(), None);
        BranchRecord::forget(dir.path());
        assert_eq!(BranchRecord::load(dir.path(), &wish).unwrap(), None);
    }
}
