//! Tests of migrations on a real server: which commands run, how often, and what is recorded.

macro_rules! stage {
    ($command:expr) => {
        match Stage::new($command).await {
            Some(stage) => stage,
            None => return,
        }
    };
}

mod extensions;
mod history;
mod server;

use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio_postgres::Client;

use self::server::{PASSWORD, Server};
use super::status::MigrationStatus;
use super::*;
use crate::context::Dirs;
use crate::database::connect::connect;
use crate::error::{Code, Fault, Report};
use crate::event::Events;

/// A secret in the command's environment.
const TOKEN: &str = "tok-migrate-1";

fn words(migrated: &Migrated) -> (&str, bool) {
    (&migrated.outcome, migrated.worked)
}

/// A branch database, a folder with migrations, and the events that were sent.
struct Stage {
    _server: Arc<Server>,
    ctx: Context,
    told: Arc<Mutex<String>>,
    folder: tempfile::TempDir,
    branch: BranchDatabase,
    command: RunCommand,
    limit: Duration,
    elsewhere: Option<String>,
    suspect: Option<String>,
}

/// A command that adds a line to the file `runs`.
const COUNT: &str = "echo run >> runs";

impl Stage {
    /// Returns `None`, with a line on stderr, if Postgres is not installed.
    async fn new(command: &str) -> Option<Stage> {
        let Some(server) = Server::shared() else {
            crate::os::skip_without("postgres");
            return None;
        };
        let url = server.database().await;
        let told = Arc::new(Mutex::new(String::new()));
        let events = {
            let told = told.clone();
            Events::new(move |event| writeln!(told.lock().unwrap(), "{event:?}").unwrap())
        };
        let folder = tempfile::tempdir().unwrap();
        let env: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        let dirs = Dirs::from_env(&[("HOME".into(), folder.path().into())].into());
        let cwd = folder.path().to_path_buf();
        let stage = Stage {
            ctx: Context { cwd, env, dirs, events, started: Instant::now(), colour: false },
            _server: server,
            told,
            folder,
            branch: BranchDatabase {
                id: "branch-1".into(),
                name: "dev-x".into(),
                url: url.clone(),
                direct_url: url,
                admin_socket: None,
                records: None,
                origin: DatabaseOrigin::Existing,
                copied_from: None,
            },
            command: RunCommand::Shell(command.into()),
            limit: Duration::from_mins(1),
            elsewhere: None,
            suspect: None,
        };
        stage.write("versions/a.sql", "one");
        Some(stage)
    }

    fn write(&self, path: &str, text: &str) {
        crate::os::fs::replace(&self.folder.path().join(path), text.as_bytes(), 0o644).unwrap();
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("runs")).map_or(0, |text| text.lines().count())
    }

    fn messages(&self) -> String {
        self.told.lock().unwrap().clone()
    }

    async fn ensure(&self) -> Result<Migrated, Report> {
        self.ensure_with(&["versions/*"]).await
    }

    async fn ensure_with(&self, inputs: &[&str]) -> Result<Migrated, Report> {
        let mut env = self.ctx.env.clone();
        env.insert("DATABASE_URL".into(), self.branch.direct_url.clone().into());
        env.insert("SESSION_TOKEN".into(), TOKEN.into());
        let request = MigrateRequest {
            branch: &self.branch,
            name: self.branch.name.clone(),
            command: self.command.clone(),
            psql: None,
            root: self.folder.path().to_path_buf(),
            directory: self.folder.path().into(),
            inputs: inputs.iter().map(ToString::to_string).collect(),
            env,
            variable: "APP_DB_URL".into(),
            elsewhere: self.elsewhere.clone(),
            suspect: self.suspect.clone(),
            has_packages: true,
            limit: self.limit,
        };
        let result = ensure(&self.ctx, &request).await.map_err(Report::from);
        let shown = format!("{result:?}{}", self.messages());
        assert!(!shown.contains(PASSWORD) && !shown.contains(TOKEN), "a secret was shown: {shown}");
        result
    }

    async fn worked(&self) -> bool {
        self.ensure().await.unwrap().worked
    }

    async fn client(&self) -> Client {
        connect(&self.branch.direct_url, Duration::from_secs(30)).await.unwrap()
    }

    /// Returns the ids of the branches that have a marker in this database.
    async fn marked(&self) -> Vec<String> {
        marker::read(&self.client().await).await.unwrap().into_iter().map(|m| m.branch).collect()
    }
}

