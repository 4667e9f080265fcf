//! Tests of the bindings: their sources, and the processes that get them.

use super::*;
use crate::config::envfile::EnvFileOrigin;
use crate::config::{consistency, schema, yaml};

fn config(text: &str) -> Config {
    let source = Source::new("devrun.yaml", text);
    let read = schema::read(&yaml::parse(&source).unwrap()).unwrap();
    let at = ConfigPosition::file(&source);
    consistency::complete(read.config, read.processes, &at, &|_| false).unwrap()
}

fn file(name: &str, vars: &[(&str, &str)]) -> EnvFile {
    let lines = vars.iter().zip(1..).map(|((name, _), line)| ((*name).into(), line)).collect();
    EnvFile {
        name: name.into(),
        found: EnvFileOrigin::Worktree,
        vars: vars.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        lines,
        left_out: Vec::new(),
        passed_over: None,
        warnings: Vec::new(),
    }
}

fn files(common: EnvFile, own: Vec<(&str, EnvFile)>) -> Files {
    Files {
        common: vec![common],
        own: own.into_iter().map(|(process, file)| (process.into(), vec![file])).collect(),
        names: [].into(),
        outside: Vec::new(),
        left: BTreeMap::new(),
    }
}

const TEXT: &str = "database: {}\nprocesses:\n  api: { run: x, env_files: [api/.env] }\n  jobs: { run: x, env_files: [jobs/.env] }\n";

/// Returns the configuration with the bindings, each as `NAME PROCESS SOURCE TEMPLATE`.
fn bound(files: &Files, inherited: &[(&str, &str)]) -> (Config, Vec<String>) {
    let mut config = config(TEXT);
    let inherited = inherited.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    bind(&mut config, files, &inherited);
    let line = |one: &BoundVariable| {
        let env = match &one.process {
            None => &config.env,
            Some(process) => &config.processes.iter().find(|known| known.name == *process).unwrap().env,
        };
        let (_, template) = env.iter().find(|(name, _)| *name == one.name).unwrap();
        let process = one.process.as_deref().unwrap_or("-");
        let source = one.source.as_ref().map_or_else(|| "shell".into(), ToString::to_string);
        format!("{} {process} {source} {}", one.name, template.text)
    };
    let lines = config.provenance.bindings.iter().map(line).collect();
    (config, lines)
}

#[test]
fn a_binding_names_the_line_that_gives_the_value_unless_the_shell_does() {
    let common = file(".env", &[("DB_NAME", "app"), ("DB_HOST", "localhost"), ("DB_PORT", "5432")]);
    let (_, lines) = bound(&files(common, Vec::new()), &[("DB_PORT", "5433")]);
    let wanted = [
        "DB_HOST - .env:2 ${database.host}",
        "DB_NAME - .env:1 ${database.name}",
        "DB_PORT - shell ${database.port}",
    ];
    assert_eq!(lines, wanted);
}

#[test]
fn a_shell_that_names_another_machine_decides_over_the_env_file() {
    let common = file(".env", &[("DB_NAME", "app"), ("DB_HOST", "localhost")]);
    assert_eq!(bound(&files(common, Vec::new()), &[("DB_HOST", "h.example.net")]).1, [""; 0]);
}

#[test]
fn processes_that_agree_share_a_binding_and_others_have_their_own() {
    let url = |driver: &str| format!("postgresql+{driver}://u:p@db/app");
    let (api, jobs) = (url("asyncpg"), url("psycopg"));
    let own = vec![
        ("api", file("api/.env", &[("DB_HOST", "db"), ("STORE_URL", &api)])),
        ("jobs", file("jobs/.env", &[("DB_HOST", "localhost"), ("STORE_URL", &jobs)])),
    ];
    let (_, lines) = bound(&files(file(".env", &[]), own), &[]);
    let wanted = [
        "STORE_URL api api/.env:2 ${database.url:postgresql+asyncpg}",
        "DB_HOST - api/.env:1 ${database.host}",
        "STORE_URL jobs jobs/.env:2 ${database.url:postgresql+psycopg}",
    ];
    assert_eq!(lines, wanted);
}

#[test]
fn a_process_that_chooses_its_server_keeps_the_given_values_of_the_family() {
    let mut config = config(
        "database: {}\nprocesses: { api: x, jobs: { run: x, env: { DB_HOST: h.example.net } }, own: { run: x, env: { DB_NAME: y } } }\n",
    );
    let vars = [("DB_HOST", "localhost"), ("DB_NAME", "a$b"), ("STORE", "postgresql://u:p@db/app")];
    bind(&mut config, &files(file(".env", &vars), Vec::new()), &BTreeMap::new());
    let names: Vec<&str> = config.env.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["STORE", "DB_HOST", "DB_NAME"]);
    let env = |index: usize| -> Vec<String> {
        let env = &config.processes[index].env;
        env.iter().map(|(name, template)| format!("{name}={}", template.text)).collect()
    };
    assert_eq!(env(0), [""; 0]);
    assert_eq!(env(1), ["DB_HOST=h.example.net", "DB_NAME=a$$b"]);
    assert_eq!(env(2), ["DB_NAME=y"]);
}

#[test]
fn values_that_a_file_leaves_out_show_the_variables_of_the_application() {
    let mut common = file(".env", &[]);
    common.left_out = vec![("DB_HOST".into(), "localhost".into()), ("DB_NAME".into(), "app".into())];
    common.lines = BTreeMap::from([("DB_HOST".into(), 1), ("DB_NAME".into(), 2)]);
    let (_, lines) = bound(&files(common, Vec::new()), &[]);
    assert_eq!(lines, ["DB_HOST - .env:1 ${database.host}", "DB_NAME - .env:2 ${database.name}"]);
}

#[test]
fn the_form_of_a_given_url_is_kept_unless_the_configuration_names_one() {
    let url = [("DATABASE_URL", "postgresql+asyncpg://a:b@localhost/shared?schema=x")];
    let form = |text: &str, files: &Files| {
        let mut config = config(&format!("processes: {{ api: b }}\ndatabase: {text}\n"));
        bind(&mut config, files, &BTreeMap::new());
        config.url_env()[0].form.merged("postgresql://own")
    };
    let common = files(file(".env", &url), Vec::new());
    assert_eq!(form("{}", &common), "postgresql+asyncpg://own?schema=x");
    assert_eq!(
        form("{ url_env: { DATABASE_URL: postgresql+psycopg } }", &common),
        "postgresql+psycopg://own"
    );
    assert_eq!(form("{ url_env: [OTHER_URL] }", &common), "postgresql://own");
    let own = files(file(".env", &[]), vec![("api", file("api/.env", &url))]);
    assert_eq!(form("{}", &own), "postgresql+asyncpg://own?schema=x");
}

#[test]
fn nothing_changes_without_a_branch_database() {
    let mut config = config("processes: { api: b }\n");
    let common = file(".env", &[("DB_HOST", "localhost"), ("DB_NAME", "app")]);
    bind(&mut config, &files(common, Vec::new()), &BTreeMap::new());
    assert!(config.env.is_empty());
}
