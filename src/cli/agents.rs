//! `devrun agents`: prints the manual for coding agents.

use crate::error::{Exit, Report};
use crate::ui::console::Console;

pub(super) fn run(console: &Console) -> Result<Exit, Report> {
    super::printed(console.print(include_str!("../../docs/agents.md")))
}
