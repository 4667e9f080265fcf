//! Merges the configuration that the user wrote with the recognised one, key by key. The user's values win.
//!
//! Pure. A file in which every process has a `run`, or with `procfile:`, is complete, so nothing is merged, unless it has
//! `recognise: true`.

mod answered;

pub use self::answered::is_answered;
use crate::config::error::ConfigError;
use crate::config::keys;
use crate::config::value_tree::{KeyValue, Node, Value};

/// Keys of a process that exclude each other.
const PORT: &[&str] = &["port", "listen"];
/// The key of services.
const SERVICES: &str = "services";
/// Keys of `ready` that belong to one kind of probe.
const PROBE: &[&str] = &["http", "tcp", "log", "exec", "status", "host"];

/// Returns true if the recognised configuration must be merged: the file has `recognise: true`, or it does not say how
/// each of its processes runs. Errors if `recognise:` is not a boolean, or a process is `false` or nothing.
pub fn wants_recognition(file: &Node) -> Result<bool, ConfigError> {
    processes(file).iter().try_for_each(refuse_no_command)?;
    if let Some(forced) = get(file, keys::RECOGNISE).filter(|forced| forced.value != Value::Null) {
        return forced.boolean();
    }
    if get(file, "procfile").is_some() {
        return Ok(false);
    }
    Ok(names_no_process(file) || !processes(file).iter().all(|process| runs(&process.value)))
}

/// Errors if a process is `false` or nothing: the first would run the program `false`, and the second would keep the
/// recognised process, while the user more likely wants neither.
fn refuse_no_command(process: &KeyValue) -> Result<(), ConfigError> {
    let written = match &process.value.value {
        Value::Null => "nothing",
        Value::Text(text) if text == "false" => text,
        _ => return Ok(()),
    };
    let name = &process.name;
    Err(process.value.error(format!("needs a command, not {written}")).with_fix(format!(
        "`{name}: {{ autostart: false }}` leaves the process out; `{name}: {{ run: COMMAND }}` starts one"
    )))
}

/// Returns true if the file has no process and no Procfile.
pub fn names_no_process(file: &Node) -> bool {
    get(file, "procfile").is_none() && processes(file).is_empty()
}

/// Returns the port bases that the file names.
pub fn ports(file: &Node) -> Vec<u16> {
    let named = get(file, "ports").map_or(&[][..], entries);
    named.iter().filter_map(|entry| entry.value.word().ok()?.parse().ok()).collect()
}

/// Returns true if the file has a service.
pub fn names_service(file: &Node) -> bool {
    !get(file, SERVICES).map_or(&[][..], entries).is_empty()
}

fn processes(file: &Node) -> &[KeyValue] {
    get(file, "processes").map_or(&[], entries)
}

/// Returns true for the short form, for a process with `run`, and for any value that is not a process: that is an error
/// of the file itself.
fn runs(process: &Node) -> bool {
    match &process.value {
        Value::Null => false,
        Value::Map(entries) => entries.iter().any(|entry| entry.name == "run"),
        Value::Text(_) | Value::List(_) => true,
    }
}

/// Adds the keys that only `recognised` has to `file`. Texts and lists of the file replace recognised ones; mappings
/// are merged. If the file sets a variable at the top level, recognition does not set it for a single process.
pub fn complete(file: &mut Node, mut recognised: Node) {
    let own: Vec<String> =
        get(file, "env").map_or(&[][..], entries).iter().map(|entry| entry.name.clone()).collect();
    forget_variables(&mut recognised, &own);
    let migrate = get(file, "database").and_then(|database| get(database, "migrate"));
    if let (Some(written), Some(known)) =
        (migrate, child(&mut recognised, "database").and_then(|database| child(database, "migrate")))
    {
        if get(written, "sql").is_some() {
            forget(known, &["run", "inputs"]);
        } else if get(written, "run").is_some() || get(written, "inputs").is_some() {
            forget(known, &["sql"]);
        }
    }
    // A service is taken as a whole: keys of the recognised one would replace defaults that the user expects.
    if let Some(known) = child(&mut recognised, SERVICES) {
        let services = get(file, SERVICES).map_or(&[][..], entries).iter();
        let processes = processes(file).iter().filter(|process| runs(&process.value));
        let own: Vec<&str> = services.chain(processes).map(|entry| entry.name.as_str()).collect();
        forget(known, &own);
        let names: Vec<String> = entries(known).iter().map(|entry| entry.name.clone()).collect();
        move_to_services(file, &names);
    }
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

/// Moves the processes with these names, which have no `run`, to `services`: the file changes keys of a recognised service.
fn move_to_services(file: &mut Node, names: &[String]) {
    let Some(Value::Map(all)) = child(file, "processes").map(|node| &mut node.value) else { return };
    let (moved, kept): (Vec<KeyValue>, Vec<KeyValue>) =
        std::mem::take(all).into_iter().partition(|process| names.contains(&process.name));
    *all = kept;
    let (at, value) = (file.at.clone(), Value::Map(moved));
    let moved = Node { at: at.clone(), value };
    match child(file, SERVICES) {
        Some(services) => add(services, moved),
        None => add(
            file,
            Node {
                at: at.clone(),
                value: Value::Map(vec![KeyValue { name: SERVICES.into(), at, value: moved }]),
            },
        ),
    }
}

/// Removes the variables that the file sets from the processes and the `url_env` in `recognised`.
fn forget_variables(recognised: &mut Node, own: &[String]) {
    let keep = |entries: &mut Vec<KeyValue>| entries.retain(|entry| !own.contains(&entry.name));
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

/// Removes the keys that contradict the written ones from a recognised process.
fn give_way(recognised: &mut Node, written: &Node) {
    if PORT.iter().any(|key| get(written, key).is_some()) {
        forget(recognised, PORT);
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

fn entries(node: &Node) -> &[KeyValue] {
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
