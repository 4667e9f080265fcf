//! Binds variables that hold a URL of the repository's own Postgres.

use super::super::facts::{Read, Reader};
use super::draft::Draft;
use super::driver::Drivers;
use super::evidence::{Evidence, Strength, View};
use super::names::words;
use super::pgurl::{PgUrl, other_database};
use super::{Reason, RemarkKind};

/// Binds each variable with the URL of a local Postgres, and each under a name for the application's database.
pub(super) fn bind(evidence: &Evidence<'_>, views: &[View<'_>], drivers: &Drivers<'_>, draft: &mut Draft) {
    let wanted = evidence.parts.wants_database || evidence.parts.migrations.is_some();
    for view in views {
        let named = is_database(view.name);
        if is_apart(view.name) {
            continue;
        }
        let urls: Vec<(PgUrl<'_>, _)> =
            view.values.iter().filter_map(|value| Some((PgUrl::parse(value.text)?, value))).collect();
        let local = urls.iter().find(|(url, value)| {
            url.is_local()
                && (value.strength == Strength::Person
                    || view.person().is_none_or(|own| PgUrl::parse(own.text).is_some()))
        });
        let first = view.values.first();
        if let (Some(other), Some(first)) = (first.and_then(|value| other_database(value.text)), first) {
            if wanted && named && !view.reads.is_empty() && first.strength <= Strength::Example {
                foreign(evidence, view, other, drivers, draft);
            }
            continue;
        }
        if !wanted {
            continue;
        }
        let person = view.person();
        let remote = person.filter(|own| PgUrl::parse(own.text).is_some_and(|url| !url.is_local()));
        let stated =
            !view.reads.is_empty() || view.values.iter().any(|value| value.strength <= Strength::Example);
        match (remote, local, urls.first()) {
            // The person's own value has the form that works; the place is replaced with it.
            (Some(own), local, _) if named || local.is_some() => {
                let Some(url) = PgUrl::parse(own.text) else { continue };
                draft.bind(
                    view,
                    value(view.name, url.scheme, &url.kept_query()),
                    Reason::DatabaseUrl,
                    own.at,
                );
            }
            (Some(own), None, _) => remote_remark(view, own.at, draft),
            (None, Some((url, found)), _) if stated => {
                draft.bind(
                    view,
                    value(view.name, url.scheme, &url.kept_query()),
                    Reason::DatabaseUrl,
                    found.at,
                );
            }
            // An example that names a server elsewhere still says which driver the application needs.
            (None, None, Some((url, found))) if named && stated => {
                draft.bind(
                    view,
                    value(view.name, url.scheme, &url.kept_query()),
                    Reason::DatabaseUrl,
                    found.at,
                );
            }
            (None, None, None) if named && person.is_none() => unset(view, drivers, draft),
            _ => {}
        }
    }
}

/// A variable without a URL to learn from: the code that reads it and the driver among its packages decide.
fn unset(view: &View<'_>, drivers: &Drivers<'_>, draft: &mut Draft) {
    let Some(read) = view.reads.first() else { return };
    // Code that reads the pieces builds the URL from them.
    if !read.required && draft.has_any(Reason::DatabasePart, view.part) {
        return;
    }
    // A default that is no URL, such as a prefix, says that the variable is something else.
    if view
        .values
        .iter()
        .any(|value| !value.text.contains("://") && !super::names::is_placeholder(value.text))
    {
        return;
    }
    let scheme = scheme(read, view.name, drivers);
    draft.bind(view, value(view.name, scheme, ""), Reason::DatabaseUrl, &read.at);
}

fn scheme<'a>(read: &Read, name: &str, drivers: &Drivers<'a>) -> &'a str {
    match read.by {
        Reader::Python | Reader::Settings => drivers.scheme(&words(name)),
        Reader::Node | Reader::ImportMeta | Reader::Prisma => "postgresql",
    }
}

/// The value as devrun.yaml writes it.
fn value(name: &str, scheme: &str, query: &str) -> String {
    let field = if is_direct(name) { "database.direct_url" } else { "database.url" };
    match (scheme, query) {
        ("postgresql", "") => format!("${{{field}}}"),
        _ => format!("${{{field}:{scheme}{query}}}"),
    }
}

fn remote_remark(view: &View<'_>, at: &super::super::facts::Spot, draft: &mut Draft) {
    let text = format!("{} names a Postgres on another machine; it is not replaced", view.name);
    let fix = format!("database: {{ url_env: [{}] }}", view.name);
    draft.remark(RemarkKind::RemoteDatabase, at, text, Some(fix));
}

