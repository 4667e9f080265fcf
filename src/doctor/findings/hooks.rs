//! Findings about git's hooks.

use super::super::finding::Repair;
use crate::doctor::facts::{DoctorFacts, HookFacts, HookState};
use crate::doctor::finding::{DoctorFinding, FindingId};

pub(super) fn findings(facts: &DoctorFacts) -> Vec<DoctorFinding> {
    let Some(hooks) = &facts.hooks else { return Vec::new() };
    if let Some(folder) = &hooks.missing_folder {
        let title =
            format!("core.hooksPath is {}, which does not exist: git runs no hook here", folder.display());
        let fix = "`git config --show-origin core.hooksPath` shows where it is set; `git config --unset core.hooksPath` removes it from this repository";
        return vec![DoctorFinding::new(FindingId::HooksOff, title, fix).at(folder, None)];
    }
    let state = state(facts, hooks);
    let program = matches!(hooks.state, HookState::Installed | HookState::Outdated) && !hooks.finds_program;
    let program = program.then(|| {
        DoctorFinding::new(
            FindingId::HookWithoutProgram,
            "git's hook calls devrun, but devrun is not on PATH: the hook does nothing",
            "put the folder of devrun on the PATH of every shell, not only of interactive ones",
        )
        .at(&hooks.file, None)
    });
    state.into_iter().chain(program).collect()
}

fn state(facts: &DoctorFacts, hooks: &HookFacts) -> Option<DoctorFinding> {
    let install = "devrun hook install";
    let finding = match hooks.state {
        HookState::Installed | HookState::Managed => return None,
        HookState::Ignored => DoctorFinding::new(
            FindingId::HookIgnored,
            hooks.why.clone().unwrap_or_else(|| "git does not run its post-checkout hook".into()),
            "`devrun hook status` shows the hook; correct it, then `devrun hook install`",
        ),
        HookState::Outdated => DoctorFinding::new(
            FindingId::HookOutdated,
            "another version of devrun wrote its block in git's hook, or the block was edited",
            install,
        ),
        // One worktree alone needs no preparation of others.
        HookState::Missing if facts.worktrees.len() < 2 => return None,
        HookState::Missing => DoctorFinding::new(
            FindingId::HookMissing,
            "git's hook does not prepare new worktrees: their first `devrun up` does it",
            install,
        )
        .repaired_by(Repair::Hook),
    };
    Some(if hooks.state == HookState::Missing { finding } else { finding.at(&hooks.file, None) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::ListedWorktree;

    fn ids(hooks: HookFacts, worktrees: usize) -> Vec<&'static str> {
        let worktrees = vec![(ListedWorktree::default(), true); worktrees];
        let facts = DoctorFacts { hooks: Some(hooks), worktrees, ..DoctorFacts::default() };
        findings(&facts).iter().map(|finding| finding.id.name()).collect()
    }

    #[test]
    fn each_state_of_the_hook_has_its_finding() {
        let hooks = |state, finds_program| HookFacts {
            file: "/r/.git/hooks/post-checkout".into(),
            state,
            why: None,
            missing_folder: None,
            finds_program,
        };
        assert_eq!(ids(hooks(HookState::Missing, true), 1), [""; 0]);
        assert_eq!(ids(hooks(HookState::Missing, true), 2), ["hook-missing"]);
        assert_eq!(ids(hooks(HookState::Installed, true), 2), [""; 0]);
        assert_eq!(ids(hooks(HookState::Installed, false), 1), ["hook-without-program"]);
        assert_eq!(ids(hooks(HookState::Outdated, true), 1), ["hook-outdated"]);
        assert_eq!(ids(hooks(HookState::Ignored, true), 1), ["hook-ignored"]);
        let off = HookFacts { missing_folder: Some("/gone".into()), ..hooks(HookState::Missing, true) };
        assert_eq!(ids(off, 2), ["hooks-off"]);
    }
}
