//! Cuts a stream of bytes into whole lines without copying them one by one. Pure.
//!
//! What a carriage return overwrites is left out, so that a progress bar is its last state; one before a newline belongs to
//! the line's end.

use memchr::{memchr, memrchr};

/// A line longer than this is cut, so that memory stays bounded.
pub const LONGEST_LINE: usize = 1 << 20;
/// What is kept allocated between two lines at most.
const KEPT: usize = 64 << 10;

/// What one stream has not finished yet.
#[derive(Debug, Default)]
pub struct Framer {
    /// The beginning of a line whose end has not come.
    pending: Vec<u8>,
    /// The beginning of this line was already handed on.
    continued: bool,
    /// This line was overwritten, or is about to be.
    redrawn: bool,
    /// Lines rewritten without what was overwritten.
    rewritten: Vec<u8>,
}

impl Framer {
    /// Takes what was read and hands on whole lines, as few calls as possible: `hand_on(chunk, continued)` with
    /// `chunk` ending in a newline.
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

    /// Hands on the unfinished line, ended by a newline of ours; what follows counts as its continuation.
    pub fn flush(&mut self, mut hand_on: impl FnMut(&[u8], bool)) {
        self.pending.truncate(visible_end(&self.pending));
        if !self.pending.is_empty() {
            self.hand_on_pending(&mut hand_on);
            self.continued = true;
        }
    }

    /// True when a line waits for its end.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// How many bytes of a line wait for its end.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// True when the unfinished line is one that is drawn over, such as a progress bar.
    pub fn is_redrawn(&self) -> bool {
        self.redrawn
    }

    fn end_line(&mut self, hand_on: &mut impl FnMut(&[u8], bool)) {
        self.pending.truncate(visible_end(&self.pending));
        // A newline that only ends what was shown already is no line of its own.
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

    /// Keeps the beginning of a line, without what is overwritten in it, and cuts it when it is too long.
    fn hold(&mut self, bytes: &[u8], hand_on: &mut impl FnMut(&[u8], bool)) {
        if bytes.is_empty() {
            return;
        }
        self.redrawn |= memchr(b'\r', bytes).is_some();
        self.pending.extend_from_slice(bytes);
        if self.redrawn {
            // A return at the very end stays: whether it overwrites is told by what comes next.
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

/// Where `line` ends without the returns that belong to its end.
fn visible_end(line: &[u8]) -> usize {
    line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1)
}

/// What is left to see of a line.
fn visible(line: &[u8]) -> &[u8] {
    let line = &line[..visible_end(line)];
    memrchr(b'\r', line).map_or(line, |at| &line[at + 1..])
}

#[cfg(test)]
mod tests;
