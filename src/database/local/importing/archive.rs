//! Restores a dump in Postgres' custom format, without the parts that only a superuser can create.

use std::io::Write;
use std::path::Path;

use super::source::{Tools, watched};
use crate::database::import::{ImportError, ImportRequest};
use crate::database::local::Local;
use crate::database::local::error::LocalError;
use crate::database::sql_text;
use crate::error::Report;
use crate::os::cmd::CmdError;
use crate::text::Mask;

/// Objects that only a superuser can create, by the words of a dump's list of contents.
const LEFT_OUT: [&str; 5] =
    ["EVENT TRIGGER", "PUBLICATION", "SUBSCRIPTION", "SECURITY LABEL", "DATABASE PROPERTIES"];

/// Returns the extensions of the dump in `file`, each with its schema.
pub(super) async fn extensions(
    local: &Local,
    tools: &Tools,
    file: &Path,
) -> Result<Vec<(String, String)>, Report> {
    let list = list(local, tools, file).await?;
    let wanted: String = lines(&list).filter(|line| entry(line).starts_with("EXTENSION ")).fold(
        String::new(),
        |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        },
    );
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let chosen = written(local, &wanted)?;
    let text = tools.command(local, "pg_restore").arg("--use-list").arg(chosen.path()).args(["--file", "-"]);
    let text = text.arg(file).ok().await.map_err(|error| failed(&error))?;
    Ok(created(&text.text()))
}

/// Returns the extensions that statements create, each with its schema.
pub(super) fn created(text: &str) -> Vec<(String, String)> {
    let pair = |one: &sql_text::SqlStatement| {
        let words = &one.words;
        let at = if one.begins(&["create", "extension", "if", "not", "exists"]) { 5 } else { 2 };
        let name = words.get(at).filter(|_| one.begins(&["create", "extension"]))?;
        let schema = words.iter().position(|word| word == "schema").and_then(|at| words.get(at + 1));
        Some((name.clone(), schema.map_or_else(|| "public".into(), Clone::clone)))
    };
    sql_text::statements(text).iter().filter_map(pair).collect()
}

/// Restores the dump in `file` to the database `name`, which already has `extensions` and their schemas. Returns the kinds of objects that
/// it leaves out.
pub(super) async fn restore(
    local: &Local,
    tools: &Tools,
    name: &str,
    file: &Path,
    extensions: &[(String, String)],
    request: &ImportRequest,
) -> Result<Vec<String>, Report> {
    let list = list(local, tools, file).await?;
    let made: Vec<&str> = extensions.iter().map(|(_, schema)| schema.as_str()).collect();
    let (kept, left_out) = chosen(&list, &made, &request.exclude_table_data);
    let kept = written(local, &kept)?;
    let (cmd, _access) = tools.restore(local)?;
    let mut cmd = cmd
        .args(["--no-owner", "--no-privileges", "--exit-on-error", "--jobs=2", "--verbose"])
        .arg("--use-list")
        .arg(kept.path())
        .arg(format!("--dbname={name}"));
    if request.schema_only {
        cmd = cmd.arg("--schema-only");
    }
    watched(local, cmd.arg(file), "pg_restore", &Mask::default()).await?;
    Ok(left_out)
}

async fn list(local: &Local, tools: &Tools, file: &Path) -> Result<String, ImportError> {
    let listed = tools.command(local, "pg_restore").arg("--list").arg(file).ok().await;
    Ok(listed.map_err(|error| failed(&error))?.text())
}

fn failed(error: &CmdError) -> ImportError {
    ImportError::Tool { program: "pg_restore", tail: error.tail(8).unwrap_or_else(|| error.ending()) }
}

fn written(local: &Local, text: &str) -> Result<tempfile::NamedTempFile, LocalError> {
    let folder = &local.cluster.folder;
    let mut file = tempfile::Builder::new()
        .prefix("import-")
        .tempfile_in(folder)
        .map_err(LocalError::io("write to", folder))?;
    file.write_all(text.as_bytes()).map_err(LocalError::io("write to", folder))?;
    Ok(file)
}

