//! Describes failures for users and agents: a stable code, the exit status of its class, what happened, why, which
//! process holds a needed resource, and one next step.
//!
//! Other modules have typed errors that implement [`Explain`]; this module turns them into a [`Report`]. It does not
//! print (`ui` does) and does not decide how to react (the caller does).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The exit status of devrun. Each class of failures has a different status. Classes without a customary status begin at 80, because
/// neither shells nor servers use that range. [`Exit::Child`] is the status of a command that devrun ran for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Success.
    Ok,
    /// A child's own exit code, or `128 + signal` if a signal ended it.
    Child(u8),
    /// Ctrl-C: 128 + SIGINT.
    Interrupted,
    /// The command line or the request is invalid, or was not confirmed (clap's own status).
    Usage,
    /// A bug in devrun (`EX_SOFTWARE`).
    Bug,
    /// A file, a folder, the terminal or another resource of the system could not be used (`EX_IOERR`).
    State,
    /// devrun.yaml, Procfile or env files are invalid, or the configuration or a variable is missing.
    Config,
    /// git failed, or devrun refused to change a worktree, a branch or a hook.
    Git,
    /// There are no free ports, another process holds a port, or the loopback interface is down.
    Ports,
    /// Dependencies could not be installed, a tool or a service is missing, or a step of `setup:` failed.
    Dependencies,
    /// The branch database does not exist, must not be changed, or could not be reached or created.
    Database,
    /// Migrations failed or must not run.
    Migration,
    /// A process never became ready.
    Readiness,
    /// A process could not be started, or ended too early.
    Process,
    /// Another devrun owns this worktree, nothing runs in it, or the request exceeded its time limit.
    Busy,
    /// The worktree was removed while its stack ran.
    Gone,
    /// A process uses a server that is not this worktree's.
    Isolation,
    /// `devrun doctor` found an error.
    Problems,
}

impl Exit {
    /// Returns the number that the operating system gets.
    pub const fn status(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Child(code) => code,
            Exit::Interrupted => 130,
            Exit::Usage => 2,
            Exit::Bug => 70,
            Exit::State => 74,
            Exit::Config => 80,
            Exit::Git => 81,
            Exit::Ports => 82,
            Exit::Dependencies => 83,
            Exit::Database => 84,
            Exit::Migration => 85,
            Exit::Readiness => 86,
            Exit::Process => 87,
            Exit::Busy => 88,
            Exit::Gone => 89,
            Exit::Isolation => 90,
            Exit::Problems => 91,
        }
    }

    /// Returns the status of a program that `signal` ended, as shells report it.
    pub fn from_signal(signal: i32) -> Exit {
        match signal {
            2 => Exit::Interrupted,
            other => Exit::Child(u8::try_from(128 + other).unwrap_or(255)),
        }
    }
}

/// The part that has to be changed or checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The environment of the code: ports, tools, packages, the database, the disk. Editing the code does not help.
    Environment,
    /// The code that is checked out.
    Code,
    /// devrun.yaml, Procfile or env files.
    Configuration,
    /// devrun itself.
    Devrun,
}

impl Fault {
    /// Returns the words for the user.
    pub const fn words(self) -> &'static str {
        match self {
            Fault::Environment => "the environment, not the code",
            Fault::Code => "the code, not the environment",
            Fault::Configuration => "the configuration, neither the code nor the environment",
            Fault::Devrun => "devrun itself",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal => $exit:ident $($fault:ident)?),+ $(,)?) => {
        /// The name of a failure. Agents rely on the names, so a new version may add names but does not change any.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant),+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$variant),+];

            /// Returns the name as printed and documented.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name),+ }
            }

            /// Returns the code with this name.
            pub fn from_name(name: &str) -> Option<Code> {
                Code::ALL.iter().copied().find(|code| code.name() == name)
            }

            /// Returns the exit status of this code's class.
            pub const fn exit(self) -> Exit {
                match self { $(Code::$variant => Exit::$exit),+ }
            }

            /// Returns the usual place of the fault; the error may name another one. `None` if nothing is at fault.
            pub const fn fault(self) -> Option<Fault> {
                match self { $(Code::$variant => codes!(@fault $($fault)?)),+ }
            }
        }
    };
    (@fault $fault:ident) => { Some(Fault::$fault) };
    (@fault) => { None };
}

