//! Puts `name | ` before each line of a process and writes it, with as few system calls as possible.
//!
//! The hot path: no allocation per line, vectored writes straight from the buffer that was read into.

use std::io::{self, IoSlice, Write};

use memchr::{memchr, memchr_iter, memrchr};

use super::style::Style;

/// Lines written by one system call at most; each takes two slices, and the kernel takes 1024.
const BATCH: usize = 512;

/// Prefixes of all processes of a run.
#[derive(Debug)]
pub struct Prefixes {
    first: Vec<Vec<u8>>,
    rest: Vec<Vec<u8>>,
}

impl Prefixes {
    /// Aligned prefixes for `names`.
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

    /// Writes the whole lines of `chunk` to `out`. `continued`: the first is the rest of a line shown before.
    pub fn write(
        &self,
        out: &mut impl Write,
        process: usize,
        chunk: &[u8],
        continued: bool,
    ) -> io::Result<()> {
        if memchr(b'\r', chunk).is_some() {
            return self.write_plain(out, process, &collapse(chunk), continued);
        }
        self.write_plain(out, process, chunk, continued)
    }

    fn write_plain(
        &self,
        out: &mut impl Write,
        process: usize,
        chunk: &[u8],
        continued: bool,
    ) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); BATCH * 2];
        let mut used = 0;
        let mut start = 0;
        let mut prefix = if continued { &self.rest[process] } else { &self.first[process] };
        for end in memchr_iter(b'\n', chunk) {
            slices[used] = IoSlice::new(prefix);
            slices[used + 1] = IoSlice::new(&chunk[start..=end]);
            prefix = &self.first[process];
            used += 2;
            start = end + 1;
            if used == slices.len() {
                write_all(out, &mut slices[..used])?;
                // Advancing consumed the slices; they are all set anew.
                slices = [IoSlice::new(&[]); BATCH * 2];
                used = 0;
            }
        }
        write_all(out, &mut slices[..used])
    }
}

fn write_all(out: &mut impl Write, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        match out.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A carriage return means that what stands before it is overwritten: keeps the last state of each line. The one before
/// a newline belongs to the line end.
fn collapse(chunk: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(chunk.len());
    for line in chunk.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let shown = memrchr(b'\r', text).map_or(text, |at| &text[at + 1..]);
        out.extend_from_slice(shown);
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(names: &[&str], process: usize, chunk: &[u8], continued: bool) -> String {
        let mut out = Vec::new();
        Prefixes::new(names, Style::PLAIN).write(&mut out, process, chunk, continued).unwrap();
        String::from_utf8_lossy(&out).into_owned()
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
    fn progress_bars_collapse_to_their_last_state() {
        assert_eq!(written(&["a"], 0, b" 1%\r50%\r100%\nwindows\r\n", false), "a | 100%\na | windows\n");
    }

    #[test]
    fn more_lines_than_one_call_takes_all_arrive() {
        let chunk = b"line\n".repeat(3 * BATCH + 1);
        assert_eq!(written(&["a"], 0, &chunk, false), "a | line\n".repeat(3 * BATCH + 1));
    }

    #[test]
    fn bytes_that_are_no_text_pass_through() {
        let mut out = Vec::new();
        Prefixes::new(&["a"], Style::PLAIN).write(&mut out, 0, b"\xff\x00\xfe\n", false).unwrap();
        assert_eq!(out, b"a | \xff\x00\xfe\n");
    }
}