#[tokio::test]
async fn the_first_run_migrates_and_marks_and_the_second_runs_nothing() {
    let stage = stage!(COUNT);
    assert_eq!(words(&stage.ensure().await.unwrap()), ("migrated", true));
    assert_eq!(stage.marked().await, ["branch-1"]);
    assert!(stage.messages().contains("StepStarted"));
    stage.told.lock().unwrap().clear();
    assert_eq!(words(&stage.ensure().await.unwrap()), ("up to date", false));
    assert_eq!(stage.runs(), 1);
    assert_eq!(stage.messages(), "", "no event is sent if nothing is done");
}

#[tokio::test]
async fn migrations_run_again_for_changed_files_another_command_or_another_branch() {
    let mut stage = stage!(COUNT);
    assert!(stage.worked().await);
    stage.write("versions/a.sql", "two");
    assert!(stage.worked().await);
    stage.write("versions/b.sql", "");
    assert!(stage.worked().await);
    assert!(!stage.worked().await);
    stage.command = RunCommand::Shell(format!("{COUNT}; true"));
    assert!(stage.worked().await);
    stage.branch.id = "branch-2".into();
    assert!(stage.worked().await, "the database has only the marker of another branch");
    assert_eq!(stage.marked().await, ["branch-2"]);
    assert_eq!(stage.runs(), 5);
}

#[tokio::test]
async fn the_command_gets_its_environment_and_its_output_is_shown_without_passwords() {
    let stage = stage!("echo \"at $DATABASE_URL by $SESSION_TOKEN\"; test -z \"$PGPASSFILE\"");
    assert!(stage.worked().await);
    assert!(stage.messages().contains("at postgresql://postgres:***@127.0.0.1:"), "{}", stage.messages());
}

#[tokio::test]
async fn undone_migrations_run_again() {
    const HEAD: &str = "create table if not exists alembic_version (version_num text); create table if not exists things (id int); \
                        delete from alembic_version; insert into alembic_version values ('b2')";
    let mut stage = stage!("");
    stage.command = RunCommand::Shell(format!("{COUNT}; : alembic upgrade heads"));
    let client = stage.client().await;
    let inputs = ["versions/*".to_string()];
    let status = async |stage: &Stage| {
        let (command, directory) = (&stage.command, stage.folder.path());
        let source = MigrationSource { command, is_sql: false, directory, globs: &inputs };
        schema_state(&stage.branch, Some(source)).await.unwrap().status
    };
    for undo in [
        "update alembic_version set version_num = 'a1'",
        "delete from alembic_version",
        "drop table alembic_version",
        "drop schema public cascade; create schema public; create table things (id int)",
    ] {
        client.batch_execute(HEAD).await.unwrap();
        stage.write("versions/a.sql", undo);
        assert!(stage.worked().await, "{undo}");
        assert!(!stage.worked().await, "{undo}");
        assert_eq!(status(&stage).await, MigrationStatus::UpToDate, "{undo}");
        client.batch_execute(undo).await.unwrap();
        assert_eq!(status(&stage).await, MigrationStatus::Pending, "{undo}");
        assert!(stage.worked().await, "{undo}");
    }
    // A copy of a parent whose migrations were undone has to migrate too.
    client.batch_execute(HEAD).await.unwrap();
    stage.ensure().await.unwrap();
    client.batch_execute("update alembic_version set version_num = 'a1'").await.unwrap();
    stage.branch.id = "copy".into();
    stage.branch.copied_from = Some("branch-1".into());
    assert!(stage.worked().await);
}

#[tokio::test]
async fn a_database_at_a_revision_without_a_file_is_not_migrated() {
    let mut stage = stage!("");
    stage.write("versions/a1.py", "revision = 'a1'\ndown_revision = None\n");
    std::fs::remove_file(stage.folder.path().join("versions/a.sql")).unwrap();
    stage.command = RunCommand::Shell(": alembic upgrade heads".into());
    let client = stage.client().await;
    client
        .batch_execute(
            "create table alembic_version (version_num text); insert into alembic_version values ('a1')",
        )
        .await
        .unwrap();
    assert!(stage.worked().await);
    client.batch_execute("update alembic_version set version_num = 'b2'").await.unwrap();
    assert!(!stage.worked().await);
}

