//! Tests of the answer about a process or a stack.

use std::collections::BTreeSet;

use super::*;
use crate::context::address_lines::tests::line;
use crate::context::missing_settings::ProgramPlace;
use crate::error::Report;

fn process(name: &str, state: Word, ready: bool) -> ProcessStatus {
    let mut process = ProcessStatus::default();
    (process.name, process.state, process.ready) = (name.into(), state, ready);
    process
}

fn stack_of(processes: Vec<ProcessStatus>) -> Status {
    let mut status = Status::default();
    (status.state, status.processes) = (State::Starting, processes);
    status
}

fn asked(status: &Status, runs: bool, lines: &[&str], changed: Option<&str>) -> WhyAnswer {
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    about(status, subject(status), runs, &lines, changed)
}

fn about(
    status: &Status,
    subject: Subject<'_>,
    runs: bool,
    lines: &[String],
    changed: Option<&str>,
) -> WhyAnswer {
    let around = Surroundings {
        runs,
        command: lines.iter().find_map(|line| line.strip_prefix("+ ")),
        lines,
        root: Path::new("/w"),
        whole: &|place| place.into(),
        package: &|_, _| changed.map(|list| PackageState::Changed { list: list.into() }),
        is_reloading: lines.last().is_some_and(|line| line.ends_with("Reloading...")),
        refused: &|output| {
            let own = "postgresql://app@127.0.0.1:25325/dev-x";
            RefusedDatabase::read(output, own, &|| vec![line(1, "DATABASE_URL", ("localhost", 5432, "app"))])
        },
        examples: &|names| {
            let (nowhere, set) = (Path::new("/nowhere"), BTreeSet::from(["PORT".to_string()]));
            let place = ProgramPlace { directory: nowhere, root: nowhere, set: &set };
            missing_settings::with_examples(names, &place)
        },
    };
    answer(status, subject, &around)
}

#[test]
fn why_names_the_process_that_others_wait_for() {
    let mut waiting = process("frontend", Word::Waiting, false);
    waiting.waiting_on = vec!["backend".into()];
    let status = stack_of(vec![waiting, process("backend", Word::Running, false)]);
    let found = asked(&status, true, &["starting"], None);
    assert_eq!(
        (found.process.as_deref(), found.fix.as_deref()),
        (Some("backend"), Some("devrun wait backend"))
    );
    let named = about(&status, Subject::Process(&status.processes[0]), true, &[], None);
    assert_eq!(named.summary, "frontend is waiting for backend");
    assert_eq!(named.fix.as_deref(), Some("devrun why backend"));
}

#[test]
fn broken_code_differs_from_missing_packages() {
    let status = stack_of(vec![process("backend", Word::Running, false)]);
    let lines = ["  File \"/w/app.py\", line 3, in <module>", "ModuleNotFoundError: No module named 'x'"];
    let code = asked(&status, true, &lines, None);
    assert_eq!(
        (code.fault, code.fix.as_deref()),
        (
            Some(Fault::Code),
            Some(
                "correct /w/app.py:3, then `devrun restart backend`; or declare the package of `x`, then `devrun down && devrun up -d`"
            )
        )
    );
    assert_eq!(
        code.cause.as_deref(),
        Some("it said: ModuleNotFoundError: No module named 'x' (/w/app.py:3)")
    );
    assert_eq!(code.correct.as_deref(), Some("/w/app.py:3"));
    let stale = asked(&status, true, &lines, Some("uv.lock"));
    assert_eq!((stale.fault, stale.fix.as_deref()), (Some(Fault::Environment), Some(RESTART_STACK)));
    assert!(stale.cause.unwrap().contains("uv.lock was changed"));
    let reloaded = [lines[0], lines[1], "WARNING:  WatchFiles detected changes in 'app.py'. Reloading..."];
    let repaired = asked(&status, true, &reloaded, None);
    assert_eq!((repaired.fault, repaired.fix.as_deref()), (None, None));
    assert_eq!(repaired.summary, "backend is loading its changed code and is not ready yet");
    let gone = asked(&status, true, &["OperationalError: connection to server at x failed"], None);
    assert_eq!((gone.fault, gone.fix.as_deref()), (Some(Fault::Environment), Some(RESTART_STACK)));
}