codes! {
    /// A bug in devrun.
    Bug = "bug" => Bug Devrun,
    /// A file, a folder, the terminal or another resource of the system is unusable.
    State = "state-unusable" => State Environment,
    /// The configuration does not parse or contradicts itself.
    ConfigInvalid = "config-invalid" => Config Configuration,
    /// There is no configuration, and devrun does not recognise the repository.
    ConfigMissing = "config-missing" => Config Configuration,
    /// A variable that a value needs is not set.
    VariableMissing = "variable-missing" => Config Configuration,
    /// git is not installed.
    GitMissing = "git-missing" => Git Environment,
    /// git refused, its answer could not be understood, or there is no worktree here.
    GitFailed = "git-failed" => Git Environment,
    /// Another process holds a port, and devrun may not use another slot.
    PortBusy = "port-busy" => Ports Environment,
    /// Every slot is in use.
    PortsExhausted = "ports-exhausted" => Ports Environment,
    /// Another process answers on a port of this worktree.
    PortStolen = "port-stolen" => Ports Environment,
    /// 127.0.0.1 has no route: the loopback interface is down.
    LoopbackDown = "loopback-down" => Ports Environment,
    /// A tool (node, pnpm, uv, python, psql) is not installed and could not be fetched.
    ToolMissing = "tool-missing" => Dependencies Environment,
    /// The lock file does not match the manifest.
    LockfileStale = "lockfile-stale" => Dependencies Code,
    /// Installing dependencies failed.
    InstallFailed = "install-failed" => Dependencies Environment,
    /// A step of `setup:` failed.
    SetupFailed = "setup-failed" => Dependencies Code,
    /// A program of a service is not installed.
    ServiceMissing = "service-missing" => Dependencies Environment,
    /// A server that several worktrees share does not answer or refuses.
    ServiceUnavailable = "service-unavailable" => Dependencies Environment,
    /// A server that several worktrees share has no place for this worktree.
    ServiceLimit = "service-limit" => Dependencies Configuration,
    /// No Postgres binaries could be found or fetched.
    PostgresMissing = "postgres-missing" => Database Environment,
    /// The database server does not start or answer.
    DatabaseUnavailable = "database-unavailable" => Database Environment,
    /// The branch database could not be created.
    DatabaseFailed = "database-failed" => Database Environment,
    /// The service makes no more branch databases: a limit of the plan is reached.
    DatabaseLimit = "database-limit" => Database Environment,
    /// There is no branch database of that name.
    DatabaseMissing = "database-missing" => Database,
    /// A branch database must not be changed: other work depends on it, or devrun did not create it.
    DatabaseKept = "database-kept" => Database,
    /// The migration command failed.
    MigrationFailed = "migration-failed" => Migration Code,
    /// There are several migration heads. The user must decide how to merge them.
    MigrationHeads = "migration-heads" => Migration Code,
    /// Two migrations have the same id.
    MigrationDuplicate = "migration-duplicate" => Migration Code,
    /// A parent database could not be seeded.
    SeedFailed = "seed-failed" => Migration Code,
    /// A process did not become ready in time.
    NotReady = "not-ready" => Readiness Code,
    /// A process could not be started.
    SpawnFailed = "spawn-failed" => Process Configuration,
    /// A process ended that should keep running, or a devrun in the background ended.
    ProcessEnded = "process-ended" => Process Code,
    /// A devrun already runs in this worktree, or a stack uses what the command would change.
    AlreadyRunning = "already-running" => Busy,
    /// Nothing runs in this worktree, or its stack is being stopped.
    NotRunning = "not-running" => Busy,
    /// The command line parses, but the request is invalid.
    Usage = "usage" => Usage,
    /// An action needs a confirmation, and there was none.
    NotConfirmed = "not-confirmed" => Usage,
    /// There is no process with that name.
    ProcessUnknown = "process-unknown" => Usage,
    /// The supervisor does not answer, or the request exceeded its time limit.
    TimedOut = "timed-out" => Busy,
    /// The repository has no worktree with that name or path, or several.
    WorktreeUnknown = "worktree-unknown" => Usage,
    /// A worktree is not removed: work would be lost, or it needs an option that was not given.
    WorktreeKept = "worktree-kept" => Git,
    /// There are uncommitted changes, or an operation of git is under way.
    WorktreeDirty = "worktree-dirty" => Git,
    /// A rebase or merge stopped at a conflict.
    SyncConflict = "sync-conflict" => Git Code,
    /// A hook is not edited: it is no shell script, is not executable, is outside the repository, cannot be read, or is switched off.
    HookKept = "hook-kept" => Git,
    /// The worktree was removed, moved or replaced while its stack ran.
    WorktreeGone = "worktree-gone" => Gone Environment,
    /// A process is connected to a server of another worktree or environment, and `--strict-isolation` forbids it.
    NotIsolated = "not-isolated" => Isolation Configuration,
    /// `devrun doctor` found a problem with which `devrun up` fails or a run does damage.
    ProblemsFound = "problems-found" => Problems,
}

