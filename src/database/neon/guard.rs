//! Protects branches that other work depends on. Pure.

use super::wire::NeonBranch;

/// Returns the reason why devrun must not use `branch`, or `None` if it may. `parent` is the name or id of the branch
/// that is copied.
pub(super) fn what(branch: &NeonBranch, parent: Option<&str>) -> Option<&'static str> {
    if branch.default {
        Some("the project's default branch")
    } else if branch.protected {
        Some("a protected branch")
    } else if parent.is_some_and(|parent| parent == branch.name || parent == branch.id) {
        Some("the branch that others are copied from")
    } else {
        None
    }
}

/// Returns true if `name` is empty, contains control characters, or is not specific to one branch.
pub(super) fn is_nobodys(name: &str) -> bool {
    let name = name.trim();
    name.is_empty() || name.chars().any(char::is_control) || matches!(name, "HEAD" | "dev-" | "dev-HEAD")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(default: bool, protected: bool) -> NeonBranch {
        NeonBranch {
            id: "br-a".into(),
            name: "a".into(),
            parent_id: None,
            current_state: "ready".into(),
            pending_state: None,
            default,
            protected,
            logical_size: None,
            created_at: None,
        }
    }

    #[test]
    fn default_protected_and_parent_branches_are_refused() {
        assert!(what(&branch(true, false), None).unwrap().contains("default"));
        assert!(what(&branch(false, true), None).unwrap().contains("protected"));
        for parent in ["a", "br-a"] {
            assert!(what(&branch(false, false), Some(parent)).unwrap().contains("copied"));
        }
        assert_eq!(what(&branch(false, false), Some("main")), None);
    }

    #[test]
    fn a_name_must_be_specific_to_one_branch() {
        for name in ["", " ", "dev-", "HEAD", "dev-HEAD", "a\nb"] {
            assert!(is_nobodys(name), "{name:?}");
        }
        assert!(!is_nobodys("dev-main"));
    }
}
