//! Formats a [`Notice`] and the lines of its fix.

use super::style::{Style, harmless};
use crate::plan::Notice;

/// Returns the text on one line, with the lines of the fix indented below it.
pub fn text(notice: &Notice, style: Style) -> String {
    let first = format!("{} {}\n", style.warn("notice:"), harmless(&notice.text));
    let fix = notice.fix.iter().flat_map(|fix| fix.lines());
    fix.fold(first, |text, line| format!("{text}    {}\n", harmless(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_the_fix_is_separate_and_control_characters_are_masked() {
        let notice = Notice { text: "a\nb \u{1b}[2J".into(), fix: Some("env:\n  A: \u{7}".into()) };
        let shown = text(&notice, Style::PLAIN);
        assert_eq!(shown, "notice: a\u{fffd}b \u{fffd}[2J\n    env:\n      A: \u{fffd}\n");
    }
}
