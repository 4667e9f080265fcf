//! What went wrong, in the form people and agents are told it: a stable code, the exit status of its class,
//! what happened, why, who holds what we needed, and the one thing to do next.
//!
//! Rooms keep their own typed errors and implement [`Explain`]; this module turns them into a [`Report`].
//! It refuses to print (that is `ui`) and to decide (that is whoever returned the error).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Exit status of the program, one per failure class. Children's own codes and `128 + signal` pass through
/// as [`Exit::Child`]; the classes sit at 80 and above, where neither shells nor servers put theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// All went well.
    Ok,
    /// A child's own exit code, or `128 + signal` when a signal ended it.
    Child(u8),
    /// Ctrl-C: 128 + SIGINT.
    Interrupted,
    /// The command line could not be understood (clap's own status).
    Usage,
    /// A bug in devrun (`EX_SOFTWARE`).
    Bug,
    /// A file or folder of devrun's own could not be read or written (`EX_IOERR`).
    State,
    /// devrun.yaml, Procfile or env files.
    Config,
    /// git could not be asked or its answer makes no sense.
    Git,
    /// No ports, or a port held by somebody else.
    Ports,
    /// Node or Python dependencies could not be installed.
    Dependencies,
    /// The branch database could not be reached or made.
    Database,
    /// Migrations failed or must not be run.
    Migration,
    /// A process never became ready.
    Readiness,
    /// A process could not be started at all.
    Process,
    /// Another devrun already owns this worktree.
    Busy,
    /// The worktree was taken away under its stack.
    Gone,
    /// A process uses a server that is not this worktree's.
    Isolation,
}

impl Exit {
    /// The number handed to the operating system.
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
        }
    }

    /// The status of something ended by `signal`, as shells report it.
    pub fn from_signal(signal: i32) -> Exit {
        match signal {
            2 => Exit::Interrupted,
            other => Exit::Child(u8::try_from(128 + other).unwrap_or(255)),
        }
    }
}

/// Where to look for what went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// Something around the code: ports, tools, packages, the database, the disk. Editing the code does not help.
    Environment,
    /// What is checked out here.
    Code,
    /// devrun.yaml, Procfile or env files.
    Configuration,
    /// devrun itself.
    Devrun,
}

impl Fault {
    /// As told to people.
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
        /// The stable name of a failure. Names are part of the contract with agents: they are added to,
        /// never changed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant),+ }

        impl Code {
            /// Every code, in the order of the documentation's table.
            pub const ALL: &'static [Code] = &[$(Code::$variant),+];

            /// The name as printed and documented.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name),+ }
            }

            /// The code of this name.
            pub fn from_name(name: &str) -> Option<Code> {
                Code::ALL.iter().copied().find(|code| code.name() == name)
            }

            /// The exit status of the class this code belongs to.
            pub const fn exit(self) -> Exit {
                match self { $(Code::$variant => Exit::$exit),+ }
            }

            /// Where to look, unless whoever reports it knows better; `None` when nothing is at fault.
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
    /// A file or folder of devrun's own state is unusable.
    State = "state-unusable" => State Environment,
    /// The configuration does not parse or contradicts itself.
    ConfigInvalid = "config-invalid" => Config Configuration,
    /// No configuration, and the repository has no shape devrun knows.
    ConfigMissing = "config-missing" => Config Configuration,
    /// A variable that a value needs is not set.
    VariableMissing = "variable-missing" => Config Configuration,
    /// git is not installed.
    GitMissing = "git-missing" => Git Environment,
    /// git refused or answered nonsense.
    GitFailed = "git-failed" => Git Environment,
    /// A port is held by somebody else and `--strict-ports` forbids moving on.
    PortBusy = "port-busy" => Ports Environment,
    /// Every slot is taken.
    PortsExhausted = "ports-exhausted" => Ports Environment,
    /// Somebody else answers on a port that should be ours.
    PortStolen = "port-stolen" => Ports Environment,
    /// A tool that dependencies need (node, pnpm, uv, python) is not installed.
    ToolMissing = "tool-missing" => Dependencies Environment,
    /// The lock file does not match the manifest.
    LockfileStale = "lockfile-stale" => Dependencies Code,
    /// Installing dependencies failed.
    InstallFailed = "install-failed" => Dependencies Environment,
    /// No Postgres binaries could be found or fetched.
    PostgresMissing = "postgres-missing" => Database Environment,
    /// The database server does not start or answer.
    DatabaseUnavailable = "database-unavailable" => Database Environment,
    /// The branch database could not be created.
    DatabaseFailed = "database-failed" => Database Environment,
    /// There is no branch database of that name.
    DatabaseMissing = "database-missing" => Database,
    /// A branch database must not be taken away: others work with it, or devrun did not make it.
    DatabaseKept = "database-kept" => Database,
    /// The migration command failed.
    MigrationFailed = "migration-failed" => Migration Code,
    /// Several migration heads; merging them is a person's decision.
    MigrationHeads = "migration-heads" => Migration Code,
    /// A process did not become ready in time.
    NotReady = "not-ready" => Readiness Code,
    /// A process could not be started.
    SpawnFailed = "spawn-failed" => Process Configuration,
    /// A process ended although it should go on.
    ProcessEnded = "process-ended" => Process Code,
    /// A devrun already runs in this worktree.
    AlreadyRunning = "already-running" => Busy,
    /// Nothing runs in this worktree.
    NotRunning = "not-running" => Busy,
    /// What was asked makes no sense, although the command line parses.
    Usage = "usage" => Usage,
    /// What cannot be taken back needs a yes, and there was none.
    NotConfirmed = "not-confirmed" => Usage,
    /// There is no process of that name.
    ProcessUnknown = "process-unknown" => Usage,
    /// The supervisor does not answer, or what was asked took longer than it may.
    TimedOut = "timed-out" => Busy,
    /// The worktree was removed, moved or replaced while its stack ran.
    WorktreeGone = "worktree-gone" => Gone Environment,
    /// A process is connected to a server that is not this worktree's, and `--strict-isolation` forbids it.
    NotIsolated = "not-isolated" => Isolation Configuration,
}

