//! Replays the files of agents as they are in repositories, and files that are malformed.

use serde_json::{Value, json};

use super::edit::Edited;
use super::json_entries::*;
use super::toml_scripts::*;

/// Settings of Claude Code as they are in repositories: other events, permissions, and an order that is not alphabetical.
const SETTINGS: &str = r#"{
    "$schema": "https://json.schemastore.org/claude-code-settings.json",
    "permissions": { "deny": ["Read(./.env)"], "allow": [] },
    "hooks": {
        "PreToolUse": [
            {
                "matcher": "Bash",
                "hooks": [{ "type": "command", "command": "./scripts/guard" , "timeout": 5}]
            }
        ],
        "WorktreeRemove": [
            { "hooks": [ { "type": "command", "command": "docker rm -f \"db-$(jq -r .worktree_path)\"" } ] }
        ]
    },
    "env": {"A": "1"}
}
"#;

/// Replays an edit: twice, and back.
#[track_caller]
fn replayed(text: &str, add: impl Fn(&str) -> Edited, remove: impl Fn(&str) -> Edited) -> Edited {
    let edited = add(text);
    assert_eq!(add(&edited.text), edited, "a second time");
    assert_eq!(remove(&edited.text).text, text, "and back");
    edited
}

fn hooks(text: &str) -> Edited {
    replayed(text, |text| add_hooks(text).unwrap(), |text| remove_hooks(text).unwrap())
}

fn value(edited: &Edited) -> Value {
    serde_json::from_str(&edited.text).unwrap()
}

#[test]
fn h4_new_hooks_have_the_shape_that_claude_code_reads() {
    let edited = add_hooks("").unwrap();
    let wanted = json!({ "hooks": {
        "WorktreeCreate": [{ "hooks": [{ "type": "command", "command": "devrun hook worktree-create" }] }],
        "WorktreeRemove": [{ "hooks": [{ "type": "command", "command": "devrun hook worktree-remove" }] }],
    } });
    assert_eq!((value(&edited), edited.by_hand.len()), (wanted, 0));
    assert_eq!(remove_hooks(&edited.text).unwrap().text, "{}\n");
}

#[test]
fn h4_other_hooks_and_the_layout_of_the_settings_stay() {
    let edited = hooks(SETTINGS);
    let settings = value(&edited);
    assert_eq!(settings["hooks"]["PreToolUse"][0]["hooks"][0]["timeout"], 5);
    let removal = settings["hooks"]["WorktreeRemove"].as_array().unwrap();
    assert_eq!(removal.len(), 2, "{settings:#}");
    let lines: Vec<&str> = SETTINGS.lines().collect();
    let changed = super::line_diff::diff(SETTINGS, &edited.text);
    assert!(changed.lines().filter(|line| line.starts_with('-')).count() <= 2, "{changed}");
    assert!(edited.text.contains(lines[2]) && edited.text.contains(lines[7]), "{}", edited.text);
}

#[test]
fn h4_a_flat_hook_that_is_never_called_is_moved_into_a_group() {
    let flat = json!({ "hooks": { "WorktreeCreate": [{ "type": "command", "command": "devrun hook worktree-create" }] } });
    let edited = add_hooks(&format!("{flat:#}")).unwrap();
    assert_eq!(
        value(&edited)["hooks"]["WorktreeCreate"][0]["hooks"][0]["command"],
        "devrun hook worktree-create"
    );
    assert_eq!(add_hooks(&edited.text).unwrap().text, edited.text);
}

#[test]
fn h4_another_hook_that_makes_worktrees_stays_the_only_one() {
    let foreign = r#"{"hooks": {"WorktreeCreate": [{"type": "command", "command": "~/.claude/hooks/setup-worktree.sh"}]}}"#;
    let edited = add_hooks(foreign).unwrap();
    assert_eq!(edited.text, foreign);
    assert!(edited.by_hand[0].why.contains("another `WorktreeCreate` hook"), "{:?}", edited.by_hand);
}

#[test]
fn h4_a_hook_with_options_of_the_user_counts_and_is_not_removed() {
    let own = r#"{"hooks":{"WorktreeCreate":[{"hooks":[{"type":"command","command":"/opt/devrun hook worktree-create"}]}],"WorktreeRemove":[{"hooks":[{"type":"command","command":"devrun hook worktree-remove --uncommitted"}]}]}}"#;
    assert_eq!(add_hooks(own).unwrap().text, own);
    assert_eq!(remove_hooks(own).unwrap().text, own);
}

#[test]
fn h4_malformed_settings_are_errors_with_their_place() {
    for (text, wanted) in [
        ("{\n  \"hooks\": {,}\n}", "line 2, column 13: key must be a string"),
        ("{\n  \"hooks\": [\n  ]\n}", "line 2, column 12: `hooks` is not an object"),
        ("{\"hooks\": {\"WorktreeCreate\": {}}}", "line 1, column 30: `hooks.WorktreeCreate` is not a list"),
        ("[]", "line 1, column 1: it is not a JSON object"),
    ] {
        assert_eq!(add_hooks(text).unwrap_err().to_string(), wanted, "{text}");
    }
}

#[test]
fn h4_settings_with_comments_are_left_to_the_user() {
    let text = "{\n  // mine\n  \"env\": {},\n}\n";
    let edited = add_hooks(text).unwrap();
    assert_eq!(edited.text, text);
    assert!(edited.by_hand[0].snippet.contains("\"WorktreeCreate\""), "{:?}", edited.by_hand);
    assert_eq!(remove_hooks(text).unwrap(), Edited { text: text.into(), by_hand: Vec::new() });
}

