//! Words the user's next step after a failed migration.

use std::path::Path;

use super::drop_statement::drop_command;
use super::failure_cause::{ExtensionAdvice, FailureCause};
use crate::context::missing_settings;
use crate::database::undo::empty_command;
use crate::error::{RERUN, RESET};
use crate::text::{correction_of, quoted};

/// Returns the change of code that replaces the URL at `line` by that of the branch database, which is in `variable`.
pub(super) fn replace_url(line: &str, variable: &str) -> String {
    if !line.contains(".ini:") {
        return format!(
            "let {line} read the URL from {variable} (os.environ[\"{variable}\"]), which devrun sets, then {RERUN}"
        );
    }
    // A file of settings cannot read a variable.
    format!(
        "let env.py replace the URL of {line}: import os; config.set_main_option(\"sqlalchemy.url\", \
         os.environ[\"{variable}\"].replace(\"%\", \"%%\")), then {RERUN}"
    )
}

/// The way to rebuild a database, with its name.
#[derive(Clone, Copy, Debug)]
pub(super) enum RebuildStep<'a> {
    /// devrun copies it from its parent again.
    Copy(&'a str),
    /// devrun does not reset it, because others are copied from it.
    Empty(&'a str),
}

impl RebuildStep<'_> {
    /// Returns the command, and its effect.
    fn step(self) -> String {
        match self {
            RebuildStep::Copy(_) => {
                format!(
                    "`{RESET}`, which makes the database a copy of its parent again (what is in it is lost)"
                )
            }
            RebuildStep::Empty(name) => format!(
                "`{}`, which empties the database (what is in it is lost); devrun does not reset it, because others are copied from \
                 it",
                empty_command(name)
            ),
        }
    }
}

/// Returns the step that removes `objects`, which a failed migration left: a complete command where they can be named.
fn drop_step(objects: &[String]) -> String {
    match drop_command(objects) {
        Some(command) => format!("drop what it left: `{command}`,"),
        None => "drop what it left (`devrun db psql`)".into(),
    }
}

/// Returns the next step if the server does not have `extension`.
pub(super) fn of_extension(extension: &str, advice: Option<&ExtensionAdvice>) -> String {
    advice.map_or_else(
        || format!("use a Postgres that has the extension `{extension}`"),
        |advice| advice.fix.clone(),
    )
}

/// Returns the user's next step after a failure with the cause `trouble` in `directory`. `variable` has the URL of the branch
/// database.
pub(super) fn of(
    trouble: &FailureCause,
    directory: &Path,
    place: Option<&str>,
    variable: &str,
    reset: RebuildStep<'_>,
) -> String {
    let correction =
        || place.map_or_else(|| format!("correct the migration in {}", quoted(directory)), correction_of);
    match trouble {
        FailureCause::OwnModule { module, path } => format!(
            "`{module}` is this repository's own {}: add `prepend_sys_path = .` to {}, or set \
             PYTHONPATH under `env:` in devrun.yaml",
            path.display(),
            quoted(directory.join("alembic.ini"))
        ),
        FailureCause::Settings(settings) => format!("{}, then {RERUN}", missing_settings::fix(settings)),
        FailureCause::Lacking { extension: Some(extension), advice } => {
            of_extension(extension, advice.as_deref())
        }
        FailureCause::Lacking { extension: None, .. } => {
            "devrun's role on the local server is no superuser, and the server has the locales of this system: install a \
             missing locale, or use a server that gives the right (`provider: url`), or Neon"
                .into()
        }
        FailureCause::UndeclaredPackages => format!(
            "let devrun install the packages of the migration: write `dependencies: {{ python: {{ directory: . }} }}`, \
             or `node`, in devrun.yaml, with the folder of their manifest, then {RERUN}"
        ),
        FailureCause::Dependencies => format!(
            "something the migration needs is not installed for \
             {}; install or declare it, then {RERUN}",
            quoted(directory)
        ),
        FailureCause::OtherServer { written: Some(at), .. } => replace_url(at, variable),
        FailureCause::OtherServer { address, written: None, .. } => format!(
            "let the code read {variable} instead of {address}, or name the variable that it reads under \
             `database.url_env` in devrun.yaml, then {RERUN}"
        ),
        FailureCause::Server => format!(
            "the migration could not use the \
             database; {RERUN}"
        ),
        FailureCause::Download => {
            format!("the command downloads a part of itself: check the network and the proxy, then {RERUN}")
        }
        FailureCause::Rights => format!(
            "give the database user the right \
             that is missing, then {RERUN}"
        ),
        FailureCause::UnknownRevision { parent: Some(parent) } => {
            let (RebuildStep::Copy(name) | RebuildStep::Empty(name)) = reset;
            format!(
                "this branch is older than {parent}, and a reset would copy that database again: merge its branch, or rebase \
                 onto it, or run `{}`, which empties the database (what is in it is lost), then {RERUN}",
                empty_command(name)
            )
        }
        FailureCause::UnknownRevision { parent: None } => format!(
            "the database was migrated by code that this worktree does not have, such as another branch or a rebased one: \
             bring that file back, or run {}; then {RERUN}",
            reset.step()
        ),
        FailureCause::Slow => {
            format!("check whether another session has locked the tables that it changes, then {RERUN}")
        }
        FailureCause::Exists => format!(
            "if an earlier attempt left that object, run {}; else correct the migration in {}; then {RERUN}",
            reset.step(),
            quoted(directory)
        ),
        FailureCause::Leftover(objects) => format!(
            "correct the migration that failed before, unless you have; then either {} or run {}; then {RERUN}",
            drop_step(objects),
            reset.step()
        ),
        FailureCause::HalfApplied(objects) => {
            format!("{}, then either {} or run {}; then {RERUN}", correction(), drop_step(objects), reset.step())
        }
        FailureCause::Code => format!("{}, then {RERUN}", correction()),
    }
}
