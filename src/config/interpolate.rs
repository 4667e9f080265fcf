//! Templates: `${NAME}` from the environment, `${branch}` and the like from devrun.
//!
//! Upper case is the environment, with compose's `${NAME:-default}` (unset or empty), `${NAME-default}` (unset),
//! `${NAME:?message}`, `${NAME?message}`; lower case is devrun's own. `$$` is a dollar sign. A `$` before anything but `{`
//! and `$` stays what it is, so `$PORT` is left for a shell. A default may hold templates itself (`${A:-${B}}`).
//!
//! The database's URL takes a form: `${database.url:postgresql+asyncpg}`, `${database.url?schema=public}`, or both. A query
//! behind the closing brace is merged with the URL's own one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::address::{self, Form};
use crate::config::error::ConfigError;
use crate::config::source::At;

/// A value that may hold `${…}`, and its place.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    /// As written.
    pub text: String,
    /// Where.
    pub at: At,
}

/// Never the text: it may be a secret.
impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Template({})", self.at)
    }
}

/// Defaults inside defaults are followed this deep.
const MAX_DEPTH: usize = 8;

/// How long one rendered value may be: Linux passes no longer one to a program (`MAX_ARG_STRLEN`).
const MAX_VALUE: usize = 128 << 10;
/// From this length on a rendered value counts towards [`MAX_TOTAL`].
const LARGE: usize = 4 << 10;
/// How long all large values of one scope may be together, its copies included.
const MAX_TOTAL: usize = 8 << 20;

/// Every name devrun may give a value, for messages. `ports.` stands for one name per port.
const OWN: [&str; 14] = [
    "branch",
    "slug",
    "slot",
    "worktree",
    "ports.",
    "secret.",
    "database.url",
    DIRECT,
    "database.host",
    "database.port",
    "database.user",
    PASSWORD,
    "database.name",
    "database.branch",
];

/// The URL past a pooler; the same as the other one where there is no pooler.
const DIRECT: &str = "database.direct_url";
const PASSWORD: &str = "database.password";

/// Under what the URL past a pooler is kept.
pub(super) const UNPOOLED: &str = "database.unpooled";

/// The names a template may use.
#[derive(Clone, Default)]
pub struct Scope {
    env: BTreeMap<OsString, OsString>,
    own: BTreeMap<String, String>,
    /// There will be a branch database, but its address is not known yet.
    database_to_come: bool,
    /// Bytes of large values that were rendered; all copies of a scope share it.
    large: Arc<AtomicUsize>,
}

/// Names only: values may be secrets.
impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").field("own", &self.own.keys()).finish_non_exhaustive()
    }
}

impl Scope {
    /// Names of the environment only.
    pub fn new(env: BTreeMap<OsString, OsString>) -> Scope {
        Scope { env, ..Scope::default() }
    }

    /// The same names with another environment.
    #[must_use]
    pub fn with_env(mut self, env: BTreeMap<OsString, OsString>) -> Scope {
        self.env = env;
        self
    }

