//! Findings about installed packages that belong to another checkout.

use std::path::Path;

use crate::doctor::facts::{DoctorFacts, PackageFolder, VenvFolder};
use crate::doctor::finding::{DoctorFinding, FindingId};
use crate::error::START;
use crate::text::quoted;

pub(super) fn findings(facts: &DoctorFacts) -> Vec<DoctorFinding> {
    let packages = facts.packages.iter().filter_map(|one| packages(&facts.root, one));
    packages.chain(facts.venvs.iter().filter_map(|one| venv(&facts.root, one))).collect()
}

fn linked(root: &Path, path: &Path, target: &Path) -> DoctorFinding {
    DoctorFinding::new(
        FindingId::PackagesLinked,
        format!(
            "{} is a link to {}: an install in one worktree changes the other",
            path.display(),
            target.display()
        ),
        format!("rm {} (only the link; its target stays), then `{START}`", quoted(root.join(path))),
    )
    .at(root.join(path), None)
}

fn packages(root: &Path, one: &PackageFolder) -> Option<DoctorFinding> {
    let path = one.folder.join("node_modules");
    if let Some(target) = &one.link {
        return Some(linked(root, &path, target));
    }
    let outer = one.outer.as_ref().filter(|_| !one.is_installed)?;
    let title = format!(
        "packages are not installed here, and Node takes them from {}: commands work with the packages of another checkout",
        outer.display()
    );
    let finding =
        DoctorFinding::new(FindingId::PackagesLeaked, title, format!("`{START}`, which installs them"));
    Some(finding.at(root.join(&one.folder).join("package.json"), None))
}

fn venv(root: &Path, one: &VenvFolder) -> Option<DoctorFinding> {
    if let Some(target) = &one.link {
        return Some(linked(root, &one.path, target));
    }
    let other = one.made_for.as_ref()?;
    let path = root.join(&one.path);
    let title = format!(
        "{} was made as {}: its programs run the Python and the code there",
        one.path.display(),
        other.display()
    );
    let fix = format!("rm -r {}, then `{START}`, which makes it again", quoted(&path));
    Some(DoctorFinding::new(FindingId::VenvMoved, title, fix).at(path.join("bin/activate"), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(one: PackageFolder) -> Vec<&'static str> {
        let facts = DoctorFacts { root: "/w".into(), packages: vec![one], ..DoctorFacts::default() };
        findings(&facts).iter().map(|finding| finding.id.name()).collect()
    }

    #[test]
    fn packages_of_an_outer_checkout_leak_only_where_none_are_installed() {
        let outer = || Some("/node_modules".into());
        assert_eq!(ids(PackageFolder { outer: outer(), ..Default::default() }), ["packages-leaked"]);
        assert_eq!(ids(PackageFolder { outer: outer(), is_installed: true, ..Default::default() }), [""; 0]);
        assert_eq!(ids(PackageFolder::default()), [""; 0]);
        let link =
            PackageFolder { link: Some("/m/node_modules".into()), outer: outer(), ..Default::default() };
        assert_eq!(ids(link), ["packages-linked"]);
    }

    #[test]
    fn an_environment_of_another_place_is_reported() {
        let one = VenvFolder { path: ".venv".into(), made_for: Some("/m/.venv".into()), link: None };
        let facts = DoctorFacts { root: "/w".into(), venvs: vec![one], ..DoctorFacts::default() };
        let found = findings(&facts);
        assert_eq!(found[0].id, FindingId::VenvMoved);
        assert_eq!(found[0].fix, "rm -r /w/.venv, then `devrun up -d`, which makes it again");
    }
}
