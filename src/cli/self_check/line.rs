//! The lines that `self-check` prints.

use serde::Serialize;

/// Whether devrun can keep a promise on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Promise {
    /// No promise, only a fact.
    Fact,
    /// It holds.
    Kept,
    /// It holds in part, or in another way.
    Limited,
    /// It does not hold.
    Missing,
}

/// A line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CheckLine {
    /// The group of lines that it belongs to.
    pub(super) family: &'static str,
    /// The thing that it is about.
    pub(super) name: &'static str,
    pub(super) promise: Promise,
    /// The finding, and its consequence.
    pub(super) text: String,
}

impl CheckLine {
    pub(super) fn new(
        family: &'static str,
        name: &'static str,
        promise: Promise,
        text: impl Into<String>,
    ) -> CheckLine {
        CheckLine { family, name, promise, text: text.into() }
    }
}
