//! Compares two texts line by line. Pure.

use std::fmt::Write;

use crate::ui::style::harmless;

/// The largest number of changed lines that are compared with each other. Longer parts are shown as replaced.
const MOST: usize = 1000;

/// Returns the removed and added lines, each with its number in the old or the new text.
pub(super) fn diff(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let first = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old.len().min(new.len()) - first;
    let last = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[first..old.len() - last], &new[first..new.len() - last]);
    let mut out = String::new();
    for line in changes(old, new) {
        let (sign, number, text) = match line {
            LineChange::Removed(at) => ('-', first + at + 1, old[at]),
            LineChange::Added(at) => ('+', first + at + 1, new[at]),
        };
        let _ = writeln!(out, "{sign} {number:>4}  {}", harmless(text));
    }
    out
}

/// A line that only one text has, with its position.
#[derive(Clone, Copy, Debug)]
enum LineChange {
    Removed(usize),
    Added(usize),
}

/// Returns the shortest list of changes from `old` to `new`; all lines of both if one of them has more than [`MOST`].
fn changes(old: &[&str], new: &[&str]) -> Vec<LineChange> {
    if old.len() > MOST || new.len() > MOST {
        let removed = (0..old.len()).map(LineChange::Removed);
        return removed.chain((0..new.len()).map(LineChange::Added)).collect();
    }
    // The length of the longest common part from each pair of positions on.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (left, old) in old.iter().enumerate().rev() {
        for (right, new) in new.iter().enumerate().rev() {
            common[left][right] = if old == new {
                common[left + 1][right + 1] + 1
            } else {
                common[left + 1][right].max(common[left][right + 1])
            };
        }
    }
    let (mut left, mut right, mut found) = (0, 0, Vec::new());
    while left < old.len() || right < new.len() {
        if left < old.len() && right < new.len() && old[left] == new[right] {
            (left, right) = (left + 1, right + 1);
        } else if right == new.len() || left < old.len() && common[left + 1][right] >= common[left][right + 1]
        {
            found.push(LineChange::Removed(left));
            left += 1;
        } else {
            found.push(LineChange::Added(right));
            right += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changed_lines_are_shown() {
        let (old, new) = ("a\nb\nc\nd\n", "a\nx\nc\nd\ne\n");
        assert_eq!(diff(old, new), "-    2  b\n+    2  x\n+    5  e\n");
        assert_eq!(diff(old, old), "");
        assert_eq!(diff("", "a\n"), "+    1  a\n");
        assert_eq!(diff("a\n", ""), "-    1  a\n");
    }
}
