//! What can go wrong with a migration, and whether that is the environment's fault or the code's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::reason;
use super::{MigrateRequest, text};
use crate::database::connect::{ConnectError, in_words};
use crate::database::heads::{self, Head, History, Missing};
use crate::error::{Code, Explain, Fault, Holder};
use crate::event::Ending;
use crate::os::cmd::CmdError;
use crate::os::read::ReadError;
use crate::text::Mask;

/// Why the schema is not in step.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A glob makes no sense.
    #[error("`{pattern}` in the migration inputs is no pattern for files: {reason}")]
    Inputs {
        /// As it was written.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A migration file cannot be read.
    #[error("cannot read migration file {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// Another devrun migrates for longer than we wait.
    #[error("{name} has been locked for migration for more than {} s", waited.as_secs())]
    Locked {
        /// The database.
        name: String,
        /// How long we waited.
        waited: Duration,
        /// Who has it, as its connection calls itself.
        holder: String,
    },
    /// The database user may not write the marker.
    #[error("the database user may not record migrations: {0}")]
    Rights(String),
    /// The connection broke while it was needed.
    #[error("the connection to the database was lost during the migration: {0}")]
    Lost(String),
    /// The server refused a statement of ours.
    #[error("cannot record the migration: {0}")]
    Marker(String),
    /// Several heads, and a command that needs one.
    #[error("{}", list(heads))]
    Heads {
        /// The heads; empty when only the command knows them.
        heads: Vec<Head>,
        /// The command that merges them.
        merge: String,
    },
    /// A migration names a parent that no file defines.
    #[error("migration {} comes after revision {}, which no file defines", missing.file.display(), missing.revision)]
    MissingParent {
        /// Which, and where it is named.
        missing: Missing,
        /// What the command said.
        tail: String,
    },
    /// The command succeeded and the branch database does not show it.
    #[error("`{command}` succeeded and did not change {name}: {missing}")]
    Elsewhere {
        /// The database.
        name: String,
        /// The command, without secrets.
        command: String,
        /// What the database lacks.
        missing: String,
        /// The line that holds another address, when one was found.
        reads: Option<String>,
    },
    /// The command failed.
    #[error("migrating {name} failed: {what}")]
    Failed {
        /// The database.
        name: String,
        /// What happened to the command, without secrets.
        what: String,
        /// Its last lines, without secrets.
        tail: String,
        /// What it looks like.
        trouble: Trouble,
        /// Where it ran.
        directory: PathBuf,
    },
}

/// What a failed migration looks like, judged by its last words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The command or a library is not installed here.
    Dependencies,
    /// The module is a folder or file of the repository that the command does not find.
    OwnModule {
        /// Its name.
        module: String,
        /// Where it is.
        path: PathBuf,
    },
    /// A setting that the code requires is not set.
    Setting {
        /// Its name in upper case.
        name: String,
        /// The example file that has it, as `backend/.env.example:3`.
        example: Option<String>,
    },
    /// This Postgres lacks an extension, a role, a locale or a privilege that the migration needs.
    Lacking {
        /// The extension, where it is one.
        extension: Option<String>,
    },
    /// The database did not answer the command.
    Server,
    /// The database user lacks a right.
    Rights,
    /// The database was migrated by code this worktree does not have.
    UnknownRevision,
    /// It took too long.
    Slow,
    /// None of those: the migration itself.
    Code,
}

impl Trouble {
    /// Where to look.
    fn fault(&self) -> Fault {
        match self {
            Trouble::Code | Trouble::UnknownRevision => Fault::Code,
            Trouble::OwnModule { .. } | Trouble::Setting { .. } => Fault::Configuration,
            Trouble::Dependencies
            | Trouble::Server
            | Trouble::Rights
            | Trouble::Slow
            | Trouble::Lacking { .. } => Fault::Environment,
        }
    }
}

/// Phrases of tools and drivers, in lower case, by what they mean; the first that is found decides.
const SIGNS: [(Trouble, &[&str]); 5] = [
    (Trouble::UnknownRevision, &["can't locate revision"]),
    (Trouble::Dependencies, &["modulenotfounderror", "no module named", "cannot find module"]),
    // Postgres's own words for what one server has and another has not.
    (
        Trouble::Lacking { extension: None },
        &[
            "could not open extension control file",
            "permission denied to create",
            "permission denied to set",
            "must be superuser",
            "must be a superuser",
            "could not create locale",
            "superuser privilege",
        ],
    ),
    (
        Trouble::Server,
        &[
            "connection refused",
            "could not connect to server",
            "can't reach database server",
            "could not translate host name",
            "password authentication failed",
            "server closed the connection",
            "terminating connection",
            "the database system is",
            "no space left on device",
        ],
    ),
    (Trouble::Rights, &["insufficientprivilege", "permission denied for", "must be owner of"]),
];

