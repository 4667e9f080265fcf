//! Findings about worktrees inside this one, which tools of this worktree search too, and about this worktree inside another checkout.

mod reload;

use std::path::{Component, Path};

use nodejs_semver::Version;

use crate::doctor::facts::{DoctorFacts, NextApplication, SearchingTool, SearchingToolKind};
use crate::doctor::finding::{DoctorFinding, FindingId};

/// The first version of Next.js that looks for the root of a project, and the first that does not look outside the worktree.
const NEXT_SEARCHES: (u64, u64) = (15, 0);
const NEXT_STOPS: (u64, u64) = (16, 4);

pub(super) fn findings(facts: &DoctorFacts) -> Vec<DoctorFinding> {
    let mut found = Vec::new();
    for process in &facts.configuration.processes {
        found.extend(reload::finding(process, &facts.root, &facts.nested.inside));
    }
    for tool in &facts.nested.tools {
        found.extend(searching(tool, &facts.nested.inside));
    }
    if let Some(lockfile) = &facts.nested.outer_lockfile {
        let next = facts.nested.next.iter().filter(|next| searches(next));
        found.extend(next.map(|next| root(next, lockfile)));
    }
    found
}

/// Returns the folder that contains the nested worktree, or the worktree itself if that is at the top.
fn container(inside: &Path) -> &Path {
    inside.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(inside)
}

fn is_hidden(path: &Path) -> bool {
    path.components()
        .any(|part| matches!(part, Component::Normal(name) if name.to_string_lossy().starts_with('.')))
}

/// Returns true if the configuration names a folder on the way to the nested worktree, or limits the search in a way that is not
/// understood here. In doubt nothing is reported.
fn is_handled(tool: &SearchingTool, inside: &Path) -> bool {
    let limits: &[&str] = match tool.kind {
        SearchingToolKind::Jest => &["roots", "rootDir", "projects", "testMatch", "testRegex", "preset"],
        SearchingToolKind::Vitest => &["include", "dir:", "root:", "projects", "workspace"],
        SearchingToolKind::Eslint => &["includeIgnoreFile", "gitignore"],
        SearchingToolKind::TypeScript => &["\"files\"", "\"references\"", "\"extends\""],
    };
    let names = container(inside).components().filter_map(|part| part.as_os_str().to_str());
    limits.iter().copied().chain(names).any(|word| tool.text.contains(word))
}

fn searching(tool: &SearchingTool, inside: &[std::path::PathBuf]) -> Option<DoctorFinding> {
    // TypeScript does not search hidden folders.
    let reaches = |path: &&std::path::PathBuf| tool.kind != SearchingToolKind::TypeScript || !is_hidden(path);
    let path = inside.iter().filter(reaches).find(|path| !is_handled(tool, path))?;
    let folder = container(path).display();
    let file = tool.file.display();
    let (id, action, fix) = match tool.kind {
        SearchingToolKind::Jest => (
            FindingId::TestsReachWorktrees,
            "jest runs the tests of",
            format!(
                "add to the jest configuration in {file}: \"modulePathIgnorePatterns\": [\"<rootDir>/{folder}/\"], \"testPathIgnorePatterns\": [\"/node_modules/\", \"<rootDir>/{folder}/\"]"
            ),
        ),
        SearchingToolKind::Vitest => (
            FindingId::TestsReachWorktrees,
            "vitest runs the tests of",
            format!(
                "add to `test` in {file}: exclude: [...configDefaults.exclude, \"{folder}/**\"] (import configDefaults from \"vitest/config\")"
            ),
        ),
        SearchingToolKind::Eslint => (
            FindingId::LintReachesWorktrees,
            "eslint checks the files of",
            format!("add to the list in {file}: {{ ignores: [\"{folder}/**\"] }}"),
        ),
        SearchingToolKind::TypeScript => (
            FindingId::TypesReachWorktrees,
            "TypeScript checks the files of",
            format!("add to {file}: \"exclude\": [\"node_modules\", \"{folder}\"]"),
        ),
    };
    let title = format!("{action} worktrees inside this one, such as {}", path.display());
    Some(DoctorFinding::new(id, title, fix).at(&tool.file, None))
}