/// The application's own variable names a database of another kind, although it could use Postgres.
fn foreign(evidence: &Evidence<'_>, view: &View<'_>, other: &str, drivers: &Drivers<'_>, draft: &mut Draft) {
    let postgres = evidence.facts.services.iter().any(super::family::is_postgres);
    let Some(first) = view.values.first() else { return };
    if !(postgres || drivers.any()) {
        return;
    }
    let scheme = view.reads.first().map_or("postgresql", |read| scheme(read, view.name, drivers));
    let text =
        format!("{} is a {other} URL, so the application does not use this worktree's Postgres", view.name);
    let fix = format!("database: {{ url_env: {{ {}: {scheme} }} }}", view.name);
    draft.remark(RemarkKind::Undecided, first.at, text, Some(fix));
}

/// True for a name of the application's own Postgres URL.
fn is_database(name: &str) -> bool {
    let words = words(name);
    let has = |any: &[&str]| words.iter().any(|word| any.contains(&word.as_str()));
    let foreign = [
        "REDIS",
        "MONGO",
        "MONGODB",
        "MYSQL",
        "NEO4J",
        "GRAPH",
        "CLICKHOUSE",
        "SQLITE",
        "WAREHOUSE",
        "ANALYTICS",
        "LEGACY",
        "SOURCE",
        "FIREBASE",
        "TURSO",
        "LIBSQL",
        "SNOWFLAKE",
        "QDRANT",
        "VECTOR",
        "REMOTE",
        "PROD",
        "PRODUCTION",
        "STAGING",
        "BACKUP",
        "API",
        "HTTP",
    ];
    let subject =
        has(&["DATABASE", "DB", "POSTGRES", "POSTGRESQL", "PG", "SQLALCHEMY", "PRISMA", "SQL", "PSQL"]);
    let url = has(&["URL", "URI", "DSN"]);
    name == "DIRECT_URL" || (subject && url && !has(&foreign))
}

/// True for names of databases that are emptied on purpose: those must never be the branch database.
fn is_apart(name: &str) -> bool {
    words(name).iter().any(|word| ["TEST", "TESTS", "TESTING", "SHADOW", "E2E"].contains(&word.as_str()))
}

