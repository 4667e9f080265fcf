//! Masks the values in a line of devrun.yaml or a Procfile before an error shows it.
//!
//! Shows keys and structure, because a typo is often in them. Shows values only under keys that never hold a secret.

use std::sync::LazyLock;

use regex::Regex;

use super::keys;
use crate::config::key_types::TableForm;
use crate::text::hide_in_urls;

/// Keys of devrun.yaml, beside those of a process, with values that errors may show, because they never hold a secret.
const SHOWN: &[&str] = &[
    "name",
    "ports",
    "frontend",
    "backend",
    "provider",
    "branch",
    "inputs",
    "url_env",
    "procfile",
    "redirects",
    "schema_only",
    "pooled",
    "expires_in",
    "suspend_timeout",
    "compute_units",
    "size",
    "files",
    "logs",
    "prune",
    "auto",
];
/// Keys under which every value counts as secret.
const SECRET: &[&str] = &["env", "urls"];

static ASSIGNMENT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\b([A-Z_][A-Z0-9_]*)=('[^']*'|\S+)").ok());

/// The place of a line in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExcerptLine<'a> {
    /// Unknown; only the line itself is available.
    Unknown,
    /// A process. Its value is a command in the short form `web: npm start`.
    Process(&'a str),
    /// A place for values that may be secret.
    Secret,
}

impl ExcerptLine<'_> {
    /// Returns the place of a key path such as `processes.web`.
    pub(super) fn of(path: &str) -> ExcerptLine<'_> {
        let mut parts = path.split('.');
        if parts.clone().any(|part| SECRET.contains(&part)) {
            return ExcerptLine::Secret;
        }
        match (parts.next(), parts.next(), parts.next()) {
            (Some("processes"), Some(name), None) => ExcerptLine::Process(name),
            _ => ExcerptLine::Unknown,
        }
    }
}

/// Returns true if errors may show the values of `key`.
fn is_shown(key: &str) -> bool {
    let of_process = [keys::PROCESS, keys::READY];
    let is_key = |table: TableForm| table.keys().any(|known| known.name == key);
    !SECRET.contains(&key) && (SHOWN.contains(&key) || of_process.into_iter().any(is_key))
}

/// Returns `line` with its values masked.
pub(super) fn masked(line: &str, place: ExcerptLine<'_>) -> String {
    let indent = line.len() - line.trim_start_matches([' ', '\t', '-']).len();
    let (lead, rest) = line.split_at(indent);
    let key_end = rest.find([':', '=', ' ', '{', '[']).filter(|end| rest[*end..].starts_with([':', '=']));
    let Some(end) = key_end else {
        return format!("{lead}***");
    };
    let (key, value) = rest.split_at(end);
    if value[1..].trim().is_empty() {
        return line.to_string();
    }
    let name = key.trim_matches(['"', '\'']);
    let (separator, value) = value.split_at(1);
    let is_flow = value.trim_start().starts_with(['{', '[']);
    let value = match place {
        _ if separator == "=" => " ***".into(),
        _ if is_flow => FlowMask::new(name).mask(value),
        ExcerptLine::Secret => " ***".into(),
        ExcerptLine::Process(process) if process == name => command(value),
        _ if is_shown(name) => command(value),
        _ => " ***".into(),
    };
    format!("{lead}{key}{separator}{value}")
}

/// Masks passwords of URLs and values of assignments.
fn command(text: &str) -> String {
    let shown = hide_in_urls(text);
    match ASSIGNMENT.as_ref() {
        Some(assignment) => assignment.replace_all(&shown, "${1}=***").into_owned(),
        None => " ***".into(),
    }
}

/// Masks a flow collection such as `{ run: x, env: { K: v } }`, scalar by scalar.
struct FlowMask {
    /// Keys of the collections around the scalar, outermost first.
    around: Vec<String>,
    /// The key that the next scalar belongs to.
    key: Option<String>,
    out: String,
}

impl FlowMask {
    fn new(key: &str) -> FlowMask {
        FlowMask { around: Vec::new(), key: Some(key.into()), out: String::new() }
    }

