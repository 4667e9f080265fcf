//! Writes the statement that drops the objects which a failed migration left. Pure.

use crate::text::quoted;

/// The kinds of objects, in the order in which they can be dropped: a view before its table, a table before the type of its column.
const KINDS: [&str; 7] = ["view", "materialized view", "index", "table", "foreign table", "sequence", "type"];

/// More objects do not fit into a command that is read before it is typed.
const MOST: usize = 6;

/// Returns the command that drops `objects`, as [`drop_statement`] does.
pub fn drop_command(objects: &[String]) -> Option<String> {
    Some(format!("devrun db psql -- -c {}", quoted(drop_statement(objects)?)))
}

/// Returns the statement that drops `objects`, which have their kinds: `table public.leads`, `column public.leads.score`. Returns
/// `None` if there are none or too many, or if one of them needs more than its name: a function also needs its parameters, and an
/// unusual name needs quotes.
fn drop_statement(objects: &[String]) -> Option<String> {
    if objects.is_empty() || objects.len() > MOST {
        return None;
    }
    let mut statements = Vec::new();
    for object in objects {
        let (kind, name) = object.rsplit_once(' ')?;
        if !name.split('.').all(is_plain) {
            return None;
        }
        statements.push(match (kind, name.rsplit_once('.')?) {
            ("column", (table, column)) => (0, format!("alter table {table} drop column {column}")),
            _ => (KINDS.iter().position(|known| *known == kind)? + 1, format!("drop {kind} {name}")),
        });
    }
    statements.sort_by_key(|(order, _)| *order);
    let statements: Vec<String> = statements.into_iter().map(|(_, statement)| statement).collect();
    Some(statements.join("; "))
}

/// Returns true if `name` needs no quotes in SQL.
fn is_plain(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c == '_';
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropping(objects: &[&str]) -> Option<String> {
        drop_statement(&objects.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn views_are_dropped_before_tables_and_types_last() {
        let objects = [
            "type public.mood",
            "table public.part",
            "materialized view public.m",
            "column public.leads.score",
        ];
        assert_eq!(
            dropping(&objects).unwrap(),
            "alter table public.leads drop column score; drop materialized view public.m; drop table public.part; \
             drop type public.mood"
        );
        assert_eq!(dropping(&["index public.by_n"]).unwrap(), "drop index public.by_n");
    }

    #[test]
    fn objects_that_need_more_than_their_name_have_no_statement() {
        for object in
            ["function public.f", "table public.User", "table public.a b", "table odd", "rule public.r"]
        {
            assert_eq!(dropping(&["table public.part", object]), None, "{object}");
        }
        assert_eq!(dropping(&[]), None);
        assert_eq!(dropping(&["table public.t"; 7]), None);
    }
}
