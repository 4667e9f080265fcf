//! Reports a database that `alembic.ini` names and that no variable can change.

use std::path::{Path, PathBuf};

use super::super::facts::{Facts, Giver};
use super::draft::Draft;
use super::pgurl::{PgUrl, other_database};
use super::{RemarkKind, Source};

/// Ways in which `env.py` takes the URL from elsewhere.
const OVERRIDES: &[&str] = &[
    "set_main_option",
    "set_section_option",
    "environ",
    "getenv",
    "settings",
    "Settings",
    "\"sqlalchemy.url\"] =",
    "'sqlalchemy.url'] =",
    "create_engine(",
    "create_async_engine(",
    "\"url\"] =",
    "load_dotenv",
];

/// Reports each `sqlalchemy.url` that `env.py` uses as it stands.
pub(super) fn report(facts: &Facts, source: Source<'_>, draft: &mut Draft) {
    for given in facts.values.iter().filter(|given| given.by == Giver::AlembicIni) {
        let Some(ini) = source(&given.at.file) else { continue };
        let Some(env) = script(&given.at.file, &ini) else { continue };
        let Some(code) = source(&env) else { continue };
        if OVERRIDES.iter().any(|word| code.contains(word)) || !names_database(&given.value) {
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
        let fix = format!(
            "{}: config.set_main_option(\"sqlalchemy.url\", os.environ[\"DATABASE_URL\"].replace(\"%\", \"%%\"))",
            env.display()
        );
        draft.remark(RemarkKind::FixedDatabase, &given.at, text, Some(fix));
    }
}

/// The path of `env.py`, from `script_location`.
fn script(ini: &Path, text: &str) -> Option<PathBuf> {
    let line = text.lines().map(str::trim).find(|line| line.starts_with("script_location"))?;
    let place = line.split_once('=')?.1.trim();
    let place = place.strip_prefix("%(here)s").unwrap_or(place).trim_start_matches('/');
    let folder = ini.parent().unwrap_or(Path::new(""));
    Some(super::evidence::plain(&folder.join(place).join("env.py")))
}

fn names_database(url: &str) -> bool {
    PgUrl::parse(url).is_some() || other_database(url).is_some() || url.starts_with("driver://")
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Giver;
    use super::super::RemarkKind;
    use super::super::kit::Repo;

    fn said(env: &str) -> Vec<String> {
        let contract = Repo::new()
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
    fn a_url_that_env_py_takes_as_it_stands_is_reported_without_its_password() {
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
    fn a_url_that_env_py_replaces_is_not_reported() {
        for env in
            ["config.set_main_option('sqlalchemy.url', settings.url)", "url = os.environ['DATABASE_URL']"]
        {
            assert!(said(env).is_empty(), "{env}");
        }
    }
}
