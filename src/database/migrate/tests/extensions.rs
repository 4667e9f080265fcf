//! Migrations that create extensions which the server does not have. `nowhere_ext` is an extension of no server.

use super::*;

const ALEMBIC: &str = "revision = '1'\ndown_revision = None\n\ndef upgrade():\n    op.execute('CREATE EXTENSION IF NOT EXISTS nowhere_ext')\n";

#[tokio::test]
async fn a_missing_extension_is_an_error_before_anything_runs() {
    let mut stage = stage!(COUNT);
    stage.write("versions/a.sql", "create table a (n int);\ncreate extension citext;\n");
    stage.write("versions/b.sql", "-- b\nCREATE EXTENSION nowhere_ext;\n");
    let report = stage.ensure().await.unwrap_err();
    assert_eq!((report.code, report.fault), (Code::MigrationFailed, Some(Fault::Environment)));
    assert_eq!(
        report.message,
        "dev-x was not migrated: its server has no extension `nowhere_ext`, which versions/b.sql:2 creates"
    );
    assert_eq!((stage.runs(), stage.marked().await.len()), (0, 0));
    // A database with tables may have been given what that file makes.
    stage.client().await.batch_execute("create table made (n int)").await.unwrap();
    assert!(stage.worked().await);

    stage.command = RunCommand::Shell(format!("{COUNT} # alembic upgrade head"));
    stage.write("versions/1.py", ALEMBIC);
    let report = stage.ensure_with(&["versions/*.py"]).await.unwrap_err();
    assert!(report.message.ends_with("which versions/1.py:5 creates"), "{}", report.message);
    let reached = "create table alembic_version (version_num text); insert into alembic_version values ('1')";
    stage.client().await.batch_execute(reached).await.unwrap();
    assert!(stage.ensure_with(&["versions/*.py"]).await.unwrap().worked, "the database has that revision");
}

#[tokio::test]
async fn a_missing_extension_that_the_files_do_not_show_is_a_fault_of_the_environment() {
    let said = "sqlalchemy.exc.NotSupportedError: extension \"nowhere_ext\" is not available";
    let stage = stage!(&format!("echo '{said}' >&2; exit 1"));
    let report = stage.ensure().await.unwrap_err();
    assert_eq!(report.fault, Some(Fault::Environment));
    assert_eq!(report.fix.as_deref(), Some("use a Postgres that has the extension `nowhere_ext`"));
}

#[test]
fn the_image_and_the_next_step_are_part_of_the_error() {
    let error = MigrateError::Extension {
        name: "dev-x".into(),
        extension: "vector".into(),
        at: "v/1.py:5".into(),
        advice: None,
    };
    assert_eq!(error.missing_extension(), Some("vector"));
    let image = Some(("docker-compose.yml:3".into(), "pgvector/pgvector:pg17".into()));
    let report = Report::from(error.with_extension_advice(ExtensionAdvice { image, fix: "set it".into() }));
    assert_eq!(report.fix.as_deref(), Some("set it"));
    let cause = report.cause.unwrap();
    assert!(cause.starts_with("docker-compose.yml:3 uses the image pgvector/pgvector:pg17"), "{cause}");
}
