//! `devrun init`: writes down what runs here without a file, as a devrun.yaml to go on from.

mod facts;

use std::path::Path;

use serde_json::json;

use super::args;
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
    let worktree = prepare::locate(ctx).await?;
    if args.facts {
        let found = recognition::find(&prepare::place(ctx, &worktree));
        return super::printed(if as_json {
            console.print_json(&facts::object(&found))
        } else {
            console.print(&facts::text(&found))
        });
    }
    let Draft { text, recognised } = draft(ctx, &worktree);
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

/// A devrun.yaml, and what it was made from.
struct Draft {
    text: String,
    recognised: Vec<String>,
}

/// A Procfile is named where nothing else was recognised, as it runs when there is no devrun.yaml.
fn draft(ctx: &Context, worktree: &Worktree) -> Draft {
    let recognised = recognise(&prepare::place(ctx, worktree));
    if recognised.yaml.is_empty() {
        return match [PROCFILE_DEV, PROCFILE].into_iter().find(|name| worktree.path.join(name).is_file()) {
            Some(name) => Draft {
                text: format!("procfile: {name}\nenv_files: [.env]\n"),
                recognised: vec![name.into()],
            },
            None => Draft { text: SMALLEST.into(), recognised: Vec::new() },
        };
    }
    Draft { text: recognised.yaml, recognised: recognised.remarks }
}

/// Also for a link that leads nowhere: it was put there for a reason.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
