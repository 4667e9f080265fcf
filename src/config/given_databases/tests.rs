//! Tests of the rule: which families and URLs are replaced, and which are reported.

use super::*;
use crate::config::source::{ConfigPosition, Source};
use crate::config::{consistency, schema, yaml};

fn config(text: &str) -> Config {
    let source = Source::new("devrun.yaml", text);
    let read = schema::read(&yaml::parse(&source).unwrap()).unwrap();
    let at = ConfigPosition::file(&source);
    consistency::complete(read.config, read.processes, &at, &|_| false).unwrap()
}

/// Returns the variables that devrun replaces, as `NAME=template`. `text` is a part of devrun.yaml.
fn replaced_in(text: &str, given: &[(&str, &str)]) -> Vec<String> {
    let config = config(&format!("database: {{}}\n{text}\nprocesses: {{ a: b }}\n"));
    let found = replaced(&given.iter().copied().collect(), &decided(&config, None));
    let mut lines: Vec<String> = found.iter().map(|one| format!("{}={}", one.name, one.template)).collect();
    lines.sort();
    lines
}

/// Returns the same with `env` under `env:`.
fn replaced_with(env: &str, given: &[(&str, &str)]) -> Vec<String> {
    replaced_in(&format!("ports: {{ pg: 5000 }}\nenv: {{ {env} }}"), given)
}

fn names(given: &[(&str, &str)]) -> Vec<String> {
    let name = |line: String| line.split('=').next().unwrap().to_string();
    replaced_with("", given).into_iter().map(name).collect()
}

/// Returns the hosts that devrun reports.
fn reported(given: &[(&str, &str)], own: Option<&str>) -> Vec<String> {
    let config = config("database: {}\nprocesses: { a: b }\n");
    let found = remote(&given.iter().copied().collect(), &decided(&config, None), own);
    found.into_iter().map(|one| format!("{} {}", one.name, one.host)).collect()
}

const TEMPLATE: [(&str, &str); 5] = [
    ("POSTGRES_SERVER", "db"),
    ("POSTGRES_PORT", "5432"),
    ("POSTGRES_USER", "u"),
    ("POSTGRES_PASSWORD", "p"),
    ("POSTGRES_DB", "app"),
];

fn with_host(host: &str) -> Vec<(&str, &str)> {
    TEMPLATE
        .into_iter()
        .map(|(name, value)| (name, if name == "POSTGRES_SERVER" { host } else { value }))
        .collect()
}

#[test]
fn a_family_on_this_machine_gets_every_part_of_the_branch_database() {
    for host in
        ["localhost", "127.0.0.1", "127.0.1.1", "::1", "db", "", "/run/postgresql", "host.docker.internal"]
    {
        let wanted = [
            "POSTGRES_DB=${database.name}",
            "POSTGRES_PASSWORD=${database.password}",
            "POSTGRES_PORT=${database.port}",
            "POSTGRES_SERVER=${database.host}",
            "POSTGRES_USER=${database.user}",
        ];
        assert_eq!(replaced_with("", &with_host(host)), wanted, "{host}");
    }
}

#[test]
fn families_have_many_names() {
    for given in [
        &[("DB_HOST", "localhost"), ("DB_USERNAME", "u"), ("DB_PASS", "p"), ("DB_DATABASE", "a")][..],
        &[("DBHOST", "localhost"), ("DBPORT", "1"), ("DBUSER", "u"), ("DBPASSWORD", "p"), ("DBNAME", "a")],
        &[("SHOP_DB_HOST", "db"), ("SHOP_DB_NAME", "a")],
        &[("POSTGRES_HOST", "db"), ("POSTGRES_DB_NAME", "a")],
        &[("DB_HOST", "localhost"), ("DATABASE_NAME", "a")],
        &[("LEDGER_HOST", "db"), ("LEDGER_PORT", "5432"), ("LEDGER_USER", "u"), ("LEDGER_DB", "l")],
        &[("POSTGRES_USER", "u"), ("POSTGRES_PASSWORD", "p"), ("POSTGRES_DB", "a")],
    ] {
        assert_eq!(names(given).len(), given.len(), "{given:?}");
    }
}

