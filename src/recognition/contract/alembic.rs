//! Reports a database that `alembic.ini` names and that no variable can change.

use std::path::{Path, PathBuf};

use super::super::facts::{Facts, Giver};
use super::builder::ContractBuilder;
use super::{FileReader, Reason, RemarkKind, env_script};
use crate::config::postgres_url::{PgUrl, other_database};

/// Calls with which `env.py` replaces the URL.
const OVERRIDES: &[&str] = &[
    "set_main_option",
    "set_section_option",
    "environ",
    "getenv",
    "settings",
    "Settings",
    "\"sqlalchemy.url\"] =",
    "'sqlalchemy.url'] =",
    "\"url\"] =",
    "load_dotenv",
];

/// Reports each `sqlalchemy.url` that `env.py` uses unchanged.
pub(super) fn report(facts: &Facts, source: FileReader<'_>, draft: &mut ContractBuilder<'_>) {
    for given in facts.values.iter().filter(|given| given.by == Giver::AlembicIni) {
        let Some(ini) = source(&given.at.file) else { continue };
        let Some(env) = script(&given.at.file, &ini) else { continue };
        let Some(code) = source(&env) else { continue };
        if is_overridden(&code) || !names_database(&given.value) {
            continue;
        }
        let how = if code.contains("get_x_argument") {
            "`alembic -x` can change it, and no variable can"
        } else {
            "no variable can change it"
        };
        let text = format!(
            "sqlalchemy.url names the database that `alembic` works on, and {} reads nothing else: {how}",
            env.display()
        );
        let variable =
            draft.values(Reason::DatabaseUrl).next().map_or("DATABASE_URL", |(name, _)| name).to_string();
        let fix = format!(
            "{}: import os; config.set_main_option(\"sqlalchemy.url\", os.environ[\"{variable}\"].replace(\"%\", \"%%\"))",
            env.display()
        );
        draft.remark(RemarkKind::FixedDatabase, &given.at, text, Some(fix));
    }
}

/// Returns the line of `alembic.ini` with the URL of a Postgres that `env.py` certainly uses unchanged. `ini` is the path of the
/// file. Returns `None` in doubt, because devrun does not migrate if there is such a line.
pub fn fixed_url(ini: &Path, source: FileReader<'_>) -> Option<usize> {
    let text = source(ini)?;
    let url = |line: &str| {
        Some(line.trim().strip_prefix("sqlalchemy.url")?.trim().strip_prefix('=')?.trim().to_string())
    };
    let (at, url) = text.lines().enumerate().find_map(|(at, line)| Some((at + 1, url(line)?)))?;
    let code = source(&script(ini, &text)?)?;
    let is_certain = !is_overridden(&code) && env_script::uses_only_the_ini(&code);
    (is_certain && PgUrl::parse(&url).is_some()).then_some(at)
}

/// Returns true if `env.py` takes the URL from elsewhere.
fn is_overridden(code: &str) -> bool {
    let takes_it = ["get_main_option(\"sqlalchemy.url\"", "get_main_option('sqlalchemy.url'"];
    let makes_engine = code.contains("create_engine(") || code.contains("create_async_engine(");
    OVERRIDES.iter().any(|word| code.contains(word))
        || (makes_engine && !takes_it.iter().any(|call| code.contains(call)))
}

/// Returns the path of `env.py`, from `script_location`.
pub(super) fn script(ini: &Path, text: &str) -> Option<PathBuf> {
    let line = text.lines().map(str::trim).find(|line| line.starts_with("script_location"))?;
    let place = line.split_once('=')?.1.trim();
    let place = place.strip_prefix("%(here)s").unwrap_or(place).trim_start_matches('/');
    let folder = ini.parent().unwrap_or(Path::new(""));
    Some(super::evidence::without_dots(&folder.join(place).join("env.py")))
}

fn names_database(url: &str) -> bool {
    PgUrl::parse(url).is_some() || other_database(url).is_some() || url.starts_with("driver://")
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Giver;
    use super::super::RemarkKind;
    use super::super::test_repo::TestRepo;
    use super::*;

    fn said(env: &str) -> Vec<String> {
        let contract = TestRepo::new()
            .text(
                "backend/alembic.ini",
                "[alembic]\nscript_location = %(here)s/migrations\nsqlalchemy.url = x\n",
            )
            .text("backend/migrations/env.py", env)
            .given(
                "backend/alembic.ini",
                3,
                "sqlalchemy.url",
                "postgresql://u:secret@localhost/app",
                Giver::AlembicIni,
            )
            .bind();
        contract.said(RemarkKind::FixedDatabase).into_iter().map(str::to_string).collect()
    }

    #[test]
    fn a_url_that_env_py_uses_unchanged_is_reported_without_its_password() {
        let said = said(
            "url = config.get_main_option('sqlalchemy.url')\nconnectable = engine_from_config(config.get_section('alembic'))",
        );
        assert_eq!(
            said,
            [
                "sqlalchemy.url names the database that `alembic` works on, and backend/migrations/env.py reads nothing else: \
              no variable can change it"
            ]
        );
    }

    #[test]
    fn migration_is_forbidden_only_where_the_url_is_certain() {
        let line = |env: &str| {
            let files = |path: &Path| {
                match path.to_str()? {
                "b/alembic.ini" => Some(
                    "[alembic]\nscript_location = %(here)s/m\nsqlalchemy.url = postgresql://u:p@localhost/app\n".into(),
                ),
                "b/m/env.py" => Some(env.to_string()),
                _ => None,
            }
            };
            fixed_url(Path::new("b/alembic.ini"), &files)
        };
        let plain = "from alembic import context\nfrom sqlalchemy import engine_from_config\nconfig = context.config\n\
                     connectable = engine_from_config(config.get_section(config.config_ini_section))\n";
        assert_eq!(line(plain), Some(3));
        assert_eq!(line(&format!("from app.models import Base\n{plain}")), Some(3));
        for doubtful in ["import os\nx = os.environ['A']\n", "from app import settings\n"] {
            assert_eq!(line(&format!("{doubtful}{plain}")), None, "{doubtful}");
        }
        assert_eq!(line("from alembic import context\n"), None);
    }

    #[test]
    fn an_engine_that_env_py_makes_of_the_url_is_no_replacement() {
        let code = "engine = create_async_engine(config.get_main_option(\"sqlalchemy.url\"))";
        assert_eq!(said(code).len(), 1);
        assert!(said("from app.db import URL\nengine = create_engine(URL)").is_empty());
    }

    #[test]
    fn a_url_that_env_py_replaces_is_not_reported() {
        for env in
            ["config.set_main_option('sqlalchemy.url', settings.url)", "url = os.environ['DATABASE_URL']"]
        {
            assert!(said(env).is_empty(), "{env}");
        }
    }
}
