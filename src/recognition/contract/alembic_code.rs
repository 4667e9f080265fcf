//! Finds the URL of a Postgres that Alembic's `env.py` takes from Python code, where no variable can change it.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use super::FileReader;
use super::alembic::script;
use crate::config::postgres_url::PgUrl;

/// The maximum number of assignments and imports between `env.py` and a URL.
const DEEPEST: usize = 4;

/// A line of code with the URL of a Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlInCode {
    pub file: PathBuf,
    pub line: usize,
    /// True if Alembic certainly connects to this URL.
    pub is_certain: bool,
}

/// A name or a literal of Python code.
const EXPRESSION: &str = r#"(?:str\(\s*|make_url\(\s*)?([fF]?"[^"\n]*"|[fF]?'[^'\n]*'|[A-Za-z_][\w.]*)"#;

/// The calls and assignments that give a URL to Alembic or to an engine, and an engine of another module.
static USES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let uses = [
        r#"set_(?:main|section)_option\(\s*(?:[^,()]+,\s*)?["']sqlalchemy\.url["']\s*,\s*EXPRESSION"#,
        r#"\[\s*["'](?:sqlalchemy\.)?url["']\s*\]\s*=\s*EXPRESSION"#,
        r"\bcreate_(?:async_)?engine\(\s*(?:url\s*=\s*)?EXPRESSION",
        r"(?m)^[ \t]*(?:connectable|engine)[ \t]*(?::[^=\n]+)?=[ \t]*EXPRESSION",
    ];
    uses.iter().filter_map(|text| Regex::new(&text.replace("EXPRESSION", EXPRESSION)).ok()).collect()
});
static IMPORT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?m)^[ \t]*from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n]+)").ok());
static JSON: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"["']([\w./-]+\.json)["']"#).ok());
static POSTGRES: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\bpostgres(?:ql)?(?:\+\w+)?://[^\s/]").ok());

/// Returns the URL that the `env.py` of the file `ini` uses. Modules are searched in `roots`. Returns `None` if the code takes the
/// URL from a variable, or if no URL or several are found. A URL that a variable or option may replace, and a URL in a JSON file,
/// is not certain.
pub fn url_in_code(ini: &Path, roots: &[PathBuf], source: FileReader<'_>) -> Option<UrlInCode> {
    let env = script(ini, &source(ini)?)?;
    let code = Module::read(&env, source)?;
    let modules = Modules { roots, source };
    let mut used: Option<UrlInCode> = None;
    for expression in code.urls() {
        let Some(found) = modules.resolve(&expression, &code, 0) else { return modules.in_json(&code) };
        if used.as_ref().is_some_and(|other| *other != found) {
            return None;
        }
        used = Some(found);
    }
    let mut used = used?;
    let doubts = ["environ", "getenv", "load_dotenv", "get_x_argument"];
    used.is_certain &= !doubts.iter().any(|word| code.text.contains(word));
    Some(used)
}

/// A Python file, in which comment lines are empty.
struct Module {
    file: PathBuf,
    text: String,
}

impl Module {
    fn read(file: &Path, source: FileReader<'_>) -> Option<Module> {
        let text = source(file)?;
        let keep = |line: &str| if line.trim_start().starts_with('#') { String::new() } else { line.into() };
        Some(Module { file: file.into(), text: text.lines().map(keep).collect::<Vec<String>>().join("\n") })
    }

