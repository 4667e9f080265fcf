//! Chooses colours and symbols, for terminals that support them.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// The style of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// True if colours may be used.
    pub colour: bool,
    /// True if it is a terminal: progress may be redrawn in place.
    pub terminal: bool,
}

/// Colours of process names, used in turn. Red is reserved for errors.
const NAMES: [&str; 6] = ["36", "33", "32", "35", "34", "96"];

impl Style {
    /// Returns the style of a stream, by <https://no-color.org> and `TERM=dumb`. `terminal` is true if it is a
    /// terminal.
    pub fn of(terminal: bool, env: &BTreeMap<OsString, OsString>) -> Style {
        let has = |name: &str| env.get(&OsString::from(name)).is_some_and(|value| !value.is_empty());
        let dumb = env.get(&OsString::from("TERM")).is_some_and(|term| term == "dumb");
        Style { colour: terminal && !has("NO_COLOR") && !dumb, terminal: terminal && !dumb }
    }

    /// Text without escape sequences.
    pub const PLAIN: Style = Style { colour: false, terminal: false };

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// Formats an emphasised text.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Formats a less important text.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Formats a success.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Formats a warning.
    pub fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Formats a failure.
    pub fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Formats a link.
    pub fn link(self, text: &str) -> String {
        self.paint("36", text)
    }

    /// Formats the name of the process number `index`.
    pub fn name(self, index: usize, text: &str) -> String {
        self.paint(NAMES[index % NAMES.len()], text)
    }
}

pub use crate::text::{harmless, plain};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_used_only_on_terminals_that_support_it() {
        let env = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.into(), v.into())).collect();
        assert!(Style::of(true, &env(&[("TERM", "xterm")])).colour);
        assert!(!Style::of(false, &env(&[])).colour);
        assert!(!Style::of(true, &env(&[("NO_COLOR", "1")])).colour);
        assert!(Style::of(true, &env(&[("NO_COLOR", "")])).colour);
        assert!(!Style::of(true, &env(&[("TERM", "dumb")])).terminal);
    }
}
