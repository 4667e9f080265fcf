//! Keeps text that is not ours from commanding a terminal.

/// Masks what a terminal or a reader would be misled by, in text that is not ours: control characters, and the Unicode
/// controls that reorder or break a line (UAX #9 bidi controls, U+2028, U+2029).
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if misleads(c) { '\u{fffd}' } else { c }).collect()
}

/// Returns a JSON document with the characters that [`harmless`] masks as `\uXXXX`, which means the same to a parser. They
/// stand in strings only; line breaks between values stay.
pub fn escaped(json: &str) -> String {
    use std::fmt::Write;
    json.chars().fold(String::with_capacity(json.len()), |mut text, c| {
        if c != '\n' && misleads(c) {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
        text
    })
}

fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// `text` without the sequences that command a terminal (ECMA-48: CSI, OSC and the short ones).
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('[') => drop(rest.by_ref().find(|c| ('@'..='~').contains(c))),
            Some(']') => {
                let end = rest.by_ref().find(|c| matches!(c, '\u{7}' | '\u{1b}'));
                // `ESC \\` ends it too.
                let _ = end.filter(|end| *end == '\u{1b}').and_then(|_| rest.next());
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_left_out() {
        assert_eq!(plain("a\x1b[?25h\x1b[31mred\x1b[0m \x1b]0;t\x07b\x1b]0;t\x1b\\c\x1b[?25"), "ared bc");
    }

    #[test]
    fn json_keeps_its_meaning_without_raw_controls() {
        let value = serde_json::json!({ "a\u{202e}": ["b\u{9b}31m", "c\n\u{1b}", "é"] });
        let text = escaped(&format!("{value:#}"));
        assert!(!text.contains(['\u{202e}', '\u{9b}', '\u{1b}']), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn control_characters_are_masked() {
        assert_eq!(harmless("a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        for c in ['\u{9b}', '\u{202e}', '\u{2066}', '\u{200f}', '\u{61c}', '\u{2028}'] {
            assert_eq!(harmless(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
        }
        assert_eq!(harmless("é 漢 👩‍🔧"), "é 漢 👩‍🔧");
    }
}
