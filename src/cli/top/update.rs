//! Decides what a key or an answer changes in `devrun top`. Pure.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use super::state::{TopAction, TopInput, TopKey, TopMessage, TopMode, TopRow, TopState, attention, name};
use crate::control::overview::Stack;

/// How many rows a page key moves.
const PAGE: usize = 10;

/// Returns the next state, and the action to take.
pub(super) fn update(mut state: TopState, input: TopInput) -> (TopState, TopAction) {
    let action = match input {
        TopInput::Stacks { stacks, since } => {
            refresh(&mut state, stacks, since);
            TopAction::None
        }
        TopInput::Done { text, failed } => {
            state.message = Some(TopMessage { text, failed });
            TopAction::None
        }
        TopInput::Key(key) => press(&mut state, key),
    };
    (state, action)
}

fn refresh(state: &mut TopState, stacks: Vec<Stack>, since: Option<Duration>) {
    let chosen = state.selected().map(|stack| stack.worktree.clone());
    let before: HashMap<&str, &Stack> =
        state.rows().iter().map(|row| (row.stack.worktree.as_str(), &row.stack)).collect();
    let mut rows: Vec<TopRow> = stacks
        .into_iter()
        .map(|stack| {
            let before = before.get(stack.worktree.as_str()).copied();
            TopRow { cpu: share(before, &stack, since), stack }
        })
        .collect();
    rows.sort_by(|one, other| order(&one.stack).cmp(&order(&other.stack)));
    let found = rows.iter().position(|row| Some(&row.stack.worktree) == chosen.as_ref());
    // If the selected stack is gone, the row below is selected.
    state.selected = found.unwrap_or_else(|| state.selected.min(rows.len().saturating_sub(1)));
    if let TopMode::ConfirmStop { worktree } = &state.mode
        && !rows.iter().any(|row| row.stack.worktree == *worktree)
    {
        state.mode = TopMode::List;
    }
    state.rows = Some(rows);
}

fn order(stack: &Stack) -> (u8, &str, Option<&str>, Reverse<&str>) {
    (attention(stack), &stack.repo, stack.branch.as_deref(), Reverse(&stack.worktree))
}

/// Returns the use of the processor between two answers, in percent of one core; without an earlier answer of the same run,
/// the average since its start.
fn share(before: Option<&Stack>, now: &Stack, since: Option<Duration>) -> f64 {
    match (before.filter(|before| before.pid == now.pid), since) {
        (Some(before), Some(since)) if !since.is_zero() => {
            // The time of a process that has ended no longer counts, so the sum may fall.
            ((now.cpu_seconds - before.cpu_seconds) / since.as_secs_f64() * 100.0).max(0.0)
        }
        _ => now.cpu_percent,
    }
}

fn press(state: &mut TopState, key: TopKey) -> TopAction {
    match (key, std::mem::take(&mut state.mode)) {
        (TopKey::Interrupt, _) => TopAction::Quit,
        (TopKey::Suspend, mode) => {
            state.mode = mode;
            TopAction::Suspend
        }
        (TopKey::Char('y' | 'Y'), TopMode::ConfirmStop { worktree }) => {
            let named = state.rows().iter().find(|row| row.stack.worktree == worktree);
            begin(state, "stopping", named.map(|row| name(&row.stack)));
            TopAction::Stop { worktree }
        }
        (_, TopMode::ConfirmStop { .. } | TopMode::Help) => TopAction::None,
        (key, TopMode::List) => press_in_list(state, key),
    }
}

fn press_in_list(state: &mut TopState, key: TopKey) -> TopAction {
    let last = state.rows().len().saturating_sub(1);
    state.message = None;
    match key {
        TopKey::Up | TopKey::Char('k') => state.selected = state.selected.saturating_sub(1),
        TopKey::Down | TopKey::Char('j') => state.selected = last.min(state.selected + 1),
        TopKey::PageUp => state.selected = state.selected.saturating_sub(PAGE),
        TopKey::PageDown => state.selected = last.min(state.selected + PAGE),
        TopKey::First | TopKey::Char('g') => state.selected = 0,
        TopKey::Last | TopKey::Char('G') => state.selected = last,
        TopKey::Char('?' | 'h') => state.mode = TopMode::Help,
        TopKey::Char('q') | TopKey::Escape => return TopAction::Quit,
        TopKey::Enter | TopKey::Char('o' | 'r' | 's' | 'l') => {
            if let Some(stack) = state.selected().cloned() {
                return act(state, key, stack);
            }
        }
        TopKey::Char(_) | TopKey::Interrupt | TopKey::Suspend => {}
    }
    TopAction::None
}

/// Decides what `key` does with the selected stack.
fn act(state: &mut TopState, key: TopKey, stack: Stack) -> TopAction {
    let name = name(&stack);
    let Stack { worktree, url, pid, .. } = stack;
    match (key, url) {
        (TopKey::Char('s'), _) => {
            state.mode = TopMode::ConfirmStop { worktree };
            TopAction::None
        }
        (TopKey::Char('l'), _) => TopAction::Logs { worktree },
        (TopKey::Char('r'), _) if pid.is_none() => refuse(state, format!("{name} does not run")),
        (TopKey::Char('r'), _) => {
            begin(state, "restarting", Some(name));
            TopAction::Restart { worktree }
        }
        (_, Some(url)) => TopAction::Open { url },
        (_, None) => refuse(state, format!("{name} has no URL")),
    }
}

fn begin(state: &mut TopState, doing: &str, name: Option<String>) {
    let text = format!("{doing} {} \u{2026}", name.unwrap_or_default());
    state.message = Some(TopMessage { text, failed: false });
}

fn refuse(state: &mut TopState, text: String) -> TopAction {
    state.message = Some(TopMessage { text, failed: true });
    TopAction::None
}
