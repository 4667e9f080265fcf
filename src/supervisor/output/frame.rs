//! Cuts a stream of bytes into whole lines without copying them one by one. Pure.

/// A line longer than this is cut, so that memory stays bounded.
pub const LONGEST_LINE: usize = 1 << 20;

/// What one stream has not finished yet.
#[derive(Debug, Default)]
pub struct Framer {
    /// The beginning of a line whose end has not come.
    pending: Vec<u8>,
    /// The beginning of this line was already handed on.
    continued: bool,
}

impl Framer {
    /// Takes what was read and hands on whole lines, as few calls as possible: `hand_on(chunk, continued)` with
    /// `chunk` ending in a newline.
    pub fn push<E>(
        &mut self,
        bytes: &[u8],
        mut hand_on: impl FnMut(&[u8], bool) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(last) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            self.pending.extend_from_slice(bytes);
            return self.cut_long(&mut hand_on);
        };
        let (mut whole, rest) = bytes.split_at(last + 1);
        if !self.pending.is_empty() || self.continued {
            let first = whole.iter().position(|byte| *byte == b'\n').unwrap_or(last) + 1;
            self.pending.extend_from_slice(&whole[..first]);
            hand_on(&self.pending, self.continued)?;
            self.pending.clear();
            self.continued = false;
            whole = &whole[first..];
        }
        if !whole.is_empty() {
            hand_on(whole, false)?;
        }
        self.pending.extend_from_slice(rest);
        self.cut_long(&mut hand_on)
    }

    /// Hands on the unfinished line, ended by a newline of ours; what follows counts as its continuation.
    pub fn flush<E>(&mut self, mut hand_on: impl FnMut(&[u8], bool) -> Result<(), E>) -> Result<(), E> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.pending.push(b'\n');
        let handed = hand_on(&self.pending, self.continued);
        self.pending.clear();
        self.continued = true;
        handed
    }

    /// How many bytes of a line wait for its end.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    fn cut_long<E>(&mut self, hand_on: &mut impl FnMut(&[u8], bool) -> Result<(), E>) -> Result<(), E> {
        if self.pending.len() > LONGEST_LINE { self.flush(hand_on) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn push(framer: &mut Framer, bytes: &[u8]) -> Vec<(Vec<u8>, bool)> {
        let mut out = Vec::new();
        let Ok(()) = framer.push(bytes, |chunk, continued| {
            out.push((chunk.to_vec(), continued));
            Ok::<_, Infallible>(())
        });
        out
    }

    #[test]
    fn a_line_in_two_reads_comes_out_whole() {
        let mut framer = Framer::default();
        assert!(push(&mut framer, b"hel").is_empty());
        assert_eq!(push(&mut framer, b"lo\nwor"), [(b"hello\n".to_vec(), false)]);
        assert_eq!(framer.pending(), 3);
    }

    #[test]
    fn a_flushed_beginning_is_continued() {
        let mut framer = Framer::default();
        push(&mut framer, b"Password: ");
        let mut out = Vec::new();
        let Ok(()) = framer.flush(|chunk, continued| {
            out.push((chunk.to_vec(), continued));
            Ok::<_, Infallible>(())
        });
        assert_eq!(out, [(b"Password: \n".to_vec(), false)]);
        assert_eq!(push(&mut framer, b"ok\n"), [(b"ok\n".to_vec(), true)]);
        assert_eq!(push(&mut framer, b"next\n"), [(b"next\n".to_vec(), false)]);
    }

    #[test]
    fn an_endless_line_is_cut_and_marked() {
        let mut framer = Framer::default();
        let out = push(&mut framer, &vec![b'x'; LONGEST_LINE + 1]);
        assert_eq!(out.len(), 1);
        assert_eq!(push(&mut framer, b"y\n"), [(b"y\n".to_vec(), true)]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_however_the_stream_is_cut(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..400),
            cuts in proptest::collection::vec(1usize..40, 1..40),
        ) {
            let mut framer = Framer::default();
            let mut out = Vec::new();
            let mut rest = text.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                for (chunk, continued) in push(&mut framer, now) {
                    prop_assert!(!continued && chunk.ends_with(b"\n"));
                    out.extend(chunk);
                }
                rest = later;
            }
            let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            prop_assert_eq!(out, &text[..end]);
            prop_assert_eq!(framer.pending(), text.len() - end);
        }
    }
}