#[test]
fn w15_cursor_prepares_worktrees_beside_the_commands_of_the_user() {
    let cursor = |text: &str| {
        replayed(text, |text| add_cursor_setup(text).unwrap(), |text| remove_cursor_setup(text).unwrap())
    };
    let edited = cursor(
        "{\n  \"setup-worktree\": [\n    \"npm ci\",\n    \"cp $ROOT_WORKTREE_PATH/.env .env\"\n  ]\n}\n",
    );
    let commands = json!(["npm ci", "cp $ROOT_WORKTREE_PATH/.env .env", PREPARE]);
    assert_eq!(value(&edited), json!({ "setup-worktree": commands }));
    // The key for Unix has precedence.
    let edited = cursor(r#"{"setup-worktree": ["a"], "setup-worktree-unix": ["b"]}"#);
    assert_eq!(value(&edited)["setup-worktree-unix"], json!(["b", PREPARE]));
    let script = cursor(r#"{"setup-worktree": "setup.sh"}"#);
    assert!(script.by_hand[0].snippet.contains(PREPARE), "{script:?}");
    assert_eq!(value(&add_cursor_setup("").unwrap()), json!({ "setup-worktree": [PREPARE] }));
    let error = add_cursor_setup("{\"setup-worktree\": 7}").unwrap_err();
    assert_eq!(error.column, 20);
}

#[test]
fn w14_the_server_joins_others_and_an_own_entry_stays() {
    let server =
        |text: &str| replayed(text, |text| add_server(text).unwrap(), |text| remove_server(text).unwrap());
    let edited = server("{\n  \"mcpServers\": {\n    \"db\": {\"command\": \"x\"}\n  }\n}\n");
    assert_eq!(value(&edited)["mcpServers"]["devrun"], json!({ "command": "devrun", "args": ["mcp"] }));
    let own = r#"{"mcpServers": {"devrun": {"command": "/opt/devrun", "args": ["mcp"]}}}"#;
    assert_eq!(server(own).text, own);
}

#[test]
fn w2_conductor_scripts_of_the_user_stay() {
    let scripts =
        |text: &str| replayed(text, |text| add_scripts(text).unwrap(), |text| remove_scripts(text).unwrap());
    let edited = scripts(
        "{\n    \"scripts\": {\n        \"setup\": \"npm install; cp $CONDUCTOR_ROOT_PATH/.env .env\"\n    },\n    \"runScriptMode\": \"nonconcurrent\"\n}",
    );
    let value = value(&edited);
    assert_eq!((&value["scripts"]["run"], &value["scripts"]["archive"]), (&json!(RUN), &json!(DOWN)));
    assert!(edited.by_hand[0].snippet.starts_with("add to `setup`"), "{:?}", edited.by_hand);
    let toml = |text: &str| {
        replayed(text, |text| add_to_conductor(text).unwrap(), |text| remove_from_conductor(text).unwrap())
    };
    let head = "\"$schema\" = \"https://conductor.build/schemas/settings.repo.schema.json\"\n\n";
    let edited = toml(&format!("{head}[scripts]\n# mine\nsetup = \"bin/setup\" # first\n\n[git]\na = 1\n"));
    assert!(
        edited.text.contains("# first\nrun = \"devrun\"\narchive = \"devrun down || true\"\n\n[git]"),
        "{}",
        edited.text
    );
    assert_eq!(edited.by_hand.len(), 1);
    let dotted = toml("scripts.setup = \"x\"\n");
    assert_eq!(dotted.by_hand.len(), 3, "{dotted:?}");
}

#[test]
fn w6_codex_environments_keep_what_the_application_wrote() {
    let codex = |text: &str| {
        replayed(
            text,
            |text| add_to_codex(text, "shop").unwrap(),
            |text| remove_from_codex(text, "shop").unwrap(),
        )
    };
    let head = "# THIS IS AUTOGENERATED. DO NOT EDIT MANUALLY\nversion = 1\nname = \"shop\"\n";
    let actions = "\n[[actions]]\nname = \"Run\"\nicon = \"run\"\ncommand = \"./run.sh\"\n";
    for text in [
        format!("{head}{actions}"),
        format!("{head}{actions}").trim_end().to_string(),
        head.replace('\n', "\r\n"),
    ] {
        let edited = codex(&text);
        let table: toml::Table = edited.text.parse().unwrap();
        assert_eq!(table["setup"]["script"].as_str(), Some(CODEX_PREPARE));
        assert_eq!(table["cleanup"]["script"].as_str(), Some(CODEX_DOWN));
        assert_eq!(edited.by_hand.len(), 0);
    }
    // The application writes an empty script for none.
    let filled = add_to_codex(&format!("{head}\n[setup]\nscript = \"\"\n{actions}"), "shop").unwrap();
    let table: toml::Table = filled.text.parse().unwrap();
    assert_eq!(table["setup"]["script"].as_str(), Some(CODEX_PREPARE));
    assert!(filled.text.contains("\n[setup]\nscript = ") && filled.by_hand.is_empty(), "{filled:?}");
    let own = codex(&format!("{head}\n[setup]\nscript = '''\nset -e\nnpm ci\n'''\n"));
    assert_eq!(own.by_hand.len(), 1, "{own:?}");
    assert!(add_to_codex("", "shop").unwrap().text.starts_with("version = 1\nname = \"shop\"\n"));
    assert_eq!(codex("").text, add_to_codex("", "shop").unwrap().text);
    let error = add_to_codex("version = 1\nname = \n", "shop").unwrap_err();
    assert_eq!((error.line, error.column), (2, 8));
    let error = add_to_codex("setup = 1\n", "shop").unwrap_err();
    assert_eq!(error.to_string(), "line 1, column 9: `setup` is not a table");
}
