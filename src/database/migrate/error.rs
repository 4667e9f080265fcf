//! Defines the errors of a migration, and decides whether the environment or the code is at fault.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use tokio_postgres::error::SqlState;

use super::MigrateRequest;
use super::address::{self, ServerAddress};
use super::advice;
use super::failure_cause::{self, ExtensionAdvice, FailureCause};
use super::schema_change::SchemaChange;
use crate::context::missing_program;
use crate::context::missing_settings::{self, ProgramPlace};
use crate::database::alembic_history::{self, AlembicHead, Duplicate, History, Missing};
use crate::database::connect::{ConnectError, in_words};
use crate::error::{Code, Explain, Fault, Holder, RERUN};
use crate::event::Ending;
use crate::os::cmd::CmdError;
use crate::os::fs::FsError;
use crate::os::read::ReadError;
use crate::text::diagnosis;
use crate::text::{Mask, quoted};

/// An error while bringing the schema up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The connection failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A glob is invalid.
    #[error("`{pattern}` in the `inputs` of the migration is not a valid glob: {reason}")]
    Inputs {
        /// The glob as written.
        pattern: String,
        /// The error in the glob.
        reason: String,
    },
    /// A migration file cannot be read.
    #[error("cannot read migration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: ReadError,
    },
    /// Another devrun is migrating and did not finish within the time limit.
    #[error("{name} has been locked for migration for more than {} s", waited.as_secs())]
    Locked {
        /// The database.
        name: String,
        /// The time limit.
        waited: Duration,
        /// The name that the other devrun gave its connection.
        holder: String,
    },
    /// The database user may not write the marker.
    #[error("the database user may not record migrations: {0}")]
    Rights(String),
    /// The connection broke during the migration.
    #[error("the connection to the database was lost during the migration: {0}")]
    Lost(String),
    /// The server refused a statement of devrun.
    #[error("cannot record the migration: {0}")]
    Marker(String),
    /// The record of the migration cannot be read or written.
    #[error(transparent)]
    Record(#[from] FsError),
    /// psql cannot work in the database.
    #[error("`database.migrate.sql` needs a Postgres, and {0} is none")]
    NeedsPostgres(String),
    /// There are several heads, and the command needs exactly one.
    #[error("{}", list(heads))]
    Heads {
        /// The heads; empty if only the command's output reports them.
        heads: Vec<AlembicHead>,
        /// The command that merges them.
        merge: String,
    },
    /// Two migrations have the same id.
    #[error("two migrations have the revision id {}: {} and {}", _0.revision, _0.at[0], _0.at[1])]
    Duplicate(Duplicate),
    /// A migration names a parent that no file defines.
    #[error("migration {} comes after revision {}, which no file defines", missing.at.file.display(), missing.revision)]
    MissingParent {
        /// The parent, and the line that names it, with its absolute path.
        missing: Missing,
        /// The output of the command.
        tail: String,
    },
    /// The command succeeded, but the branch database does not show its effect.
    #[error("`{command}` succeeded but did not change {name}: {missing}")]
    Elsewhere {
        /// The database.
        name: String,
        /// The command, without secrets.
        command: String,
        /// The object or revision that the database lacks.
        missing: String,
        /// The line that contains another address, if one was found.
        reads: Option<String>,
        /// The variable with the URL of the branch database.
        variable: String,
    },
    /// The command would migrate another database.
    #[error("`{command}` was not run: it would migrate the database in {line} instead of {name}")]
    Refused {
        /// The database.
        name: String,
        /// The command, without secrets.
        command: String,
        /// The line with the address of the other database.
        line: String,
        /// The variable with the URL of the branch database.
        variable: String,
    },
    /// A migration creates an extension that the server does not have.
    #[error("{name} was not migrated: its server has no extension `{extension}`, which {at} creates")]
    Extension {
        /// The database.
        name: String,
        extension: String,
        /// The `file:line` that creates it, relative to the worktree.
        at: String,
        advice: Option<Box<ExtensionAdvice>>,
    },
    /// The command failed.
    #[error("migrating {name} failed: {what}")]
    Failed {
        /// The database.
        name: String,
        /// How the command ended, without secrets.
        what: String,
        /// The revision of the database, if it is known, and the last lines of the output, without secrets.
        tail: String,
        /// The likely cause.
        trouble: FailureCause,
        /// The folder in which it ran.
        directory: Box<Path>,
        /// The variable with the URL of the branch database.
        variable: Box<str>,
        /// True if devrun does not reset the database, because others are copied from it.
        is_kept: bool,
        /// `file:line` of the repository's own code that failed, where the command named it.
        place: Option<String>,
    },
}

