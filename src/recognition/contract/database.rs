//! Binds variables that hold a URL of the repository's own Postgres.

use super::super::facts::{ReadConstruct, VariableRead};
use super::super::parts::OtherDatabase;
use super::builder::ContractBuilder;
use super::driver::Drivers;
use super::evidence::{Evidence, Strength, VariableValue, View};
use super::names::words;
use super::{Reason, RemarkKind};
use crate::config::postgres_names::is_apart;
use crate::config::postgres_url::{FILE, PgUrl, other_database, template};

/// Binds each variable that holds the URL of a local Postgres, and each that is named like the application's database.
pub(super) fn bind(
    evidence: &Evidence<'_>,
    views: &[View<'_>],
    drivers: &Drivers<'_>,
    draft: &mut ContractBuilder<'_>,
) {
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
            if wanted && named && !view.reads.is_empty() {
                draft.other_database = draft.other_database.take().or_else(|| {
                    Some(OtherDatabase { kind: other, is_file: other == FILE, at: first.at.clone() })
                });
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
        if let Some(own) =
            remote.filter(|own| local.is_none() && is_second(evidence, views, view, own.text, draft))
        {
            remote_remark(view, own.at, draft);
            continue;
        }
        match (remote, local, urls.first()) {
            // The user's own value has a form that works; only the place in it is replaced.
            (Some(own), local, _) if named || local.is_some() => {
                let Some(url) = PgUrl::parse(own.text) else { continue };
                draft.bind(
                    view,
                    template(view.name, url.scheme, &url.kept_query()),
                    Reason::DatabaseUrl,
                    own.at,
                );
            }
            (Some(own), None, _) => remote_remark(view, own.at, draft),
            (None, Some((url, found)), _) if stated => {
                draft.bind(
                    view,
                    template(view.name, driver(view, url, found, &urls, drivers), &url.kept_query()),
                    Reason::DatabaseUrl,
                    found.at,
                );
            }
            // An example with a remote server still shows which driver the application needs.
            (None, None, Some((url, found))) if named && stated => {
                draft.bind(
                    view,
                    template(view.name, url.scheme, &url.kept_query()),
                    Reason::DatabaseUrl,
                    found.at,
                );
            }
            (None, None, None) if named && person.is_none() => unset(view, drivers, draft),
            _ => {}
        }
    }
}

/// Returns true if `url`, a remote Postgres in a variable with an unusual word (`REPORTS_DATABASE_URL`), is not the application's
/// main database: another variable names that one, and leads to another place.
fn is_second(
    evidence: &Evidence<'_>,
    views: &[View<'_>],
    view: &View<'_>,
    url: &str,
    draft: &ContractBuilder<'_>,
) -> bool {
    let Some(url) = PgUrl::parse(url).filter(|_| !is_plain(view.name)) else { return false };
    let is_main = |other: &&View<'_>| {
        let has_url = other.values.iter().any(|value| PgUrl::parse(value.text).is_some());
        is_database(other.name) && is_plain(other.name) && (has_url || !other.reads.is_empty())
    };
    let mut main = views.iter().filter(is_main).peekable();
    if main.peek().is_none() && !draft.has_any(Reason::DatabasePart, view.part) {
        return false;
    }
    let same = |other: &View<'_>| {
        let value = evidence.person_of(other.name, other.part);
        value.and_then(PgUrl::parse).is_some_and(|other| other.is_place_of(&url))
    };
    !main.any(same)
}

/// Returns true if all words of the name are usual for the URL of the only database.
fn is_plain(name: &str) -> bool {
    const USUAL: &[&str] = &[
        "DATABASE",
        "DB",
        "POSTGRES",
        "POSTGRESQL",
        "PG",
        "SQLALCHEMY",
        "PRISMA",
        "SQL",
        "PSQL",
        "URL",
        "URI",
        "DSN",
        "DIRECT",
        "UNPOOLED",
        "NON",
        "POOLING",
        "NONPOOLING",
        "POOLED",
        "POOLER",
        "POOL",
        "NO",
        "SSL",
        "ASYNC",
        "SYNC",
        "ASYNCPG",
        "PSYCOPG",
        "MAIN",
        "PRIMARY",
        "APP",
        "DEFAULT",
        "DEV",
        "LOCAL",
        "CONNECTION",
        "CONN",
        "STRING",
        "MIGRATION",
        "MIGRATIONS",
        "MIGRATE",
        "ALEMBIC",
        "SHADOW",
        "ADMIN",
        "NEON",
        "SUPABASE",
        "DJANGO",
        "DRIZZLE",
    ];
    words(name).iter().all(|word| USUAL.contains(&word.as_str()))
}

