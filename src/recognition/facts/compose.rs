//! Reads services of compose files, with the values and commands in them.

use std::path::Path;

use crate::config::source::Source;
use crate::config::value_tree::{KeyValue, Node, Value};

use super::commands::below;
use super::file::FileFacts;
use super::{Author, Command, FileLine, GivenValue, Giver, Service};
use crate::text::is_secret;

/// Returns true for `docker-compose.yml`, `compose.dev.yaml` and similar names.
pub(super) fn is_compose(name: &str) -> bool {
    let stem = name.strip_suffix(".yml").or_else(|| name.strip_suffix(".yaml"));
    stem.is_some_and(|stem| {
        let rest = stem.strip_prefix("docker-compose").or_else(|| stem.strip_prefix("compose"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '_']))
    })
}

/// Reads a compose file.
pub(super) fn compose(file: &Path, text: &str) -> FileFacts {
    let mut facts = FileFacts::default();
    let source = Source::new(file.display().to_string(), text.to_string());
    let Ok(top) = crate::config::yaml::parse(&source) else {
        facts.limits.push(format!("{} was not read: it is no YAML that devrun reads", file.display()));
        return facts;
    };
    for service in entries(key(&top, "services")) {
        read_service(&mut facts, file, service);
    }
    facts
}

fn read_service(facts: &mut FileFacts, file: &Path, entry: &KeyValue) {
    let at = |line: u32| FileLine { file: file.into(), line: line.max(1) };
    let node = &entry.value;
    let mut service = Service { name: entry.name.clone(), at: Some(at(entry.at.line)), ..Service::default() };
    service.image = key(node, "image").and_then(plain);
    let build = key(node, "build");
    let context = build.and_then(|build| plain(key(build, "context").unwrap_or(build)));
    service.build = match (build, context) {
        (Some(_), context) => folder(file, context.as_deref().unwrap_or(".")),
        (None, _) => None,
    };
    service.ports = items(key(node, "ports")).filter_map(port).collect();
    service.env_files = items(key(node, "env_file"))
        .filter_map(|item| folder(file, &plain(key(item, "path").unwrap_or(item))?))
        .collect();
    service.scripts = items(key(node, "volumes")).filter_map(|volume| script(file, volume)).collect();
    service.depends_on = match key(node, "depends_on") {
        Some(Node { value: Value::Map(entries), .. }) => {
            entries.iter().map(|entry| entry.name.clone()).collect()
        }
        other => items(other).filter_map(plain).collect(),
    };
    let arguments = build.and_then(|build| key(build, "args"));
    for (block, by) in [
        (key(node, "environment"), Giver::Compose(service.name.clone())),
        (arguments, Giver::BuildArg(service.name.clone())),
    ] {
        for (name, written, line) in pairs(block) {
            let given =
                GivenValue { name, value: substituted(&written, &|_| None), at: at(line), by: by.clone() };
            if needs_env_file(&written) {
                facts.composed.push(GivenValue { value: written.clone(), ..given.clone() });
            }
            // A variable alone is no value, and a scheme alone is no address.
            if !is_one_variable(&written) && !given.value.ends_with("://") {
                facts.values.push(given);
            }
        }
    }
    for name in ["entrypoint", "command"] {
        let Some(node) = key(node, name) else { continue };
        let Some(text) = command(node) else { continue };
        service.command = Some(text.clone());
        let by = Author::Compose(service.name.clone());
        facts.commands.push(Command { text, at: at(node.at.line), by, directory: service.build.clone() });
    }
    facts.services.push(service);
}

fn key<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let Value::Map(entries) = &node.value else { return None };
    let entry = entries.iter().find(|entry| entry.name == name)?;
    (entry.value.value != Value::Null).then_some(&entry.value)
}

fn entries(node: Option<&Node>) -> &[KeyValue] {
    match node.map(|node| &node.value) {
        Some(Value::Map(entries)) => entries,
        _ => &[],
    }
}

/// Returns the items of a list. A single value counts as a list of one.
fn items(node: Option<&Node>) -> impl Iterator<Item = &Node> {
    let items: Vec<&Node> = match node {
        Some(Node { value: Value::List(items), .. }) => items.iter().collect(),
        Some(single @ Node { value: Value::Text(_), .. }) => vec![single],
        _ => Vec::new(),
    };
    items.into_iter()
}

