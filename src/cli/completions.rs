//! `devrun completions SHELL`: prints the script that completes devrun's command line, or installs it for this user.
//!
//! The installed file gets the script from devrun each time, so that a new devrun needs no new file. The file for Nushell has the script
//! itself.

mod shell_file;

use serde_json::json;

use self::shell_file::{MARK, ShellFile};
use super::args::{CompletedShell, Completions};
use super::complete;
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::os::fs::{self, FsError};
use crate::os::read::{self, Limit};
use crate::text::quoted;
use crate::ui::console::Console;

pub(super) fn run(
    ctx: &Context,
    console: &Console,
    args: &Completions,
    as_json: bool,
) -> Result<Exit, Report> {
    if !args.install && !args.uninstall {
        return super::printed(console.print(&script(args.shell)?));
    }
    let file = ShellFile::of(args.shell, &ctx.env);
    let text = file.text(&script(args.shell)?);
    let unusable = |action, source| FsError::Io { action, path: file.path.clone(), source };
    let known = read::optional(&file.path, Limit::SMALL).map_err(|error| unusable("read", error.into()))?;
    let is_own = known.as_ref().is_none_or(|known| String::from_utf8_lossy(known).contains(MARK));
    if !is_own {
        let message = format!("{} exists, and devrun did not write it", file.path.display());
        return Err(Report::new(Code::State, message)
            .with_fix(format!("move {} away, then run the same command again", quoted(&file.path))));
    }
    let changes = if args.install { known.as_deref() != Some(text.as_bytes()) } else { known.is_some() };
    if changes && args.install {
        fs::replace(&file.path, text.as_bytes(), 0o644)?;
    } else if changes {
        std::fs::remove_file(&file.path).map_err(|source| unusable("remove", source))?;
    }
    if as_json {
        let (line, line_file) = file.line.as_ref().map(|(line, file)| (line, file)).unzip();
        let path = file.path.to_string_lossy();
        let value = json!({ "path": path, "changed": changes, "line": line, "line_file": line_file });
        return super::printed(console.print_json(&value));
    }
    let path = file.path.display();
    let mut said = match (args.install, changes) {
        (true, true) => format!("Wrote {path}.\n"),
        (true, false) => format!("{path} is up to date.\n"),
        (false, true) => format!("Removed {path}.\n"),
        (false, false) => format!("There is no {path}.\n"),
    };
    if args.install {
        said.push_str(&file.advice());
    }
    super::printed(console.print(&said))
}

/// Returns the script. It calls the `devrun` that is first on PATH.
fn script(shell: CompletedShell) -> Result<String, Report> {
    let mut script = Vec::new();
    complete::engine(shell)
        .write_registration(complete::VARIABLE, "devrun", "devrun", "devrun", &mut script)
        .map_err(|error| Report::bug(format!("no script for this shell: {error}")))?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}
