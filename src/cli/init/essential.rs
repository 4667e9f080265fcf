//! Reduces the facts to those that help to write a devrun.yaml. A large repository has thousands of commands and values, and a
//! coding agent reads every byte.

use serde_json::{Map, Value, json};

use crate::recognition::facts::Facts;
use crate::recognition::proposal::starts_something;

/// Maximum number of entries of one kind, except commands.
const MOST: usize = 60;
/// Maximum number of commands.
const COMMANDS: usize = 40;

/// Returns the facts as JSON without empty fields, places as `file:line`. Has at most [`MOST`] entries of each kind and [`COMMANDS`]
/// commands. Leaves out the list of files, commands of helper programs, repeated commands, and values of variables that no code reads,
/// unless the value is an address. `left_out` has the number of the entries that are not shown, by kind.
pub(super) fn object(facts: &Facts) -> Value {
    let mut left_out = Map::new();
    let Ok(Value::Object(mut all)) = serde_json::to_value(facts) else { return Value::Null };
    if let Some(files) = all.remove("files").as_ref().and_then(Value::as_array) {
        left_out.insert("files".into(), json!(files.len()));
    }
    let is_read = |name: &str| {
        facts.reads.iter().any(|read| read.name == name || read.aliases.iter().any(|alias| alias == name))
    };
    let mut texts: Vec<String> = Vec::new();
    let mut helps = |kind: &str, entry: &Value| match kind {
        "commands" => {
            let text = entry["text"].as_str().unwrap_or_default();
            let is_new = !texts.iter().any(|known| known == text);
            texts.extend(is_new.then(|| text.to_string()));
            is_new && starts_something(text)
        }
        "values" => {
            let value = entry["value"].as_str().unwrap_or_default();
            is_read(entry["name"].as_str().unwrap_or_default())
                || ["://", "localhost", "127.0.0.1"].iter().any(|part| value.contains(part))
        }
        _ => true,
    };
    for (kind, entries) in &mut all {
        let Value::Array(entries) = entries else { continue };
        let before = entries.len();
        entries.retain(|entry| helps(kind, entry));
        if kind == "commands" {
            // Containers and scripts run the product; documents also show how to develop it.
            entries.sort_by_key(rank);
        }
        entries.truncate(if kind == "commands" { COMMANDS } else { MOST });
        entries.iter_mut().for_each(shorten);
        if entries.len() < before {
            left_out.insert(kind.clone(), json!(before - entries.len()));
        }
    }
    all.insert("left_out".into(), Value::Object(left_out));
    Value::Object(all)
}

/// Returns the position of a command among the commands: those of containers and Procfiles, of manifests, of documents, of shell
/// scripts.
fn rank(command: &Value) -> u8 {
    let is = |kind: &str| command["by"] == *kind || command["by"].get(kind).is_some();
    match () {
        () if is("Compose") || is("Dockerfile") || is("Procfile") => 0,
        () if is("Document") => 2,
        // Most commands of a shell script check something or print.
        () if is("Shell") => 3,
        () => 1,
    }
}

/// Removes empty, false and absent fields, and writes places as `file:line`.
fn shorten(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(shorten),
        Value::Object(fields) => {
            if let (2, Some(Value::String(file)), Some(line)) =
                (fields.len(), fields.get("file"), fields.get("line"))
            {
                *value = json!(format!("{file}:{line}"));
                return;
            }
            fields.values_mut().for_each(shorten);
            fields.retain(|_, field| match field {
                Value::Null | Value::Bool(false) => false,
                Value::Array(all) => !all.is_empty(),
                Value::Object(fields) => !fields.is_empty(),
                Value::String(text) => !text.is_empty(),
                _ => true,
            });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_facts_are_counted_instead_of_shown() {
        let limits = (0..100).map(|number| number.to_string()).collect();
        let shown = object(&Facts { files: vec!["a".into()], limits, ..Facts::default() });
        assert_eq!(shown["limits"].as_array().map(Vec::len), Some(MOST));
        assert_eq!(shown["left_out"], json!({ "files": 1, "limits": 40 }));
    }
}
