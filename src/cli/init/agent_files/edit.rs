//! The result of editing the text of a file.

/// A text after an edit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Edited {
    /// The new text. Equal to the old one if there is nothing to do.
    pub(super) text: String,
    /// The parts that devrun does not edit.
    pub(super) by_hand: Vec<ByHand>,
}

/// A part of a file that only the user can edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ByHand {
    /// The reason.
    pub(super) why: String,
    /// The lines to write.
    pub(super) snippet: String,
}

/// The reason why a file is not edited at all: it does not have the form that its program reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub(super) struct Malformed {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) what: String,
}

impl Malformed {
    /// Returns the error for the byte `at` of `text`.
    pub(super) fn at(text: &str, at: usize, what: impl Into<String>) -> Malformed {
        let before = text.get(..at).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Malformed {
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
            what: what.into(),
        }
    }
}

/// Returns the line break that `text` uses.
pub(super) fn newline(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}
