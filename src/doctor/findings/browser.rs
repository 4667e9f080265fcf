//! Findings about host names and cookies, which browsers share between worktrees.

use crate::doctor::facts::DoctorFacts;
use crate::doctor::finding::{DoctorFinding, FindingId};

pub(super) fn findings(facts: &DoctorFacts) -> Vec<DoctorFinding> {
    let several = facts.worktrees.iter().filter(|(one, exists)| *exists && !one.is_bare).count() > 1;
    tenant(facts).into_iter().chain(logins(facts).filter(|_| several)).collect()
}

fn tenant(facts: &DoctorFacts) -> Option<DoctorFinding> {
    let url = facts.configuration.urls.iter().find(|url| url.host.ends_with(".localhost"))?;
    let title = format!(
        "the product takes its tenant from the host ({}): another label in the host, such as the name of the worktree, would be \
         another tenant",
        url.host
    );
    let fix = "open tenants with the port of the worktree (`devrun url`); the CORS settings must accept http://<tenant>.localhost with any port";
    let finding = DoctorFinding::new(FindingId::TenantInHost, title, fix);
    Some(match &url.at {
        Some(at) => finding.at(&at.file, Some(at.line)),
        None => finding,
    })
}

fn logins(facts: &DoctorFacts) -> impl Iterator<Item = DoctorFinding> {
    let first = facts.code.logins.first();
    first.into_iter().map(|(package, at)| {
        let title = format!(
            "a login in one worktree replaces the login in the others ({package}): browsers send cookies of localhost to every port"
        );
        let fix = "run `devrun open --browser-profile` in each worktree: it opens a Chromium with logins of that worktree alone";
        DoctorFinding::new(FindingId::LoginsShared, title, fix).at(&at.file, Some(at.line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::LocalAddress;
    use crate::plan::FileLine;
    use crate::worktree::ListedWorktree;

    #[test]
    fn logins_are_shared_only_by_several_worktrees() {
        let at = |file: &str| FileLine { file: file.into(), line: 1 };
        let ids = |count: usize| {
            let worktrees = vec![(ListedWorktree::default(), true); count];
            let mut facts = DoctorFacts { worktrees, ..DoctorFacts::default() };
            facts.code.logins = vec![("next-auth".into(), at("package.json"))];
            facts.configuration.urls = vec![LocalAddress {
                name: "Tenant".into(),
                host: "demo.localhost".into(),
                ..Default::default()
            }];
            findings(&facts).iter().map(|finding| finding.id.name()).collect::<Vec<_>>()
        };
        assert_eq!(ids(1), ["tenant-in-host"]);
        assert_eq!(ids(2), ["tenant-in-host", "logins-shared"]);
    }

    #[test]
    fn advice_about_logins_is_the_verb_that_keeps_them_apart() {
        let mut facts = DoctorFacts::default();
        facts.code.logins = vec![("next-auth".into(), FileLine { file: "package.json".into(), line: 1 })];
        let fix = logins(&facts).next().map(|finding| finding.fix).unwrap_or_default();
        assert!(fix.contains("`devrun open --browser-profile`"), "{fix}");
    }
}