/// Phrases of tools and drivers, in lower case, by their meaning. The first entry with a match decides.
const SIGNS: [(FailureCause, &[&str]); 7] = [
    (FailureCause::UnknownRevision { parent: None }, &["can't locate revision"]),
    // Prisma downloads its engines at the first use.
    (FailureCause::Download, &["failed to fetch the engine file", "failed to fetch sha256 checksum"]),
    (FailureCause::Dependencies, &["modulenotfounderror", "no module named", "cannot find module"]),
    // Postgres's messages about things that differ between servers.
    (
        FailureCause::Lacking { extension: None, advice: None },
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
        FailureCause::Server,
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
    (FailureCause::Rights, &["insufficientprivilege", "permission denied for", "must be owner of"]),
    // The names of [`EXISTS`] in psycopg and asyncpg, and Postgres's own words.
    (FailureCause::Exists, &["duplicatecolumn", "duplicatetable", "duplicateobject", "\" already exists"]),
];

/// The SQLSTATE codes of [`FailureCause::Exists`]: a column, a table or another object exists already.
static EXISTS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?i)\b(42701|42P07|42710)\b").ok());

fn trouble(
    error: &CmdError,
    tail: &str,
    program: &ProgramPlace<'_>,
    url: &str,
    has_packages: bool,
) -> FailureCause {
    match error {
        error
            if error.is_missing_program()
                && !has_packages
                && missing_program::manifest(program.directory, program.root).is_some() =>
        {
            FailureCause::UndeclaredPackages
        }
        CmdError::NotFound(_) | CmdError::Spawn { .. } => FailureCause::Dependencies,
        CmdError::TimedOut { .. } => FailureCause::Slow,
        // A shell exits with 127 if it does not find the command.
        CmdError::Failed { output, .. } if output.ending == Ending::Code(127) => FailureCause::Dependencies,
        CmdError::Failed { .. } => {
            if address::is_download(tail) {
                return FailureCause::Download;
            }
            if let Some(other) = other_server(tail, program.directory, url) {
                return other;
            }
            if let Some(named) = failure_cause::find(tail, program) {
                return named;
            }
            let lower = tail.to_lowercase();
            let found = SIGNS.iter().find(|(_, signs)| signs.iter().any(|sign| lower.contains(sign)));
            match found {
                Some((trouble, _)) => trouble.clone(),
                None if EXISTS.as_ref().is_some_and(|codes| codes.is_match(tail)) => FailureCause::Exists,
                None => FailureCause::Code,
            }
        }
    }
}

/// Returns [`FailureCause::OtherServer`] if the command failed to reach a server that is not the one of `url`.
fn other_server(tail: &str, directory: &Path, url: &str) -> Option<FailureCause> {
    let (address, own) = (address::unreached(tail)?, ServerAddress::of(url)?);
    (!address.is(&own)).then(|| {
        let written = address::written(directory, &address);
        FailureCause::OtherServer { address, own, written }
    })
}

/// Returns the error that names `heads` and the command that merges them.
pub(super) fn several_heads(
    request: &MigrateRequest<'_>,
    prefix: &str,
    mut heads: Vec<AlembicHead>,
) -> MigrateError {
    for head in &mut heads {
        head.file = request.directory.join(&head.file);
    }
    let merge = alembic_history::merge_command(prefix, &request.directory, &heads);
    MigrateError::Heads { heads, merge }
}

/// Turns the end of a failed command into an error. `tail` must not contain secrets.
pub(super) fn explain(
    request: &MigrateRequest<'_>,
    mask: &Mask,
    history: &History,
    error: &CmdError,
    tail: String,
    left: &SchemaChange,
) -> MigrateError {
    // The message shows that Alembic loads both files. devrun cannot know that for files in different folders.
    if let Some(duplicate) = history.duplicate()
        && tail.contains(&format!("Revision {} is present more than once", duplicate.revision))
    {
        return MigrateError::duplicate(&request.directory, duplicate);
    }
    if let Some(prefix) = alembic_history::upgrades_to_head(&request.command) {
        if tail.contains("Multiple head revisions") {
            let seen = Some(history.heads()).filter(|heads| heads.len() > 1);
            return several_heads(request, &prefix, seen.unwrap_or_default());
        }
        if let Some(mut missing) = history.missing().filter(|missing| tail.contains(&missing.revision)) {
            missing.at.file = request.directory.join(&missing.at.file);
            return MigrateError::MissingParent { missing, tail };
        }
    }
    let set = missing_settings::set_names(request.env.keys());
    let program = ProgramPlace { directory: &request.directory, root: &request.root, set: &set };
    let what = match error {
        CmdError::Failed { output, .. } => {
            format!("`{}` ended with {}", request.command, output.ending)
        }
        other => other.to_string(),
    };
    MigrateError::Failed {
        name: request.name.clone(),
        variable: request.variable.as_str().into(),
        what: mask.apply(&what),
        trouble: match trouble(error, &tail, &program, &request.branch.direct_url, request.has_packages) {
            FailureCause::Code if left.has_parts() => FailureCause::HalfApplied(left.new_objects.clone()),
            FailureCause::Exists if left.half_applied => FailureCause::HalfApplied(left.new_objects.clone()),
            FailureCause::Exists if left.is_about_new_object(&tail) => {
                FailureCause::Leftover(left.new_objects.clone())
            }
            trouble => trouble,
        },
        place: diagnosis::read(tail.lines(), &request.root).and_then(|read| read.place),
        tail: match left.sentence() {
            Some(sentence) => format!("{sentence}\n{tail}"),
            None => tail,
        },
        directory: request.directory.as_path().into(),
        is_kept: false,
    }
}

