//! The MCP tools: their names, arguments and command lines. Pure.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

/// The largest number of log lines in one answer.
const MOST_LINES: u64 = 1000;
const LINES: u64 = 50;

/// A command line, without the program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CommandLine {
    pub(super) words: Vec<OsString>,
    /// How long the command itself waits.
    pub(super) limit: Duration,
    /// True if the command prints several lines of JSON.
    pub(super) lines: bool,
}

/// One tool: its name, description and arguments, the default timeout in seconds (0: it has none), and its effect.
struct ToolSpec {
    name: &'static str,
    about: &'static str,
    arguments: &'static [&'static str],
    seconds: u64,
    effect: ToolEffect,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ToolEffect {
    Looks,
    Builds,
    Ends,
}

const ALL: [ToolSpec; 6] = [
    ToolSpec {
        name: "up",
        about: "Bring the whole stack of this worktree up in the background and return when everything is ready. Changes \
                nothing when it runs already. Answers with state, ports, URLs, database and processes.",
        arguments: &["timeout_seconds"],
        seconds: 600,
        effect: ToolEffect::Builds,
    },
    ToolSpec {
        name: "down",
        about: "Take the stack of this worktree down; returns when its processes are gone and its ports are free.",
        arguments: &["timeout_seconds"],
        seconds: 30,
        effect: ToolEffect::Ends,
    },
    ToolSpec {
        name: "status",
        about: "What the stack of this worktree is doing, or how it last ended: state, ports, URLs, database, processes.",
        arguments: &[],
        seconds: 0,
        effect: ToolEffect::Looks,
    },
    ToolSpec {
        name: "logs",
        about: "The last lines that the processes of this worktree wrote (50 unless `lines` says otherwise), also after their end.",
        arguments: &["process", "lines", "grep", "since"],
        seconds: 0,
        effect: ToolEffect::Looks,
    },
    ToolSpec {
        name: "restart",
        about: "Stop a process, or all of them, start it again and return when it is ready.",
        arguments: &["process", "timeout_seconds"],
        seconds: 120,
        effect: ToolEffect::Builds,
    },
    ToolSpec {
        name: "why",
        about: "What a process is waiting for or why it ended, whether that is the code or the environment, its last lines, and the \
                one command that would help. Without `process`: the one in the worst state.",
        arguments: &["process"],
        seconds: 0,
        effect: ToolEffect::Looks,
    },
];

/// Returns the descriptions of all tools.
pub(super) fn all() -> Vec<Tool> {
    ALL.iter().map(tool).collect()
}

fn tool(kind: &ToolSpec) -> Tool {
    let mut properties = JsonObject::new();
    for name in ["directory"].iter().chain(kind.arguments) {
        properties.insert((*name).into(), property(name, kind.seconds));
    }
    let schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let schema = schema.as_object().cloned().unwrap_or_default();
    let annotations = ToolAnnotations::new()
        .read_only(kind.effect == ToolEffect::Looks)
        .destructive(kind.effect == ToolEffect::Ends)
        .open_world(false);
    Tool::new(kind.name, kind.about, Arc::new(schema)).with_annotations(annotations)
}

fn property(name: &str, seconds: u64) -> Value {
    match name {
        "directory" => {
            json!({ "type": "string", "description": "A folder of the worktree; where this server was started, unless given." })
        }
        "process" => json!({ "type": "string", "description": "Name of one process." }),
        "lines" => json!({ "type": "integer", "minimum": 1, "maximum": MOST_LINES, "default": LINES }),
        "grep" => {
            json!({ "type": "string", "description": "Only lines that match this regular expression." })
        }
        "since" => {
            json!({ "type": "string", "description": "Nothing older: 90s, 5m, 2h, or a time as in 2026-01-31T12:00:00Z." })
        }
        _ => json!({ "type": "integer", "minimum": 1, "maximum": 3600, "default": seconds }),
    }
}

/// Returns the command line of the tool `name` with these arguments. Errors, with a text for the client, if the tool or
/// an argument is unknown or a value is invalid.
pub(super) fn understand(name: &str, arguments: &JsonObject) -> Result<CommandLine, String> {
    let kind =
        ALL.iter().find(|kind| kind.name == name).ok_or_else(|| format!("there is no tool `{name}`"))?;
    let known = |argument: &str| argument == "directory" || kind.arguments.contains(&argument);
    if let Some(stranger) = arguments.keys().find(|argument| !known(argument)) {
        return Err(format!("`{name}` has no argument `{stranger}`"));
    }
    let text = |argument: &str| match arguments.get(argument) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.contains('\0') => Ok(Some(text.as_str())),
        Some(_) => Err(format!("`{argument}` must be text")),
    };
    let number = |argument: &str, most: u64| match arguments.get(argument) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .filter(|number| (1..=most).contains(number))
            .map(Some)
            .ok_or_else(|| format!("`{argument}` must be a number from 1 to {most}")),
    };
    let mut words: Vec<String> = vec!["--json".into()];
    words.extend(text("directory")?.map(|directory| format!("-C{directory}")));
    words.push(name.into());
    words.extend((name == "up").then(|| "--detach".into()));
    let seconds = number("timeout_seconds", 3600)?.unwrap_or(kind.seconds);
    if kind.seconds > 0 {
        words.push(format!("--timeout={seconds}"));
    }
    if name == "logs" {
        words.push(format!("--lines={}", number("lines", MOST_LINES)?.unwrap_or(LINES)));
        words.extend(text("grep")?.map(|grep| format!("--grep={grep}")));
        words.extend(text("since")?.map(|since| format!("--since={since}")));
    }
    if let Some(process) = text("process")? {
        // After `--`, a name that begins with `-` is not parsed as an option.
        words.extend(["--".into(), process.into()]);
    }
    let words = words.into_iter().map(OsString::from).collect();
    Ok(CommandLine { words, limit: Duration::from_secs(seconds), lines: name == "logs" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(name: &str, arguments: &Value) -> Result<String, String> {
        let call = understand(name, arguments.as_object().unwrap())?;
        Ok(call.words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn each_tool_runs_a_verb_and_arguments_never_become_options() {
        let none = json!({});
        assert_eq!(words("up", &none).unwrap(), "--json up --detach --timeout=600");
        assert_eq!(words("status", &json!({ "directory": "/w" })).unwrap(), "--json -C/w status");
        assert_eq!(words("why", &json!({ "process": "--help" })).unwrap(), "--json why -- --help");
        assert_eq!(
            words("logs", &json!({ "process": "api", "lines": 5, "grep": "-x", "since": "5m" })).unwrap(),
            "--json logs --lines=5 --grep=-x --since=5m -- api"
        );
        assert_eq!(words("restart", &json!({ "timeout_seconds": 7 })).unwrap(), "--json restart --timeout=7");
        assert_eq!(words("down", &none).unwrap(), "--json down --timeout=30");
    }

    #[test]
    fn invalid_calls_are_refused() {
        for (name, arguments) in [
            ("exec", json!({ "command": "ls" })),
            ("status", json!({ "process": "x" })),
            ("logs", json!({ "lines": 0 })),
            ("logs", json!({ "lines": 1_000_000 })),
            ("why", json!({ "process": 7 })),
            ("status", json!({ "directory": "a\u{0}b" })),
        ] {
            assert!(words(name, &arguments).is_err(), "{name} {arguments}");
        }
    }

    #[test]
    fn every_tool_describes_its_arguments() {
        for tool in all() {
            assert!(tool.input_schema["properties"].get("directory").is_some(), "{}", tool.name);
            assert!(tool.description.is_some_and(|text| text.len() > 20));
        }
    }
}
