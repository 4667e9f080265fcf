//! The extensions that migrations create, and where a server with them comes from. Pure, except for [`names`].
//!
//! The reader of migrations is lenient: it leaves out a statement that a condition may skip, because its caller refuses
//! to run a migration that needs a missing extension.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use tokio_postgres::Client;

use super::sql_text;

/// Debian's packages, by extension, with `NN` for the major version of Postgres.
const DEBIAN: [(&str, &str); 17] = [
    ("age", "postgresql-NN-age"),
    ("hypopg", "postgresql-NN-hypopg"),
    ("ip4r", "postgresql-NN-ip4r"),
    ("orafce", "postgresql-NN-orafce"),
    ("pg_cron", "postgresql-NN-cron"),
    ("pg_partman", "postgresql-NN-partman"),
    ("pg_repack", "postgresql-NN-repack"),
    ("pg_similarity", "postgresql-NN-similarity"),
    ("pgaudit", "postgresql-NN-pgaudit"),
    ("pgrouting", "postgresql-NN-pgrouting"),
    ("pgtap", "postgresql-NN-pgtap"),
    ("plperl", "postgresql-plperl-NN"),
    ("plpython3u", "postgresql-plpython3-NN"),
    ("pltcl", "postgresql-pltcl-NN"),
    ("postgis", "postgresql-NN-postgis-3"),
    ("rum", "postgresql-NN-rum"),
    ("vector", "postgresql-NN-pgvector"),
];

/// Parts of the names of images, with extensions that these images bring and whose names differ from the image's.
const IMAGES: [(&str, &[&str]); 5] = [
    ("apache/age", &["age"]),
    ("paradedb/", &["pg_search", "vector"]),
    ("pgvector", &["vector"]),
    ("supabase/postgres", &["vector", "postgis", "pg_cron", "pgmq", "pg_net", "pgaudit", "hypopg", "pgtap"]),
    ("timescale/", &["timescaledb", "vector", "vectorscale", "postgis"]),
];

/// A statement that creates an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionNeed {
    pub name: String,
    /// Counted from 1.
    pub line: u32,
}

static CREATE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?i)\bcreate\s+extension\s+(?:if\s+not\s+exists\s+)?\\?"?([a-z_][\w-]*)"#).ok()
});
/// Words and signs after which a statement of Python, or of SQL inside it, may be skipped.
static CONDITION: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?m)^\s*(?:if|elif|else|try|except|for|while|match|def)\b|\$\w*\$").ok());
static DJANGO: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?m)^\s*CreateExtension\(\s*["']([\w-]+)["']|^\s*(VectorExtension)\("#).ok()
});

/// Returns the extensions that a file of migrations certainly creates.
pub fn needs(file: &Path, text: &str) -> Vec<ExtensionNeed> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("sql") => in_sql(text),
        Some("py") => in_python(text),
        _ => Vec::new(),
    }
}

fn in_sql(text: &str) -> Vec<ExtensionNeed> {
    if text.lines().any(|line| line.starts_with("\\if")) {
        return Vec::new();
    }
    let created = sql_text::statements(text).into_iter().filter(|one| one.begins(&["create", "extension"]));
    created
        .filter_map(|one| {
            let conditional = one.begins(&["create", "extension", "if", "not", "exists"]);
            let name = one.words.get(if conditional { 5 } else { 2 })?.clone();
            Some(ExtensionNeed { name, line: one.line })
        })
        .collect()
}

fn in_python(text: &str) -> Vec<ExtensionNeed> {
    let line_at = |at: usize| u32::try_from(text[..at].matches('\n').count() + 1).unwrap_or(u32::MAX);
    let mut found = Vec::new();
    for name in DJANGO.iter().flat_map(|pattern| pattern.captures_iter(text)) {
        let vector = || name.get(2).map(|_| "vector".to_string());
        let named = name.get(1).map(|name| name.as_str().to_string());
        let at = name.get(1).or(name.get(2)).map_or(0, |part| part.start());
        found.extend(named.or_else(vector).map(|name| ExtensionNeed { name, line: line_at(at) }));
    }
    let Some(begin) = text.find("def upgrade") else { return found };
    let begin = begin + "def upgrade".len();
    let end = text[begin..].find("\ndef ").map_or(text.len(), |end| begin + end);
    let body = &text[begin..end];
    for created in CREATE.iter().flat_map(|pattern| pattern.captures_iter(body)) {
        let (Some(whole), Some(name)) = (created.get(0), created.get(1)) else { continue };
        let before = &body[..whole.start()];
        let line = before.rsplit('\n').next().unwrap_or_default();
        let is_comment = line.contains('#') || line.contains("--");
        if is_comment || CONDITION.as_ref().is_none_or(|condition| condition.is_match(before)) {
            continue;
        }
        found.push(ExtensionNeed { name: name.as_str().into(), line: line_at(begin + whole.start()) });
    }
    found
}

