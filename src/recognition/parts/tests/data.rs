//! Cases for the schema and the first rows of the database.

use super::*;

fn migrations(files: &[(&str, &str)]) -> Option<Migrations> {
    Repo::new(files).parts_with_backend()
}

impl Repo {
    /// Returns the migrations beside an application in `app/main.py`.
    fn parts_with_backend(self) -> Option<Migrations> {
        self.module("app/main.py", &[("app", ApplicationKind::Object)], &[]).parts().migrations
    }
}

const APP: [(&str, &str); 2] = [("requirements.txt", "fastapi\nasyncpg\n"), ("app/main.py", "")];
const INI: &str = "[alembic]\n# comment\nscript_location = alembic\n";

#[test]
fn alembic_runs_where_its_folder_is() {
    for (ini, text, run, directory, inputs) in [
        ("alembic.ini", INI, "alembic upgrade head", "", "alembic/versions/*.py"),
        (
            "alembic.ini",
            "script_location = %(here)s/db/migrations\n",
            "alembic upgrade head",
            "",
            "db/migrations/versions/*.py",
        ),
        (
            "app/alembic.ini",
            "script_location = app/alembic\n",
            "alembic -c app/alembic.ini upgrade head",
            "",
            "app/alembic/versions/*.py",
        ),
        ("db/alembic.ini", INI, "alembic upgrade head", "db", "alembic/versions/*.py"),
    ] {
        let folder = if ini.starts_with("app") {
            "app/alembic/env.py"
        } else if ini.starts_with("db") {
            "db/alembic/env.py"
        } else {
            "alembic/env.py"
        };
        let found = migrations(&[&APP[..], &[(ini, text), (folder, "")]].concat()).unwrap();
        assert_eq!((found.run.as_str(), found.directory.as_path()), (run, Path::new(directory)), "{ini}");
        assert_eq!(found.inputs, [inputs], "{ini}");
    }
    assert!(migrations(&[&APP[..], &[("alembic.ini", "script_location = ../x\n")]].concat()).is_none());
}

