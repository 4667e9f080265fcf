//! `devrun up --replace`: ends the servers of this worktree that were started by hand and hold its ports, but not the shell or agent
//! that runs devrun.

use crate::cleanup::servers;
use crate::cli::confirm::{Confirmation, confirm};
use crate::context::Context;
use crate::error::{Code, Holder, RERUN, Report, START};
use crate::os::proc::ProcessEntry;
use crate::prepare;
use crate::supervisor::sweep;
use crate::text::harmless;
use crate::ui::console::Console;
use crate::worktree::Worktree;

/// Ends the servers that were started by hand and hold the ports of `worktree`, after the user has agreed at the terminal, or at once
/// with `yes`. Errors if the user refuses or cannot be asked, or if a server does not end.
pub(in crate::cli) async fn run(
    ctx: &Context,
    console: &Console,
    worktree: &Worktree,
    yes: bool,
    as_json: bool,
) -> Result<(), Report> {
    let mut found = prepare::started_by_hand(ctx, worktree).await?;
    let callers = sweep::lineage();
    found.retain(|(entry, holder)| {
        let is_caller = callers.contains(&entry.pid);
        if is_caller {
            let name = harmless(&holder.to_string());
            ctx.events.warn(format!("{name} is not ended: it started this devrun"));
        }
        !is_caller
    });
    if found.is_empty() {
        return Ok(());
    }
    let (entries, holders): (Vec<ProcessEntry>, Vec<Holder>) = found.into_iter().unzip();
    let names = holders.iter().map(|holder| harmless(&holder.to_string()));
    let names = names.collect::<Vec<_>>().join(", ");
    if !yes {
        let question = Confirmation {
            text: &format!("End {names}?"),
            outcome: &format!("{names} would be ended"),
            refused: "nothing was ended",
            command: &format!("{START} --replace --yes"),
        };
        confirm(console, question, as_json).await?;
    }
    if servers::end(&entries).await {
        ctx.events.note(format!("ended {names}"));
        return Ok(());
    }
    Err(unending(&names))
}

/// Returns the error for servers that a kill does not end.
fn unending(names: &str) -> Report {
    Report::new(Code::PortBusy, format!("{names} did not end after SIGTERM and SIGKILL"))
        .with_fix(format!("{RERUN} without `--replace`: it takes other ports"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_does_not_end_has_a_fix() {
        let fix = unending("node x (pid 7)").fix;
        assert_eq!(fix.as_deref(), Some("run `devrun up -d` without `--replace`: it takes other ports"));
    }
}
