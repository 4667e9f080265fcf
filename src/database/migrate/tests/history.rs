//! Tests of Alembic histories that cannot be followed.

use super::{COUNT, Stage, fake_alembic, revision};
use crate::error::{Code, Fault};
use crate::plan::RunCommand;

#[tokio::test]
async fn several_heads_stop_the_migration_before_it_begins() {
    let mut stage = stage!("");
    fake_alembic(&mut stage, "");
    revision(&stage, "a1", "None");
    revision(&stage, "b1", "'a1'");
    revision(&stage, "c1", "'a1'");
    let report = stage.ensure().await.unwrap_err();
    assert_eq!(report.code, Code::MigrationHeads);
    assert!(
        report.message.contains("c1 \"add c1\" (/") && report.message.contains("/versions/c1.py)"),
        "{report:?}"
    );
    let fix = report.fix.unwrap();
    assert!(fix.contains("bin/alembic merge heads -m 'merge add b1 and add c1'"), "{fix}");
    assert_eq!(stage.runs(), 0);
    stage.command = RunCommand::Shell(format!("{COUNT}; : alembic upgrade heads"));
    stage.client().await.batch_execute("create table alembic_version (version_num text)").await.unwrap();
    assert!(stage.worked().await);
}

#[tokio::test]
async fn two_files_with_the_same_id_stop_the_migration_before_it_begins() {
    let mut stage = stage!("");
    fake_alembic(&mut stage, "UserWarning: Revision b1 is present more than once");
    revision(&stage, "a1", "None");
    revision(&stage, "b1", "'a1'");
    let source = "import x\nrevision = 'b1'\ndown_revision = 'a1'\n";
    stage.write("versions/b1_again.py", source);
    let report = stage.ensure().await.unwrap_err();
    assert_eq!((report.code, report.fault), (Code::MigrationDuplicate, Some(Fault::Code)));
    let folder = stage.folder.path().display();
    let lines = format!("id b1: {folder}/versions/b1.py:2 and {folder}/versions/b1_again.py:2");
    assert!(report.message.ends_with(&lines), "{report:?}");
    assert!(report.fix.unwrap().contains("let its `down_revision` be 'b1' if it follows the other"));
    assert_eq!(stage.runs(), 0);
    // devrun does not know whether Alembic loads the file of another folder.
    std::fs::remove_file(stage.folder.path().join("versions/b1_again.py")).unwrap();
    stage.write("versions/old/b1.py", source);
    let report = stage.ensure_with(&["versions/**/*.py"]).await.unwrap_err();
    assert_eq!((report.code, stage.runs()), (Code::MigrationDuplicate, 1));
}

#[tokio::test]
async fn heads_that_devrun_cannot_read_are_reported_after_alembic_failed() {
    let mut stage = stage!("");
    fake_alembic(&mut stage, "FAILED: Multiple head revisions are present for given argument 'head'");
    revision(&stage, "a1", "None");
    revision(&stage, "b1", "None");
    revision(&stage, "old/c1", "computed()");
    let report = stage.ensure_with(&["versions/**/*.py"]).await.unwrap_err();
    assert_eq!((report.code, stage.runs()), (Code::MigrationHeads, 1));
    let unseen = stage.ensure_with(&[]).await.unwrap_err();
    assert_eq!(
        (unseen.code, unseen.message.as_str()),
        (Code::MigrationHeads, "the migrations have several heads")
    );
}

#[tokio::test]
async fn a_missing_parent_names_the_file() {
    let mut stage = stage!("");
    fake_alembic(&mut stage, "KeyError: 'gone1'");
    revision(&stage, "b1", "'gone1'");
    let report = stage.ensure().await.unwrap_err();
    assert_eq!(report.code, Code::MigrationFailed);
    assert!(report.message.contains("versions/b1.py") && report.message.contains("gone1"), "{report:?}");
    assert_eq!(report.cause.as_deref(), Some("KeyError: 'gone1'"));
    let place = format!("{}/versions/b1.py:3", stage.folder.path().display());
    assert_eq!(report.correct.as_ref(), Some(&place));
    assert!(report.fix.unwrap().contains(&format!("correct down_revision in {place}, then")));
}