#[test]
fn after_the_end_of_a_stack_the_process_that_ended_it_is_explained() {
    let mut ended = process("api", Word::Ended, false);
    ended.exit = Some(3);
    let mut stopped = process("web", Word::Stopped, false);
    stopped.exit = Some(130);
    let mut status = stack_of(vec![stopped, ended]);
    let report = Report::new(Code::ProcessEnded, "api ended with exit code 3").about("api");
    status.error = Some((&report).into());
    status.over();
    let found = asked(&status, false, &["boom"], None);
    assert_eq!(found.summary, "api ended with exit code 3");
    assert_eq!((found.fault, found.fix.as_deref()), (Some(Fault::Code), Some("devrun up -d")));
    let job = asked(&status, false, &["+ python -m app.prepare"], None);
    let fix = "correct `python -m app.prepare` or the code that it runs, then `devrun up -d`";
    assert_eq!(job.fix.as_deref(), Some(fix));
    let web = about(&status, Subject::Process(&status.processes[0]), false, &[], None);
    assert_eq!((web.summary.as_str(), web.fault), ("web was stopped with the stack", None));
}

#[test]
fn a_process_that_was_killed_is_not_explained_by_its_output() {
    let mut ended = process("api", Word::Ended, false);
    ended.exit = Some(137);
    let mut status = stack_of(vec![ended]);
    let report = Report::new(Code::ProcessEnded, "api ended with signal 9").about("api");
    status.error = Some((&report.with_cause("another program killed it")).into());
    status.over();
    let found = asked(&status, false, &["ValueError: old"], None);
    assert_eq!((found.fault, found.cause.as_deref()), (None, Some("another program killed it")));
    // A shell that goes on after a missing program, and ends with status 0.
    status.processes[0].exit = Some(0);
    (status.error, status.state) = (None, State::Stopped);
    let found = asked_about(&status, &["sh: 1: nosuchtool: not found"]);
    assert_eq!((found.fault, found.summary.as_str()), (None, "api finished its work and exited"));
}

fn asked_about(status: &Status, lines: &[&str]) -> WhyAnswer {
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    about(status, Subject::Process(&status.processes[0]), false, &lines, None)
}

#[test]
fn the_fix_of_a_wrong_or_busy_port_is_a_new_step() {
    let mut web = process("web", Word::Running, false);
    (web.reason, web.fix) = (Some("it listens on 127.0.0.1:3000".into()), Some("let it listen".into()));
    web.fault = Some(Fault::Configuration);
    let mut status = stack_of(vec![web]);
    let found = asked(&status, true, &[], None);
    assert_eq!((found.fix.as_deref(), found.fault), (Some("let it listen"), Some(Fault::Configuration)));
    status.state = State::Degraded;
    (status.processes[0].fix, status.processes[0].fault) = (None, None);
    assert_eq!(asked(&status, true, &[], None).fix.as_deref(), Some("devrun restart web"));
    let step = "if its lines name a cause, correct that; then `devrun restart web`";
    assert_eq!(asked(&status, true, &["WARNING: no database"], None).fix.as_deref(), Some(step));
    let line = "Error: listen EADDRINUSE: address already in use :::3000";
    let fix = asked(&status, true, &[line, "  code: 'EADDRINUSE',"], None);
    assert_eq!(
        fix.cause.as_deref(),
        Some(
            "it listens on 127.0.0.1:3000\nit said: Error: listen EADDRINUSE: address already in use :::3000"
        )
    );
    assert!(fix.fix.unwrap().starts_with("let it listen on the port in the variable PORT"));
}

#[test]
fn ready_stack_that_is_not_isolated_is_not_well() {
    let mut web = process("web", Word::Running, true);
    web.exposed = [3100].into();
    let mut status = stack_of(vec![web, process("api", Word::Running, true)]);
    status.state = State::Ready;
    let found = asked(&status, true, &[], None);
    assert_eq!(
        found.summary,
        "all is well: 2 of 2 processes ready, no unresolved error since the last start or reload"
    );
    assert_eq!(found.cause.as_deref(), Some("web is reachable from outside on 3100"));
    status.isolation = vec![Finding {
        process: "api".into(),
        server: crate::isolation::Server::Postgres,
        address: "127.0.0.1:5432".into(),
        holder: None,
        reads: None,
        database: None,
        written: None,
    }];
    let found = asked(&status, true, &[], None);
    assert_eq!(found.summary, "2 of 2 processes ready, but not isolated");
    assert!(found.cause.unwrap().contains("api is connected to 127.0.0.1:5432"));
    assert!(found.fix.unwrap().starts_with("set the variable that the process reads"));
    let api = about(&status, Subject::Process(&status.processes[1]), true, &[], None);
    assert!(api.cause.unwrap().starts_with("api is connected to 127.0.0.1:5432"));
}

