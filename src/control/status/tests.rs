//! Tests of the status after each event.

use std::time::Duration;

use super::*;
use crate::error::Fault;
use crate::event::{Broken, Ending, ProcessState, Step};

fn stack(names: &[&str]) -> Status {
    let waiting = |name: &&str| ProcessStatus {
        name: (*name).into(),
        state: Word::Waiting,
        ..ProcessStatus::default()
    };
    Status {
        slot: Some(1),
        processes: names.iter().map(waiting).collect(),
        ..Status::preparing(Path::new("/w"), None, "w")
    }
}

fn report(status: &mut Status, name: &str, state: ProcessState) {
    status.note(&Event::Process { name: name.into(), state });
}

fn all_ready(status: &mut Status) {
    for name in ["a", "b"] {
        report(status, name, ProcessState::Started { pid: 7, at: Some(5) });
    }
    // `Event::Ready` does this; the plan in it does not matter here.
    status.told_ready = true;
    status.update_state();
}

#[test]
fn a_stack_is_ready_when_every_process_is_and_degraded_when_one_no_longer_is() {
    let mut status = stack(&["a", "b"]);
    status.note(&Event::StepStarted { step: Step::Node, doing: "pnpm install".into() });
    assert_eq!(status.state, State::Preparing);
    let took = Duration::ZERO;
    status.note(&Event::StepDone { step: Step::Node, outcome: "x".into(), worked: true, took });
    assert_eq!(status.state, State::Starting);
    all_ready(&mut status);
    assert_eq!(status.state, State::Ready);
    report(&mut status, "a", ProcessState::Unready { why: "no answer".into(), fault: None });
    assert_eq!((status.state, status.processes[0].reason.as_deref()), (State::Degraded, Some("no answer")));
    report(&mut status, "a", ProcessState::Ready);
    assert_eq!((status.state, status.processes[0].reason.as_deref()), (State::Ready, None));
}

#[test]
fn a_process_lists_what_it_waits_for_until_it_starts() {
    let mut status = stack(&["a", "b"]);
    report(&mut status, "a", ProcessState::Waiting { on: vec!["migrate".into(), "b".into()] });
    let a = &status.processes[0];
    assert_eq!(
        (a.waiting_on.join(" "), a.reason.as_deref()),
        ("migrate b".into(), Some("waiting for migrate, b"))
    );
    report(&mut status, "a", ProcessState::Started { pid: 7, at: Some(5) });
    assert!(status.processes[0].waiting_on.is_empty());
    assert!(serde_json::to_value(&status.processes[0]).unwrap().get("waiting_on").is_none());
}

#[test]
fn stuck_process_shows_its_last_error_until_it_writes_again() {
    let mut status = stack(&["a"]);
    report(&mut status, "a", ProcessState::Started { pid: 7, at: Some(5) });
    report(
        &mut status,
        "a",
        ProcessState::Stuck {
            broken: Some(Broken {
                reason: "no answer since its error: KeyError: 'x' (app.py:3)".into(),
                fault: Fault::Code,
                correct: Some("app.py:3".into()),
                fix: "correct app.py:3".into(),
            }),
        },
    );
    status.note(&Event::NotYet { name: "a".into(), answer: "refused".into() });
    let told = |status: &Status| (status.processes[0].trouble, status.processes[0].reason.clone().unwrap());
    assert_eq!(
        told(&status),
        (ProcessTrouble::Stuck, "no answer since its error: KeyError: 'x' (app.py:3)".into())
    );
    report(&mut status, "a", ProcessState::Stuck { broken: None });
    status.note(&Event::NotYet { name: "a".into(), answer: "no answer".into() });
    assert_eq!(told(&status), (ProcessTrouble::None, "no answer".into()));
}

#[test]
fn process_stopped_by_hand_is_not_a_problem() {
    let mut status = stack(&["a", "b"]);
    all_ready(&mut status);
    report(&mut status, "a", ProcessState::Stopping);
    assert_eq!(status.state, State::Degraded);
    report(&mut status, "a", ProcessState::Stopped(Some(Ending::Signal(2))));
    assert_eq!((status.state, status.processes[0].exit, status.processes[0].pid), (State::Ready, None, None));
}

