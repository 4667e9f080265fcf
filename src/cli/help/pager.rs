//! Shows a long text on a terminal through a pager, and prints it elsewhere.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{Seek, Write};

use crate::cli::run_command::wait_in_foreground;
use crate::context::Context;
use crate::error::{Code, Exit, Fault, Report};
use crate::os::cmd::Cmd;
use crate::supervisor::stop_requests::StopRequests;
use crate::ui::console::Console;

/// Shows `text` in a pager. Prints it if standard output is no terminal, for a coding agent, or if there is no pager.
pub(super) async fn show(ctx: &Context, console: &Console, text: &str) -> Result<Exit, Report> {
    let pager = if console.style().terminal && !console.is_short() { pager(ctx) } else { None };
    let Some(cmd) = pager else { return crate::cli::printed(console.print(text)) };
    // A file is never full, unlike a pipe to a pager that does not read.
    let mut file = tempfile::tempfile().map_err(|error| unusable(&error))?;
    file.write_all(text.as_bytes()).and_then(|()| file.rewind()).map_err(|error| unusable(&error))?;
    let stops = StopRequests::listen(None).map_err(crate::cli::db::deaf)?;
    console.flush();
    let child = cmd.foreground_reading(file).map_err(|error| unusable(&error))?;
    wait_in_foreground(child, stops, &unusable).await
}

fn unusable(error: &dyn Display) -> Report {
    Report::new(Code::SpawnFailed, format!("cannot run the pager: {error}"))
        .with_fault(Fault::Environment)
        .with_fix("unset PAGER, or add `| cat`")
}

/// Returns the command of `PAGER`, else `less`. `None` for `cat` and for a program that does not exist.
fn pager(ctx: &Context) -> Option<Cmd> {
    let words = match ctx.var("PAGER").map(shlex::split) {
        Some(words) => words?,
        None => vec!["less".to_string()],
    };
    let (program, args) = words.split_first()?;
    let path = ctx.which(program).filter(|_| program != "cat")?;
    let cmd = Cmd::new(path).args(args).only_env(ctx.passed_on());
    // As git does: less ends if the text fits on the screen, and keeps colours.
    Some(if ctx.env.contains_key(OsStr::new("LESS")) { cmd } else { cmd.env("LESS", "FRX") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pager_that_does_not_start_is_the_environments_fault() {
        assert_eq!(unusable(&"not executable").fault, Some(Fault::Environment));
    }
}
