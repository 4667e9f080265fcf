//! devrun's block in AGENTS.md and CLAUDE.md. Edits the text in place. Pure.

use std::ops::Range;

use super::edit::{Edited, Malformed, newline};

/// The first line of the block.
const BEGIN: &str = "<!-- >>> devrun >>> `devrun init --agents` writes this block -->";
/// The last line of the block.
const END: &str = "<!-- <<< devrun <<< -->";
/// The beginning of the first line, in every version.
const MARK: &str = "<!-- >>> devrun >>>";

const TEXT: &str = "\
## Running the product

Use `devrun` to run, test and debug this product; do not start its servers, install its packages or choose ports yourself.
`devrun up -d` starts everything of this worktree and returns when it is ready. `devrun agents` prints the manual: read it first.
";

/// Adds the block at the end of `text`, or replaces an older one.
pub(super) fn add_block(text: &str) -> Result<Edited, Malformed> {
    let newline = newline(text);
    let block = format!("{BEGIN}\n{TEXT}{END}\n").replace('\n', newline);
    let text = match find(text)? {
        Some(at) => format!("{}{block}{}", &text[..at.start], &text[at.end..]),
        // One line break, whether or not the text ends with one: removing the block can then restore the text.
        None if text.is_empty() => block,
        None => format!("{text}{newline}{block}"),
    };
    Ok(Edited { text, by_hand: Vec::new() })
}

/// Removes the block, and the line break before it that was added with it.
pub(super) fn remove_block(text: &str) -> Result<Edited, Malformed> {
    let text = match find(text)? {
        Some(at) => {
            let before = &text[..at.start];
            let before = before.strip_suffix('\n').unwrap_or(before);
            let before = before.strip_suffix('\r').unwrap_or(before);
            format!("{before}{}", &text[at.end..])
        }
        None => text.into(),
    };
    Ok(Edited { text, by_hand: Vec::new() })
}

/// Returns true if `text` includes AGENTS.md, as Claude Code does with `@AGENTS.md`.
pub(super) fn includes_agents(text: &str) -> bool {
    text.split_whitespace().any(|word| matches!(word, "@AGENTS.md" | "@./AGENTS.md"))
}

/// Returns where the block is. Errors if one of its two marks is missing or occurs twice.
fn find(text: &str) -> Result<Option<Range<usize>>, Malformed> {
    let positions = |mark: &str| -> Vec<usize> {
        let at = |(at, _): (usize, &str)| (at == 0 || text[..at].ends_with('\n')).then_some(at);
        text.match_indices(mark).filter_map(at).collect()
    };
    let (begins, ends) = (positions(MARK), positions(END));
    match (begins.as_slice(), ends.as_slice()) {
        ([], []) => Ok(None),
        ([begin], [end]) if begin < end => {
            let line = text[*end..].find('\n').map_or(text.len(), |newline| end + newline + 1);
            Ok(Some(*begin..line))
        }
        _ => {
            let at = begins.iter().chain(&ends).min().copied().unwrap_or_default();
            Err(Malformed::at(text, at, "the first or the last line of devrun's block is missing"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a1_adding_and_removing_the_block_restores_the_text() {
        for text in ["", "# Rules\n", "# Rules\n\nLast line without a break", "a\r\nb\r\n", "\n\n"] {
            let with = add_block(text).unwrap().text;
            assert!(with.starts_with(text) && with.contains("`devrun agents`"), "{with}");
            assert_eq!(add_block(&with).unwrap().text, with, "a second time");
            assert_eq!(remove_block(&with).unwrap().text, text);
            let followed = format!("{with}more\n");
            assert_eq!(add_block(&followed).unwrap().text, followed);
            assert_eq!(remove_block(&followed).unwrap().text, format!("{text}more\n"));
        }
        let old = "a\n\n<!-- >>> devrun >>> older -->\nold\n<!-- <<< devrun <<< -->\nb\n";
        let new = add_block(old).unwrap().text;
        assert!(
            new.starts_with("a\n\n<!-- >>>") && !new.contains("old") && new.ends_with("-->\nb\n"),
            "{new}"
        );
    }

    #[test]
    fn a1_a_damaged_block_is_an_error_with_its_place() {
        for text in ["x\n<!-- >>> devrun >>> -->\n", "x\n<!-- <<< devrun <<< -->\n"] {
            assert_eq!((add_block(text).unwrap_err().line, remove_block(text).unwrap_err().line), (2, 2));
        }
    }
}
