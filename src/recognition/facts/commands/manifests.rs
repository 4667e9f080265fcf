//! Reads scripts and entry points of `package.json` and of `pyproject.toml`.

use std::path::Path;

use toml::{Table, Value};

use super::line::{add, below};
use crate::recognition::facts::address::loopbacks;
use crate::recognition::facts::file::{FileFacts, spot};
use crate::recognition::facts::{Author, Command, FixedAddress, GivenValue, Giver};

/// Tables of `pyproject.toml` with commands as entries.
const TABLES: &[&[&str]] = &[
    &["project", "scripts"],
    &["tool", "poetry", "scripts"],
    &["tool", "poe", "tasks"],
    &["tool", "pdm", "scripts"],
    &["tool", "taskipy", "tasks"],
    &["tool", "rye", "scripts"],
    &["tool", "pixi", "tasks"],
];

/// Reads the scripts and the `proxy` of a `package.json`.
pub(in crate::recognition::facts) fn package(file: &Path, text: &str) -> FileFacts {
    let mut facts = FileFacts::default();
    let Ok(manifest) = serde_json::from_str::<serde_json::Value>(text) else {
        facts.limits.push(format!("{} was not read: it is not valid JSON", file.display()));
        return facts;
    };
    // The development server of Create React App forwards requests that it does not answer to this address.
    for found in manifest.get("proxy").and_then(serde_json::Value::as_str).map(loopbacks).unwrap_or_default()
    {
        let at = spot(file, row_of(text, &["\"proxy\""]));
        let (text, port) = (found.text, found.port);
        facts.addresses.push(FixedAddress { at, text, port, origin: false, server: Some(true) });
    }
    let scripts = manifest.get("scripts").and_then(serde_json::Value::as_object);
    for (name, command) in scripts.into_iter().flatten() {
        if let Some(command) = command.as_str() {
            let at = spot(file, row_of(text, &["\"scripts\"", &format!("\"{name}\"")]));
            add(&mut facts, command, &at, &Author::Package(name.clone()), file.parent());
        }
    }
    facts
}

/// Reads the scripts and the entry point of a `pyproject.toml`.
pub(in crate::recognition::facts) fn pyproject(file: &Path, text: &str) -> FileFacts {
    let mut facts = FileFacts::default();
    let Ok(manifest) = text.parse::<Table>() else {
        facts.limits.push(format!("{} was not read: it is not valid TOML", file.display()));
        return facts;
    };
    let folder = file.parent().unwrap_or(Path::new(""));
    if let Some(entry) = at(&manifest, &["tool", "fastapi", "entrypoint"]).and_then(Value::as_str) {
        facts.commands.push(Command {
            text: entry.into(),
            at: spot(file, row_of(text, &["[tool.fastapi]", "entrypoint"])),
            by: Author::Pyproject("fastapi.entrypoint".into()),
            directory: Some(folder.into()),
        });
    }
    for path in TABLES {
        let header = format!("[{}", path.join("."));
        for (name, task) in at(&manifest, path).and_then(Value::as_table).into_iter().flatten() {
            script(&mut facts, file, row_of(text, &[&header, name]), name, task);
        }
    }
    let environments = at(&manifest, &["tool", "hatch", "envs"]).and_then(Value::as_table);
    for (_, environment) in environments.into_iter().flatten() {
        let scripts = environment.get("scripts").and_then(Value::as_table);
        for (name, task) in scripts.into_iter().flatten() {
            script(&mut facts, file, row_of(text, &["[tool.hatch.envs", name]), name, task);
        }
    }
    facts
}

fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (last, path) = path.split_last()?;
    let mut table = table;
    for key in path {
        table = table.get(*key)?.as_table()?;
    }
    table.get(*last)
}

/// Reads a task: a text, a list of words, or a table with `cmd`, `shell`, `script` or `call`.
fn script(facts: &mut FileFacts, file: &Path, row: usize, name: &str, task: &Value) {
    let at = spot(file, row);
    let key = |key: &str| task.as_table().and_then(|task| task.get(key));
    let command = ["cmd", "shell", "script", "call"].iter().find_map(|name| key(name)).unwrap_or(task);
    let command = match command {
        Value::String(command) => command.lines().map(str::trim).collect::<Vec<_>>().join(" "),
        Value::Array(words) => {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            shlex::try_join(words).unwrap_or_default()
        }
        _ => return,
    };
    for (name, value) in key("env").and_then(Value::as_table).into_iter().flatten() {
        let Some(value) = value.as_str() else { continue };
        let (name, value) = (name.clone(), value.to_string());
        facts.values.push(GivenValue { name, value, at: at.clone(), by: Giver::Script });
    }
    let folder = file.parent();
    let change = key("cwd").or_else(|| key("working_dir")).and_then(Value::as_str);
    let directory = change.map_or_else(|| folder.map(Path::to_path_buf), |change| below(folder, change));
    add(facts, &command, &at, &Author::Pyproject(name.into()), directory.as_deref());
}

/// Returns the row, counted from 0, of the last of `needles`, searching for each after the previous one; 0 if one is
/// missing.
fn row_of(text: &str, needles: &[&str]) -> usize {
    let mut from = 0;
    let mut place = 0;
    for needle in needles {
        match text[from..].find(needle) {
            Some(found) => {
                place = from + found;
                from = place + needle.len();
            }
            None => return 0,
        }
    }
    text[..place].matches('\n').count()
}