#[test]
fn prisma_is_deployed_with_migrations_and_pushed_without() {
    let package = ("packages/db/package.json", r#"{ "devDependencies": { "prisma": "6" } }"#);
    let schema = ("packages/db/prisma/schema.prisma", "datasource db {\n  provider = \"postgresql\"\n}\n");
    let pushed = migrations(&[&APP[..], &[package, schema]].concat()).unwrap();
    assert_eq!(
        (pushed.run.as_str(), pushed.directory.as_path()),
        ("prisma db push", Path::new("packages/db"))
    );
    let file = ("packages/db/prisma/migrations/1/migration.sql", "");
    let deployed = migrations(&[&APP[..], &[package, schema, file]].concat()).unwrap();
    assert_eq!(
        (deployed.run.as_str(), deployed.inputs[0].as_str()),
        ("prisma migrate deploy", "prisma/migrations/*/migration.sql")
    );
    let sqlite = ("packages/db/prisma/schema.prisma", "datasource db {\n  provider = \"sqlite\"\n}\n");
    assert!(migrations(&[&APP[..], &[package, sqlite]].concat()).is_none());
}

#[test]
fn drizzle_migrates_with_a_journal_and_pushes_without() {
    let package = ("web/package.json", r#"{ "devDependencies": { "drizzle-kit": "1" } }"#);
    let config = (
        "web/drizzle.config.ts",
        "export default { dialect: 'postgresql', schema: './src/db/schema.ts', out: './migrations' }\n",
    );
    let pushed = migrations(&[&APP[..], &[package, config]].concat()).unwrap();
    assert_eq!(
        (pushed.run.as_str(), pushed.inputs[0].as_str()),
        ("drizzle-kit push --force", "src/db/schema.ts")
    );
    let journal = ("web/migrations/meta/_journal.json", "{}");
    let migrated = migrations(&[&APP[..], &[package, config, journal]].concat()).unwrap();
    assert_eq!(
        (migrated.run.as_str(), migrated.inputs[0].as_str()),
        ("drizzle-kit migrate", "migrations/*.sql")
    );
}

#[test]
fn django_migrates_and_serves_by_manage_py() {
    let repo = Repo::new(&[("requirements.txt", "Django>=5\npsycopg\n"), ("manage.py", "")]);
    assert_eq!(repo.part("backend").run, "python manage.py runserver $DEVRUN_HOST:$PORT");
    assert_eq!(repo.parts().migrations.unwrap().run, "python manage.py migrate --noinput");
    assert_eq!(repo.parts().python, [Path::new("")]);
}

#[test]
fn scripts_that_the_start_runs_around_the_migrations_are_run_in_its_order() {
    let files = [
        &APP[..],
        &[
            ("alembic.ini", INI),
            ("alembic/env.py", ""),
            ("app/wait_start.py", ""),
            ("app/initial_data.py", ""),
        ],
    ]
    .concat();
    let repo = Repo::new(&files)
        .command("scripts/prestart.sh", Author::Shell, None, "python -m app.wait_start")
        .command("scripts/prestart.sh", Author::Shell, None, "alembic upgrade head")
        .command("scripts/prestart.sh", Author::Shell, None, "python app/initial_data.py")
        .command("scripts/test.sh", Author::Shell, None, "python app/other.py");
    let found = repo.parts_with_backend().unwrap();
    assert_eq!(
        found.run,
        "python -m app.wait_start && alembic upgrade head && PYTHONPATH=. python app/initial_data.py"
    );
    assert_eq!(found.inputs, ["alembic/versions/*.py", "app/wait_start.py", "app/initial_data.py"]);
}

/// Returns the migrations, or the reason for leaving them out, of a repository with these files that reads a Postgres
/// URL.
fn sql(files: &[(&str, &str)], service: Option<Service>) -> Result<Vec<String>, String> {
    let mut repo = Repo::new(&[&APP[..], files].concat()).reads("DATABASE_URL", None);
    repo = repo.module("app/main.py", &[("app", ApplicationKind::Object)], &[]);
    if let Some(service) = service {
        repo = repo.service(service);
    }
    let parts = repo.parts();
    match parts.migrations {
        Some(found) => {
            assert!(found.is_sql && found.run.is_empty(), "{found:#?}");
            Ok(found.inputs)
        }
        None => Err(parts.left_out.iter().map(|left| left.why.as_str()).collect()),
    }
}

#[test]
fn the_sql_that_a_compose_file_gives_its_postgres_is_applied_in_its_order() {
    let service = |image: &str| Service {
        name: "db".into(),
        at: Some(FileLine { file: "compose.yml".into(), line: 2 }),
        image: Some(image.into()),
        scripts: vec![
            ("db/seed.sql".into(), "/docker-entrypoint-initdb.d/2.sql".into()),
            ("db/schema".into(), "/docker-entrypoint-initdb.d/1".into()),
        ],
        ..Service::default()
    };
    let files =
        [("db/seed.sql", "insert into a values (1);"), ("db/schema/a.sql", "create table a (b int);")];
    assert_eq!(sql(&files, Some(service("postgres:17"))).unwrap(), ["db/schema/*.sql", "db/seed.sql"]);
    assert_eq!(sql(&files, Some(service("mysql"))), Err(String::new()));
    for wide in
        ["CREATE ROLE app;", "create  database app;\n\\c app", "\\connect app", "ALTER TABLE a OWNER TO app;"]
    {
        let files = [("db/seed.sql", wide), files[1]];
        let why = sql(&files, Some(service("postgres:17"))).unwrap_err();
        assert!(why.contains("is about the whole server"), "{wide}: {why}");
    }
}

#[test]
fn numbered_files_of_sql_are_migrations_where_it_is_plain_that_each_is_applied_once() {
    let (one, two) = (("migrations/1_a.sql", "create table a (b int);"), ("migrations/2_b.sql", ""));
    assert_eq!(sql(&[one, two], None).unwrap(), ["migrations/*.sql"]);
    let pairs = [("db/migrations/1.up.sql", ""), ("db/migrations/1.down.sql", "")];
    assert_eq!(sql(&pairs, None).unwrap(), ["db/migrations/*.up.sql"]);
    for (other, wanted) in [
        (("migrations/init.sql", ""), "order is not certain"),
        (("migrations/3.down.sql", ""), "undo others"),
        (("migrations/3.sql", "-- migrate:up\n"), "sections of a migration tool"),
        (("app/db.py", "for file in sorted(folder.glob('*.sql')): ..."), "app/db.py reads files of SQL"),
    ] {
        let why = sql(&[one, two, other], None).unwrap_err();
        assert!(why.contains(wanted), "{other:?}: {why}");
    }
    assert_eq!(sql(&[("supabase/migrations/1.sql", "")], None), Err(String::new()));
}

#[test]
fn a_repository_that_reads_a_postgres_url_gets_a_database_without_a_migration_tool() {
    let base = |repo: Repo| {
        repo.module("app/main.py", &[("app", ApplicationKind::Object)], &[]).parts().wants_database
    };
    assert!(base(Repo::new(&APP).reads("DSN", Some("postgresql+asyncpg://u:p@localhost/d"))));
    assert!(base(Repo::new(&APP).reads("POSTGRES_SERVER", None)));
    assert!(!base(Repo::new(&APP).reads("SENTRY_DSN", None)));
    assert!(!base(
        Repo::new(&[("requirements.txt", "fastapi\naiosqlite\n"), ("app/main.py", "")])
            .reads("DATABASE_URL", Some("sqlite:///x"))
    ));
}
