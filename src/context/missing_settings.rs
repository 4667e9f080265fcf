//! Finds the variables that a program reports as missing, and the example file that has them.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use crate::error::Fault;
use crate::os::read::{self, Limit};
use crate::text::similar_names;

/// A variable that code requires and that is not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingSetting {
    /// Its name; in upper case if a field of a settings class or a schema stands for it.
    pub name: String,
    /// The line of an example file that has it, as `/repo/backend/.env.example:3`.
    pub example: Option<String>,
    /// A variable that is set and of which the name may be a misspelling.
    pub similar: Option<String>,
}

impl fmt::Display for MissingSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.example {
            Some(example) => write!(f, "{} ({example} has it)", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Where a program runs, and with which variables.
#[derive(Clone, Copy, Debug)]
pub struct ProgramPlace<'a> {
    /// Its folder.
    pub directory: &'a Path,
    /// The worktree. Nothing above it is read.
    pub root: &'a Path,
    /// The names of its variables.
    pub set: &'a BTreeSet<String>,
}

/// Returns `names` as text, without those that are not valid UTF-8.
pub fn set_names<'a>(names: impl IntoIterator<Item = &'a OsString>) -> BTreeSet<String> {
    names.into_iter().filter_map(|name| name.to_str().map(Into::into)).collect()
}

/// Names of example files, the most common first.
const EXAMPLES: [&str; 4] = [".env.example", ".env.sample", ".env.template", ".env.dist"];

/// A field that pydantic reports: its name on a line, the reason on the next.
static FIELD: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?m)^\s*([A-Za-z_][\w.]*)\s*\n\s*[Ff]ield required").ok());
/// How many lines before a `KeyError` show that `os.environ` raised it.
const FRAMES: usize = 8;
/// A variable in a report of zod, which t3-env and others print: `NAME: [ 'Required' ]`, `path: [ 'NAME' ]`.
static CHECKED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"([A-Z][A-Z0-9_]+)['"]?: \[\s*['"](?:Required|Invalid input: expected \w+, received undefined)|path['"]?: \[\s*['"]([A-Z][A-Z0-9_]+)['"]"#).ok()
});

/// Returns the names of the variables that `output` reports as missing. Names from pydantic and zod are in upper case.
pub fn names(output: &str) -> Vec<String> {
    let is_checked = output.to_ascii_lowercase().contains("invalid environment variables");
    // pydantic prints the field's name, which equals the variable's name except for its case.
    let fields = FIELD.as_ref().filter(|_| output.contains("validation error"));
    let checked = CHECKED.as_ref().filter(|_| is_checked);
    let matches = |pattern: Option<&Regex>| -> Vec<String> {
        let found = pattern.into_iter().flat_map(|pattern| pattern.captures_iter(output));
        found
            .filter_map(|found| Some(found.iter().skip(1).flatten().next()?.as_str().to_uppercase()))
            .collect()
    };
    let key = || absent_key(output).into_iter().collect();
    let found = [matches(fields), key(), matches(checked)].into_iter().find(|found| !found.is_empty());
    let mut names: Vec<String> = Vec::new();
    for name in found.unwrap_or_default() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Returns the variable of the last `KeyError` that `os.environ` of Python raised. Errors of other mappings look the same, except
/// for the lines before.
fn absent_key(output: &str) -> Option<String> {
    let lines: Vec<&str> = output.lines().collect();
    lines.iter().enumerate().rev().find_map(|(at, line)| {
        let name = line.trim().strip_prefix("KeyError: '")?.strip_suffix('\'')?;
        let is_read = |line: &&str| {
            line.contains(&format!("environ[\"{name}\"]"))
                || line.contains(&format!("environ['{name}']"))
                || (line.contains("in __getitem__")
                    && (line.contains("\"<frozen os>\"") || line.contains("/os.py\"")))
        };
        lines[at.saturating_sub(FRAMES)..at].iter().any(is_read).then(|| name.to_string())
    })
}

/// Completes `names` of fields of `program` to names of variables: adds the prefix of the settings class, the
/// lines of example files in its folder or the parent folder, and variables of which a name may be a misspelling.
pub fn with_examples(names: Vec<String>, program: &ProgramPlace<'_>) -> Vec<MissingSetting> {
    let ProgramPlace { directory, root, set } = *program;
    let setting = |field: String| {
        let name = prefixed(directory, &field).unwrap_or(field);
        let example = example(directory, root, &name);
        let similar = set.iter().find(|other| similar_names::is_misspelling(&name, other)).cloned();
        MissingSetting { similar: similar.filter(|_| example.is_none()), example, name }
    };
    names.into_iter().map(setting).collect()
}

/// Limits of the search for a settings class: the number of Python files, and the depth of folders.
const MOST: usize = 1000;
const DEEPEST: usize = 5;

static PREFIX: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"env_prefix["']?\s*[=:]\s*["']([A-Za-z_]\w*)["']"#).ok());

/// Returns the variable of the field `field`, in upper case, of a settings class with a prefix. Returns `None` if no class below
/// `directory` has the field and a prefix, or if several have different ones.
fn prefixed(directory: &Path, field: &str) -> Option<String> {
    let declared = Regex::new(&format!(r"(?mi)^[ \t]+{}[ \t]*:", regex::escape(field))).ok()?;
    let mut prefixes = BTreeSet::new();
    for file in python_files(directory) {
        let Ok(text) = read::text(&file, Limit::SMALL) else { continue };
        if !text.contains("env_prefix") {
            continue;
        }
        for class in text.split("\nclass ").filter(|class| declared.is_match(class)) {
            let prefix = PREFIX.as_ref().and_then(|prefix| prefix.captures(class));
            prefixes.extend(prefix.map(|prefix| prefix[1].to_uppercase()));
        }
    }
    let prefix = prefixes.pop_first().filter(|_| prefixes.is_empty())?;
    Some(format!("{prefix}{field}"))
}

/// Returns the Python files below `directory`, breadth first, up to [`MOST`] files and [`DEEPEST`] levels. Leaves out tests, packages and
/// hidden folders.
fn python_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = VecDeque::from([(directory.to_path_buf(), 0)]);
    while let Some((folder, depth)) = open.pop_front() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let skipped = name.starts_with('.') || ["node_modules", "venv", "env", "tests"].contains(&&*name);
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if depth < DEEPEST && !skipped && !path.join("pyvenv.cfg").exists() {
                    open.push_back((path, depth + 1));
                }
            } else if path.extension().is_some_and(|ending| ending == "py") {
                found.push(path);
            }
            if found.len() == MOST {
                return found;
            }
        }
    }
    found
}

