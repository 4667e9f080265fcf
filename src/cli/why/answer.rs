//! Builds the answer about a process or a stack from the status and the [`Surroundings`], whose functions may read files.

use std::ops::Deref;
use std::path::Path;

use serde::{Serialize, Serializer};

use crate::cli::recent_error::RecentError;
use crate::context::code_error::{Advice, CodeError, NextStart};
use crate::context::dependency_lists::PackageState;
use crate::context::missing_settings::{self, MissingSetting};
use crate::context::refused_database::RefusedDatabase;
use crate::control::status::{Changed, EndedBy, PendingMigrations, ProcessStatus, State, Status, Word};
use crate::error::{Code, ErrorBody, Fault, RESTART_STACK, START, explain};
use crate::isolation::{self, Finding};
use crate::text::diagnosis::{self, Diagnosis};
use crate::text::{correction_of, quoted, reload, traceback};

/// The step that would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WhyFix {
    /// Start the stack, which may only repeat the failure.
    Start,
    /// Any other step.
    Do(String),
}

impl Deref for WhyFix {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            WhyFix::Start => START,
            WhyFix::Do(step) => step,
        }
    }
}

impl From<String> for WhyFix {
    fn from(step: String) -> WhyFix {
        WhyFix::Do(step)
    }
}

impl From<&str> for WhyFix {
    fn from(step: &str) -> WhyFix {
        WhyFix::Do(step.into())
    }
}

impl Serialize for WhyFix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

/// The subject of the question.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject<'a> {
    Process(&'a ProcessStatus),
    Stack,
}

/// The state of the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum SubjectState {
    Process(Word),
    Stack(State),
}

impl Default for SubjectState {
    fn default() -> SubjectState {
        SubjectState::Stack(State::default())
    }
}

/// The answer; fields that do not apply are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct WhyAnswer {
    /// The process that the answer is about; absent if it is about the whole stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<String>,
    /// The state of the subject, in a word of `devrun status`.
    pub(super) state: SubjectState,
    /// A summary in one line.
    pub(super) summary: String,
    /// Where the fault lies: in the code, the configuration or the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<Fault>,
    /// The cause, as far as it is known. May have several lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<String>,
    /// `file:line` of the code to fix first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) correct: Option<String>,
    /// The one command that would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<WhyFix>,
    /// Files that the stack was made from and that changed since its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) changed: Option<Changed>,
    /// Migration files that changed since the database was last migrated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<PendingMigrations>,
    /// The newest error that a ready process logged, although everything answers its probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recent_error: Option<RecentError>,
    /// The last lines that the process wrote.
    pub(super) lines: Vec<String>,
}

/// Chooses the process to explain when none is named: the one that ended the stack, else the one in the worst state. Chooses the stack
/// if all processes are fine, or if the stack ended without the fault of a process.
pub(super) fn subject(status: &Status) -> Subject<'_> {
    if let Some(ended) = &status.ended_by {
        return status.process(&ended.process).map_or(Subject::Stack, Subject::Process);
    }
    if let Some(error) = &status.error {
        let blamed = error.process.as_deref().and_then(|name| status.process(name));
        return blamed.map_or(Subject::Stack, Subject::Process);
    }
    let not_fine = status.processes.iter().filter(|process| !process.is_fine() && !status.state.is_over());
    // A process that waits for another is not the reason, so it comes last.
    let rank = |process: &&ProcessStatus| match process.state {
        Word::Ended | Word::Failed => 0,
        Word::Restarting => 1,
        Word::Running => 2,
        Word::Skipped => 3,
        _ => 4,
    };
    not_fine.min_by_key(rank).map_or(Subject::Stack, Subject::Process)
}

/// The facts beside the status.
pub(super) struct Surroundings<'a> {
    /// True while a supervisor runs.
    pub(super) runs: bool,
    /// The command of the process, if it is known.
    pub(super) command: Option<&'a str>,
    /// The last lines of the process.
    pub(super) lines: &'a [String],
    /// The worktree.
    pub(super) root: &'a Path,
    /// Returns a place in the code with the whole path of its file.
    pub(super) whole: &'a dyn Fn(&str) -> String,
    /// Returns why a module that the code at `file:line` imports is missing.
    pub(super) package: &'a dyn Fn(&str, Option<&str>) -> Option<PackageState>,
    /// True if the server has just begun to load its code again.
    pub(super) is_reloading: bool,
    /// Returns the foreign server that a program asked for its database, from its output.
    pub(super) refused: &'a dyn Fn(&str) -> Option<RefusedDatabase>,
    /// Adds the lines of example files and similar variables to the names of missing settings.
    pub(super) examples: &'a dyn Fn(Vec<String>) -> Vec<MissingSetting>,
}

