//! Inspects output lines on their way to the sink: keeps the last output of each process, and notices lines that match
//! its readiness pattern or look like an error. Explains from that output why a process failed or is not ready.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memchr::memmem::Finder;
use regex::bytes::Regex;
use tokio::sync::mpsc::UnboundedSender;

use super::FindRefused;
use crate::context::code_error::{Advice, CodeError, NextStart};
use crate::context::dependency_lists::{MissingModule, PackageState, ProgramPackages};
use crate::context::missing_settings::{self, MissingSetting, ProgramPlace};
use crate::context::refused_database::RefusedDatabase;
use crate::context::{code_place, missing_program};
use crate::error::{Code, Fault, RERUN, RESTART_STACK, Report};
use crate::event::Broken;
use crate::os::clock;
use crate::plan::{Need, Plan, PlannedService, Process};
use crate::supervisor::output::{Backpressure, Sink};
use crate::supervisor::state_machine::Input;
use crate::text::busy_port::BusyPort;
use crate::text::diagnosis::{self, Diagnosis};
use crate::text::reload;

/// How much output is kept of each process, in bytes.
const REMEMBERED: usize = 4 << 10;

/// A sink that inspects lines before it passes them to another sink.
pub(super) struct LineInspector {
    sink: Box<dyn Sink>,
    tails: Tails,
    inputs: UnboundedSender<Input>,
}

/// The last output of every process. Shared with the loop of the run.
#[derive(Clone)]
pub(super) struct Tails {
    shared: Arc<InspectorState>,
}

struct InspectorState {
    processes: Vec<Mutex<Tail>>,
    /// True once a pattern was set, so that runs without a `log` probe skip the check.
    expecting: AtomicBool,
    alarms: Alarms,
    plan: Arc<Plan>,
    refused: FindRefused,
    /// The start of the run, in seconds since 1970.
    started: u64,
}

#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    /// The number of bytes written in all, and its value at the start of the current child.
    written: u64,
    begun: u64,
    pattern: Option<Regex>,
    /// True from the time at which the process becomes ready until its child ends. Its output is then searched for
    /// [`ALARMS`].
    watched: bool,
}

/// Texts that servers write when their code has changed or is broken: Python, uvicorn's reloader, Node and Next.js.
const ALARMS: [&str; 5] =
    ["Traceback (most recent call last)", "Reloading...", "SyntaxError", "Failed to compile", "\u{2a2f} "];

struct Alarms {
    finders: [Finder<'static>; ALARMS.len()],
}

impl Alarms {
    fn sound(&self, chunk: &[u8]) -> bool {
        self.finders.iter().any(|finder| finder.find(chunk).is_some())
    }
}

impl LineInspector {
    pub(super) fn new(
        sink: Box<dyn Sink>,
        plan: &Arc<Plan>,
        refused: FindRefused,
        inputs: UnboundedSender<Input>,
    ) -> LineInspector {
        let processes = plan.processes.iter().map(|_| Mutex::default()).collect();
        let alarms = Alarms { finders: ALARMS.map(Finder::new) };
        let expecting = AtomicBool::new(false);
        let started = clock::unix_seconds();
        let plan = plan.clone();
        let shared = Arc::new(InspectorState { processes, expecting, alarms, plan, refused, started });
        LineInspector { sink, tails: Tails { shared }, inputs }
    }

    pub(super) fn tails(&self) -> Tails {
        self.tails.clone()
    }
}

impl Sink for LineInspector {
    fn lines(&mut self, process: usize, chunk: &[u8], continued: bool) -> io::Result<()> {
        {
            let mut tail = self.tails.lock(process);
            tail.remember(chunk);
            if tail.watched && self.tails.shared.alarms.sound(chunk) {
                let _ = self.inputs.send(Input::Doubt(process));
            }
            if self.tails.shared.expecting.load(Ordering::Relaxed)
                && tail
                    .pattern
                    .as_ref()
                    .is_some_and(|pattern| chunk.split(|b| *b == b'\n').any(|l| pattern.is_match(l)))
            {
                tail.pattern = None;
                let _ = self.inputs.send(Input::Ready(process));
            }
        }
        self.sink.lines(process, chunk, continued)
    }

    fn backpressure(&self) -> Backpressure {
        self.sink.backpressure()
    }
}

impl Tails {
    fn lock(&self, process: usize) -> MutexGuard<'_, Tail> {
        self.shared.processes[process].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the next line of `process` that matches `pattern` report it as ready.
    pub(super) fn expect(&self, process: usize, pattern: Regex) {
        self.lock(process).pattern = Some(pattern);
        self.shared.expecting.store(true, Ordering::Relaxed);
    }

    /// Sets whether an alarm in the output of `process` causes a new probe.
    pub(super) fn watch(&self, process: usize, watched: bool) {
        self.lock(process).watched = watched;
    }