fn plain(node: &Node) -> Option<String> {
    let Value::Text(text) = &node.value else { return None };
    Some(substituted(text, &|_| None))
}

/// Returns the variables of a mapping (`NAME: value`) or a list (`NAME=value`), with their lines. Skips a name without
/// a value, which takes the shell's value, and a name that no variable can have.
fn pairs(node: Option<&Node>) -> Vec<(String, String, u32)> {
    let mut found = Vec::new();
    for entry in entries(node) {
        if let Value::Text(text) = &entry.value.value {
            found.push((entry.name.clone(), text.clone(), entry.at.line));
        }
    }
    for item in items(node) {
        if let Value::Text(text) = &item.value
            && let Some((name, value)) = text.split_once('=')
        {
            found.push((name.trim().into(), value.into(), item.at.line));
        }
    }
    found.retain(|(name, _, _)| crate::config::names::is_variable_name(name));
    found
}

/// Returns a command, written as text or as a list of words, as one line.
fn command(node: &Node) -> Option<String> {
    let text = match &node.value {
        Value::Text(text) => substituted(text, &|_| None)
            .lines()
            .map(|line| line.trim().trim_end_matches('\\'))
            .collect::<Vec<_>>()
            .join(" "),
        Value::List(words) => {
            let words: Vec<String> = words.iter().filter_map(plain).collect();
            super::dockerfile::joined(&words)
        }
        _ => return None,
    };
    (!text.trim().is_empty()).then(|| text.trim().to_string())
}

/// Returns a published port: the port on the host, and the port in the container. Of a range, returns the first port.
fn port(node: &Node) -> Option<(u16, u16)> {
    let first = |text: &str| text.split('-').next().and_then(|port| port.trim().parse::<u16>().ok());
    if let Value::Map(_) = &node.value {
        let target = first(&plain(key(node, "target")?)?)?;
        return Some((first(&plain(key(node, "published")?)?)?, target));
    }
    let text = plain(node)?;
    let text = text.split('/').next()?;
    let (host, container) = text.rsplit_once(':')?;
    Some((first(host.rsplit(':').next()?)?, first(container)?))
}

/// Returns the source and target of a volume with files that a database's image runs when the database is created.
/// `None` for any other volume; a named volume is not a file of the repository.
fn script(file: &Path, volume: &Node) -> Option<(std::path::PathBuf, String)> {
    let (source, target) = if let Value::Map(_) = &volume.value {
        (plain(key(volume, "source")?)?, plain(key(volume, "target")?)?)
    } else {
        let text = plain(volume)?;
        let mut parts = text.split(':');
        (parts.next()?.to_string(), parts.next()?.to_string())
    };
    let is_path = source.starts_with('.') || source.contains('/');
    let runs = target.starts_with("/docker-entrypoint-initdb.d");
    if is_path && runs { Some((folder(file, &source)?, target)) } else { None }
}

fn folder(file: &Path, written: &str) -> Option<std::path::PathBuf> {
    below(file.parent(), written)
}

fn is_one_variable(value: &str) -> bool {
    let value = value.trim();
    let braced = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    match braced {
        Some(inner) => !inner.contains('$') && default_of(inner).is_none(),
        None => value.strip_prefix('$').is_some_and(crate::config::names::is_variable_name),
    }
}

/// Returns the text after `:-` or `-` of `NAME:-text`.
fn default_of(inner: &str) -> Option<&str> {
    let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
    let rest = &inner[end..];
    rest.strip_prefix(":-").or_else(|| rest.strip_prefix('-'))
}

/// Returns true if the text has a variable without a default.
fn needs_env_file(written: &str) -> bool {
    let asked = std::cell::Cell::new(false);
    let _ = substituted(written, &|_| {
        asked.set(true);
        None
    });
    asked.get()
}

