//! Cases for `schema`, one per behaviour.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::model::{ProbeConfig, ProcessConfig};
use crate::config::source::Source;
use crate::config::{consistency, json_schema, yaml};
use crate::error::Explain;
use crate::plan::{Condition, Need, RestartPolicy, RunCommand, Stdin};

/// Reads `text`, and checks that the JSON Schema judges it in the same way.
fn load(text: &str) -> Result<Config, ConfigError> {
    let source = Source::new("devrun.yaml", text);
    let read = yaml::parse(&source).and_then(|node| read(&node));
    let config = read.and_then(|draft| {
        consistency::complete(draft.config, draft.processes, &ConfigPosition::file(&source), &|folder| {
            folder == Path::new("with-client")
        })
    });
    json_schema::tests::compare(text, &config);
    config
}

fn refuse(text: &str) -> ConfigError {
    match load(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error,
    }
}

/// A process `web` with these lines in it and the ports `web` and `api`.
fn process(lines: &str) -> Result<ProcessConfig, ConfigError> {
    let lines = lines.replace('\n', "\n    ");
    let text = format!(
        "ports: {{ web: 3000, api: 4000 }}\nprocesses:\n  web:\n    {lines}\n  db: {{ run: x, ready: {{ log: up }} }}\n"
    );
    load(&text).map(|mut config| config.processes.remove(0))
}