#[test]
fn requested_end_leaves_no_exit_status_and_a_forced_end_does() {
    let exit_of = |ending| {
        let mut status = stack(&["a", "b"]);
        all_ready(&mut status);
        status.note(&Event::Stopping { why: "Ctrl-C".into(), failure: false });
        report(&mut status, "a", ProcessState::Stopping);
        report(&mut status, "a", ProcessState::Ended(ending));
        assert_eq!(status.processes[0].state, Word::Stopped);
        status.processes[0].exit
    };
    for clean in
        [Ending::Signal(2), Ending::Signal(15), Ending::Code(0), Ending::Code(130), Ending::Code(143)]
    {
        assert_eq!(exit_of(clean), None, "{clean}");
    }
    assert_eq!(exit_of(Ending::Signal(9)), Some(137));
    assert_eq!(exit_of(Ending::Code(1)), Some(1));
}

#[test]
fn given_up_process_is_failed_and_the_stack_degraded() {
    let mut status = stack(&["a", "b"]);
    all_ready(&mut status);
    let said = Some("it said: E: x".to_string());
    report(&mut status, "a", ProcessState::GaveUp { ended: Ending::Code(7), restarts: 2, said });
    let a = &status.processes[0];
    assert_eq!((status.state, a.state, a.exit, a.pid), (State::Degraded, Word::Failed, Some(7), None));
    let reason = a.reason.as_deref();
    assert_eq!(reason, Some("gave up after 2 restarts: it ended with exit code 7; it said: E: x"));
}

#[test]
fn exit_status_stays_after_the_end_of_the_stack_and_nothing_runs() {
    let mut status = stack(&["a", "b"]);
    all_ready(&mut status);
    report(&mut status, "a", ProcessState::Ended(Ending::Code(3)));
    status.note(&Event::Stopping { why: "a ended".into(), failure: true });
    assert_eq!(status.state, State::Stopping);
    status.error = Some((&crate::error::Report::bug("x")).into());
    status.over();
    let words: Vec<_> =
        status.processes.iter().map(|process| (process.state, process.exit, process.pid)).collect();
    assert_eq!(words, [(Word::Ended, Some(3), None), (Word::Stopped, None, None)]);
    assert_eq!(status.state, State::Failed);
}

#[test]
fn status_reads_back_and_ignores_fields_of_newer_versions() {
    let mut status = stack(&["a"]);
    status.urls.insert("Web".into(), "http://localhost:1".into());
    let mut value = serde_json::to_value(&status).unwrap();
    assert_eq!(serde_json::from_value::<Status>(value.clone()).unwrap(), status);
    value["future"] = true.into();
    assert!(serde_json::from_value::<Status>(value).is_ok());
}

#[test]
fn states_are_printed_as_they_are_written_in_json() {
    use State::{Degraded, Failed, Preparing, Ready, Starting, Stopped, Stopping};
    for state in [Stopped, Preparing, Starting, Ready, Degraded, Stopping, Failed] {
        assert_eq!(serde_json::json!(state), state.word());
    }
    for state in [StepState::Running, StepState::Done, StepState::Failed] {
        assert_eq!(serde_json::json!(state), state.word());
    }
    for step in [Step::Node, Step::Python, Step::Database, Step::Migrate] {
        assert_eq!(serde_json::json!(step), step.name());
    }
    for state in [
        Word::Idle,
        Word::Waiting,
        Word::Running,
        Word::Restarting,
        Word::Stopping,
        Word::Stopped,
        Word::Ended,
        Word::Skipped,
        Word::Failed,
    ] {
        assert_eq!(serde_json::json!(state), state.text());
    }
}

#[test]
fn the_name_of_a_database_is_read_from_its_url() {
    assert_eq!(name_in("postgresql://app:***@127.0.0.1:20000/dev-x?a=b").as_deref(), Some("dev-x"));
    assert_eq!(name_in("not created yet"), None);
}

#[test]
fn url_of_a_process_appears_once_it_was_started() {
    let mut status = stack(&["a", "b"]);
    for (process, port) in status.processes.iter_mut().zip([3001, 3002]) {
        process.port = Some(port);
    }
    let url = |port: u16| serde_json::Value::from(format!("http://localhost:{port}/"));
    status.all_urls = [("B".to_string(), url(3002)), ("A".to_string(), url(3001))].into_iter().collect();
    status.urls = [("A".to_string(), url(3001))].into_iter().collect();
    report(&mut status, "a", ProcessState::Started { pid: 7, at: None });
    assert_eq!(status.urls.keys().collect::<Vec<_>>(), ["A"]);
    report(&mut status, "b", ProcessState::Started { pid: 8, at: None });
    assert_eq!(status.urls.keys().collect::<Vec<_>>(), ["B", "A"]);
}