/// Replaces variables without a default in the values of each compose file by those of the `.env` beside that file, as compose
/// does. Secrets stay out, because the facts are printed.
pub(super) fn complete(values: &mut Vec<GivenValue>, composed: Vec<GivenValue>) {
    for given in composed {
        let folder = given.at.file.parent();
        let known = |name: &str| {
            let mut files = values.iter().filter(|other| other.name == name);
            let found = files.find(|other| {
                matches!(other.by, Giver::EnvFile | Giver::MainEnvFile)
                    && other.at.file.parent() == folder
                    && other.at.file.ends_with(".env")
            })?;
            let is_plain = !is_secret(name, &found.value) && !is_secret(&given.name, &found.value);
            is_plain.then(|| found.value.clone()).filter(|value| !value.contains('$'))
        };
        let missing = std::cell::Cell::new(false);
        let value = substituted(&given.value, &|name| {
            let found = known(name);
            missing.set(missing.get() || found.is_none());
            found
        });
        if missing.get() || value.is_empty() {
            continue;
        }
        values.retain(|other| !(other.at == given.at && other.name == given.name && other.by == given.by));
        values.push(GivenValue { value, ..given });
    }
}

/// Replaces `${NAME:-default}` by the default, and other variables by the result of `known`, else by an empty text, as compose
/// does; `$$` is a dollar sign. <https://docs.docker.com/reference/compose-file/interpolation/>
fn substituted(text: &str, known: &dyn Fn(&str) -> Option<String>) -> String {
    let mut text = text.to_string();
    // Defaults may contain variables; each round resolves one level.
    for _ in 0..4 {
        if !text.contains('$') {
            break;
        }
        let mut result = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(start) = rest.find('$') {
            result.push_str(&rest[..start]);
            let after = &rest[start + 1..];
            if let Some(escaped) = after.strip_prefix('$') {
                result.push('\u{0}');
                rest = escaped;
            } else if let Some(inside) = after.strip_prefix('{') {
                let Some(end) = closing(inside) else {
                    result.push('$');
                    rest = after;
                    continue;
                };
                if let Some(default) = default_of(&inside[..end]) {
                    result.push_str(default);
                } else {
                    let name = inside[..end].split([':', '?', '-', '+']).next().unwrap_or_default();
                    result.push_str(&known(name).unwrap_or_default());
                }
                rest = &inside[end + 1..];
            } else {
                let end =
                    after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
                if end == 0 {
                    result.push('\u{0}');
                } else {
                    result.push_str(&known(&after[..end]).unwrap_or_default());
                }
                rest = &after[end..];
            }
        }
        result.push_str(rest);
        text = result;
    }
    text.replace('\u{0}', "$")
}

