//! `devrun down --strays`: ends the servers in this worktree that devrun does not supervise.

use serde_json::json;

use crate::cleanup::gather::{repository_runs, search_roots};
use crate::cleanup::servers::{self, StrayServer};
use crate::cli::confirm::{Confirmation, confirm};
use crate::cli::{args, printed};
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::os::proc::ProcessEntry;
use crate::prepare;
use crate::ui::console::Console;
use crate::ui::style::harmless;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Down,
    as_json: bool,
) -> Result<Exit, Report> {
    let own = prepare::locate(ctx).await?;
    let mut found = servers::find(&search_roots(&repository_runs(ctx, &own).await?));
    found.retain(|server| server.worktree == own.path);
    if found.is_empty() {
        return printed(if as_json {
            console.print_json(&json!({ "ended": [] }))
        } else {
            console.print("There is no stray: devrun supervises every server that runs in this worktree.\n")
        });
    }
    let names = found.iter().map(name).collect::<Vec<_>>().join(", ");
    if !args.yes {
        let question = Confirmation {
            text: &format!("End {names}?"),
            outcome: &format!("{names} would be ended"),
            refused: "nothing was ended",
            command: "devrun down --strays --yes",
        };
        confirm(console, question, as_json).await?;
    }
    let entries: Vec<ProcessEntry> = found.iter().map(|server| server.entry).collect();
    if !servers::end(&entries).await {
        let message = format!("a server did not end after SIGTERM and SIGKILL: {names}");
        return Err(Report::new(Code::TimedOut, message).with_fix("devrun ls --strays"));
    }
    printed(if as_json {
        console.print_json(&json!({ "ended": found }))
    } else {
        console.print(&format!("Ended {names}.\n"))
    })
}

fn name(server: &StrayServer) -> String {
    let ports: Vec<String> = server.ports.iter().map(ToString::to_string).collect();
    format!("pid {} (port {}, {})", server.pid, ports.join(" "), harmless(&server.command))
}