    fn mask(mut self, text: &str) -> String {
        let mut scalar = String::new();
        let mut quote: Option<char> = None;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match (quote, c) {
                (Some(open), _) => {
                    scalar.push(c);
                    if c == open {
                        quote = None;
                    }
                }
                (None, '"' | '\'') if scalar.trim().is_empty() => {
                    quote = Some(c);
                    scalar.push(c);
                }
                (None, '{' | '[') => {
                    self.put(&mut scalar);
                    let key = self.key.take().or_else(|| self.around.last().cloned());
                    self.around.push(key.unwrap_or_default());
                    self.out.push(c);
                }
                (None, '}' | ']') => {
                    self.put(&mut scalar);
                    self.around.pop();
                    self.key = None;
                    self.out.push(c);
                }
                (None, ',') => {
                    self.put(&mut scalar);
                    self.key = None;
                    self.out.push(c);
                }
                (None, ':') if chars.peek().is_none_or(|next| [' ', '{', '['].contains(next)) => {
                    // A key that contains `=` is an assignment that was meant for an env file.
                    let key = command(&scalar);
                    self.key = Some(key.trim().trim_matches(['"', '\'']).into());
                    self.out.push_str(&key);
                    self.out.push(c);
                    scalar.clear();
                }
                (None, _) => scalar.push(c),
            }
        }
        self.put(&mut scalar);
        self.out
    }

    /// Writes the finished scalar, masked unless [`is_shown`] accepts its key and no key around it is in [`SECRET`].
    fn put(&mut self, scalar: &mut String) {
        let text = std::mem::take(scalar);
        let bare = text.trim();
        if bare.is_empty() {
            self.out.push_str(&text);
            return;
        }
        let around = || self.around.iter().map(String::as_str).chain(self.key.as_deref());
        let key = self.key.as_deref().or_else(|| self.around.last().map(String::as_str));
        if key.is_some_and(is_shown) && !around().any(|key| SECRET.contains(&key)) {
            self.out.push_str(&command(&text));
        } else {
            self.out.push_str(&text.replacen(bare, "***", 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_show_only_where_they_cannot_be_secret() {
        let cases = [
            ("    port: 80x", "    port: 80x"),
            ("  API_TOKEN: abc", "  API_TOKEN: ***"),
            ("  - abc", "  - ***"),
            ("some text", "***"),
            ("ports: { frontend: 3100, backend: 3150 }", "ports: { frontend: 3100, backend: 3150 }"),
            ("  run: TOKEN=abc serve", "  run: TOKEN=*** serve"),
            ("  run: serve postgres://u:pa:ss@h/d", "  run: serve postgres://u:***@h/d"),
            ("TOKEN=abc", "TOKEN= ***"),
            ("processes:", "processes:"),
            ("    stop_grace: 1x", "    stop_grace: 1x"),
            ("  env: abc", "  env: ***"),
        ];
        for (line, shown) in cases {
            assert_eq!(masked(line, ExcerptLine::Unknown), shown, "{line}");
        }
        assert_eq!(masked("    port: s3cret", ExcerptLine::of("processes.web.env.port")), "    port: ***");
    }

    #[test]
    fn a_typo_among_the_keys_of_a_flow_mapping_shows() {
        let cases = [
            ("x: { run: a, env: { K: v } }", "x: { run: a, env: { K: *** } }"),
            ("  api: { rn: node server.js, port: web }", "  api: { rn: ***, port: web }"),
            ("ready: { htpp: /, timeout: 5s }", "ready: { htpp: ***, timeout: 5s }"),
            ("  env: { port: s3cret, \"A\": 'x, y' }", "  env: { port: ***, \"A\": *** }"),
            ("needs: [node, python]", "needs: [node, python]"),
            ("x: [abc, { run: a b }]", "x: [***, { run: a b }]"),
            ("urls: { status: http://u:p@h }", "urls: { status: *** }"),
            ("env: { TOKEN=abc: x }", "env: { TOKEN=***: *** }"),
        ];
        for (line, shown) in cases {
            assert_eq!(masked(line, ExcerptLine::Unknown), shown, "{line}");
        }
    }

    #[test]
    fn the_short_form_of_a_process_shows_its_command() {
        let line = "  api: node sever.js TOKEN=x";
        assert_eq!(masked(line, ExcerptLine::of("processes.api")), "  api: node sever.js TOKEN=***");
        assert_eq!(masked(line, ExcerptLine::of("urls.api")), "  api: ***");
    }

    proptest! {
        #[test]
        fn values_of_environment_variables_never_show(name in "[A-Z][A-Z_]{1,10}", value in "[a-z0-9]{12,20}") {
            for line in [format!("  {name}: {value}"), format!("a: {{ env: {{ {name}: {value} }} }}")] {
                prop_assert!(!masked(&line, ExcerptLine::Unknown).contains(&value));
            }
        }

        #[test]
        fn masking_never_panics(line in "\\PC*") {
            masked(&line, ExcerptLine::Unknown);
            masked(&line, ExcerptLine::Process("a"));
        }
    }
}
