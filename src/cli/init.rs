//! `devrun init`: writes a devrun.yaml with what recognition finds, as a file to start from.

mod agent_files;
mod essential;
mod facts;

use std::path::Path;

use serde_json::json;

use super::{args, schema};
use crate::config::error::SMALLEST;
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
    let text = format!("{}{text}", schema::editor_line(&ctx.dirs));
    if args.print {
        return super::printed(console.print(&text));
    }
    let path = worktree.path.join(FILE);
    if is_there(&path) {
        return Err(Report::new(Code::ConfigInvalid, format!("{} exists already", path.display()))
            .with_fix("edit it; `devrun init --print` shows what would be written"));
    }
    if is_there(&worktree.path.join(MISNAMED)) {
        return Err(files::misnamed().into());
    }
    fs::replace(&path, text.as_bytes(), 0o644)?;
    if let Err(report) = schema::install(ctx) {
        ctx.events.warn(format!("editors cannot check {FILE}: {}", report.message));
    }
    if as_json {
        let value = json!({ "path": path.to_string_lossy(), "recognised": recognised });
        return super::printed(console.print_json(&value));
    }
    let remark = match recognised.as_slice() {
        [] => "Nothing was recognised here: put your own command into it.".to_string(),
        all => format!("Recognised: {}.", all.join(", ")),
    };
    let path = harmless(&path.to_string_lossy());
    super::printed(console.print(&format!("Wrote {path}. {remark}\n")))
}

/// The text of a devrun.yaml, and the names of what it was made from.
struct GeneratedConfig {
    text: String,
    recognised: Vec<String>,
}

/// Drafts a devrun.yaml. It names a Procfile only if nothing else was recognised, because devrun runs a Procfile only
/// then.
fn draft(ctx: &Context, worktree: &Worktree) -> GeneratedConfig {
    let recognised = recognise(&prepare::recognition_paths(ctx, worktree));
    if recognised.yaml.is_empty() {
        return match [PROCFILE_DEV, PROCFILE].into_iter().find(|name| worktree.path.join(name).is_file()) {
            Some(name) => GeneratedConfig {
                text: format!("procfile: {name}\nenv_files: [.env]\n"),
                recognised: vec![name.into()],
            },
            None => GeneratedConfig { text: SMALLEST.into(), recognised: Vec::new() },
        };
    }
    GeneratedConfig { text: recognised.yaml, recognised: recognised.remarks }
}

/// Returns true if `path` exists, even as a broken link, which must not be overwritten.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
