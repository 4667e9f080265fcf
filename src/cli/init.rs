//! `devrun init`: writes a devrun.yaml with what recognition finds, or proposes one where recognition finds nothing.

mod agent_files;
mod essential;
mod facts;
mod proposed;

use std::path::Path;

use serde_json::json;

use super::{args, schema};
use crate::config::files::{self, FILE, MISNAMED, PROCFILE, PROCFILE_DEV};
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::os::fs;
use crate::prepare;
use crate::recognition::{self, recognise};
use crate::ui::console::Console;
use crate::ui::style::harmless;
use crate::worktree::Worktree;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Init,
    as_json: bool,
) -> Result<Exit, Report> {
    if args.agents {
        return agent_files::run(ctx, console, args, as_json).await;
    }
    let worktree = prepare::locate(ctx).await?;
    if args.facts {
        let found = recognition::find(&prepare::recognition_paths(ctx, &worktree));
        return super::printed(if as_json {
            console.print_json(&facts::object(&found))
        } else {
            console.print(&facts::text(&found))
        });
    }
    let GeneratedConfig { text, recognised } = draft(ctx, &worktree);
    let is_proposal = recognised.is_empty();
    let text = format!("{}{text}", schema::editor_line(&ctx.dirs));
    if args.print {
        return super::printed(console.print(&text));
    }
    let path = worktree.path.join(FILE);
    if is_taken(&path) {
        return Err(Report::new(Code::ConfigInvalid, format!("{} exists already", path.display()))
            .with_fix("edit it; `devrun init --print` shows what would be written"));
    }
    if is_taken(&worktree.path.join(MISNAMED)) {
        return Err(files::misnamed().into());
    }
    if is_proposal {
        return proposed::run(ctx, console, args, as_json, &path, &text).await;
    }
    write(ctx, &path, &text)?;
    if as_json {
        let value = json!({ "path": path.to_string_lossy(), "written": true, "recognised": recognised });
        return super::printed(console.print_json(&value));
    }
    let path = harmless(&path.to_string_lossy());
    super::printed(console.print(&format!("Wrote {path}. Recognised: {}.\n", recognised.join(", "))))
}

/// Writes the file and the schema that its first line names.
fn write(ctx: &Context, path: &Path, text: &str) -> Result<(), Report> {
    fs::replace(path, text.as_bytes(), 0o644)?;
    if let Err(report) = schema::install(ctx) {
        ctx.events.warn(format!("editors cannot check {FILE}: {}", report.message));
    }
    Ok(())
}

/// The text of a devrun.yaml, and the names of what it was made from; no names for a proposal.
struct GeneratedConfig {
    text: String,
    recognised: Vec<String>,
}

/// Drafts a devrun.yaml. It names a Procfile only if nothing else was recognised, because devrun runs a Procfile only
/// then. It is a proposal if there is no Procfile either.
fn draft(ctx: &Context, worktree: &Worktree) -> GeneratedConfig {
    let recognised = recognise(&prepare::recognition_paths(ctx, worktree));
    if recognised.yaml.is_empty() {
        return match [PROCFILE_DEV, PROCFILE].into_iter().find(|name| worktree.path.join(name).is_file()) {
            Some(name) => GeneratedConfig {
                text: format!("procfile: {name}\nenv_files: [.env]\n"),
                recognised: vec![name.into()],
            },
            None => GeneratedConfig {
                text: recognition::propose(&prepare::recognition_paths(ctx, worktree)),
                recognised: Vec::new(),
            },
        };
    }
    GeneratedConfig { text: recognised.yaml, recognised: recognised.remarks }
}

/// Returns true if `path` exists, even as a broken link, which must not be overwritten.
fn is_taken(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
