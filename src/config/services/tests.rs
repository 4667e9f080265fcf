//! Cases for `services`, one per behaviour, and the helpers of the tests of presets.

use super::*;
use crate::config::model::{Config, ProcessConfig};
use crate::config::source::Source;
use crate::config::{consistency, json_schema, schema, yaml};
use crate::plan::Condition;

/// Reads a file as devrun does, without recognition.
pub fn config(text: &str) -> Result<Config, ConfigError> {
    let source = Source::new("devrun.yaml", text);
    let read = yaml::parse(&source).and_then(|node| schema::read(&node)).and_then(|draft| {
        let at = ConfigPosition::file(&source);
        consistency::complete(draft.config, draft.processes, &at, &|_| false)
    });
    json_schema::tests::compare(text, &read);
    read
}

/// Returns the process with this name.
pub fn process<'a>(config: &'a Config, name: &str) -> &'a ProcessConfig {
    config.processes.iter().find(|process| process.name == name).unwrap()
}

/// Returns the text of a variable that every process gets.
pub fn variable<'a>(config: &'a Config, name: &str) -> Option<&'a str> {
    config.env.iter().find(|(known, _)| known == name).map(|(_, template)| template.text.as_str())
}

/// Returns the text of a variable of one process.
pub fn own_variable<'a>(config: &'a Config, name: &str, variable: &str) -> Option<&'a str> {
    let env = &process(config, name).env;
    env.iter().find(|(known, _)| known == variable).map(|(_, template)| template.text.as_str())
}

fn error(text: &str) -> String {
    config(text).unwrap_err().to_string()
}

fn waits(config: &Config, name: &str) -> Vec<(String, Condition)> {
    process(config, name).depends_on.clone()
}

#[test]
fn all_processes_wait_for_a_service_unless_one_names_it() {
    let all = config("services: { redis: {} }\nprocesses: { api: x, web: y }\n").unwrap();
    for name in ["api", "web"] {
        assert_eq!(waits(&all, name), [("redis".to_string(), Condition::Ready)], "{name}");
    }
    assert!(waits(&all, "redis").is_empty());
    let text = "services: { redis: {} }\nprocesses: { api: { run: x, depends_on: [redis] }, web: y }\n";
    let named = config(text).unwrap();
    assert_eq!(waits(&named, "api"), [("redis".to_string(), Condition::Ready)]);
    assert!(waits(&named, "web").is_empty());
    let idle = config("services: { redis: { autostart: false } }\nprocesses: { api: x }\n").unwrap();
    assert!(waits(&idle, "api").is_empty() && !process(&idle, "redis").autostart);
}

#[test]
fn service_of_a_repository_has_the_fields_of_a_preset() {
    let text = "services:\n  search:\n    run: exec meilisearch --http-addr 127.0.0.1:$PORT --db-path $DEVRUN_DATA\n    \
                port: 7700\n    data: keep\n    ready: { http: /health }\n    env: { SEARCH_URL: 'http://127.0.0.1:${ports.search}' }\n\
                processes: { api: x }\n";
    let config = config(text).unwrap();
    let search = process(&config, "search");
    assert_eq!((config.ports["search"], search.needs.len()), (7700, 0));
    assert_eq!(search.port.as_ref().unwrap().name, "search");
    assert_eq!(search.service.as_ref().unwrap().data, Some(ServiceData::Keep));
    assert_eq!(variable(&config, "SEARCH_URL"), Some("http://127.0.0.1:${ports.search}"));
    assert_eq!(waits(&config, "api"), [("search".to_string(), Condition::Ready)]);
}

#[test]
fn only_programs_of_the_repository_need_its_packages() {
    let needs = |keys: &str| {
        let text =
            format!("dependencies: {{ python: {{}} }}\ndatabase: {{}}\nservices: {{ s: {{ {keys} }} }}\n");
        let config = config(&text).unwrap();
        process(&config, "s").needs.iter().map(|need| need.name()).collect::<Vec<_>>()
    };
    assert_eq!(needs("run: meilisearch"), [] as [&str; 0]);
    assert_eq!(needs("run: python -m stub"), ["python", "database"]);
    assert_eq!(needs("run: ./stub, needs: [python]"), ["python"]);
    assert_eq!(needs("preset: redis"), [] as [&str; 0]);
    assert_eq!(needs("preset: celery, app: a"), ["python", "database"]);
}

