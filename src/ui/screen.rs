//! What stands on the terminal: notes, progress, failures, and the lines of the processes between them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::lines::Prefixes;
use super::style::{Style, harmless};
use super::{failure, summary};
use crate::error::Report;
use crate::event::{Event, ProcessState, Step};

/// A stream that somebody may have made non-blocking (it is shared with whoever started us): waits instead of failing.
pub(super) struct Patient(File);

impl Patient {
    fn retry(&mut self, mut write: impl FnMut(&mut File) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            match write(&mut self.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
                    poll(&mut fds, PollTimeout::NONE)?;
                }
                written => return written,
            }
        }
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.retry(|file| file.write(bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.retry(|file| file.write_vectored(slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Both streams, and the progress shown on one of them.
pub(super) struct Screen {
    pub(super) out: Patient,
    err: Patient,
    out_style: Style,
    err_style: Style,
    /// Errors go to standard output as JSON instead.
    pub(super) json: bool,
    progress: MultiProgress,
    bars: HashMap<Step, ProgressBar>,
    /// A line could not be written: nobody reads, and writing on would only fail again.
    out_closed: bool,
}

impl Screen {
    pub(super) fn new(out: File, out_style: Style, err: File, err_style: Style) -> Screen {
        let (out, err) = (Patient(out), Patient(err));
        let progress = MultiProgress::new();
        Screen {
            out,
            err,
            out_style,
            err_style,
            json: false,
            progress,
            bars: HashMap::new(),
            out_closed: false,
        }
    }

    /// Writes whole lines of a process.
    pub(super) fn lines(
        &mut self,
        prefixes: &Prefixes,
        process: usize,
        chunk: &[u8],
        continued: bool,
    ) -> io::Result<()> {
        let Screen { out, err, json, progress, bars, .. } = self;
        // Whoever asked for JSON reads nothing else from standard output.
        let out = if *json { err } else { out };
        let written = if bars.is_empty() {
            prefixes.write(out, process, chunk, continued)
        } else {
            progress.suspend(|| prefixes.write(out, process, chunk, continued))
        };
        self.out_closed |= written.is_err();
        written
    }

    /// Shows one event.
    pub(super) fn show(&mut self, event: &Event) {
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
                if self.json {
                    self.say(text.trim_end());
                } else if !self.out_closed {
                    self.out_closed = self.out.write_all(text.as_bytes()).is_err();
                }
            }
            Event::Stopping { why } => {
                self.clear_all();
                self.say(&style.dim(&format!("stopping: {}", harmless(why))));
            }
            Event::StopWaiting { names, since } => {
                let text = format!(
                    "waiting for {} to end since {:.0} s; Ctrl-C again kills now",
                    names.join(", "),
                    since.as_secs_f64()
                );
                self.say(&style.dim(&text));
            }
            Event::Failed(report) => self.failed(report),
        }
    }

    fn failed(&mut self, report: &Report) {
        self.clear_all();
        if self.json {
            let _ = writeln!(self.out, "{:#}", failure::json(report));
        } else {
            let text = failure::text(report, self.err_style);
            self.say(text.trim_end());
        }
    }

    /// Writes a line to standard error; that nobody reads it is no reason to stop.
    fn say(&mut self, line: &str) {
        let err = &mut self.err;
        let mut write = || {
            let _ = writeln!(err, "{line}");
        };
        if self.bars.is_empty() { write() } else { self.progress.suspend(write) }
    }

    fn step_started(&mut self, step: Step, doing: &str) {
        if !self.err_style.terminal {
            self.say(&format!("{}: {}", step.name(), harmless(doing)));
            return;
        }
        let bar = self.progress.add(ProgressBar::new_spinner());
        // A template that does not parse leaves the default spinner.
        if let Ok(look) = ProgressStyle::with_template("{spinner} {prefix:9} {wide_msg}") {
            bar.set_style(look);
        }
        bar.set_prefix(step.name());
        bar.set_message(harmless(doing));
        bar.enable_steady_tick(Duration::from_millis(120));
        self.bars.insert(step, bar);
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
            ProcessState::Waiting { .. }
            | ProcessState::Started { .. }
            | ProcessState::Ready
            | ProcessState::Stopping => {}
        }
    }

    fn clear(&mut self, step: Step) {
        if let Some(bar) = self.bars.remove(&step) {
            bar.finish_and_clear();
            self.progress.remove(&bar);
        }
    }

    fn clear_all(&mut self) {
        for step in self.bars.keys().copied().collect::<Vec<_>>() {
            self.clear(step);
        }
    }
}