    /// Adds variables to the environment.
    #[must_use]
    pub fn with_variables(mut self, vars: &BTreeMap<String, String>) -> Scope {
        self.env.extend(vars.iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Adds `${branch}`.
    #[must_use]
    pub fn with_branch(self, branch: &str) -> Scope {
        self.with("branch", branch)
    }

    /// Adds `${worktree}` (its path) and `${slug}`.
    #[must_use]
    pub fn with_worktree(self, path: &Path, slug: &str) -> Scope {
        self.with("worktree", &path.to_string_lossy()).with("slug", slug)
    }

    /// Adds `${slot}` and `${ports.…}`: numbers already shifted by the slot.
    #[must_use]
    pub fn with_ports(self, slot: u16, ports: &BTreeMap<String, u16>) -> Scope {
        ports.iter().fold(self.with("slot", &slot.to_string()), |scope, (name, port)| {
            scope.with(&format!("ports.{name}"), &port.to_string())
        })
    }

    /// Adds the branch database `name` at `url`: its URL, its name, and the parts of the URL.
    #[must_use]
    pub fn with_database(self, name: &str, url: &str) -> Scope {
        let scope = self.with("database.branch", name).with("database.url", url).with(DIRECT, url);
        let Some(parts) = address::parts(url) else { return scope.with("database.name", name) };
        scope
            .with("database.host", &parts.host)
            .with("database.port", &parts.port)
            .with("database.user", &parts.user)
            .with(PASSWORD, &parts.password)
            .with("database.name", &parts.name)
    }

    /// Adds the URL past a pooler. Call it after [`Scope::with_database`].
    #[must_use]
    pub fn with_unpooled(self, url: &str) -> Scope {
        self.with(UNPOOLED, url).with(DIRECT, url)
    }

    /// Adds `${secret.NAME}` for each of `secrets`.
    #[must_use]
    pub fn with_secrets(self, secrets: &BTreeMap<String, String>) -> Scope {
        secrets.iter().fold(self, |scope, (name, value)| scope.with(&format!("secret.{name}"), value))
    }

    /// Says that the database's names are to come: what needs them is left out meanwhile, see [`Template::is_to_come`].
    #[must_use]
    pub fn with_database_to_come(self) -> Scope {
        Scope { database_to_come: true, ..self }
    }

    fn with(mut self, name: &str, value: &str) -> Scope {
        self.own.insert(name.into(), value.into());
        self
    }

    /// One of devrun's own values, by its name.
    pub fn own(&self, name: &str) -> Option<&str> {
        self.own.get(name).map(String::as_str)
    }

    /// The number of the port `name`.
    pub fn port(&self, name: &str) -> Option<u16> {
        self.own(&format!("ports.{name}"))?.parse().ok()
    }

    /// True when the environment has `name`, with a value.
    pub fn has_variable(&self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| !value.is_empty())
    }

    /// The value of `name` in the environment, when it is text.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(std::ffi::OsStr::new(name)).and_then(|value| value.to_str())
    }
}

impl Template {
    /// A value that was written at `at`.
    pub fn new(text: impl Into<String>, at: &At) -> Template {
        Template { text: text.into(), at: at.clone() }
    }

    /// Checks what can be checked before values are known: that it is well formed and uses names that exist, `ports`
    /// being the known port names.
    pub fn check(&self, ports: &BTreeMap<String, u16>) -> Result<(), ConfigError> {
        let known = |name: &str| match (name.strip_prefix("ports."), name.strip_prefix("secret.")) {
            (Some(port), _) => ports.contains_key(port),
            (_, Some(secret)) => crate::config::values::is_variable_name(secret),
            (None, None) => OWN.contains(&name),
        };
        expand(self, &self.text, 0, &mut |reference| match reference.kind() {
            Kind::Own if !known(reference.name) => {
                let names = OWN.iter().filter(|own| !own.ends_with('.')).map(ToString::to_string);
                let all: Vec<_> = names.chain(ports.keys().map(|port| format!("ports.{port}"))).collect();
                Err(unknown(self, reference.name, &all))
            }
            // The default is looked at whether or not it will be used.
            Kind::Environment if matches!(reference.fallback, Some(Fallback::Default(_))) => Ok(None),
            Kind::Own => reference.formed(self, "").map(Some),
            Kind::Environment => Ok(Some(String::new())),
            Kind::Neither => Err(neither(self, reference.name)),
        })
        .map(|_| ())
    }