#[tokio::test]
async fn a_failing_command_leaves_no_marker_and_is_retried() {
    let stage = stage!(
        "echo run >> runs; echo \"about $DATABASE_URL by $SESSION_TOKEN\"; test -e good || { echo bad >&2; exit 3; }"
    );
    let report = stage.ensure().await.unwrap_err();
    assert_eq!(report.code, Code::MigrationFailed);
    assert!(report.message.contains("ended with exit code 3"), "{report:?}");
    let cause = report.cause.unwrap();
    assert!(
        cause.contains("about postgresql://postgres:***@")
            && cause.contains(" by ***")
            && cause.contains("bad"),
        "{cause}"
    );
    assert_eq!(report.fault, Some(Fault::Code));
    assert_eq!(stage.marked().await, [""; 0]);
    stage.write("good", "");
    assert!(stage.worked().await);
    assert_eq!((stage.runs(), stage.marked().await), (2, vec!["branch-1".to_string()]));
}

#[tokio::test]
async fn a_failure_deletes_the_marker_of_an_earlier_success() {
    let stage = stage!("echo run >> runs; test ! -e versions/bad.sql");
    assert!(stage.worked().await);
    stage.write("versions/bad.sql", "");
    stage.ensure().await.unwrap_err();
    // The files are again those of the marker, but the failed run may have changed the schema, so the command runs.
    std::fs::remove_file(stage.folder.path().join("versions/bad.sql")).unwrap();
    assert!(stage.worked().await);
}

#[tokio::test]
async fn after_a_kill_midway_the_command_runs_again() {
    let stage = stage!("echo run >> runs; test -e go || exec sleep 600");
    assert!(tokio::time::timeout(Duration::from_mins(1), async {
        tokio::select! {
            _ = stage.ensure() => panic!("the command cannot end"),
            () = async { while stage.runs() == 0 { tokio::time::sleep(Duration::from_millis(5)).await } } => {}
        }
    })
    .await
    .is_ok());
    assert_eq!(stage.marked().await, [""; 0]);
    stage.write("go", "");
    assert!(stage.worked().await);
    assert_eq!(stage.runs(), 2);
}

#[tokio::test]
async fn an_exact_copy_of_a_migrated_parent_is_only_marked() {
    let mut stage = stage!(COUNT);
    assert!(stage.worked().await);
    stage.branch.id = "copy".into();
    stage.branch.copied_from = Some("branch-1".into());
    stage.branch.origin = DatabaseOrigin::CopyOf("main".into());
    let migrated = stage.ensure().await.unwrap();
    assert_eq!(words(&migrated), ("already migrated in main", false));
    assert_eq!((stage.runs(), stage.marked().await), (1, vec!["copy".to_string()]));
    stage.branch.copied_from = None;
    assert!(!stage.worked().await);
}

#[tokio::test]
async fn a_copy_whose_own_migrations_differ_runs_them() {
    let mut stage = stage!(COUNT);
    assert!(stage.worked().await);
    stage.branch.id = "copy".into();
    stage.branch.copied_from = Some("branch-1".into());
    stage.write("versions/b.sql", "new");
    assert!(stage.worked().await);
    assert_eq!((stage.runs(), stage.marked().await), (2, vec!["copy".to_string()]));
}

#[tokio::test]
async fn two_devruns_at_once_run_the_command_once() {
    let stage = stage!("echo run >> runs; sleep 0.3");
    let (one, two) = tokio::join!(stage.ensure(), stage.ensure());
    let outcomes = [one.unwrap().outcome, two.unwrap().outcome];
    assert!(outcomes.contains(&"migrated".to_string()), "{outcomes:?}");
    assert_eq!(stage.runs(), 1);
    let waited = outcomes.contains(&"migrated by another devrun just now".to_string());
    assert_eq!(waited, stage.messages().contains("waiting for it"));
}

#[tokio::test]
async fn markers_are_read_in_a_new_session_if_the_server_ended_the_first() {
    let Some(stage) = Stage::new("true").await else { return };
    let sessions = Cell::new(0);
    let read = async |client: &Client| {
        sessions.set(sessions.get() + 1);
        if sessions.get() < 4 {
            client.batch_execute("select pg_terminate_backend(pg_backend_pid())").await?;
        }
        marker::read(client).await
    };
    let (markers, _) = lock::in_session(&stage.branch, CONNECT, read).await.unwrap();
    assert_eq!((markers, sessions.get()), (Vec::new(), 4));
}

