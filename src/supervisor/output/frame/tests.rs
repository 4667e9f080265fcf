//! Properties of the lines, wherever reads cut the stream.

use proptest::prelude::*;

use super::*;

fn push(framer: &mut Framer, bytes: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let mut out = Vec::new();
    framer.push(bytes, |chunk, continued| out.push((chunk.to_vec(), continued)));
    out
}

fn flush(framer: &mut Framer) -> Vec<(Vec<u8>, bool)> {
    let mut out = Vec::new();
    framer.flush(|chunk, continued| out.push((chunk.to_vec(), continued)));
    out
}

fn one(text: &[u8], continued: bool) -> Vec<(Vec<u8>, bool)> {
    vec![(text.to_vec(), continued)]
}

#[test]
fn a_line_in_two_reads_comes_out_whole() {
    let mut framer = Framer::default();
    assert!(push(&mut framer, b"hel").is_empty());
    assert_eq!(push(&mut framer, b"lo\nwor"), one(b"hello\n", false));
    assert_eq!(framer.pending(), 3);
}

#[test]
fn a_flushed_beginning_is_continued() {
    let mut framer = Framer::default();
    push(&mut framer, b"Password: ");
    assert_eq!(flush(&mut framer), one(b"Password: \n", false));
    assert_eq!(push(&mut framer, b"ok\n"), one(b"ok\n", true));
    assert_eq!(push(&mut framer, b"next\n"), one(b"next\n", false));
}

#[test]
fn the_newline_of_a_line_that_was_shown_is_no_line() {
    let mut framer = Framer::default();
    push(&mut framer, b"Compiling");
    flush(&mut framer);
    assert_eq!(push(&mut framer, b"\n\nnext\n"), one(b"\nnext\n", false));
}

#[test]
fn an_endless_line_is_cut_and_marked() {
    let mut framer = Framer::default();
    assert!(push(&mut framer, &vec![b'x'; LONGEST_LINE]).is_empty());
    let out = push(&mut framer, b"y");
    assert_eq!((out.len(), out[0].0.len(), out[0].1), (1, LONGEST_LINE + 1, false));
    assert_eq!(push(&mut framer, b"z\n"), one(b"yz\n", true));
    assert!(framer.pending.capacity() <= KEPT);
}

#[test]
fn a_line_of_the_longest_length_stays_whole() {
    let mut framer = Framer::default();
    push(&mut framer, &vec![b'x'; LONGEST_LINE]);
    let out = push(&mut framer, b"\n");
    assert_eq!((out.len(), out[0].0.len(), out[0].1), (1, LONGEST_LINE + 1, false));
}

#[test]
fn progress_collapses_to_its_last_state() {
    let mut framer = Framer::default();
    assert_eq!(push(&mut framer, b" 1%\r50%\r100%\nwindows\r\n"), one(b"100%\nwindows\n", false));
    // A terminal adds its own return.
    assert_eq!(push(&mut framer, b"windows\r\r\n\r\n"), one(b"windows\n\n", false));
    for state in 0..10_000 {
        assert!(push(&mut framer, format!("\r{state}").as_bytes()).is_empty());
        assert!(framer.pending() < 10 && framer.is_redrawn());
    }
    assert_eq!(push(&mut framer, b"\n"), one(b"9999\n", false));
    assert!(!framer.is_redrawn());
}

#[test]
fn carriage_return_at_the_end_of_a_read_waits_for_the_next_byte() {
    let mut framer = Framer::default();
    assert!(push(&mut framer, b"half\r").is_empty());
    assert_eq!(push(&mut framer, b"\n"), one(b"half\n", false));
    assert!(push(&mut framer, b"10%\r").is_empty());
    assert!(push(&mut framer, b"20%\r").is_empty());
    assert_eq!(flush(&mut framer), one(b"20%\n", false));
}

proptest! {
    #[test]
    fn nothing_is_lost_however_the_stream_is_cut(
        text in proptest::collection::vec(
            prop_oneof![2 => Just(b'\n'), 1 => Just(b'\r'), 5 => any::<u8>()], 0..400),
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
        out.extend(flush(&mut framer).into_iter().flat_map(|(chunk, _)| chunk));
        let mut expected = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let shown = visible(line.strip_suffix(b"\n").unwrap_or(line));
            if line.ends_with(b"\n") || !shown.is_empty() {
                expected.extend_from_slice(shown);
                expected.push(b'\n');
            }
        }
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn flushed_beginnings_and_their_rest_make_whole_lines(
        parts in proptest::collection::vec(
            (proptest::collection::vec(prop_oneof![1 => Just(b'\n'), 4 => b'a'..=b'z'], 0..20), any::<bool>()), 0..40),
    ) {
        let mut framer = Framer::default();
        let (mut out, mut text) = (Vec::new(), Vec::new());
        let mut take = |handed: Vec<(Vec<u8>, bool)>| {
            for (chunk, continued) in handed {
                if continued {
                    assert_eq!(out.pop(), Some(b'\n'));
                }
                out.extend(chunk);
            }
        };
        for (bytes, early) in parts {
            text.extend_from_slice(&bytes);
            take(push(&mut framer, &bytes));
            if early { take(flush(&mut framer)) }
        }
        take(flush(&mut framer));
        if text.last().is_some_and(|byte| *byte != b'\n') { text.push(b'\n') }
        prop_assert_eq!(out, text);
    }
}
