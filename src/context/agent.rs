//! Recognises the coding agent that started devrun, by the variables that it sets for its commands. The only table of agents.
//! Pure.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// Turns the recognition off (`0`), or names an agent that is not in the table.
pub const SETTING: &str = "DEVRUN_AGENT";

/// The variables of one agent.
struct AgentVariables {
    name: &'static str,
    /// Variables of which the agent sets at least one for its commands. A value such as `0`, `false` or `off` does not count.
    marks: &'static [&'static str],
    /// Variables that the agent also sets in terminals that the user types in. They count only if no standard stream is a
    /// terminal.
    marks_off_terminals: &'static [&'static str],
    /// Variables with the id of the agent's session. The first one that is set counts.
    sessions: &'static [&'static str],
}

/// The known agents. The first match counts. An agent that may run in the terminal of another one comes before that one.
const AGENTS: [AgentVariables; 9] = [
    AgentVariables {
        name: "claude-code",
        marks: &["CLAUDECODE", "CLAUDE_CODE"],
        marks_off_terminals: &[],
        sessions: &["CLAUDE_CODE_SESSION_ID", "CLAUDE_SESSION_ID"],
    },
    AgentVariables {
        name: "codex",
        marks: &["CODEX_SANDBOX", "CODEX_THREAD_ID", "CODEX_CI", "CODEX_SANDBOX_NETWORK_DISABLED"],
        marks_off_terminals: &[],
        sessions: &["CODEX_THREAD_ID"],
    },
    AgentVariables { name: "gemini-cli", marks: &["GEMINI_CLI"], marks_off_terminals: &[], sessions: &[] },
    AgentVariables {
        name: "opencode",
        marks: &["OPENCODE", "OPENCODE_CLIENT"],
        marks_off_terminals: &[],
        sessions: &["OPENCODE_SESSION_ID"],
    },
    AgentVariables { name: "aider", marks: &["AIDER"], marks_off_terminals: &[], sessions: &[] },
    AgentVariables { name: "augment", marks: &["AUGMENT_AGENT"], marks_off_terminals: &[], sessions: &[] },
    AgentVariables {
        name: "antigravity",
        marks: &["ANTIGRAVITY_AGENT"],
        marks_off_terminals: &[],
        sessions: &[],
    },
    AgentVariables { name: "copilot", marks: &["COPILOT_AGENT"], marks_off_terminals: &[], sessions: &[] },
    // Cursor's terminal runs other agents too.
    AgentVariables {
        name: "cursor",
        marks: &["CURSOR_AGENT"],
        marks_off_terminals: &["CURSOR_TRACE_ID"],
        sessions: &["CURSOR_TRACE_ID"],
    },
];

/// A variable by which an agent of any kind gives its name.
const AGENT_NAME: &str = "AI_AGENT";

/// The agent that runs a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    pub name: String,
    /// The variable that it was recognised by.
    pub variable: String,
    /// The value of the variable that names its session.
    pub session: Option<String>,
}

/// Returns the agent whose variables are in `env`. `on_terminal` is true if a standard stream is a terminal.
pub fn recognise(env: &BTreeMap<OsString, OsString>, on_terminal: bool) -> Option<Agent> {
    let value = |name: &str| {
        let value = env.get(OsStr::new(name))?.to_str()?.trim();
        (!value.is_empty()).then_some(value)
    };
    let is_off = |value: &str| matches!(value.to_ascii_lowercase().as_str(), "0" | "false" | "no" | "off");
    let is_set = |name: &str| value(name).is_some_and(|value| !is_off(value));
    let setting = value(SETTING);
    if setting.is_some_and(is_off) {
        return None;
    }
    let marked = AGENTS.iter().find_map(|agent| {
        let more = if on_terminal { &[] } else { agent.marks_off_terminals };
        let variable = agent.marks.iter().chain(more).find(|name| is_set(name))?;
        let session = agent.sessions.iter().find_map(|name| value(name)).map(Into::into);
        Some(Agent { name: agent.name.into(), variable: (*variable).into(), session })
    });
    let named = |variable: &str| {
        let name = value(variable).filter(|value| !is_off(value))?;
        let name = if name == "1" || name == "true" { "agent" } else { name };
        Some(Agent { name: name.chars().take(40).collect(), variable: variable.into(), session: None })
    };
    marked.or_else(|| named(SETTING)).or_else(|| named(AGENT_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)], on_terminal: bool) -> Option<(String, Option<String>)> {
        let env = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        recognise(&env, on_terminal).map(|agent| (agent.name, agent.session))
    }

    #[test]
    fn a2_agents_are_recognised_by_their_variables() {
        let agent = |name: &str, session: Option<&str>| Some((name.to_string(), session.map(Into::into)));
        assert_eq!(found(&[], false), None);
        assert_eq!(found(&[("CLAUDECODE", "1")], true), agent("claude-code", None));
        assert_eq!(
            found(&[("CLAUDECODE", "1"), ("CLAUDE_CODE_SESSION_ID", "abc")], false),
            agent("claude-code", Some("abc"))
        );
        assert_eq!(found(&[("CODEX_THREAD_ID", "t")], false), agent("codex", Some("t")));
        assert_eq!(found(&[("CODEX_HOME", "/h")], false), None, "a setting of the user");
        assert_eq!(found(&[("AI_AGENT", "devin@1")], false), agent("devin@1", None));
        assert_eq!(found(&[("GEMINI_CLI", "0")], false), None);
        // Cursor sets it in the terminals that its user types in too.
        assert_eq!(found(&[("CURSOR_TRACE_ID", "t")], true), None);
        assert_eq!(found(&[("CURSOR_TRACE_ID", "t")], false), agent("cursor", Some("t")));
        assert_eq!(
            found(&[("CURSOR_TRACE_ID", "t"), ("CLAUDECODE", "1")], false),
            agent("claude-code", None)
        );
    }

    #[test]
    fn a2_the_setting_turns_the_recognition_off_or_on() {
        assert_eq!(found(&[("CLAUDECODE", "1"), ("DEVRUN_AGENT", "0")], false), None);
        assert_eq!(found(&[("DEVRUN_AGENT", "1")], false).unwrap().0, "agent");
        assert_eq!(found(&[("DEVRUN_AGENT", "mine")], false).unwrap().0, "mine");
        assert_eq!(found(&[("DEVRUN_AGENT", "1"), ("CLAUDECODE", "1")], false).unwrap().0, "claude-code");
    }
}
