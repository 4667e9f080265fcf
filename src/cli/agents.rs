//! `devrun agents`: what a coding agent has to know, as one pastes it into AGENTS.md or CLAUDE.md.

use crate::error::{Exit, Report};
use crate::ui::console::Console;

pub(super) fn run(console: &Console) -> Result<Exit, Report> {
    super::printed(console.print(include_str!("../../docs/agents.md")))
}
