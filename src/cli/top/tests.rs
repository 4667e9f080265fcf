//! Pictures of `devrun top`, and properties of its updates.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::render::render;
use super::state::{TopAction, TopInput, TopKey, TopMode, TopState, attention};
use super::update::update;
use crate::control::overview::{Stack, StackState};
use crate::control::started_by::{StartedBy, StarterKind};
use crate::control::status::State;

fn stack(branch: &str, state: StackState) -> Stack {
    let is_live = matches!(state, StackState::Answered(_));
    Stack {
        repo: "shop".into(),
        worktree: format!("/w/{branch}"),
        branch: Some(branch.into()),
        state,
        started_by: Some(StartedBy { kind: StarterKind::Agent, agent: Some("claude-code".into()) }),
        ports: BTreeMap::from([("web".into(), 3147)]),
        url: is_live.then(|| "http://localhost:3147/".into()),
        problem: None,
        pid: is_live.then_some(7),
        age_seconds: is_live.then_some(7300),
        processes: if is_live { 5 } else { 0 },
        memory_bytes: if is_live { 612_345_678 } else { 0 },
        cpu_seconds: 10.0,
        cpu_percent: 3.4,
    }
}

fn with_problem(stack: Stack, problem: &str) -> Stack {
    Stack { problem: Some(problem.into()), ..stack }
}

const READY: StackState = StackState::Answered(State::Ready);
const DEGRADED: StackState = StackState::Answered(State::Degraded);
const STARTING: StackState = StackState::Answered(State::Starting);

fn three() -> Vec<Stack> {
    vec![
        stack("main", READY),
        with_problem(stack("fix/signup", DEGRADED), "api: ModuleNotFoundError: No module named 'shop'"),
        stack("old", StackState::Stale),
    ]
}

fn after(inputs: impl IntoIterator<Item = TopInput>) -> TopState {
    inputs.into_iter().fold(TopState::default(), |state, input| update(state, input).0)
}

fn stacks(stacks: Vec<Stack>) -> TopInput {
    TopInput::Stacks { stacks, since: None }
}

fn picture(state: &TopState, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| render(state, false, frame.area(), frame.buffer_mut())).unwrap();
    let text = terminal.backend().to_string();
    // The second half of a wide character is listed behind the line.
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.split("\" Hidden by").next().unwrap_or(line).trim_matches('"').trim_end())
        .collect();
    lines.join("\n")
}

#[test]
fn a_usual_terminal_shows_the_stacks_with_the_worst_first() {
    insta::assert_snapshot!(picture(&after([stacks(three())]), 80, 24));
}

#[test]
fn a_narrow_terminal_keeps_state_branch_and_problem() {
    insta::assert_snapshot!(picture(&after([stacks(three())]), 40, 16));
}

#[test]
fn a_wide_terminal_shows_url_and_problem_side_by_side() {
    insta::assert_snapshot!(picture(&after([stacks(three())]), 140, 16));
}

#[test]
fn no_stack_and_no_answer_are_said_in_a_line() {
    insta::assert_snapshot!(picture(&TopState::default(), 40, 4));
    insta::assert_snapshot!(picture(&after([stacks(Vec::new())]), 80, 4));
}

#[test]
fn thirty_stacks_scroll_with_the_selection() {
    let all = (0..30).map(|number| stack(&format!("b{number:02}"), READY)).collect();
    let state = after([stacks(all), TopInput::Key(TopKey::Last)]);
    insta::assert_snapshot!(picture(&state, 80, 24));
}

#[test]
fn long_and_wide_names_never_move_the_columns() {
    let long = stack(&"feature/a-very-long-name".repeat(5), READY);
    let wide = Stack {
        repo: "\u{5e97}\u{8217}".into(),
        ..stack("\u{4fee}\u{6b63}/\u{767b}\u{9332}\u{30d5}\u{30a9}\u{30fc}\u{30e0}", READY)
    };
    let hostile = with_problem(stack("a\u{1b}[2Jb", DEGRADED), "web: \u{1b}]0;x\u{7}\u{202e}gone");
    let state = after([stacks(vec![long, wide, hostile])]);
    insta::assert_snapshot!(picture(&state, 80, 24));
}

#[test]
fn help_and_question_are_shown() {
    let key = |c| TopInput::Key(TopKey::Char(c));
    insta::assert_snapshot!(picture(&after([stacks(three()), key('?')]), 80, 24));
    insta::assert_snapshot!(picture(&after([stacks(three()), key('s')]), 60, 6));
}

#[test]
fn colour_changes_no_character() {
    let state = after([stacks(three())]);
    let cells = |colour: bool| {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| render(&state, colour, frame.area(), frame.buffer_mut())).unwrap();
        terminal.backend().buffer().clone()
    };
    let (with, without) = (cells(true), cells(false));
    let symbols = |buffer: &ratatui::buffer::Buffer| {
        buffer.content().iter().map(|cell| cell.symbol().to_string()).collect::<String>()
    };
    assert_eq!(symbols(&with), symbols(&without));
    assert_ne!(with, without);
    let is_plain = |cell: &ratatui::buffer::Cell| cell.fg == ratatui::style::Color::Reset;
    assert!(without.content().iter().all(is_plain), "a colour without permission");
}

