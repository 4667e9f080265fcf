//! Brings the schema of a branch database in step with the migration files, once, however many devruns ask for it.
//!
//! A branch that exists may hold a half-run migration, so success is a fact of its own: a marker in the branch database,
//! which names the branch and what was run, written after success only. When it matches, nothing is run. Refuses to
//! know what a migration is: the command is the user's, on the direct connection, under an advisory lock.

mod effect;
mod failure;
mod inputs;
mod marker;
mod python;
mod reason;
mod standing;
mod traceback;
mod turn;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub use self::failure::{MigrateError, Trouble};
use self::inputs::Inputs;
use self::marker::Marker;
pub use self::standing::{Standing, standing};
use self::turn::Turn;
use crate::context::Context;
use crate::database::Branch;
use crate::database::heads::{self, History};
use crate::event::{Event, Step};
use crate::os::cmd::Cmd;
use crate::plan::{DatabaseOrigin, Run};
use crate::text::Mask;

/// The provider has just said that the database answers; it may only be slow.
const CONNECT: Duration = Duration::from_secs(20);
/// How much of a failed command's output is shown.
const TAIL_LINES: usize = 200;

/// What is to be in step.
#[derive(Clone, Debug)]
pub struct MigrateRequest<'a> {
    /// The database.
    pub branch: &'a Branch,
    /// Its name in messages.
    pub name: String,
    /// The user's command.
    pub command: Run,
    /// Absolute folder to run it in.
    pub directory: PathBuf,
    /// Globs relative to `directory`: the files whose change means that the command must run again.
    pub inputs: Vec<String>,
    /// The command's whole environment, with the database's direct URL under the names the project uses.
    pub env: BTreeMap<OsString, OsString>,
    /// How long the command may take, and how long another devrun that migrates is waited for.
    pub limit: Duration,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// In a few words.
    pub outcome: String,
    /// False when the command did not have to run.
    pub worked: bool,
}

impl MigrateRequest<'_> {
    /// Returns the mask that hides the database's secrets.
    fn mask(&self) -> Mask {
        Mask::of_urls([&*self.branch.url, &*self.branch.direct_url])
    }
}

impl Migrated {
    fn idle(outcome: impl Into<String>) -> Migrated {
        Migrated { outcome: outcome.into(), worked: false }
    }
}

/// Makes sure the command has succeeded on this very database with the files as they are. Costs one connection and one
/// query when it has. Killed at any moment, the next call runs the command again.
pub async fn ensure(ctx: &Context, request: &MigrateRequest<'_>) -> Result<Migrated, MigrateError> {
    let inputs = Inputs::gather(&request.directory, &request.inputs).await?;
    let fingerprint = inputs.fingerprint(&request.command);
    let (markers, client) = turn::first_look(request).await?;
    if judge(&markers, request.branch, &fingerprint) == Verdict::InStep {
        return Ok(Migrated::idle("up to date"));
    }
    let turn = Turn::take(ctx, request, client).await?;
    // The holder we waited for may have done it.
    let markers = marker::read(&*turn.client(request).await?).await?;
    let done = match judge(&markers, request.branch, &fingerprint) {
        Verdict::InStep => return Ok(Migrated::idle("migrated by another devrun just now")),
        Verdict::Copied => Migrated::idle(match &request.branch.origin {
            DatabaseOrigin::CopyOf(parent) => format!("already migrated in {parent}"),
            DatabaseOrigin::Existing | DatabaseOrigin::Empty => "already migrated in its parent".into(),
        }),
        Verdict::Stale => {
            run(ctx, request, &turn, &inputs).await?;
            Migrated { outcome: "migrated".into(), worked: true }
        }
    };
    let command = request.mask().apply(&text(&request.command));
    marker::write(&*turn.client(request).await?, &request.branch.id, &fingerprint, &command).await?;
    Ok(done)
}

/// What the markers in a database say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The command succeeded here with the same files.
    InStep,
    /// It succeeded in the database this one was copied from.
    Copied,
    /// It has to run.
    Stale,
}

fn judge(markers: &[Marker], branch: &Branch, fingerprint: &str) -> Verdict {
    let names = |id: &str| markers.iter().any(|m| m.branch == id && m.fingerprint == fingerprint);
    if names(&branch.id) {
        Verdict::InStep
    } else if branch.copied_from.as_deref().is_some_and(names) {
        Verdict::Copied
    } else {
        Verdict::Stale
    }
}

/// Runs the command. The marker is gone before it begins, so that nothing but success is ever marked.
async fn run(
    ctx: &Context,
    request: &MigrateRequest<'_>,
    turn: &Turn,
    inputs: &Inputs,
) -> Result<(), MigrateError> {
    let history = History::read(inputs.files());
    if let Some(prefix) = heads::upgrades_to_head(&request.command)
        && history.is_certain()
    {
        failure::forbid_heads(request, &prefix, &history)?;
    }
    if inputs.files().next().is_none() && !request.inputs.is_empty() {
        let globs = request.inputs.join(", ");
        ctx.events.warn(format!(
            "no file in {} matches {globs}: new migrations there will not be noticed",
            request.directory.display()
        ));
    }
    marker::clear(&*turn.client(request).await?).await?;
    let mask = request.mask();
    let doing = mask.apply(&text(&request.command));
    ctx.events.send(Event::StepStarted { step: Step::Migrate, doing });
    let mut tail = VecDeque::new();
    let mut on_line = |line: &str| {
        let detail = mask.apply(line);
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(detail.clone());
        ctx.events.send(Event::StepProgress { step: Step::Migrate, detail });
    };
    let command = match &request.command {
        Run::Shell(line) => Cmd::shell(line),
        Run::Argv(words) => Cmd::new(words.first().map_or("", String::as_str)).args(words.iter().skip(1)),
    };
    let mut env = request.env.clone();
    env.extend(python::path(request).map(|path| ("PYTHONPATH".into(), path)));
    let ended =
        command.only_env(&env).directory(&request.directory).limit(request.limit).watched(&mut on_line).await;
    match ended {
        Ok(_) => effect::check(request, &*turn.client(request).await?, &history).await,
        Err(error) => {
            let tail = traceback::condense(&Vec::from(tail).join("\n"));
            Err(failure::explain(request, &mask, &history, &error, tail))
        }
    }
}

/// The command as a person would type it.
fn text(command: &Run) -> String {
    match command {
        Run::Shell(line) => line.clone(),
        Run::Argv(words) => words.join(" "),
    }
}

#[cfg(test)]
mod tests;
