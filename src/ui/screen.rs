//! Shows notes, progress and failures on the terminal, between the lines of the processes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::bottom_line::BottomLine;
use super::shared_stream::SharedStream;
use super::style::{Style, harmless};
use super::{compact, error_text, summary};
use crate::error::Report;
use crate::event::{Event, ProcessState, Step, given_up};
use crate::text::in_folder;

/// The folder of the reader.
#[derive(Clone, Debug, Default)]
pub(super) struct ReaderFolder {
    /// The current folder of a coding agent, for which errors are short.
    pub(super) short_in: Option<String>,
    /// The folder that the commands of fixes name, because it is not the reader's.
    pub(super) elsewhere: Arc<OnceLock<PathBuf>>,
}

impl ReaderFolder {
    /// Returns `report` with a fix whose commands the reader can run.
    fn located(&self, report: &Report) -> Report {
        match self.elsewhere.get() {
            Some(folder) => {
                Report { fix: report.next_step().map(|fix| in_folder(&fix, folder)), ..report.clone() }
            }
            None => report.clone(),
        }
    }
}

/// Shows devrun's own events on standard error.
pub(super) struct Screen {
    err: Arc<SharedStream>,
    out_style: Style,
    err_style: Style,
    /// True if errors go to standard output as JSON.
    json: Arc<AtomicBool>,
    progress_display: ProgressDisplay,
    folder: ReaderFolder,
    bars: HashMap<Step, ProgressBar>,
    /// True if the run is stopping because of a failure.
    failing: bool,
}

/// The animated progress, which is hidden while other output is written.
#[derive(Clone)]
pub(super) struct ProgressDisplay {
    progress: MultiProgress,
    bottom: BottomLine,
    moving: Arc<AtomicBool>,
    /// True if standard output is a terminal too: then the progress must be hidden while it is written.
    shared: bool,
}

impl ProgressDisplay {
    /// Runs `write`, which writes to standard output, with the progress hidden if needed.
    pub(super) fn run_hidden<T>(&self, write: impl FnOnce() -> T) -> T {
        match (self.shared, self.moving.load(Ordering::Relaxed)) {
            (false, _) => write(),
            (true, true) => self.progress.suspend(write),
            (true, false) => self.bottom.above_in_bulk(write),
        }
    }

    fn suspend_during<T>(&self, write: impl FnOnce() -> T) -> T {
        if self.moving.load(Ordering::Relaxed) {
            self.progress.suspend(write)
        } else {
            self.bottom.above(write)
        }
    }
}

impl Screen {
    pub(super) fn new(
        err: Arc<SharedStream>,
        out_style: Style,
        err_style: Style,
        json: Arc<AtomicBool>,
        folder: ReaderFolder,
    ) -> Screen {
        let progress_display = ProgressDisplay {
            progress: MultiProgress::new(),
            bottom: BottomLine::new(err.clone(), err_style),
            moving: Arc::default(),
            shared: out_style.terminal,
        };
        let (bars, failing) = (HashMap::new(), false);
        Screen { err, out_style, err_style, json, progress_display, folder, bars, failing }
    }

    pub(super) fn progress_display(&self) -> ProgressDisplay {
        self.progress_display.clone()
    }

    /// Keeps the status line at the bottom from now on, if both streams are terminals and errors are not JSON.
    pub(super) fn keep_status(&self) {
        if self.out_style.terminal && self.err_style.terminal && !self.speaks_json() {
            self.progress_display.bottom.keep();
        }
    }

    /// Returns the status line.
    pub(super) fn bottom(&self) -> &BottomLine {
        &self.progress_display.bottom
    }

    fn speaks_json(&self) -> bool {
        self.json.load(Ordering::Relaxed)
    }

