//! Finds plain SQL files for a repository without a migration tool: the files that a compose file's Postgres runs when
//! it is created, else a folder of numbered migrations.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use super::tree::{Tree, is_aside, shown};
use super::{LeftOut, Migrations};
use crate::recognition::facts::{FileLine, Service};

/// Names of folders with migrations.
const FOLDERS: &[&str] = &["migrations", "migration"];
/// Maximum number of code files to search for code that applies the migrations.
const CODE: usize = 300;

/// Matches statements that affect the whole server, or roles that a branch database's server does not have.
static SERVER_WIDE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let pattern = r"(?im)\b(create|alter|drop)\s+(role|user|database|system|tablespace)\b|^\s*\\c(onnect)?\b|\bowner\s+to\b|^\s*grant\b";
    Regex::new(pattern).ok()
});
/// Matches the markers of tools that apply only a part of a file.
static SECTIONS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)--\s*(migrate:|\+goose|up migration|down migration|rollback|\+micrate)").ok()
});

/// Returns the migrations in SQL files. Returns a report if such files exist but devrun cannot apply them.
pub fn find(tree: &Tree<'_>) -> Result<Option<Migrations>, LeftOut> {
    let Some(found) = of_compose(tree).map_or_else(|| of_folder(tree), |found| Ok(Some(found)))? else {
        return Ok(None);
    };
    if let Some(why) = trouble(tree, &found.files) {
        return Err(left_out(&found, &why));
    }
    Ok(Some(Migrations {
        run: String::new(),
        directory: PathBuf::new(),
        inputs: found.patterns,
        at: Some(found.at),
        remark: found.remark,
        is_sql: true,
    }))
}

struct SqlMigrations {
    files: Vec<PathBuf>,
    patterns: Vec<String>,
    at: FileLine,
    remark: String,
}

fn left_out(found: &SqlMigrations, why: &str) -> LeftOut {
    let patterns: Vec<String> = found.patterns.iter().map(|pattern| format!("\"{pattern}\"")).collect();
    LeftOut {
        at: found.at.clone(),
        why: format!("{} is not applied to the branch database: {why}", found.remark),
        lines: format!("database:\n  migrate: {{ sql: [{}] }}\n", patterns.join(", ")),
        candidates: Vec::new(),
    }
}

/// Returns the reason why devrun cannot apply these files, if there is one.
fn trouble(tree: &Tree<'_>, files: &[PathBuf]) -> Option<String> {
    files.iter().find_map(|file| {
        let Some(text) = tree.text(file) else {
            return Some(format!("{} is too large to judge", file.display()));
        };
        let found = SERVER_WIDE.as_ref()?.find(&text)?;
        Some(format!(
            "`{}` in {} is about the whole server, which other worktrees share",
            found.as_str().trim(),
            file.display()
        ))
    })
}

/// Returns the files that a compose file's Postgres runs when it is created, in its order.
fn of_compose(tree: &Tree<'_>) -> Option<SqlMigrations> {
    let is_postgres = |service: &&Service| {
        let image = service.image.as_deref().unwrap_or_default();
        ["postg", "pgvector", "timescale"].iter().any(|word| image.contains(word))
    };
    let service =
        tree.facts.services.iter().filter(is_postgres).find(|service| !service.scripts.is_empty())?;
    let mut scripts: Vec<&(PathBuf, String)> = service.scripts.iter().collect();
    scripts.sort_by_key(|(_, target)| target);
    let (mut files, mut patterns) = (Vec::new(), Vec::new());
    for (source, _) in scripts {
        let text = glob::Pattern::escape(&source.to_string_lossy());
        if tree.has(source) && is_sql(source) {
            files.push(source.clone());
            patterns.push(text);
            continue;
        }
        let own = directly_in(tree, source);
        if !own.is_empty() {
            files.extend(own);
            patterns.push(format!("{text}/*.sql"));
        }
    }
    let at = service.at.clone()?;
    let remark = format!("the SQL that {} gives its {}", at.file.display(), service.name);
    (!files.is_empty()).then_some(SqlMigrations { files, patterns, at, remark })
}

/// Returns a folder of numbered files. Returns a report if it is not certain that each file must be applied exactly
/// once.
fn of_folder(tree: &Tree<'_>) -> Result<Option<SqlMigrations>, LeftOut> {
    let is_migration = |file: &&PathBuf| {
        let folder = file.parent().and_then(Path::file_name);
        // Migrations of Supabase need its own server.
        let is_other = file.iter().any(|part| part == "supabase");
        is_sql(file)
            && !is_aside(file)
            && !is_other
            && folder.is_some_and(|name| FOLDERS.iter().any(|known| name == *known))
    };
    let Some(first) = tree.facts.files.iter().find(is_migration) else { return Ok(None) };
    let folder = first.parent().unwrap_or(Path::new(""));
    let mut files = directly_in(tree, folder);
    let ends = |file: &Path, end: &str| file.to_string_lossy().ends_with(end);
    let has_up = files.iter().any(|file| ends(file, ".up.sql"));
    let pattern = if has_up { "*.up.sql" } else { "*.sql" };
    files.retain(|file| !has_up || ends(file, ".up.sql"));
    let found = SqlMigrations {
        patterns: vec![format!("{}/{pattern}", glob::Pattern::escape(&folder.to_string_lossy()))],
        at: FileLine { file: files.first().unwrap_or(first).clone(), line: 1 },
        remark: format!("the SQL in {}", shown(folder)),
        files,
    };
    let is_numbered = |file: &PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(|c: char| c.is_ascii_digit())
    };
    let why = if found.files.len() > 1 && !found.files.iter().all(is_numbered) {
        Some("the names of the files do not begin with numbers, so their order is not certain".to_string())
    } else if found.files.iter().any(|file| ends(file, ".down.sql")) {
        Some("some of the files undo others".to_string())
    } else if let Some(file) = found.files.iter().find(|file| has_sections(tree, file)) {
        Some(format!("{} has sections of a migration tool", file.display()))
    } else {
        reader(tree).map(|file| format!("{} reads files of SQL itself", file.display()))
    };
    match why {
        Some(why) => Err(left_out(&found, &why)),
        None => Ok(Some(found)),
    }
}

fn is_sql(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "sql")
}

/// Returns the SQL files directly in `folder`, sorted by name.
fn directly_in(tree: &Tree<'_>, folder: &Path) -> Vec<PathBuf> {
    let own = tree.facts.files.iter().filter(|file| is_sql(file) && file.parent() == Some(folder));
    let mut own: Vec<PathBuf> = own.cloned().collect();
    own.sort();
    own
}

fn has_sections(tree: &Tree<'_>, file: &Path) -> bool {
    let text = tree.text(file);
    text.is_some_and(|text| SECTIONS.as_ref().is_some_and(|sections| sections.is_match(&text)))
}

/// Returns a code file that names SQL files, because it may apply them itself.
fn reader<'a>(tree: &Tree<'a>) -> Option<&'a PathBuf> {
    let is_code = |file: &&PathBuf| {
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        ["py", "js", "mjs", "ts", "sh"].contains(&extension) && !is_aside(file)
    };
    let code = tree.facts.files.iter().filter(is_code).take(CODE);
    let mut readers = code.filter(|file| tree.text(file).is_some_and(|text| text.contains(".sql")));
    readers.next()
}
