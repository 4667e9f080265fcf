//! `devrun db status`: prints the branch database, its origin, and the state of its migrations.

use std::time::Duration;

use serde_json::{Value, json};

use super::{folder_text, list, size};
use crate::cli::args::Named;
use crate::cli::{columns, printed};
use crate::context::Context;
use crate::control::{self, LockHolder};
use crate::database::migrate::{MigrationStatus, SchemaState, drop_command};
use crate::database::{ListedDatabase, ServerState};
use crate::error::{Exit, RESET, RESET_STACK, Report};
use crate::prepare::Databases;
use crate::text::{listed, shown_url};
use crate::ui::console::Console;

/// The facts to print.
struct DatabaseFacts {
    provider: &'static str,
    server: Option<&'static str>,
    entry: Option<ListedDatabase>,
    url: Option<String>,
    migrations: &'static str,
    /// True if the migrations have succeeded with the present files.
    is_recorded: bool,
    /// Alembic's revisions in the database, and the heads of the migration files.
    revisions: Vec<String>,
    heads: Vec<String>,
    /// The objects that no migration up to the revisions makes.
    new_objects: Vec<String>,
    /// Why the state of the migrations is unknown, or what the revisions do not show.
    reason: Option<String>,
    /// True if a stack of this worktree uses the database.
    stack_runs: bool,
}

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &Named,
    as_json: bool,
) -> Result<Exit, Report> {
    let databases = Databases::open(ctx).await?;
    let name = &args.name.clone().unwrap_or_else(|| databases.own.name.clone());
    let own = *name == databases.own.name;
    let mut seen = query(&databases, name).await?;
    let holder = control::lock_holder(&databases.resolved.worktree.state, Duration::ZERO).await?;
    seen.stack_runs = own && matches!(holder, LockHolder::Running(record) if record.task.is_none());
    // The query may have started a server, which now stops unless a stack still uses it.
    seen.server = databases.close()?.map(ServerState::word);
    printed(if as_json {
        // The JSON has the same keys whether the database exists or not.
        let nothing = ListedDatabase { name: name.clone(), ..ListedDatabase::default() };
        let mut object = list::object(seen.entry.as_ref().unwrap_or(&nothing), own);
        if seen.entry.is_none() {
            object["id"] = Value::Null;
        }
        object["provider"] = json!(seen.provider);
        object["exists"] = json!(seen.entry.is_some());
        object["origin"] = json!(seen.entry.as_ref().map(origin));
        object["url"] = json!(seen.url);
        object["migrations"] = json!(seen.migrations);
        object["revisions"] = json!(seen.revisions);
        object["heads"] = json!(seen.heads);
        object["new_objects"] = json!(seen.new_objects);
        object["reason"] = json!(seen.reason);
        object["server"] = json!(seen.server);
        console.print_json(&object)
    } else {
        let mut rows = rows(&seen, name);
        if console.is_short() && own {
            // The reader knows the worktree and its branch.
            rows.retain(|(title, _)| !["Id", "Branch", "Worktree", "Size"].contains(title));
        }
        console.print(&columns(&rows))
    })
}

async fn query(databases: &Databases, name: &str) -> Result<DatabaseFacts, Report> {
    let entry = databases.describe(name).await?;
    let mut seen = DatabaseFacts {
        provider: databases.provider,
        server: None,
        entry,
        url: None,
        migrations: "unmigrated",
        is_recorded: false,
        revisions: Vec::new(),
        heads: Vec::new(),
        new_objects: Vec::new(),
        reason: None,
        stack_runs: false,
    };
    if seen.entry.is_none() {
        return Ok(seen);
    }
    let state = async {
        let branch = databases.find(name).await?;
        Ok::<_, Report>((shown_url(&branch.url), databases.schema_state(&branch).await))
    };
    match state.await {
        Ok((url, state)) => {
            seen.url = Some(url);
            match state {
                Ok(None) => seen.migrations = "not-configured",
                Ok(Some(SchemaState { status: standing, is_recorded, revisions, heads, new_objects })) => {
                    seen.migrations = standing.word();
                    seen.is_recorded = is_recorded;
                    seen.reason = reason(standing, &revisions, &heads).map(str::to_string);
                    (seen.revisions, seen.heads, seen.new_objects) = (revisions, heads, new_objects);
                }
                Err(report) => (seen.migrations, seen.reason) = ("unknown", Some(report.message)),
            }
        }
        // The database exists, which is worth printing although the connection failed.
        Err(report) => (seen.migrations, seen.reason) = ("unknown", Some(report.message)),
    }
    Ok(seen)
}

