//! The entries of devrun in the JSON files of agents: Claude Code's hooks, Cursor's and Conductor's scripts, the MCP server. Pure.

use serde_json::{Value, json};

use super::edit::{ByHand, Edited, Malformed};
use super::json_document::{JsonDocument, JsonError};

/// Prepares a new worktree. A program that is missing or fails does not stop the agent, because `devrun up` does the same.
pub(super) const PREPARE: &str = "devrun hook prepare --packages || true";
/// Ends the stack of a worktree that is about to be removed.
pub(super) const DOWN: &str = "devrun down || true";
/// Runs the stack in the foreground.
pub(super) const RUN: &str = "devrun";

/// Claude Code's events, and the commands for them.
const HOOKS: [(&str, &str); 2] =
    [("WorktreeCreate", "devrun hook worktree-create"), ("WorktreeRemove", "devrun hook worktree-remove")];
/// The keys of Cursor's file: the one for Unix, which has precedence, and the one for all systems.
const CURSOR: [&str; 2] = ["setup-worktree-unix", "setup-worktree"];
/// Conductor's scripts, with the commands for them.
pub(super) const SCRIPTS: [(&str, &str); 3] = [("setup", PREPARE), ("run", RUN), ("archive", DOWN)];

/// Edits `text` with `edit`. If `text` has comments, leaves it as it is and returns `whole` as the part to write by hand.
fn edited(
    text: &str,
    whole: &Value,
    edit: impl FnOnce(&mut JsonDocument) -> Result<Vec<ByHand>, Malformed>,
) -> Result<Edited, Malformed> {
    match JsonDocument::parse(text) {
        Ok(mut document) => {
            let by_hand = edit(&mut document)?;
            Ok(Edited { text: document.into_text(), by_hand })
        }
        Err(JsonError::Comments) => {
            let why = "it has comments, which devrun does not edit".into();
            Ok(Edited { text: text.into(), by_hand: vec![ByHand { why, snippet: format!("{whole:#}") }] })
        }
        Err(JsonError::Malformed(error)) => Err(error),
    }
}

/// Removes devrun's entries with `edit`. Leaves a text with comments as it is: the user removes the entries by hand.
fn removed(text: &str, edit: impl FnOnce(&mut JsonDocument)) -> Result<Edited, Malformed> {
    match JsonDocument::parse(text) {
        Ok(mut document) => {
            edit(&mut document);
            Ok(Edited { text: document.into_text(), by_hand: Vec::new() })
        }
        Err(JsonError::Comments) => {
            let why = "it has comments, which devrun does not edit".into();
            let snippet = "remove the lines that call devrun".into();
            let by_hand = if text.contains("devrun") { vec![ByHand { why, snippet }] } else { Vec::new() };
            Ok(Edited { text: text.into(), by_hand })
        }
        Err(JsonError::Malformed(error)) => Err(error),
    }
}

fn hook(command: &str) -> Value {
    json!({ "type": "command", "command": command })
}

/// Returns the command of a hook.
fn command_of(hook: &Value) -> &str {
    hook["command"].as_str().unwrap_or_default()
}