impl MigrateError {
    /// Returns the error about two files, relative to `directory`, with the same id.
    pub fn duplicate(directory: &Path, duplicate: &Duplicate) -> MigrateError {
        let mut found = duplicate.clone();
        for at in &mut found.at {
            at.file = directory.join(&at.file);
        }
        MigrateError::Duplicate(found)
    }

    /// Returns true if the database has a revision that no file of the worktree defines.
    pub fn is_unknown_revision(&self) -> bool {
        matches!(self, MigrateError::Failed { trouble: FailureCause::UnknownRevision { .. }, .. })
    }

    /// Returns the extension that the server does not have, if that is the cause.
    pub fn missing_extension(&self) -> Option<&str> {
        match self {
            MigrateError::Extension { extension, .. }
            | MigrateError::Failed {
                trouble: FailureCause::Lacking { extension: Some(extension), .. },
                ..
            } => Some(extension),
            _ => None,
        }
    }

    /// Adds how to get a server with the missing extension.
    #[must_use]
    pub fn with_extension_advice(mut self, found: ExtensionAdvice) -> MigrateError {
        if let MigrateError::Extension { advice, .. }
        | MigrateError::Failed { trouble: FailureCause::Lacking { advice, .. }, .. } = &mut self
        {
            *advice = Some(Box::new(found));
        }
        self
    }

    /// Adds that devrun does not reset the database.
    #[must_use]
    pub fn of_kept(mut self) -> MigrateError {
        if let MigrateError::Failed { is_kept, .. } = &mut self {
            *is_kept = true;
        }
        self
    }

    /// Adds that the database is a copy of `parent`, which has `revisions`.
    #[must_use]
    pub fn with_parent(mut self, parent: &str, revisions: &[String]) -> MigrateError {
        if let MigrateError::Failed { trouble: FailureCause::UnknownRevision { parent: known }, tail, .. } =
            &mut self
            && revisions.iter().any(|revision| tail.contains(&format!("'{revision}'")))
        {
            *known = Some(parent.into());
        }
        self
    }
}

fn list(heads: &[AlembicHead]) -> String {
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
            // SQLSTATE class 57: an administrator or a shutdown ended the session.
            Some(state) if !state.code().starts_with("57") => MigrateError::Marker(words),
            _ => MigrateError::Lost(words),
        }
    }
}

