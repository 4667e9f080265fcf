//! Findings about Node, package managers, Python, Postgres and the programs of services.

use nodejs_semver::{Range, Version};

use crate::doctor::facts::{DoctorFacts, InstalledTool, WantedManager};
use crate::doctor::finding::{DoctorFinding, FindingId};

/// Major versions of Node with long support, newest first.
const MAJORS: [u64; 6] = [24, 22, 20, 18, 16, 14];

pub(super) fn findings(facts: &DoctorFacts) -> Vec<DoctorFinding> {
    let tools = &facts.tools;
    let mut found = Vec::new();
    if tools.lacks_node {
        found.push(DoctorFinding::new(
            FindingId::NodeMissing,
            "node is not on PATH, and packages of this worktree need it",
            "install Node.js (`nvm install --lts`, or https://nodejs.org/en/download), and check `node --version`",
        ));
    }
    if let Some(node) = &tools.node {
        found.extend(node_versions(facts, node));
    }
    found.extend(tools.managers.iter().filter_map(manager));
    for remark in &tools.lockfiles {
        found.push(DoctorFinding::new(
            FindingId::LockfilesSeveral,
            remark,
            "set `packageManager` in package.json, or delete the lock file that is not used",
        ));
    }
    if tools.lacks_python {
        found.push(DoctorFinding::new(
            FindingId::PythonMissing,
            "there is no uv and no python3 on PATH, and devrun needs one of them to install the packages of this worktree",
            "install uv (https://docs.astral.sh/uv/getting-started/installation/), which downloads a Python",
        ));
    }
    if tools.lacks_postgres {
        found.push(DoctorFinding::new(
            FindingId::PostgresMissing,
            "no Postgres server is installed: the first `devrun up` downloads one",
            "nothing, if this machine has access to an npm registry; else install Postgres 15 or newer",
        ));
    }
    for report in &facts.configuration.missing_services {
        let fix = report.fix.clone().unwrap_or_default();
        found.push(DoctorFinding::new(FindingId::ServiceMissing, &report.message, fix));
    }
    found
}

fn version(text: &str) -> Option<Version> {
    Version::parse(text.trim().trim_start_matches('v')).ok()
}

fn node_versions(facts: &DoctorFacts, node: &InstalledTool) -> Vec<DoctorFinding> {
    let Some(installed) = node.version.as_deref().and_then(version) else { return Vec::new() };
    let path = node.path.display();
    let mut found = Vec::new();
    for (at, range) in &facts.tools.engines {
        // A range in another notation says nothing.
        let Ok(parsed) = Range::parse(range) else { continue };
        if parsed.satisfies(&installed) {
            continue;
        }
        found.push(
            DoctorFinding::new(
                FindingId::NodeVersion,
                format!("{} needs Node {range}, but node is {installed} ({path})", at.file.display()),
                format!(
                    "install it: `nvm install {}`, and check that `node --version` shows it",
                    suitable(range, &parsed)
                ),
            )
            .at(&at.file, Some(at.line)),
        );
    }
    for (file, text) in &facts.tools.pinned {
        let pinned =
            text.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
        if let Some(pinned) = pinned.filter(|pinned: &u64| *pinned != installed.major()) {
            found.push(
                DoctorFinding::new(
                    FindingId::NodePinned,
                    format!("{} names Node {pinned}, but node is {installed} ({path})", file.display()),
                    format!("`nvm use` in this shell, or start devrun from one where `node --version` shows {pinned}"),
                )
                .at(file, Some(1)),
            );
        }
    }
    found
}

/// Returns the newest major version that `range` allows, else the first version that its text names.
fn suitable(text: &str, range: &Range) -> String {
    let fits =
        |major: &&u64| Version::parse(format!("{major}.99.0")).is_ok_and(|version| range.satisfies(&version));
    MAJORS.iter().find(fits).map_or_else(
        || {
            let named = text.split(|c: char| !(c.is_ascii_digit() || c == '.'));
            named.into_iter().find(|part| !part.is_empty()).unwrap_or("--lts").to_string()
        },
        ToString::to_string,
    )
}