/// The process that holds a needed resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Holder {
    /// Process id, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its command line, shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The worktree that it belongs to, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// True if it belongs to a worktree and no devrun started it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_hand: bool,
    /// For how many seconds it has run, if that is known and of use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<u64>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Holder { command: None, pid: None, worktree: Some(worktree), .. } = self {
            // The worktree holds the ports by its lease, with or without a process.
            return write!(f, "the worktree {worktree}");
        }
        match (&self.command, self.pid) {
            (Some(command), Some(pid)) => write!(f, "{command} (pid {pid})")?,
            (Some(command), None) => f.write_str(command)?,
            (None, Some(pid)) => write!(f, "pid {pid}")?,
            (None, None) => f.write_str("a process that this user cannot see")?,
        }
        match &self.worktree {
            Some(worktree) => write!(f, " of worktree {worktree}"),
            None => Ok(()),
        }
    }
}

/// A typed error that can be explained. Its `Display` is one line that says what happened.
pub trait Explain: std::error::Error {
    /// Returns the stable code.
    fn code(&self) -> Code;
    /// Returns the cause, if the message alone does not contain it.
    fn why(&self) -> Option<String> {
        None
    }
    /// Returns the one thing to do next.
    fn fix(&self) -> Option<String> {
        None
    }
    /// Returns `file:line` of the code to correct first.
    fn correct(&self) -> Option<String> {
        None
    }
    /// Returns the process that holds a needed resource.
    fn holder(&self) -> Option<Holder> {
        None
    }
    /// Returns where the fault lies. The default follows from the error code.
    fn fault(&self) -> Option<Fault> {
        self.code().fault()
    }
}

/// A failure that is ready to be shown. Can be made from any [`Explain`]. Cheap to clone and to send.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Report {
    /// The stable code.
    pub code: Code,
    /// One line: what happened.
    pub message: String,
    /// Where the fault lies.
    pub fault: Option<Fault>,
    /// The cause. May have several lines, for example a tool's output.
    pub cause: Option<String>,
    /// The process that holds a needed resource.
    pub holder: Option<Holder>,
    /// The one thing to do next, if it is known. [`Report::next_step`] has an answer more often.
    pub fix: Option<String>,
    /// `file:line` of the code to correct first; the line is left out where it is not known.
    pub correct: Option<String>,
    /// The process of the stack that the error is about, if it is about one.
    pub process: Option<String>,
    /// The exit status: that of the code, or a child's own.
    pub exit: Exit,
}

impl Report {
    /// Returns a report with only a message.
    pub fn new(code: Code, message: impl Into<String>) -> Report {
        Report {
            code,
            message: message.into(),
            fault: code.fault(),
            cause: None,
            holder: None,
            fix: None,
            correct: None,
            process: None,
            exit: code.exit(),
        }
    }

    /// Returns a report about a bug in devrun: a state that should be impossible.
    pub fn bug(message: impl Into<String>) -> Report {
        Report::new(Code::Bug, message).with_fix("please report this, with the output of the same command")
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<String>) -> Report {
        self.cause = Some(cause.into());
        self
    }

    /// Appends a line to the cause.
    #[must_use]
    pub fn and_cause(mut self, more: impl AsRef<str>) -> Report {
        let cause = self.cause.get_or_insert_default();
        if !cause.is_empty() {
            cause.push('\n');
        }
        cause.push_str(more.as_ref());
        self
    }

    /// Sets where the fault lies.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Report {
        self.fault = Some(fault);
        self
    }

    /// Blames nothing: it is not known where the fault lies, or nothing is at fault.
    #[must_use]
    pub fn without_fault(mut self) -> Report {
        self.fault = None;
        self
    }

    /// Sets the next step.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Report {
        self.fix = Some(fix.into());
        self
    }

    /// Names the process that the error is about.
    #[must_use]
    pub fn about(mut self, process: &str) -> Report {
        self.process = Some(process.into());
        self
    }

    /// Returns the fix. Without one, returns the command that explains the state of the process that the error is about.
    pub fn next_step(&self) -> Option<String> {
        self.fix.clone().or_else(|| self.process.as_deref().map(explain))
    }

    /// Names the place in the code to correct first.
    #[must_use]
    pub fn with_correct(mut self, place: impl Into<String>) -> Report {
        self.correct = Some(place.into());
        self
    }

    /// Sets the holder of the needed resource.
    #[must_use]
    pub fn with_holder(mut self, holder: Holder) -> Report {
        self.holder = Some(holder);
        self
    }

    /// Sets another exit status than that of the code.
    #[must_use]
    pub fn with_exit(mut self, exit: Exit) -> Report {
        self.exit = exit;
        self
    }
}

