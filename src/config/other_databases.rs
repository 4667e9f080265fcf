//! Reports variables that name a Postgres other than this worktree's.
//!
//! Pure. devrun sets the variables of `url_env`. Hosts such as Neon, Vercel and Supabase write several more variables
//! beside them, which lead to the shared server.

use crate::config::given_databases::{self, DecidedVariables, GivenValues};
use crate::config::model::DatabaseConfig;
use crate::config::postgres_names::is_apart;
use crate::config::url_forms;
use crate::plan::{Notice, OtherDatabaseForm, OtherDatabaseVariable};

/// Returns a report for each given variable that names a Postgres other than that of the URL `own`.
pub fn find(
    given: &GivenValues<'_>,
    decided: &DecidedVariables<'_>,
    own: Option<&str>,
) -> Vec<OtherDatabaseVariable> {
    let urls = given.iter().filter(|(name, _)| !decided.contains_key(**name));
    let urls = urls.filter_map(|(name, value)| in_url(name, value, own));
    urls.chain(given_databases::remote(given, decided, own)).collect()
}

/// Returns a report if `value` is the URL of a Postgres other than `own`. Ignores a database for tests on this machine.
fn in_url(name: &str, value: &str, own: Option<&str>) -> Option<OtherDatabaseVariable> {
    let found = url_forms::parts(value)?;
    let place = |parts: &url_forms::UrlParts| (parts.host.clone(), parts.port.clone(), parts.name.clone());
    if own.and_then(url_forms::parts).is_some_and(|own| place(&own) == place(&found)) {
        return None;
    }
    if is_apart(name) && url_forms::is_local(&found.host) {
        return None;
    }
    let host = if found.host.is_empty() { "localhost".into() } else { found.host };
    let scheme = value.split("://").next().unwrap_or_default().to_string();
    Some(OtherDatabaseVariable { name: name.into(), host, form: OtherDatabaseForm::Url(scheme) })
}

/// Returns one notice for all of `found`, with the lines of devrun.yaml that give them the branch database; `None` if `found`
/// is empty. The notice contains hosts, but no values.
pub fn notice(database: &DatabaseConfig, found: &[OtherDatabaseVariable]) -> Option<Notice> {
    if found.is_empty() {
        return None;
    }
    let places: Vec<String> = found.iter().map(|one| format!("{} ({})", one.name, one.host)).collect();
    let verb = if found.len() == 1 { "names" } else { "name" };
    let text = format!("{} {verb} a Postgres that is not this worktree's", places.join(", "));
    let lines: Vec<String> = url_lines(database, found).into_iter().chain(part_lines(found)).collect();
    Some(Notice { text, fix: Some(lines.join("\n")).filter(|fix| !fix.is_empty()) })
}

/// Returns the `url_env` that also has the URLs of `found`. Leaves out a database that tests empty.
fn url_lines(database: &DatabaseConfig, found: &[OtherDatabaseVariable]) -> Option<String> {
    let known = database.url_env.iter().map(|known| {
        let form = &known.form;
        let query = if form.query.is_empty() { String::new() } else { format!("?{}", form.query) };
        (known.name.clone(), format!("{}{query}", form.scheme.as_deref().unwrap_or_default()))
    });
    let added = found.iter().filter_map(|one| match &one.form {
        OtherDatabaseForm::Url(scheme) if !is_apart(&one.name) => {
            let form = if scheme.contains('+') { scheme.clone() } else { String::new() };
            Some((one.name.clone(), form))
        }
        OtherDatabaseForm::Url(_) | OtherDatabaseForm::Parts(_) => None,
    });
    let mut added = added.peekable();
    added.peek()?;
    let all: Vec<(String, String)> = known.chain(added).collect();
    let line = if all.iter().all(|(_, form)| form.is_empty()) {
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        format!("url_env: [{}]", names.join(", "))
    } else {
        let pair = |(name, form): &(String, String)| {
            format!("{name}: {}", if form.is_empty() { "postgresql" } else { form })
        };
        format!("url_env: {{ {} }}", all.iter().map(pair).collect::<Vec<_>>().join(", "))
    };
    Some(format!("database:\n  {line}"))
}

/// Returns the `env` that gives the families of `found` the parts of the branch database's address.
fn part_lines(found: &[OtherDatabaseVariable]) -> Option<String> {
    let parts = found.iter().filter_map(|one| match &one.form {
        OtherDatabaseForm::Parts(parts) => Some(parts),
        OtherDatabaseForm::Url(_) => None,
    });
    let lines: Vec<String> = parts.flatten().map(|(name, part)| format!("  {name}: {part}")).collect();
    (!lines.is_empty()).then(|| format!("env:\n{}", lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::UrlVariable;
    use crate::config::source::{ConfigPosition, Source};
    use crate::config::url_forms::UrlForm;
    use crate::config::{schema, yaml};

    const OWN: &str = "postgresql://app:x@127.0.0.1:6000/dev-b";

    fn found(name: &str, value: &str) -> Option<String> {
        in_url(name, value, Some(OWN)).map(|found| found.host)
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

    fn elsewhere(name: &str, scheme: &str) -> OtherDatabaseVariable {
        let form = OtherDatabaseForm::Url(scheme.into());
        OtherDatabaseVariable { name: name.into(), host: "h.example.net".into(), form }
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
    fn a_family_gets_lines_with_the_parts_of_the_branch_database() {
        let given =
            GivenValues::from([("DB_HOST", "h.example.net"), ("DB_NAME", "app"), ("DIRECT_URL", "x")]);
        let found = find(&given, &DecidedVariables::new(), Some(OWN));
        let said = notice(&database(&[("DATABASE_URL", "")]), &found).unwrap();
        assert_eq!(said.text, "DB_HOST (h.example.net) names a Postgres that is not this worktree's");
        assert_eq!(said.fix.unwrap(), "env:\n  DB_HOST: ${database.host}\n  DB_NAME: ${database.name}");
    }

    #[test]
    fn no_line_binds_a_database_that_tests_empty() {
        let said = notice(&database(&[("DATABASE_URL", "")]), &[elsewhere("TEST_URL", "postgres")]).unwrap();
        assert_eq!(said.fix, None);
    }
}