/// Returns the index of the brace that closes a reference, skipping nested ones.
fn closing(inside: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (place, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(place),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = r#"
x-env: &env
  MODE: dev
  DEBUG: ${DEBUG:-1}
services:
  db:
    image: postgres:${PG:-17}
    ports: ["${DB_PORT:-5433}:5432", "127.0.0.1:9000:80/tcp", "8001"]
    volumes:
      - data:/var/lib/postgresql
      - ./db/init.sql:/docker-entrypoint-initdb.d/1.sql:ro
      - { type: bind, source: ./db/more, target: /docker-entrypoint-initdb.d }
      - data:/docker-entrypoint-initdb.d
    environment:
      - POSTGRES_USER=app
      - PASSED_ON
      - SECRET=${SECRET?Variable not set}
  api: &api
    build:
      context: ./backend
      args: { API: "http://localhost:8000" }
    environment:
      <<: *env
      MODE: test
      URL: postgresql+asyncpg://${U:-app}:${P}@db:5432/${N:-${M:-shop}}
      COST: $$5
    env_file:
      - .env
      - path: backend/.env
    ports:
      - { target: 8000, published: "8000" }
    depends_on: { db: { condition: service_healthy } }
    command: ["uvicorn", "app.main:app", "--log", "a b"]
  worker:
    <<: *api
    command: >
      celery -A app.tasks
      worker
    depends_on: [db]
"#;

    #[test]
    fn variables_without_a_default_get_values_from_the_adjacent_env_file() {
        let text = "services:\n  api:\n    image: x\n    environment:\n      - SERVER_HOST=http://${DOMAIN?Variable not set}\n      \
                    - SERVER_NAME=${DOMAIN?Variable not set}\n      - URL=postgresql://app:${DB_PASSWORD}@db/app\n      - \
                    OTHER=${UNKNOWN}\n";
        let mut facts = compose(Path::new("docker-compose.yml"), text);
        let named = |values: &[GivenValue]| -> Vec<(String, String)> {
            values.iter().map(|given| (given.name.clone(), given.value.clone())).collect()
        };
        assert_eq!(named(&facts.values), [("URL".into(), "postgresql://app:@db/app".into())]);
        let env = |name: &str, value: &str, file: &str| GivenValue {
            name: name.into(),
            value: value.into(),
            at: FileLine { file: file.into(), line: 1 },
            by: Giver::EnvFile,
        };
        let own = [env("DOMAIN", "shop.test", ".env"), env("DB_PASSWORD", "hunter2", ".env")];
        facts.values.extend([own.to_vec(), vec![env("UNKNOWN", "x", "web/.env")]].concat());
        complete(&mut facts.values, facts.composed);
        let found = named(&facts.values);
        for (name, value) in [("SERVER_HOST", "http://shop.test"), ("SERVER_NAME", "shop.test")] {
            assert!(found.contains(&(name.into(), value.into())), "{found:?}");
        }
        assert!(found.contains(&("URL".into(), "postgresql://app:@db/app".into())), "{found:?}");
        assert!(!found.iter().any(|(name, _)| name == "OTHER"), "{found:?}");
    }

    #[test]
    fn services_have_every_form_of_port_command_and_build() {
        let facts = compose(Path::new("docker-compose.yml"), FILE);
        assert!(facts.limits.is_empty(), "{:?}", facts.limits);
        let [db, api, worker] = facts.services.as_slice() else { panic!("{:?}", facts.services) };
        assert_eq!(
            (db.image.as_deref(), db.ports.as_slice()),
            (Some("postgres:17"), &[(5433, 5432), (9000, 80)][..])
        );
        assert_eq!(
            (api.build.as_deref(), api.ports.as_slice()),
            (Some(Path::new("backend")), &[(8000, 8000)][..])
        );
        assert_eq!(api.env_files, [Path::new(".env"), Path::new("backend/.env")]);
        assert_eq!((&api.depends_on, &worker.depends_on), (&vec!["db".to_string()], &vec!["db".to_string()]));
        assert_eq!(api.command.as_deref(), Some("uvicorn app.main:app --log 'a b'"));
        assert_eq!(worker.command.as_deref(), Some("celery -A app.tasks worker"));
        assert_eq!(worker.build.as_deref(), Some(Path::new("backend")));
        assert_eq!(api.at.as_ref().map(|at| at.line), Some(18));
        let folder = "/docker-entrypoint-initdb.d";
        let scripts =
            [("db/init.sql".into(), format!("{folder}/1.sql")), ("db/more".into(), folder.to_string())];
        assert_eq!(db.scripts, scripts);
    }

    #[test]
    fn values_equal_those_of_compose_without_an_env_file() {
        let facts = compose(Path::new("deploy/compose.yaml"), FILE);
        let value = |name: &str, by: &Giver| {
            let given = facts.values.iter().find(|given| given.name == name && given.by == *by);
            given.map(|given| (given.value.as_str(), given.at.line))
        };
        let api = Giver::Compose("api".into());
        assert_eq!(value("MODE", &api).map(|found| found.0), Some("test"));
        assert_eq!(value("DEBUG", &api).map(|found| found.0), Some("1"));
        assert_eq!(value("URL", &api), Some(("postgresql+asyncpg://app:@db:5432/shop", 25)));
        assert_eq!(value("COST", &api).map(|found| found.0), Some("$5"));
        assert_eq!(value("POSTGRES_USER", &Giver::Compose("db".into())), Some(("app", 15)));
        assert_eq!(value("SECRET", &Giver::Compose("db".into())), None);
        assert_eq!(
            value("API", &Giver::BuildArg("api".into())).map(|found| found.0),
            Some("http://localhost:8000")
        );
        assert_eq!(facts.services[1].build.as_deref(), Some(Path::new("deploy/backend")));
    }

    #[test]
    fn names_of_compose_files_are_known() {
        for name in ["docker-compose.yml", "docker-compose.dev.yaml", "compose.yaml", "compose.override.yml"]
        {
            assert!(is_compose(name), "{name}");
        }
        for name in ["composer.yml", "compose.json", "docker.yml"] {
            assert!(!is_compose(name), "{name}");
        }
        assert_eq!(compose(Path::new("compose.yml"), "services: [").limits.len(), 1);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(?s).{0,200}", value in "[${}:A-Z\\-?a]{0,60}") {
            let path = Path::new("compose.yml");
            let _ = compose(path, &text);
            let _ = compose(path, &format!("services:\n  a:\n    environment:\n      X: '{value}'\n"));
        }
    }
}
