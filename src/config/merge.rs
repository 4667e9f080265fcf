//! Lays the configuration that a person wrote over what was recognised, key by key.
//!
//! Pure: trees in, trees out. A file whose processes all have a `run` says everything and is not completed, unless its
//! `recognise: true` says otherwise.

use crate::config::error::ConfigError;
use crate::config::node::{Entry, Node, Value};

/// The key that forces recognition on or off.
pub const RECOGNISE: &str = "recognise";

/// Keys of a process of which one excludes the others.
const EXCLUSIVE: &[&[&str]] = &[&["port", "listen", "node_preload"]];
/// Keys of `ready` that belong to one kind of probe.
const PROBE: &[&str] = &["http", "tcp", "log", "exec", "status", "host"];

/// True when what was recognised belongs to this file: it says so with `recognise:`, or it does not say how each of its
/// processes runs.
pub fn wants_recognition(file: &Node) -> Result<bool, ConfigError> {
    if let Some(forced) = get(file, RECOGNISE).filter(|forced| forced.value != Value::Null) {
        return forced.boolean();
    }
    if get(file, "procfile").is_some() {
        return Ok(false);
    }
    Ok(names_no_process(file) || !processes(file).iter().all(|process| runs(&process.value)))
}

/// True when the file has no process at all.
pub fn names_no_process(file: &Node) -> bool {
    get(file, "procfile").is_none() && processes(file).is_empty()
}

fn processes(file: &Node) -> &[Entry] {
    get(file, "processes").map_or(&[], entries)
}

/// True for the short form, for a process with `run`, and for what is no process: that is an error of the file itself.
fn runs(process: &Node) -> bool {
    match &process.value {
        Value::Null => false,
        Value::Map(entries) => entries.iter().any(|entry| entry.name == "run"),
        Value::Text(_) | Value::List(_) => true,
    }
}

/// Adds to `file` what only `recognised` has. Texts and lists of the file replace those that were recognised; mappings
/// are merged. A variable that the file sets at the top is not set for a single process by recognition.
pub fn complete(file: &mut Node, mut recognised: Node) {
    let own: Vec<String> =
        get(file, "env").map_or(&[][..], entries).iter().map(|entry| entry.name.clone()).collect();
    forget_variables(&mut recognised, &own);
    let written = get(file, "processes").map_or(&[][..], entries);
    for process in written {
        let Some(known) = child(&mut recognised, "processes").and_then(|all| child(all, &process.name))
        else {
            continue;
        };
        give_way(known, &process.value);
    }
    add(file, recognised);
}

/// Takes out of `recognised` the variables that the file names itself.
fn forget_variables(recognised: &mut Node, own: &[String]) {
    let keep = |entries: &mut Vec<Entry>| entries.retain(|entry| !own.contains(&entry.name));
    if let Some(Value::Map(processes)) = child(recognised, "processes").map(|node| &mut node.value) {
        for process in processes {
            if let Some(Value::Map(env)) = child(&mut process.value, "env").map(|node| &mut node.value) {
                keep(env);
            }
        }
    }
    if let Some(database) = child(recognised, "database")
        && let Some(Value::Map(names)) = child(database, "url_env").map(|node| &mut node.value)
    {
        keep(names);
        if names.is_empty() {
            forget(database, &["url_env"]);
        }
    }
}

/// Takes out of a recognised process the keys that contradict the written ones.
fn give_way(recognised: &mut Node, written: &Node) {
    let Value::Map(entries) = &written.value else { return };
    let has = |names: &[&str]| entries.iter().any(|entry| names.contains(&entry.name.as_str()));
    for group in EXCLUSIVE {
        if has(&group[..2]) {
            forget(recognised, group);
        }
    }
    let asks = get(written, "ready").is_some_and(|ready| PROBE.iter().any(|key| get(ready, key).is_some()));
    if asks && let Some(ready) = child(recognised, "ready") {
        forget(ready, PROBE);
    }
}

fn forget(node: &mut Node, names: &[&str]) {
    if let Value::Map(entries) = &mut node.value {
        entries.retain(|entry| !names.contains(&entry.name.as_str()));
    }
}

fn add(node: &mut Node, other: Node) {
    let Value::Map(added) = other.value else {
        if node.value == Value::Null {
            node.value = other.value;
        }
        return;
    };
    if node.value == Value::Null {
        node.value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = &mut node.value else {
        // `web: npm start` is the short form of `run`.
        if let (Value::Text(_) | Value::List(_), true) =
            (&node.value, added.iter().any(|entry| entry.name == "run"))
        {
            let run = Node { at: node.at.clone(), value: std::mem::replace(&mut node.value, Value::Null) };
            let mut entries = added;
            if let Some(entry) = entries.iter_mut().find(|entry| entry.name == "run") {
                entry.value = run;
            }
            node.value = Value::Map(entries);
        }
        return;
    };
    for entry in added {
        match entries.iter_mut().find(|known| known.name == entry.name) {
            None => entries.push(entry),
            Some(known) => add(&mut known.value, entry.value),
        }
    }
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}

fn get<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    entries(node).iter().find(|entry| entry.name == name).map(|entry| &entry.value)
}

fn child<'a>(node: &'a mut Node, name: &str) -> Option<&'a mut Node> {
    match &mut node.value {
        Value::Map(entries) => {
            entries.iter_mut().find(|entry| entry.name == name).map(|entry| &mut entry.value)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