    /// Shows one event. Returns the part that belongs to standard output.
    pub(super) fn show(&mut self, event: &Event) -> Option<Vec<u8>> {
        let style = self.err_style;
        self.progress_display.bottom.note(event);
        match event {
            Event::Note(text) | Event::Fetched(text) => {
                self.say(&format!("{} {}", style.dim("note:"), harmless(text)));
            }
            Event::Warning(text) => {
                // The lines to write follow the sentence, indented as a whole.
                let mut lines = text.lines();
                let first = harmless(lines.next().unwrap_or_default());
                let rest = lines.map(|line| format!("\n    {}", harmless(line)));
                self.say(&format!("{} {first}{}", style.warn("warning:"), rest.collect::<String>()));
            }
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
                // The failure itself is shown once, at the end.
                let why = if *failure { " everything".into() } else { format!(": {}", harmless(why)) };
                self.say(&style.dim(&format!("stopping{why}")));
            }
            Event::StopWaiting { names, since } => {
                let text = format!(
                    "still waiting for {} to end ({:.0} s); Ctrl-C again kills now",
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
        let report = &self.folder.located(report);
        if self.speaks_json() {
            return Some(format!("{:#}\n", error_text::json(report)).into_bytes());
        }
        let text = match &self.folder.short_in {
            Some(folder) => {
                error_text::text(&compact::report(&compact::once(report), folder), self.err_style)
            }
            None => error_text::text(report, self.err_style),
        };
        self.say(text.trim_end());
        None
    }

    /// Writes a line to standard error. A closed stream is ignored, because it is no reason to stop.
    fn say(&self, line: &str) {
        let _ = self.progress_display.suspend_during(|| self.err.say(format!("{line}\n").as_bytes()));
    }

    fn step_started(&mut self, step: Step, doing: &str) {
        if !self.err_style.terminal {
            self.say(&format!("{}: {}", step.name(), harmless(doing)));
            return;
        }
        self.progress_display.bottom.hide(true);
        let bar = self.progress_display.progress.add(ProgressBar::new_spinner());
        // A template that does not parse leaves the default spinner.
        if let Ok(look) = ProgressStyle::with_template("{spinner} {prefix:9} {wide_msg}") {
            bar.set_style(look);
        }
        bar.set_prefix(step.name());
        bar.set_message(harmless(doing));
        bar.enable_steady_tick(Duration::from_millis(120));
        self.bars.insert(step, bar);
        self.progress_display.moving.store(true, Ordering::Relaxed);
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
                "{} {name} ended with {ended}; restart {attempt} in {:.1} s",
                style.warn("restart:"),
                delay.as_secs_f64()
            )),
            // The failure report at the end names the process that failed. The others ended because of it.
            ProcessState::Ended(_) | ProcessState::Skipped { .. } if self.failing => {}
            ProcessState::Ended(ending) => self.say(&style.dim(&format!("{name} ended with {ending}"))),
            ProcessState::Skipped { why } => {
                self.say(&format!("{} {name} is not started: {why}", style.warn("skipped:")));
            }
            ProcessState::GaveUp { ended, restarts, said } => self.say(&format!(
                "{} {name}: {}",
                style.bad("failed:"),
                harmless(&given_up(*ended, *restarts, said.as_deref()))
            )),
            ProcessState::Stopped(_) => self.say(&style.dim(&format!("{name} was stopped"))),
            ProcessState::Unready { why, .. } => {
                let why = why.lines().next().unwrap_or_default();
                self.say(&format!(
                    "{} {name} no longer answers: {}",
                    style.warn("not ready:"),
                    harmless(why)
                ));
            }
            ProcessState::Stuck { broken: Some(broken) } => {
                self.say(&format!("{} {name}: {}", style.warn("not ready:"), harmless(&broken.reason)));
            }
            ProcessState::Waiting { .. }
            | ProcessState::Started { .. }
            | ProcessState::Ready
            | ProcessState::Stuck { broken: None }
            | ProcessState::Stopping => {}
        }
    }

    fn clear(&mut self, step: Step) {
        if let Some(bar) = self.bars.remove(&step) {
            bar.finish_and_clear();
            self.progress_display.progress.remove(&bar);
        }
        self.progress_display.moving.store(!self.bars.is_empty(), Ordering::Relaxed);
        if self.bars.is_empty() {
            self.progress_display.bottom.hide(false);
        }
    }

    fn clear_all(&mut self) {
        for step in self.bars.keys().copied().collect::<Vec<_>>() {
            self.clear(step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn the_fix_for_a_reader_in_another_folder_names_the_folder_as_text_and_as_json() {
        let report = Report::new(Code::NotRunning, "nothing runs").with_fix("devrun up -d");
        let elsewhere = Arc::new(OnceLock::from(PathBuf::from("../my x")));
        let there = ReaderFolder { elsewhere, ..ReaderFolder::default() };
        let located = there.located(&report);
        assert_eq!(error_text::json(&located)["error"]["fix"], "devrun -C '../my x' up -d");
        assert!(error_text::text(&located, Style::PLAIN).ends_with("  fix: devrun -C '../my x' up -d\n"));
        let asks = there.located(&Report::new(Code::NotReady, "web is late").about("web"));
        assert_eq!(error_text::json(&asks)["error"]["fix"], "devrun -C '../my x' why web");
        assert_eq!(ReaderFolder::default().located(&report).fix.as_deref(), Some("devrun up -d"));
    }
}