/// Returns the command that explains the state of the process `name`.
pub fn explain(name: &str) -> String {
    format!("devrun why {name}")
}

/// The words with which a fix asks for another start. The command returns to its caller when the stack is ready, so that it is right
/// for scripts and agents too.
pub const RERUN: &str = "run `devrun up -d`";

/// The command that makes the branch database a copy of its parent again.
pub const RESET: &str = "devrun db reset --yes";

/// The command that starts a stack which does not run.
pub const START: &str = "devrun up -d";

/// The command that makes the branch database of a running stack a copy of its parent again. A reset is refused while the stack runs.
pub const RESET_STACK: &str = "devrun down && devrun db reset --yes && devrun up -d";

/// The command that starts a running stack again, with the settings, packages and migrations of now.
pub const RESTART_STACK: &str = "devrun down && devrun up -d";
/// The command that starts a stack on its home slot, and ends the user's own server there. Before `down`, `up` finds the stack and ends
/// nothing; without `--yes`, it asks on a terminal and fails elsewhere.
pub const REPLACE_SERVER: &str = "devrun down && devrun up -d --replace --yes";

/// A [`Report`] as JSON. Fields that do not apply are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// Name of the [`Code`].
    pub code: String,
    /// One line: what happened.
    pub message: String,
    /// Where the fault lies. Absent if nothing is at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// The cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The process that holds a needed resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// The one thing to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// `file:line` of the code to correct first; the line is left out where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correct: Option<String>,
    /// The process of the stack that the error is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// True if no fix is known: `fix` only asks `devrun why` about the process.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ask_why: bool,
    /// The exit status.
    pub exit: u8,
}

impl ErrorBody {
    /// Returns the fix, if one is known.
    pub fn known_fix(&self) -> Option<&str> {
        self.fix.as_deref().filter(|_| !self.ask_why)
    }
}

impl From<&Report> for ErrorBody {
    fn from(report: &Report) -> ErrorBody {
        ErrorBody {
            code: report.code.name().into(),
            message: report.message.clone(),
            fault: report.fault,
            cause: report.cause.clone(),
            holder: report.holder.clone(),
            fix: report.next_step(),
            correct: report.correct.clone(),
            process: report.process.clone(),
            ask_why: report.fix.is_none() && report.process.is_some(),
            exit: report.exit.status(),
        }
    }
}

impl From<ErrorBody> for Report {
    fn from(body: ErrorBody) -> Report {
        // A newer devrun may have more codes. Its message and status are enough then.
        let code = Code::from_name(&body.code).unwrap_or(Code::Bug);
        let exit = if code.exit().status() == body.exit { code.exit() } else { Exit::Child(body.exit) };
        let fix = body.known_fix().map(Into::into);
        let ErrorBody { message, fault, cause, holder, correct, process, .. } = body;
        Report { code, message, fault, cause, holder, fix, correct, process, exit }
    }
}

impl<E: Explain> From<E> for Report {
    fn from(error: E) -> Report {
        let code = error.code();
        Report {
            code,
            message: error.to_string(),
            fault: error.fault(),
            cause: error.why(),
            holder: error.holder(),
            fix: error.fix(),
            correct: error.correct(),
            process: None,
            exit: code.exit(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_failure_class_has_a_different_status() {
        let mut classes: HashSet<Exit> = Code::ALL.iter().map(|code| code.exit()).collect();
        classes.extend([Exit::Ok, Exit::Interrupted]);
        let statuses: HashSet<u8> = classes.iter().map(|class| class.status()).collect();
        assert_eq!(statuses.len(), classes.len());
    }

    #[test]
    fn signals_become_128_plus_their_number() {
        assert_eq!(Exit::from_signal(2).status(), 130);
        assert_eq!(Exit::from_signal(9).status(), 137);
        assert_eq!(Exit::from_signal(15).status(), 143);
    }

    #[test]
    fn an_error_about_a_process_names_it_in_a_field() {
        let body = ErrorBody::from(&Report::new(Code::NotReady, "web is not ready").about("web"));
        assert_eq!((body.process.as_deref(), body.fix.as_deref()), (Some("web"), Some("devrun why web")));
        assert_eq!(body.known_fix(), None);
        let report = Report::from(body);
        assert_eq!((report.process.as_deref(), &report.fix), (Some("web"), &None));
        let known = ErrorBody::from(&report.with_fix("devrun why the sky is blue"));
        assert_eq!(
            known.known_fix(),
            Some("devrun why the sky is blue"),
            "a fix is known, whatever its text is"
        );
    }

    #[test]
    fn codes_have_distinct_kebab_case_names() {
        let names: HashSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    }
}
