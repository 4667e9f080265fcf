//! Runs the user's commands: parameters go into variables of the environment, the answer comes from standard output. Standard output is
//! never part of progress or errors, because it contains a URL.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::action::ProviderAction;
use super::answer::{self, UrlAnswer};
use super::error::CommandProviderError;
use crate::context::variables;
use crate::database::providers::records::MadeDatabase;
use crate::os::cmd::{Cmd, CmdError};
use crate::os::fs;
use crate::plan::RunCommand;
use crate::text::Mask;

/// How many lines of standard error are shown.
const TAIL: usize = 10;

/// Starts commands in the worktree.
pub(super) struct Invoker {
    /// The environment of the worktree's commands.
    pub(super) env: BTreeMap<OsString, OsString>,
    /// The worktree, then the main worktree: a database may be deleted after its worktree.
    pub(super) directories: Vec<PathBuf>,
    /// The folder for databases that are files.
    pub(super) folder: PathBuf,
}

impl Invoker {
    /// Runs `run` for `database`, a copy of `parent`, and reads its answer.
    pub(super) async fn ask(
        &self,
        action: ProviderAction,
        run: &RunCommand,
        database: &MadeDatabase,
        parent: Option<&MadeDatabase>,
    ) -> Result<UrlAnswer, CommandProviderError> {
        let text = |text: &String| Some(OsString::from(text)).filter(|text| !text.is_empty());
        let vars = [
            ("DEVRUN_DATABASE", text(&database.given)),
            ("DEVRUN_DATABASE_URL", database.url.as_ref().and_then(text)),
            ("DEVRUN_BRANCH", text(&database.label)),
            ("DEVRUN_PARENT", parent.and_then(|parent| text(&parent.given))),
            ("DEVRUN_PARENT_URL", parent.and_then(|parent| text(parent.url.as_ref()?))),
        ];
        let vars = vars.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let printed = self.run(action, run, vars).await?;
        answer::of_database(&printed).map_err(|reason| self.unusable(action, run, reason))
    }

    /// Runs the command `list` and returns the names that it prints.
    pub(super) async fn list(&self, run: &RunCommand) -> Result<Vec<String>, CommandProviderError> {
        let printed = self.run(ProviderAction::List, run, Vec::new()).await?;
        answer::of_list(&printed).map_err(|reason| self.unusable(ProviderAction::List, run, reason))
    }

    /// Returns the error for an answer of `run` that cannot be used.
    pub(super) fn unusable(
        &self,
        action: ProviderAction,
        run: &RunCommand,
        reason: String,
    ) -> CommandProviderError {
        let command = Mask::of_variables(&self.env).apply(&run.to_string());
        CommandProviderError::Answer { action, command, reason }
    }

    async fn run(
        &self,
        action: ProviderAction,
        run: &RunCommand,
        vars: Vec<(&'static str, OsString)>,
    ) -> Result<Vec<u8>, CommandProviderError> {
        fs::make_private_dir(&self.folder)?;
        let mut there = self.directories.iter().filter(|directory| directory.is_dir());
        let directory = there.next().unwrap_or(&self.folder);
        let urls = vars.iter().filter(|(name, _)| name.ends_with("_URL")).map(|(_, url)| url.as_os_str());
        let mask = Mask::of_values(urls).and(Mask::of_variables(&self.env));
        let command = Cmd::of(run)
            .only_env(&self.env)
            .env("DEVRUN_ACTION", action.word())
            .env("DEVRUN_DATABASE_FOLDER", &self.folder)
            .env(variables::WORKTREE, directory);
        let command = vars.iter().fold(command, |command, (name, value)| command.env(name, value));
        match command.directory(directory).limit(action.limit()).ok().await {
            Ok(output) => Ok(output.stdout),
            Err(error) => Err(CommandProviderError::Failed {
                action,
                command: mask.apply(&run.to_string()),
                ending: error.ending(),
                is_missing: error.is_missing_program(),
                tail: tail(&error, &mask),
            }),
        }
    }
}

/// Returns the last lines of standard error, without secrets.
fn tail(error: &CmdError, mask: &Mask) -> String {
    let CmdError::Failed { output, .. } = error else { return String::new() };
    let text = String::from_utf8_lossy(&output.stderr);
    // A command that fails late may have printed the URL already.
    let printed = answer::of_database(&output.stdout).ok().and_then(|answer| answer.url);
    let mask = mask.clone().and(Mask::of_values(printed.iter().map(OsStr::new)));
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    mask.apply(&lines[lines.len().saturating_sub(TAIL)..].join("\n"))
}
