//! Rules that replace personal data in an imported database: reads them, and words the statements. Pure.
//!
//! A file of rules has one `table.column: rule` per line. Values that were equal stay equal, so that tables which refer to each
//! other still do; the hashes have a random salt, which is not kept.

use std::collections::BTreeMap;

use super::catalogue::{identifier, literal};

/// The names of the rules, with what each one writes.
pub const RULES: [(&str, &str); 6] = [
    ("null", "nothing"),
    ("constant TEXT", "the text"),
    ("hash", "a hash"),
    ("email", "an address at example.com"),
    ("name", "a first and a last name"),
    ("phone", "a number"),
];
const FIRST_NAMES: &str =
    "Ada,Alan,Barbara,Claude,Dennis,Edsger,Frances,Grace,John,Katherine,Ken,Margaret,Niklaus,Radia,Tim,Tony";
const LAST_NAMES: &str = "Allen,Backus,Dijkstra,Hamilton,Hoare,Hopper,Johnson,Liskov,Lovelace,Perlman,Ritchie,Shannon,Thompson,Turing,Wilkes,Wirth";

/// The value that replaces another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MaskRule {
    Null,
    Constant(String),
    Hash,
    Email,
    Name,
    Phone,
}

/// A column and its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnMask {
    /// The schema; `public` if it was left out.
    pub schema: String,
    pub table: String,
    pub column: String,
    pub rule: MaskRule,
    /// The line of the file, counted from 1.
    pub line: usize,
}

/// An error in a file of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskSyntaxError {
    pub line: usize,
    pub column: usize,
    pub reason: String,
}

/// Reads a file of rules.
pub fn parse(text: &str) -> Result<Vec<ColumnMask>, MaskSyntaxError> {
    let mut all: Vec<ColumnMask> = Vec::new();
    for (index, whole) in text.lines().enumerate() {
        let line = whole.trim();
        if line.is_empty() || line.starts_with('#') || line == "---" {
            continue;
        }
        let begin = whole.len() - whole.trim_start().len() + 1;
        let error = |column: usize, reason: String| MaskSyntaxError { line: index + 1, column, reason };
        let line = line.strip_prefix("- ").unwrap_or(line);
        let (target, rule) =
            line.split_once(':').ok_or_else(|| error(begin, "write `table.column: rule`".into()))?;
        let parts: Vec<&str> = target.trim().split('.').collect();
        let (schema, table, column) = match parts.as_slice() {
            [table, column] => ("public", *table, *column),
            [schema, table, column] => (*schema, *table, *column),
            _ => return Err(error(begin, format!("`{}` is no table.column", target.trim()))),
        };
        if table.is_empty() || column.is_empty() || schema.is_empty() {
            return Err(error(begin, format!("`{}` is no table.column", target.trim())));
        }
        let after = whole.find(':').map_or(0, |at| at + 1);
        let at = whole.len() - whole[after..].trim_start().len() + 1;
        let rule = rule_of(rule.trim()).map_err(|reason| error(at, reason))?;
        let mask = ColumnMask {
            schema: schema.into(),
            table: table.into(),
            column: column.into(),
            rule,
            line: index + 1,
        };
        if let Some(first) = all
            .iter()
            .find(|one| (&one.schema, &one.table, &one.column) == (&mask.schema, &mask.table, &mask.column))
        {
            return Err(error(begin, format!("line {} has a rule for this column already", first.line)));
        }
        all.push(mask);
    }
    Ok(all)
}

fn rule_of(text: &str) -> Result<MaskRule, String> {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rule = match word {
        "null" => MaskRule::Null,
        "constant" => {
            let value = rest.trim();
            let quoted =
                ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
            return Ok(MaskRule::Constant(quoted.unwrap_or(value).into()));
        }
        "hash" => MaskRule::Hash,
        "email" => MaskRule::Email,
        "name" => MaskRule::Name,
        "phone" => MaskRule::Phone,
        _ => {
            let known: Vec<&str> = RULES.iter().map(|(name, _)| *name).collect();
            return Err(format!("there is no rule `{word}`; known: {}", known.join(", ")));
        }
    };
    if rest.trim().is_empty() { Ok(rule) } else { Err(format!("the rule `{word}` takes nothing after it")) }
}