#[test]
fn a_refused_connection_to_another_database_is_a_fault_of_the_configuration() {
    let status = stack_of(vec![process("backend", Word::Ended, false)]);
    let error = "psycopg.OperationalError: connection to server at \"127.0.0.1\", port 5432 failed: Connection refused";
    let lines = ["  File \"/w/app/db.py\", line 3, in <module>", error];
    let found = asked(&status, true, &lines, None);
    assert_eq!((found.fault, found.correct), (Some(Fault::Configuration), None));
    let cause = found.cause.unwrap();
    assert!(
        cause.ends_with(
            "it asked 127.0.0.1:5432, which is not this worktree's database (127.0.0.1:25325); \
             backend/.env:1 (DATABASE_URL) has that address"
        ),
        "{cause}"
    );
    let fix = found.fix.unwrap();
    assert!(
        fix.starts_with("remove backend/.env:1") && fix.ends_with("then `devrun restart backend`"),
        "{}",
        &*fix
    );
    let own = [lines[0], &error.replace("5432", "25325")];
    assert_eq!(asked(&status, true, &own, None).fault, Some(Fault::Environment), "the own server is down");
}

#[test]
fn missing_settings_are_named_with_the_step_that_sets_them() {
    let status = stack_of(vec![process("backend", Word::Running, false)]);
    let lines = ["pydantic.ValidationError: 1 validation error for Settings", "API_KEY", "  Field required"];
    let found = asked(&status, true, &lines, None);
    assert_eq!(
        (found.fault, found.fix.as_deref()),
        (
            Some(Fault::Configuration),
            Some("set API_KEY in .env or under `env:` in devrun.yaml, then `devrun down && devrun up -d`")
        )
    );
    assert_eq!(found.correct, None);
    let read = |name: &str| {
        let line = format!("    port = os.environ[\"{name}\"]");
        asked(
            &status,
            true,
            &["  File \"/w/app.py\", line 3, in <module>", &line, &format!("KeyError: '{name}'")],
            None,
        )
    };
    let unset = read("STRIPE_KEY");
    assert_eq!((unset.fault, unset.correct), (Some(Fault::Configuration), None));
    assert!(unset.fix.unwrap().starts_with("set STRIPE_KEY in .env"));
    let misspelled = read("PROT");
    assert_eq!((misspelled.fault, misspelled.correct.as_deref()), (Some(Fault::Code), Some("/w/app.py:3")));
    assert_eq!(
        misspelled.cause.as_deref(),
        Some("it said: KeyError: 'PROT' (/w/app.py:3)\nPROT is not set; PORT is")
    );
}

#[test]
fn why_reports_a_healthy_stack_pending_migrations_and_an_error() {
    let mut status = stack_of(vec![process("web", Word::Running, true)]);
    status.state = State::Ready;
    let well = asked(&status, true, &[], None);
    assert_eq!(
        (well.summary.as_str(), well.fix),
        ("all is well: 1 of 1 process ready, no unresolved error since the last start or reload", None)
    );
    status.pending = PendingMigrations::of(vec!["versions/3.py".into()], Vec::new());
    let behind = asked(&status, true, &[], None);
    assert_eq!(behind.summary, "1 of 1 process ready, but the database is behind the code");
    status.pending = PendingMigrations::of(Vec::new(), vec!["versions/3.py".into()]);
    let ahead = asked(&status, true, &[], None);
    assert_eq!(ahead.summary, "1 of 1 process ready, but migration files of the database were removed");
    let report = Report::new(Code::ToolMissing, "node is not installed").with_fix("install Node.js");
    status.error = Some((&report).into());
    status.over();
    let failed = asked(&status, false, &[], None);
    assert_eq!((failed.fault, failed.fix.as_deref()), (Some(Fault::Environment), Some("install Node.js")));
}

