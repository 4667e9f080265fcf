//! Events as clients read them: one JSON object each, with a word in `event`.

use serde_json::{Value, json};

use super::status::Status;
use crate::error::ErrorBody;
use crate::event::{Event, ProcessState, silence};

/// What the stack is doing, as the first message of a stream.
pub fn status(status: &Status) -> Value {
    json!({ "event": "status", "status": status })
}

/// The client was too slow for this many events.
pub fn missed(count: u64) -> Value {
    json!({ "event": "missed", "count": count })
}

/// One event; `None` for what is only of use on a terminal.
pub fn event(event: &Event) -> Option<Value> {
    Some(match event {
        Event::Note(text) => json!({ "event": "note", "text": text }),
        Event::Warning(text) => json!({ "event": "warning", "text": text }),
        Event::StepStarted { step, doing } => {
            json!({ "event": "step", "step": step.name(), "state": "running", "detail": doing })
        }
        Event::StepProgress { .. } => return None,
        Event::StepDone { step, outcome, worked, .. } => {
            json!({ "event": "step", "step": step.name(), "state": "done", "detail": outcome, "worked": worked })
        }
        Event::StepFailed { step } => json!({ "event": "step", "step": step.name(), "state": "failed" }),
        Event::Process { name, state } => process(name, state),
        Event::NotYet { name, answer } => {
            json!({ "event": "process", "name": name, "state": "not-ready", "reason": answer })
        }
        Event::Ready { .. } => json!({ "event": "ready" }),
        Event::Stopping { why, .. } => json!({ "event": "stopping", "why": why }),
        Event::StopWaiting { names, .. } => json!({ "event": "stop-waiting", "names": names }),
        Event::Failed(report) => json!({ "event": "failed", "error": ErrorBody::from(report) }),
    })
}

fn process(name: &str, state: &ProcessState) -> Value {
    let mut message = json!({ "event": "process", "name": name });
    let (word, more) = match state {
        ProcessState::Waiting { on } => ("waiting", json!({ "on": on })),
        ProcessState::Started { pid } => ("running", json!({ "pid": pid })),
        ProcessState::Ready => ("ready", json!({})),
        ProcessState::Unready { why } => ("not-ready", json!({ "reason": why })),
        ProcessState::Stuck { said } => ("not-ready", json!({ "reason": silence(said.as_deref()) })),
        ProcessState::Restarting { ended, attempt, .. } => {
            ("restarting", json!({ "exit": ended.status(), "attempt": attempt }))
        }
        ProcessState::Stopping => ("stopping", json!({})),
        ProcessState::Stopped(ended) => {
            ("stopped", json!({ "exit": ended.map(crate::event::Ending::status) }))
        }
        ProcessState::Ended(ended) => ("ended", json!({ "exit": ended.status() })),
        ProcessState::Skipped { why } => ("skipped", json!({ "reason": why })),
    };
    message["state"] = word.into();
    if let (Some(message), Some(more)) = (message.as_object_mut(), more.as_object()) {
        message.extend(more.clone());
    }
    message
}
