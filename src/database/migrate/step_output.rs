//! Shows the output of the command of the migration step line by line, and keeps its end for an error.

use std::collections::VecDeque;

use crate::event::{Event, Events, Step};
use crate::text::{Mask, traceback};

/// How many lines of a failed command's output are shown.
const TAIL_LINES: usize = 200;

pub(super) struct StepOutput<'a> {
    events: &'a Events,
    mask: &'a Mask,
    tail: VecDeque<String>,
}

impl<'a> StepOutput<'a> {
    pub(super) fn new(events: &'a Events, mask: &'a Mask) -> StepOutput<'a> {
        StepOutput { events, mask, tail: VecDeque::new() }
    }

    /// Shows `line` without its secrets.
    pub(super) fn show(&mut self, line: &str) {
        let detail = self.mask.apply(line);
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(detail.clone());
        self.events.send(Event::StepProgress { step: Step::Migrate, detail });
    }

    /// Returns the last lines, without the library frames of tracebacks.
    pub(super) fn condensed(self) -> String {
        traceback::condense(&Vec::from(self.tail).join("\n"))
    }
}
