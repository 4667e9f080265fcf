//! Reads `alembic.ini` and Prisma schemas.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use super::file::{FileFacts, spot};
use super::{GivenValue, Giver, ReadConstruct, VariableRead};

static PRISMA: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"\benv\(\s*"([A-Za-z_][A-Za-z0-9_]*)"\s*\)"#).ok());

/// Reads `sqlalchemy.url` of an `alembic.ini`.
pub(super) fn alembic(file: &Path, text: &str) -> FileFacts {
    let mut facts = FileFacts::default();
    for (row, line) in text.lines().enumerate() {
        let pair = line.split_once('=').filter(|(name, _)| name.trim_end() == "sqlalchemy.url");
        if let Some((name, value)) = pair {
            let (name, value) = (name.trim().to_string(), value.trim().to_string());
            facts.values.push(GivenValue { name, value, at: spot(file, row), by: Giver::AlembicIni });
        }
    }
    facts
}

/// Reads the variables of a Prisma schema. Prisma fails without them.
pub(super) fn prisma(file: &Path, text: &str) -> FileFacts {
    let mut facts = FileFacts::default();
    for (row, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for name in PRISMA.iter().flat_map(|pattern| pattern.captures_iter(code)) {
            facts.reads.push(VariableRead {
                name: name[1].to_string(),
                aliases: Vec::new(),
                at: spot(file, row),
                by: ReadConstruct::Prisma,
                required: true,
                default: None,
                min_length: None,
                refused: Vec::new(),
                list: false,
            });
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_alembic_ini_has_its_line() {
        let facts =
            alembic(Path::new("alembic.ini"), "[alembic]\n# sqlalchemy.url = x\nsqlalchemy.url = a://b\n");
        assert_eq!(
            (facts.values.len(), facts.values[0].value.as_str(), facts.values[0].at.line),
            (1, "a://b", 3)
        );
    }

    #[test]
    fn a_prisma_schema_needs_the_variables_that_it_names() {
        let facts =
            prisma(Path::new("schema.prisma"), "datasource db {\n  url = env(\"DB\")\n  // env(\"NO\")\n}\n");
        assert_eq!(
            (facts.reads.len(), facts.reads[0].name.as_str(), facts.reads[0].required),
            (1, "DB", true)
        );
    }
}
