//! Draws `devrun top` into a buffer. Pure: the same state, size and colours give the same picture.
//!
//! A word or a mark shows everything that a colour shows.

mod columns;

use console::{Alignment, measure_text_width, pad_str, truncate_str};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use self::columns::columns;
use super::state::{TopMode, TopRow, TopState, attention, name, problem};
use crate::control::overview::{Stack, StackState};
use crate::control::status::State;
use crate::text::duration;
use crate::ui::style::harmless;

/// From this height on, the selected stack is described below the list.
const ROOM_FOR_DETAILS: u16 = 14;
const HELP: [&str; 13] = [
    "Up, Down, k, j   select a stack",
    "PgUp, PgDn       move by ten rows",
    "Home, End, g, G  first, last stack",
    "Enter, o         open its URL",
    "l                follow its logs; Ctrl-C returns",
    "r                restart its processes",
    "s                stop it, after a question",
    "?, h             this help",
    "q, Esc, Ctrl-C   leave; all stacks keep running",
    "",
    "CPU is that of the last second, 100 % is one core.",
    "Memory counts shared pages once per process.",
    "Any key closes this help.",
];

/// Draws `state` into `area`.
pub(super) fn render(state: &TopState, colour: bool, area: Rect, buffer: &mut Buffer) {
    let palette = Palette { colour };
    let height = usize::from(area.height);
    let lines = lines(state, palette, usize::from(area.width), height);
    for (y, line) in (area.y..area.bottom()).zip(lines.iter().take(height)) {
        buffer.set_line(area.x, y, line, area.width);
    }
}

#[derive(Clone, Copy)]
struct Palette {
    colour: bool,
}

impl Palette {
    fn of(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    fn state(self, stack: &Stack) -> Style {
        match stack.state {
            StackState::Answered(State::Ready) if stack.problem.is_none() => self.of(Color::Green),
            _ if attention(stack) < 4 => self.of(Color::Red).add_modifier(Modifier::BOLD),
            _ => self.of(Color::Yellow),
        }
    }
}

/// Returns exactly `height` lines.
fn lines(state: &TopState, palette: Palette, width: usize, height: usize) -> Vec<Line<'static>> {
    let mut lines = vec![title(state, width)];
    let details = match state.selected() {
        Some(stack) if height >= usize::from(ROOM_FOR_DETAILS) => details(stack, palette, width),
        _ => Vec::new(),
    };
    // The title, the names of the columns and the last line.
    let room = height.saturating_sub(3 + details.len());
    match &state.rows {
        _ if state.mode == TopMode::Help => lines.extend(HELP.map(|line| Line::raw(fit(line, width)))),
        None => lines.push(Line::raw("reading the stacks \u{2026}")),
        Some(rows) if rows.is_empty() => {
            lines.push(Line::raw(fit("No stack runs. `devrun up -d` starts one.", width)));
        }
        Some(rows) => lines.extend(list(state, rows, palette, width, room)),
    }
    lines.truncate(height.saturating_sub(1 + details.len()));
    lines.resize(height.saturating_sub(1 + details.len()), Line::default());
    lines.extend(details);
    lines.push(footer(state, palette, width));
    lines
}

fn title(state: &TopState, width: usize) -> Line<'static> {
    let rows = state.rows();
    let alarming = rows.iter().filter(|row| attention(&row.stack) < 4).count();
    let count = match (rows.len(), alarming) {
        (0, _) => String::new(),
        (count, 0) => format!("{count} {}", stacks(count)),
        (count, 1) => format!("{count} {}, 1 needs attention", stacks(count)),
        (count, more) => format!("{count} {}, {more} need attention", stacks(count)),
    };
    let memory: u64 = rows.iter().map(|row| row.stack.memory_bytes).sum();
    let cpu: f64 = rows.iter().map(|row| row.cpu).sum();
    let sum = if rows.is_empty() { String::new() } else { format!("{}  {cpu:.0} %", bytes(memory)) };
    let left = format!("devrun top  {count}");
    let gap = width.saturating_sub(measure_text_width(&left) + measure_text_width(&sum));
    let text = if gap == 0 { left } else { format!("{left}{}{sum}", " ".repeat(gap)) };
    Line::styled(fit(&text, width), Style::new().add_modifier(Modifier::BOLD))
}

