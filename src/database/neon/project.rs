//! Reads the project's id from the `.neon` file that Neon's command line creates. Never writes it.

use std::path::Path;

use serde::Deserialize;

use crate::os::fs;

#[derive(Deserialize)]
struct Linked {
    #[serde(rename = "projectId")]
    project_id: Option<String>,
}

/// Returns the project's id from the nearest `.neon` file in one of `folders` or their parents. Stops at `home`.
pub fn linked(folders: &[&Path], home: Option<&Path>) -> Option<String> {
    folders.iter().find_map(|folder| {
        for folder in folder.ancestors() {
            let bytes = fs::read(&folder.join(".neon")).ok().flatten();
            let linked = bytes.and_then(|bytes| serde_json::from_slice::<Linked>(&bytes).ok());
            let id = linked.and_then(|linked| linked.project_id).filter(|id| !id.is_empty());
            if id.is_some() {
                return id;
            }
            if Some(folder) == home {
                return None;
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_counts_and_the_search_ends_at_home() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let inner = home.join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        fs::replace(&dir.path().join(".neon"), br#"{"projectId":"outside"}"#, 0o600).unwrap();
        assert_eq!(linked(&[&inner], Some(&home)), None);
        fs::replace(&home.join("a/.neon"), br#"{"orgId":"o","projectId":"near","branch":"x"}"#, 0o600)
            .unwrap();
        assert_eq!(linked(&[&inner], Some(&home)).as_deref(), Some("near"));
        assert_eq!(linked(&[&home, &inner], Some(&home)).as_deref(), Some("near"));
    }
}