/// Returns the rules by table, as schema and name.
pub fn by_table(masks: &[ColumnMask]) -> BTreeMap<(&str, &str), Vec<&ColumnMask>> {
    let mut tables: BTreeMap<(&str, &str), Vec<&ColumnMask>> = BTreeMap::new();
    for mask in masks {
        tables.entry((&mask.schema, &mask.table)).or_default().push(mask);
    }
    tables
}

/// Returns the statement that applies `masks` to one table. `types` has the type of each of their columns, and `salt` is
/// random.
pub fn update((schema, table): (&str, &str), masks: &[(&ColumnMask, String)], salt: &str) -> String {
    let assignments: Vec<String> = masks
        .iter()
        .map(|(mask, kind)| {
            let column = identifier(&mask.column);
            let value = value(&mask.rule, &column, salt);
            match mask.rule {
                MaskRule::Null => format!("{column} = NULL"),
                _ => format!("{column} = CASE WHEN {column} IS NOT NULL THEN CAST({value} AS {kind}) END"),
            }
        })
        .collect();
    format!("UPDATE {}.{} SET {}", identifier(schema), identifier(table), assignments.join(", "))
}

fn value(rule: &MaskRule, column: &str, salt: &str) -> String {
    let hash = format!("md5({} || CAST({column} AS text))", literal(salt));
    // The first seven digits of a hash are a number that always fits.
    let number = format!("('x0' || left({hash}, 7))::bit(32)::int");
    let pick = |list: &str, shift: u32| {
        format!("(string_to_array({}, ','))[1 + ({number} >> {shift}) % 16]", literal(list))
    };
    match rule {
        MaskRule::Null => "NULL".into(),
        MaskRule::Constant(text) => literal(text),
        MaskRule::Hash => hash,
        MaskRule::Email => format!("'user-' || left({hash}, 12) || '@example.com'"),
        MaskRule::Name => format!("{} || ' ' || {}", pick(FIRST_NAMES, 0), pick(LAST_NAMES, 4)),
        MaskRule::Phone => format!("'+1555' || lpad(({number} % 10000000)::text, 7, '0')"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_column_and_its_rule() {
        let text = "# people\nusers.email: email\n- crm.people.name: name\n\nusers.note: constant 'not: kept'\nusers.age: null\n";
        let found = parse(text).unwrap();
        let shown: Vec<_> =
            found.iter().map(|one| (one.schema.as_str(), one.column.as_str(), &one.rule)).collect();
        assert_eq!(
            shown,
            [
                ("public", "email", &MaskRule::Email),
                ("crm", "name", &MaskRule::Name),
                ("public", "note", &MaskRule::Constant("not: kept".into())),
                ("public", "age", &MaskRule::Null)
            ]
        );
        assert_eq!(by_table(&found).len(), 2);
    }

    #[test]
    fn errors_have_line_column_and_reason() {
        for (text, line, column, reason) in [
            ("users.email email", 1, 1, "write `table.column: rule`"),
            ("\n  users: email", 2, 3, "`users` is no table.column"),
            (
                "a.b: shuffle",
                1,
                6,
                "there is no rule `shuffle`; known: null, constant TEXT, hash, email, name, phone",
            ),
            ("a.b: null x", 1, 6, "the rule `null` takes nothing after it"),
            ("a.b: null\na.b: hash", 2, 1, "line 1 has a rule for this column already"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.line, error.column, error.reason.as_str()), (line, column, reason), "{text}");
        }
    }

    #[test]
    fn the_statement_quotes_names_and_keeps_nulls() {
        let masks = parse("Odd Table.it's: constant it's\n").unwrap();
        let sql = update(("public", "Odd Table"), &[(&masks[0], "text".into())], "s");
        assert_eq!(
            sql,
            "UPDATE \"public\".\"Odd Table\" SET \"it's\" = CASE WHEN \"it's\" IS NOT NULL THEN CAST('it''s' AS text) END"
        );
    }
}