#[test]
fn written_values_replace_those_of_the_preset() {
    let text = "ports: { redis: 7000 }\nenv: { REDIS_URL: mine }\nservices: { redis: { run: my-redis, data: keep } }\n";
    let own = config(text).unwrap();
    assert_eq!((own.ports["redis"], variable(&own, "REDIS_URL")), (7000, Some("mine")));
    let redis = process(&own, "redis");
    assert_eq!(redis.run.to_string(), "my-redis");
    assert!(redis.service.as_ref().unwrap().programs.is_empty(), "a written command is not replaced");
    let none = config("services: { redis: { env: {} } }\n").unwrap();
    assert_eq!(variable(&none, "REDIS_URL"), None);
}

#[test]
fn base_of_a_preset_avoids_the_ports_of_the_file() {
    let config = config("ports: { web: 6450 }\nservices: { redis: {} }\nprocesses: { web: x }\n").unwrap();
    assert_eq!(config.ports["redis"], 6600);
}

#[test]
fn shared_redis_has_no_process_and_its_database_or_prefix_comes_from_the_slot() {
    let number =
        config("services: { redis: { shared: redis://localhost:6379 } }\nprocesses: { a: x }\n").unwrap();
    assert_eq!(variable(&number, "REDIS_URL"), Some("redis://localhost:6379/${slot}"));
    assert!(number.processes.len() == 1 && number.ports.is_empty());
    let text = "services: { redis: { shared: { url: '${SHARED}', by: prefix } } }\nprocesses: { a: x }\n";
    let prefix = config(text).unwrap();
    assert_eq!(variable(&prefix, "REDIS_URL"), Some("${SHARED}"));
    assert_eq!(variable(&prefix, "REDIS_PREFIX"), Some("devrun-${slot}:"));
}

#[test]
fn errors_name_line_and_column() {
    for (text, expected) in [
        (
            "services:\n  search: {}\n",
            "devrun.yaml:2:11: services.search: needs `run`: devrun has no preset `search`",
        ),
        (
            "services: { redis: { preset: rediss } }\n",
            "devrun.yaml:1:30: services.redis.preset: there is no preset `rediss`; did you mean `redis`?",
        ),
        (
            "services: { redis: { shared: 'rediss://h' } }\n",
            "devrun.yaml:1:30: services.redis.shared: takes a URL such as redis://localhost:6379, not rediss",
        ),
        (
            "services: { redis: { shared: 'redis://h/3' } }\n",
            "devrun.yaml:1:30: services.redis.shared: takes a URL such as redis://localhost:6379, without a database: its \
             number is the slot",
        ),
        (
            "services: { redis: { shared: 'redis://h', data: keep } }\n",
            "devrun.yaml:1:49: services.redis.data: cannot be used together with `shared`: devrun starts no process for a \
             shared server",
        ),
        (
            "services: { minio: { data: copy } }\n",
            "devrun.yaml:1:28: services.minio.data: copies only the data of the presets redis and valkey",
        ),
        (
            "services: { celery: {} }\n",
            "devrun.yaml:1:21: services.celery: needs `run`, or `app` with the application",
        ),
        (
            "services: { redis: { queues: [a] } }\n",
            "devrun.yaml:1:30: services.redis.queues: belongs to the presets celery and rq",
        ),
        (
            "services: { minio: { shared: 'redis://h' } }\n",
            "devrun.yaml:1:30: services.minio.shared: belongs to the presets redis and valkey",
        ),
        (
            "services: { redis: {} }\nprocesses: { redis: x }\n",
            "devrun.yaml:1:13: services.redis: is named twice: `redis` is a process too, at devrun.yaml:2:14: processes.redis",
        ),
        (
            "ports: { web: 6450 }\nservices: { redis: { port: 6400 } }\nprocesses: { web: x }\n",
            "devrun.yaml:2:28: services.redis.port: `redis` (6400) and `web` (6450) are less than 100 apart: with the slot \
             added, two worktrees could meet on one port",
        ),
        (
            "services: { redis: {}, valkey: {} }\n",
            "devrun.yaml:1:24: services.valkey: `redis` and `valkey` would share one variable's name, REDIS_URL",
        ),
        (
            "services: { redis: { ready: { http: /x }, port: x } }\n",
            "devrun.yaml:1:49: services.redis.port: takes a number from 1024 to 65435, not `x`",
        ),
        (
            "services: { s: { run: x, ready: { tcp: true } } }\n",
            "devrun.yaml:1:33: services.s.ready: probes by tcp, but the process has no `port` and no `listen`",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}
