//! Gathers the worktrees inside this one, the tools that search its whole folder, and lock files above it.

use std::path::{Path, PathBuf};

use regex::Regex;

use super::{Folders, off_thread};
use crate::context::package_json;
use crate::deps::node::choose_manager;
use crate::doctor::facts::{
    DoctorFacts, NestedFacts, NextApplication, SearchingTool, SearchingToolKind as Kind,
};
use crate::os::read::{self, Limit};
use crate::worktree::Worktree;

/// Configuration files, by tool.
const CONFIGURATIONS: [(Kind, &str); 4] = [
    (Kind::Jest, "jest.config"),
    (Kind::Vitest, "vitest.config"),
    (Kind::Eslint, "eslint.config"),
    (Kind::TypeScript, "tsconfig"),
];
const ENDINGS: [&str; 7] = ["js", "mjs", "cjs", "ts", "mts", "cts", "json"];
/// Files that Next.js takes for the root of a project.
const LOCKFILES: [&str; 6] =
    ["pnpm-workspace.yaml", "pnpm-lock.yaml", "package-lock.json", "yarn.lock", "bun.lock", "bun.lockb"];

pub(super) async fn gather(
    own: &Worktree,
    facts: &DoctorFacts,
    folders: &Folders,
) -> Result<NestedFacts, String> {
    let root = own.path.clone();
    let inside: Vec<PathBuf> = facts
        .worktrees
        .iter()
        .filter(|(one, exists)| *exists && !one.is_bare && one.path != root)
        .filter_map(|(one, _)| one.path.strip_prefix(&root).ok().map(Into::into))
        .collect();
    let folders = folders.node.clone();
    off_thread(move || NestedFacts {
        tools: if inside.is_empty() { Vec::new() } else { tools(&root) },
        inside,
        next: folders.iter().filter_map(|folder| next(&root, folder)).collect(),
        outer_lockfile: outer_lockfile(&root),
    })
    .await
}

fn tools(root: &Path) -> Vec<SearchingTool> {
    let parsed = package_json::read(root).unwrap_or_default();
    let scripts = parsed.get("scripts").and_then(|scripts| scripts.as_object());
    let scripts: Vec<&str> =
        scripts.into_iter().flat_map(|map| map.values().filter_map(|one| one.as_str())).collect();
    let mut found = Vec::new();
    for (kind, name) in CONFIGURATIONS {
        let files = ENDINGS.iter().map(|ending| PathBuf::from(format!("{name}.{ending}")));
        let read = |file: PathBuf| Some((read::text(&root.join(&file), Limit::SMALL).ok()?, file));
        let Some((text, file)) = files.into_iter().find_map(read) else { continue };
        if kind != Kind::Eslint || scripts.iter().any(|script| checks_everything(script)) {
            found.push(SearchingTool { kind, file, text });
        }
    }
    if let Some(jest) = parsed.get("jest")
        && !found.iter().any(|tool| tool.kind == Kind::Jest)
    {
        found.push(SearchingTool { kind: Kind::Jest, file: "package.json".into(), text: jest.to_string() });
    }
    found
}

/// Returns true if a script runs eslint on the whole folder.
fn checks_everything(script: &str) -> bool {
    let Some(words) = shlex::split(script) else { return false };
    let commands = words.split(|word| ["&&", "||", ";", "|"].contains(&word.as_str()));
    commands.into_iter().any(|command| {
        let Some(at) = command.iter().position(|word| word == "eslint") else { return false };
        let rest = &command[at + 1..];
        rest.is_empty() || rest.iter().any(|word| word == "." || word == "./")
    })
}

fn next(root: &Path, folder: &Path) -> Option<NextApplication> {
    let directory = root.join(folder);
    let manifest = package_json::read(&directory)?;
    let stated = manifest.get("dependencies")?.get("next")?.as_str()?;
    let configuration = ENDINGS.iter().find_map(|ending| {
        let file = folder.join(format!("next.config.{ending}"));
        Some((read::text(&root.join(&file), Limit::SMALL).ok()?, file))
    });
    let (text, file) = configuration.unwrap_or_else(|| (String::new(), folder.join("package.json")));
    let levels = directory.ancestors().take_while(|level| level.starts_with(root));
    let installed = levels.into_iter().find_map(|level| {
        let text = read::file(&level.join("node_modules/next/package.json"), Limit::SMALL).ok()?;
        let parsed: serde_json::Value = serde_json::from_slice(&text).ok()?;
        parsed.get("version")?.as_str().map(String::from)
    });
    let lowest = Regex::new(r"^[\^~=v]*(\d+\.\d+\.\d+)").ok()?;
    let stated = lowest.captures(stated).map(|found| found[1].to_string());
    let workspace = choose_manager(&directory, root).root;
    let up: PathBuf = directory
        .strip_prefix(&workspace)
        .map(|below| below.components().map(|_| "..").collect())
        .unwrap_or_default();
    let sets_root = Regex::new(r"\broot\s*[:,]|\boutputFileTracingRoot\b|\bturbopack\s*\.\s*root\b").ok()?;
    Some(NextApplication { file, has_root: sets_root.is_match(&text), version: installed.or(stated), up })
}

/// Returns the outermost lock file above the worktree, which is the one that Next.js takes.
fn outer_lockfile(root: &Path) -> Option<PathBuf> {
    let above = root.ancestors().skip(1);
    let files = above.flat_map(|level| LOCKFILES.iter().map(move |name| level.join(name)));
    files.filter(|file| file.is_file()).last()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fs::replace;

    #[test]
    fn eslint_checks_everything_only_without_a_folder() {
        for (script, wanted) in [
            ("eslint .", true),
            ("eslint", true),
            ("tsc && eslint --fix .", true),
            ("eslint src", false),
            ("next lint", false),
        ] {
            assert_eq!(checks_everything(script), wanted, "{script}");
        }
    }

    #[test]
    fn the_version_of_next_is_the_installed_one_or_the_stated_one() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let write = |name: &str, text: &str| replace(&root.join(name), text.as_bytes(), 0o600).unwrap();
        std::fs::create_dir_all(root.join("web/node_modules/next")).unwrap();
        write("pnpm-workspace.yaml", "packages: [web]\n");
        write("pnpm-lock.yaml", "lockfileVersion: '9.0'\n");
        write(
            "web/package.json",
            "{\"packageManager\": \"pnpm@9.0.0\", \"dependencies\": {\"next\": \"^15.2.0\"}}",
        );
        let found = next(&root, Path::new("web")).unwrap();
        assert_eq!((found.version.as_deref(), found.has_root), (Some("15.2.0"), false));
        assert_eq!((found.file, found.up), ("web/package.json".into(), "..".into()));
        write("web/node_modules/next/package.json", "{\"version\": \"15.5.1\"}");
        write("web/next.config.mjs", "export default { turbopack: { root: '..' } }\n");
        let found = next(&root, Path::new("web")).unwrap();
        assert_eq!((found.version.as_deref(), found.has_root), (Some("15.5.1"), true));
    }
}