impl Explain for MigrateError {
    fn code(&self) -> Code {
        match self {
            MigrateError::Connect(error) => error.code(),
            MigrateError::Record(error) => error.code(),
            MigrateError::Inputs { .. } | MigrateError::NeedsPostgres(_) => Code::ConfigInvalid,
            MigrateError::Lost(_) => Code::DatabaseUnavailable,
            MigrateError::Heads { .. } => Code::MigrationHeads,
            MigrateError::Duplicate(_) => Code::MigrationDuplicate,
            MigrateError::Read { .. }
            | MigrateError::Locked { .. }
            | MigrateError::Rights(_)
            | MigrateError::Marker(_)
            | MigrateError::MissingParent { .. }
            | MigrateError::Elsewhere { .. }
            | MigrateError::Refused { .. }
            | MigrateError::Extension { .. }
            | MigrateError::Failed { .. } => Code::MigrationFailed,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            MigrateError::Connect(error) => error.why(),
            MigrateError::Heads { .. } => {
                Some("two lines of work added a migration after the same revision".into())
            }
            MigrateError::Duplicate(_) => Some("Alembic cannot tell them apart".into()),
            MigrateError::Failed {
                tail,
                trouble: FailureCause::OtherServer { address, own, written },
                ..
            } => {
                let holds =
                    written.as_ref().map_or_else(String::new, |at| format!("; {at} has that address"));
                Some(format!(
                    "the migration connects to {address}, which is not this worktree's database ({own}){holds}\n{tail}"
                ))
            }
            MigrateError::Extension { advice, .. } => advice.as_ref()?.sentence(),
            MigrateError::Failed {
                tail,
                trouble: FailureCause::Lacking { advice: Some(advice), .. },
                ..
            } => Some(advice.sentence().map_or_else(|| tail.clone(), |image| format!("{tail}\n{image}"))),
            MigrateError::Failed { tail, .. } | MigrateError::MissingParent { tail, .. } => {
                Some(tail.clone()).filter(|tail| !tail.is_empty())
            }
            MigrateError::Elsewhere { reads, .. } => Some(match reads {
                Some(line) => format!(
                    "it changed another database: {line} contains an address that every worktree shares"
                ),
                None => "it changed another database, which other worktrees may share".into(),
            }),
            MigrateError::Refused { .. } => Some("every worktree shares that database".into()),
            MigrateError::Rights(_) => {
                Some("devrun keeps a table `_devrun.marker` in the branch database".into())
            }
            _ => None,
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            MigrateError::Connect(error) => return error.fix(),
            MigrateError::Record(error) => return error.fix(),
            MigrateError::NeedsPostgres(_) => "write a command in `database.migrate.run`".into(),
            MigrateError::Inputs { .. } => "correct `inputs` of the migration in devrun.yaml".into(),
            MigrateError::Read { path, .. } => format!(
                "check kind, size, owner and mode of {}, or correct `inputs` of the migration",
                quoted(path)
            ),
            MigrateError::Locked { .. } => {
                format!("wait for the other devrun, or stop it, then {RERUN}")
            }
            MigrateError::Rights(_) => format!(
                "let the database user create a \
                 schema (grant create on database … to …), then {RERUN}"
            ),
            MigrateError::Lost(_) | MigrateError::Marker(_) => format!("{RERUN}: it repeats the migration"),
            MigrateError::Heads { merge, .. } => {
                format!(
                    "run `{merge}`, read the file that it makes and commit it with those that it merges, then {RERUN}"
                )
            }
            MigrateError::MissingParent { missing, .. } => format!(
                "bring back the file of revision {} (it may be on another \
                 branch), or correct down_revision in {}, then {RERUN}",
                missing.revision, missing.at
            ),
            MigrateError::Duplicate(Duplicate { revision, .. }) => format!(
                "give one of them another id in `revision`, and let its `down_revision` be '{revision}' if it follows the other, then {RERUN}"
            ),
            MigrateError::Refused { line, variable, .. }
            | MigrateError::Elsewhere { reads: Some(line), variable, .. } => {
                advice::replace_url(line, variable)
            }
            MigrateError::Elsewhere { reads: None, variable, .. } => {
                format!(
                    "name the variable that the tool reads under `database.url_env` in \
                 devrun.yaml, or let the tool's configuration read {variable}, then {RERUN}"
                )
            }
            MigrateError::Extension { extension, advice, .. } => {
                advice::of_extension(extension, advice.as_deref())
            }
            MigrateError::Failed { trouble, directory, variable, name, is_kept, place, .. } => {
                let reset =
                    if *is_kept { advice::RebuildStep::Empty(name) } else { advice::RebuildStep::Copy(name) };
                advice::of(trouble, directory, place.as_deref(), variable, reset)
            }
        })
    }

    fn correct(&self) -> Option<String> {
        match self {
            MigrateError::MissingParent { missing, .. } => Some(missing.at.to_string()),
            MigrateError::Elsewhere { reads, .. } => reads.clone(),
            MigrateError::Refused { line, .. } => Some(line.clone()),
            MigrateError::Failed { trouble: FailureCause::OtherServer { written, .. }, .. } => {
                written.clone()
            }
            MigrateError::Failed {
                trouble: FailureCause::Code | FailureCause::HalfApplied(_),
                place,
                ..
            } => place.clone(),
            _ => None,
        }
    }

    fn fault(&self) -> Option<Fault> {
        match self {
            MigrateError::Connect(error) => error.fault(),
            MigrateError::Inputs { .. }
            | MigrateError::NeedsPostgres(_)
            | MigrateError::Elsewhere { .. }
            | MigrateError::Refused { .. } => Some(Fault::Configuration),
            MigrateError::Heads { .. } | MigrateError::Duplicate(_) | MigrateError::MissingParent { .. } => {
                Some(Fault::Code)
            }
            MigrateError::Failed { trouble, .. } => trouble.fault(),
            MigrateError::Read { .. }
            | MigrateError::Locked { .. }
            | MigrateError::Rights(_)
            | MigrateError::Lost(_)
            | MigrateError::Extension { .. }
            | MigrateError::Record(_)
            | MigrateError::Marker(_) => Some(Fault::Environment),
        }
    }

    fn holder(&self) -> Option<Holder> {
        match self {
            MigrateError::Locked { holder, .. } => {
                Some(Holder { pid: None, command: Some(holder.clone()), ..Holder::default() })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
