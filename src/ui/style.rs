//! Colours and symbols, for terminals that want them.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// How one stream is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Escape sequences for colour are welcome.
    pub colour: bool,
    /// It is a terminal: progress may be redrawn in place.
    pub terminal: bool,
}

/// Colours of process names, in turn; none of them red, which is for errors.
const NAMES: [&str; 6] = ["36", "33", "32", "35", "34", "96"];

impl Style {
    /// For a stream that is a terminal or not, by <https://no-color.org> and `TERM=dumb`.
    pub fn of(terminal: bool, env: &BTreeMap<OsString, OsString>) -> Style {
        let has = |name: &str| env.get(&OsString::from(name)).is_some_and(|value| !value.is_empty());
        let dumb = env.get(&OsString::from("TERM")).is_some_and(|term| term == "dumb");
        Style { colour: terminal && !has("NO_COLOR") && !dumb, terminal: terminal && !dumb }
    }

    /// Nothing but text.
    pub const PLAIN: Style = Style { colour: false, terminal: false };

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// Emphasis.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Less important.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Went well.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Needs attention.
    pub fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Failed.
    pub fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// A link to click.
    pub fn link(self, text: &str) -> String {
        self.paint("36", text)
    }

    /// The name of process number `index`.
    pub fn name(self, index: usize, text: &str) -> String {
        self.paint(NAMES[index % NAMES.len()], text)
    }
}

pub use crate::text::{harmless, plain};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        let env = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.into(), v.into())).collect();
        assert!(Style::of(true, &env(&[("TERM", "xterm")])).colour);
        assert!(!Style::of(false, &env(&[])).colour);
        assert!(!Style::of(true, &env(&[("NO_COLOR", "1")])).colour);
        assert!(Style::of(true, &env(&[("NO_COLOR", "")])).colour);
        assert!(!Style::of(true, &env(&[("TERM", "dumb")])).terminal);
    }
}
