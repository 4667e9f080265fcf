//! `devrun db list`: lists all branch databases, each with the worktree it was made in and whether that still exists.

use serde_json::{Value, json};

use super::{folder_text, size, table};
use crate::cli::printed;
use crate::context::Context;
use crate::database::ListedDatabase;
use crate::error::{Exit, Report};
use crate::prepare::Databases;
use crate::ui::console::Console;
use crate::worktree::{self, ListedWorktree};

const TITLES: [&str; 6] = ["DATABASE", "BRANCH", "PARENT", "SIZE", "WORKTREE", "SNAPSHOTS"];

pub(super) async fn run(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let databases = Databases::open(ctx).await?;
    let mut entries = databases.list().await?;
    if entries.iter().any(is_elsewhere) {
        let worktrees = worktree::list(ctx, &databases.own.worktree).await.unwrap_or_default();
        for entry in &mut entries {
            follow_branch(entry, &worktrees);
        }
    }
    let own = &databases.own.name;
    printed(if as_json {
        let all: Vec<Value> = entries.iter().map(|entry| object(entry, entry.name == *own)).collect();
        console.print_json(&json!({ "provider": databases.provider, "databases": all }))
    } else {
        console.print(&text(&entries, own))
    })
}

/// Returns true if the folder that the database was made in does not exist.
fn is_elsewhere(entry: &ListedDatabase) -> bool {
    entry.worktree.as_ref().is_some_and(|folder| !folder.is_dir())
}

/// Replaces the folder of a database by the worktree that has its branch checked out: `git worktree move` does not change
/// the record of the database.
fn follow_branch(entry: &mut ListedDatabase, worktrees: &[ListedWorktree]) {
    if !is_elsewhere(entry) || entry.branch().is_none() {
        return;
    }
    let here =
        worktrees.iter().find(|listed| listed.branch.as_deref() == entry.branch() && listed.path.is_dir());
    if let Some(listed) = here {
        entry.worktree = Some(listed.path.clone());
    }
}

/// Returns the JSON of a database, which `list` and `status` share.
pub(super) fn object(entry: &ListedDatabase, current: bool) -> Value {
    json!({
        "name": entry.name,
        "id": entry.id,
        "current": current,
        "made_by_devrun": entry.made_by_devrun,
        "git_branch": entry.label,
        "worktree": entry.worktree.as_ref().map(|folder| folder.to_string_lossy()),
        "worktree_exists": entry.worktree.as_ref().map(|folder| folder.is_dir()),
        "parent": entry.parent,
        "creator": entry.creator,
        "size_bytes": entry.size,
        "snapshots": entry.snapshots,
        "kept": entry.kept,
    })
}

fn text(entries: &[ListedDatabase], own: &str) -> String {
    if entries.is_empty() {
        return "There is no branch database. `devrun up -d` makes this worktree's.\n".into();
    }
    let titles = TITLES.map(String::from).to_vec();
    let rows = std::iter::once(titles).chain(entries.iter().map(|entry| cells(entry, own)));
    let mut rows: Vec<Vec<String>> = rows.collect();
    // Few databases have snapshots.
    if entries.iter().all(|entry| entry.snapshots.is_empty()) {
        for row in &mut rows {
            row.truncate(TITLES.len() - 1);
        }
    }
    table(&rows)
}

fn cells(entry: &ListedDatabase, own: &str) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let mark = if entry.name == own { " *" } else { "" };
    let made_in = if entry.made_by_devrun {
        entry.worktree.as_deref().map(folder_text)
    } else {
        Some("not made by devrun".into())
    };
    vec![
        format!("{}{mark}", entry.name),
        or_dash(entry.label.as_ref().map(ToString::to_string)),
        or_dash(entry.parent.clone()),
        entry.size.map_or_else(|| "-".into(), size),
        or_dash(made_in),
        or_dash(Some(entry.snapshots.join(", ")).filter(|names| !names.is_empty())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_worktree_is_found_by_its_branch() {
        let there = tempfile::tempdir().unwrap();
        let listed = [ListedWorktree {
            path: there.path().into(),
            branch: Some("x".into()),
            ..ListedWorktree::default()
        }];
        let mut entry = ListedDatabase {
            label: Some("x".into()),
            worktree: Some("/nonexistent/x".into()),
            ..ListedDatabase::default()
        };
        follow_branch(&mut entry, &listed);
        assert_eq!(entry.worktree.as_deref(), Some(there.path()));
        let mut other =
            ListedDatabase { label: Some("y".into()), worktree: Some("/nonexistent/y".into()), ..entry };
        follow_branch(&mut other, &listed);
        assert_eq!(other.worktree.unwrap(), std::path::Path::new("/nonexistent/y"));
    }

    #[test]
    fn text_has_a_row_for_each_database() {
        let ours = ListedDatabase {
            name: "dev-x".into(),
            parent: Some("dev-main".into()),
            made_by_devrun: true,
            label: Some("x".into()),
            worktree: Some("/nonexistent/x".into()),
            size: Some(8_123_456),
            ..ListedDatabase::default()
        };
        let theirs = ListedDatabase {
            name: "staging".into(),
            size: Some(12_345_678_901),
            ..ListedDatabase::default()
        };
        insta::assert_snapshot!(text(&[ours, theirs.clone()], "dev-x"), @r"
        DATABASE  BRANCH  PARENT    SIZE    WORKTREE
        dev-x *   x       dev-main  8.1 MB  /nonexistent/x (gone)
        staging   -       -         12 GB   not made by devrun
        ");
        assert!(text(&[], "dev-x").starts_with("There is no branch database"));
        let kept = ListedDatabase { name: "dev-x".into(), snapshots: vec!["a".into(), "b".into()], ..theirs };
        assert!(text(&[kept], "").lines().next().unwrap().ends_with("SNAPSHOTS"));
    }
}
