//! Findings about files that git should ignore.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::finding::Repair;
use super::listed;
use crate::doctor::facts::DoctorFacts;
use crate::doctor::finding::{DoctorFinding, FindingId};
use crate::text::quoted;

pub(super) fn findings(facts: &DoctorFacts) -> Vec<DoctorFinding> {
    let ignored = &facts.ignored;
    let mut found = Vec::new();
    for (path, at, is_tracked) in &ignored.env_out {
        let shown = path.display();
        let finding = if *is_tracked {
            DoctorFinding::new(
                FindingId::EnvOutNotIgnored,
                format!(
                    "git tracks {shown}, so `devrun up` refuses to write the values of this worktree into it"
                ),
                format!(
                    "git rm --cached {} and add /{shown} to .gitignore, or name another file",
                    quoted(path)
                ),
            )
        } else {
            exclusion(
                facts,
                FindingId::EnvOutNotIgnored,
                format!("git does not ignore {shown}, so `devrun up` refuses to write it"),
                [line(path, false)].into_iter().flatten().collect(),
            )
        };
        found.push(finding.at(&at.file, Some(at.line)));
    }
    if !ignored.env_files.is_empty() {
        let names = listed(ignored.env_files.iter().map(|path| path.display()));
        let title = format!("git does not ignore {names}: `git add -A` would commit the values");
        let lines = ignored.env_files.iter().filter_map(|path| line(path, false)).collect();
        let finding = exclusion(facts, FindingId::EnvFileNotIgnored, title, lines);
        found.push(finding.at_all(&ignored.env_files));
    }
    if !ignored.worktrees.is_empty() {
        found.push(worktrees(facts));
    }
    found
}

fn worktrees(facts: &DoctorFacts) -> DoctorFinding {
    let all = &facts.ignored.worktrees;
    let outer: BTreeSet<&PathBuf> = all.iter().map(|(outer, _)| outer).collect();
    let containers: BTreeSet<&Path> = all
        .iter()
        .map(|(_, inside)| inside.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(inside))
        .collect();
    let title = format!(
        "git shows the worktrees in {} as untracked files of the checkout around them",
        listed(containers.iter().map(|folder| folder.display()))
    );
    let lines = containers.iter().filter_map(|folder| line(folder, true)).collect();
    exclusion(facts, FindingId::WorktreesNotIgnored, title, lines).at_all(outer)
}

/// Returns a finding that lines in git's own list of ignored files resolve.
fn exclusion(facts: &DoctorFacts, id: FindingId, title: String, lines: Vec<String>) -> DoctorFinding {
    let list = facts.ignored.common_dir.as_deref().map(crate::doctor::repair::exclude_file);
    let place = list.map_or_else(|| ".gitignore".into(), |file| file.display().to_string());
    let shown: Vec<String> = lines.iter().map(|line| format!("`{line}`")).collect();
    let finding =
        DoctorFinding::new(id, title, format!("add {} to .gitignore or to {place}", shown.join(" and ")));
    if lines.is_empty() { finding } else { finding.repaired_by(Repair::Exclude(lines)) }
}

/// Returns the line that makes git ignore `path`, a path relative to the top. `None` if the path has characters with a meaning in
/// such lines.
fn line(path: &Path, is_folder: bool) -> Option<String> {
    let text = path.to_str()?;
    let is_plain = !text.contains(['*', '?', '[', '\\', '\n', '\r']) && !text.ends_with(' ');
    is_plain.then(|| format!("/{text}{}", if is_folder { "/" } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::IgnoreFacts;
    use crate::plan::FileLine;

    #[test]
    fn each_kind_of_file_has_its_lines() {
        let at = FileLine { file: "devrun.yaml".into(), line: 3 };
        let ignored = IgnoreFacts {
            common_dir: Some("/r/.git".into()),
            env_files: vec![".env".into(), "api/.env".into()],
            env_out: vec![(".env.out".into(), at.clone(), false), ("kept".into(), at, true)],
            worktrees: vec![
                ("/r".into(), ".claude/worktrees/a".into()),
                ("/r".into(), ".claude/worktrees/b".into()),
                ("/r".into(), "alone".into()),
            ],
        };
        let found = findings(&DoctorFacts { ignored, ..DoctorFacts::default() });
        let lines = |lines: &[&str]| Some(Repair::Exclude(lines.iter().map(ToString::to_string).collect()));
        let repairs: Vec<_> = found.iter().map(|finding| finding.repair.clone()).collect();
        assert_eq!(
            repairs,
            [
                lines(&["/.env.out"]),
                None,
                lines(&["/.env", "/api/.env"]),
                lines(&["/.claude/worktrees/", "/alone/"])
            ]
        );
        assert_eq!(found[0].fix, "add `/.env.out` to .gitignore or to /r/.git/info/exclude");
    }

    #[test]
    fn characters_with_a_meaning_are_left_to_the_user() {
        assert_eq!(line(Path::new("a b"), true).unwrap(), "/a b/");
        assert_eq!(line(Path::new("a*"), false), None);
        assert_eq!(line(Path::new("a "), false), None);
    }
}
