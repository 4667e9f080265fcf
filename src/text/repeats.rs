//! Shortens the lines of a server that writes the same again and again, as Next.js does with an error for each request. Pure.

use std::sync::LazyLock;

use regex::Regex;

/// The parts of a line that differ at each repetition: how long a request took, and the port of the client.
static VARYING: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\b\d+(?:\.\d+)?\s?(?:ms|µs|s)\b|\b127\.0\.0\.1:\d+\b").ok());

/// Returns `lines` with each group of lines that follows itself once, and the number of its repetitions. Of several that differ only in
/// times and ports of clients, the last stays.
pub fn collapsed(lines: &[String]) -> Vec<String> {
    let keys: Vec<_> = lines
        .iter()
        .map(|line| VARYING.as_ref().map_or(line.as_str().into(), |varying| varying.replace_all(line, "_")))
        .collect();
    let mut kept = Vec::new();
    let mut end = lines.len();
    // From the end, because the last group is complete and the first may not be.
    while end > 0 {
        let groups = (1..=end / 2).map(|length| (length, count(&keys[..end], length)));
        let best = groups.filter(|(_, count)| *count > 1);
        let best = best.max_by_key(|(length, count)| (length * (count - 1), std::cmp::Reverse(*length)));
        let (length, count) = best.unwrap_or((1, 1));
        let group = &lines[end - length..end];
        // The lines of the others differ in times or ports, which are those of the last here.
        let is_same = self::count(&lines[..end], length) >= count;
        match (group, count) {
            (_, 1) => {}
            ([line], _) => {
                let note =
                    if is_same { format!("{count} times") } else { format!("last of {count} similar") };
                kept.push(format!("{line} ({note})"));
                end -= count;
                continue;
            }
            _ if is_same => kept.push(format!("({length} lines, {count} times)")),
            _ => kept.push(format!("(last of {count} similar groups of {length} lines)")),
        }
        kept.extend(group.iter().rev().cloned());
        end -= length * count;
    }
    kept.reverse();
    kept
}

/// Returns how many times the last `length` lines occur at the end, one after the other.
fn count<T: PartialEq>(lines: &[T], length: usize) -> usize {
    let group = &lines[lines.len() - length..];
    lines.rchunks_exact(length).take_while(|other| *other == group).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let lines: Vec<String> = text.lines().map(Into::into).collect();
        collapsed(&lines).join("\n")
    }

    #[test]
    fn a_line_that_follows_itself_is_shown_once_with_its_number() {
        let text = "start\n GET / 200 in 30ms\n GET / 200 in 1.2s\n GET / 200 in 7ms (next.js: 1.0ms)\nend\nend\nend";
        assert_eq!(
            shown(text),
            "start\n GET / 200 in 1.2s (last of 2 similar)\n GET / 200 in 7ms (next.js: 1.0ms)\nend (3 times)"
        );
        let probe = |port| format!("INFO: 127.0.0.1:{port} - \"GET /healthz HTTP/1.1\" 200 OK");
        let probes = format!("{}\n{}", probe(41_234), probe(5_000));
        assert_eq!(shown(&probes), format!("{} (last of 2 similar)", probe(5_000)));
    }

    #[test]
    fn an_error_that_follows_itself_is_shown_once_and_whole() {
        let error = "\u{2a2f} ReferenceError: boom is not defined\n    at Page (app/page.tsx:4:15)\n GET / 500 in 9ms";
        let text = format!(" GET / 500 in 8ms\n{error}\n{error}\n{error}");
        assert_eq!(shown(&text), format!(" GET / 500 in 8ms\n{error}\n(3 lines, 3 times)"));
    }

    #[test]
    fn lines_that_do_not_follow_themselves_are_unchanged() {
        for text in ["", "one", "one\ntwo\none", "item 1\nitem 2\nitem 3"] {
            assert_eq!(shown(text), text);
        }
        assert_eq!(shown("one\ntwo\none\ntwo\nthree"), "one\ntwo\n(2 lines, 2 times)\nthree");
    }
}