#[test]
fn stop_needs_a_yes() {
    let key = |c| TopInput::Key(TopKey::Char(c));
    let asked = after([stacks(three()), key('s')]);
    assert_eq!(asked.mode, TopMode::ConfirmStop { worktree: "/w/old".into() });
    assert_eq!(update(asked.clone(), key('s')).1, TopAction::None);
    assert_eq!(update(asked.clone(), TopInput::Key(TopKey::Enter)).1, TopAction::None);
    assert_eq!(update(asked.clone(), key('y')).1, TopAction::Stop { worktree: "/w/old".into() });
    // The question ends with its stack, so that the answer cannot mean another stack.
    let gone = update(asked, stacks(vec![stack("main", READY)])).0;
    assert_eq!((gone.mode.clone(), update(gone, key('y')).1), (TopMode::List, TopAction::None));
}

#[test]
fn keys_act_on_the_selected_stack() {
    let state = after([stacks(three()), TopInput::Key(TopKey::Down)]);
    let act = |key| update(state.clone(), TopInput::Key(key)).1;
    let worktree = || "/w/fix/signup".to_string();
    assert_eq!(act(TopKey::Enter), TopAction::Open { url: "http://localhost:3147/".into() });
    assert_eq!(act(TopKey::Char('r')), TopAction::Restart { worktree: worktree() });
    assert_eq!(act(TopKey::Char('l')), TopAction::Logs { worktree: worktree() });
    // A killed stack has neither a URL nor processes.
    let killed = after([stacks(three())]);
    for key in ['o', 'r'] {
        let (next, action) = update(killed.clone(), TopInput::Key(TopKey::Char(key)));
        assert!(action == TopAction::None && next.message.is_some_and(|message| message.failed), "{key}");
    }
    assert_eq!(update(TopState::default(), TopInput::Key(TopKey::Enter)).1, TopAction::None);
}

#[test]
fn processor_use_is_that_of_the_last_refresh() {
    let at = |cpu_seconds| vec![Stack { cpu_seconds, ..stack("main", READY) }];
    let later = |stacks| TopInput::Stacks { stacks, since: Some(Duration::from_secs(2)) };
    let cpu = |inputs: Vec<TopInput>| after(inputs).rows()[0].cpu;
    assert!((cpu(vec![stacks(at(10.0))]) - 3.4).abs() < 1e-9);
    assert!((cpu(vec![stacks(at(10.0)), later(at(11.0))]) - 50.0).abs() < 1e-9);
    assert!(cpu(vec![stacks(at(10.0)), later(at(4.0))]).abs() < 1e-9);
    let other_run = vec![Stack { pid: Some(8), ..stack("main", READY) }];
    assert!((cpu(vec![stacks(at(10.0)), later(other_run)]) - 3.4).abs() < 1e-9);
}

fn inputs() -> impl Strategy<Value = Vec<TopInput>> {
    let states = prop_oneof![Just(READY), Just(DEGRADED), Just(STARTING), Just(StackState::Silent)];
    let one = (0_u8..12, states).prop_map(|(number, state)| stack(&format!("b{number}"), state));
    let some = prop::collection::vec(one, 0..12).prop_map(|mut stacks| {
        stacks.sort_by(|one, other| one.worktree.cmp(&other.worktree));
        stacks.dedup_by(|one, other| one.worktree == other.worktree);
        TopInput::Stacks { stacks, since: None }
    });
    let key = prop_oneof![
        Just(TopKey::Up),
        Just(TopKey::Down),
        Just(TopKey::PageUp),
        Just(TopKey::PageDown),
        Just(TopKey::First),
        Just(TopKey::Last),
        prop::sample::select(vec!['s', 'y', '?', 'r', 'o', 'x']).prop_map(TopKey::Char),
    ];
    prop::collection::vec(prop_oneof![some, key.prop_map(TopInput::Key)], 0..40)
}

proptest! {
    #[test]
    fn the_selection_is_always_a_row_and_follows_its_stack(inputs in inputs(), width in 1_u16..150, height in 1_u16..40) {
        let mut state = TopState::default();
        for input in inputs {
            let before = state.selected().map(|stack| stack.worktree.clone());
            let is_answer = matches!(input, TopInput::Stacks { .. });
            state = update(state, input).0;
            let rows = state.rows();
            prop_assert!(state.selected < rows.len() || (rows.is_empty() && state.selected == 0));
            let kept = before.filter(|before| rows.iter().any(|row| row.stack.worktree == *before));
            if let (true, Some(kept)) = (is_answer, kept) {
                prop_assert_eq!(&state.selected().unwrap().worktree, &kept);
            }
            prop_assert!(rows.is_sorted_by_key(|row| attention(&row.stack)));
            if let TopMode::ConfirmStop { worktree } = &state.mode {
                prop_assert!(rows.iter().any(|row| row.stack.worktree == *worktree));
            }
        }
        // Every size can be drawn.
        picture(&state, width, height);
    }
}
