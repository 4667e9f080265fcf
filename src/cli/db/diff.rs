//! `devrun db diff`: prints how the branch database differs from its parent or another database: schema, numbers of rows, or the rows
//! of one table.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::table;
use crate::cli::args::DbDiff;
use crate::cli::printed;
use crate::context::Context;
use crate::database::compare::{
    DatabaseDifference, ObjectChange, RowChange, RowChanges, RowCount, RowDifference, TableRows,
};
use crate::error::{Exit, Report};
use crate::prepare::Databases;
use crate::ui::console::Console;
use crate::ui::style::harmless;

/// The most characters of a definition or a value that are printed.
const LONGEST: usize = 100;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &DbDiff,
    as_json: bool,
) -> Result<Exit, Report> {
    let databases = Databases::open(ctx).await?;
    let (base, own) = databases.pair(args.other.as_deref()).await?;
    let names = (base.name.as_str(), own.name.as_str());
    if let Some(name) = &args.rows {
        let changes = databases.row_changes(&base, &own, name, args.limit).await?;
        return printed(if as_json {
            console.print_json(&rows_object(names, name, &changes))
        } else {
            console.print(&rows_text(names, name, &changes))
        });
    }
    let difference = databases.difference(&base, &own).await?;
    printed(if as_json {
        console.print_json(&object(names, &difference))
    } else {
        console.print(&text(names, &difference))
    })
}

fn object((base, own): (&str, &str), difference: &DatabaseDifference) -> Value {
    let change = |one: &ObjectChange| {
        json!({
            "kind": one.kind, "name": one.name, "change": difference_word(compared(one.before.is_some(), one.after.is_some())),
            "before": one.before, "after": one.after,
        })
    };
    let count = |count: Option<RowCount>| count.map(|one| json!({ "rows": one.rows, "exact": one.is_exact }));
    let rows = |one: &TableRows| json!({ "table": one.table, "before": count(one.before), "after": count(one.after) });
    json!({
        "database": own,
        "compared_with": base,
        "schema": difference.schema.0.iter().map(change).collect::<Vec<_>>(),
        "tables": difference.rows.iter().map(rows).collect::<Vec<_>>(),
    })
}

/// Returns how an object differs that exists in the parent (`is_before`) or in the branch database (`is_after`).
const fn compared(is_before: bool, is_after: bool) -> RowDifference {
    match (is_before, is_after) {
        (false, _) => RowDifference::Added,
        (_, false) => RowDifference::Removed,
        _ => RowDifference::Changed,
    }
}

const fn sign(difference: RowDifference) -> &'static str {
    match difference {
        RowDifference::Added => "+",
        RowDifference::Removed => "-",
        RowDifference::Changed => "~",
    }
}

fn text((base, own): (&str, &str), difference: &DatabaseDifference) -> String {
    let mut rows = Vec::new();
    for one in &difference.schema.0 {
        let short = |text: &Option<String>| shortened(text.as_deref().unwrap_or_default());
        let detail = match (&one.before, &one.after) {
            (Some(_), Some(_)) => format!("{} -> {}", short(&one.before), short(&one.after)),
            _ => short(if one.after.is_some() { &one.after } else { &one.before }),
        };
        let sign = sign(compared(one.before.is_some(), one.after.is_some()));
        rows.push(vec![sign.into(), one.kind.clone(), one.name.clone(), detail]);
    }
    let mut same = 0;
    for one in &difference.rows {
        let number = |count: Option<RowCount>| {
            count.map_or_else(
                || "none".into(),
                |one| format!("{}{}", if one.is_exact { "" } else { "about " }, one.rows),
            )
        };
        if one.before == one.after {
            same += 1;
            continue;
        }
        let detail = format!("{} -> {}", number(one.before), number(one.after));
        let sign = sign(compared(one.before.is_some(), one.after.is_some()));
        rows.push(vec![sign.into(), "rows".into(), one.table.clone(), detail]);
    }
    if rows.is_empty() {
        return format!("{own} has the schema of {base}, and each table has as many rows.\n");
    }
    let mut out = format!("{own} compared with {base}\n{}", table(&rows));
    match same {
        0 => {}
        1 => out.push_str("1 other table has as many rows in both.\n"),
        _ => {
            let _ = writeln!(out, "{same} other tables have as many rows in both.");
        }
    }
    out
}

fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