/// Returns the scheme for the local URL `url` in the value `found`. A plain scheme gets the driver that a weaker value names, such as
/// the default of the code, or else the only driver among the packages, where `SQLAlchemy` would take another one. A URL that is in
/// an env file of the user, but in no example, keeps its scheme.
fn driver<'a>(
    view: &View<'_>,
    url: &PgUrl<'a>,
    found: &VariableValue<'_>,
    urls: &[(PgUrl<'a>, &VariableValue<'_>)],
    drivers: &Drivers<'_>,
) -> &'a str {
    let is_example =
        |value: &VariableValue<'_>| value.strength == Strength::Example && value.text == found.text;
    let is_own = found.strength == Strength::Person && !view.values.iter().any(is_example);
    if is_own || url.scheme.contains('+') {
        return url.scheme;
    }
    let named = urls.iter().map(|(other, _)| other.scheme).find(|scheme| scheme.contains('+'));
    let by_python =
        view.reads.iter().any(|read| matches!(read.by, ReadConstruct::Python | ReadConstruct::Settings));
    let needed = || drivers.for_plain().filter(|_| by_python);
    named.or_else(needed).unwrap_or(url.scheme)
}

/// Binds a variable without a known URL. The code that reads it and the driver among its packages decide the form.
fn unset(view: &View<'_>, drivers: &Drivers<'_>, draft: &mut ContractBuilder<'_>) {
    let Some(read) = view.reads.first() else { return };
    // Code that reads the parts of the address builds the URL from them. devrun sets DATABASE_URL in any case, so its scheme has to fit.
    if !read.required && view.name != "DATABASE_URL" && draft.has_any(Reason::DatabasePart, view.part) {
        return;
    }
    // A default that is not a URL, such as a prefix, shows that the variable means something else.
    if view
        .values
        .iter()
        .any(|value| !value.text.contains("://") && !super::names::is_placeholder(value.text))
    {
        return;
    }
    let scheme = scheme(read, view.name, drivers);
    draft.bind(view, template(view.name, scheme, ""), Reason::DatabaseUrl, &read.at);
}

fn scheme<'a>(read: &VariableRead, name: &str, drivers: &Drivers<'a>) -> &'a str {
    match read.by {
        ReadConstruct::Python | ReadConstruct::Settings => drivers.scheme(&words(name)),
        ReadConstruct::Node | ReadConstruct::ImportMeta | ReadConstruct::Prisma => "postgresql",
    }
}

fn remote_remark(view: &View<'_>, at: &super::super::facts::FileLine, draft: &mut ContractBuilder<'_>) {
    let text = format!("{} names a Postgres on another machine; it is not replaced", view.name);
    let fix = format!("database: {{ url_env: [{}] }}", view.name);
    draft.remark(RemarkKind::RemoteDatabase, at, text, Some(fix));
}

/// Reports that the application's own variable names a database of another kind, although the application could use
/// Postgres.
fn foreign(
    evidence: &Evidence<'_>,
    view: &View<'_>,
    other: &str,
    drivers: &Drivers<'_>,
    draft: &mut ContractBuilder<'_>,
) {
    let postgres = evidence.facts.services.iter().any(super::postgres_parts::is_postgres);
    let Some(first) = view.values.first() else { return };
    if !(postgres || drivers.any()) || first.strength > Strength::Example {
        return;
    }
    let scheme = view.reads.first().map_or("postgresql", |read| scheme(read, view.name, drivers));
    let text =
        format!("{} is a {other} URL, so the application uses no Postgres of this worktree", view.name);
    let fix = format!("database: {{ url_env: {{ {}: {scheme} }} }}", view.name);
    draft.remark(RemarkKind::Undecided, first.at, text, Some(fix));
}

