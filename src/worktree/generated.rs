//! Recognises files that a development server writes into a worktree without being asked, which are no work of the user.

use std::path::{Path, PathBuf};

use super::git::git;
use crate::context::Context;
use crate::os::read::{self, Limit};

/// The name of the file with instructions for coding agents.
const AGENTS: &str = "AGENTS.md";

/// The lines around the blocks that `next dev` writes if it is started by a coding agent
/// (`next/dist/server/lib/generate-agent-files.js` of Next.js 16.4).
const BLOCKS: [[&str; 2]; 2] = [
    ["<!-- BEGIN:nextjs-agent-rules -->", "<!-- END:nextjs-agent-rules -->"],
    ["<!-- BEGIN:nextjs-agent-feedback -->", "<!-- END:nextjs-agent-feedback -->"],
];

/// Returns true if the file at `path` is an AGENTS.md with nothing but blocks of Next.js.
pub(super) fn is_framework_file(path: &Path) -> bool {
    if path.file_name().is_none_or(|name| name != AGENTS) {
        return false;
    }
    let Ok(bytes) = read::file(path, Limit::SMALL) else { return false };
    std::str::from_utf8(&bytes).is_ok_and(has_only_blocks)
}

fn has_only_blocks(text: &str) -> bool {
    let mut rest = text.trim();
    let is_empty = rest.is_empty();
    while !rest.is_empty() {
        let after = BLOCKS.iter().find_map(|[begin, end]| rest.strip_prefix(begin)?.split_once(end));
        let Some((_, after)) = after else { return false };
        rest = after.trim_start();
    }
    !is_empty
}

/// Deletes the generated files of the worktree at `path`, because git removes no worktree with untracked files. Leaves the files if
/// git cannot list them.
pub(super) async fn delete(ctx: &Context, path: &Path) {
    let pattern = format!(":(glob)**/{AGENTS}");
    let list = git(ctx, path).args(["ls-files", "-z", "--others", "--exclude-standard", "--"]).arg(pattern);
    let Ok(found) = list.ok().await else { return };
    for name in String::from_utf8_lossy(&found.stdout).split('\0').filter(|name| !name.is_empty()) {
        let file: PathBuf = path.join(name);
        if is_framework_file(&file) {
            let _ = std::fs::remove_file(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_blocks_of_next_are_generated() {
        let [rules, feedback] = BLOCKS.map(|[begin, end]| format!("{begin}\n\n## Rules\n\n{end}\n"));
        assert!(has_only_blocks(&rules) && has_only_blocks(&format!("{rules}\n{feedback}")));
        for text in [
            String::new(),
            "Use tabs.".into(),
            format!("{rules}\nUse tabs.\n"),
            format!("# Ours\n{rules}"),
            rules.replace("<!-- END", ""),
        ] {
            assert!(!has_only_blocks(&text), "{text}");
        }
    }
}
