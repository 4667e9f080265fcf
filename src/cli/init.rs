//! `devrun init`: writes down what is recognised here, as a devrun.yaml to go on from.

use super::args;
use crate::config::detect::detect;
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::os::fs;
use crate::prepare;
use crate::ui::console::Console;

/// What to go on from when nothing is recognised.
const SMALLEST: &str = "\
ports: { web: 3000 }
processes:
  web:
    run: ./serve --port $PORT
    port: web
    ready: { tcp: true }
";

pub(super) async fn run(ctx: &Context, console: &Console, args: &args::Init) -> Result<Exit, Report> {
    let worktree = prepare::locate(ctx).await?;
    let shape = detect(&worktree.path);
    let text = if shape.is_empty() { SMALLEST.to_string() } else { shape.to_yaml() };
    if args.print {
        return super::printed(console.print(&text));
    }
    let path = worktree.path.join("devrun.yaml");
    if path.exists() {
        return Err(Report::new(Code::ConfigInvalid, format!("{} exists already", path.display()))
            .with_fix("edit it; `devrun init --print` shows what would be written"));
    }
    fs::replace(&path, text.as_bytes(), 0o644)?;
    super::printed(console.print(&format!("Wrote {}.\n", path.display())))
}
