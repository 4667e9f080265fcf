//! Findings about the worktrees of the repository.

use std::collections::BTreeMap;

use super::listed;
use crate::doctor::facts::DoctorFacts;
use crate::doctor::finding::{DoctorFinding, FindingId};
use crate::text::quoted;
use crate::worktree::ListedWorktree;

pub(super) fn findings(facts: &DoctorFacts) -> Vec<DoctorFinding> {
    let linked = || facts.worktrees.iter().filter(|(one, _)| !one.is_bare);
    let mut found = Vec::new();
    let mut branches: BTreeMap<&str, Vec<&ListedWorktree>> = BTreeMap::new();
    for (one, exists) in linked() {
        if let Some(branch) = one.branch.as_deref().filter(|_| *exists && !one.is_prunable) {
            branches.entry(branch).or_default().push(one);
        }
    }
    for (branch, worktrees) in branches.into_iter().filter(|(_, worktrees)| worktrees.len() > 1) {
        let title =
            format!("{} worktrees are on the branch {branch}, and share its database", worktrees.len());
        let last = worktrees.last().map(|one| quoted(&one.path)).unwrap_or_default();
        let fix =
            format!("give one its own branch: git -C {last} switch -c {}", quoted(format!("{branch}-2")));
        let finding = DoctorFinding::new(FindingId::BranchShared, title, fix);
        found.push(finding.at_all(worktrees.iter().map(|one| &one.path)));
    }
    let broken: Vec<&ListedWorktree> =
        linked().filter(|(one, exists)| *exists && one.is_prunable).map(|(one, _)| one).collect();
    if !broken.is_empty() {
        let paths = broken.iter().map(|one| quoted(&one.path)).collect::<Vec<_>>();
        let title =
            format!("git finds no worktree in {}", listed(broken.iter().map(|one| one.path.display())));
        let finding = DoctorFinding::new(
            FindingId::WorktreeBroken,
            title,
            format!("git worktree repair {}", paths.join(" ")),
        );
        found.push(finding.at_all(broken.iter().map(|one| &one.path)));
    }
    let gone: Vec<&ListedWorktree> =
        linked().filter(|(one, exists)| !exists && one.locked.is_none()).map(|(one, _)| one).collect();
    if !gone.is_empty() {
        let title = format!(
            "git remembers {} whose folder is gone: {}",
            if gone.len() == 1 { "a worktree" } else { "worktrees" },
            listed(gone.iter().map(|one| one.path.display()))
        );
        found.push(DoctorFinding::new(FindingId::WorktreeGone, title, "devrun prune --yes"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(path: &str, branch: &str) -> ListedWorktree {
        ListedWorktree { path: path.into(), branch: Some(branch.into()), ..ListedWorktree::default() }
    }

    #[test]
    fn shared_branches_broken_links_and_missing_folders_are_found() {
        let broken = ListedWorktree { is_prunable: true, ..one("/w/broken", "b") };
        let locked = ListedWorktree { locked: Some(String::new()), ..one("/w/usb", "u") };
        let worktrees = vec![
            (one("/r", "main"), true),
            (one("/w/a", "x"), true),
            (one("/w/b", "x"), true),
            (broken, true),
            (one("/w/gone", "g"), false),
            (locked, false),
        ];
        let found = findings(&DoctorFacts { worktrees, ..DoctorFacts::default() });
        let shown: Vec<(&str, &str)> = found.iter().map(|one| (one.id.name(), one.fix.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("branch-shared", "give one its own branch: git -C /w/b switch -c x-2"),
                ("worktree-broken", "git worktree repair /w/broken"),
                ("worktree-gone", "devrun prune --yes"),
            ]
        );
        assert!(found[2].title.ends_with("is gone: /w/gone"));
    }
}
