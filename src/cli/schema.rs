//! `devrun schema`: prints the JSON Schema of devrun.yaml, or installs it for editors.
//!
//! The schema is a file of this machine, not a URL: it works without a network, and it is that of the devrun which reads the
//! file.

use std::path::PathBuf;

use serde_json::json;
use url::Url;

use super::args::SchemaArgs;
use crate::config::json_schema;
use crate::context::{Context, Dirs};
use crate::error::{Exit, Report};
use crate::os::fs;
use crate::ui::console::Console;

pub(super) fn run(
    ctx: &Context,
    console: &Console,
    args: &SchemaArgs,
    as_json: bool,
) -> Result<Exit, Report> {
    if !args.install {
        return super::printed(console.print_json(&json_schema::document()));
    }
    let path = install(ctx)?;
    let line = editor_line(&ctx.dirs);
    super::printed(if as_json {
        console.print_json(&json!({ "path": path.to_string_lossy(), "line": line.trim_end() }))
    } else {
        console.print(&format!("Wrote {}. The first line of devrun.yaml:\n\n{line}", path.display()))
    })
}

/// Writes the schema to the data folder, and returns its path.
pub(super) fn install(ctx: &Context) -> Result<PathBuf, Report> {
    let path = installed(&ctx.dirs);
    fs::replace(&path, format!("{:#}\n", json_schema::document()).as_bytes(), 0o644)?;
    Ok(path)
}

fn installed(dirs: &Dirs) -> PathBuf {
    dirs.data.join("devrun.schema.json")
}

/// Returns the first line of a devrun.yaml, by which the YAML language server of an editor finds the installed schema.
pub(super) fn editor_line(dirs: &Dirs) -> String {
    let path = installed(dirs);
    // The server ends the path at a blank, which a URL encodes.
    let place =
        Url::from_file_path(&path).map_or_else(|()| path.to_string_lossy().into_owned(), String::from);
    format!("# yaml-language-server: $schema={place}\n")
}
