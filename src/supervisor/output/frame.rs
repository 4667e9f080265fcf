//! Cuts a stream of bytes into whole lines without copying each line. Pure.
//!
//! Text that a carriage return overwrites is left out, so that only the last state of a progress bar remains. Carriage
//! returns directly before a newline are part of the line's end.

use memchr::{memchr, memrchr};

/// The longest line in bytes. A longer one is cut, so that memory stays bounded.
pub const LONGEST_LINE: usize = 1 << 20;
/// How many bytes stay allocated between two lines.
const KEPT: usize = 64 << 10;

/// The unfinished line of one stream.
#[derive(Debug, Default)]
pub struct Framer {
    /// The beginning of a line without its end.
    pending: Vec<u8>,
    /// True if the beginning of this line was already handed on.
    continued: bool,
    /// True if this line contains a carriage return, so that its text was overwritten or may be.
    redrawn: bool,
    /// A buffer for lines from which overwritten text was removed.
    rewritten: Vec<u8>,
}

impl Framer {
    /// Takes bytes that were read and hands on whole lines in as few calls as possible: `hand_on(chunk, continued)`,
    /// where `chunk` ends in a newline.
    pub fn push(&mut self, bytes: &[u8], mut hand_on: impl FnMut(&[u8], bool)) {
        let Some(last) = memrchr(b'\n', bytes) else { return self.hold(bytes, &mut hand_on) };
        let (mut whole, rest) = bytes.split_at(last + 1);
        if !self.pending.is_empty() || self.continued || self.redrawn {
            let end = memchr(b'\n', whole).unwrap_or(last);
            self.hold(&whole[..end], &mut hand_on);
            self.end_line(&mut hand_on);
            whole = &whole[end + 1..];
        }
        if memchr(b'\r', whole).is_some() {
            self.rewritten.clear();
            for line in whole.split_inclusive(|byte| *byte == b'\n') {
                self.rewritten.extend_from_slice(visible(&line[..line.len() - 1]));
                self.rewritten.push(b'\n');
            }
            hand_on(&self.rewritten, false);
        } else if !whole.is_empty() {
            hand_on(whole, false);
        }
        self.hold(rest, &mut hand_on);
    }

    /// Hands on the unfinished line with a newline added. The text that follows counts as its continuation.
    pub fn flush(&mut self, mut hand_on: impl FnMut(&[u8], bool)) {
        self.pending.truncate(visible_end(&self.pending));
        if !self.pending.is_empty() {
            self.hand_on_pending(&mut hand_on);
            self.continued = true;
        }
    }

    /// Returns true if there is an unfinished line.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Returns the length of the unfinished line in bytes.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Returns true if the unfinished line is overwritten repeatedly, such as a progress bar.
    pub fn is_redrawn(&self) -> bool {
        self.redrawn
    }

    fn end_line(&mut self, hand_on: &mut impl FnMut(&[u8], bool)) {
        self.pending.truncate(visible_end(&self.pending));
        // If the line was shown without its newline, the newline alone does not make another line.
        if !self.pending.is_empty() || !self.continued {
            self.hand_on_pending(hand_on);
        }
        self.continued = false;
        self.redrawn = false;
    }

    fn hand_on_pending(&mut self, hand_on: &mut impl FnMut(&[u8], bool)) {
        self.pending.push(b'\n');
        hand_on(&self.pending, self.continued);
        self.pending.clear();
        self.pending.shrink_to(KEPT);
    }

    /// Keeps the beginning of a line without overwritten text. While the line is longer than [`LONGEST_LINE`], hands on
    /// its beginning.
    fn hold(&mut self, bytes: &[u8], hand_on: &mut impl FnMut(&[u8], bool)) {
        if bytes.is_empty() {
            return;
        }
        self.redrawn |= memchr(b'\r', bytes).is_some();
        self.pending.extend_from_slice(bytes);
        if self.redrawn {
            // Keep a `\r` at the end: only the next byte shows whether it overwrites the line or belongs to `\r\n`.
            let end = visible_end(&self.pending);
            if let Some(at) = memrchr(b'\r', &self.pending[..end]) {
                self.pending.drain(..=at);
            }
        }
        while self.pending.len() > LONGEST_LINE {
            let rest = self.pending.split_off(LONGEST_LINE);
            self.hand_on_pending(hand_on);
            self.pending = rest;
            self.continued = true;
        }
    }
}

/// Returns the length of `line` without the carriage returns at its end.
fn visible_end(line: &[u8]) -> usize {
    line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1)
}

/// Returns the part of `line` that is not overwritten.
fn visible(line: &[u8]) -> &[u8] {
    let line = &line[..visible_end(line)];
    memrchr(b'\r', line).map_or(line, |at| &line[at + 1..])
}

#[cfg(test)]
mod tests;
