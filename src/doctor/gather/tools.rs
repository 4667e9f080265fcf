//! Gathers the versions of the programs that installs need. Runs them outside the checkout, so that no setting in it decides what
//! runs, and runs none that is inside it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Folders, off_thread, relative};
use crate::context::Context;
use crate::database::providers;
use crate::deps::node::{ManagerChoice, choose_manager};
use crate::doctor::facts::{ConfigurationFacts, InstalledTool, ToolFacts, WantedManager};
use crate::os::cmd::Cmd;
use crate::os::read::{self, Limit};
use crate::plan::FileLine;
use crate::worktree::Worktree;

/// The time limit of one program.
const LIMIT: Duration = Duration::from_secs(3);
/// Files that name one version of Node.
const PINS: [&str; 2] = [".nvmrc", ".node-version"];

/// Facts from the files of the worktree.
#[derive(Default)]
struct NodeRequirements {
    engines: Vec<(FileLine, String)>,
    pinned: Vec<(PathBuf, String)>,
    /// The package managers of all folders, each once for each root of a workspace.
    managers: Vec<ManagerChoice>,
}

pub(super) async fn gather(
    ctx: &Context,
    own: &Worktree,
    configuration: &ConfigurationFacts,
    folders: &Folders,
) -> ToolFacts {
    let (root, node) = (own.path.clone(), folders.node.clone());
    let stated = off_thread(move || stated(&root, &node)).await.unwrap_or_default();
    let mut facts = ToolFacts { engines: stated.engines, pinned: stated.pinned, ..ToolFacts::default() };
    let is_wanted = !configuration.node.is_empty();
    let programs = stated.managers.iter().map(|choice| choice.manager.program());
    let (node, managers) = tokio::join!(
        async { if is_wanted { tool(ctx, own, "node").await } else { None } },
        futures_util::future::join_all(programs.map(|program| tool(ctx, own, program)))
    );
    facts.lacks_node = is_wanted && node.is_none();
    facts.node = node;
    for (choice, installed) in stated.managers.into_iter().zip(managers) {
        facts.lockfiles.extend(choice.remark);
        if !facts.lacks_node {
            facts.managers.push(WantedManager {
                program: choice.manager.program(),
                pin: choice.pin,
                manifest: relative(&own.path, &choice.root).join("package.json"),
                installed,
            });
        }
    }
    let lacks = |names: &[&str]| names.iter().all(|name| ctx.which(name).is_none());
    facts.lacks_python = !configuration.python.is_empty() && lacks(&["uv", "python3"]);
    facts.lacks_postgres = configuration.has_local_database
        && lacks(&["postgres"])
        && providers::client_program(ctx, own, "postgres").is_none();
    facts
}

/// Returns the program on PATH with its version; `None` if there is none. A program inside the worktree is not run.
async fn tool(ctx: &Context, own: &Worktree, name: &str) -> Option<InstalledTool> {
    let path = ctx.which(name)?;
    if path.starts_with(&own.path) {
        return Some(InstalledTool { path, version: None });
    }
    // Corepack's programs would download another version.
    let asked = Cmd::new(&path)
        .arg("--version")
        .only_env(ctx.passed_on())
        .env("COREPACK_ENABLE_NETWORK", "0")
        .env("COREPACK_ENABLE_PROJECT_SPEC", "0")
        .directory("/")
        .limit(LIMIT);
    let version = asked.ok().await.ok().map(|output| output.text());
    Some(InstalledTool { path, version })
}

fn stated(root: &Path, folders: &[PathBuf]) -> NodeRequirements {
    let mut stated = NodeRequirements::default();
    for folder in folders {
        let directory = root.join(folder);
        let choice = choose_manager(&directory, root);
        for level in [&directory, &choice.root] {
            let manifest = relative(root, &level.join("package.json"));
            if !stated.engines.iter().any(|(at, _)| at.file == manifest) {
                stated.engines.extend(engine(root, &manifest));
            }
        }
        for name in PINS {
            let file = folder.join(name);
            let text = read::text(&root.join(&file), Limit::SMALL).ok();
            stated.pinned.extend(text.map(|text| (file, text)));
        }
        if !stated.managers.iter().any(|one| one.manager == choice.manager && one.root == choice.root) {
            stated.managers.push(choice);
        }
    }
    stated
}

/// Returns the range of `engines.node` in a manifest, with its line.
fn engine(root: &Path, manifest: &Path) -> Option<(FileLine, String)> {
    let text = read::text(&root.join(manifest), Limit::SMALL).ok()?;
    let parsed: serde_json::Value = serde_json::from_str(&text).ok()?;
    let range = parsed.get("engines")?.get("node")?.as_str()?.to_string();
    let before = text.find("\"engines\"").map_or(0, |at| text[..at].lines().count().max(1));
    let is_it = |(line, _): &(&str, u32)| line.contains("\"node\"");
    let line = text.lines().zip(1..).skip(before - 1).find(is_it).map_or(0, |(_, number)| number);
    Some((FileLine { file: manifest.into(), line }, range))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fs::replace;

    #[test]
    fn the_range_of_the_engine_has_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let text = "{\n  \"scripts\": {\"node\": \"x\"},\n  \"engines\": {\n    \"node\": \">=20\"\n  }\n}\n";
        replace(&dir.path().join("package.json"), text.as_bytes(), 0o600).unwrap();
        let (at, range) = engine(dir.path(), Path::new("package.json")).unwrap();
        assert_eq!((at.line, range.as_str()), (4, ">=20"));
        let one_line = "{\"engines\": {\"node\": \">=20\"}}";
        replace(&dir.path().join("package.json"), one_line.as_bytes(), 0o600).unwrap();
        assert_eq!(engine(dir.path(), Path::new("package.json")).unwrap().0.line, 1);
    }
}
