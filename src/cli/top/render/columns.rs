//! The columns of the list: which ones a width has room for, and what they contain.

use console::{Alignment, pad_str};

use super::super::state::{TopRow, branch, name, problem};
use super::{bytes, fit};
use crate::text::duration;
use crate::ui::style::harmless;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopColumn {
    State,
    Branch,
    /// The problem, or the URL of a stack without one.
    Summary,
    Url,
    Problem,
    Memory,
    Cpu,
    Age,
    StartedBy,
}

/// The width of the mark of the selected row.
const MARK: usize = 2;
/// From this width on, the problem has a separate column.
const WIDE: usize = 110;
/// Below this width, only the state, the branch and the problem or URL are shown.
const NARROW: usize = 64;

/// Returns the columns with their widths. Together with the mark and a space between two columns they fill `width`, unless that is too
/// narrow.
pub(super) fn columns(width: usize) -> Vec<(TopColumn, usize)> {
    use TopColumn::{Age, Branch, Cpu, Memory, Problem, StartedBy, State, Summary, Url};
    let figures: &[(TopColumn, usize)] =
        if width < NARROW { &[] } else { &[(Memory, 7), (Cpu, 5), (Age, 7), (StartedBy, 11)] };
    let texts: &[(TopColumn, usize)] =
        if width < WIDE { &[(Branch, 45), (Summary, 55)] } else { &[(Branch, 25), (Url, 30), (Problem, 45)] };
    let state = (State, 9);
    let fixed: usize =
        figures.iter().map(|(_, width)| width + 1).sum::<usize>() + MARK + state.1 + texts.len();
    let room = width.saturating_sub(fixed);
    let mut left = room;
    let mut found = vec![state];
    for (index, (column, percent)) in texts.iter().enumerate() {
        let share = if index + 1 == texts.len() { left } else { room * percent / 100 };
        left -= share;
        found.push((*column, share));
    }
    found.extend(figures);
    found
}

impl TopColumn {
    /// Returns the title. `several` is true if the list has stacks of several repositories.
    pub(super) const fn title(self, several: bool) -> &'static str {
        match self {
            TopColumn::State => "STATE",
            TopColumn::Branch if several => "REPO BRANCH",
            TopColumn::Branch => "BRANCH",
            TopColumn::Summary => "PROBLEM OR URL",
            TopColumn::Url => "URL",
            TopColumn::Problem => "PROBLEM",
            TopColumn::Memory => " MEMORY",
            TopColumn::Cpu => "  CPU",
            TopColumn::Age => "    AGE",
            TopColumn::StartedBy => "BY",
        }
    }

    /// Returns what the column contains for `row`, in exactly `width` columns of the terminal.
    pub(super) fn cell(self, row: &TopRow, several: bool, width: usize) -> String {
        let stack = &row.stack;
        let right = |text: String| pad_str(&text, width, Alignment::Right, None).into_owned();
        let is_live = stack.processes > 0;
        let text = match self {
            TopColumn::Memory if is_live => return right(bytes(stack.memory_bytes)),
            TopColumn::Cpu if is_live => return right(format!("{:.0} %", row.cpu)),
            TopColumn::Memory | TopColumn::Cpu => return right("-".into()),
            TopColumn::Age => return right(stack.age_seconds.map_or_else(|| "-".into(), duration::rounded)),
            TopColumn::State => stack.state.word().into(),
            TopColumn::Branch if several => name(stack),
            TopColumn::Branch => branch(stack).into(),
            TopColumn::Summary => problem(stack).unwrap_or_else(|| url(row)),
            TopColumn::Url => url(row),
            TopColumn::Problem => problem(stack).unwrap_or_default(),
            TopColumn::StartedBy => stack.started_by.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        fit(&harmless(&text), width)
    }
}

/// Returns the URL without its scheme, or the ports.
fn url(row: &TopRow) -> String {
    match &row.stack.url {
        Some(url) => url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/').into(),
        None => row.stack.ports.values().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    }
}
