//! Asks the user before a command makes changes.

use crate::error::{Code, Report};
use crate::ui::console::Console;

/// A question to the user.
pub(super) struct Confirmation<'a> {
    /// The question itself.
    pub(super) text: &'a str,
    /// The effect without the question: `x would be removed`.
    pub(super) outcome: &'a str,
    /// The missing effect after a no: `nothing was removed`.
    pub(super) refused: &'a str,
    /// The command that does it without asking.
    pub(super) command: &'a str,
}

/// Asks the user. Errors if the answer is no, or if the user cannot be asked, as always with `--json`.
pub(super) async fn confirm(
    console: &Console,
    question: Confirmation<'_>,
    as_json: bool,
) -> Result<(), Report> {
    let Confirmation { text, outcome, refused, command } = question;
    let not_confirmed = |message: String| {
        Report::new(Code::NotConfirmed, message).with_fix(format!("if you mean it: {command}"))
    };
    if as_json || !Console::can_ask() {
        return Err(not_confirmed(format!("{outcome}, and there is no terminal to ask on")));
    }
    let unreadable = |error| {
        Report::new(Code::State, format!("the answer cannot be read: {error}"))
            .with_fix(format!("if you mean it: {command}"))
    };
    if console.ask(text).await.map_err(unreadable)? { Ok(()) } else { Err(not_confirmed(refused.into())) }
}
