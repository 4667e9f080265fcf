//! Tests of the form of each event, and of the page that describes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::error::{Code, Report};

const PAGE: &str = include_str!("../../../docs/events.md");

/// The fields of each kind of event, or of each state, without those that name the kind or the state.
type Fields = BTreeMap<String, BTreeSet<String>>;

/// Returns the fields of each variant of the enum that `schema` describes and whose variants `tag` names.
fn variants(schema: &Value, tag: &str) -> Fields {
    let variants = schema["oneOf"].as_array().unwrap().iter();
    let one = |variant: &Value| {
        let properties = variant["properties"].as_object().unwrap();
        let name = properties[tag]["const"].as_str().unwrap().to_string();
        (name, properties.keys().filter(|key| *key != tag).cloned().collect())
    };
    variants.map(one).collect()
}

/// Returns the cells of the rows below the header `header`, without the quotes.
fn rows<'a>(section: &'a str, header: &str) -> Vec<Vec<&'a str>> {
    let lines = section.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    let cells = |line: &'a str| line.trim_matches('|').split('|').map(str::trim).collect();
    lines.take_while(|line| line.starts_with('|')).map(cells).collect()
}

fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(Into::into).collect()
}

/// Returns the section of each event on the page.
fn sections() -> BTreeMap<&'static str, &'static str> {
    let heading = |section: &'static str| section.split_once("`\n");
    PAGE.split("\n## `").skip(1).filter_map(heading).collect()
}

#[test]
fn the_page_has_every_event_with_its_fields_and_states() {
    let schema = schemars::schema_for!(EventMessage).to_value();
    let events = variants(&schema, "event");
    let sections = sections();
    assert_eq!(sections.keys().collect::<Vec<_>>(), events.keys().collect::<Vec<_>>());
    for variant in schema["oneOf"].as_array().unwrap() {
        let name = variant["properties"]["event"]["const"].as_str().unwrap();
        let section = sections[name];
        let mut fields = events[name].clone();
        let states = if variant.get("oneOf").is_some() { variants(variant, "state") } else { Fields::new() };
        if !states.is_empty() {
            fields.insert("state".into());
            fields.extend(states.values().flatten().cloned());
        }
        let documented: BTreeSet<String> =
            rows(section, "| field |").iter().flat_map(|row| quoted(row[0])).collect();
        assert_eq!(documented, fields, "the fields of `{name}`");
        let documented: Fields = rows(section, "| state |")
            .iter()
            .map(|row| (row[0].trim_matches('`').to_string(), quoted(row[1])))
            .collect();
        assert_eq!(documented, states, "the states of `{name}`");
    }
}

/// Returns one message of every kind and state.
fn samples() -> Vec<EventMessage> {
    let (step, took) = (Step::Node, Duration::ZERO);
    let web = |state| Event::Process { name: "web".into(), state };
    let told = [
        Event::Note("moved to slot 8".into()),
        Event::Warning("no expiry date".into()),
        Event::StepStarted { step, doing: "pnpm install".into() },
        Event::StepDone { step, outcome: "installed".into(), worked: true, took },
        Event::StepFailed { step },
        web(ProcessState::Waiting { on: vec!["migrate".into(), "api".into()] }),
        web(ProcessState::Started { pid: 4711, at: Some(5) }),
        web(ProcessState::Ready),
        web(ProcessState::Unready { why: "GET / answered 500".into(), fault: None }),
        web(ProcessState::Restarting { ended: Ending::Code(1), delay: took, attempt: 2 }),
        web(ProcessState::Stopping),
        web(ProcessState::Stopped(Some(Ending::Signal(2)))),
        web(ProcessState::Ended(Ending::Code(0))),
        web(ProcessState::GaveUp { ended: Ending::Signal(9), restarts: 1, said: None }),
        web(ProcessState::Skipped { why: "api never got that far".into() }),
        Event::Stopping { why: "SIGTERM".into(), failure: false },
        Event::StopWaiting { names: vec!["web".into()], since: took },
        Event::Failed(Report::new(Code::NotReady, "web is not ready").about("web")),
    ];
    let first = EventMessage::Status { status: Box::new(Status::preparing(Path::new("/w"), None, "w")) };
    let mut samples = vec![first, EventMessage::Missed { count: 3 }, EventMessage::Ready];
    samples.extend(told.iter().filter_map(EventMessage::of));
    samples
}

#[test]
fn the_page_shows_one_line_of_every_kind_and_state() {
    let lines: BTreeSet<String> =
        samples().iter().map(|sample| serde_json::to_string(sample).unwrap()).collect();
    let shown: BTreeSet<String> =
        PAGE.lines().filter(|line| line.starts_with("{\"event\"")).map(Into::into).collect();
    assert_eq!(shown, lines);
    let kinds = |lines: &BTreeSet<String>| -> BTreeSet<String> {
        let kind = |line: &String| serde_json::from_str::<Value>(line).unwrap()["event"].to_string();
        lines.iter().map(kind).collect()
    };
    assert_eq!(kinds(&shown).len(), sections().len());
}

#[test]
fn some_events_share_a_form_and_some_are_for_terminals_only() {
    let line =
        |event: &Event| EventMessage::of(event).map(|message| serde_json::to_string(&message).unwrap());
    let not_yet = Event::NotYet { name: "web".into(), answer: "refused".into() };
    let expected = r#"{"event":"process","name":"web","state":"not-ready","reason":"refused"}"#;
    assert_eq!(line(&not_yet).unwrap(), expected);
    let stopped = Event::Process { name: "web".into(), state: ProcessState::Stopped(None) };
    let expected = r#"{"event":"process","name":"web","state":"stopped","exit":null}"#;
    assert_eq!(line(&stopped).unwrap(), expected);
    assert_eq!(line(&Event::StepProgress { step: Step::Node, detail: "x".into() }), None);
}