#[test]
fn a_logged_error_of_another_database_names_it() {
    let mut status = stack_of(vec![process("web", Word::Running, true), process("api", Word::Running, true)]);
    status.state = State::Ready;
    let said =
        "OperationalError: connection to server at \"127.0.0.1\", port 5432 failed: Connection refused";
    let error = RecentError {
        process: "api".into(),
        said: said.into(),
        time: "2026-11-20T05:27:10.123Z".into(),
        age_seconds: 12,
        request: None,
        correct: None,
        is_of_answer: false,
    };
    let lines = || vec![line(1, "DATABASE_URL", ("localhost", 5432, "app"))];
    let asked = RefusedDatabase::read(said, "postgresql://app@127.0.0.1:25325/dev-x", &lines).unwrap();
    let known = about(&status, Subject::Stack, true, &[], None);
    let found = with_refused_database(with_recent_error(known, &status, error), &asked);
    assert_eq!((found.fault, found.process), (Some(Fault::Configuration), None));
    assert_eq!(found.cause.unwrap(), format!("api said: {said}\n{}", asked.cause()));
    assert!(found.fix.unwrap().ends_with("then `devrun restart api`"));
}

#[test]
fn ready_stack_whose_process_has_logged_an_error_is_not_well() {
    let mut status = stack_of(vec![process("web", Word::Running, true), process("api", Word::Running, true)]);
    status.state = State::Ready;
    let error = RecentError {
        process: "api".into(),
        said: "KeyError: 'x'".into(),
        time: "2026-11-20T05:27:10.123Z".into(),
        age_seconds: 12,
        request: None,
        correct: Some("/w/app.py:3".into()),
        is_of_answer: false,
    };
    let told = |status: &Status, subject| {
        let known = about(status, subject, true, &[], None);
        with_recent_error(known, status, error.clone())
    };
    let stack = told(&status, Subject::Stack);
    assert_eq!(stack.summary, "2 of 2 processes ready, but api logged an error 12 s ago");
    assert_eq!((stack.cause.as_deref(), stack.fault), (Some("api said: KeyError: 'x'"), None));
    assert_eq!(
        (stack.correct.as_deref(), stack.fix.as_deref()),
        (Some("/w/app.py:3"), Some("correct /w/app.py:3, then `devrun restart api`"))
    );
    assert_eq!(stack.recent_error, Some(error.clone()));
    let api = told(&status, Subject::Process(&status.processes[1]));
    assert_eq!(api.summary, "api is ready, but api logged an error 12 s ago");
    status.pending = PendingMigrations::of(vec!["versions/3.py".into()], Vec::new());
    let behind = told(&status, Subject::Stack);
    assert_eq!(behind.summary, "2 of 2 processes ready, but the database is behind the code");
    assert_eq!((behind.cause.as_deref(), behind.correct), (Some("api said: KeyError: 'x'"), None));
}

#[test]
fn a_refused_answer_is_corrected_at_its_endpoint() {
    let error = RecentError {
        process: "api".into(),
        said: "fastapi.exceptions.ResponseValidationError: 1 validation error".into(),
        request: None,
        time: "2026-11-20T10:00:00.000Z".into(),
        age_seconds: 12,
        correct: Some("backend/main.py:88".into()),
        is_of_answer: true,
    };
    let mut status = stack_of(vec![process("api", Word::Running, true)]);
    status.state = State::Ready;
    let known = about(&status, Subject::Stack, true, &[], None);
    let found = with_recent_error(known, &status, error);
    let fix = "correct what the endpoint at backend/main.py:88 returns, or its response type, then `devrun restart api`";
    assert_eq!(found.fix.as_deref(), Some(fix));
}

#[test]
fn only_a_whole_line_or_its_quotation_repeats_a_cause() {
    let causes = ["api runs\nno answer since its error: KeyError: 'x' (a.py:3)".to_string()];
    for sentence in ["api runs", "KeyError: 'x' (a.py:3)"] {
        assert!(has_line(&causes, sentence), "{sentence}");
    }
    for sentence in ["runs", "KeyError: 'x'", "its error: KeyError: 'x' (a.py:3)"] {
        assert!(!has_line(&causes, sentence), "{sentence}");
    }
}