/// Returns true for a name of the application's own Postgres URL.
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

#[cfg(test)]
mod tests {
    use super::super::super::facts::Giver;
    use super::super::test_repo::TestRepo;
    use super::super::{Contract, RemarkKind};

    fn example(line: &str) -> Contract {
        let name = line.split('=').next().unwrap();
        TestRepo::new().env("backend/.env.example", line).reads("backend/app/settings.py", &[name]).bind()
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
        let contract = TestRepo::new()
            .env("backend/.env", "DATABASE_URL=postgresql+psycopg://u:p@ep-x.neon.tech/main?sslmode=require&channel_binding=require")
            .reads("backend/app/settings.py", &["DATABASE_URL"])
            .bind();
        assert_eq!(contract.value("DATABASE_URL"), Some("${database.url:postgresql+psycopg}"));
    }

    #[test]
    fn the_other_names_that_a_host_writes_are_replaced_although_no_code_reads_them() {
        let contract = TestRepo::new()
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
        let contract = TestRepo::new()
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
    fn a_second_remote_database_stays_and_is_reported_by_name() {
        let bound = |env: &str| {
            TestRepo::new()
                .env("backend/.env", env)
                .reads("backend/app/settings.py", &["DATABASE_URL", "REPORTS_DATABASE_URL"])
                .bind()
        };
        let main = "DATABASE_URL=postgresql://u:p@ep-x-pooler.neon.tech/main";
        let second = bound(&format!("{main}\nREPORTS_DATABASE_URL=postgresql://u:p@rep.example.com/r"));
        assert_eq!(second.value("DATABASE_URL"), Some("${database.url}"));
        assert_eq!(second.value("REPORTS_DATABASE_URL"), None);
        assert_eq!(
            second.said(RemarkKind::RemoteDatabase),
            ["REPORTS_DATABASE_URL names a Postgres on another machine; it is not replaced"]
        );
        let same = bound(&format!("{main}\nREPORTS_DATABASE_URL=postgresql://u:p@ep-x.neon.tech/main"));
        assert_eq!(same.value("REPORTS_DATABASE_URL"), Some("${database.url}"));
        let only = TestRepo::new()
            .env("backend/.env", "REPORTS_DATABASE_URL=postgresql://u:p@rep.example.com/r")
            .reads("backend/app/settings.py", &["REPORTS_DATABASE_URL"])
            .bind();
        assert_eq!(only.value("REPORTS_DATABASE_URL"), Some("${database.url}"));
    }

    #[test]
    fn without_a_value_the_driver_among_the_packages_decides_for_python_only() {
        let contract = TestRepo::new()
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
    fn the_url_that_devrun_sets_beside_the_pieces_has_the_driver_of_the_packages() {
        let contract = TestRepo::new()
            .text("backend/pyproject.toml", "dependencies = [\"sqlmodel\", \"psycopg[binary]\"]")
            .reads("backend/app/settings.py", &["POSTGRES_SERVER=db", "POSTGRES_USER=u", "POSTGRES_DB=a"])
            .reads("backend/app/alembic/env.py", &["DATABASE_URL"])
            .optional("DATABASE_URL")
            .bind();
        assert_eq!(contract.value("DATABASE_URL"), Some("${database.url:postgresql+psycopg}"));
    }

    #[test]
    fn a_plain_url_of_an_example_gets_the_driver_that_the_code_names() {
        let contract = TestRepo::new()
            .env("backend/.env.example", "DATABASE_URL=postgresql://u:p@postgres/app")
            .reads("backend/app/settings.py", &["DATABASE_URL=postgresql+asyncpg://u:p@db/app"])
            .bind();
        assert_eq!(contract.value("DATABASE_URL"), Some("${database.url:postgresql+asyncpg}"));
        let own = TestRepo::new()
            .env("backend/.env", "DATABASE_URL=postgresql://u:p@localhost/app")
            .reads("backend/app/settings.py", &["DATABASE_URL=postgresql+asyncpg://u:p@db/app"])
            .bind();
        assert_eq!(own.value("DATABASE_URL"), Some("${database.url}"));
        let copied = TestRepo::new()
            .env("backend/.env", "DATABASE_URL=postgresql://u:p@postgres/app")
            .env("backend/.env.example", "DATABASE_URL=postgresql://u:p@postgres/app")
            .reads("backend/app/settings.py", &["DATABASE_URL=postgresql+asyncpg://u:p@db/app"])
            .bind();
        assert_eq!(copied.value("DATABASE_URL"), Some("${database.url:postgresql+asyncpg}"));
    }

    #[test]
    fn a_plain_url_gets_the_only_driver_where_the_newest_sqlalchemy_takes_another() {
        let value = |requirements: &str, code: &str| {
            let contract = TestRepo::new()
                .text("backend/requirements.txt", requirements)
                .text("backend/app/db.py", code)
                .reads("backend/app/db.py", &["DATABASE_URL=postgresql://u:p@db/app"])
                .bind();
            contract.value("DATABASE_URL").unwrap().to_string()
        };
        let (list, code) = ("sqlalchemy\npsycopg2-binary\n", "engine = create_engine(URL)");
        assert_eq!(value(list, code), "${database.url:postgresql+psycopg2}");
        for (version, wanted) in
            [("2.0.43", "${database.url}"), ("2.1.0", "${database.url:postgresql+psycopg2}")]
        {
            let contract = TestRepo::new()
                .text("backend/requirements.txt", list)
                .text(
                    "backend/uv.lock",
                    &format!("[[package]]\nname = \"sqlalchemy\"\nversion = \"{version}\"\n"),
                )
                .reads("backend/app/db.py", &["DATABASE_URL=postgresql://u:p@db/app"])
                .bind();
            assert_eq!(contract.value("DATABASE_URL"), Some(wanted), "{version}");
        }
        for (list, code) in [
            ("sqlalchemy==2.0.43\npsycopg2-binary\n", code),
            ("sqlalchemy<2.1\npsycopg2-binary\n", code),
            ("sqlalchemy\npsycopg2-binary\npsycopg\n", code),
            ("psycopg2-binary\n", code),
            (list, "conn = psycopg2.connect(URL)"),
        ] {
            assert_eq!(value(list, code), "${database.url}", "{list} {code}");
        }
    }

    #[test]
    fn a_url_that_the_code_builds_from_bound_pieces_is_left_to_the_code() {
        let contract = TestRepo::new()
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
        let contract = TestRepo::new()
            .service("db", "postgres:17", &[(5432, 5432)])
            .text("backend/requirements.txt", "sqlalchemy\npsycopg[binary]\n")
            .env("backend/.env.example", "DATABASE_URL=sqlite:///./app.db")
            .reads("backend/app/settings.py", &["DATABASE_URL=sqlite:///./app.db"])
            .bind();
        assert_eq!(contract.value("DATABASE_URL"), None);
        let remark = &contract.remarks[0];
        assert_eq!(
            remark.text,
            "DATABASE_URL is a SQLite URL, so the application uses no Postgres of this worktree"
        );
        assert_eq!(
            remark.fix.as_deref(),
            Some("database: { url_env: { DATABASE_URL: postgresql+psycopg } }")
        );
        assert!(contract.other_database.is_some_and(|other| other.is_file));
    }

    #[test]
    fn a_default_that_is_no_postgres_is_the_applications_own_database() {
        let reads = |default: &str| {
            let read = format!("DATABASE_URL={default}");
            TestRepo::new().reads("backend/app/settings.py", &[&read]).bind()
        };
        let own = reads("sqlite+aiosqlite:///./app.db").other_database.unwrap();
        assert_eq!((own.kind, own.is_file), ("SQLite", true));
        let own = reads("mysql+pymysql://u:p@localhost/app").other_database.unwrap();
        assert_eq!((own.kind, own.is_file), ("MySQL", false));
        assert_eq!(reads("postgresql://u:p@localhost/app").other_database, None);
    }

    #[test]
    fn the_compose_files_postgres_decides_over_the_codes_sqlite() {
        let contract = TestRepo::new()
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
        let mut repo = TestRepo::new().reads("frontend/lib/db.ts", &["DATABASE_URL=postgres://localhost/x"]);
        repo.parts.wants_database = false;
        assert_eq!(repo.bind().bindings, []);
    }
}