    /// Records that the output of `process` comes from a new child from now on.
    pub(super) fn begin(&self, process: usize) {
        let mut tail = self.lock(process);
        tail.begun = tail.written;
    }

    /// Returns the number of bytes that `process` has written.
    pub(super) fn written(&self, process: usize) -> u64 {
        self.lock(process).written
    }

    /// Returns why the current child of `process` does not become ready by itself: the last error that it wrote since its last reload,
    /// if that is in the project's code, if a setting or a package is missing, or if a reloader waits for an edit. Any other server
    /// may try again.
    pub(super) fn broken(&self, process: usize) -> Option<Broken> {
        let error = self.error_in_output(process, "no answer since its error")?;
        error.is_lasting.then_some(error.broken)
    }

    /// Returns the error that the current child of `process` wrote last, if it is in the project's code and lasts.
    pub(super) fn repeated(&self, process: usize) -> Option<Broken> {
        let error = self.error_in_output(process, "it repeats the error")?;
        (error.is_lasting && error.is_of_project).then_some(error.broken)
    }

    /// Returns true if all processes with a probe, without `process`, have become ready since their last start.
    pub(super) fn others_are_ready(&self, process: usize) -> bool {
        let all = self.shared.plan.processes.iter().enumerate();
        all.filter(|(_, other)| other.ready.is_some())
            .all(|(index, _)| index == process || self.lock(index).watched)
    }

    fn error_in_output(&self, process: usize, words: &str) -> Option<ErrorInOutput> {
        let (diagnosis, waits) = {
            let tail = self.lock(process);
            let text = String::from_utf8_lossy(tail.own());
            let text = reload::since(&text);
            (self.diagnosis(process, text)?, reload::waits_for_edit(text))
        };
        let settings = self.with_examples(process, diagnosis.settings.clone());
        let Diagnosis { said, fault, place, .. } = &diagnosis;
        let at = place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
        let out = match missing_settings::fault(&settings).unwrap_or(*fault) {
            Fault::Code => {
                let next = NextStart::Process(&self.process(process).name);
                self.advice(process, &diagnosis, next)
            }
            fault => {
                let fix = match fault {
                    Fault::Configuration => {
                        format!("{}, then `{RESTART_STACK}`", missing_settings::fix(&settings))
                    }
                    _ => RESTART_STACK.into(),
                };
                Advice { fault, cause: None, correct: None, fix: Some(fix) }
            }
        };
        let is_lasting = match out.fault {
            Fault::Configuration => true,
            Fault::Code => waits || place.is_some() || out.cause.is_some(),
            _ => waits || out.cause.is_some(),
        };
        let cause = out.cause.map(|cause| format!("; {cause}")).unwrap_or_default();
        Some(ErrorInOutput {
            is_lasting,
            is_of_project: place.is_some(),
            broken: Broken {
                reason: format!("{words}: {said}{at}{cause}"),
                fault: out.fault,
                correct: out.correct,
                fix: out.fix?,
            },
        })
    }

    /// Adds to `report` one line of `process`: its last error, or its last line if it wrote no error. Sets the fault, and the fix if
    /// the output shows one.
    pub(super) fn explain(&self, process: usize, report: Report) -> Report {
        let planned = self.process(process);
        let LastOutput { said, error } = self.last_words(process);
        let mut report = report.and_cause(said);
        if let Some(refused) = self.refused(process) {
            let fix = format!("{}, then {RERUN}", refused.fix());
            return report.and_cause(refused.cause()).with_fault(Fault::Configuration).with_fix(fix);
        }
        let Some(error) = error else {
            let of_system = is_system(planned).then_some(Fault::Environment);
            // Without an error, nothing shows why a process is late.
            let by_code = report.fault.filter(|_| report.code != Code::NotReady);
            report.fault = of_system.or(by_code);
            return report;
        };
        let settings = self.with_examples(process, error.settings.clone());
        let of_settings = missing_settings::fault(&settings);
        if of_settings == Some(Fault::Configuration) {
            report.fault = of_settings;
            return report.with_fix(format!("{}, then {RERUN}", missing_settings::fix(&settings)));
        }
        if let Some(said) = missing_settings::misspelled(&settings) {
            report = report.and_cause(said);
        }
        let fault = of_settings.unwrap_or(error.fault);
        report.fault = Some(fault);
        if let Some(program) = &error.program {
            let manifest = missing_program::manifest(&planned.directory, self.root());
            let (fault, fix) = missing_program::advice(program, is_installed(planned), manifest.as_ref());
            return report.with_fault(fault).with_fix(fix);
        }
        if fault == Fault::Code {
            let out = self.advice(process, &error, NextStart::Stack);
            report.fault = Some(out.fault);
            report.fix = out.fix.or(report.fix);
            report.correct = out.correct;
            report = out.cause.into_iter().fold(report, Report::and_cause);
        }
        report
    }