fn rows_object((base, own): (&str, &str), name: &str, changes: &RowChanges) -> Value {
    let row = |one: &RowChange| json!({ "change": difference_word(one.difference), "key": one.key, "before": one.before, "after": one.after });
    json!({
        "database": own,
        "compared_with": base,
        "table": name,
        "key": changes.key,
        "added": changes.added,
        "removed": changes.removed,
        "changed": changes.changed,
        "rows": changes.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

const fn difference_word(difference: RowDifference) -> &'static str {
    match difference {
        RowDifference::Added => "added",
        RowDifference::Removed => "removed",
        RowDifference::Changed => "changed",
    }
}

fn rows_text((base, own): (&str, &str), name: &str, changes: &RowChanges) -> String {
    let RowChanges { added, removed, changed, .. } = changes;
    let total = added + removed + changed;
    if total == 0 {
        return format!("{name} has the same rows in {own} and {base}.\n");
    }
    let mut out = format!(
        "{name} in {own} compared with {base}: {added} added, {removed} removed, {changed} changed\n"
    );
    for row in &changes.rows {
        let key: Vec<String> =
            changes.key.iter().zip(&row.key).map(|(name, value)| format!("{name}={value}")).collect();
        let sign = sign(row.difference);
        let _ = writeln!(out, "{sign} {}  {}", harmless(&key.join(" ")), harmless(&values(row)));
    }
    if changes.rows.len() < total {
        let _ = writeln!(out, "{} more: --limit", total - changes.rows.len());
    }
    out
}

/// Formats the values of a row, or those that have changed.
fn values(row: &RowChange) -> String {
    let shown = |value: &Value| shortened(&value.to_string());
    let all = |row: &Map<String, Value>| {
        row.iter().map(|(name, value)| format!("{name}: {}", shown(value))).collect::<Vec<_>>()
    };
    let parts = match (&row.before, &row.after) {
        (Some(before), Some(after)) => after
            .iter()
            .filter(|(name, value)| before.get(*name) != Some(value))
            .map(|(name, value)| {
                format!("{name}: {} -> {}", shown(before.get(name).unwrap_or(&Value::Null)), shown(value))
            })
            .collect(),
        (Some(row), None) | (None, Some(row)) => all(row),
        (None, None) => Vec::new(),
    };
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::compare::SchemaChanges;

    const NAMES: (&str, &str) = ("dev-main", "dev-x");

    #[test]
    fn each_difference_has_a_line() {
        let change = |kind: &str, name: &str, before: Option<&str>, after: Option<&str>| ObjectChange {
            kind: kind.into(),
            name: name.into(),
            before: before.map(Into::into),
            after: after.map(Into::into),
        };
        let rows = |table: &str, before: Option<u64>, after: Option<u64>| {
            let count = |rows| RowCount { rows, is_exact: true };
            TableRows { table: table.into(), before: before.map(count), after: after.map(count) }
        };
        let difference = DatabaseDifference {
            schema: SchemaChanges(vec![
                change("column", "users.name", Some("text"), Some("text not null")),
                change("table", "bills", None, Some("")),
                change("view", "old", Some(" select\n 1"), None),
            ]),
            rows: vec![rows("bills", None, Some(2)), rows("users", Some(1), Some(1))],
        };
        insta::assert_snapshot!(text(NAMES, &difference), @r"
        dev-x compared with dev-main
        ~  column  users.name  text -> text not null
        +  table   bills
        -  view    old         select 1
        +  rows    bills       none -> 2
        1 other table has as many rows in both.
        ");
        let none = DatabaseDifference { schema: SchemaChanges::default(), rows: Vec::new() };
        assert!(text(NAMES, &none).starts_with("dev-x has the schema of dev-main"));
    }

    #[test]
    fn rows_show_their_key_and_the_values_that_changed() {
        let row = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap();
        let changes = RowChanges {
            key: vec!["id".into()],
            added: 1,
            removed: 0,
            changed: 1,
            rows: vec![RowChange {
                difference: RowDifference::Changed,
                key: vec!["1".into()],
                before: Some(row(r#"{"id":1,"name":"a"}"#)),
                after: Some(row(r#"{"id":1,"name":"b"}"#)),
            }],
        };
        insta::assert_snapshot!(rows_text(NAMES, "users", &changes), @r#"
        users in dev-x compared with dev-main: 1 added, 0 removed, 1 changed
        ~ id=1  name: "a" -> "b"
        1 more: --limit
        "#);
    }
}
