//! `devrun db status`: what the branch database is, where it came from, and whether its migrations are done.

use serde_json::{Value, json};

use super::{list, place, size};
use crate::cli::args::Named;
use crate::cli::{columns, printed};
use crate::context::Context;
use crate::database::Entry;
use crate::error::{Exit, Report};
use crate::prepare::{Databases, masked};
use crate::ui::console::Console;

/// What was found out.
struct Seen {
    provider: &'static str,
    server: Option<&'static str>,
    entry: Option<Entry>,
    url: Option<String>,
    migrations: &'static str,
    /// Why nobody knows how far they are.
    reason: Option<String>,
}

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &Named,
    as_json: bool,
) -> Result<Exit, Report> {
    let databases = Databases::open(ctx).await?;
    let name = args.name.as_ref().unwrap_or(&databases.own.name);
    let own = *name == databases.own.name;
    let seen = look(&databases, name).await?;
    printed(if as_json {
        // The same keys whether it exists or not.
        let nothing = Entry { name: name.clone(), ..Entry::default() };
        let mut object = list::object(seen.entry.as_ref().unwrap_or(&nothing), own);
        if seen.entry.is_none() {
            object["id"] = Value::Null;
        }
        object["provider"] = json!(seen.provider);
        object["exists"] = json!(seen.entry.is_some());
        object["origin"] = json!(seen.entry.as_ref().map(origin));
        object["url"] = json!(seen.url);
        object["migrations"] = json!(seen.migrations);
        object["reason"] = json!(seen.reason);
        object["server"] = json!(seen.server);
        console.print_json(&object)
    } else {
        console.print(&columns(&rows(&seen, name)))
    })
}

async fn look(databases: &Databases, name: &str) -> Result<Seen, Report> {
    let entry = databases.describe(name).await?;
    let server = databases.server_ran.map(|ran| if ran { "running" } else { "stopped" });
    let mut seen = Seen {
        provider: databases.provider,
        server,
        entry,
        url: None,
        migrations: "unmigrated",
        reason: None,
    };
    if seen.entry.is_none() {
        return Ok(seen);
    }
    let standing = async {
        let branch = databases.find(name).await?;
        Ok::<_, Report>((masked(&branch.url), databases.standing(&branch).await))
    };
    match standing.await {
        Ok((url, standing)) => {
            seen.url = Some(url);
            match standing {
                Ok(standing) => {
                    seen.migrations = standing.map_or("not-configured", |standing| standing.word());
                }
                Err(report) => (seen.migrations, seen.reason) = ("unknown", Some(report.message)),
            }
        }
        // It exists, and that is worth telling although it cannot be connected to.
        Err(report) => (seen.migrations, seen.reason) = ("unknown", Some(report.message)),
    }
    Ok(seen)
}

fn origin(entry: &Entry) -> &'static str {
    match (entry.made_by_devrun, &entry.parent) {
        (false, _) => "not-devrun",
        (true, Some(_)) => "copy",
        (true, None) => "empty",
    }
}

fn rows(seen: &Seen, name: &str) -> Vec<(&'static str, String)> {
    let mut rows = vec![("Database", format!("{name} ({})", seen.provider))];
    let Some(entry) = &seen.entry else {
        rows.push(("State", "not made yet: `devrun up -d` or `devrun db migrate` makes it".into()));
        return rows;
    };
    rows.push(("Id", entry.id.clone()));
    rows.push(match (origin(entry), &entry.parent) {
        ("copy", Some(parent)) => ("Origin", format!("a copy of {parent}")),
        ("empty", _) => ("Origin", "made empty".into()),
        (_, parent) => {
            let of = parent.as_ref().map(|parent| format!("; its parent is {parent}")).unwrap_or_default();
            ("Origin", format!("not made by devrun{of}"))
        }
    });
    rows.extend(entry.kept.map(|what| ("Kept", format!("{what}: never reset, never deleted"))));
    rows.extend(entry.git_branch.clone().map(|branch| ("Branch", branch)));
    rows.extend(entry.worktree.as_deref().map(|folder| ("Worktree", place(folder))));
    rows.extend(entry.size.map(|bytes| ("Size", size(bytes))));
    rows.extend(seen.url.clone().map(|url| ("URL", url)));
    let reason = seen.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    rows.push(("Migrations", format!("{}{reason}", seen.migrations)));
    rows.extend(seen.server.map(|server| ("Server", server.to_string())));
    rows
}
