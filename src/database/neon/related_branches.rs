//! The branches that belong to a branch of devrun: its snapshots, and the backups that Neon makes of it. Pure.
//!
//! A snapshot is a child branch without a compute. Neon restores a branch that has children only if its present state
//! may stay as another branch, a *backup*, to which the children move. Both kinds have the id of their branch in their name,
//! because the id stays when the branch gets another name.

use std::time::{Duration, SystemTime};

use super::wire::NeonBranch;

const SNAPSHOT: &str = "devrun-snapshot-";
const BACKUP: &str = "devrun-backup-";
const OF: &str = "-of-";

/// A snapshot's name, and the id of the branch that it was taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SnapshotName<'a> {
    pub(super) snapshot: &'a str,
    pub(super) of: &'a str,
}

impl<'a> SnapshotName<'a> {
    /// Parses the name of a branch. Returns `None` if it is no snapshot.
    pub(super) fn parse(branch: &'a str) -> Option<SnapshotName<'a>> {
        let (snapshot, of) = branch.strip_prefix(SNAPSHOT)?.rsplit_once(OF)?;
        Some(SnapshotName { snapshot, of })
    }

    /// Returns the name of the branch that keeps the snapshot.
    pub(super) fn branch(self) -> String {
        format!("{SNAPSHOT}{}{OF}{}", self.snapshot, self.of)
    }
}

/// Returns a new name for the backup of the branch `id`.
pub(super) fn backup_name(id: &str, now: SystemTime) -> String {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    format!("{BACKUP}{}{OF}{id}", since.as_millis())
}

/// Returns the id of the branch that the snapshot or backup `name` belongs to. `None` for other branches.
pub(super) fn owner(name: &str) -> Option<&str> {
    match SnapshotName::parse(name) {
        Some(found) => Some(found.of),
        None => name.strip_prefix(BACKUP)?.rsplit_once(OF).map(|(_, id)| id),
    }
}

/// Returns the names of the snapshots of the branch `id`, the oldest first.
pub(super) fn snapshots(id: &str, related: &[NeonBranch]) -> Vec<String> {
    let named = related.iter().filter_map(|member| Some((member, SnapshotName::parse(&member.name)?)));
    let mut named: Vec<_> = named.filter(|(_, name)| name.of == id).collect();
    named.sort_by_key(|(member, _)| member.created());
    named.into_iter().map(|(_, name)| name.snapshot.to_string()).collect()
}

/// Returns true if a snapshot or a backup of `branch` is its child.
pub(super) fn has_child(branch: &str, related: &[NeonBranch]) -> bool {
    related.iter().any(|member| member.parent_id.as_deref() == Some(branch))
}

/// Returns the id of the branch that `branch` was made from, before it was restored from its snapshots.
pub(super) fn origin<'a>(branch: &'a NeonBranch, related: &'a [NeonBranch]) -> Option<&'a str> {
    let mut parent = branch.parent_id.as_deref();
    // The bound ends the search even if the answers name each other.
    for _ in 0..=related.len() {
        match related.iter().find(|member| Some(member.id.as_str()) == parent) {
            Some(member) => parent = member.parent_id.as_deref(),
            None => return parent,
        }
    }
    None
}

/// Returns the ids of `branch` and its related branches so that each child comes before its parent, as Neon deletes them.
pub(super) fn children_first(branch: &NeonBranch, related: &[NeonBranch]) -> Vec<String> {
    let mut left: Vec<&NeonBranch> = related.iter().chain([branch]).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let is_parent = |one: &NeonBranch| left.iter().any(|other| other.parent_id.as_ref() == Some(&one.id));
        let at = left.iter().position(|one| !is_parent(one)).unwrap_or(0);
        order.push(left.remove(at).id.clone());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(id: &str, parent: Option<&str>) -> NeonBranch {
        let parent = parent.map_or("null".into(), |parent| format!("{parent:?}"));
        let text = format!(r#"{{"id":"{id}","name":"{id}","default":false,"parent_id":{parent}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn names_lead_back_to_the_branch_and_those_of_users_do_not() {
        let name = SnapshotName { snapshot: "a-of-b", of: "br-x" }.branch();
        assert_eq!(SnapshotName::parse(&name), Some(SnapshotName { snapshot: "a-of-b", of: "br-x" }));
        assert_eq!(owner(&name), Some("br-x"));
        assert_eq!(owner(&backup_name("br-x", SystemTime::UNIX_EPOCH)), Some("br-x"));
        for name in ["dev-x", "devrun-snapshot-x", "devrun-backup"] {
            assert_eq!(owner(name), None, "{name}");
        }
    }

    #[test]
    fn children_are_deleted_before_their_parents_and_the_origin_is_no_snapshot() {
        // Restored from the snapshot `s`, which moved to the backup `b`.
        let own = branch("x", Some("s"));
        let related = [branch("b", Some("main")), branch("s", Some("b"))];
        assert_eq!(children_first(&own, &related), ["x", "s", "b"]);
        assert_eq!(origin(&own, &related), Some("main"));
        assert!(!has_child("x", &related));
        // Never restored.
        let own = branch("x", Some("main"));
        let related = [branch("s", Some("x"))];
        assert_eq!(children_first(&own, &related), ["s", "x"]);
        assert_eq!(origin(&own, &related), Some("main"));
        assert!(has_child("x", &related));
        let circle = branch("x", Some("s"));
        assert_eq!(origin(&circle, &[branch("s", Some("x")), branch("x", Some("s"))]), None);
    }
}
