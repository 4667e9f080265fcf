//! `devrun db snapshot`: takes or deletes a snapshot of the branch database. `devrun db snapshots` lists all.

use serde_json::{Value, json};

use super::{age, size, table};
use crate::cli::args::SnapshotArgs;
use crate::cli::printed;
use crate::context::Context;
use crate::database::saved_snapshots::{SavedSnapshot, SnapshotError, check_name};
use crate::error::{Exit, Report};
use crate::prepare::Databases;
use crate::ui::console::Console;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &SnapshotArgs,
    as_json: bool,
) -> Result<Exit, Report> {
    let Some(name) = &args.name else { return list(ctx, console, as_json).await };
    check_name(name)?;
    let databases = Databases::open(ctx).await?;
    let of = databases.own.name.clone();
    if args.delete {
        databases.delete_snapshot(name).await?;
        return printed(if as_json {
            console.print_json(&json!({ "database": of, "snapshot": name, "deleted": true }))
        } else {
            console.print(&format!("The snapshot {name} of {of} is deleted.\n"))
        });
    }
    let exists = databases.snapshots().await?.iter().any(|one| one.of == of && one.name == *name);
    if exists && !args.replace {
        return Err(SnapshotError::Exists { name: name.clone(), of }.into());
    }
    let saved = databases.save_snapshot(name).await?;
    printed(if as_json {
        console.print_json(&object(&saved))
    } else {
        console.print(&format!("{of} is kept as the snapshot {name}: devrun db restore {name}\n"))
    })
}

pub(super) async fn list(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let databases = Databases::open(ctx).await?;
    let all = databases.snapshots().await?;
    printed(if as_json {
        let all: Vec<Value> = all.iter().map(object).collect();
        console.print_json(&json!({ "provider": databases.provider, "snapshots": all }))
    } else {
        console.print(&text(&all))
    })
}

fn object(snapshot: &SavedSnapshot) -> Value {
    json!({
        "snapshot": snapshot.name,
        "database": snapshot.of,
        "taken": snapshot.taken,
        "size_bytes": snapshot.size,
    })
}

fn text(all: &[SavedSnapshot]) -> String {
    if all.is_empty() {
        return "There is no snapshot. `devrun db snapshot NAME` takes one of this worktree's database.\n"
            .into();
    }
    let titles = ["SNAPSHOT", "DATABASE", "TAKEN", "SIZE"].map(String::from).to_vec();
    let row = |one: &SavedSnapshot| {
        vec![one.name.clone(), one.of.clone(), age(one.taken), one.size.map_or_else(|| "-".into(), size)]
    };
    table(&std::iter::once(titles).chain(all.iter().map(row)).collect::<Vec<_>>())
}
