//! The state of `devrun top`, its inputs and its actions, and the name, the problem and the rank of a stack. Pure.

use std::time::Duration;

use crate::control::overview::{Stack, StackState};
use crate::control::status::State;

/// The state of the view, from which it is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TopState {
    /// The stacks, sorted by what needs attention; `None` until they have been read.
    pub(super) rows: Option<Vec<TopRow>>,
    /// The index of the selected row. Always that of a row, or 0 without rows.
    pub(super) selected: usize,
    pub(super) mode: TopMode,
    /// The result of the last action.
    pub(super) message: Option<TopMessage>,
}

/// One stack in the list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TopRow {
    pub(super) stack: Stack,
    /// Use of the processor since the last refresh, in percent of one core.
    pub(super) cpu: f64,
}

/// The meaning of keys at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum TopMode {
    /// The keys act on the list.
    #[default]
    List,
    /// The help is shown. Every key closes it.
    Help,
    /// The user is asked whether to stop the stack of this worktree. `y` means yes, every other key no.
    ConfirmStop { worktree: String },
}

/// The result of an action, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopMessage {
    pub(super) text: String,
    pub(super) failed: bool,
}

/// A key that the view uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopKey {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Enter,
    Escape,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Suspend,
    Char(char),
}

/// A value that the view receives.
#[derive(Clone, Debug)]
pub(super) enum TopInput {
    Key(TopKey),
    /// The stacks as they are now, and the time since they were read before.
    Stacks {
        stacks: Vec<Stack>,
        since: Option<Duration>,
    },
    /// An action has ended.
    Done {
        text: String,
        failed: bool,
    },
}

/// An action outside of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TopAction {
    None,
    Quit,
    Suspend,
    Open { url: String },
    Restart { worktree: String },
    Stop { worktree: String },
    Logs { worktree: String },
}

impl TopState {
    /// Returns the rows; none before they have been read.
    pub(super) fn rows(&self) -> &[TopRow] {
        self.rows.as_deref().unwrap_or_default()
    }

    /// Returns the stack of the selected row.
    pub(super) fn selected(&self) -> Option<&Stack> {
        self.rows().get(self.selected).map(|row| &row.stack)
    }
}

/// Returns the problem of a stack, with the key that helps.
pub(super) fn problem(stack: &Stack) -> Option<String> {
    match stack.state {
        StackState::Stale => Some("it was killed and left processes or files behind; s removes them".into()),
        StackState::Silent => {
            let pid = stack.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            Some(format!("its devrun{pid} does not answer; s ends it"))
        }
        StackState::Answered(_) => stack.problem.clone(),
    }
}

/// Returns how much attention a stack needs; 0 is the most. From 4 on it needs none.
pub(super) fn attention(stack: &Stack) -> u8 {
    match stack.state {
        StackState::Silent => 0,
        StackState::Stale => 1,
        StackState::Answered(State::Failed) => 2,
        StackState::Answered(State::Degraded) => 3,
        StackState::Answered(_) if stack.problem.is_some() => 3,
        StackState::Answered(State::Preparing | State::Starting) => 4,
        StackState::Answered(State::Stopping) => 5,
        StackState::Answered(State::Ready) => 6,
        StackState::Answered(State::Stopped) => 7,
    }
}

/// Returns the name of a stack for messages: its repository and its branch, or its folder where HEAD is detached.
pub(super) fn name(stack: &Stack) -> String {
    format!("{} {}", stack.repo, branch(stack))
}

/// Returns the branch of a stack, or its folder where HEAD is detached.
pub(super) fn branch(stack: &Stack) -> &str {
    let folder = stack.worktree.rsplit('/').next().unwrap_or_default();
    stack.branch.as_deref().unwrap_or(folder)
}