    /// Returns the expressions that are used as URL or engine. Returns an empty text for an expression that continues, because
    /// it is not understood.
    fn urls(&self) -> Vec<String> {
        let found = USES.iter().flat_map(|uses| uses.captures_iter(&self.text));
        let whole = |found: regex::Captures<'_>| {
            let expression = found.get(1)?;
            let text = expression.as_str();
            // These take the URL that a `set_main_option` has set, or are matched by their arguments.
            let skipped = ["get_main_option", "get_section_option", "engine_from_config", "create_engine"];
            let last = text.rsplit('.').next().unwrap_or_default();
            if skipped.contains(&last)
                || last.ends_with("engine_from_config")
                || last == "create_async_engine"
            {
                return None;
            }
            Some(if is_whole(text, &self.text[expression.end()..]) { text.into() } else { String::new() })
        };
        found.filter_map(whole).collect()
    }

    /// Returns the only value that the module gives to `name`, with its line. Returns `None` if there are several.
    fn assigned(&self, name: &str) -> Option<(&str, usize)> {
        let name = regex::escape(name);
        let all = Regex::new(&format!(
            r"(?m)^([ \t]*)(?:global[ \t]+)?{name}\b[ \t]*(?::[^=\n]+)?[-+|]?=[ \t]*([^=\n].*)$"
        ));
        let all = all.ok()?;
        let mut found = all.captures_iter(&self.text);
        let only = found.next().filter(|_| found.next().is_none())?;
        let value = only.get(2).filter(|_| only[1].is_empty())?;
        Some((value.as_str(), self.line(value.start())))
    }

    fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }
}

/// Returns true if `rest`, the text after an expression, ends the expression.
fn is_whole(text: &str, rest: &str) -> bool {
    let rest = rest.trim_start_matches([' ', '\t']);
    let replaced = text.ends_with(".replace") && rest.starts_with('(');
    rest.is_empty()
        || rest.starts_with([',', ')', '\n', '\r', '#'])
        || rest.starts_with(".replace(")
        || replaced
}

/// The modules of the repository.
struct Modules<'a> {
    roots: &'a [PathBuf],
    source: FileReader<'a>,
}

impl Modules<'_> {
    /// Returns the URL that `expression` has in `module`.
    fn resolve(&self, expression: &str, module: &Module, depth: usize) -> Option<UrlInCode> {
        let expression = expression.strip_suffix(".replace").unwrap_or(expression);
        if depth > DEEPEST || expression.is_empty() {
            return None;
        }
        if expression.ends_with(['"', '\'']) {
            let at = module.text.find(expression)?;
            return literal(expression, module, module.line(at));
        }
        if let Some((value, line)) = module.assigned(expression) {
            let value = value.trim_end();
            let engine = USES.get(2)?.captures(value).map(|found| found[1].to_string());
            if let Some(url) = engine {
                return self.resolve(&url, module, depth + 1);
            }
            let whole = Regex::new(&format!("^{EXPRESSION}")).ok()?;
            let found = whole.captures(value)?.get(1)?;
            if !is_whole(found.as_str(), &value[found.end()..]) {
                return None;
            }
            return literal(found.as_str(), module, line)
                .or_else(|| self.resolve(found.as_str(), module, depth + 1));
        }
        let (other, name) = self.imported(expression, module)?;
        self.resolve(&name, &other, depth + 1)
    }

    /// Returns the module that defines `name`, with the name there.
    fn imported(&self, name: &str, module: &Module) -> Option<(Module, String)> {
        if let Some((of, last)) = name.rsplit_once('.') {
            let found = imports(module).find(|(_, _, local)| local == of);
            let path = found.map_or_else(|| of.to_string(), |(from, name, _)| joined(&from, &name));
            return Some((self.module(&path, module)?, last.into()));
        }
        let (from, original, _) = imports(module).find(|(_, _, local)| local == name)?;
        Some((self.module(&from, module)?, original))
    }

    /// Reads the module `path`, such as `app.settings`, or `.settings` of the folder of `from`. Returns `None` if several files
    /// could be meant.
    fn module(&self, path: &str, from: &Module) -> Option<Module> {
        let dots = path.len() - path.trim_start_matches('.').len();
        let place = path.trim_start_matches('.').replace('.', "/");
        let roots: Vec<PathBuf> = match dots {
            0 => self.roots.to_vec(),
            _ => vec![from.file.ancestors().nth(dots)?.to_path_buf()],
        };
        let files = roots
            .iter()
            .flat_map(|root| [root.join(format!("{place}.py")), root.join(&place).join("__init__.py")]);
        let mut found: Vec<Module> = files.filter_map(|file| Module::read(&file, self.source)).collect();
        found.dedup_by(|a, b| a.file == b.file);
        (found.len() == 1).then(|| found.remove(0))
    }

    /// Returns the URL in a JSON file that `env.py` or a module it imports names. Whether Alembic uses it is not known.
    fn in_json(&self, env: &Module) -> Option<UrlInCode> {
        let others = imports(env).filter_map(|(from, name, _)| {
            self.module(&from, env).or_else(|| self.module(&joined(&from, &name), env))
        });
        let mut codes: Vec<&str> = vec![&env.text];
        let others: Vec<Module> = others.collect();
        codes.extend(others.iter().map(|module| module.text.as_str()));
        let names = codes.iter().flat_map(|code| JSON.iter().flat_map(|json| json.captures_iter(code)));
        let files = names.flat_map(|name| self.roots.iter().map(move |root| root.join(&name[1])));
        files.into_iter().find_map(|file| {
            let text = (self.source)(&file)?;
            let line =
                text.lines().position(|line| POSTGRES.as_ref().is_some_and(|url| url.is_match(line)))?;
            Some(UrlInCode { file, line: line + 1, is_certain: false })
        })
    }
}

