//! Writes the files of `env_out`, for programs that devrun does not start: editors, test runners, `psql`.
//!
//! `lines` chooses the variables, `target` finds and checks the file that a path leads to, `content` decides what it becomes,
//! `written` remembers the files and takes them back. Every run writes the files before its processes start.

mod content;
mod lines;
mod refusal;
mod target;
mod written;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use self::refusal::OutputRefusal;
use self::target::OutputTarget;
pub use self::written::WrittenFiles;
use super::ResolvedWorktree;
use super::ready_database::DatabaseAddress;
use crate::config::env_output::{EnvOutput, USUAL_OUTPUT, USUAL_TEMPLATE};
use crate::config::source::{ConfigPosition, Source};
use crate::config::{ConfigError, Scope};
use crate::context::Context;
use crate::error::Report;
use crate::os::fs;
use crate::plan::{Notice, Plan};
use crate::text::{env_block, harmless};

/// Writes the files of the configuration with the values of `plan`, and takes back files of an earlier run that it no longer
/// names. Returns notices about files that were left alone, and about variables that have no value.
pub(super) async fn write(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    plan: &Plan,
    database: Option<DatabaseAddress<'_>>,
) -> Result<Vec<Notice>, Report> {
    let stack = StackValues { resolved, plan, scope: resolved.scope_with(database) };
    let owner = owner(&resolved.worktree.path);
    let mut notices = Vec::new();
    let mut ready: Vec<PreparedFile> = Vec::new();
    for output in &resolved.config.env_out {
        let file = prepared(ctx, &stack, output, &owner, &mut notices).await?;
        check_alone(&file.target, &ready)?;
        ready.push(file);
    }
    if let Some(output) = usual(resolved) {
        let file = prepared(ctx, &stack, &output, &owner, &mut notices).await;
        match file.and_then(|file| check_alone(&file.target, &ready).map(|()| file)) {
            Ok(file) => ready.push(file),
            Err(OutputRefusal::Placeholder(error)) => return Err(error.into()),
            // The user did not ask for this file.
            Err(refusal) => notices
                .push(Notice::new(format!("{USUAL_OUTPUT} is not made from {USUAL_TEMPLATE}: {refusal}"))),
        }
    }
    let mut written = WrittenFiles::of(ctx, &resolved.worktree.state);
    let kept: Vec<&Path> = ready.iter().map(|file| file.target.real.as_path()).collect();
    written.take_back_others(ctx, &kept)?;
    for file in &ready {
        notices.extend(file.write(ctx, &owner, &mut written)?);
    }
    Ok(notices)
}

/// Returns the variables that each file of the configuration gets, except for files with a template.
pub fn env_out_variables(resolved: &ResolvedWorktree, plan: &Plan) -> Vec<(PathBuf, BTreeSet<String>)> {
    let listed = resolved.config.env_out.iter().filter(|output| output.template.is_none());
    listed.map(|output| (output.path.clone(), lines::names(resolved, plan, output))).collect()
}

/// Returns the text that names a worktree in the files.
fn owner(root: &Path) -> String {
    harmless(&root.to_string_lossy()).replace('\n', " ")
}

/// The values that files may hold.
struct StackValues<'a> {
    resolved: &'a ResolvedWorktree,
    plan: &'a Plan,
    /// The names that templates may use, with the address of the database.
    scope: Scope,
}

/// Returns the entry for [`USUAL_TEMPLATE`], if the worktree has that file and the configuration names neither it nor its output.
fn usual(resolved: &ResolvedWorktree) -> Option<EnvOutput> {
    let named = resolved.config.env_out.iter().any(|output| {
        let template = output.template.as_ref().map(|(path, _)| path.as_path());
        output.path == Path::new(USUAL_OUTPUT) || template == Some(Path::new(USUAL_TEMPLATE))
    });
    let exists = resolved.worktree.path.join(USUAL_TEMPLATE).is_file();
    let at = ConfigPosition::file(&Source::new(USUAL_TEMPLATE, ""));
    (exists && !named).then(|| EnvOutput::usual(&at))
}

/// A file that may be written, and its lines.
struct PreparedFile {
    target: OutputTarget,
    body: String,
}

/// Checks the file and makes its lines. The file comes first, because a template that makes no file may hold anything.
async fn prepared(
    ctx: &Context,
    stack: &StackValues<'_>,
    output: &EnvOutput,
    owner: &str,
    notices: &mut Vec<Notice>,
) -> Result<PreparedFile, OutputRefusal> {
    let root = &stack.resolved.worktree.path;
    let target = OutputTarget::find(root, output)?;
    target.check_owner(ctx, &target.content()?, owner).await?;
    target.check_ignored(ctx, root).await?;
    let body = lines::body(stack, output, notices)?;
    Ok(PreparedFile { target, body })
}

/// Errors if one of `others` leads to the same file.
fn check_alone(target: &OutputTarget, others: &[PreparedFile]) -> Result<(), OutputRefusal> {
    let Some(other) = others.iter().find(|other| other.target.real == target.real) else { return Ok(()) };
    let (one, two) = (&other.target.output, &target.output);
    let message =
        format!("`{}` is the same file as `{}` at {}", two.path.display(), one.path.display(), one.at.spot());
    Err(ConfigError::invalid(&two.at, message).with_fix("remove one of the entries, or the link").into())
}

impl PreparedFile {
    /// Writes the file if its content changes. Leaves a generated file alone that the user has edited, and returns a notice.
    fn write(
        &self,
        ctx: &Context,
        owner: &str,
        written: &mut WrittenFiles,
    ) -> Result<Option<Notice>, Report> {
        let PreparedFile { target, body } = self;
        // Read again: an editor may have saved the file since it was checked.
        let content = target.content()?;
        if content.is_edited() && !target.output.is_block {
            return Ok(Some(edited(&target.output)));
        }
        let bytes = if target.output.is_block {
            content.with_block(&env_block::block(owner, body), body, &written.names(&target.real))
        } else {
            env_block::generated(owner, body).into_bytes()
        };
        written.add((&target.output.path, &target.real), owner, body, &content)?;
        if content.bytes.as_deref() != Some(&bytes) {
            fs::replace(&target.real, &bytes, target.mode())?;
            ctx.events.note(format!("wrote {}", harmless(&target.output.path.display().to_string())));
        }
        Ok(None)
    }
}

/// Returns the notice about a generated file that the user has edited.
fn edited(output: &EnvOutput) -> Notice {
    let path = output.path.display();
    let template = output.template.as_ref().map(|(path, _)| format!("template: {}, ", path.display()));
    let form = format!("{path}: {{ {}block: true }}", template.unwrap_or_default());
    Notice {
        text: format!(
            "{path} was edited since devrun wrote it, so devrun leaves it alone and its values may be old; delete it, or let devrun \
             write a block beside your lines"
        ),
        fix: Some(format!("env_out: {{ {form} }}")),
    }
}
