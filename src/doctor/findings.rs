//! The findings that follow from the facts. Pure.

mod addresses;
mod browser;
mod configuration;
mod databases;
mod hooks;
mod ignored;
pub mod leftovers;
mod machine;
mod nested;
mod packages;
mod tools;
mod worktrees;

use super::facts::DoctorFacts;
use super::finding::{DoctorFinding, FindingId};

/// The most files and names that one finding lists.
const LISTED: usize = 5;

/// Returns all findings, errors first. Files inside the worktree are relative to it.
pub fn findings(facts: &DoctorFacts) -> Vec<DoctorFinding> {
    let families = [
        configuration::findings,
        tools::findings,
        packages::findings,
        nested::findings,
        addresses::findings,
        databases::findings,
        ignored::findings,
        hooks::findings,
        leftovers::findings,
        worktrees::findings,
        machine::findings,
        browser::findings,
        unfinished,
    ];
    let mut found: Vec<DoctorFinding> = families.into_iter().flat_map(|family| family(facts)).collect();
    for place in found.iter_mut().flat_map(|finding| &mut finding.evidence) {
        if let Ok(inside) = place.file.strip_prefix(&facts.root)
            && !inside.as_os_str().is_empty()
        {
            place.file = inside.into();
        }
    }
    found.sort_by_key(|finding| (finding.id.severity(), finding.id));
    found
}

fn unfinished(facts: &DoctorFacts) -> Vec<DoctorFinding> {
    let told = |(check, why): &(&'static str, String)| {
        DoctorFinding::new(
            FindingId::Unfinished,
            format!("the check of {check} is incomplete: {why}"),
            "run `devrun doctor` again when the machine is less busy; what is beyond a limit of size stays unchecked",
        )
    };
    facts.unfinished.iter().map(told).collect()
}

/// Returns the first of `names`, separated by commas, and the number of the others.
fn listed<N: std::fmt::Display>(names: impl IntoIterator<Item = N>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    let more = names.len().saturating_sub(LISTED);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_end_with_a_count() {
        assert_eq!(listed(["a", "b"]), "a, b");
        assert_eq!(listed(1..=7), "1, 2, 3, 4, 5 and 2 more");
    }

    #[test]
    fn no_facts_give_no_findings() {
        assert_eq!(findings(&DoctorFacts::default()), []);
    }

    #[test]
    fn errors_come_first_and_files_are_relative() {
        let facts = DoctorFacts {
            root: "/w".into(),
            unfinished: vec![("disks", "it took longer than 5 s".into())],
            packages: vec![super::super::facts::PackageFolder {
                link: Some("/other/node_modules".into()),
                is_installed: true,
                ..Default::default()
            }],
            ..DoctorFacts::default()
        };
        let found = findings(&facts);
        let ids: Vec<&str> = found.iter().map(|finding| finding.id.name()).collect();
        assert_eq!(ids, ["packages-linked", "unfinished"]);
        assert_eq!(found[0].evidence[0].file, std::path::Path::new("node_modules"));
    }
}