fn trouble(error: &CmdError, tail: &str, directory: &Path) -> Trouble {
    match error {
        CmdError::NotFound(_) | CmdError::Spawn { .. } => Trouble::Dependencies,
        CmdError::TimedOut { .. } => Trouble::Slow,
        // The shell's word for a command it did not find.
        CmdError::Failed { output, .. } if output.ending == Ending::Code(127) => Trouble::Dependencies,
        CmdError::Failed { .. } => {
            if let Some(named) = reason::find(tail, directory) {
                return named;
            }
            let tail = tail.to_lowercase();
            let found = SIGNS.iter().find(|(_, signs)| signs.iter().any(|sign| tail.contains(sign)));
            found.map_or(Trouble::Code, |(trouble, _)| trouble.clone())
        }
    }
}

/// Refuses to start a command that needs one head when there are several.
pub(super) fn forbid_heads(
    request: &MigrateRequest<'_>,
    prefix: &str,
    history: &History,
) -> Result<(), MigrateError> {
    match history.heads() {
        heads if heads.len() < 2 => Ok(()),
        heads => Err(several(request, prefix, heads)),
    }
}

fn several(request: &MigrateRequest<'_>, prefix: &str, heads: Vec<Head>) -> MigrateError {
    let merge = heads::merge_command(prefix, &request.directory, &heads);
    MigrateError::Heads { heads, merge }
}

/// What the end of the command means. `tail` is already without secrets.
pub(super) fn explain(
    request: &MigrateRequest<'_>,
    mask: &Mask,
    history: &History,
    error: &CmdError,
    tail: String,
) -> MigrateError {
    if let Some(prefix) = heads::upgrades_to_head(&request.command) {
        if tail.contains("Multiple head revisions") {
            let seen = Some(history.heads()).filter(|heads| heads.len() > 1);
            return several(request, &prefix, seen.unwrap_or_default());
        }
        if let Some(missing) = history.missing().filter(|missing| tail.contains(&missing.revision)) {
            return MigrateError::MissingParent { missing, tail };
        }
    }
    let what = match error {
        CmdError::Failed { output, .. } => {
            format!("`{}` ended with {}", text(&request.command), output.ending)
        }
        other => other.to_string(),
    };
    MigrateError::Failed {
        name: request.name.clone(),
        what: mask.apply(&what),
        trouble: trouble(error, &tail, &request.directory),
        tail,
        directory: request.directory.clone(),
    }
}

fn list(heads: &[Head]) -> String {
    if heads.is_empty() {
        return "the migrations have several heads".into();
    }
    let each = heads.iter().map(|h| format!("{} \"{}\" ({})", h.revision, h.message, h.file.display()));
    format!("the migrations have {} heads: {}", heads.len(), each.collect::<Vec<_>>().join(", "))
}

impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> MigrateError {
        let words = in_words(&error);
        match error.code() {
            Some(state) if *state == SqlState::INSUFFICIENT_PRIVILEGE => MigrateError::Rights(words),
            // Class 57: the server was told to end the session.
            Some(state) if !state.code().starts_with("57") => MigrateError::Marker(words),
            _ => MigrateError::Lost(words),
        }
    }
}

impl Explain for MigrateError {
    fn code(&self) -> Code {
        match self {
            MigrateError::Connect(error) => error.code(),
            MigrateError::Inputs { .. } => Code::ConfigInvalid,
            MigrateError::Lost(_) => Code::DatabaseUnavailable,
            MigrateError::Heads { .. } => Code::MigrationHeads,
            MigrateError::Read { .. }
            | MigrateError::Locked { .. }
            | MigrateError::Rights(_)
            | MigrateError::Marker(_)
            | MigrateError::MissingParent { .. }
            | MigrateError::Elsewhere { .. }
            | MigrateError::Failed { .. } => Code::MigrationFailed,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            MigrateError::Connect(error) => error.why(),
            MigrateError::Heads { .. } => Some(
                "each was the newest when it was made; which one comes first is a decision about the code, \
                 nothing is wrong with the environment"
                    .into(),
            ),
            MigrateError::Failed { tail, .. } | MigrateError::MissingParent { tail, .. } => {
                Some(tail.clone()).filter(|tail| !tail.is_empty())
            }
            MigrateError::Elsewhere { reads, .. } => Some(match reads {
                Some(line) => format!(
                    "it worked on the database of another address; {line} has one, which every worktree shares"
                ),
                None => "it worked on the database of another address, which every worktree may share".into(),
            }),
            MigrateError::Rights(_) => {
                Some("devrun keeps a table `_devrun.marker` in the branch database".into())
            }
            _ => None,
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            MigrateError::Connect(error) => return error.fix(),
            MigrateError::Inputs { .. } => "correct `inputs` of the migration in devrun.yaml".into(),
            MigrateError::Read { path, .. } => format!(
                "check kind, size, owner and mode of {}, or correct `inputs` of the migration",
                path.display()
            ),
            MigrateError::Locked { .. } => {
                "wait for the other devrun, or stop it, then run `devrun` again".into()
            }
            MigrateError::Rights(_) => "let the database user create a \
                 schema (grant create on database … to …), then run `devrun` again"
                .into(),
            MigrateError::Lost(_) | MigrateError::Marker(_) => "run `devrun` again, it migrates again".into(),
            MigrateError::Heads { merge, .. } => {
                format!("run `{merge}`, read and commit the file it makes, then run `devrun` again")
            }
            MigrateError::MissingParent { missing, .. } => format!(
                "bring back the file of revision {} (it may be on another \
                 branch), or correct down_revision in {}, then run `devrun` again",
                missing.revision,
                missing.file.display()
            ),
            MigrateError::Elsewhere { .. } => {
                "name the variable that the tool reads under `database.url_env` in \
                 devrun.yaml, or let the tool's configuration read DATABASE_URL, then run `devrun` again"
                    .into()
            }
            MigrateError::Failed { trouble, directory, .. } => {
                advice(trouble, &directory.display().to_string())
            }
        })
    }

    fn fault(&self) -> Option<Fault> {
        match self {
            MigrateError::Connect(error) => error.fault(),
            MigrateError::Inputs { .. } | MigrateError::Elsewhere { .. } => Some(Fault::Configuration),
            MigrateError::Heads { .. } | MigrateError::MissingParent { .. } => Some(Fault::Code),
            MigrateError::Failed { trouble, .. } => Some(trouble.fault()),
            MigrateError::Read { .. }
            | MigrateError::Locked { .. }
            | MigrateError::Rights(_)
            | MigrateError::Lost(_)
            | MigrateError::Marker(_) => Some(Fault::Environment),
        }
    }

    fn holder(&self) -> Option<Holder> {
        match self {
            MigrateError::Locked { holder, .. } => {
                Some(Holder { pid: None, command: Some(holder.clone()), worktree: None })
            }
            _ => None,
        }
    }
}

