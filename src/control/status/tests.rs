//! What a stack is said to be doing, event by event.

use std::time::Duration;

use super::*;
use crate::event::{Ending, ProcessState, Step};

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

fn tell(status: &mut Status, name: &str, state: ProcessState) {
    status.note(&Event::Process { name: name.into(), state });
}

fn all_ready(status: &mut Status) {
    for name in ["a", "b"] {
        tell(status, name, ProcessState::Started { pid: 7 });
    }
    // What is told when everything is up; the plan in it does not matter here.
    status.told_ready = true;
    status.settle();
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
    tell(&mut status, "a", ProcessState::Unready { why: "no answer".into() });
    assert_eq!((status.state, status.processes[0].reason.as_deref()), (State::Degraded, Some("no answer")));
    tell(&mut status, "a", ProcessState::Ready);
    assert_eq!((status.state, status.processes[0].reason.as_deref()), (State::Ready, None));
}

#[test]
fn one_that_is_stuck_says_what_it_said_until_it_writes_again() {
    let mut status = stack(&["a"]);
    tell(&mut status, "a", ProcessState::Started { pid: 7 });
    tell(&mut status, "a", ProcessState::Stuck { said: Some("KeyError: 'x'".into()) });
    status.note(&Event::NotYet { name: "a".into(), answer: "refused".into() });
    let told = |status: &Status| (status.processes[0].trouble, status.processes[0].reason.clone().unwrap());
    assert_eq!(told(&status), (Trouble::Stuck, "silent since it said: KeyError: 'x'".into()));
    tell(&mut status, "a", ProcessState::Stuck { said: None });
    status.note(&Event::NotYet { name: "a".into(), answer: "no answer".into() });
    assert_eq!(told(&status), (Trouble::None, "no answer".into()));
}

#[test]
fn one_that_was_stopped_by_hand_is_nothing_to_complain_about() {
    let mut status = stack(&["a", "b"]);
    all_ready(&mut status);
    tell(&mut status, "a", ProcessState::Stopping);
    assert_eq!(status.state, State::Degraded);
    tell(&mut status, "a", ProcessState::Stopped(Some(Ending::Signal(2))));
    assert_eq!(
        (status.state, status.processes[0].exit, status.processes[0].pid),
        (State::Ready, Some(130), None)
    );
}

#[test]
fn how_it_ended_stays_and_nothing_is_said_to_run() {
    let mut status = stack(&["a", "b"]);
    all_ready(&mut status);
    tell(&mut status, "a", ProcessState::Ended(Ending::Code(3)));
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
fn it_reads_back_as_it_was_written_and_takes_what_a_newer_one_adds() {
    let mut status = stack(&["a"]);
    status.urls.insert("Web".into(), "http://localhost:1".into());
    let mut value = serde_json::to_value(&status).unwrap();
    assert_eq!(serde_json::from_value::<Status>(value.clone()).unwrap(), status);
    value["future"] = true.into();
    assert!(serde_json::from_value::<Status>(value).is_ok());
}

#[test]
fn the_name_of_a_database_is_read_from_its_url() {
    assert_eq!(name_in("postgresql://app:***@127.0.0.1:20000/dev-x?a=b"), Some("dev-x"));
    assert_eq!(name_in("not created yet"), None);
}