#[test]
fn the_reference_configuration_is_read_as_written() {
    let config = load(
        r#"
name: leadswitchboard
ports: { frontend: 3100, backend: 8100 }
env_files: [.env, ./sub/../.env.local]
env:
  NEXT_PUBLIC_API_URL: http://localhost:${ports.backend}
  EMPTY:
dependencies:
  node:   { directory: . }
  python: { directory: backend }
database:
  provider: auto
  branch: dev-${branch}
  url_env: [DATABASE_URL, NEON_PLATFORM_DATABASE_URL]
  migrate: { run: alembic upgrade head, directory: backend, inputs: [alembic/versions/*.py] }
  neon: { project_id: "${NEON_PROJECT_ID}", parent: main, expires_in: 7d }
processes:
  backend:
    run: uvicorn app.main:app --reload --fd $BACKEND_FD
    directory: backend
    listen: backend
    ready: { http: /healthz }
  frontend:
    run: node_modules/.bin/next dev --port $PORT
    directory: frontend
    port: frontend
    depends_on: [backend]
    ready: { http: / }
urls:
  Tenant: http://demodev.localhost:${ports.frontend}/admin/leads
"#,
    )
    .unwrap();
    assert_eq!(config.name.as_deref(), Some("leadswitchboard"));
    assert_eq!(config.ports, [("frontend".to_string(), 3100), ("backend".to_string(), 8100)].into());
    assert_eq!(config.env_files, [Path::new(".env"), Path::new(".env.local")]);
    assert_eq!(config.env[1].1.text, "");
    assert_eq!(config.dependencies.python, [Path::new("backend")]);
    let database = config.database.as_ref().unwrap();
    assert_eq!(database.provider, ProviderChoice::Auto);
    let names: Vec<_> = database.url_env.iter().map(|variable| variable.name.as_str()).collect();
    assert_eq!(names, ["DATABASE_URL", "NEON_PLATFORM_DATABASE_URL"]);
    assert_eq!(database.migrate.as_ref().unwrap().run, RunCommand::Shell("alembic upgrade head".into()));
    let [backend, frontend] = &config.processes[..] else { panic!() };
    assert!(backend.port.as_ref().unwrap().listens);
    assert_eq!(backend.needs, [Need::Python, Need::Database].into());
    assert_eq!(frontend.needs, [Need::Node].into());
    assert_eq!(frontend.depends_on, [("backend".to_string(), Condition::Ready)]);
    assert_eq!(config.urls[0].0, "Tenant");
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let web = process("run: x").unwrap();
    assert_eq!(web.directory, Path::new("."));
    assert_eq!((web.restart.policy, web.restart.max), (RestartPolicy::No, 5));
    assert_eq!((web.stop_signal, web.stop_grace), (2, Duration::from_secs(5)));
    assert_eq!(web.stdin, Stdin::Open);
    assert!(web.autostart && !web.tty && web.needs.is_empty() && web.ready.is_none());
    let ready = process("run: x\nport: web\nready: { tcp: true }").unwrap().ready.unwrap();
    assert_eq!(
        (ready.interval, ready.timeout, ready.deadline),
        (Duration::from_millis(250), Duration::from_secs(2), Duration::from_mins(1))
    );
    let config = load("processes: { web: npm start }\ndatabase: {}\n").unwrap();
    let database = config.database.unwrap();
    assert_eq!(database.provider, ProviderChoice::Auto);
    assert_eq!(
        (database.branch.text.as_str(), database.url_env.iter().map(|url| url.name.clone()).collect()),
        ("dev-${branch}", vec!["DATABASE_URL".to_string()])
    );
    assert_eq!(config.env_files, default_env_files());
    assert_eq!(config.processes[0].run, RunCommand::Shell("npm start".into()));
}

#[test]
fn database_is_absent_without_a_section_or_with_provider_none() {
    assert!(load("processes: { a: b }\n").unwrap().database.is_none());
    assert!(load("processes: { a: b }\ndatabase: { provider: none }\n").unwrap().database.is_none());
}

#[test]
fn every_key_of_a_process_is_read() {
    let web = process(
        "run: [a, 'b c', \"\"]\nport: web\nenv: { A: 1.10, B: no }\ndepends_on: { db: started }\nready: { exec: [t, x], interval: 1s, timeout: 3s, deadline: 2m }\nrestart: on-failure\nmax_restarts: 9\nstop_signal: SIGTERM\nstop_grace: 250ms\ntty: yes\nautostart: false",
    )
    .unwrap();
    assert_eq!(web.run, RunCommand::Argv(vec!["a".into(), "b c".into(), String::new()]));
    let env: Vec<&str> = web.env.iter().map(|(_, template)| template.text.as_str()).collect();
    assert_eq!(env, ["1.10", "no"]);
    assert_eq!(web.depends_on, [("db".to_string(), Condition::Started)]);
    assert!(matches!(web.ready.unwrap().probe, ProbeConfig::Exec(RunCommand::Argv(_))));
    assert_eq!((web.restart.policy, web.restart.max), (RestartPolicy::OnFailure, 9));
    assert_eq!((web.stop_signal, web.stop_grace), (15, Duration::from_millis(250)));
    assert!(web.tty && !web.autostart);
}

#[test]
fn an_empty_standard_input_is_written_as_null() {
    for word in ["null", "~", "'null'", ""] {
        assert_eq!(process(&format!("run: x\nstdin: {word}")).unwrap().stdin, Stdin::Null, "{word}");
    }
    assert_eq!(process("run: x\nstdin: open").unwrap().stdin, Stdin::Open);
}

#[test]
fn the_boolean_no_is_the_word_no() {
    for word in ["no", "'no'", "false", "No", "\"false\""] {
        let result = process(&format!("run: x\nrestart: {word}"));
        assert_eq!(result.is_ok(), word != "No", "{word}");
        assert!(result.is_err() || result.unwrap().restart.policy == RestartPolicy::No);
    }
    assert_eq!(process("run: x\nrestart: always").unwrap().restart.policy, RestartPolicy::Always);
}

#[test]
fn signals_have_names() {
    for (word, number) in [("INT", 2), ("SIGTERM", 15), ("quit", 3), ("SigHup", 1), ("USR2", 12)] {
        assert_eq!(process(&format!("run: x\nstop_signal: {word}")).unwrap().stop_signal, number, "{word}");
    }
}

#[test]
fn a_dependency_waits_for_readiness_where_there_is_a_probe() {
    let depends_on = |text| process(&format!("run: x\ndepends_on: {text}")).unwrap().depends_on;
    assert_eq!(depends_on("[db]"), [("db".to_string(), Condition::Ready)]);
    assert_eq!(depends_on("db"), [("db".to_string(), Condition::Ready)]);
    assert_eq!(depends_on("{ db: completed }"), [("db".to_string(), Condition::Completed)]);
    let config = load("processes: { a: { run: x, depends_on: b }, b: y }\n").unwrap();
    assert_eq!(config.processes[0].depends_on, [("b".to_string(), Condition::Started)]);
}

#[test]
fn needs_are_written_or_guessed_from_the_package() {
    let text = "database: {}\ndependencies: { node: }\nprocesses: { a: { run: next dev, directory: with-client }, b: { run: next dev, needs: [] } }\n";
    let config = load(text).unwrap();
    // `node:` without a value counts as absent.
    assert_eq!(config.processes[0].needs, [Need::Database].into());
    assert_eq!(config.processes[1].needs, BTreeSet::new());
    let all = load(
        "database: {}\ndependencies: { node: {}, python: {} }\nsetup: { s: make }\nprocesses: { a: make }\n",
    )
    .unwrap();
    assert_eq!(all.processes[0].needs, Need::ALL.into());
}

#[test]
fn mistakes_are_reported_with_line_and_column() {
    let ports = "ports: { web: 3000, api: 4000 }\n";
    for (text, expected) in [
        ("ports: { web: 80 }\n", "devrun.yaml:1:15: ports.web: takes a number from 1024 to 65435, not `80`"),
        ("ports: { web: 65436 }\n", "not `65436`"),
        (
            "ports: { web: 8100, api: 8199 }\n",
            "ports.api: `api` (8199) and `web` (8100) are less than 100 apart",
        ),
        ("ports: { a-b: 3000, a_b: 4000 }\n", "would share one variable's name"),
        ("ports: { 1a: 3000 }\n", "must begin with a letter"),
        ("ports: { 'a b': 3000 }\n", "is not a valid name"),
        ("ports: [3000]\n", "ports: takes keys and values, not a list"),
        ("port: { web: 3000 }\n", "devrun.yaml:1:1: port: there is no such key here; did you mean `ports`?"),
        ("processes: { web: { port: web } }\n", "processes.web: needs `run`"),
        ("processes:\n  web:\n    run:\n    tty: true\n", "devrun.yaml:3:5: processes.web.run: has no value"),
        ("processes: { web: { run: '' } }\n", "must not be empty"),
        ("processes: { web: { run: [] } }\n", "must not be empty"),
        ("processes: { web: { run: { a: b } } }\n", "takes a single value, not keys and values"),
        ("processes: { 'w b': x }\n", "is not a valid name"),
        ("processes: { web: { run: x, directory: /etc } }\n", "is absolute"),
        ("processes: { web: { run: x, directory: a/../../b } }\n", "leads out of the worktree"),
        (
            "processes: { web: { run: x, env: { 'A B': c } } }\n",
            "is not a valid name for an environment variable",
        ),
        ("processes: { web: { run: x, env: { A: [b] } } }\n", "takes a single value, not a list"),
        ("processes: { web: { run: x, stop_grace: 5 } }\n", "takes a duration such as 250ms"),
        ("processes: { web: x }\nlogs: { size: 10 }\n", "takes a size such as 10MiB or 1GiB, not `10`"),
        ("processes: { web: x }\nlogs: { size: 0MiB }\n", "takes a size such as"),
        ("processes: { web: x }\nlogs: { files: 0 }\n", "takes a number from 1 to 100"),
        ("processes: { web: { run: x, stop_signal: 9 } }\n", "takes the name of a signal"),
        ("processes: { web: { run: x, restart: sometimes } }\n", "takes no, on-failure or always"),
        ("processes: { web: { run: x, tty: maybe } }\n", "takes true or false"),
        ("processes: { web: { run: x, stdin: keyboard } }\n", "takes open or null"),
        ("processes: { web: { run: x, needs: [redis] } }\n", "there is no preparation `redis`"),
        (
            "processes: { web: { run: x, needs: [database] } }\n",
            "needs database, which this configuration does not have",
        ),
        ("processes: { web: { run: x, ready: {} } }\n", "exactly one of http, tcp, log and exec"),
        ("processes: { web: { run: x, ready: { log: a, exec: b } } }\n", "exactly one of"),
        (
            "processes: { web: { run: x, ready: { log: '(' } } }\n",
            "processes.web.ready.log: is not a valid regular expression: unclosed group",
        ),
        ("processes: { web: { run: x, ready: { http: / } } }\n", "the process has no `port` and no `listen`"),
        (
            "processes: { web: { run: x, ready: { tcp: true } } }\n",
            "the process has no `port` and no `listen`",
        ),
        ("processes: { web: { run: x, ready: { log: a, status: 200 } } }\n", "works only with `http`"),
        (
            "processes: { web: { run: x, depends_on: [wep] } }\n",
            "processes.web.depends_on[0]: there is no process `wep`",
        ),
        ("processes: { web: { run: x, depends_on: [web] } }\n", "waits for itself: web -> web"),
        (
            "processes: { web: { run: x, depends_on: { db: gone } }, db: y }\n",
            "takes started, ready or completed",
        ),
        ("processes: { web: { run: x, depends_on: { db: ready } }, db: y }\n", "but that has no `ready`"),
        ("processes: { web: x, web: y }\n", "processes: `web` is written twice"),
        ("processes: { a: { run: x, port: wep } }\n", "there is no port `wep`"),
        (
            "worktrees: { path: '../${nam}' }\nprocesses: { a: b }\n",
            "worktrees.path: `${nam}` is not a name that devrun knows; did you mean `${name}`?",
        ),
        ("worktrees: { path: ../x }\nprocesses: { a: b }\n", "worktrees.path: must contain `${name}`"),
        ("prune: { auto: hourly }\nprocesses: { a: b }\n", "prune.auto: takes daily or off"),
        ("redirects: { x: web }\nprocesses: { a: b }\n", "redirects.x: `x` is not a port number"),
        ("redirects: { 0: web }\nprocesses: { a: b }\n", "redirects.0: `0` is not a port number"),
        ("redirects: { 8000: wep }\nprocesses: { a: b }\n", "redirects.8000: there is no port `wep`"),
        ("name: x\n", "has no processes"),
        ("procfile: P\nprocesses: { a: b }\n", "processes are written here and in a Procfile"),
        ("database: { provider: sqlite }\n", "there is no provider `sqlite`"),
        ("database: { provider: mysql }\n", "there is no provider `mysql`"),
        (
            "database: { provider: url, url: { admin_env: DATABASE_URL } }\n",
            "DATABASE_URL is in `url_env` too",
        ),
        ("database: { mysql: { image: x } }\n", "database.mysql: there is no such key here"),
        ("database: { docker: { engine: lxc } }\n", "there is no value `lxc`"),
        ("database: { command: { create: [] } }\n", "must not be empty"),
        ("database: { url_env: [] }\n", "must name at least one variable"),
        ("database: { url_env: { A: mysql } }\n", "database.url_env.A: takes the scheme of a Postgres URL"),
        ("database: { url_env: { A-B: postgresql } }\n", "is not a valid name for an environment variable"),
        (
            "processes: { a: b }\nenv: { T: '${database.url:mysql}' }\n",
            "`mysql` is not a valid form for a Postgres URL",
        ),
        ("processes: { a: b }\nenv: { T: '${secret.A-B}' }\n", "env.T: `${secret.A}` is neither"),
        ("y-mine: 1\nprocesses: { a: b }\n", "there is no such key here"),
        ("database: { url_env: [A-B] }\n", "is not a valid name for an environment variable"),
        ("database: { migrate: { run: x, inputs: ['a/***'] } }\n", "is not a valid glob"),
        ("database: { neon: { api_key: x } }\n", "database.neon.api_key: there is no such key here"),
        ("dependencies: { ruby: {} }\n", "dependencies.ruby: there is no such key here"),
        (
            "processes: { a: b }\nurls: { T: '${ports.nope}' }\n",
            "urls.T: `${ports.nope}` is not a name that devrun knows",
        ),
        ("processes: { a: b }\nenv: { T: '${' }\n", "never closes"),
    ] {
        let error = refuse(text);
        assert!(error.to_string().contains(expected), "{text}\n  said {error}");
    }
    for (lines, expected) in [
        ("run: x\nport: web\nlisten: api", "processes.web.listen: cannot be used together with `port`"),
        ("run: x\nport: web\nready: { http: healthz }", "takes a path that begins with `/`"),
        ("run: x\nport: web\nready: { http: /, status: 99 }", "takes a number from 100 to 599"),
        ("run: x\nport: web\nready: { tcp: false }", "takes true"),
        ("run: x\nport: web\nready: { tcp: true, interval: 0s }", "must be longer than 0"),
        (
            "run: x\nlisten: web\nready: { tcp: true }",
            "processes.web.ready.tcp: always passes together with `listen`",
        ),
    ] {
        let error = process(lines).unwrap_err();
        assert!(error.to_string().contains(expected), "{lines}\n  said {error}");
    }
    let shared = refuse(&format!(
        "{ports}processes: {{ a: {{ run: x, port: web }}, b: {{ run: y, listen: web }} }}\n"
    ));
    assert!(shared.to_string().ends_with("the port `web` is already that of `a`"), "{shared}");
    let unknown = refuse(&format!("{ports}processes: {{ a: {{ run: x, port: wep }} }}\n"));
    assert!(
        unknown.to_string().contains("did you mean `web`?") && unknown.fix().unwrap().contains("api, web")
    );
}

#[test]
fn circles_are_reported_as_circles() {
    let text = "processes:\n  a: { run: x, depends_on: [b] }\n  b: { run: x, depends_on: [c] }\n  c: { run: x, depends_on: [d, b] }\n  d: x\n";
    assert_eq!(
        refuse(text).to_string(),
        "devrun.yaml:3:3: processes.b.depends_on: waits for itself: b -> c -> b"
    );
}

#[test]
fn unknown_keys_list_the_known_ones() {
    assert_eq!(refuse("neim: x\n").fix().unwrap(), format!("known here: {}", keys::TOP.names().join(", ")));
}

#[test]
fn computed_variables_cannot_be_set() {
    for (name, place) in [
        ("PORT", "env"),
        ("WEB_PORT", "env"),
        ("WEB_FD", "env"),
        ("DATABASE_URL", "env"),
        ("DEVRUN_X", "env"),
    ] {
        let text =
            format!("ports: {{ web: 3000 }}\ndatabase: {{}}\nprocesses: {{ a: b }}\nenv:\n  {name}: x\n");
        let error = refuse(&text).to_string();
        assert!(
            error.starts_with(&format!("devrun.yaml:5:{}: {place}.{name}: devrun computes", name.len() + 5)),
            "{error}"
        );
        let text = format!(
            "ports: {{ web: 3000 }}\ndatabase: {{}}\nprocesses: {{ a: {{ run: b, env: {{ {name}: x }} }} }}\n"
        );
        assert!(refuse(&text).to_string().contains("devrun computes"), "{name}");
    }
    // Without a database, devrun does not compute DATABASE_URL; `SMTP_PORT` and `SD_FD` belong to no configured port.
    load("processes: { a: b }\nenv: { DATABASE_URL: x, SMTP_PORT: 25, SD_FD: 4 }\n").unwrap();
}

#[test]
fn an_error_shows_its_line_with_secrets_masked() {
    let error = refuse("processes: { a: b }\nenv:\n  API_TOKEN: [s3cret]\n");
    assert_eq!(error.why().unwrap(), "3 |   API_TOKEN: [***]");
    assert!(!format!("{error}{error:?}").contains("s3cret"));
    assert_eq!(refuse("ports:\n  web: 80\n").why().unwrap(), "2 |   web: ***");
}

#[test]
fn a_url_variable_may_name_its_form() {
    let config = load(
        "database: { url_env: { A: postgresql+asyncpg, B: 'postgresql?schema=app', C: } }\nprocesses: { a: b }\n",
    )
    .unwrap();
    let forms: Vec<_> = config.url_env().iter().map(|url| url.form.apply("postgresql://h/d")).collect();
    assert_eq!(forms, ["postgresql+asyncpg://h/d", "postgresql://h/d?schema=app", "postgresql://h/d"]);
}

#[test]
fn extension_keys_at_the_top_hold_anchors_and_nothing_else() {
    let text = "x-common: &common\n  env: { A: one, B: two }\n  restart: always\nprocesses:\n  web:\n    <<: *common\n    \
                run: serve\n    restart: on-failure\n";
    let config = load(text).unwrap();
    let web = &config.processes[0];
    assert_eq!(web.env.len(), 2);
    assert_eq!(web.restart.policy, crate::plan::RestartPolicy::OnFailure);
}

#[test]
fn the_database_in_another_form_is_not_refused() {
    let base = "database: {}\nprocesses: { a: { run: b, env: { DATABASE_URL: '";
    load(&format!("{base}${{database.url:postgresql+asyncpg}}' }} }} }}\n")).unwrap();
    let error = refuse(&format!("{base}postgresql://shared' }} }} }}\n"));
    assert!(error.to_string().contains("devrun computes DATABASE_URL"), "{error}");
}