/// Returns the fact behind `standing` that the revisions do not show.
fn reason(standing: MigrationStatus, revisions: &[String], heads: &[String]) -> Option<&'static str> {
    match standing {
        MigrationStatus::Pending if !heads.is_empty() && revisions == heads => {
            Some("the files or the command have changed since the last migration")
        }
        MigrationStatus::Unrecorded => Some("devrun has recorded no success of the migrations there"),
        _ => None,
    }
}

fn origin(entry: &ListedDatabase) -> &'static str {
    match (entry.made_by_devrun, &entry.creator, &entry.parent) {
        (false, ..) => "not-devrun",
        (true, Some(_), _) => "program",
        (true, None, Some(_)) => "copy",
        (true, None, None) => "empty",
    }
}

/// Formats the revision of the database, and the head of the files if that differs.
fn revision(revisions: &[String], heads: &[String]) -> String {
    let is = revisions.join(", ");
    let last = match heads {
        [_, _, ..] => format!("the heads are {}", heads.join(" and ")),
        _ => format!("the head is {}", heads.concat()),
    };
    match (revisions, heads) {
        ([], []) => String::new(),
        ([], _) => format!("; {last}"),
        (_, []) => format!(", at {is}"),
        _ if revisions == heads => format!(", at {is} (head)"),
        _ => format!(", at {is}; {last}"),
    }
}

/// Formats the objects that no migration makes, with the fix. `may_reset` is true if devrun resets the database.
fn leftover(seen: &DatabaseFacts, may_reset: bool) -> String {
    let objects = listed(&seen.new_objects);
    let drop = match drop_command(&seen.new_objects) {
        Some(command) => format!("drop that: `{command}`"),
        None => "drop that".into(),
    };
    if seen.is_recorded {
        return format!("no migration makes {objects}: write one that does, or {drop}");
    }
    let reset = if seen.stack_runs { RESET_STACK } else { RESET };
    let reset =
        if may_reset { format!("`{reset}` (what is in the database is lost), or ") } else { String::new() };
    format!("no applied migration makes {objects}; a migration that failed may have left that: {reset}{drop}")
}

fn rows(seen: &DatabaseFacts, name: &str) -> Vec<(&'static str, String)> {
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
    rows.extend(entry.label.as_ref().map(|label| ("Branch", label.to_string())));
    rows.extend(entry.worktree.as_deref().map(|folder| ("Worktree", folder_text(folder))));
    rows.extend(entry.size.map(|bytes| ("Size", size(bytes))));
    rows.extend(seen.url.clone().map(|url| ("URL", url)));
    let reason = seen.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    rows.push((
        "Migrations",
        format!("{}{}{reason}", seen.migrations, revision(&seen.revisions, &seen.heads)),
    ));
    if !seen.new_objects.is_empty() {
        rows.push(("Left", leftover(seen, entry.kept.is_none())));
    }
    rows.extend(seen.server.map(|server| ("Postgres", server.to_string())));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revision_is_shown_with_the_heads_of_the_files() {
        let of = |revisions: &[&str], heads: &[&str]| {
            let own = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
            revision(&own(revisions), &own(heads))
        };
        assert_eq!(of(&["0002"], &["0002"]), ", at 0002 (head)");
        assert_eq!(of(&["0001"], &["0002"]), ", at 0001; the head is 0002");
        assert_eq!(of(&[], &["0002", "0003"]), "; the heads are 0002 and 0003");
        assert_eq!(of(&["0001"], &[]), ", at 0001");
        assert_eq!(of(&[], &[]), "");
    }

    #[test]
    fn a_pending_database_at_the_head_has_a_reason() {
        let head = ["0002".to_string()];
        let changed = "the files or the command have changed since the last migration";
        assert_eq!(reason(MigrationStatus::Pending, &head, &head), Some(changed));
        assert_eq!(reason(MigrationStatus::Pending, &["0001".into()], &head), None);
        assert_eq!(reason(MigrationStatus::Pending, &[], &[]), None);
        assert_eq!(reason(MigrationStatus::UpToDate, &head, &head), None);
        assert!(reason(MigrationStatus::Unrecorded, &head, &[]).is_some());
    }
}