/// Returns the names that a module imports: the other module, the name there and the name here.
fn imports(module: &Module) -> impl Iterator<Item = (String, String, String)> {
    IMPORT.iter().flat_map(|import| import.captures_iter(&module.text)).flat_map(|found| {
        let from = found[1].to_string();
        let names = found[2].trim_matches(['(', ')']).split(',');
        let names = names.filter_map(|name| name.split('#').next()).map(|name| {
            let mut words = name.split_whitespace();
            let original = words.next().unwrap_or_default().to_string();
            let local = words.nth(1).map_or_else(|| original.clone(), Into::into);
            (original, local)
        });
        names.map(move |(original, local)| (from.clone(), original, local)).collect::<Vec<_>>()
    })
}

fn joined(from: &str, name: &str) -> String {
    let dot = if from.ends_with('.') { "" } else { "." };
    format!("{from}{dot}{name}")
}

/// Returns the URL if `text` is a literal with the URL of a Postgres. A literal with computed parts is not certain, and counts
/// only if constants of the module are these parts.
fn literal(text: &str, module: &Module, line: usize) -> Option<UrlInCode> {
    let content = text.trim_start_matches(['f', 'F']);
    let is_computed = content.len() < text.len() && content.contains('{');
    if !content.starts_with(['"', '\'']) {
        return None;
    }
    let content = content.trim_matches(['"', '\'']);
    PgUrl::parse(content)?;
    let is_constant = |name: &str| {
        module.assigned(name).is_some_and(|(value, _)| {
            let value = value.trim_end();
            value.parse::<u32>().is_ok()
                || (value.len() > 1 && value.starts_with(['"', '\'']) && value.ends_with(['"', '\'']))
        })
    };
    let mut parts = content.split('{').skip(1).filter_map(|part| part.split('}').next());
    if is_computed && !parts.all(is_constant) {
        return None;
    }
    Some(UrlInCode { file: module.file.clone(), line, is_certain: !is_computed })
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "URL = \"postgresql+psycopg2://u:p@127.0.0.1:25439/app\"\n";
    const USE: &str =
        "config.set_main_option(\"sqlalchemy.url\", URL)\nconnectable = engine_from_config(x)\n";

    fn found(files: &[(&str, &str)]) -> Option<(String, usize, bool)> {
        let read = |path: &Path| {
            if path == Path::new("b/alembic.ini") {
                return Some("[alembic]\nscript_location = m\n".to_string());
            }
            let given = files.iter().find(|(name, _)| path == Path::new(name));
            given.map(|(_, text)| (*text).to_string())
        };
        let roots = [PathBuf::from("b"), PathBuf::from("b/src")];
        let url = url_in_code(Path::new("b/alembic.ini"), &roots, &read)?;
        Some((url.file.display().to_string(), url.line, url.is_certain))
    }

    #[test]
    fn the_url_is_followed_from_env_py_to_the_settings() {
        let settings = format!("import os\n\n{URL}");
        let line = Some(("b/app/settings.py".to_string(), 3, true));
        for env in [
            format!("from app.settings import URL\n{USE}"),
            format!("from app.settings import (\n    A,\n    URL as OTHER,\n)\n{}", USE.replace("URL", "OTHER")),
            format!("from app import settings\n{}", USE.replace("URL", "settings.URL")),
            format!("import app.settings\n{}", USE.replace("URL", "app.settings.URL.replace('%', '%%')")),
            "from app.settings import URL\nconnectable = create_async_engine(\n    URL,\n    poolclass=x,\n)\n".into(),
        ] {
            assert_eq!(found(&[("b/m/env.py", &env), ("b/app/settings.py", &settings)]), line, "{env}");
        }
        let env = "from app.db import engine\nconnectable = engine\n";
        let db = "from .settings import URL\nengine = create_engine(URL, echo=True)\n";
        let files = [("b/m/env.py", env), ("b/app/db.py", db), ("b/app/settings.py", &settings)];
        assert_eq!(found(&files), line);
        let own = format!("{URL}{USE}");
        assert_eq!(found(&[("b/m/env.py", &own)]), Some(("b/m/env.py".into(), 1, true)));
    }

    #[test]
    fn a_url_that_a_variable_may_change_is_not_found() {
        let env = format!("from app.settings import URL\n{USE}");
        for settings in [
            format!("{URL}if TEST:\n    {URL}"),
            "URL = os.environ['DATABASE_URL']\n".into(),
            "URL = os.getenv('A', 'postgresql://a:b@h/x')\n".into(),
            "URL = 'postgresql://a:b@h/x' if LOCAL else OTHER\n".into(),
            "URL = f'postgresql://{settings.USER}:{settings.PASSWORD}@{settings.HOST}/x'\n".into(),
            "URL = 'sqlite:///x'\n".into(),
        ] {
            assert_eq!(found(&[("b/m/env.py", &env), ("b/app/settings.py", &settings)]), None, "{settings}");
        }
        let object =
            "from app.config import settings\nconfig.set_main_option('sqlalchemy.url', settings.url)\n";
        assert_eq!(found(&[("b/m/env.py", object), ("b/app/config.py", "settings = Settings()\n")]), None);
        let asked = format!("import os\n{env}if 'A' in os.environ:\n    pass\n");
        let certain = found(&[("b/m/env.py", &asked), ("b/app/settings.py", URL)]).unwrap().2;
        assert!(!certain);
    }

    #[test]
    fn constants_in_a_url_and_json_files_are_possible_only() {
        let env = format!("from app.settings import URL\n{USE}");
        let parts = "HOST = 'localhost'\nPORT = 5432\nURL = f'postgresql://u:p@{HOST}:{PORT}/x'\n";
        let files = [("b/m/env.py", env.as_str()), ("b/app/settings.py", parts)];
        assert_eq!(found(&files), Some(("b/app/settings.py".into(), 3, false)));
        let json = "URL = json.load(open('conf/db.json'))['url']\n";
        let files = [
            ("b/m/env.py", env.as_str()),
            ("b/app/settings.py", json),
            ("b/conf/db.json", "{\n  \"url\": \"postgresql://u:p@localhost/x\"\n}\n"),
        ];
        assert_eq!(found(&files), Some(("b/conf/db.json".into(), 2, false)));
    }
}
