//! What stands on the terminal: notes, progress, failures, and the lines of the processes between them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::outlet::Outlet;
use super::style::{Style, harmless};
use super::{failure, summary};
use crate::error::Report;
use crate::event::{Event, ProcessState, Step};

/// What is shown of devrun's own doings on standard error.
pub(super) struct Screen {
    err: Arc<Outlet>,
    out_style: Style,
    err_style: Style,
    /// Errors go to standard output as JSON instead.
    json: Arc<AtomicBool>,
    curtain: Curtain,
    bars: HashMap<Step, ProgressBar>,
    /// The run is being taken down because of a failure.
    failing: bool,
}

/// The progress that moves on the terminal, and how others get to write there.
#[derive(Clone)]
pub(super) struct Curtain {
    progress: MultiProgress,
    moving: Arc<AtomicBool>,
    /// Standard output is a terminal: what is written there must not meet the progress.
    shared: bool,
}

impl Curtain {
    /// Lets `write` write to standard output.
    pub(super) fn lift<T>(&self, write: impl FnOnce() -> T) -> T {
        if self.shared { self.aside(write) } else { write() }
    }

    fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        if self.moving.load(Ordering::Relaxed) { self.progress.suspend(write) } else { write() }
    }
}

impl Screen {
    pub(super) fn new(err: Arc<Outlet>, out_style: Style, err_style: Style, json: Arc<AtomicBool>) -> Screen {
        let curtain =
            Curtain { progress: MultiProgress::new(), moving: Arc::default(), shared: out_style.terminal };
        Screen { err, out_style, err_style, json, curtain, bars: HashMap::new(), failing: false }
    }

    pub(super) fn curtain(&self) -> Curtain {
        self.curtain.clone()
    }

    fn speaks_json(&self) -> bool {
        self.json.load(Ordering::Relaxed)
    }

    /// Shows one event; returns what of it belongs to standard output.
    pub(super) fn show(&mut self, event: &Event) -> Option<Vec<u8>> {
        let style = self.err_style;
        match event {
            Event::Note(text) => self.say(&format!("{} {}", style.dim("note:"), harmless(text))),
            Event::Warning(text) => self.say(&format!("{} {}", style.warn("warning:"), harmless(text))),
            Event::StepStarted { step, doing } => self.step_started(*step, doing),
            Event::StepProgress { step, detail } => {
                if let Some(bar) = self.bars.get(step) {
                    bar.set_message(harmless(detail));
                }
            }
            Event::StepDone { step, outcome, worked, took } => self.step_done(*step, outcome, *worked, *took),
            Event::StepFailed { step } => self.clear(*step),
            Event::Process { name, state } => self.process(name, state),
            Event::NotYet { .. } => {}
            Event::Ready { plan, migrated, took } => {
                let text = summary::text(plan, migrated.as_deref(), *took, self.out_style);
                if !self.speaks_json() {
                    return Some(text.into_bytes());
                }
                self.say(text.trim_end());
            }
            Event::Stopping { why, failure } => {
                self.clear_all();
                self.failing |= *failure;
                // A failure is told once, at the end.
                let why = if *failure { " everything".into() } else { format!(": {}", harmless(why)) };
                self.say(&style.dim(&format!("stopping{why}")));
            }
            Event::StopWaiting { names, since } => {
                let text = format!(
                    "waiting for {} to end since {:.0} s; Ctrl-C again kills now",
                    names.join(", "),
                    since.as_secs_f64()
                );
                self.say(&style.dim(&text));
            }
            Event::Failed(report) => return self.failed(report),
        }
        None
    }

    fn failed(&mut self, report: &Report) -> Option<Vec<u8>> {
        self.clear_all();
        if self.speaks_json() {
            return Some(format!("{:#}\n", failure::json(report)).into_bytes());
        }
        let text = failure::text(report, self.err_style);
        self.say(text.trim_end());
        None
    }

    /// Writes a line to standard error; that nobody reads it is no reason to stop.
    fn say(&self, line: &str) {
        let _ = self.curtain.aside(|| self.err.say(format!("{line}\n").as_bytes()));
    }

    fn step_started(&mut self, step: Step, doing: &str) {
        if !self.err_style.terminal {
            self.say(&format!("{}: {}", step.name(), harmless(doing)));
            return;
        }
        let bar = self.curtain.progress.add(ProgressBar::new_spinner());
        // A template that does not parse leaves the default spinner.
        if let Ok(look) = ProgressStyle::with_template("{spinner} {prefix:9} {wide_msg}") {
            bar.set_style(look);
        }
        bar.set_prefix(step.name());
        bar.set_message(harmless(doing));
        bar.enable_steady_tick(Duration::from_millis(120));
        self.bars.insert(step, bar);
        self.curtain.moving.store(true, Ordering::Relaxed);
    }

    fn step_done(&mut self, step: Step, outcome: &str, worked: bool, took: Duration) {
        self.clear(step);
        if worked {
            let style = self.err_style;
            let mark = style.good("\u{2713}");
            let seconds = style.dim(&format!("{:.1} s", took.as_secs_f64()));
            let name = format!("{:9}", step.name());
            self.say(&format!("{mark} {} {} {seconds}", style.bold(&name), harmless(outcome)));
        }
    }

    fn process(&mut self, name: &str, state: &ProcessState) {
        let style = self.err_style;
        match state {
            ProcessState::Restarting { ended, delay, attempt } => self.say(&format!(
                "{} {name} ended with {ended}; start {attempt} again in {:.1} s",
                style.warn("restart:"),
                delay.as_secs_f64()
            )),
            // The one whose end is told at the end, and those that had to end because of it.
            ProcessState::Ended(_) | ProcessState::Skipped { .. } if self.failing => {}
            ProcessState::Ended(ending) => self.say(&style.dim(&format!("{name} ended with {ending}"))),
            ProcessState::Skipped { why } => {
                self.say(&format!("{} {name} is not started: {why}", style.warn("skipped:")));
            }
            ProcessState::Stopped(_) => self.say(&style.dim(&format!("{name} was stopped"))),
            ProcessState::Unready { why } => {
                let why = why.lines().next().unwrap_or_default();
                self.say(&format!(
                    "{} {name} no longer answers: {}",
                    style.warn("not ready:"),
                    harmless(why)
                ));
            }
            ProcessState::Stuck { said: Some(said) } => self.say(&format!(
                "{} {name} is silent since it said: {}",
                style.warn("not ready:"),
                harmless(said)
            )),
            ProcessState::Waiting { .. }
            | ProcessState::Started { .. }
            | ProcessState::Ready
            | ProcessState::Stuck { said: None }
            | ProcessState::Stopping => {}
        }
    }

    fn clear(&mut self, step: Step) {
        if let Some(bar) = self.bars.remove(&step) {
            bar.finish_and_clear();
            self.curtain.progress.remove(&bar);
        }
        self.curtain.moving.store(!self.bars.is_empty(), Ordering::Relaxed);
    }

    fn clear_all(&mut self) {
        for step in self.bars.keys().copied().collect::<Vec<_>>() {
            self.clear(step);
        }
    }
}