/// Returns the package of Debian with the extension `name` for Postgres `major`, if one is known.
pub fn debian_package(name: &str, major: u32) -> Option<String> {
    let (_, package) = DEBIAN.iter().find(|(known, _)| *known == name)?;
    Some(package.replace("NN", &major.to_string()))
}

/// Returns true if the container image `image` brings the extension `name`.
pub fn brings(image: &str, name: &str) -> bool {
    let image = image.to_lowercase();
    let listed = IMAGES.iter().any(|(part, all)| image.contains(part) && all.contains(&name));
    // `postgis/postgis:17`, `timescale/timescaledb`.
    listed || (name.len() > 3 && image.contains(&name.to_lowercase().replace('_', "-")))
}

/// Returns the names of all extensions that the server of `client` offers.
pub async fn names(client: &Client) -> Result<Vec<String>, tokio_postgres::Error> {
    let rows = client.query("select name::text from pg_available_extensions", &[]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, text: &str) -> Vec<(String, u32)> {
        needs(Path::new(file), text).into_iter().map(|need| (need.name, need.line)).collect()
    }

    #[test]
    fn statements_in_sql_are_found_outside_comments_and_bodies() {
        let text = "-- CREATE EXTENSION a;\nCREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA public;\n\
                    create extension vector;\nselect 'create extension b;';\n\
                    do $$ begin create extension c; exception when others then null; end $$;\n";
        assert_eq!(found("1.sql", text), [("uuid-ossp".into(), 2), ("vector".into(), 3)]);
        assert_eq!(found("1.sql", "\\if :x\ncreate extension vector;\n\\endif\n"), []);
        assert_eq!(found("1.txt", "create extension vector;"), []);
    }

    #[test]
    fn statements_of_alembic_are_found_in_upgrade_unless_a_condition_may_skip_them() {
        let file = |body: &str| {
            format!(
                "x = 1\n\ndef upgrade() -> None:\n{body}\n\ndef downgrade():\n    op.execute('create extension no')\n"
            )
        };
        assert_eq!(
            found("v.py", &file("    op.execute(\"CREATE EXTENSION IF NOT EXISTS vector\")")),
            [("vector".into(), 4)]
        );
        assert_eq!(
            found(
                "v.py",
                &file(
                    "    with op.get_context().autocommit_block():\n        op.execute('''\ncreate extension \"postgis\"''')"
                )
            ),
            [("postgis".into(), 6)]
        );
        for skipped in [
            "    if is_postgres():\n        op.execute('create extension vector')",
            "    try:\n        op.execute('create extension vector')\n    except Exception: pass",
            "    # op.execute('create extension vector')",
            "    op.execute('DO $$ BEGIN CREATE EXTENSION vector; EXCEPTION WHEN OTHERS THEN NULL; END $$')",
            "    op.execute(f'create extension {name}')",
        ] {
            assert_eq!(found("v.py", &file(skipped)), [], "{skipped}");
        }
    }

    #[test]
    fn operations_of_django_are_found() {
        let text = "operations = [\n    VectorExtension(),\n    CreateExtension('hstore'),\n]\n";
        assert_eq!(found("0001.py", text), [("vector".into(), 2), ("hstore".into(), 3)]);
    }

    #[test]
    fn images_and_packages_are_known_by_extension() {
        assert!(brings("pgvector/pgvector:pg17", "vector") && brings("postgis/postgis:16-3.4", "postgis"));
        assert!(brings("timescale/timescaledb-ha:pg16", "vector") && brings("ankane/pgvector", "vector"));
        assert!(!brings("postgres:17", "vector") && !brings("registry.example/age-postgres", "age"));
        assert_eq!(debian_package("vector", 18).as_deref(), Some("postgresql-18-pgvector"));
        assert_eq!(debian_package("nope", 18), None);
    }
}
