//! Cases for `merge`, one per behaviour.

use super::*;
use crate::config::source::Source;
use crate::config::yaml;

fn parse(text: &str) -> Node {
    yaml::parse(&Source::new("devrun.yaml", text)).unwrap()
}

/// Returns the value at `path`, keys separated by dots, as text; `None` if it does not exist.
fn at(node: &Node, path: &str) -> Option<String> {
    match &path.split('.').try_fold(node, |node, key| get(node, key))?.value {
        Value::Text(text) => Some(text.clone()),
        other => Some(other.kind().into()),
    }
}

fn merged(file: &str, recognised: &str) -> Node {
    let mut file = parse(file);
    complete(&mut file, parse(recognised));
    file
}

#[test]
fn one_written_word_replaces_one_recognised_word() {
    let recognised = "processes:\n  backend: { run: a, directory: backend, listen: backend, ready: { http: /, timeout: 15s } }\n";
    let file = merged("processes:\n  backend: { run: b, ready: { timeout: 30s } }\n", recognised);
    for (path, value) in [
        ("processes.backend.run", "b"),
        ("processes.backend.directory", "backend"),
        ("processes.backend.ready.http", "/"),
        ("processes.backend.ready.timeout", "30s"),
    ] {
        assert_eq!(at(&file, path).as_deref(), Some(value), "{path}");
    }
    let short = merged("processes:\n  backend: b\n", recognised);
    assert_eq!(at(&short, "processes.backend.run").as_deref(), Some("b"));
    assert_eq!(at(&short, "processes.backend.listen").as_deref(), Some("backend"));
}

#[test]
fn a_recognised_key_gives_way_to_a_written_one_that_excludes_it() {
    let recognised = "processes:\n  a: { run: x, listen: a, ready: { http: /, host: h, deadline: 3m } }\n";
    let file = merged("processes:\n  a: { port: b, ready: { log: up } }\n", recognised);
    for path in ["listen", "ready.http", "ready.host"] {
        assert_eq!(at(&file, &format!("processes.a.{path}")), None, "{path}");
    }
    assert_eq!(at(&file, "processes.a.ready.deadline").as_deref(), Some("3m"));
    let handed = merged("processes:\n  a: { listen: b }\n", "processes:\n  a: { run: x, port: a }\n");
    assert_eq!(at(&handed, "processes.a.port"), None);
}

#[test]
fn a_variable_that_the_file_sets_is_not_set_by_recognition() {
    let recognised = "env: { A: r }\ndatabase: { url_env: { B: postgresql, C: postgresql } }\n\
                      processes:\n  a: { run: x, env: { A: r, D: r } }\n";
    let file = merged("env: { A: mine, B: mine }\nprocesses:\n  a: { env: { E: mine } }\n", recognised);
    assert_eq!(at(&file, "env.A").as_deref(), Some("mine"));
    assert_eq!(at(&file, "processes.a.env.A"), None);
    assert_eq!(at(&file, "processes.a.env.D").as_deref(), Some("r"));
    assert_eq!(at(&file, "processes.a.env.E").as_deref(), Some("mine"));
    assert_eq!(at(&file, "database.url_env.B"), None);
    assert_eq!(at(&file, "database.url_env.C").as_deref(), Some("postgresql"));
}

#[test]
fn recognition_is_wanted_by_a_file_that_leaves_a_command_out() {
    for (text, wanted) in [
        ("name: x\n", true),
        ("processes: { a: b }\n", false),
        ("processes: { a: { run: b }, c: [d] }\n", false),
        ("processes: { a: { run: b }, c: { tty: true } }\n", true),
        ("procfile: Procfile\n", false),
        ("recognise: true\nprocesses: { a: b }\n", true),
        ("recognise: false\nname: x\n", false),
    ] {
        assert_eq!(wants_recognition(&parse(text)).unwrap(), wanted, "{text}");
    }
    let error = wants_recognition(&parse("recognise: perhaps\n")).unwrap_err();
    assert!(error.to_string().contains("takes true or false"), "{error}");
}

#[test]
fn process_that_is_false_or_nothing_is_an_error() {
    for text in ["web: false", "web: null", "web:"] {
        let error = wants_recognition(&parse(&format!("processes:\n  {text}\n"))).unwrap_err().to_string();
        assert!(error.contains("processes.web: needs a command"), "{error}");
    }
    for text in ["web: npm start", "web: { run: 'false' }", "web: { autostart: false }"] {
        assert!(wants_recognition(&parse(&format!("processes:\n  {text}\n"))).is_ok(), "{text}");
    }
}

#[test]
fn a_service_of_the_file_replaces_the_recognised_one_as_a_whole() {
    let recognised = "services:\n  redis: { data: keep, env: {} }\nprocesses:\n  api: { run: x }\n";
    let own = merged("services: { redis: {} }\n", recognised);
    assert_eq!(at(&own, "services.redis.data"), None);
    assert_eq!(at(&own, "processes.api.run").as_deref(), Some("x"));
    let process = merged("processes: { redis: redis-server }\n", recognised);
    assert_eq!(at(&process, "services.redis.data"), None);
    let changed = merged("processes: { redis: { autostart: false } }\n", recognised);
    assert_eq!(at(&changed, "services.redis.autostart").as_deref(), Some("false"));
    assert_eq!(at(&changed, "services.redis.data").as_deref(), Some("keep"));
    assert_eq!(at(&changed, "processes.redis"), None);
    let other = merged("services: { mailpit: {} }\n", recognised);
    assert_eq!(at(&other, "services.redis.data").as_deref(), Some("keep"));
}