/// Returns true if `subject` is ready, although its processes may have logged errors.
pub(super) fn is_ready(status: &Status, subject: Subject<'_>) -> bool {
    match subject {
        Subject::Stack => status.state == State::Ready,
        Subject::Process(process) => process.state == Word::Running && process.ready,
    }
}

/// Adds `error` to `answer`, whose subject is ready: one of its processes has logged the error. The stack is not broken, because the
/// error may belong to one request.
pub(super) fn with_recent_error(answer: WhyAnswer, status: &Status, error: RecentError) -> WhyAnswer {
    let mut causes: Vec<String> = answer.cause.into_iter().collect();
    causes.insert(
        0,
        match &error.request {
            Some(_) => error.said.clone(),
            None => format!("{} said: {}", error.process, error.said),
        },
    );
    let fine = match &answer.process {
        Some(name) => format!("{name} is ready"),
        None => format!("{} ready", ready_count(status)),
    };
    // A problem of the whole stack may be the reason for the error.
    let is_quiet = status.isolation.is_empty() && status.pending.is_none() && silent(status).is_none();
    let is_well = answer.process.is_some() || is_quiet;
    let fix = match (&error.correct, &answer.process) {
        (Some(place), _) => {
            let correction = if error.is_of_answer {
                format!("correct what the endpoint at {place} returns, or its response type")
            } else {
                correction_of(place)
            };
            format!("{correction}, then `devrun restart {}`", quoted(&error.process))
        }
        // The user has asked `devrun why NAME`, which prints the last lines: only more of them can help.
        (None, Some(name)) => format!("devrun logs {} -n 40", quoted(name)),
        (None, None) => format!("devrun why {}", quoted(&error.process)),
    };
    WhyAnswer {
        summary: if is_well { format!("{fine}, but {}", error.remark()) } else { answer.summary },
        cause: Some(causes.join("\n")),
        correct: error.correct.clone().filter(|_| is_well),
        fix: Some(fix.into()).filter(|_| is_well).or(answer.fix),
        recent_error: Some(error),
        ..answer
    }
}

/// Adds to `answer` that its recent error comes from another server than that of the worktree's database.
pub(super) fn with_refused_database(mut answer: WhyAnswer, refused: &RefusedDatabase) -> WhyAnswer {
    let causes: Vec<String> = answer.cause.take().into_iter().chain([refused.cause()]).collect();
    let process = answer.recent_error.as_ref().map(|error| error.process.clone());
    let subject = std::mem::replace(&mut answer.process, process);
    with_refused(&mut answer, refused, &causes, true);
    WhyAnswer { process: subject, ..answer }
}

/// Adds to `answer` that the database server, which devrun had started for the stack, does not run: the reason for every error of a
/// program that uses it.
pub(super) fn with_stopped_server(answer: WhyAnswer) -> WhyAnswer {
    let stopped = "the database server is not running";
    let (summary, first) = match &answer.process {
        Some(_) => (answer.summary, Some(stopped.to_string())),
        None => (stopped.into(), None),
    };
    let causes: Vec<String> = first.into_iter().chain(answer.cause).collect();
    WhyAnswer {
        summary,
        fault: Some(Fault::Environment),
        cause: (!causes.is_empty()).then(|| causes.join("\n")),
        correct: None,
        fix: Some(START.into()),
        recent_error: None,
        ..answer
    }
}