/// True for names of a connection that goes around a pooler.
fn is_direct(name: &str) -> bool {
    let words = words(name);
    let has = |word: &str| words.iter().any(|other| other == word);
    has("DIRECT") || has("UNPOOLED") || has("NONPOOLING") || name.contains("NON_POOLING")
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Giver;
    use super::super::kit::Repo;
    use super::super::{Contract, RemarkKind};

    fn example(line: &str) -> Contract {
        let name = line.split('=').next().unwrap();
        Repo::new().env("backend/.env.example", line).reads("backend/app/settings.py", &[name]).bind()
    }

    #[test]
    fn a_local_url_keeps_its_scheme_and_parameters_under_any_name() {
        let pairs = [
            (
                "DATABASE_URL=postgresql+asyncpg://u:p@localhost:5432/app",
                "${database.url:postgresql+asyncpg}",
            ),
            ("APP_STORE=postgres://u:p@db/app?schema=public", "${database.url:postgres?schema=public}"),
            ("SQLALCHEMY_DATABASE_URI=postgresql://u:p@127.0.0.1/app", "${database.url}"),
            ("DIRECT_URL=postgresql://u:p@localhost/app", "${database.direct_url}"),
        ];
        for (line, expected) in pairs {
            let name = line.split('=').next().unwrap();
            assert_eq!(example(line).value(name), Some(expected), "{line}");
        }
    }

    #[test]
    fn databases_that_are_emptied_on_purpose_and_other_kinds_are_not_bound() {
        for line in [
            "TEST_DATABASE_URL=postgresql://u:p@localhost/test",
            "SHADOW_DATABASE_URL=postgresql://u:p@localhost/shadow",
            "DATABASE_URL=mysql://u:p@localhost/app",
            "MONGO_URL=mongodb://localhost/app",
        ] {
            let name = line.split('=').next().unwrap();
            assert_ne!(example(line).reason(name), Some(super::Reason::DatabaseUrl), "{line}");
        }
    }

    #[test]
    fn a_remote_value_of_the_applications_own_variable_is_replaced_in_its_form() {
        let contract = Repo::new()
            .env("backend/.env", "DATABASE_URL=postgresql+psycopg://u:p@ep-x.neon.tech/main?sslmode=require&channel_binding=require")
            .reads("backend/app/settings.py", &["DATABASE_URL"])
            .bind();
        assert_eq!(contract.value("DATABASE_URL"), Some("${database.url:postgresql+psycopg}"));
    }

    #[test]
    fn the_other_names_that_a_host_writes_are_replaced_although_no_code_reads_them() {
        let contract = Repo::new()
            .env(
                ".env.local",
                "POSTGRES_URL_NON_POOLING=postgres://u:p@x.neon.tech/m\nPOSTGRES_PRISMA_URL=postgres://u:p@x.neon.tech/m\nPGHOST=x.neon.tech",
            )
            .bind();
        assert_eq!(contract.value("POSTGRES_URL_NON_POOLING"), Some("${database.direct_url:postgres}"));
        assert_eq!(contract.value("POSTGRES_PRISMA_URL"), Some("${database.url:postgres}"));
        assert_eq!(contract.value("PGHOST"), Some("${database.host}"));
        assert_eq!(contract.value("PGPASSWORD"), Some("${database.password}"));
    }

    #[test]
    fn a_remote_postgres_under_another_name_stays_and_is_reported_by_name() {
        let contract = Repo::new()
            .env("backend/.env", "WAREHOUSE_URL=postgresql://u:secret@w.example.net/main")
            .reads("backend/app/settings.py", &["WAREHOUSE_URL"])
            .bind();
        assert_eq!(contract.bindings, []);
        assert_eq!(
            contract.said(RemarkKind::RemoteDatabase),
            ["WAREHOUSE_URL names a Postgres on another machine; it is not replaced"]
        );
    }

    #[test]
    fn without_a_value_the_driver_among_the_packages_decides_for_python_only() {
        let contract = Repo::new()
            .text("backend/requirements.txt", "sqlalchemy\nasyncpg\n")
            .text("backend/app/db.py", "engine = create_async_engine(os.environ['DATABASE_URL'])")
            .reads("backend/app/db.py", &["DATABASE_URL"])
            .reads("frontend/lib/db.ts", &["DATABASE_URL", "POSTGRES_URL"])
            .bind();
        assert_eq!(contract.value("POSTGRES_URL"), Some("${database.url}"));
        assert_eq!(contract.value("DATABASE_URL"), Some("${database.url:postgresql+asyncpg}"));
        assert_eq!(contract.value_for("DATABASE_URL", Some("frontend")), Some("${database.url}"));
    }

    #[test]
    fn a_url_that_the_code_builds_from_bound_pieces_is_left_to_the_code() {
        let contract = Repo::new()
            .reads("backend/app/settings.py", &["POSTGRES_SERVER=db", "POSTGRES_USER=u", "POSTGRES_DB=a"])
            .reads("backend/app/settings.py", &["POSTGRES_ASYNC_PREFIX=postgresql+asyncpg://"])
            .reads("backend/app/db.py", &["POSTGRES_URI"])
            .optional("POSTGRES_URI")
            .bind();
        assert_eq!(contract.value("POSTGRES_ASYNC_PREFIX"), None);
        assert_eq!(contract.value("POSTGRES_URI"), None);
        assert_eq!(contract.value("POSTGRES_SERVER"), Some("${database.host}"));
    }

    #[test]
    fn an_sqlite_url_stays_and_the_line_that_would_change_it_is_given() {
        let contract = Repo::new()
            .service("db", "postgres:17", &[(5432, 5432)])
            .text("backend/requirements.txt", "sqlalchemy\npsycopg[binary]\n")
            .env("backend/.env.example", "DATABASE_URL=sqlite:///./app.db")
            .reads("backend/app/settings.py", &["DATABASE_URL=sqlite:///./app.db"])
            .bind();
        assert_eq!(contract.value("DATABASE_URL"), None);
        let remark = &contract.remarks[0];
        assert_eq!(
            remark.text,
            "DATABASE_URL is a SQLite URL, so the application does not use this worktree's Postgres"
        );
        assert_eq!(
            remark.fix.as_deref(),
            Some("database: { url_env: { DATABASE_URL: postgresql+psycopg } }")
        );
    }

    #[test]
    fn the_compose_files_postgres_decides_over_the_codes_sqlite() {
        let contract = Repo::new()
            .given(
                "compose.yaml",
                4,
                "DATABASE_URL",
                "postgresql+asyncpg://u:p@db/app",
                Giver::Compose("backend".to_string()),
            )
            .reads("backend/app/settings.py", &["DATABASE_URL=sqlite:///./app.db"])
            .bind();
        assert_eq!(contract.value("DATABASE_URL"), Some("${database.url:postgresql+asyncpg}"));
    }

    #[test]
    fn a_product_without_postgres_has_no_database_binding() {
        let mut repo = Repo::new().reads("frontend/lib/db.ts", &["DATABASE_URL=postgres://localhost/x"]);
        repo.parts.wants_database = false;
        assert_eq!(repo.bind().bindings, []);
    }
}
