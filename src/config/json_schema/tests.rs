//! Compares the schema with the reader, by means of a JSON Schema validator.

use std::path::Path;
use std::sync::LazyLock;

use super::*;
use crate::config::error::ConfigError;
use crate::config::source::Source;
use crate::config::{keys, merge, schema, yaml};

static VALIDATOR: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&document()).unwrap());

/// Parts of the errors of the reader about rules that no schema can express: references between keys, rules about the worktree,
/// templates, expressions, and files that recognition would complete.
const BEYOND: [&str; 35] = [
    "a key must be text",
    "another value than devrun reads",
    "belongs to",
    "copies only the data",
    "are less than 100 apart",
    "probes by ",
    "together with `listen`",
    "but that has no `ready`",
    "cannot be read",
    "devrun computes",
    "has no processes",
    "has no value",
    "has no `processes`",
    "is a folder",
    "is named twice",
    "is not a valid glob",
    "is not a valid regular expression",
    "is not a name that devrun knows",
    "is not read",
    "is neither",
    "is not a valid form for a Postgres URL",
    "is already that of",
    "leads out of the worktree",
    "must contain `${name}`",
    "needs `run`",
    "needs `url`",
    "never closes",
    "takes a URL such as",
    "takes exactly one of http",
    "there are no ports left",
    "there is no f",
    "there is no p",
    "waits for itself",
    "which this configuration does not have",
    "would share one variable's name",
];

fn verdict(text: &str) -> Option<Result<(), String>> {
    let value = yaml::json(text)?;
    Some(VALIDATOR.validate(&value).map_err(|error| format!("{}: {error}", error.instance_path())))
}

/// Returns the difference if the schema and the reader judge `text` differently, in a way that a schema can express.
fn difference<T>(text: &str, read: &Result<T, ConfigError>) -> Option<String> {
    match (read, verdict(text)) {
        (Ok(_), Some(Err(error))) => Some(format!("the schema refuses {error}\n{text}")),
        (Err(error), Some(Ok(()))) => {
            let message = error.to_string();
            let is_beyond = BEYOND.iter().any(|part| message.contains(part));
            (!is_beyond).then(|| format!("the schema accepts, the reader does not: {message}\n{text}"))
        }
        _ => None,
    }
}

/// Panics if the schema and the reader judge `text` differently, in a way that a schema can express.
#[track_caller]
pub fn compare<T>(text: &str, read: &Result<T, ConfigError>) {
    if let Some(difference) = difference(text, read) {
        panic!("{difference}");
    }
}

/// Reads files, and returns how many were accepted. Panics with all differences.
#[track_caller]
fn compare_all(files: &[String]) -> usize {
    let mut differences = Vec::new();
    let accepted = files.iter().filter(|text| {
        let read = yaml::parse(&Source::new("devrun.yaml", text.as_str()))
            .and_then(|node| merge::wants_recognition(&node).and(schema::read(&node)));
        differences.extend(difference(text, &read));
        read.is_ok()
    });
    let accepted = accepted.count();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    accepted
}

/// Values of many kinds, as YAML in one line.
const VALUES: [&str; 46] = [
    "x",
    "''",
    "' '",
    "null",
    "~",
    "'null'",
    "true",
    "false",
    "yes",
    "NO",
    "'off'",
    "0",
    "1",
    "99",
    "100",
    "200",
    "600",
    "3000",
    "65436",
    "-1",
    "1.5",
    "0.1",
    "0.25-2",
    "5s",
    "0s",
    "250ms",
    "5 s",
    "10MiB",
    "0MiB",
    "/x",
    "/a b",
    "../x",
    "TERM",
    "sigint",
    "any",
    "open",
    "no",
    "on-failure",
    "ready",
    "local",
    "[]",
    "[x]",
    "[a, b]",
    "[node]",
    "{}",
    "{ a: b }",
];

/// A table, and the file that tests one of its keys.
struct KeyPlace {
    table: &'static TableForm,
    /// The file, with `@` in the place of the key and its value.
    file: &'static str,
    /// Another key that a valid file needs there.
    beside: &'static str,
    /// The keys that need no `beside`.
    alone: &'static [&'static str],
}

