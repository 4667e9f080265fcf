//! Builds the answer about a process or a stack. Pure: uses only the status and the output of the process.

use std::path::Path;

use serde::Serialize;

use crate::context::missing_settings::{self, MissingSetting};
use crate::control::status::{Changed, EndedBy, PendingMigrations, ProcessStatus, State, Status, Word};
use crate::error::{Code, ErrorBody, Fault, RESTART_STACK, explain};
use crate::isolation::Finding;
use crate::text::diagnosis::{self, Diagnosis};
use crate::text::{reload, traceback};

/// Starts the stack if it does not run.
const START: &str = "devrun up -d";

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
    pub(super) fix: Option<String>,
    /// Files that the stack was made from and that changed since its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) changed: Option<Changed>,
    /// Migration files that changed since the database was last migrated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<PendingMigrations>,
    /// The last lines that the process wrote.
    pub(super) lines: Vec<String>,
}

/// Chooses the process to explain when none is named: the one that ended the stack, else the one in the worst state.
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
    /// Finds a list of dependencies that is newer than the stack.
    pub(super) changed: &'a dyn Fn() -> Option<String>,
    /// True if the server has just begun to load its code again.
    pub(super) is_reloading: bool,
    /// Adds the lines of example files and similar variables to the names of missing settings.
    pub(super) examples: &'a dyn Fn(Vec<String>) -> Vec<MissingSetting>,
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
                conclude(&mut answer, around);
            }
            let is_circle = answer.fix.as_deref() == Some(START) && answer.correct.is_none();
            if let Some(command) = around.command.filter(|_| is_circle && answer.fault == Some(Fault::Code)) {
                answer.fix = Some(format!("correct `{command}` or the code that it runs, then `{START}`"));
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

/// Adds the connections that leave the worktree, and the ports that other machines reach, of the processes that `is_meant` chooses.
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
    let fine = status.processes.iter().filter(|process| process.ready).count();
    let (summary, fix) = match (&status.error, status.state) {
        (Some(error), _) => (error.message.clone(), error.fix.clone()),
        (None, State::Stopped) if !runs => ("nothing runs in this worktree".into(), Some(START.into())),
        (None, State::Ready) if !status.isolation.is_empty() => {
            (format!("{fine} of {} ready, but not isolated", count(status)), None)
        }
        (None, State::Ready) if status.pending.is_some() => {
            (format!("{fine} of {} ready, but the database is behind the code", count(status)), None)
        }
        (None, State::Ready) => (format!("all is well: {fine} of {} ready", count(status)), None),
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

fn count(status: &Status) -> String {
    match status.processes.len() {
        1 => "1 process".into(),
        count => format!("{count} processes"),
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
            // A fix that only asks `why` again does not help.
            let fix = error.and_then(|error| error.fix.clone()).filter(|fix| !fix.starts_with("devrun why"));
            let fault = error.and_then(|error| error.fault).or_else(|| fault_of_end(process));
            let fault = fault.filter(|_| !is_killed(process));
            (message, fix.or_else(|| Some(START.into())), fault)
        }
        _ if let Some(ended) = ended_by(status, name).filter(|_| !runs) => {
            let fix = format!(
                "if it may end, write `restart: on-failure` at processes.{name} in devrun.yaml, or name it as a job: \
                 `depends_on: {{ {name}: completed }}`"
            );
            (ended.error.message.clone(), Some(fix), ended.error.fault)
        }
        Word::Waiting => {
            let other = process.waiting_on.first().filter(|first| status.process(first).is_some());
            let on = match process.waiting_on.as_slice() {
                [] => "its turn".into(),
                on => on.join(", "),
            };
            let fix = other.map_or_else(|| "devrun wait".into(), |other| explain(other));
            (format!("{name} is waiting for {on}"), Some(fix), None)
        }
        Word::Running if process.ready => (format!("{name} is fine: it runs and is ready"), None, None),
        Word::Running => {
            // A process that was ready before does not become ready by waiting.
            let step = if status.state == State::Degraded { restart } else { format!("devrun wait {name}") };
            let fix = process.fix.clone().or(Some(step));
            (format!("{name} runs but is not ready"), fix, process.fault)
        }
        Word::Restarting => (
            format!("{name} ended{ended} and is started again and again ({} times so far)", process.restarts),
            Some(restart),
            fault_of_end(process),
        ),
        Word::Ended if process.ready || !failed => {
            (format!("{name} finished its work and exited"), None, None)
        }
        Word::Ended => (format!("{name} ended{ended}"), Some(restart), fault_of_end(process)),
        Word::Failed => {
            (format!("{name} failed and is not started again"), Some(restart), fault_of_end(process))
        }
        Word::Skipped => (format!("{name} was not started"), Some(start), None),
        Word::Stopped if runs => (format!("{name} was stopped by hand"), Some(start), None),
        Word::Stopped => (format!("{name} was stopped with the stack"), Some(START.into()), None),
        Word::Stopping => {
            (format!("{name} was asked to stop and is still ending"), Some("devrun ps".into()), None)
        }
        Word::Idle => (format!("{name} is not started by itself"), Some(start), None),
    };
    let ended = ended_by(status, name).filter(|_| !runs);
    let has_own = runs || process.ready || ended.is_some() || is_blamed(status, name);
    let fix = if has_own { fix } else { Some(START.into()) };
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

/// Returns [`Fault::Code`], unless a signal ended the process that other programs send.
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

/// Adds the error found in the last lines of the process, unless its server has reloaded the code since.
fn conclude(answer: &mut WhyAnswer, around: &Surroundings<'_>) {
    let text = around.lines.join("\n") + "\n";
    let Some(diagnosis) = diagnosis::read(reload::since(&text).lines(), around.root) else { return };
    let Diagnosis { said, fault, place, missing, settings, program, busy } = diagnosis;
    let told = place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
    let mut causes: Vec<String> = answer.cause.take().into_iter().collect();
    let said = format!("{said}{told}");
    if !causes.iter().any(|cause| cause.contains(&said)) {
        causes.push(format!("it said: {said}"));
    }
    let settings = if settings.is_empty() { Vec::new() } else { (around.examples)(settings) };
    let fault = missing_settings::fault(&settings).unwrap_or(fault);
    let misspelled = missing_settings::misspelled(&settings).filter(|_| fault == Fault::Code);
    causes.extend(misspelled.filter(|said| !causes.iter().any(|cause| cause.contains(said))));
    // A module with a dot may be a misspelled one of the repository.
    let undeclared = missing.clone().filter(|module| !module.contains('.'));
    // The stack's error knows more about a port than its message.
    if program.is_none() && !(busy.is_some() && answer.fault.is_some()) {
        answer.fault = Some(fault);
    }
    if busy.is_some() {
        if answer.fault == Some(Fault::Configuration) {
            return answer.cause = Some(causes.join("\n"));
        }
        let name = answer.process.clone().unwrap_or_default();
        answer.fix = Some(format!(
            "let it listen on the port in the variable PORT, or stop the process that has the port, then `devrun restart {name}`"
        ));
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
        answer.fix = Some(format!("{}, then `{then}`", missing_settings::fix(&settings)));
    } else if let (Some(module), Some(list)) = (&missing, (around.changed)()) {
        causes.push(format!("{list} was changed after the stack was started, and {module} is not installed"));
        answer.fault = Some(Fault::Environment);
        answer.fix = Some(RESTART_STACK.into());
    } else {
        // No command helps until the code is corrected.
        if let (Some(name), SubjectState::Process(Word::Running)) = (&answer.process, answer.state) {
            answer.fix = Some(match (&place, &undeclared) {
                (Some(place), Some(module)) => format!(
                    "correct {place}, or declare the package of `{module}`, then `devrun down && devrun up -d`"
                ),
                (Some(place), None) => format!("correct {place}, then `devrun restart {name}`"),
                (None, _) => format!("devrun restart {name}"),
            });
        }
        answer.correct = place;
    }
    answer.cause = Some(causes.join("\n"));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::context::missing_settings::ProgramPlace;
    use crate::error::Report;

    fn process(name: &str, state: Word, ready: bool) -> ProcessStatus {
        let mut process = ProcessStatus::default();
        (process.name, process.state, process.ready) = (name.into(), state, ready);
        process
    }

    fn stack_of(processes: Vec<ProcessStatus>) -> Status {
        let mut status = Status::default();
        (status.state, status.processes) = (State::Starting, processes);
        status
    }

    fn asked(status: &Status, runs: bool, lines: &[&str], changed: Option<&str>) -> WhyAnswer {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        about(status, subject(status), runs, &lines, changed)
    }

    fn about(
        status: &Status,
        subject: Subject<'_>,
        runs: bool,
        lines: &[String],
        changed: Option<&str>,
    ) -> WhyAnswer {
        let around = Surroundings {
            runs,
            command: lines.iter().find_map(|line| line.strip_prefix("+ ")),
            lines,
            root: Path::new("/w"),
            changed: &|| changed.map(Into::into),
            is_reloading: lines.last().is_some_and(|line| line.ends_with("Reloading...")),
            examples: &|names| {
                let (nowhere, set) = (Path::new("/nowhere"), BTreeSet::from(["PORT".to_string()]));
                let place = ProgramPlace { directory: nowhere, root: nowhere, set: &set };
                missing_settings::with_examples(names, &place)
            },
        };
        answer(status, subject, &around)
    }

    #[test]
    fn why_names_the_process_that_others_wait_for() {
        let mut waiting = process("frontend", Word::Waiting, false);
        waiting.waiting_on = vec!["backend".into()];
        let status = stack_of(vec![waiting, process("backend", Word::Running, false)]);
        let found = asked(&status, true, &["starting"], None);
        assert_eq!(
            (found.process.as_deref(), found.fix.as_deref()),
            (Some("backend"), Some("devrun wait backend"))
        );
        let named = about(&status, Subject::Process(&status.processes[0]), true, &[], None);
        assert_eq!(named.summary, "frontend is waiting for backend");
        assert_eq!(named.fix.as_deref(), Some("devrun why backend"));
    }

    #[test]
    fn broken_code_differs_from_missing_packages() {
        let status = stack_of(vec![process("backend", Word::Running, false)]);
        let lines = ["  File \"/w/app.py\", line 3, in <module>", "ModuleNotFoundError: No module named 'x'"];
        let code = asked(&status, true, &lines, None);
        assert_eq!(
            (code.fault, code.fix.as_deref()),
            (
                Some(Fault::Code),
                Some(
                    "correct /w/app.py:3, or declare the package of `x`, then `devrun down && devrun up -d`"
                )
            )
        );
        assert_eq!(
            code.cause.as_deref(),
            Some("it said: ModuleNotFoundError: No module named 'x' (/w/app.py:3)")
        );
        assert_eq!(code.correct.as_deref(), Some("/w/app.py:3"));
        let stale = asked(&status, true, &lines, Some("uv.lock"));
        assert_eq!((stale.fault, stale.fix.as_deref()), (Some(Fault::Environment), Some(RESTART_STACK)));
        assert!(stale.cause.unwrap().contains("uv.lock was changed"));
        let reloaded =
            [lines[0], lines[1], "WARNING:  WatchFiles detected changes in 'app.py'. Reloading..."];
        let repaired = asked(&status, true, &reloaded, None);
        assert_eq!((repaired.fault, repaired.fix.as_deref()), (None, None));
        assert_eq!(repaired.summary, "backend is loading its changed code and is not ready yet");
        let gone = asked(&status, true, &["OperationalError: connection to server at x failed"], None);
        assert_eq!((gone.fault, gone.fix.as_deref()), (Some(Fault::Environment), Some(RESTART_STACK)));
    }

    #[test]
    fn after_the_end_the_process_that_ended_it_is_found() {
        let mut ended = process("api", Word::Ended, false);
        ended.exit = Some(3);
        let mut stopped = process("web", Word::Stopped, false);
        stopped.exit = Some(130);
        let mut status = stack_of(vec![stopped, ended]);
        let report = Report::new(Code::ProcessEnded, "api ended with exit code 3").about("api");
        status.error = Some((&report).into());
        status.over();
        let found = asked(&status, false, &["boom"], None);
        assert_eq!(found.summary, "api ended with exit code 3");
        assert_eq!((found.fault, found.fix.as_deref()), (Some(Fault::Code), Some("devrun up -d")));
        let job = asked(&status, false, &["+ python -m app.prepare"], None);
        let fix = "correct `python -m app.prepare` or the code that it runs, then `devrun up -d`";
        assert_eq!(job.fix.as_deref(), Some(fix));
        let web = about(&status, Subject::Process(&status.processes[0]), false, &[], None);
        assert_eq!((web.summary.as_str(), web.fault), ("web was stopped with the stack", None));
    }

    #[test]
    fn a_process_that_was_killed_is_not_explained_by_its_output() {
        let mut ended = process("api", Word::Ended, false);
        ended.exit = Some(137);
        let mut status = stack_of(vec![ended]);
        let report = Report::new(Code::ProcessEnded, "api ended with signal 9").about("api");
        status.error = Some((&report.with_cause("another program killed it")).into());
        status.over();
        let found = asked(&status, false, &["ValueError: old"], None);
        assert_eq!((found.fault, found.cause.as_deref()), (None, Some("another program killed it")));
        // A shell that goes on after a missing program, and ends with status 0.
        status.processes[0].exit = Some(0);
        (status.error, status.state) = (None, State::Stopped);
        let found = asked_about(&status, &["sh: 1: nosuchtool: not found"]);
        assert_eq!((found.fault, found.summary.as_str()), (None, "api finished its work and exited"));
    }

    fn asked_about(status: &Status, lines: &[&str]) -> WhyAnswer {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        about(status, Subject::Process(&status.processes[0]), false, &lines, None)
    }

    #[test]
    fn the_fix_of_a_wrong_port_or_a_busy_one_is_never_a_circle() {
        let mut web = process("web", Word::Running, false);
        (web.reason, web.fix) = (Some("it listens on 127.0.0.1:3000".into()), Some("let it listen".into()));
        web.fault = Some(Fault::Configuration);
        let mut status = stack_of(vec![web]);
        let found = asked(&status, true, &[], None);
        assert_eq!((found.fix.as_deref(), found.fault), (Some("let it listen"), Some(Fault::Configuration)));
        status.state = State::Degraded;
        (status.processes[0].fix, status.processes[0].fault) = (None, None);
        assert_eq!(asked(&status, true, &[], None).fix.as_deref(), Some("devrun restart web"));
        let line = "Error: listen EADDRINUSE: address already in use :::3000";
        let fix = asked(&status, true, &[line, "  code: 'EADDRINUSE',"], None);
        assert_eq!(
            fix.cause.as_deref(),
            Some(
                "it listens on 127.0.0.1:3000\nit said: Error: listen EADDRINUSE: address already in use :::3000"
            )
        );
        assert!(fix.fix.unwrap().starts_with("let it listen on the port in the variable PORT"));
    }

    #[test]
    fn ready_stack_that_is_not_isolated_is_not_well() {
        let mut web = process("web", Word::Running, true);
        web.exposed = [3100].into();
        let mut status = stack_of(vec![web, process("api", Word::Running, true)]);
        status.state = State::Ready;
        let found = asked(&status, true, &[], None);
        assert_eq!(found.summary, "all is well: 2 of 2 processes ready");
        assert_eq!(found.cause.as_deref(), Some("web is reachable from outside on 3100"));
        status.isolation = vec![Finding {
            process: "api".into(),
            server: crate::isolation::Server::Postgres,
            address: "127.0.0.1:5432".into(),
            holder: None,
            reads: None,
        }];
        let found = asked(&status, true, &[], None);
        assert_eq!(found.summary, "2 of 2 processes ready, but not isolated");
        assert!(found.cause.unwrap().contains("api is connected to 127.0.0.1:5432"));
        let api = about(&status, Subject::Process(&status.processes[1]), true, &[], None);
        assert!(api.cause.unwrap().starts_with("api is connected to 127.0.0.1:5432"));
    }

    #[test]
    fn missing_settings_are_named_with_the_step_that_sets_them() {
        let status = stack_of(vec![process("backend", Word::Running, false)]);
        let lines =
            ["pydantic.ValidationError: 1 validation error for Settings", "API_KEY", "  Field required"];
        let found = asked(&status, true, &lines, None);
        assert_eq!(
            (found.fault, found.fix.as_deref()),
            (
                Some(Fault::Configuration),
                Some(
                    "set API_KEY in .env or under `env:` in devrun.yaml, then `devrun down && devrun up -d`"
                )
            )
        );
        assert_eq!(found.correct, None);
        let read = |name: &str| {
            let line = format!("    port = os.environ[\"{name}\"]");
            asked(
                &status,
                true,
                &["  File \"/w/app.py\", line 3, in <module>", &line, &format!("KeyError: '{name}'")],
                None,
            )
        };
        let unset = read("STRIPE_KEY");
        assert_eq!((unset.fault, unset.correct), (Some(Fault::Configuration), None));
        assert!(unset.fix.unwrap().starts_with("set STRIPE_KEY in .env"));
        let misspelled = read("PROT");
        assert_eq!(
            (misspelled.fault, misspelled.correct.as_deref()),
            (Some(Fault::Code), Some("/w/app.py:3"))
        );
        assert_eq!(
            misspelled.cause.as_deref(),
            Some("it said: KeyError: 'PROT' (/w/app.py:3)\nPROT is not set; PORT is")
        );
    }

    #[test]
    fn why_reports_a_healthy_stack_with_the_notices_of_its_preparation() {
        let mut status = stack_of(vec![process("web", Word::Running, true)]);
        status.state = State::Ready;
        let well = asked(&status, true, &[], None);
        assert_eq!((well.summary.as_str(), well.fix), ("all is well: 1 of 1 process ready", None));
        status.pending = PendingMigrations::of(vec!["versions/3.py".into()]);
        let behind = asked(&status, true, &[], None);
        assert_eq!(behind.summary, "1 of 1 process ready, but the database is behind the code");
        let report = Report::new(Code::ToolMissing, "node is not installed").with_fix("install Node.js");
        status.error = Some((&report).into());
        status.over();
        let failed = asked(&status, false, &[], None);
        assert_eq!(
            (failed.fault, failed.fix.as_deref()),
            (Some(Fault::Environment), Some("install Node.js"))
        );
    }
}