fn manager(wanted: &WantedManager) -> Option<DoctorFinding> {
    let WantedManager { program, pin, manifest, installed } = wanted;
    let shown = pin.as_ref().map_or((*program).to_string(), |pin| format!("{program} {pin}"));
    let Some(tool) = installed else {
        return Some(
            DoctorFinding::new(
                FindingId::ManagerMissing,
                format!("{program} is not on PATH: devrun downloads {shown} for its installs"),
                format!("install it for commands that you run by hand: npm install --global {program}"),
            )
            .at(manifest, None),
        );
    };
    let (pinned, current) = (version(pin.as_deref()?)?, version(tool.version.as_deref()?)?);
    (pinned.major() != current.major()).then(|| {
        DoctorFinding::new(
            FindingId::ManagerVersion,
            format!(
                "{} pins {shown}, but {program} is {current} ({}): by hand, it may write another lock file",
                manifest.display(),
                tool.path.display()
            ),
            format!("npm install --global {program}@{pinned}, or use corepack"),
        )
        .at(manifest, None)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::ToolFacts;
    use crate::plan::FileLine;

    fn tool(version: &str) -> InstalledTool {
        InstalledTool { path: "/bin/x".into(), version: Some(version.into()) }
    }

    fn titles(tools: ToolFacts) -> Vec<String> {
        findings(&DoctorFacts { tools, ..DoctorFacts::default() }).into_iter().map(|one| one.title).collect()
    }

    #[test]
    fn node_is_compared_with_the_range_and_the_pinned_major() {
        let with = |version: &str| {
            titles(ToolFacts {
                node: Some(tool(version)),
                engines: vec![(
                    FileLine { file: "package.json".into(), line: 4 },
                    ">=20 <23 || ^24.1".into(),
                )],
                pinned: vec![(".nvmrc".into(), "v22\n".into()), (".node-version".into(), "lts/*".into())],
                ..ToolFacts::default()
            })
        };
        assert_eq!(with("v22.4.1"), [] as [&str; 0]);
        assert_eq!(
            with("v18.20.0\n"),
            [
                "package.json needs Node >=20 <23 || ^24.1, but node is 18.20.0 (/bin/x)",
                ".nvmrc names Node 22, but node is 18.20.0 (/bin/x)"
            ]
        );
        assert_eq!(with("v24.1.0"), [".nvmrc names Node 22, but node is 24.1.0 (/bin/x)"]);
        assert_eq!(with("unknown"), [] as [&str; 0]);
        assert_eq!(titles(ToolFacts { lacks_node: true, ..ToolFacts::default() }).len(), 1);
    }

    #[test]
    fn a_version_in_the_range_is_recommended() {
        for (range, wanted) in [
            ("<21", "20"),
            (">=22.13 <25", "24"),
            ("20.10.0", "20.10.0"),
            (">=99", "99"),
            ("^18 || ^20", "20"),
        ] {
            assert_eq!(suitable(range, &Range::parse(range).unwrap()), wanted, "{range}");
        }
    }

    #[test]
    fn only_another_major_of_a_pinned_manager_is_reported() {
        let with = |pin: Option<&str>, installed: Option<&str>| {
            let managers = vec![WantedManager {
                program: "pnpm",
                pin: pin.map(Into::into),
                manifest: "package.json".into(),
                installed: installed.map(tool),
            }];
            titles(ToolFacts { managers, ..ToolFacts::default() })
        };
        assert_eq!(with(Some("9.1.0"), Some("9.15.2")), [] as [&str; 0]);
        assert_eq!(with(None, Some("12.0.0")), [] as [&str; 0]);
        assert!(
            with(Some("9.1.0"), Some("12.0.0"))[0]
                .starts_with("package.json pins pnpm 9.1.0, but pnpm is 12.0.0")
        );
        assert!(with(Some("9.1.0"), None)[0].contains("devrun downloads pnpm 9.1.0"));
    }
}