impl KeyPlace {
    fn file(&self, key: &str, value: &str) -> String {
        let is_alone = self.beside.is_empty() || self.alone.contains(&key);
        let rest = if is_alone { String::new() } else { format!(", {}", self.beside) };
        self.file.replace('@', &format!("{key}: {value}{rest}"))
    }
}

#[test]
fn every_key_agrees_with_its_reader_about_values_of_every_kind() {
    let plain = |table, file| KeyPlace { table, file, beside: "", alone: &[] };
    let beside = |table, file, beside, alone| KeyPlace { table, file, beside, alone };
    let places = [
        plain(&keys::TOP, "@"),
        plain(&keys::LOGS, "logs: { @ }"),
        plain(&keys::WORKTREES_TABLE, "worktrees: { @ }"),
        plain(&keys::DEPENDENCIES, "dependencies: { @ }"),
        plain(&keys::LANGUAGE, "dependencies: { node: { @ } }"),
        plain(&keys::ENV_OUT, "env_out: { .env.x: { @ } }"),
        plain(&keys::DATABASE, "database: { @ }"),
        plain(neon(), "database: { neon: { @ } }"),
        beside(&keys::SETUP, "setup: { s: { @ } }", "run: x", &["run"]),
        beside(&keys::MIGRATE, "database: { migrate: { @ } }", "run: x", &["run", "sql"]),
        beside(&keys::SEED, "database: { seed: { @ } }", "run: x", &["run", "file"]),
        beside(&keys::PROCESS, "processes: { p: { @ } }", "run: x", &["run"]),
        plain(&keys::SERVICE, "services: { redis: { @ } }"),
        beside(&keys::SHARED, "services: { redis: { shared: { @ } } }", "url: 'redis://h'", &["url"]),
        beside(
            &keys::READY,
            "processes: { p: { run: x, port: p, ready: { @ } } }",
            "http: /",
            &["http", "tcp", "log", "exec"],
        ),
    ];
    let mut files = Vec::new();
    for place in places {
        for key in place.table.names().into_iter().chain(["nope"]) {
            files.extend(VALUES.iter().map(|value| format!("{}\n", place.file(key, value))));
        }
    }
    let accepted = compare_all(&files);
    assert!(accepted > 500 && accepted < files.len() / 2, "{accepted} of {} accepted", files.len());
}

/// Returns the section with the most keys.
fn neon() -> &'static TableForm {
    let sections = keys::SECTIONS.iter().flat_map(|section| section.form.tables());
    sections.max_by_key(|section| section.names().len()).unwrap()
}

#[test]
fn names_agree_with_their_reader() {
    let mut files = Vec::new();
    for name in ["web", "a b", "1a", "A_B", "a-b", "'8000'", "'0'", "x.y", "/x", "../x", "'A=b'", "''"] {
        files.extend([
            format!("ports: {{ {name}: 3000 }}\n"),
            format!("processes: {{ {name}: x }}\n"),
            format!("setup: {{ {name}: x }}\n"),
            format!("services: {{ {name}: {{ run: x }} }}\n"),
            format!("env: {{ {name}: x }}\n"),
            format!("env: {{ {name}: }}\n"),
            format!("env_out: {{ {name}: {{}} }}\n"),
            format!("urls: {{ {name}: x }}\n"),
            format!("redirects: {{ {name}: web }}\n"),
            format!("database: {{ url_env: {{ {name}: postgresql }} }}\n"),
            format!("database: {{ url_env: [{name}] }}\n"),
            format!("shell_env: [{name}]\n"),
        ]);
    }
    assert!(compare_all(&files) > 20);
}

/// Returns the blocks of YAML in a page.
fn blocks(page: &str) -> Vec<String> {
    let parts = page.split("```yaml\n").skip(1).filter_map(|part| part.split("\n```").next());
    parts.map(|block| format!("{block}\n")).collect()
}

#[test]
fn every_example_of_the_project_is_judged_as_the_reader_does() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert_eq!(compare_all(&[read(&here.join("devrun.yaml.example"))]), 1, "the example is read");
    let mut pages = vec![here.join("README.md")];
    for folder in ["docs", "docs/decisions"] {
        pages.extend(std::fs::read_dir(here.join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    let pages = pages.iter().filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let examples: Vec<String> = pages.flat_map(|page| blocks(&read(page))).collect();
    let accepted = compare_all(&examples);
    assert!(accepted > 10, "only {accepted} of {} blocks are read", examples.len());
}