/// Returns the answer about `subject`.
pub(super) fn answer(status: &Status, subject: Subject<'_>, around: &Surroundings<'_>) -> WhyAnswer {
    let (runs, lines) = (around.runs, around.lines);
    match subject {
        Subject::Stack => {
            let mut answer = stack(status, runs);
            add_exposure(&mut answer, status, &|_| true);
            answer
        }
        Subject::Process(process) => {
            // While the stack is stopping, no process can be started; `up -d` waits for its end.
            let runs = runs && status.state != State::Stopping && !status.state.is_over();
            let mut answer = of_process(status, process, runs);
            add_exposure(&mut answer, status, &|name| *name == process.name);
            // The output of a process that was killed, or that ended with status 0, does not explain its end.
            let is_explained = process.exit == Some(0) || is_killed(process);
            if process.state != Word::Waiting && !is_explained && (!process.ready || answer.fault.is_some()) {
                conclude(&mut answer, around, runs);
            }
            let is_circle = answer.fix == Some(WhyFix::Start) && answer.correct.is_none();
            if let Some(command) = around.command.filter(|_| is_circle && answer.fault == Some(Fault::Code)) {
                let fix = format!("correct `{command}` or the code that it runs, then `{START}`");
                answer.fix = Some(fix.into());
            }
            let is_unexplained = answer.fault.is_none() && process.fix.is_none() && !lines.is_empty();
            if is_unexplained && process.state == Word::Running && status.state == State::Degraded {
                // A restart alone may only lead to the same answer.
                let restart = format!("devrun restart {}", process.name);
                answer.fix =
                    Some(format!("if its lines name a cause, correct that; then `{restart}`").into());
            }
            if around.is_reloading && !process.ready && runs && answer.fault.is_none() {
                answer.summary = format!("{} is loading its changed code and is not ready yet", process.name);
                answer.fix = None;
            }
            let shown = traceback::condense(&lines.join("\n"));
            answer.lines = shown.lines().map(Into::into).collect();
            answer
        }
    }
}

/// Adds, for the processes that `is_meant` chooses, the connections that leave the worktree and the ports that other machines can
/// reach.
fn add_exposure(answer: &mut WhyAnswer, status: &Status, is_meant: &dyn Fn(&String) -> bool) {
    let findings = status.isolation.iter().filter(|finding| is_meant(&finding.process)).map(Finding::text);
    let exposed =
        status.processes.iter().filter(|process| is_meant(&process.name) && !process.exposed.is_empty());
    let exposed = exposed.map(|process| {
        let ports: Vec<String> = process.exposed.iter().map(u16::to_string).collect();
        format!("{} is reachable from outside on {}", process.name, ports.join(", "))
    });
    let mut causes: Vec<String> = answer.cause.take().into_iter().collect();
    causes.extend(findings.chain(exposed));
    answer.cause = Some(causes.join("\n")).filter(|causes| !causes.is_empty());
}

fn stack(status: &Status, runs: bool) -> WhyAnswer {
    let open: Vec<String> = status
        .open_steps()
        .map(|step| format!("{} is {}: {}", step.name.name(), step.state.word(), step.detail))
        .collect();
    let ready = ready_count(status);
    let (summary, fix) = match (&status.error, status.state) {
        (Some(error), _) => (error.message.clone(), error.fix.clone().map(WhyFix::Do)),
        (None, State::Stopped) if !runs => ("nothing runs in this worktree".into(), Some(WhyFix::Start)),
        (None, State::Ready) if !status.isolation.is_empty() => {
            let fix = format!("{}, then `{RESTART_STACK}`", isolation::fix(&status.isolation));
            (format!("{ready} ready, but not isolated"), Some(WhyFix::Do(fix)))
        }
        (None, State::Ready) if let Some(pending) = &status.pending => {
            (format!("{ready} ready, but {}", pending.remark()), None)
        }
        (None, State::Ready) if let Some(busy) = silent(status) => {
            let reason = busy.reason.as_deref().unwrap_or_default();
            (format!("{ready} ready, but {} gave {reason}", busy.name), Some("devrun wait".into()))
        }
        (None, State::Ready) => {
            (format!("all is well: {ready} ready, no unresolved error since the last start or reload"), None)
        }
        (None, State::Stopping) => ("the stack is being taken down".into(), Some("devrun down".into())),
        (None, _) => ("the stack is still being prepared".into(), Some("devrun wait".into())),
    };
    let ErrorBody { fault, cause, correct, .. } = status.error.clone().unwrap_or(ErrorBody {
        code: Code::NotReady.name().into(),
        message: String::new(),
        fault: None,
        cause: Some(open.join("\n")).filter(|open| !open.is_empty()),
        holder: None,
        fix: None,
        correct: None,
        process: None,
        ask_why: false,
        exit: 0,
    });
    WhyAnswer {
        state: SubjectState::Stack(status.state),
        summary,
        fault,
        cause,
        correct,
        fix,
        ..WhyAnswer::default()
    }
}

/// Returns a process that was ready and has not answered the last probe.
fn silent(status: &Status) -> Option<&ProcessStatus> {
    status.processes.iter().find(|process| process.ready && !process.is_surely_ready())
}

/// Returns how many processes are ready, in words: `2 of 3 processes`.
fn ready_count(status: &Status) -> String {
    let ready = status.processes.iter().filter(|process| process.ready).count();
    match status.processes.len() {
        1 => format!("{ready} of 1 process"),
        count => format!("{ready} of {count} processes"),
    }
}

