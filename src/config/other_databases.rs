//! Finds variables that hold the URL of a Postgres other than this worktree's.
//!
//! Pure. devrun sets the variables of `url_env`. Hosts such as Neon, Vercel and Supabase write several more variables
//! beside them, which would still lead to the shared server.

use std::ffi::{OsStr, OsString};

use crate::config::address;
use crate::config::model::DatabaseConfig;
use crate::plan::{Notice, OtherDatabaseUrl};

/// Names of this machine.
const LOOPBACK: [&str; 4] = ["", "localhost", "127.0.0.1", "::1"];
/// Words in names of variables for databases that tests or tools empty. Those must never be the branch database.
const APART: [&str; 5] = ["TEST", "TESTS", "TESTING", "SHADOW", "E2E"];

/// Returns a report if `value` is the URL of a Postgres other than `own`. Ignores a database for tests on this machine.
pub fn find(name: &OsStr, value: &OsString, own: Option<&str>) -> Option<OtherDatabaseUrl> {
    let (name, value) = (name.to_str()?, value.to_str()?);
    let found = address::parts(value)?;
    let place = |parts: &address::UrlParts| (parts.host.clone(), parts.port.clone(), parts.name.clone());
    if own.and_then(address::parts).is_some_and(|own| place(&own) == place(&found)) {
        return None;
    }
    let is_socket = found.host.starts_with('/');
    if is_apart(name) && (is_socket || LOOPBACK.contains(&found.host.as_str())) {
        return None;
    }
    let host = if found.host.is_empty() { "localhost".into() } else { found.host };
    let scheme = value.split("://").next().unwrap_or_default().to_string();
    Some(OtherDatabaseUrl { name: name.into(), host, scheme })
}

/// Returns true for the name of a variable for a database that tests or tools empty.
pub fn is_apart(name: &str) -> bool {
    name.split('_').any(|word| APART.contains(&word.to_ascii_uppercase().as_str()))
}

/// Returns one notice for all of `found`, with the `url_env` line that binds them; `None` if `found` is empty. The
/// notice contains hosts, but no values.
pub fn notice(database: &DatabaseConfig, found: &[OtherDatabaseUrl]) -> Option<Notice> {
    if found.is_empty() {
        return None;
    }
    let places: Vec<String> = found.iter().map(|one| format!("{} ({})", one.name, one.host)).collect();
    let known = database.url_env.iter().map(|known| {
        let form = &known.form;
        let query = if form.query.is_empty() { String::new() } else { format!("?{}", form.query) };
        (known.name.clone(), format!("{}{query}", form.scheme.as_deref().unwrap_or_default()))
    });
    let added = found.iter().filter(|one| !is_apart(&one.name)).map(|one| {
        let form = if one.scheme.contains('+') { one.scheme.clone() } else { String::new() };
        (one.name.clone(), form)
    });
    let all: Vec<(String, String)> = known.chain(added).collect();
    let verb = if found.len() == 1 { "names" } else { "name" };
    let text = format!("{} {verb} a Postgres that is not this worktree's", places.join(", "));
    if found.iter().all(|one| is_apart(&one.name)) {
        return Some(Notice { text, fix: None });
    }
    let line = if all.iter().all(|(_, form)| form.is_empty()) {
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        format!("url_env: [{}]", names.join(", "))
    } else {
        let pair = |(name, form): &(String, String)| {
            format!("{name}: {}", if form.is_empty() { "postgresql" } else { form })
        };
        format!("url_env: {{ {} }}", all.iter().map(pair).collect::<Vec<_>>().join(", "))
    };
    Some(Notice { text, fix: Some(format!("database:\n  {line}")) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::address::UrlForm;
    use crate::config::model::UrlVariable;
    use crate::config::source::{ConfigPosition, Source};
    use crate::config::{schema, yaml};

    const OWN: &str = "postgresql://app:x@127.0.0.1:6000/dev-b";

    fn found(name: &str, value: &str) -> Option<String> {
        find(OsStr::new(name), &value.into(), Some(OWN)).map(|found| found.host)
    }

    fn database(url_env: &[(&str, &str)]) -> DatabaseConfig {
        let source = Source::new("devrun.yaml", "database: {}\n");
        let mut database = schema::read(&yaml::parse(&source).unwrap()).unwrap().config.database.unwrap();
        let variable = |(name, form): &(&str, &str)| UrlVariable {
            name: (*name).into(),
            form: UrlForm::read(form).unwrap_or_default(),
            at: ConfigPosition::file(&source),
        };
        database.url_env = url_env.iter().map(variable).collect();
        database
    }

    fn elsewhere(name: &str, scheme: &str) -> OtherDatabaseUrl {
        OtherDatabaseUrl { name: name.into(), host: "h.example.net".into(), scheme: scheme.into() }
    }

    #[test]
    fn a_postgres_that_is_not_the_branch_database_is_found_in_any_form() {
        assert_eq!(found("DIRECT_URL", "postgres://u:p@prod.example.net/main").unwrap(), "prod.example.net");
        assert_eq!(found("A", "postgresql+asyncpg://u:p@127.0.0.1:6000/dev-a").unwrap(), "127.0.0.1");
        assert_eq!(found("A", "postgresql:///main?host=/run/pg").unwrap(), "/run/pg");
        assert_eq!(found("A", "postgresql+psycopg://app:x@127.0.0.1:6000/dev-b?x=1"), None, "the own one");
        assert_eq!(found("A", "mysql://u:p@h/main"), None);
        assert_eq!(found("TEST_DATABASE_URL", "postgresql://u:p@localhost/test"), None);
        assert_eq!(
            found("TEST_DATABASE_URL", "postgresql://u:p@h.example.net/test").unwrap(),
            "h.example.net"
        );
    }

    #[test]
    fn one_notice_names_all_of_them_with_the_line_that_binds_them() {
        let both = [elsewhere("DIRECT_URL", "postgres"), elsewhere("POSTGRES_URL", "postgresql")];
        let said = notice(&database(&[("DATABASE_URL", "")]), &both).unwrap();
        let text = "DIRECT_URL (h.example.net), POSTGRES_URL (h.example.net) name a Postgres that is not this worktree's";
        assert_eq!(said.text, text);
        assert_eq!(said.fix.unwrap(), "database:\n  url_env: [DATABASE_URL, DIRECT_URL, POSTGRES_URL]");
        assert_eq!(notice(&database(&[("DATABASE_URL", "")]), &[]), None);
    }

    #[test]
    fn forms_are_kept_in_the_line() {
        let known = database(&[("DATABASE_URL", "postgresql+asyncpg"), ("SYNC_URL", "")]);
        let said = notice(&known, &[elsewhere("JOBS_URL", "postgresql+psycopg")]).unwrap();
        let line = "url_env: { DATABASE_URL: postgresql+asyncpg, SYNC_URL: postgresql, JOBS_URL: postgresql+psycopg }";
        assert_eq!(said.fix.unwrap(), format!("database:\n  {line}"));
    }

    #[test]
    fn no_line_binds_a_database_that_tests_empty() {
        let said = notice(&database(&[("DATABASE_URL", "")]), &[elsewhere("TEST_URL", "postgres")]).unwrap();
        assert_eq!(said.fix, None);
    }
}
