//! Finds the reason of a failed migration where the last words name it: an own module, a setting, an extension.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use super::failure::Trouble;
use super::python;
use crate::os::read::{self, Limit};

/// Example files, the likeliest first.
const EXAMPLES: [&str; 4] = [".env.example", ".env.sample", ".env.template", ".env.dist"];

static MODULE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?m)ModuleNotFoundError: No module named '([\w.]+)'").ok());
static FIELD: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?m)^\s*([A-Za-z_][\w.]*)\s*\n\s*[Ff]ield required").ok());
static KEY: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?s)os\.environ.*KeyError: '([A-Za-z_]\w*)'").ok());
static EXTENSION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"extension "([\w-]+)" is not available|extension control file "[^"]*/([\w-]+)\.control""#)
        .ok()
});
static ABSENT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"role "[^"]+" does not exist|collation "[^"]+" for encoding "[^"]+" does not exist|permission denied to create|language "[^"]+" does not exist"#).ok()
});

/// Returns what the last words of a command that ran in `directory` name as its reason.
pub(super) fn find(tail: &str, directory: &Path) -> Option<Trouble> {
    let named = |pattern: &LazyLock<Option<Regex>>| {
        let found = pattern.as_ref()?.captures(tail)?;
        Some(found.iter().skip(1).flatten().next()?.as_str().to_string())
    };
    if let Some(extension) = named(&EXTENSION) {
        return Some(Trouble::Lacking { extension: Some(extension) });
    }
    if ABSENT.as_ref().is_some_and(|pattern| pattern.is_match(tail)) {
        return Some(Trouble::Lacking { extension: None });
    }
    if let Some(module) = named(&MODULE)
        && let Some(path) = python::own_module(directory, &module)
    {
        return Some(Trouble::OwnModule { module, path });
    }
    // pydantic prints the field's name, which is the variable's name but for its case.
    let is_settings = tail.contains("validation error");
    let name = named(&FIELD).filter(|_| is_settings).or_else(|| named(&KEY))?.to_uppercase();
    let example = example(directory, &name);
    Some(Trouble::Setting { name, example })
}

/// Returns the line of an example file, beside the command or one folder above, that gives `name` a value.
fn example(directory: &Path, name: &str) -> Option<String> {
    for folder in directory.ancestors().take(2) {
        for file in EXAMPLES {
            let path = folder.join(file);
            let Ok(text) = read::text(&path, Limit::SMALL) else { continue };
            let gives = |line: &str| {
                let line = line.trim_start().trim_start_matches("export ");
                line.split_once('=').is_some_and(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            };
            if let Some(at) = text.lines().position(gives) {
                return Some(format!("{}:{}", path.display(), at + 1));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, file: &str, text: &str) {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        crate::os::fs::replace(&path, text.as_bytes(), 0o600).unwrap();
    }

    #[test]
    fn what_this_postgres_lacks_is_no_fault_of_the_code() {
        for (tail, extension) in [
            (r#"ERROR: extension "vector" is not available"#, Some("vector")),
            (
                r#"could not open extension control file "/usr/share/postgresql/extension/postgis.control": No such file"#,
                Some("postgis"),
            ),
            (r#"ERROR: role "authenticated" does not exist"#, None),
            (r#"ERROR: collation "en_US.utf8" for encoding "UTF8" does not exist"#, None),
            ("ERROR: permission denied to create role", None),
        ] {
            let found = find(tail, Path::new("/nowhere")).unwrap();
            assert_eq!(found, Trouble::Lacking { extension: extension.map(Into::into) }, "{tail}");
        }
    }

    #[test]
    fn a_module_of_the_repository_is_not_missing_from_the_packages() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), "app/models.py", "");
        let tail = "ModuleNotFoundError: No module named 'app.models'";
        assert!(matches!(find(tail, folder.path()), Some(Trouble::OwnModule { .. })));
        assert_eq!(find("ModuleNotFoundError: No module named 'psycopg'", folder.path()), None);
    }

    #[test]
    fn a_missing_setting_is_named_with_its_example() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), ".env.example", "DEBUG=1\nSECRET_KEY=changethis\n");
        let tail = "pydantic_core.ValidationError: 1 validation error for Settings\nsecret_key\n  Field required [type=missing]";
        let Some(Trouble::Setting { name, example }) = find(tail, folder.path()) else { panic!() };
        assert_eq!(name, "SECRET_KEY");
        assert!(example.unwrap().ends_with(".env.example:2"));
        let tail = "  File \"env.py\", line 3\n    url = os.environ[\"DB_URL\"]\nKeyError: 'DB_URL'";
        assert_eq!(
            find(tail, folder.path()),
            Some(Trouble::Setting { name: "DB_URL".into(), example: None })
        );
        assert_eq!(find("KeyError: 'x'", folder.path()), None);
    }
}