    /// Returns the advice on the `error` in the code of `process`.
    fn advice(&self, process: usize, error: &Diagnosis, next: NextStart<'_>) -> Advice {
        let (place, missing) = (error.place.as_deref(), error.missing.as_deref());
        let package = missing.and_then(|name| self.package(process, name, place));
        let application = error.application.as_ref();
        CodeError { place, missing, package: package.as_ref(), application }.advice(next)
    }

    /// Returns why `process` does not find the module `name`.
    fn package(&self, process: usize, name: &str, place: Option<&str>) -> Option<PackageState> {
        let program = Some(ProgramPackages::of(&self.shared.plan, self.process(process)));
        let started = Some(self.shared.started);
        MissingModule { name, place, root: self.root(), program, started }.state()
    }

    fn process(&self, index: usize) -> &Process {
        &self.shared.plan.processes[index]
    }

    fn refused(&self, process: usize) -> Option<RefusedDatabase> {
        let text = String::from_utf8_lossy(self.lock(process).own()).into_owned();
        (self.shared.refused)(&self.process(process).name, reload::since(&text))
    }

    /// Returns the worktree. Places outside it are not named in reports.
    fn root(&self) -> &Path {
        &self.shared.plan.worktree.path
    }

    /// Returns the last error in `text` of `process`, with the whole path of its file.
    fn diagnosis(&self, process: usize, text: &str) -> Option<Diagnosis> {
        let found = diagnosis::read(text.lines(), self.root())?;
        let directory = &self.process(process).directory;
        let place = found.place.map(|place| code_place::whole(&place, directory, self.root()));
        Some(Diagnosis { place, ..found })
    }

    fn with_examples(&self, process: usize, settings: Vec<String>) -> Vec<MissingSetting> {
        if settings.is_empty() {
            return Vec::new();
        }
        let planned = self.process(process);
        let mut set = missing_settings::set_names(self.shared.plan.env.vars.keys());
        set.extend(planned.env.keys().cloned());
        let place = ProgramPlace { directory: &planned.directory, root: self.root(), set: &set };
        missing_settings::with_examples(settings, &place)
    }

    /// Returns the port that the current child of `process` did not get, if its last error says that.
    pub(super) fn busy(&self, process: usize) -> Option<BusyPort> {
        let tail = self.lock(process);
        let text = String::from_utf8_lossy(tail.own());
        self.diagnosis(process, reload::since(&text))?.busy
    }

    /// Returns the last error of `process`, or its last line if it wrote no error, as a sentence.
    pub(super) fn said(&self, process: usize) -> String {
        self.last_words(process).said
    }

    fn last_words(&self, process: usize) -> LastOutput {
        let tail = self.lock(process);
        let text = String::from_utf8_lossy(tail.own());
        let diagnosis = self.diagnosis(process, reload::since(&text));
        let said = match &diagnosis {
            Some(Diagnosis { said, place: Some(place), .. }) => Some(format!("{said} ({place})")),
            Some(Diagnosis { said, .. }) => Some(said.clone()),
            None => diagnosis::last_words(text.lines()),
        };
        let said = said.map_or_else(|| "it said nothing".into(), |said| format!("it said: {said}"));
        LastOutput { said, error: diagnosis }
    }
}

/// Returns true if devrun installs packages for `process`.
fn is_installed(process: &Process) -> bool {
    process.needs.iter().any(|need| matches!(need, Need::Node | Need::Python))
}

/// Returns true if `process` is a system program that a preset runs: its errors are not those of the code.
fn is_system(process: &Process) -> bool {
    let has_preset = |service: &PlannedService| service.preset.is_some();
    process.service.as_ref().is_some_and(has_preset) && process.needs.is_empty()
}

/// The last error of a running process.
struct ErrorInOutput {
    broken: Broken,
    /// True if the process does not become ready by itself.
    is_lasting: bool,
    /// True if the project's code raised it.
    is_of_project: bool,
}

/// The last error of a process, or its last line.
struct LastOutput {
    /// A sentence for a report.
    said: String,
    error: Option<Diagnosis>,
}

impl Tail {
    /// Returns what the current child wrote.
    fn own(&self) -> &[u8] {
        let own = usize::try_from(self.written - self.begun).unwrap_or(usize::MAX);
        &self.bytes[self.bytes.len().saturating_sub(own)..]
    }

    fn remember(&mut self, chunk: &[u8]) {
        self.written += chunk.len() as u64;
        let new = &chunk[chunk.len().saturating_sub(REMEMBERED)..];
        let keep = REMEMBERED - new.len();
        let surplus = self.bytes.len().saturating_sub(keep);
        self.bytes.drain(..surplus);
        self.bytes.extend_from_slice(new);
    }
}