#[tokio::test]
async fn a_lock_that_is_never_released_ends_in_an_error_at_the_limit() {
    let mut stage = stage!(COUNT);
    let other = stage.client().await;
    assert!(marker::try_lock(&other, marker::LOCK_KEY).await.unwrap());
    stage.limit = Duration::from_millis(50);
    let report = stage.ensure().await.unwrap_err();
    assert_eq!(report.code, Code::MigrationFailed);
    assert!(report.holder.unwrap().to_string().contains(&std::process::id().to_string()));
    assert_eq!(stage.runs(), 0);
}

#[tokio::test]
async fn a_command_that_never_ends_is_stopped() {
    let mut stage = stage!("echo still busy; exec sleep 600");
    stage.limit = Duration::from_millis(300);
    let report = stage.ensure().await.unwrap_err();
    assert_eq!((report.code, report.cause.as_deref()), (Code::MigrationFailed, Some("still busy")));
    assert!(report.message.contains("did not end within"), "{report:?}");
}

#[tokio::test]
async fn without_files_the_command_runs_once_per_database() {
    let stage = stage!(COUNT);
    assert!(stage.ensure_with(&[]).await.unwrap().worked);
    assert!(!stage.ensure_with(&[]).await.unwrap().worked);
    assert!(!stage.messages().contains("Warning"));
    // No globs and globs without a match give the same fingerprint, so the command does not run.
    assert!(!stage.ensure_with(&["none/*.py"]).await.unwrap().worked);
    let other = stage!(COUNT);
    assert!(other.ensure_with(&["none/*.py"]).await.unwrap().worked);
    assert!(
        other.messages().contains("Warning") && other.messages().contains("none/*.py"),
        "{}",
        other.messages()
    );
}

#[tokio::test]
async fn a_migration_may_drop_everything_it_finds() {
    let mut stage = stage!(COUNT);
    assert!(stage.worked().await);
    stage.client().await.batch_execute("drop schema _devrun cascade").await.unwrap();
    assert!(stage.worked().await);
    stage.command = RunCommand::Shell("sleep 0.2".into());
    let dropping = async {
        let client = stage.client().await;
        while !stage.messages().contains("sleep 0.2") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        client.batch_execute("drop schema _devrun cascade").await.unwrap();
    };
    let (migrated, ()) = tokio::join!(stage.ensure(), dropping);
    assert!(migrated.unwrap().worked);
    assert_eq!(stage.marked().await, ["branch-1"]);
}

#[tokio::test]
async fn a_user_who_may_not_create_a_schema_gets_an_error_of_the_environment() {
    let mut stage = stage!(COUNT);
    let database = stage.branch.direct_url.rsplit('/').next().unwrap().to_string();
    let role = format!("weak_{database}");
    let admin = stage.client().await;
    let grants = format!("create role {role} login; revoke create on database {database} from public");
    admin.batch_execute(&grants).await.unwrap();
    stage.branch.direct_url = stage.branch.direct_url.replace("://postgres:", &format!("://{role}:"));
    let report = stage.ensure().await.unwrap_err();
    assert!(report.message.contains("permission denied"), "{report:?}");
    assert_eq!(report.fault, Some(Fault::Environment));
    assert_eq!(stage.runs(), 0);
}