    /// Names that it uses, of the environment and of devrun's own, in the order of their use.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        // What a default uses counts too: every reference is answered with its default.
        let _ = expand(self, &self.text, 0, &mut |reference| {
            names.push(reference.name.to_string());
            Ok(None)
        });
        names
    }

    /// True when its value holds a part of the database's address.
    pub fn uses_database(&self) -> bool {
        self.names().iter().any(|name| name.starts_with("database."))
    }

    /// True when its value holds a secret, whatever the variable is called.
    pub fn holds_secret(&self) -> bool {
        let secret = |name: &String| {
            matches!(name.as_str(), "database.url" | DIRECT | PASSWORD) || name.starts_with("secret.")
        };
        self.names().iter().any(secret)
    }

    /// True when it has no value yet, because the branch database has none.
    pub fn is_to_come(&self, scope: &Scope) -> bool {
        let mut waits = false;
        let expanded = expand(self, &self.text, 0, &mut |reference| {
            waits |= reference.name.starts_with("database.") && scope.own(reference.name).is_none();
            Ok(Some(String::new()))
        });
        scope.database_to_come && expanded.is_ok() && waits
    }

    /// The value, with every `${…}` replaced by what `scope` knows.
    pub fn render(&self, scope: &Scope) -> Result<String, ConfigError> {
        expand(self, &self.text, 0, &mut |reference| match reference.kind() {
            Kind::Own => match scope.own(reference.name) {
                Some(value) => reference.formed(self, value).map(Some),
                None => Err(unknown(self, reference.name, &scope.own.keys().cloned().collect::<Vec<_>>())),
            },
            Kind::Environment => {
                let value =
                    scope.variable(reference.name).filter(|value| !(reference.colon && value.is_empty()));
                match (value, reference.fallback) {
                    (Some(value), _) => Ok(Some(value.to_string())),
                    (None, Some(Fallback::Default(_))) => Ok(None),
                    (None, Some(Fallback::Message(text))) => {
                        Err(missing(self, reference.name, Some(text).filter(|text| !text.is_empty())))
                    }
                    (None, None) => Err(missing(self, reference.name, None)),
                }
            }
            Kind::Neither => Err(neither(self, reference.name)),
        })
        .and_then(|value| scope.count(value).ok_or_else(|| too_long(self)))
    }
}

impl Scope {
    /// Returns `value` unless large values have become too long together: a few lines can ask for gigabytes.
    fn count(&self, value: String) -> Option<String> {
        let counted = if value.len() < LARGE { 0 } else { value.len() };
        let before = self.large.fetch_add(counted, Ordering::Relaxed);
        (before + counted <= MAX_TOTAL).then_some(value)
    }
}

/// What stands between `${` and `}`.
#[derive(Clone, Copy)]
struct Reference<'a> {
    name: &'a str,
    /// An empty value counts as none.
    colon: bool,
    fallback: Option<Fallback<'a>>,
    /// How the database's URL is wanted.
    form: Option<&'a str>,
}

#[derive(Clone, Copy)]
enum Fallback<'a> {
    Default(&'a str),
    Message(&'a str),
}

enum Kind {
    Environment,
    Own,
    Neither,
}

impl<'a> Reference<'a> {
    fn plain(name: &'a str) -> Reference<'a> {
        Reference { name, colon: false, fallback: None, form: None }
    }

    /// `value` in the form that is wanted.
    fn formed(&self, template: &Template, value: &str) -> Result<String, ConfigError> {
        let Some(text) = self.form else { return Ok(value.into()) };
        let form = Form::read(text).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            ConfigError::invalid(&template.at, format!("`{shown}` is no form of a Postgres URL"))
                .with_fix("write a scheme, such as `${database.url:postgresql+asyncpg}`, or parameters, such as `${database.url?schema=public}`")
        })?;
        Ok(form.apply(value))
    }

    fn kind(&self) -> Kind {
        let mut chars = self.name.chars();
        match chars.next() {
            Some('A'..='Z' | '_') if chars.all(|c| matches!(c, 'A'..='Z' | '0'..='9' | '_')) => {
                Kind::Environment
            }
            // compose's operators on a name of ours would never apply: it always has a value.
            Some('a'..='z')
                if self.fallback.is_none()
                    && chars.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) =>
            {
                Kind::Own
            }
            _ => Kind::Neither,
        }
    }
}

