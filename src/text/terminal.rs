//! Prevents text from other programs from controlling the terminal.

/// Masks characters that could mislead a terminal or a reader: control characters, and the Unicode controls that
/// reorder or break a line (UAX #9 bidi controls, U+2028, U+2029).
pub fn harmless(text: &str) -> String {
    let shown = |c| match c {
        // A tab is harmless, and programs indent their messages with it.
        '\t' => ' ',
        c if misleads(c) => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// Returns a JSON document with the characters that [`harmless`] masks written as `\uXXXX`, which means the same to a
/// parser. Such characters occur in strings only; line breaks between values stay.
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

/// Returns `text` without escape sequences of terminals (ECMA-48: CSI, OSC and the short ones).
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
                // `ESC \` also ends it.
                let _ = end.filter(|end| *end == '\u{1b}').and_then(|_| rest.next());
            }
            _ => {}
        }
    }
    out
}

/// Appends `bytes` to `out` without the escape sequences that affect more than the current line: those that clear or
/// scroll the screen, move or hide the cursor, switch screens or character sets, set the title or reset the terminal.
/// Keeps colours, links and sequences that erase the line. Drops an unfinished sequence.
pub fn push_within_line(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr3(ESC, C1_LEAD, SHIFT_OUT, rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (length, stays) = match rest {
            [ESC, introducer, ..] => sequence(rest, 2, *introducer),
            // The same introducers as C1 controls in UTF-8: U+0080 to U+009F.
            [C1_LEAD, second @ 0x80..=0x9f, ..] => sequence(rest, 2, second - 0x40),
            [C1_LEAD, ..] => (1, true),
            _ => (1, false),
        };
        if stays {
            out.extend_from_slice(&rest[..length]);
        }
        rest = &rest[length..];
    }
    out.extend_from_slice(rest);
}

/// Returns true if [`push_within_line`] may drop a part of `bytes`.
pub fn may_leave_line(bytes: &[u8]) -> bool {
    memchr::memchr3(ESC, C1_LEAD, SHIFT_OUT, bytes).is_some()
}

const ESC: u8 = 0x1b;
/// The first byte of U+0080 to U+00BF.
const C1_LEAD: u8 = 0xc2;
/// Switches to another character set.
const SHIFT_OUT: u8 = 0x0e;

/// Returns the length of the sequence at the start of `bytes`, and whether it affects the current line only. Its
/// introducer takes the first `start` bytes.
fn sequence(bytes: &[u8], start: usize, introducer: u8) -> (usize, bool) {
    let count =
        |from: usize, is_it: fn(&u8) -> bool| bytes[from..].iter().take_while(|byte| is_it(byte)).count();
    match introducer {
        b'[' => {
            let end = start + count(start, |byte| (0x20..=0x3f).contains(byte));
            let is_private = bytes.get(start).is_some_and(|byte| (b'<'..=b'?').contains(byte));
            match bytes.get(end) {
                Some(last @ 0x40..=0x7e) => (end + 1, !is_private && matches!(last, b'm' | b'K')),
                _ => (end, false),
            }
        }
        // Strings for the terminal, up to BEL or `ESC \`: a title, a link, a font.
        b']' | b'P' | b'X' | b'^' | b'_' => {
            let is_text = |byte: &u8| !matches!(byte, 0x07 | b'\n' | &ESC);
            let end = start + bytes[start..].iter().take_while(|byte| is_text(byte)).count();
            let is_link = introducer == b']' && bytes[start..end].starts_with(b"8;");
            match &bytes[end..] {
                [0x07, ..] => (end + 1, is_link),
                [ESC, b'\\', ..] => (end + 2, is_link),
                _ => (end, false),
            }
        }
        0x20..=0x2f => {
            let end = start + count(start, |byte| (0x20..=0x2f).contains(byte));
            (end + usize::from(bytes.get(end).is_some_and(|byte| (0x30..=0x7e).contains(byte))), false)
        }
        0x30..=0x7e => (start, false),
        // Not an introducer: drop the ESC alone.
        _ => (start - 1, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within_line(text: &str) -> String {
        let mut out = Vec::new();
        push_within_line(&mut out, text.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn sequences_that_act_on_the_whole_screen_are_left_out() {
        for gone in [
            "\x1b[2J",
            "\x1b[3J",
            "\x1b[H",
            "\x1b[1;5H",
            "\x1bc",
            "\x1b[?1049h",
            "\x1b[?25l",
            "\x1b[5A",
            "\x1b[2;10r",
            "\x1b[!p",
            "\x1b7",
            "\x1b(0",
            "\x1b]0;title\x07",
            "\x1b]0;title\x1b\\",
            "\x1bPq#0\x1b\\",
            "\x1b[>4;2m",
            "\x0e",
            "\u{9b}2J",
            "\u{9d}0;t\x07",
        ] {
            assert_eq!(within_line(&format!("a{gone}b\n")), "ab\n", "{gone:?}");
        }
    }

    #[test]
    fn colours_links_and_other_text_stay() {
        for kept in [
            "\x1b[31mred\x1b[0m\x1b[K",
            "\x1b]8;;http://x\x1b\\x\x1b]8;;\x07",
            "caf\u{e9} 5\u{b0} \u{a0}",
            "plain",
        ] {
            assert_eq!(within_line(kept), kept);
        }
    }

    #[test]
    fn an_unfinished_sequence_never_takes_the_end_of_its_line() {
        for cut in ["\x1b", "\x1b[", "\x1b[2", "\x1b]0;title", "\x1bP", "\x1b("] {
            assert_eq!(within_line(&format!("a{cut}\nb\n")), "a\nb\n", "{cut:?}");
            assert_eq!(within_line(&format!("a{cut}")), "a", "{cut:?}");
        }
        assert_eq!(within_line("a\x1b[2\x1b[31mb"), "a\x1b[31mb");
    }

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