/// Returns where the fault for the missing `settings` lies: the code, if each of them may be a misspelling of a variable that is
/// set, else the configuration. Returns `None` if `settings` is empty.
pub fn fault(settings: &[MissingSetting]) -> Option<Fault> {
    let is_misspelled = settings.iter().all(|setting| setting.similar.is_some());
    let fault = if is_misspelled { Fault::Code } else { Fault::Configuration };
    (!settings.is_empty()).then_some(fault)
}

/// Returns a sentence about the `settings` that may be misspellings, if there are any.
pub fn misspelled(settings: &[MissingSetting]) -> Option<String> {
    let each = settings
        .iter()
        .filter_map(|setting| Some(format!("{} is not set; {} is", setting.name, setting.similar.as_ref()?)));
    Some(each.collect::<Vec<_>>().join(", ")).filter(|said| !said.is_empty())
}

/// Returns the step that gives the program its `settings`.
pub fn fix(settings: &[MissingSetting]) -> String {
    let each: Vec<String> = settings.iter().map(ToString::to_string).collect();
    format!("set {} in .env or under `env:` in devrun.yaml", each.join(", "))
}

/// Returns the line that sets `name` in an example file, in `directory` or its parent folder.
fn example(directory: &Path, root: &Path, name: &str) -> Option<String> {
    for folder in directory.ancestors().take(2).filter(|folder| folder.starts_with(root)) {
        for file in EXAMPLES {
            let path = folder.join(file);
            let text = read::inside(&[root], &path, Limit::SMALL).ok().and_then(read::decoded);
            let Some(text) = text else { continue };
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

    #[test]
    fn all_missing_settings_are_named() {
        let output = "pydantic_core._pydantic_core.ValidationError: 2 validation errors for Settings\nSECRET_KEY\n  Field \
                      required [type=missing, input_value={}, input_type=dict]\n    For further information visit x\n\
                      smtp_host\n  Field required [type=missing]\n";
        assert_eq!(names(output), ["SECRET_KEY", "SMTP_HOST"]);
        let output = "  File \"env.py\", line 3\n    url = os.environ[\"DB_URL\"]\nKeyError: 'DB_URL'";
        assert_eq!(names(output), ["DB_URL"]);
        assert!(names("KeyError: 'x'").is_empty());
        let frames = "  File \"/w/app.py\", line 3, in load\n    value = os.environ[name]\n            ~~~~~~~~~~^^^^^^\n  \
                      File \"<frozen os>\", line 714, in __getitem__\nKeyError: 'API_KEY'";
        assert_eq!(names(frames), ["API_KEY"]);
        let of_a_mapping = "    app = make(os.environ[\"MODE\"])\n  File \"/w/app.py\", line 9, in make\n    \
                            return modes[mode]\nKeyError: 'dev'";
        assert!(names(of_a_mapping).is_empty(), "another mapping raised it");
    }

    #[test]
    fn a_name_like_one_that_is_set_is_the_fault_of_the_code() {
        let nowhere = Path::new("/nowhere");
        let of = |name: &str| {
            let set = BTreeSet::from(["PORT".to_string(), "DATABASE_URL".into()]);
            with_examples(vec![name.into()], &ProgramPlace { directory: nowhere, root: nowhere, set: &set })
        };
        assert_eq!(fault(&of("PROT")), Some(Fault::Code));
        assert_eq!(misspelled(&of("PROT")).as_deref(), Some("PROT is not set; PORT is"));
        assert_eq!(
            (fault(&of("STRIPE_KEY")), misspelled(&of("STRIPE_KEY"))),
            (Some(Fault::Configuration), None)
        );
        assert_eq!(fault(&[]), None);
        let folder = tempfile::tempdir().unwrap();
        crate::os::fs::replace(&folder.path().join(".env.example"), b"PROT=1\n", 0o600).unwrap();
        let set = BTreeSet::from(["PORT".to_string()]);
        let known = with_examples(
            vec!["PROT".into()],
            &ProgramPlace { directory: folder.path(), root: folder.path(), set: &set },
        );
        assert_eq!(fault(&known), Some(Fault::Configuration), "an example has it");
    }

    #[test]
    fn variables_that_a_schema_of_zod_refuses_are_named() {
        let flat =
            "❌ Invalid environment variables: { DATABASE_URL: [ 'Required' ], AUTH_SECRET: [ 'Required' ] }";
        assert_eq!(names(flat), ["DATABASE_URL", "AUTH_SECRET"]);
        let issues = "❌ Invalid environment variables: [\n  {\n    code: 'invalid_type',\n    path: [ 'AUTH_SECRET' ],\n    \
                      message: 'Invalid input'\n  }\n]\nError: Invalid environment variables";
        assert_eq!(names(issues), ["AUTH_SECRET"]);
        assert!(names("path: [ 'AUTH_SECRET' ]").is_empty());
    }

    #[test]
    fn the_prefix_of_the_settings_class_belongs_to_the_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("app")).unwrap();
        let write = |file: &str, text: &str| {
            crate::os::fs::replace(&folder.path().join(file), text.as_bytes(), 0o600).unwrap();
        };
        let class = |field: &str, prefix: &str| {
            format!(
                "\nclass Settings(BaseSettings):\n    model_config = SettingsConfigDict(env_prefix=\"{prefix}\")\n    {field}: str\n"
            )
        };
        write("app/config.py", &(class("secret_key", "APP_") + &class("port", "WEB_")));
        write(".env.example", "SECRET_KEY=x\nAPP_SECRET_KEY=changethis\n");
        let found = with_examples(
            vec!["SECRET_KEY".into(), "TOKEN".into()],
            &ProgramPlace { directory: folder.path(), root: folder.path(), set: &BTreeSet::new() },
        );
        let names: Vec<&str> = found.iter().map(|setting| setting.name.as_str()).collect();
        assert_eq!(names, ["APP_SECRET_KEY", "TOKEN"]);
        assert!(found[0].example.as_ref().unwrap().ends_with(".env.example:2"), "{found:?}");
        write("app/other.py", &class("secret_key", "JOBS_"));
        assert_eq!(
            with_examples(
                vec!["SECRET_KEY".into()],
                &ProgramPlace { directory: folder.path(), root: folder.path(), set: &BTreeSet::new() }
            )[0]
            .name,
            "SECRET_KEY"
        );
    }

    #[test]
    fn the_line_of_the_example_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"DEBUG=1\nSECRET_KEY=changethis\n";
        crate::os::fs::replace(&folder.path().join(".env.example"), text, 0o600).unwrap();
        let backend = folder.path().join("backend");
        let found = with_examples(
            vec!["SECRET_KEY".into(), "B".into()],
            &ProgramPlace { directory: &backend, root: folder.path(), set: &BTreeSet::new() },
        );
        assert!(found[0].example.as_ref().unwrap().ends_with(".env.example:2"), "{found:?}");
        assert_eq!(found[1].example, None);
        assert!(fix(&found).starts_with("set SECRET_KEY ("));
        // The folder above the worktree belongs to other projects.
        std::fs::create_dir(&backend).unwrap();
        assert_eq!(
            with_examples(
                vec!["SECRET_KEY".into()],
                &ProgramPlace { directory: &backend, root: &backend, set: &BTreeSet::new() }
            )[0]
            .example,
            None
        );
    }
}