fn of_process(status: &Status, process: &ProcessStatus, runs: bool) -> WhyAnswer {
    let name = &process.name;
    let ended = process.exit.map_or_else(String::new, |exit| format!(" with status {exit}"));
    let (start, restart) = (format!("devrun start {name}"), format!("devrun restart {name}"));
    let failed = process.exit.is_some_and(|exit| exit != 0);
    let (summary, fix, fault) = match process.state {
        _ if !runs && is_blamed(status, name) => {
            let error = status.error.as_ref();
            let message = error.map(|error| error.message.clone()).unwrap_or_default();
            let fix = error.and_then(ErrorBody::known_fix).map(WhyFix::from);
            let fault = error.and_then(|error| error.fault).or_else(|| fault_of_end(process));
            let fault = fault.filter(|_| !is_killed(process));
            (message, fix.or(Some(WhyFix::Start)), fault)
        }
        _ if let Some(ended) = ended_by(status, name).filter(|_| !runs) => {
            let fix = format!(
                "if it may end, write `restart: on-failure` at processes.{name} in devrun.yaml, or name it as a job: \
                 `depends_on: {{ {name}: completed }}`"
            );
            (ended.error.message.clone(), Some(fix.into()), ended.error.fault)
        }
        Word::Waiting => {
            let other = process.waiting_on.first().filter(|first| status.process(first).is_some());
            let on = match process.waiting_on.as_slice() {
                [] => "its turn".into(),
                on => on.join(", "),
            };
            let fix = other.map_or_else(|| "devrun wait".into(), |other| explain(other));
            (format!("{name} is waiting for {on}"), Some(fix.into()), None)
        }
        Word::Running if process.ready => (format!("{name} is fine: it runs and is ready"), None, None),
        Word::Running => {
            // A process that was ready before does not become ready by waiting.
            let step = if status.state == State::Degraded { restart } else { format!("devrun wait {name}") };
            let fix = process.fix.clone().unwrap_or(step);
            (format!("{name} runs but is not ready"), Some(fix.into()), process.fault)
        }
        Word::Restarting => (
            format!("{name} ended{ended} and is started again and again ({} times so far)", process.restarts),
            Some(restart.into()),
            fault_of_end(process),
        ),
        Word::Ended if process.ready || !failed => {
            (format!("{name} finished its work and exited"), None, None)
        }
        Word::Ended => (format!("{name} ended{ended}"), Some(restart.into()), fault_of_end(process)),
        Word::Failed => {
            (format!("{name} failed and is not started again"), Some(restart.into()), fault_of_end(process))
        }
        Word::Skipped => (format!("{name} was not started"), Some(start.into()), None),
        Word::Stopped if runs => (format!("{name} was stopped by hand"), Some(start.into()), None),
        Word::Stopped => (format!("{name} was stopped with the stack"), Some(WhyFix::Start), None),
        Word::Stopping => {
            (format!("{name} was asked to stop and is still ending"), Some("devrun ps".into()), None)
        }
        Word::Idle => (format!("{name} starts only on request"), Some(start.into()), None),
    };
    let ended = ended_by(status, name).filter(|_| !runs);
    let has_own = runs || process.ready || ended.is_some() || is_blamed(status, name);
    let fix = if has_own { fix } else { Some(WhyFix::Start) };
    let cause = match ended {
        Some(ended) => ended.error.cause.clone(),
        None if !runs && is_blamed(status, name) => {
            status.error.as_ref().and_then(|error| error.cause.clone())
        }
        None => process.reason.clone().filter(|_| process.state != Word::Waiting),
    };
    WhyAnswer {
        process: Some(name.clone()),
        state: SubjectState::Process(process.state),
        summary,
        fault,
        cause,
        fix,
        ..WhyAnswer::default()
    }
}

/// Returns how the process `name` ended the stack with status 0, if it did.
fn ended_by<'a>(status: &'a Status, name: &str) -> Option<&'a EndedBy> {
    status.ended_by.as_ref().filter(|ended| ended.process == name)
}

/// Returns [`Fault::Code`], unless a signal from outside ended the process.
fn fault_of_end(process: &ProcessStatus) -> Option<Fault> {
    (!is_killed(process)).then_some(Fault::Code)
}

/// Returns true if SIGHUP, SIGINT, SIGKILL or SIGTERM ended the process. Its output does not explain that.
fn is_killed(process: &ProcessStatus) -> bool {
    process.exit.is_some_and(|exit| [129, 130, 137, 143].contains(&exit))
}