fn lines(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter(|line| !line.starts_with(';') && !line.trim().is_empty())
}

/// Returns the kind and names of a line such as `3456; 1259 16385 TABLE public users app`.
fn entry(line: &str) -> String {
    line.split(' ').skip(3).collect::<Vec<_>>().join(" ")
}

/// Returns the lines of a list of contents that are restored, and the kinds of the others that matter. `made` has schemas that
/// exist already. Pure.
fn chosen(list: &str, made: &[&str], exclude_table_data: &[String]) -> (String, Vec<String>) {
    let mut kept = String::new();
    let mut left_out: Vec<String> = Vec::new();
    for line in lines(list) {
        let entry = entry(line);
        if let Some(kind) = LEFT_OUT.iter().find(|kind| entry.starts_with(*kind)) {
            if !left_out.iter().any(|known| known == kind) {
                left_out.push((*kind).to_string());
            }
            continue;
        }
        // Created before, by devrun's superuser.
        let is_extension = entry.starts_with("EXTENSION ") || entry.starts_with("COMMENT - EXTENSION ");
        let schema = entry.strip_prefix("SCHEMA - ").and_then(|rest| rest.split(' ').next());
        let is_schema = schema.is_some_and(|schema| schema == "public" || made.contains(&schema));
        let rows: Vec<&str> = entry.strip_prefix("TABLE DATA ").unwrap_or_default().split(' ').collect();
        let is_excluded = match rows.as_slice() {
            [schema, table, ..] => exclude_table_data.iter().any(|pattern| excludes(pattern, schema, table)),
            _ => false,
        };
        let is_own = entry.split(' ').any(|word| word == "_devrun");
        if !(is_extension || is_schema || is_excluded || is_own) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    (kept, left_out)
}

/// Returns true if `pattern` matches the table, as `pg_dump` reads it: with `*` and `?`, with or without a schema.
pub(super) fn excludes(pattern: &str, schema: &str, table: &str) -> bool {
    let (wanted_schema, wanted) = pattern.split_once('.').map_or((None, pattern), |(s, t)| (Some(s), t));
    let matches = |pattern: &str, text: &str| {
        glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(text)) || pattern == text
    };
    matches(wanted, table) && wanted_schema.is_none_or(|wanted| matches(wanted, schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_for_superusers_and_excluded_rows_are_left_out() {
        let list = ";\n; Archive\n1; 2615 1 SCHEMA - crm app\n0; 2615 1 SCHEMA - ext app\n2; 3079 2 EXTENSION - citext \n3; 0 0 COMMENT - EXTENSION citext \n\
                    4; 1259 3 TABLE public logs app\n5; 0 3 TABLE DATA public logs app\n6; 0 4 TABLE DATA public users app\n\
                    7; 3466 5 EVENT TRIGGER - audit app\n8; 1259 9 TABLE _devrun marker app\n9; 6104 1 PUBLICATION - p app\n";
        let (kept, left_out) = chosen(list, &["ext"], &["lo*".into()]);
        let numbers: Vec<&str> = kept.lines().filter_map(|line| line.split(';').next()).collect();
        assert_eq!(numbers, ["1", "4", "6"]);
        assert_eq!(left_out, ["EVENT TRIGGER", "PUBLICATION"]);
    }

    #[test]
    fn patterns_match_tables_with_or_without_a_schema() {
        assert!(excludes("logs", "public", "logs") && excludes("public.l*", "public", "logs"));
        assert!(!excludes("crm.logs", "public", "logs") && !excludes("log", "public", "logs"));
    }

    #[test]
    fn extensions_have_their_schema() {
        let text =
            "CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA extensions;\ncreate extension citext;";
        assert_eq!(
            created(text),
            [("uuid-ossp".into(), "extensions".into()), ("citext".into(), "public".into())]
        );
    }
}