#[test]
fn families_of_other_servers_and_single_names_keep_their_values() {
    for given in [
        &[("DB_HOST", "localhost"), ("DB_PORT", "3306"), ("DB_NAME", "a")][..],
        &[("DB_HOST", "localhost"), ("DB_CONNECTION", "mysql"), ("DB_NAME", "a")],
        &[("REDIS_HOST", "localhost"), ("REDIS_DB", "0"), ("REDIS_PASSWORD", "x")],
        &[("TEST_DB_HOST", "localhost"), ("TEST_DB_USER", "u"), ("TEST_DB_NAME", "t")],
        &[("CHROMA_DB_HOST", "localhost"), ("CHROMA_DB_PORT", "8001")],
        &[("SHOP_DB_HOST", "localhost"), ("SHOP_DB_PORT", "8001")],
        &[("LEDGER_HOST", "db"), ("LEDGER_USER", "u"), ("LEDGER_DB", "l")],
        &[("APP_NAME", "a"), ("DB_NAME", "a"), ("DB_PORT", "1"), ("PGHOST", "localhost")],
    ] {
        assert_eq!(names(given), [""; 0], "{given:?}");
    }
}

#[test]
fn a_local_url_keeps_its_scheme_and_parameters() {
    let url = "postgresql+asyncpg://u:p@db:5432/app?schema=jobs&sslmode=disable";
    assert_eq!(replaced_with("", &[("JOBS", url)]), ["JOBS=${database.url:postgresql+asyncpg?schema=jobs}"]);
    let direct = [("DIRECT_URL", "postgresql://u:p@localhost/app")];
    assert_eq!(replaced_with("", &direct), ["DIRECT_URL=${database.direct_url}"]);
    for (name, value) in [
        ("JOBS", "postgresql://u:p@prod.example.net/app"),
        ("JOBS", "postgresql:///app?host=prod.example.net"),
        ("JOBS", "mysql://u:p@localhost/app"),
        ("TEST_URL", "postgresql://u:p@localhost/app"),
        ("DATABASE_URL", "postgresql://u:p@localhost/app"),
    ] {
        assert_eq!(names(&[(name, value)]), [""; 0], "{name}={value}");
    }
}

#[test]
fn variable_under_env_stays_and_decides_about_its_family() {
    let rest = &TEMPLATE[1..];
    let parts = |env: &str| replaced_with(env, &TEMPLATE).len();
    assert_eq!(replaced_with("POSTGRES_SERVER: '${database.host}'", rest).len(), 4);
    assert_eq!(
        parts("POSTGRES_SERVER: localhost"),
        4,
        "the port and the login still lead to the shared server"
    );
    assert_eq!(parts("POSTGRES_DB: mine"), 4);
    assert_eq!(parts("POSTGRES_SERVER: prod.example.net"), 0);
    assert_eq!(parts("POSTGRES_SERVER: '${POSTGRES_SERVER}'"), 0);
    assert_eq!(parts("POSTGRES_PORT: 5433"), 0);
    assert_eq!(parts("POSTGRES_PORT: '${ports.pg}'"), 0);
    let computed = replaced_in("ports: { db: 5000 }", &[("DB_HOST", "localhost"), ("DB_NAME", "a")]);
    assert_eq!(computed, [""; 0], "devrun computes DB_PORT");
}

#[test]
fn a_family_on_another_machine_is_reported_with_its_host() {
    let hosted = with_host("prod.example.net");
    assert_eq!(names(&hosted), [""; 0]);
    assert_eq!(reported(&hosted, None), ["POSTGRES_SERVER prod.example.net"]);
    let own = "postgresql://u:p@prod.example.net:5432/app";
    assert_eq!(reported(&hosted, Some(own)), [""; 0], "the branch database itself");
    let other = "postgresql://u:p@prod.example.net:5432/dev-b";
    assert_eq!(reported(&hosted, Some(other)), ["POSTGRES_SERVER prod.example.net"]);
    assert_eq!(reported(&TEMPLATE, None), [""; 0]);
    let second = [("DB_HOST", "localhost"), ("SHOP_DB_HOST", "h.example.net"), ("SHOP_DB_NAME", "s")];
    assert_eq!((names(&second), reported(&second, None).len()), (vec!["DB_HOST".to_string()], 1));
}

#[test]
fn a_form_is_that_of_the_given_url() {
    let form_of = |value: &str| form(value).map(|form| form.merged("postgresql://own/d"));
    assert_eq!(form_of("postgresql+asyncpg://u@h/d").unwrap(), "postgresql+asyncpg://own/d");
    assert_eq!(form_of("postgres://u@localhost/d?schema=a").unwrap(), "postgres://own/d?schema=a");
    assert_eq!(form_of("postgresql://u@localhost/d?sslmode=disable"), None);
    assert_eq!(form_of("mysql://u@localhost/d"), None);
}