fn is_blamed(status: &Status, name: &str) -> bool {
    status.error.as_ref().is_some_and(|error| error.process.as_deref() == Some(name))
}

/// Sets the cause, the fault and the fix for a configuration that leads the process to a database that is not the worktree's.
fn with_refused(answer: &mut WhyAnswer, refused: &RefusedDatabase, causes: &[String], runs: bool) {
    let then = match &answer.process {
        Some(name) if runs => format!("devrun restart {}", quoted(name)),
        _ => START.into(),
    };
    answer.cause = Some(causes.join("\n"));
    answer.fault = Some(Fault::Configuration);
    answer.fix = Some(format!("{}, then `{then}`", refused.fix()).into());
    answer.correct = None;
}

/// Returns true if a line of `causes` is `sentence`, or ends with it after a colon: `api said: …`.
fn has_line(causes: &[String], sentence: &str) -> bool {
    causes.iter().flat_map(|cause| cause.lines()).any(|line| {
        let before = line.strip_suffix(sentence);
        before.is_some_and(|before| before.is_empty() || before.ends_with(": "))
    })
}

/// Adds the error found in the last lines of the process, unless its server has reloaded the code since.
fn conclude(answer: &mut WhyAnswer, around: &Surroundings<'_>, runs: bool) {
    let text = around.lines.join("\n") + "\n";
    let Some(diagnosis) = diagnosis::read(reload::since(&text).lines(), around.root) else { return };
    let Diagnosis { said, fault, place, missing, application, settings, program, busy } = diagnosis;
    let place = place.map(|place| (around.whole)(&place));
    let told = place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
    let mut causes: Vec<String> = answer.cause.take().into_iter().collect();
    let said = format!("{said}{told}");
    if !has_line(&causes, &said) {
        causes.push(format!("it said: {said}"));
    }
    let settings = if settings.is_empty() { Vec::new() } else { (around.examples)(settings) };
    let fault = missing_settings::fault(&settings).unwrap_or(fault);
    let misspelled = missing_settings::misspelled(&settings).filter(|_| fault == Fault::Code);
    causes.extend(misspelled.filter(|said| !has_line(&causes, said)));
    // About a busy port, the stack's error says more than the output of the process.
    if program.is_none() && !(busy.is_some() && answer.fault.is_some()) {
        answer.fault = Some(fault);
    }
    if let Some(refused) = (around.refused)(&text) {
        let cause = refused.cause();
        causes.extend(Some(cause).filter(|cause| !has_line(&causes, cause)));
        return with_refused(answer, &refused, &causes, runs);
    }
    if busy.is_some() {
        if answer.fault == Some(Fault::Configuration) {
            return answer.cause = Some(causes.join("\n"));
        }
        let name = answer.process.clone().unwrap_or_default();
        let fix = format!(
            "let it listen on the port in the variable PORT, or stop the process that has the port, then `devrun restart {name}`"
        );
        answer.fix = Some(fix.into());
    } else if program.is_some() {
        // The fix of the stack's error names the program.
        answer.fix.get_or_insert_with(|| RESTART_STACK.into());
    } else if fault == Fault::Environment {
        answer.fix = Some(RESTART_STACK.into());
    } else if missing_settings::fault(&settings) == Some(Fault::Configuration) {
        answer.fault = Some(Fault::Configuration);
        let then = match answer.state {
            // A restarted process keeps the variables of the stack's start.
            SubjectState::Process(Word::Running | Word::Restarting) => RESTART_STACK,
            _ => START,
        };
        let fix = format!("{}, then `{then}`", missing_settings::fix(&settings));
        answer.fix = Some(fix.into());
    } else {
        let package = missing.as_ref().and_then(|name| (around.package)(name, place.as_deref()));
        let error = CodeError {
            place: place.as_deref(),
            missing: missing.as_deref(),
            package: package.as_ref(),
            application: application.as_ref(),
        };
        let next = match &answer.process {
            Some(name) if runs => NextStart::Process(name),
            _ => NextStart::Stack,
        };
        let Advice { fault, cause, correct, fix } = error.advice(next);
        causes.extend(cause.filter(|cause| !has_line(&causes, cause)));
        answer.fault = Some(fault);
        if let Some(fix) = fix {
            answer.fix = Some(fix.into());
        } else if let (Some(name), SubjectState::Process(Word::Running)) = (&answer.process, answer.state) {
            // A restart helps only after the code is corrected.
            answer.fix = Some(format!("devrun restart {name}").into());
        }
        answer.correct = correct;
    }
    answer.cause = Some(causes.join("\n"));
}

#[cfg(test)]
mod tests;
