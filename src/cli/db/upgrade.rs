//! `devrun db upgrade`: moves the local databases to a newer major version of Postgres.

use serde_json::json;

use crate::cli::args::DbUpgrade;
use crate::cli::printed;
use crate::context::Context;
use crate::database::upgrade::Upgraded;
use crate::error::{Exit, Report};
use crate::prepare;
use crate::ui::console::Console;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &DbUpgrade,
    as_json: bool,
) -> Result<Exit, Report> {
    let (provider, upgraded) = prepare::upgrade_server(ctx, args.keep_old).await?;
    printed(if as_json {
        console.print_json(&json!({
            "provider": provider,
            "from": upgraded.from,
            "to": upgraded.to,
            "upgraded": upgraded.from != upgraded.to,
            "databases": upgraded.databases,
            "snapshots": upgraded.snapshots,
            "tables": upgraded.tables,
            "rows": upgraded.rows,
            "kept": upgraded.kept,
        }))
    } else {
        console.print(&text(&upgraded))
    })
}

fn text(upgraded: &Upgraded) -> String {
    let Upgraded { from, to, databases, snapshots, tables, rows, kept } = upgraded;
    if from == to {
        return format!("The databases are of Postgres {to} already, the newest that devrun can use here.\n");
    }
    let kept = match kept {
        Some(folder) => format!("The old data are in {}.\n", folder.display()),
        None => String::new(),
    };
    let count = |number: usize, word| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
    let moved = [count(*databases, "database"), count(*snapshots, "snapshot")].join(" and ");
    format!(
        "Moved from Postgres {from} to {to}: {moved}. All {tables} tables have the same number of rows as before ({rows}).\n{kept}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_the_old_and_the_new_version() {
        let upgraded = Upgraded {
            from: 15,
            to: 18,
            databases: 2,
            snapshots: 1,
            tables: 3,
            rows: 9,
            kept: Some("/c/data-15".into()),
        };
        assert_eq!(
            text(&upgraded),
            "Moved from Postgres 15 to 18: 2 databases and 1 snapshot. All 3 tables have the same number of rows as before \
             (9).\nThe old data are in /c/data-15.\n"
        );
        let nothing = Upgraded { from: 18, kept: None, ..upgraded };
        assert!(text(&nothing).starts_with("The databases are of Postgres 18 already"));
    }
}