fn inner(group: &Value) -> &[Value] {
    group["hooks"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Adds devrun's hooks to Claude Code's settings.
pub(super) fn add_hooks(text: &str) -> Result<Edited, Malformed> {
    let group = |command: &str| json!({ "hooks": [hook(command)] });
    let whole: serde_json::Map<String, Value> =
        HOOKS.iter().map(|(event, command)| ((*event).into(), json!([group(command)]))).collect();
    edited(text, &json!({ "hooks": whole }), |document| {
        let mut by_hand = Vec::new();
        for (event, command) in HOOKS {
            let groups = document.list(&["hooks", event])?;
            if groups.iter().flat_map(inner).any(|hook| command_of(hook).contains(command)) {
                continue;
            }
            // A hook without a group around it is never called.
            if let Some(flat) = groups.iter().position(|group| command_of(group).contains(command)) {
                let moved = json!({ "hooks": [groups[flat]] });
                document.replace(&["hooks", event, &flat.to_string()], &moved);
            } else if groups.is_empty() {
                if document.get(&["hooks", event]).is_some() {
                    document.add_item(&["hooks", event], &group(command));
                } else {
                    document.add_member(&["hooks", event], &json!([group(command)]))?;
                }
            } else if event == HOOKS[0].0 {
                by_hand.push(ByHand {
                    why: format!("another `{event}` hook makes the worktrees of this repository"),
                    snippet: format!(
                        "put in its place: {}\nwith, for `WorktreeRemove`: {}",
                        group(command),
                        group(HOOKS[1].1)
                    ),
                });
                break;
            } else {
                document.add_item(&["hooks", event], &group(command));
            }
        }
        Ok(by_hand)
    })
}

/// Removes devrun's hooks from Claude Code's settings.
pub(super) fn remove_hooks(text: &str) -> Result<Edited, Malformed> {
    removed(text, |document| {
        for (event, command) in HOOKS {
            let Ok(groups) = document.list(&["hooks", event]) else { continue };
            for (number, group) in groups.iter().enumerate().rev() {
                let hooks = inner(group);
                let Some(found) = hooks.iter().position(|hook| command_of(hook) == command) else { continue };
                let (number, found) = (number.to_string(), found.to_string());
                let whole = ["hooks", event, number.as_str()];
                if hooks.len() == 1 {
                    document.remove(&whole);
                } else {
                    document.remove(&[&whole[..], &["hooks", &found]].concat());
                }
            }
        }
    })
}

/// Adds the preparation of worktrees to Cursor's file.
pub(super) fn add_cursor_setup(text: &str) -> Result<Edited, Malformed> {
    edited(text, &json!({ (CURSOR[1]): [PREPARE] }), |document| {
        let Some(key) = CURSOR.into_iter().find(|key| document.get(&[key]).is_some()) else {
            document.add_member(&[CURSOR[1]], &json!([PREPARE]))?;
            return Ok(Vec::new());
        };
        match document.get(&[key]) {
            Some(Value::Array(commands)) => {
                let calls = |command: &Value| command.as_str().is_some_and(|text| text.contains("devrun "));
                if !commands.iter().any(calls) {
                    document.add_item(&[key], &json!(PREPARE));
                }
                Ok(Vec::new())
            }
            Some(Value::String(script)) => {
                let why = format!("`{key}` is the script {script}");
                Ok(vec![ByHand { why, snippet: format!("add to that script: {PREPARE}") }])
            }
            _ => Err(document.wrong(&[key], "a list of commands or a script")),
        }
    })
}

/// Removes the preparation of worktrees from Cursor's file.
pub(super) fn remove_cursor_setup(text: &str) -> Result<Edited, Malformed> {
    removed(text, |document| {
        for key in CURSOR {
            let Ok(commands) = document.list(&[key]) else { continue };
            if let Some(at) = commands.iter().position(|command| command == PREPARE) {
                document.remove(&[key, &at.to_string()]);
            }
        }
    })
}

/// Adds devrun's commands to Conductor's file.
pub(super) fn add_scripts(text: &str) -> Result<Edited, Malformed> {
    let whole: serde_json::Map<String, Value> =
        SCRIPTS.iter().map(|(key, command)| ((*key).into(), json!(command))).collect();
    edited(text, &json!({ "scripts": whole }), |document| {
        let mut by_hand = Vec::new();
        for (key, command) in SCRIPTS {
            match document.get(&["scripts", key]) {
                None => document.add_member(&["scripts", key], &json!(command))?,
                Some(Value::String(script)) if script.trim().is_empty() => {
                    document.replace(&["scripts", key], &json!(command));
                }
                Some(Value::String(script)) => by_hand.extend(kept_script(key, &script, command)),
                Some(_) => return Err(document.wrong(&["scripts", key], "a command")),
            }
        }
        Ok(by_hand)
    })
}

/// Returns what to do about a script of the user that does not call devrun.
pub(super) fn kept_script(key: &str, script: &str, command: &str) -> Option<ByHand> {
    let calls = script == RUN || script.contains("devrun ");
    let why = format!("`{key}` runs a command of your own");
    (!calls).then(|| ByHand { why, snippet: format!("add to `{key}`: {command}") })
}

/// Removes devrun's commands from Conductor's file.
pub(super) fn remove_scripts(text: &str) -> Result<Edited, Malformed> {
    removed(text, |document| {
        for (key, command) in SCRIPTS {
            if document.get(&["scripts", key]).is_some_and(|script| script == command) {
                document.remove(&["scripts", key]);
            }
        }
    })
}

fn server() -> Value {
    json!({ "command": "devrun", "args": ["mcp"] })
}

/// Adds devrun to the MCP servers. An entry of that name stays as it is.
pub(super) fn add_server(text: &str) -> Result<Edited, Malformed> {
    edited(text, &json!({ "mcpServers": { "devrun": server() } }), |document| {
        if document.get(&["mcpServers", "devrun"]).is_none() {
            document.add_member(&["mcpServers", "devrun"], &server())?;
        }
        Ok(Vec::new())
    })
}

/// Removes devrun from the MCP servers, unless the user changed the entry.
pub(super) fn remove_server(text: &str) -> Result<Edited, Malformed> {
    removed(text, |document| {
        if document.get(&["mcpServers", "devrun"]).is_some_and(|entry| entry == server()) {
            document.remove(&["mcpServers", "devrun"]);
        }
    })
}
