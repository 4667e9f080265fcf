//! Decides whether an `env.py` of Alembic certainly takes the URL of its database from `alembic.ini`. Pure.
//!
//! The answer is no if the script contains anything that may give Alembic another URL: a dictionary, an argument, a call of the
//! repository's own code.

use std::sync::LazyLock;

use regex::Regex;

/// Packages whose functions do not change the URL. Calls of all others may.
const NEUTRAL: [&str; 12] = [
    "__future__",
    "alembic",
    "asyncio",
    "collections",
    "importlib",
    "logging",
    "os",
    "pathlib",
    "sqlalchemy",
    "sqlmodel",
    "sys",
    "typing",
];
/// Ways to change the configuration of Alembic, or to pass a connection or a URL to it.
const WAYS: [&str; 4] = [".attributes", "file_config", "get_x_argument", "__dict__"];

/// The patterns, each with the name of the text that it finds.
struct ScriptPatterns {
    /// The name of the setting.
    key: Regex,
    /// A call that reads the setting.
    read: Regex,
    /// A value for the name `url`, as a variable or an argument.
    url: Regex,
    /// The first argument of a call that makes an engine.
    engine: Regex,
    /// A variable that holds a section of the file.
    section: Regex,
    /// `config` itself as an argument.
    passed: Regex,
    /// `from package import names`, and `import packages`.
    from: Regex,
    import: Regex,
}