const fn stacks(count: usize) -> &'static str {
    if count == 1 { "stack" } else { "stacks" }
}

fn list(
    state: &TopState,
    rows: &[TopRow],
    palette: Palette,
    width: usize,
    room: usize,
) -> Vec<Line<'static>> {
    let columns = columns(width);
    let several = rows.iter().any(|row| row.stack.repo != rows[0].stack.repo);
    let join = |cells: Vec<String>| cells.join(" ");
    let titles = columns.iter().map(|(column, width)| fit(column.title(several), *width)).collect();
    let dim = Style::new().add_modifier(Modifier::DIM);
    let mut lines = vec![Line::styled(format!("  {}", join(titles)), dim)];
    // The selected row stays near the middle.
    let first = state.selected.saturating_sub(room / 2).min(rows.len().saturating_sub(room));
    for (index, row) in rows.iter().enumerate().skip(first).take(room) {
        let is_selected = index == state.selected;
        let mut cells = columns.iter().map(|(column, width)| column.cell(row, several, *width));
        let mark = if is_selected { "> " } else { "  " };
        let word = cells.next().unwrap_or_default();
        let rest = cells.fold(String::new(), |text, cell| text + " " + &cell);
        let rest = fit(&rest, width.saturating_sub(2 + measure_text_width(&word)));
        let line =
            Line::from(vec![Span::raw(mark), Span::styled(word, palette.state(&row.stack)), Span::raw(rest)]);
        let emphasis = if is_selected { Modifier::REVERSED } else { Modifier::empty() };
        lines.push(line.patch_style(Style::new().add_modifier(emphasis)));
    }
    lines
}

/// Describes the selected stack.
fn details(stack: &Stack, palette: Palette, width: usize) -> Vec<Line<'static>> {
    let by = stack.started_by.as_ref().map(|by| format!(", started by {by}")).unwrap_or_default();
    let age =
        stack.age_seconds.map(|seconds| format!(" {} ago", duration::rounded(seconds))).unwrap_or_default();
    let rule = Line::styled("\u{2500}".repeat(width), Style::new().add_modifier(Modifier::DIM));
    let line = |text: &str| Line::raw(fit(&harmless(text), width));
    let trouble = problem(stack).unwrap_or_default();
    vec![
        rule,
        line(&format!("{}{by}{age}", name(stack))),
        line(&stack.worktree),
        line(stack.url.as_deref().unwrap_or("no URL")),
        line(&trouble).style(palette.of(Color::Red)),
    ]
}

fn footer(state: &TopState, palette: Palette, width: usize) -> Line<'static> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    if let TopMode::ConfirmStop { worktree } = &state.mode {
        let stack = state.rows().iter().find(|row| row.stack.worktree == *worktree);
        let name = stack.map(|row| harmless(&name(&row.stack))).unwrap_or_default();
        let (question, keys) = (format!("Stop {name}"), "? y: yes, any other key: no");
        let room = width.saturating_sub(keys.len());
        return Line::styled(format!("{}{keys}", truncate_str(&question, room, "\u{2026}")), bold);
    }
    if let Some(message) = &state.message {
        let style = if message.failed { palette.of(Color::Red).patch(bold) } else { bold };
        let mark = if message.failed { "error: " } else { "" };
        return Line::styled(fit(&format!("{mark}{}", harmless(&message.text)), width), style);
    }
    let keys = match width {
        0..60 => "o open r restart s stop l logs ? help",
        _ => "o open   r restart   s stop   l logs   ? help   q quit",
    };
    Line::styled(fit(keys, width), Style::new().add_modifier(Modifier::DIM))
}

/// Returns `text` in exactly `width` columns.
fn fit(text: &str, width: usize) -> String {
    if width == 0 {
        return String::new();
    }
    let short = truncate_str(text, width, "\u{2026}");
    pad_str(&short, width, Alignment::Left, None).into_owned()
}

/// Formats a number of bytes in at most seven characters.
fn bytes(count: u64) -> String {
    match count.div_ceil(1_000_000) {
        mega @ 0..10_000 => format!("{mega} MB"),
        mega => format!("{} GB", mega / 1000),
    }
}