#[tokio::test]
async fn schema_state_reports_too_many_connections_at_once() {
    let mut stage = stage!(COUNT);
    let database = stage.branch.direct_url.rsplit('/').next().unwrap().to_string();
    let role = format!("late_{database}");
    let limit = format!("create role {role} login; alter database {database} connection limit 0");
    stage.client().await.batch_execute(&limit).await.unwrap();
    stage.branch.direct_url = stage.branch.direct_url.replace("://postgres:", &format!("://{role}:"));
    let start = Instant::now();
    let report = Report::from(schema_state(&stage.branch, None).await.unwrap_err());
    assert!(start.elapsed() < CONNECT / 2, "{:?}", start.elapsed());
    let said = format!("too many connections for database \"{database}\"");
    assert!(report.message.ends_with(&said), "{report:?}");
    assert!(report.fix.unwrap().starts_with("close other connections, or raise the limit"));
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_an_error() {
    let mut stage = stage!(COUNT);
    stage.branch.direct_url.push_str("_gone");
    let report = stage.ensure().await.unwrap_err();
    assert_eq!(report.code, Code::DatabaseUnavailable);
    assert!(report.message.contains("does not exist"), "{report:?}");
}

#[tokio::test]
async fn a_missing_program_is_an_error_of_the_environment() {
    let mut stage = stage!(COUNT);
    stage.command = RunCommand::Argv(vec!["devrun-no-such-tool".into(), "up".into()]);
    let report = stage.ensure().await.unwrap_err();
    assert!(report.message.contains("`devrun-no-such-tool` is not installed"), "{report:?}");
    assert_eq!(report.fault, Some(Fault::Environment));
}

/// Creates a program `bin/alembic` that prints `says` and fails, as Alembic does.
fn fake_alembic(stage: &mut Stage, says: &str) {
    let script = format!("#!/bin/sh\necho run >> runs\necho \"{says}\" >&2\nexit 1\n");
    crate::os::fs::replace(&stage.folder.path().join("bin/alembic"), script.as_bytes(), 0o755).unwrap();
    stage.command = RunCommand::Shell("bin/alembic upgrade head".into());
}

fn revision(stage: &Stage, id: &str, down: &str) {
    let source = format!("\"\"\"add {id}\"\"\"\nrevision = '{id}'\ndown_revision = {down}\n");
    stage.write(&format!("versions/{id}.py"), &source);
}

#[tokio::test]
async fn command_that_would_migrate_another_database_is_not_run() {
    let mut stage = stage!("");
    stage.elsewhere = Some("/w/alembic.ini:3".into());
    let report = stage.ensure().await.unwrap_err();
    assert_eq!((report.code, report.fault), (Code::MigrationFailed, Some(Fault::Configuration)));
    assert_eq!(report.correct.as_deref(), Some("/w/alembic.ini:3"));
    let fix = report.fix.unwrap();
    assert!(fix.contains("import os; config.") && fix.contains("os.environ[\"APP_DB_URL\"]"), "{fix}");
    assert_eq!(stage.runs(), 0);
    stage.elsewhere = Some("/w/app/settings.py:3".into());
    let fix = stage.ensure().await.unwrap_err().fix.unwrap();
    assert!(fix.starts_with("let /w/app/settings.py:3 read the URL from APP_DB_URL"), "{fix}");
    assert_eq!(stage.runs(), 0);
}

#[tokio::test]
async fn a_url_that_the_migration_may_use_is_reported_before_it_runs() {
    let mut stage = stage!("");
    stage.command = RunCommand::Shell(format!("{COUNT}; : alembic upgrade head"));
    stage.suspect = Some("/w/app/settings.py:3".into());
    let report = stage.ensure().await.unwrap_err();
    assert!(stage.messages().contains("/w/app/settings.py:3 has the URL of a Postgres"));
    assert_eq!((stage.runs(), report.correct.as_deref()), (1, Some("/w/app/settings.py:3")));
    assert!(!report.fix.unwrap().contains("url_env"));
}

#[tokio::test]
async fn a_migration_that_does_not_change_the_branch_database_is_an_error() {
    let mut stage = stage!("");
    stage.command = RunCommand::Shell(format!("{COUNT}; : alembic upgrade head"));
    stage.write("alembic.ini", "[alembic]\nsqlalchemy.url = postgresql://a:b@localhost/shared\n");
    let report = stage.ensure().await.unwrap_err();
    assert_eq!((report.code, report.fault), (Code::MigrationFailed, Some(Fault::Configuration)));
    assert!(report.message.ends_with("did not change dev-x: it has no table alembic_version"), "{report:?}");
    assert!(report.cause.unwrap().contains("alembic.ini:2"));
    // Nothing is marked, so the next run migrates again.
    assert!(stage.ensure().await.is_err());
    assert_eq!(stage.runs(), 2);
    revision(&stage, "a1", "None");
    revision(&stage, "b1", "'a1'");
    stage
        .client()
        .await
        .batch_execute(
            "create table alembic_version (version_num text); insert into alembic_version values ('a1')",
        )
        .await
        .unwrap();
    let report = stage.ensure().await.unwrap_err();
    assert!(report.message.ends_with("it is at revision a1, not at b1"), "{report:?}");
    stage.client().await.batch_execute("update alembic_version set version_num = 'b1'").await.unwrap();
    assert!(stage.worked().await);
}

#[tokio::test]
async fn an_empty_database_is_never_up_to_date() {
    let mut stage = stage!("");
    stage.command = RunCommand::Shell("true".into());
    assert!(stage.worked().await);
    let inputs = ["versions/*".to_string()];
    let files = MigrationSource {
        command: &stage.command,
        is_sql: false,
        directory: stage.folder.path(),
        globs: &inputs,
    };
    assert_eq!(schema_state(&stage.branch, Some(files)).await.unwrap().status, MigrationStatus::Empty);
    stage.client().await.batch_execute("create table things (id int)").await.unwrap();
    assert_eq!(schema_state(&stage.branch, Some(files)).await.unwrap().status, MigrationStatus::UpToDate);
}

#[test]
fn only_markers_of_the_branch_or_its_parent_with_the_same_files_count() {
    let mut branch = BranchDatabase {
        id: "mine".into(),
        name: String::new(),
        url: String::new(),
        direct_url: String::new(),
        admin_socket: None,
        records: None,
        origin: DatabaseOrigin::Empty,
        copied_from: Some("parent".into()),
    };
    let marker = |branch: &str, print: &str| Marker { branch: branch.into(), fingerprint: print.into() };
    assert_eq!(verdict(&[], &branch, "f"), Verdict::Stale);
    assert_eq!(verdict(&[marker("mine", "f")], &branch, "f"), Verdict::InStep);
    assert_eq!(verdict(&[marker("mine", "old")], &branch, "f"), Verdict::Stale);
    assert_eq!(verdict(&[marker("parent", "f")], &branch, "f"), Verdict::Copied);
    assert_eq!(verdict(&[marker("parent", "old")], &branch, "f"), Verdict::Stale);
    branch.copied_from = None;
    assert_eq!(verdict(&[marker("parent", "f")], &branch, "f"), Verdict::Stale);
}

#[tokio::test]
async fn objects_that_a_failed_migration_left_are_named_at_each_further_attempt() {
    let mut stage = stage!("");
    let client = stage.client().await;
    let revision =
        "create table alembic_version (version_num text); insert into alembic_version values ('a1')";
    client.batch_execute(revision).await.unwrap();
    stage.command = RunCommand::Shell(": alembic upgrade heads".into());
    assert!(stage.worked().await);
    fake_alembic(&mut stage, "DuplicateTable: relation \\\"part\\\" already exists");
    stage.write("versions/b.sql", "two");
    let first = stage.ensure().await.unwrap_err();
    assert!(!first.cause.unwrap().contains("part public"), "nothing is left");
    assert_eq!(first.fault, None, "a migration may have made it");
    client.batch_execute("create table part (id int)").await.unwrap();
    let again = stage.ensure().await.unwrap_err();
    let cause = again.cause.unwrap();
    assert!(
        cause.starts_with(
            "the database is at revision a1, as before\nleft over, perhaps by an attempt that failed: table public.part"
        ),
        "{cause}"
    );
    assert_eq!((again.fault, again.correct), (None, None), "the code may still be wrong");
    let fix = again.fix.unwrap();
    assert!(
        fix.starts_with(
            "correct the migration that failed before, unless you have; then either drop what it left: `devrun db psql -- -c 'drop table public.part'`, or run"
        ),
        "{fix}"
    );
    fake_alembic(&mut stage, "RuntimeError: the moon is full");
    let broken = stage.ensure().await.unwrap_err();
    assert_eq!(broken.fault, Some(Fault::Code));
    assert!(broken.fix.unwrap().contains("correct the migration in "), "the fix names the folder");
    let inputs = ["versions/*".to_string()];
    let (command, folder) = (stage.command.clone(), stage.folder.path().to_path_buf());
    let source = MigrationSource { command: &command, is_sql: false, directory: &folder, globs: &inputs };
    let schema = schema_state(&stage.branch, Some(source)).await.unwrap();
    assert_eq!(schema.new_objects, ["table public.part"]);
    assert!(schema_state(&stage.branch, None).await.unwrap().new_objects.is_empty());
    // Replace the failing command by one that does nothing.
    stage.command = RunCommand::Shell(": alembic upgrade heads".into());
    assert!(stage.worked().await);
    let schema = schema_state(&stage.branch, Some(source)).await.unwrap();
    assert_eq!(schema.new_objects, ["table public.part"], "no migration has made the table");
}