static PATTERNS: LazyLock<Option<ScriptPatterns>> = LazyLock::new(|| {
    let read = r#"(?:\w+\.)*get_main_option\(\s*["']sqlalchemy\.url["']"#;
    let new = |pattern: &str| Regex::new(pattern).ok();
    Some(ScriptPatterns {
        key: new(r"sqlalchemy\.url")?,
        read: new(&format!(r#"{read}|get_section_option\([^()]*["']sqlalchemy\.url["']"#))?,
        url: new(&format!(r"\burl(?:\s*:\s*[\w.\[\]]+)?\s*=\s*(?:(?P<ini>{read}|url\s*[,)])|[^=\s])"))?,
        engine: new(&format!(
            r"(?:engine_from_config\(\s*(?:(?P<direct>(?:\w+\.)*get_section\()|(?P<section>\w+)\s*[,)])|create_(?:async_)?engine\(\s*(?P<url>{read}|url\s*[,)])|(?:engine_from_config|create_(?:async_)?engine)\()"
        ))?,
        section: new(r"\b(\w+)\s*=\s*(?:\w+\.)*get_section\(")?,
        passed: new(r"[(,]\s*(?:\w+\s*=\s*)?(?:context\.)?config\s*[,)]")?,
        from: new(r"(?m)^\s*from\s+([\w.]+)\s+import\s+(\([^)]*\)|[^\n]+)")?,
        import: new(r"(?m)^\s*import\s+([^\n]+)")?,
    })
});

/// Returns true if `code` makes its engine of the URL in `alembic.ini`, and nothing in it can replace that URL.
pub(super) fn uses_only_the_ini(code: &str) -> bool {
    let Some(patterns) = PATTERNS.as_ref() else { return false };
    let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let code = lines.join("\n");
    let only_reads = patterns.key.find_iter(&code).count() == patterns.read.find_iter(&code).count();
    only_reads
        && patterns.url.captures_iter(&code).all(|found| found.name("ini").is_some())
        && !patterns.passed.is_match(&code)
        && !WAYS.iter().any(|way| code.contains(way))
        && has_engines_of_the_ini(patterns, &code)
        && !foreign_names(patterns, &code).iter().any(|name| is_called(&code, name))
}

/// Returns true if there is an engine, and every engine is made of the file's section or URL.
fn has_engines_of_the_ini(patterns: &ScriptPatterns, code: &str) -> bool {
    // `x = section["y"]` reads it, but `section["y"] = x` and `section.update(…)` may change it.
    let is_unchanged = |name: &str| {
        let uses = [format!("{name}["), format!("{name}."), format!("{name} |="), format!("**{name}")];
        !uses.iter().any(|used| code.contains(used))
    };
    let sections: Vec<&str> =
        patterns.section.captures_iter(code).filter_map(|found| Some(found.get(1)?.as_str())).collect();
    let mut engines = 0;
    let all = patterns.engine.captures_iter(code).all(|found| {
        engines += 1;
        let section = found.name("section").map(|section| section.as_str());
        let is_section = section.is_some_and(|name| sections.contains(&name) && is_unchanged(name));
        is_section || found.name("direct").is_some() || found.name("url").is_some()
    });
    all && engines > 0
}

/// Returns the names that `code` imports from packages that may change the URL.
fn foreign_names(patterns: &ScriptPatterns, code: &str) -> Vec<String> {
    let is_foreign = |module: &str| !NEUTRAL.contains(&module.split('.').next().unwrap_or_default());
    let given = |item: &str| {
        let item = item.split('#').next().unwrap_or_default();
        let name = item.split(" as ").last().unwrap_or(item);
        name.trim_matches(|c: char| c.is_whitespace() || "()\\".contains(c)).to_string()
    };
    let mut names = Vec::new();
    for found in patterns.from.captures_iter(code).filter(|found| is_foreign(&found[1])) {
        names.extend(found[2].split(',').map(given));
    }
    for found in patterns.import.captures_iter(code) {
        for item in found[1].split(',').filter(|item| is_foreign(item.trim())) {
            let name = given(item);
            names.push(name.split('.').next().unwrap_or_default().to_string());
        }
    }
    names.retain(|name| !name.is_empty() && name != "*");
    names
}

/// Returns true if `code` calls `name` or a function of it.
fn is_called(code: &str, name: &str) -> bool {
    let call = Regex::new(&format!(r"\b{}(?:\.\w+)*\s*\(", regex::escape(name)));
    call.is_ok_and(|call| call.is_match(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The script that `alembic init` writes, without its comments.
    const STOCK: &str = r#"from logging.config import fileConfig

from sqlalchemy import engine_from_config
from sqlalchemy import pool

from alembic import context

config = context.config

if config.config_file_name is not None:
    fileConfig(config.config_file_name)

# config.set_main_option("sqlalchemy.url", ...) would replace it
target_metadata = None


def run_migrations_offline() -> None:
    url = config.get_main_option("sqlalchemy.url")
    context.configure(
        url=url,
        target_metadata=target_metadata,
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
    )

    with context.begin_transaction():
        context.run_migrations()


def run_migrations_online() -> None:
    connectable = engine_from_config(
        config.get_section(config.config_ini_section, {}),
        prefix="sqlalchemy.",
        poolclass=pool.NullPool,
    )

    with connectable.connect() as connection:
        context.configure(
            connection=connection, target_metadata=target_metadata
        )

        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
"#;

    #[test]
    fn the_script_that_alembic_writes_takes_the_url_of_the_file() {
        assert!(uses_only_the_ini(STOCK));
        let with_models = STOCK.replace(
            "target_metadata = None",
            "from app.models import Base  # noqa\ntarget_metadata = Base.metadata",
        );
        assert!(uses_only_the_ini(&with_models));
        let section = "engine_from_config(\n        section,";
        let named = STOCK
            .replace(
                "engine_from_config(\n        config.get_section(config.config_ini_section, {}),",
                section,
            )
            .replace(
                "    connectable =",
                "    section = config.get_section(config.config_ini_section)\n    connectable =",
            );
        assert!(named.contains(section) && uses_only_the_ini(&named));
        assert!(uses_only_the_ini("engine = create_async_engine(config.get_main_option('sqlalchemy.url'))"));
    }

    #[test]
    fn a_script_that_may_replace_the_url_is_in_doubt() {
        let call = "config.get_section(config.config_ini_section, {})";
        for (old, new) in [
            (call, "{\"sqlalchemy.url\": URL}"),
            (call, "section"),
            (call, "dict(config.get_section(config.config_ini_section), url=URL)"),
            ("prefix=\"sqlalchemy.\"", "prefix=\"sqlalchemy.\", url=URL"),
            ("url=url", "url=get_url()"),
            ("    connectable =", "    section = {}\n    section.update(url=URL)\n    connectable ="),
            ("    connectable =", "    cfg[\"sqlalchemy.url\"] = URL\n    connectable ="),
            ("target_metadata = None", "from app.db import configure\nconfigure()"),
            (
                "target_metadata = None",
                "from app.db import (\n    Base,\n    setup as configure,\n)\nconfigure()",
            ),
            ("target_metadata = None", "import app.db as db\ndb.configure()"),
            ("target_metadata = None", "def configure(target): ...\nconfigure(config)"),
            ("target_metadata = None", "config.attributes['connection'] = None"),
            ("target_metadata = None", "url = context.get_x_argument(as_dictionary=True).get('url')"),
            ("engine_from_config(", "create_engine(URL, "),
        ] {
            let script = STOCK.replace(old, new);
            assert_ne!(script, STOCK, "{old}");
            assert!(!uses_only_the_ini(&script), "{new}");
        }
        let changed = STOCK.replace(call, "section").replace(
            "    connectable =",
            "    section = config.get_section('a')\n    section[KEY] = URL\n    connectable =",
        );
        assert!(!uses_only_the_ini(&changed));
        assert!(!uses_only_the_ini("from alembic import context\n"));
    }
}