/// Who holds what we needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// Process id, when it could be found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its command line, shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The worktree it belongs to, when it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.command, self.pid) {
            (Some(command), Some(pid)) => write!(f, "{command} (pid {pid})")?,
            (Some(command), None) => f.write_str(command)?,
            (None, Some(pid)) => write!(f, "pid {pid}")?,
            (None, None) => f.write_str("a process of another user")?,
        }
        match &self.worktree {
            Some(worktree) => write!(f, " of worktree {worktree}"),
            None => Ok(()),
        }
    }
}

/// A typed error of some room, explained. `Display` of the error is one line that says what happened.
pub trait Explain: std::error::Error {
    /// The stable code.
    fn code(&self) -> Code;
    /// Why it happened, when the message alone does not say.
    fn why(&self) -> Option<String> {
        None
    }
    /// The one thing to do next.
    fn fix(&self) -> Option<String> {
        None
    }
    /// Who holds what we needed.
    fn holder(&self) -> Option<Holder> {
        None
    }
    /// Where to look, when the code alone does not say.
    fn fault(&self) -> Option<Fault> {
        self.code().fault()
    }
}

/// A failure as it is told: the rendering of any [`Explain`], cheap to clone and to send.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Report {
    /// The stable code.
    pub code: Code,
    /// One line: what happened.
    pub message: String,
    /// Where to look.
    pub fault: Option<Fault>,
    /// Why; may have several lines (a tool's own output, for example).
    pub cause: Option<String>,
    /// Who holds what we needed.
    pub holder: Option<Holder>,
    /// The one thing to do next.
    pub fix: Option<String>,
    /// The exit status; the code's own unless a child's passes through.
    pub exit: Exit,
}

impl Report {
    /// A report with nothing but its message.
    pub fn new(code: Code, message: impl Into<String>) -> Report {
        Report {
            code,
            message: message.into(),
            fault: code.fault(),
            cause: None,
            holder: None,
            fix: None,
            exit: code.exit(),
        }
    }

    /// A bug in devrun: something that cannot happen did.
    pub fn bug(message: impl Into<String>) -> Report {
        Report::new(Code::Bug, message).with_fix("please report this, with the output of the same command")
    }

    /// Says why.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<String>) -> Report {
        self.cause = Some(cause.into());
        self
    }

    /// Says one thing more about why.
    #[must_use]
    pub fn and_cause(mut self, more: impl AsRef<str>) -> Report {
        let cause = self.cause.get_or_insert_default();
        if !cause.is_empty() {
            cause.push('\n');
        }
        cause.push_str(more.as_ref());
        self
    }

    /// Says where to look.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Report {
        self.fault = Some(fault);
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Report {
        self.fix = Some(fix.into());
        self
    }

    /// Says who holds it.
    #[must_use]
    pub fn with_holder(mut self, holder: Holder) -> Report {
        self.holder = Some(holder);
        self
    }

    /// Ends the program with another status than the code's own.
    #[must_use]
    pub fn with_exit(mut self, exit: Exit) -> Report {
        self.exit = exit;
        self
    }
}

/// A [`Report`] as JSON: fields that do not apply are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// Name of the [`Code`].
    pub code: String,
    /// One line: what happened.
    pub message: String,
    /// Where to look; left out where nothing is at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Who holds what was needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// The one thing to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The exit status.
    pub exit: u8,
}

impl From<&Report> for ErrorBody {
    fn from(report: &Report) -> ErrorBody {
        ErrorBody {
            code: report.code.name().into(),
            message: report.message.clone(),
            fault: report.fault,
            cause: report.cause.clone(),
            holder: report.holder.clone(),
            fix: report.fix.clone(),
            exit: report.exit.status(),
        }
    }
}

impl From<ErrorBody> for Report {
    fn from(body: ErrorBody) -> Report {
        // A newer devrun may know more codes; its words and its status say enough.
        let code = Code::from_name(&body.code).unwrap_or(Code::Bug);
        let exit = if code.exit().status() == body.exit { code.exit() } else { Exit::Child(body.exit) };
        let ErrorBody { message, fault, cause, holder, fix, .. } = body;
        Report { code, message, fault, cause, holder, fix, exit }
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
            exit: code.exit(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_failure_class_has_a_status_of_its_own() {
        let classes = [
            Exit::Ok,
            Exit::Interrupted,
            Exit::Usage,
            Exit::Bug,
            Exit::State,
            Exit::Config,
            Exit::Git,
            Exit::Ports,
            Exit::Dependencies,
            Exit::Database,
            Exit::Migration,
            Exit::Readiness,
            Exit::Process,
            Exit::Busy,
            Exit::Gone,
        ];
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
    fn codes_have_distinct_kebab_case_names() {
        let names: HashSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    }
}