fn advice(trouble: &Trouble, directory: &str) -> String {
    match trouble {
        Trouble::OwnModule { module, path } => format!(
            "`{module}` is this repository's own {}: add `prepend_sys_path = .` to {directory}/alembic.ini, or set \
             PYTHONPATH under `env:` in devrun.yaml",
            path.display()
        ),
        Trouble::Setting { name, example: Some(example) } => {
            format!("set {name} in the env file: {example} has it, then run `devrun` again")
        }
        Trouble::Setting { name, example: None } => {
            format!("set {name} in .env or under `env:` in devrun.yaml, then run `devrun` again")
        }
        Trouble::Lacking { extension: Some(extension) } => format!(
            "use a Postgres that has the extension `{extension}`: set `database.local.bin` in devrun.yaml to its \
             programs, or use Neon"
        ),
        Trouble::Lacking { extension: None } => {
            "use a Postgres that allows this: set `database.local.bin` in \
             devrun.yaml to its programs, or use Neon"
                .into()
        }
        Trouble::Dependencies => format!(
            "something the migration needs is not installed for \
             {directory}; install or declare it, then run `devrun` again"
        ),
        Trouble::Server => "the migration could not use the \
             database; run `devrun` again"
            .into(),
        Trouble::Rights => "give the database user the right \
             that is missing, then run `devrun` again"
            .into(),
        Trouble::UnknownRevision => {
            "the database was migrated by code that this worktree does not have, such as \
             another branch or a rebased one: `devrun db reset` makes it a copy of its parent \
             again (what is in it is lost), then run `devrun` again"
                .into()
        }
        Trouble::Slow => {
            "look whether something else holds the tables it changes, then run `devrun` again".into()
        }
        Trouble::Code => format!(
            "correct the migration in {directory}, then run \
             `devrun` again"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::cmd::Output;

    #[test]
    fn the_last_words_tell_environment_from_code() {
        let failed = |code| CmdError::Failed {
            command: "m".into(),
            output: Box::new(Output { ending: Ending::Code(code), stdout: Vec::new(), stderr: Vec::new() }),
        };
        for (tail, expected) in [
            ("sqlalchemy.exc.ProgrammingError: column \"x\" does not exist", Trouble::Code),
            ("", Trouble::Code),
            ("ModuleNotFoundError: No module named 'psycopg'", Trouble::Dependencies),
            ("connection to server at \"h\" failed: Connection refused", Trouble::Server),
            ("FATAL:  terminating connection due to administrator command", Trouble::Server),
            ("(psycopg.errors.InsufficientPrivilege) permission denied for schema public", Trouble::Rights),
            ("FAILED: Can't locate revision identified by 'a1'", Trouble::UnknownRevision),
        ] {
            assert_eq!(trouble(&failed(1), tail, Path::new("/w")), expected, "{tail}");
        }
        assert_eq!(
            trouble(&failed(127), "/bin/sh: 1: alembic: not found", Path::new("/w")),
            Trouble::Dependencies
        );
        assert_eq!(
            trouble(&CmdError::NotFound("alembic".into()), "", Path::new("/w")),
            Trouble::Dependencies
        );
    }
}