fn searches(next: &NextApplication) -> bool {
    let version = next.version.as_deref().and_then(|version| Version::parse(version).ok());
    let version = version.map(|version| (version.major(), version.minor()));
    !next.has_root && version.is_some_and(|version| version >= NEXT_SEARCHES && version < NEXT_STOPS)
}

fn root(next: &NextApplication, lockfile: &Path) -> DoctorFinding {
    let above = lockfile.parent().unwrap_or(lockfile).display();
    let title = format!(
        "Next.js {} takes {above} for the root of the project, because that folder has a lock file: it may read packages and \
         watch files outside this worktree",
        next.version.as_deref().unwrap_or_default()
    );
    let up = next.up.display().to_string();
    let place =
        if up.is_empty() { "__dirname".to_string() } else { format!("path.join(__dirname, \"{up}\")") };
    let fix = format!(
        "set the root in the configuration of Next.js: turbopack: {{ root: {place} }} (import.meta.dirname in an .mjs file)"
    );
    DoctorFinding::new(FindingId::NextRoot, title, fix).at(&next.file, None).at(lockfile, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::NestedFacts;

    fn ids(kind: SearchingToolKind, text: &str, inside: &str) -> Vec<&'static str> {
        let tool = SearchingTool { kind, file: "config".into(), text: text.into() };
        let nested = NestedFacts { inside: vec![inside.into()], tools: vec![tool], ..NestedFacts::default() };
        let facts = DoctorFacts { nested, ..DoctorFacts::default() };
        findings(&facts).iter().map(|finding| finding.id.name()).collect()
    }

    #[test]
    fn tools_that_search_everything_reach_nested_worktrees() {
        let hidden = ".claude/worktrees/a";
        for (kind, id) in [
            (SearchingToolKind::Jest, "tests-reach-worktrees"),
            (SearchingToolKind::Vitest, "tests-reach-worktrees"),
            (SearchingToolKind::Eslint, "lint-reaches-worktrees"),
        ] {
            assert_eq!(ids(kind, "{}", hidden), [id]);
            assert_eq!(ids(kind, "ignores: ['.claude/**']", hidden), [""; 0]);
        }
        assert_eq!(ids(SearchingToolKind::TypeScript, "{}", hidden), [""; 0]);
        assert_eq!(ids(SearchingToolKind::TypeScript, "{}", "trees/a"), ["types-reach-worktrees"]);
        assert_eq!(ids(SearchingToolKind::Jest, "roots: ['<rootDir>/src']", hidden), [""; 0]);
    }

    #[test]
    fn the_fix_of_each_tool_answers_its_finding() {
        for kind in [
            SearchingToolKind::Jest,
            SearchingToolKind::Vitest,
            SearchingToolKind::Eslint,
            SearchingToolKind::TypeScript,
        ] {
            for inside in ["trees/a", "alone"] {
                let tool = SearchingTool { kind, file: "config".into(), text: "{}".into() };
                let fix = searching(&tool, &[inside.into()]).unwrap().fix;
                assert_eq!(ids(kind, &fix, inside), [""; 0], "{fix}");
            }
        }
    }

    #[test]
    fn only_versions_of_next_that_search_above_the_worktree_are_reported() {
        let found = |version: &str, has_root: bool| {
            let next = NextApplication {
                file: "web/next.config.js".into(),
                has_root,
                version: Some(version.into()),
                up: "..".into(),
            };
            let outer_lockfile = Some("/home/u/package-lock.json".into());
            let nested = NestedFacts { next: vec![next], outer_lockfile, ..NestedFacts::default() };
            findings(&DoctorFacts { nested, ..DoctorFacts::default() })
        };
        for (version, count) in [("14.2.0", 0), ("15.4.1", 1), ("16.2.9", 1), ("16.4.6", 0), ("latest", 0)] {
            assert_eq!(found(version, false).len(), count, "{version}");
        }
        assert!(found("15.4.1", true).is_empty());
        assert!(found("15.4.1", false)[0].fix.contains("turbopack: { root: path.join(__dirname, \"..\") }"));
    }
}
