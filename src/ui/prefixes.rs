//! Puts `name | ` before each line of a process and passes the result on in large pieces.
//!
//! This code runs for every line of output, so it does not allocate per line. The lines are joined in one buffer,
//! because that is cheaper to write than two slices per line.

use std::io;

use memchr::memchr_iter;

use super::style::Style;
use crate::text;

/// The size in bytes from which a piece is passed on.
const PIECE: usize = 256 << 10;

/// The prefixes of all processes of a run.
#[derive(Debug)]
pub struct Prefixes {
    first: Vec<Vec<u8>>,
    rest: Vec<Vec<u8>>,
}

impl Prefixes {
    /// Returns aligned prefixes for `names`.
    pub fn new(names: &[&str], style: Style) -> Prefixes {
        let width = names.iter().map(|name| console::measure_text_width(name)).max().unwrap_or(0);
        let make = |mark: &str| {
            let prefix = |(index, name): (usize, &&str)| {
                let gap = " ".repeat(width - console::measure_text_width(name));
                format!("{} ", style.name(index, &format!("{name}{gap} {mark}"))).into_bytes()
            };
            names.iter().enumerate().map(prefix).collect()
        };
        Prefixes { first: make("|"), rest: make("\u{2026}") }
    }

    /// Passes the whole lines of `chunk` with their prefixes to `hand_on`, in pieces of whole lines that are built in
    /// `buffer`. `continued` is true if the first line is the rest of a line that was shown before.
    pub fn write(
        &self,
        buffer: &mut Vec<u8>,
        process: usize,
        chunk: &[u8],
        continued: bool,
        mut hand_on: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        buffer.clear();
        let mut start = 0;
        // All processes share the screen, and the shell uses it afterwards.
        let leaves = text::may_leave_line(chunk);
        let mut prefix = if continued { &self.rest[process] } else { &self.first[process] };
        for end in memchr_iter(b'\n', chunk) {
            buffer.extend_from_slice(prefix);
            if leaves {
                text::push_within_line(buffer, &chunk[start..=end]);
            } else {
                buffer.extend_from_slice(&chunk[start..=end]);
            }
            prefix = &self.first[process];
            start = end + 1;
            if buffer.len() >= PIECE {
                hand_on(buffer)?;
                buffer.clear();
            }
        }
        let handed = if buffer.is_empty() { Ok(()) } else { hand_on(buffer) };
        buffer.clear();
        // One very long line must not keep its memory.
        buffer.shrink_to(2 * PIECE);
        handed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(names: &[&str], process: usize, chunk: &[u8], continued: bool) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let take = |piece: &[u8]| {
            out.push(piece.to_vec());
            Ok(())
        };
        Prefixes::new(names, Style::PLAIN).write(&mut Vec::new(), process, chunk, continued, take).unwrap();
        out
    }

    fn written(names: &[&str], process: usize, chunk: &[u8], continued: bool) -> String {
        String::from_utf8_lossy(&pieces(names, process, chunk, continued).concat()).into_owned()
    }

    #[test]
    fn names_are_aligned_and_every_line_has_one() {
        assert_eq!(
            written(&["api", "frontend"], 0, b"a\n\nb\n", false),
            "api      | a\napi      | \napi      | b\n"
        );
        assert_eq!(written(&["api", "frontend"], 1, b"x\n", false), "frontend | x\n");
    }

    #[test]
    fn the_rest_of_a_shown_line_is_marked() {
        assert_eq!(written(&["api"], 0, b"rest\nnew\n", true), "api \u{2026} rest\napi | new\n");
    }

    #[test]
    fn many_lines_come_in_several_pieces_of_whole_lines() {
        let count = 3 * PIECE / 9;
        let pieces = pieces(&["a"], 0, &b"line\n".repeat(count), false);
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.ends_with(b"\n")));
        assert_eq!(pieces.concat(), b"a | line\n".repeat(count));
    }

    #[test]
    fn one_process_never_clears_the_screen_of_the_others() {
        let cleared = b"\x1b[2J\x1b[3J\x1b[HStarting\n\x1b[32mok\x1b[0m\n\x1b[?25l\n";
        assert_eq!(
            pieces(&["a"], 0, cleared, false).concat(),
            b"a | Starting\na | \x1b[32mok\x1b[0m\na | \n"
        );
    }

    #[test]
    fn bytes_that_are_not_text_pass_through() {
        assert_eq!(pieces(&["a"], 0, b"\xff\x00\xfe\n", false).concat(), b"a | \xff\x00\xfe\n");
    }
}
