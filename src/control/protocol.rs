//! What client and supervisor say to each other: paths, bodies, versions. Values only.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ErrorBody;

/// Before every path; another major version has another prefix.
pub const PREFIX: &str = "/v1";

/// What is asked of several processes, or of all when no name is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Ask {
    /// Names of processes; empty means all.
    pub names: Vec<String>,
    /// How long to wait until it is done, in milliseconds.
    pub timeout_ms: u64,
}

impl Ask {
    /// Of the processes `names`, by those who have `left` for it.
    pub fn within(names: Vec<String>, left: Duration) -> Ask {
        Ask { names, timeout_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// How a failure is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// What went wrong.
    pub error: ErrorBody,
}

/// One thing that may be asked.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Below [`PREFIX`].
    pub path: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Its body is an [`Ask`].
    pub asks: bool,
    /// The status when all is well.
    pub success: u16,
    /// What is answered then.
    pub answer: Shape,
}

/// What an answer is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// What the stack is doing.
    Status,
    /// A line of JSON for each event.
    Events,
    /// The description of all this.
    Document,
    /// The connection itself, after an upgrade.
    Terminal,
}

const fn get(path: &'static str, summary: &'static str, answer: Shape) -> Route {
    Route { method: "GET", path, summary, asks: false, success: 200, answer }
}

const fn post(path: &'static str, summary: &'static str) -> Route {
    Route { method: "POST", path, summary, asks: true, success: 200, answer: Shape::Status }
}

/// Everything that is answered.
pub const ROUTES: &[Route] = &[
    get("/status", "What the stack is doing.", Shape::Status),
    get(
        "/events",
        "Everything that happens from now on; what the stack is doing comes first.",
        Shape::Events,
    ),
    get("/openapi.json", "This document.", Shape::Document),
    Route {
        success: 101,
        ..get("/attach/{name}", "Upgrades to the terminal of a process that has one.", Shape::Terminal)
    },
    post("/wait", "Waits until the processes, or the whole stack, are ready."),
    post("/start", "Starts processes that are down and waits until they are ready."),
    post("/stop", "Stops processes and waits until they are gone; the others go on."),
    post("/restart", "Stops processes, starts them again and waits until they are ready."),
    Route { asks: false, success: 202, ..post("/down", "Takes the whole stack down; answers before it is.") },
];
