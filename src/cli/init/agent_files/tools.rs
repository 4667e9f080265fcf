//! The files that coding agents read, and the signs by which devrun notices that an agent is used.

use std::path::Path;

use super::edit::{Edited, Malformed};
use super::{instructions, json_entries, toml_scripts};

/// A coding agent, or an application that runs several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AgentTool {
    Claude,
    Cursor,
    Codex,
    Conductor,
    /// Every agent that reads AGENTS.md.
    Any,
}

impl AgentTool {
    /// Returns the name that is printed and used in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            AgentTool::Claude => "Claude Code",
            AgentTool::Cursor => "Cursor",
            AgentTool::Codex => "Codex",
            AgentTool::Conductor => "Conductor",
            AgentTool::Any => "all agents",
        }
    }

    /// Returns true if the repository at `root` or the home folder `home` has a file that shows that the tool is used.
    pub(super) fn is_used(self, root: &Path, home: Option<&Path>) -> bool {
        let (in_repository, in_home): (&[&str], &[&str]) = match self {
            AgentTool::Claude => (&[".claude", "CLAUDE.md", ".mcp.json"], &[".claude", ".claude.json"]),
            AgentTool::Cursor => (&[".cursor", ".cursorrules"], &[".cursor"]),
            AgentTool::Codex => (&[".codex"], &[".codex"]),
            AgentTool::Conductor => {
                (&["conductor.json", ".conductor"], &["Library/Application Support/com.conductor.app"])
            }
            AgentTool::Any => return true,
        };
        let has = |folder: &Path, names: &[&str]| names.iter().any(|name| folder.join(name).exists());
        has(root, in_repository) || home.is_some_and(|home| has(home, in_home))
    }
}

/// A file that devrun may write.
pub(super) struct AgentFile {
    pub(super) tool: AgentTool,
    /// The path from the root of the worktree.
    pub(super) path: &'static str,
    /// Adds devrun's entries. The second argument is the name of the repository.
    pub(super) add: fn(&str, &str) -> Result<Edited, Malformed>,
    /// Removes devrun's entries.
    pub(super) remove: fn(&str, &str) -> Result<Edited, Malformed>,
}

/// The newer of Conductor's two files, which it prefers.
pub(super) const CONDUCTOR_SETTINGS: &str = ".conductor/settings.toml";
/// The older of Conductor's two files.
pub(super) const CONDUCTOR_JSON: &str = "conductor.json";
/// The instructions of Claude Code, which does not read AGENTS.md.
pub(super) const CLAUDE_MD: &str = "CLAUDE.md";

/// All files, in the order of the output.
pub(super) const FILES: [AgentFile; 8] = [
    AgentFile {
        tool: AgentTool::Any,
        path: "AGENTS.md",
        add: |text, _| instructions::add_block(text),
        remove: |text, _| instructions::remove_block(text),
    },
    AgentFile {
        tool: AgentTool::Claude,
        path: CLAUDE_MD,
        add: |text, _| instructions::add_block(text),
        remove: |text, _| instructions::remove_block(text),
    },
    AgentFile {
        tool: AgentTool::Claude,
        path: ".claude/settings.json",
        add: |text, _| json_entries::add_hooks(text),
        remove: |text, _| json_entries::remove_hooks(text),
    },
    AgentFile {
        tool: AgentTool::Claude,
        path: ".mcp.json",
        add: |text, _| json_entries::add_server(text),
        remove: |text, _| json_entries::remove_server(text),
    },
    AgentFile {
        tool: AgentTool::Cursor,
        path: ".cursor/worktrees.json",
        add: |text, _| json_entries::add_cursor_setup(text),
        remove: |text, _| json_entries::remove_cursor_setup(text),
    },
    AgentFile {
        tool: AgentTool::Codex,
        path: ".codex/environments/environment.toml",
        add: toml_scripts::add_to_codex,
        remove: toml_scripts::remove_from_codex,
    },
    AgentFile {
        tool: AgentTool::Conductor,
        path: CONDUCTOR_SETTINGS,
        add: |text, _| toml_scripts::add_to_conductor(text),
        remove: |text, _| toml_scripts::remove_from_conductor(text),
    },
    AgentFile {
        tool: AgentTool::Conductor,
        path: CONDUCTOR_JSON,
        add: |text, _| json_entries::add_scripts(text),
        remove: |text, _| json_entries::remove_scripts(text),
    },
];
