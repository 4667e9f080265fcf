//! Tests of the errors of a migration.

use std::collections::BTreeSet;

use super::*;
use crate::context::missing_settings::{MissingSetting, ProgramPlace};
use crate::os::cmd::Output;

static NONE: BTreeSet<String> = BTreeSet::new();

/// Returns the place of a program in `directory` that has no variables.
fn place(directory: &Path) -> ProgramPlace<'_> {
    ProgramPlace { directory, root: directory, set: &NONE }
}

const OWN: &str = "postgresql://u:p@127.0.0.1:6001/d";
const COPY: advice::RebuildStep<'static> = advice::RebuildStep::Copy("dev-x");

#[test]
fn the_fix_of_a_broken_database_is_one_that_devrun_permits() {
    let advice = |trouble, reset| advice::of(&trouble, Path::new("/w"), None, "DATABASE_URL", reset);
    let empty = "devrun db psql dev-main -- -c 'drop schema if exists public, _devrun cascade' -c 'create schema public'";
    let kept = advice::RebuildStep::Empty("dev-main");
    for trouble in [
        FailureCause::HalfApplied(Vec::new()),
        FailureCause::Exists,
        FailureCause::UnknownRevision { parent: None },
    ] {
        assert!(advice(trouble.clone(), COPY).contains("`devrun db reset --yes`"));
        let fix = advice(trouble, kept);
        assert!(fix.contains(empty) && !fix.contains("db reset"), "{fix}");
    }
    let failed = MigrateError::Failed {
        name: "dev-x".into(),
        what: "w".into(),
        tail: "FAILED: Can't locate revision identified by '0002a'".into(),
        trouble: FailureCause::UnknownRevision { parent: None },
        directory: Path::new("/w").into(),
        variable: "DATABASE_URL".into(),
        place: None,
        is_kept: false,
    };
    assert_eq!(failed.fault(), None);
    let fix = failed.with_parent("dev-main", &["0002a".into()]).fix().unwrap();
    assert!(fix.starts_with("this branch is older than dev-main") && !fix.contains("db reset"), "{fix}");
}

#[test]
fn a_url_in_the_code_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let code = b"import os\nurl = 'postgresql://a:b@localhost:5432/x'\n";
    crate::os::fs::replace(&folder.path().join("config.py"), code, 0o600).unwrap();
    let error = CmdError::Failed {
        command: "m".into(),
        output: Box::new(Output { ending: Ending::Code(1), stdout: Vec::new(), stderr: Vec::new() }),
    };
    let tail =
        "connection to server at \"localhost\" (127.0.0.1), port 5432 failed: Connection refused".to_string();
    let directory = folder.path().to_path_buf();
    let trouble = trouble(&error, &tail, &place(&directory), OWN, true);
    let failed = MigrateError::Failed {
        name: "n".into(),
        what: "w".into(),
        tail,
        trouble,
        directory: directory.as_path().into(),
        variable: "DATABASE_URL".into(),
        place: None,
        is_kept: false,
    };
    assert_eq!(failed.fault(), Some(Fault::Code));
    let at = format!("{}/config.py:2", directory.display());
    assert!(failed.why().unwrap().contains(&format!("127.0.0.1:6001); {at} has")), "{:?}", failed.why());
    assert!(failed.fix().unwrap().contains(&format!("let {at} read the URL from DATABASE_URL")));
    let unknown = FailureCause::OtherServer {
        address: ServerAddress { host: "db".into(), port: 5432 },
        own: ServerAddress::of(OWN).unwrap(),
        written: None,
    };
    assert!(advice::of(&unknown, Path::new("/w"), None, "DATABASE_URL", COPY).contains("database.url_env"));
    let address = ServerAddress { host: "db".into(), port: 5432 };
    let written = Some("/w/alembic.ini:67".into());
    let ini = FailureCause::OtherServer { address, own: ServerAddress::of(OWN).unwrap(), written };
    assert!(
        advice::of(&ini, Path::new("/w"), None, "DATABASE_URL", COPY)
            .starts_with("let env.py replace the URL of /w/alembic.ini:67")
    );
}

#[test]
fn the_fix_names_every_missing_setting() {
    let missing = |name: &str, example: Option<&str>| MissingSetting {
        name: name.into(),
        example: example.map(Into::into),
        similar: None,
    };
    let trouble = FailureCause::Settings(vec![missing("A", Some("/w/.env.example:3")), missing("B", None)]);
    assert_eq!(
        advice::of(&trouble, Path::new("/w"), None, "DATABASE_URL", COPY),
        "set A (/w/.env.example:3 has it), B in .env or under `env:` in devrun.yaml, then run `devrun up -d`"
    );
}

#[test]
fn the_output_shows_whether_environment_or_code_is_at_fault() {
    let failed = |code| CmdError::Failed {
        command: "m".into(),
        output: Box::new(Output { ending: Ending::Code(code), stdout: Vec::new(), stderr: Vec::new() }),
    };
    for (tail, expected) in [
        ("sqlalchemy.exc.ProgrammingError: column \"x\" does not exist", FailureCause::Code),
        ("", FailureCause::Code),
        ("ModuleNotFoundError: No module named 'psycopg'", FailureCause::Dependencies),
        ("connection to server at \"h\" failed: Connection refused", FailureCause::Server),
        (
            "connection to server at \"localhost\" (127.0.0.1), port 6001 failed: Connection refused",
            FailureCause::Server,
        ),
        (
            "Error: request to https://binaries.example/x.gz failed, reason: getaddrinfo ENOTFOUND binaries.example",
            FailureCause::Download,
        ),
        (
            "Error: request to https://binaries.example/x.gz failed, reason: connect ECONNREFUSED 127.0.0.1:3128",
            FailureCause::Download,
        ),
        (
            "FetchError: request to http://localhost:3000/seed failed, reason: connect ECONNREFUSED 127.0.0.1:3000",
            FailureCause::Code,
        ),
        ("FetchError: request to http://[::1]:3000/ failed, reason: socket hang up", FailureCause::Code),
        ("error: relation exists (SQLSTATE 42P07)", FailureCause::Exists),
        ("code: '42701'", FailureCause::Exists),
        ("ERROR 42710: type exists", FailureCause::Exists),
        ("order 1427101 is not valid", FailureCause::Code),
        ("see a42701 in build 142710", FailureCause::Code),
        ("FATAL:  terminating connection due to administrator command", FailureCause::Server),
        ("(psycopg.errors.InsufficientPrivilege) permission denied for schema public", FailureCause::Rights),
        ("(psycopg.errors.DuplicateColumn) column \"owner\" already exists", FailureCause::Exists),
        ("FAILED: Can't locate revision identified by 'a1'", FailureCause::UnknownRevision { parent: None }),
    ] {
        assert_eq!(trouble(&failed(1), tail, &place(Path::new("/w")), OWN, true), expected, "{tail}");
    }
    let packages = tempfile::tempdir().unwrap();
    crate::os::fs::replace(&packages.path().join("pyproject.toml"), b"", 0o600).unwrap();
    let (with, without) = (packages.path(), Path::new("/w"));
    for (folder, has_packages, expected) in [
        (with, false, FailureCause::UndeclaredPackages),
        // No manifest names a program such as `make`.
        (without, false, FailureCause::Dependencies),
        (with, true, FailureCause::Dependencies),
    ] {
        let said = "/bin/sh: 1: alembic: not found";
        assert_eq!(trouble(&failed(127), said, &place(folder), OWN, has_packages), expected);
        let error = CmdError::NotFound("alembic".into());
        assert_eq!(trouble(&error, "", &place(folder), OWN, has_packages), expected);
    }
}