/// Asks `value` for each reference; `None` means: use the default.
fn expand(
    template: &Template,
    text: &str,
    depth: usize,
    value: &mut dyn FnMut(Reference<'_>) -> Result<Option<String>, ConfigError>,
) -> Result<String, ConfigError> {
    if depth > MAX_DEPTH {
        return Err(ConfigError::invalid(&template.at, "holds defaults inside defaults too deep to follow"));
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        result.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            result.push('$');
            rest = tail;
        } else if let Some(inside) = after.strip_prefix('{') {
            let end = closing(inside).ok_or_else(|| unterminated(template))?;
            let reference = split(&inside[..end]);
            rest = &inside[end + 1..];
            match (value(reference)?, reference.fallback) {
                (Some(found), _) => {
                    let query = query_behind(&reference, rest);
                    result.push_str(&Form { scheme: None, query: query.into() }.merged(&found));
                    rest = &rest[if query.is_empty() { 0 } else { query.len() + 1 }..];
                }
                (None, Some(Fallback::Default(default))) => {
                    result.push_str(&expand(template, default, depth + 1, value)?);
                }
                (None, _) => {}
            }
            if result.len() > MAX_VALUE.max(template.text.len()) {
                return Err(too_long(template));
            }
        } else {
            result.push('$');
            rest = after;
        }
    }
    result.push_str(rest);
    Ok(result)
}

/// The query that is written behind a URL of the database.
fn query_behind<'a>(reference: &Reference<'_>, after: &'a str) -> &'a str {
    match (reference.name, after.strip_prefix('?')) {
        ("database.url" | DIRECT, Some(query)) => {
            &query[..query.find(|c| !address::is_query_char(c)).unwrap_or(query.len())]
        }
        _ => "",
    }
}

/// Where the `}` is that belongs to a `${` just before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut previous = ' ';
    for (index, c) in text.char_indices() {
        match c {
            '{' if previous == '$' => open += 1,
            '}' if open == 0 => return Some(index),
            '}' => open -= 1,
            _ => {}
        }
        previous = c;
    }
    None
}

fn split(inside: &str) -> Reference<'_> {
    let name_end = inside.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')));
    for name in ["database.url", DIRECT] {
        let Some(form) = inside.strip_prefix(name) else { continue };
        let scheme = form.strip_prefix(':').filter(|scheme| !scheme.starts_with(['-', '?']));
        if let Some(form) = scheme.or(Some(form).filter(|form| form.starts_with('?'))) {
            return Reference { form: Some(form), ..Reference::plain(name) };
        }
    }
    // Port names may hold a `-`, which is an operator after a variable's name.
    if inside.starts_with("ports.") && inside.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    {
        return Reference::plain(inside);
    }
    let Some(end) = name_end else {
        return Reference::plain(inside);
    };
    let (name, operator) = inside.split_at(end);
    let (colon, operator) = operator.strip_prefix(':').map_or((false, operator), |rest| (true, rest));
    let fallback = match (operator.strip_prefix('-'), operator.strip_prefix('?')) {
        (Some(default), _) => Fallback::Default(default),
        (_, Some(message)) => Fallback::Message(message),
        // Not a name at all: said so by whoever looks at it.
        _ => return Reference::plain(inside),
    };
    Reference { name, colon, fallback: Some(fallback), form: None }
}

fn too_long(template: &Template) -> ConfigError {
    ConfigError::invalid(&template.at, "becomes too long when `${…}` in it is replaced")
        .with_fix("write a shorter value")
}

fn unterminated(template: &Template) -> ConfigError {
    ConfigError::invalid(&template.at, "opens `${` and never closes it")
        .with_fix("close it with `}`, or write `$${` for a literal `${`")
}

fn unknown(template: &Template, name: &str, known: &[String]) -> ConfigError {
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let near =
        crate::config::node::nearest(name, &names).map(|near| format!("; did you mean `${{{near}}}`?"));
    let what = if OWN.contains(&name) { "is not known yet here" } else { "is not a name of devrun's" };
    ConfigError::invalid(&template.at, format!("`${{{name}}}` {what}{}", near.unwrap_or_default())).with_fix(
        format!("known here: {}; environment variables are written in upper case", names.join(", ")),
    )
}

fn neither(template: &Template, name: &str) -> ConfigError {
    let shown: String = name.chars().take(40).collect();
    ConfigError::invalid(&template.at, format!("`${{{shown}}}` is neither a variable nor a name of devrun's"))
        .with_fix("variables are upper case (`${NAME}`, `${NAME:-default}`), devrun's names lower case (`${branch}`)")
}

fn missing(template: &Template, name: &str, message: Option<&str>) -> ConfigError {
    ConfigError::Variable { at: template.at.clone(), name: name.into(), message: message.map(Into::into) }
}

#[cfg(test)]
mod tests;
