//! Where a value was written: file, line, column and key path, and the one line shown when it is wrong.
//!
//! Refuses to show secrets: values are masked unless the key is one of devrun's own that cannot hold any.

use std::fmt;
use std::sync::{Arc, LazyLock};

use regex::Regex;

/// A text that was read, kept to show the line an error is about.
#[derive(PartialEq, Eq)]
pub struct Source {
    /// What people call it: `devrun.yaml`, `Procfile`, `backend/.env`.
    pub name: String,
    text: String,
}

impl Source {
    /// Keeps `text` under `name`.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Source> {
        Arc::new(Source { name: name.into(), text: text.into() })
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line `number`, counted from 1, with every value masked that could be a secret.
    pub fn shown_line(&self, number: u32) -> Option<String> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let line = self.text.lines().nth(index)?.trim_end();
        (!line.trim().is_empty()).then(|| mask_line(line))
    }
}

/// Never the text: it may hold secrets.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({:?})", self.name)
    }
}

/// A place in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The file.
    pub source: Arc<Source>,
    /// Line, counted from 1; 0 when the value was written nowhere (recognised, or a default).
    pub line: u32,
    /// Column in characters, counted from 1; 0 when unknown.
    pub column: u32,
    /// Path of the key, such as `processes.backend.port`; empty at the top or when unknown.
    pub key: String,
}

impl At {
    /// A file as a whole.
    pub fn file(source: &Arc<Source>) -> At {
        At { source: Arc::clone(source), line: 0, column: 0, key: String::new() }
    }

    /// A line of a file.
    pub fn line(source: &Arc<Source>, line: u32) -> At {
        At { line, column: 1, ..At::file(source) }
    }

    /// The line itself, masked.
    pub fn shown_line(&self) -> Option<String> {
        self.source.shown_line(self.line)
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source.name)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        Ok(())
    }
}

/// Keys of devrun.yaml whose values are shown in errors: none of them is a place for a secret.
const SHOWN: &[&str] = &[
    "name",
    "ports",
    "frontend",
    "backend",
    "directory",
    "provider",
    "branch",
    "inputs",
    "run",
    "port",
    "listen",
    "depends_on",
    "ready",
    "http",
    "tcp",
    "log",
    "status",
    "host",
    "interval",
    "timeout",
    "deadline",
    "restart",
    "max_restarts",
    "stop_signal",
    "stop_grace",
    "tty",
    "autostart",
    "expose",
    "needs",
    "node_preload",
    "env_files",
    "url_env",
    "procfile",
    "schema_only",
    "pooled",
    "expires_in",
    "suspend_timeout",
    "compute_units",
    "size",
    "files",
    "logs",
];

static PASSWORD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(://[^\s:/@]*:)[^\s@]*@").ok());
static ASSIGNMENT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\b([A-Z_][A-Z0-9_]*)=('[^']*'|\S+)").ok());

/// `text` with the passwords of URLs replaced by `***`.
pub fn mask_urls(text: &str) -> String {
    match PASSWORD.as_ref() {
        _ if !may_hold_password(text) => text.into(),
        Some(password) => password.replace_all(text, "${1}***@").into_owned(),
        None => "***".into(),
    }
}

/// True when `text` holds a URL with a password.
pub fn holds_password(text: &str) -> bool {
    may_hold_password(text) && PASSWORD.as_ref().is_none_or(|password| password.is_match(text))
}

/// Most texts do not: then the pattern, which costs more to make than all else here, is not made.
fn may_hold_password(text: &str) -> bool {
    text.contains("://") && text.contains('@')
}

fn mask_line(line: &str) -> String {
    let indent = line.len() - line.trim_start_matches([' ', '\t', '-']).len();
    let (lead, rest) = line.split_at(indent);
    let key_end = rest.find([':', '=', ' ']).filter(|end| rest[*end..].starts_with([':', '=']));
    let Some(end) = key_end else {
        return format!("{lead}***");
    };
    let (key, value) = rest.split_at(end);
    let bare_key = key.trim_matches(['"', '\'']);
    if value[1..].trim().is_empty() {
        return line.to_string();
    }
    // A flow mapping has further keys on the same line; only a first key we know and no inner one is shown.
    if !SHOWN.contains(&bare_key) || flow_hides_other_keys(value) {
        return format!("{lead}{key}{} ***", &value[..1]);
    }
    let shown = mask_urls(value);
    match ASSIGNMENT.as_ref() {
        Some(assignment) => format!("{lead}{key}{}", assignment.replace_all(&shown, "${1}=***")),
        None => format!("{lead}{key}: ***"),
    }
}

fn flow_hides_other_keys(value: &str) -> bool {
    value.contains('{')
        && value
            .split(['{', ','])
            .skip(1)
            .filter_map(|part| part.split_once(':'))
            .any(|(key, _)| !SHOWN.contains(&key.trim().trim_matches(['"', '\''])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_values_that_cannot_be_secret_are_shown() {
        let cases = [
            ("    port: 80x", "    port: 80x"),
            ("  API_TOKEN: abc", "  API_TOKEN: ***"),
            ("  - abc", "  - ***"),
            ("some text", "***"),
            ("ports: { frontend: 3100, backend: 3150 }", "ports: { frontend: 3100, backend: 3150 }"),
            ("x: { run: a, env: { K: v } }", "x: ***"),
            ("ready: { http: /, K: v }", "ready: ***"),
            ("  run: TOKEN=abc serve", "  run: TOKEN=*** serve"),
            ("  run: serve postgres://u:pa:ss@h/d", "  run: serve postgres://u:***@h/d"),
            ("TOKEN=abc", "TOKEN= ***"),
            ("processes:", "processes:"),
        ];
        for (line, shown) in cases {
            assert_eq!(mask_line(line), shown, "{line}");
        }
    }

    #[test]
    fn places_read_like_a_compiler_s() {
        let source = Source::new("devrun.yaml", "a: 1\n");
        let at = At { key: "ports.web".into(), column: 4, ..At::line(&source, 1) };
        assert_eq!(at.to_string(), "devrun.yaml:1:4: ports.web");
        assert_eq!(At::file(&source).to_string(), "devrun.yaml");
    }

    proptest! {
        #[test]
        fn values_of_environment_variables_never_show(name in "[A-Z][A-Z_]{1,10}", value in "[a-z0-9]{12,20}") {
            let line = format!("  {name}: {value}");
            prop_assert!(!mask_line(&line).contains(&value));
        }

        #[test]
        fn masking_never_panics(line in "\\PC*") {
            mask_line(&line);
        }
    }
}
