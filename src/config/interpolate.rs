//! Templates: `${NAME}` from the environment; `${branch}` and others from devrun.
//!
//! A name in upper case is an environment variable, with compose's `${NAME:-default}` (unset or empty),
//! `${NAME-default}` (unset), `${NAME:?message}` and `${NAME?message}`; a name in lower case is one of devrun's. `$$`
//! is a dollar sign. A `$` before any character but `{` and `$` stays, so `$PORT` is left for a shell. A default may
//! contain templates (`${A:-${B}}`).
//!
//! The database's URL takes a form: `${database.url:postgresql+asyncpg}`, `${database.url?schema=public}`, or both. A
//! query after the closing brace is merged with the URL's own query. `${slot % 16}` computes with integers.

mod arithmetic;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::arithmetic::Expression;
use crate::config::error::ConfigError;
use crate::config::names::MAX_VALUE;
use crate::config::source::ConfigPosition;
use crate::config::url_forms::{self, UrlForm};

/// A value that may hold `${…}`, and its place.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    /// The text as written.
    pub text: String,
    /// Where it is written.
    pub at: ConfigPosition,
}

/// Prints the place only: the text may be a secret.
impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Template({})", self.at)
    }
}

/// Maximum depth of defaults inside defaults.
const MAX_DEPTH: usize = 8;

/// Minimum length, in bytes, of a rendered value that counts towards [`MAX_TOTAL`].
const LARGE: usize = 4 << 10;
/// Maximum length of all large values of a scope and its copies together, in bytes.
const MAX_TOTAL: usize = 8 << 20;

/// The names to which devrun can give a value, as error messages list them. `ports.` stands for the names of all ports.
const OWN: [&str; 15] = [
    "branch",
    "slug",
    "host",
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

/// The URL that bypasses a pooler; without a pooler, the same as `database.url`.
const DIRECT: &str = "database.direct_url";
const PASSWORD: &str = "database.password";

/// The key under which a scope keeps the URL that bypasses a pooler; absent without a pooler.
pub(super) const UNPOOLED: &str = "database.unpooled";

/// The names a template may use.
#[derive(Clone, Default)]
pub struct Scope {
    env: BTreeMap<OsString, OsString>,
    own: BTreeMap<String, String>,
    /// Names in `env` whose values always count as secret.
    private: BTreeSet<String>,
    /// True when a branch database will exist but its address is not known yet.
    database_to_come: bool,
    /// Bytes of large values rendered so far, shared by all copies of the scope.
    large: Arc<AtomicUsize>,
}

/// Prints names only: values may be secrets.
impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").field("own", &self.own.keys()).finish_non_exhaustive()
    }
}

impl Scope {
    /// Returns a scope with the variables of `env` only.
    pub fn new(env: BTreeMap<OsString, OsString>) -> Scope {
        Scope { env, ..Scope::default() }
    }

    /// Replaces the environment.
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

    /// Marks variables of the environment as secret.
    #[must_use]
    pub fn with_private(self, names: &BTreeSet<String>) -> Scope {
        Scope { private: names.clone(), ..self }
    }

    /// Adds `${branch}`.
    #[must_use]
    pub fn with_branch(self, branch: &str) -> Scope {
        self.with("branch", branch)
    }

    /// Adds `${repo}` and `${name}`, the names of a repository and of a worktree that is about to be made.
    #[must_use]
    pub fn with_new_worktree(self, repo: &str, name: &str) -> Scope {
        self.with("repo", repo).with("name", name)
    }

    /// Adds `${worktree}` (its path) and `${slug}`.
    #[must_use]
    pub fn with_worktree(self, path: &Path, slug: &str) -> Scope {
        self.with("worktree", &path.to_string_lossy()).with("slug", slug)
    }

    /// Adds `${host}`, the host name of the worktree: `<label>.localhost`.
    #[must_use]
    pub fn with_host(self, label: &str) -> Scope {
        self.with("host", &format!("{label}.localhost"))
    }

    /// Adds `${slot}` and `${ports.…}`; `ports` are the numbers with the slot already added.
    #[must_use]
    pub fn with_ports(self, slot: u16, ports: &BTreeMap<String, u16>) -> Scope {
        ports.iter().fold(self.with("slot", &slot.to_string()), |scope, (name, port)| {
            scope.with(&format!("ports.{name}"), &port.to_string())
        })
    }

    /// Adds the branch database `name` at `url`: its name, its URL and the parts of the URL.
    #[must_use]
    pub fn with_database(self, name: &str, url: &str) -> Scope {
        let scope = self.with("database.branch", name).with("database.url", url).with(DIRECT, url);
        let Some(parts) = url_forms::parts(url) else { return scope.with("database.name", name) };
        scope
            .with("database.host", &parts.host)
            .with("database.port", &parts.port)
            .with("database.user", &parts.user)
            .with(PASSWORD, &parts.password)
            .with("database.name", &parts.name)
    }

    /// Adds the URL that bypasses a pooler. Call this after [`Scope::with_database`].
    #[must_use]
    pub fn with_unpooled(self, url: &str) -> Scope {
        self.with(UNPOOLED, url).with(DIRECT, url)
    }

    /// Adds `${secret.NAME}` for each of `secrets`.
    #[must_use]
    pub fn with_secrets(self, secrets: &BTreeMap<String, String>) -> Scope {
        secrets.iter().fold(self, |scope, (name, value)| scope.with(&format!("secret.{name}"), value))
    }

    /// Marks the database's address as not known yet. Templates that need it are left out, see
    /// [`Template::is_to_come`].
    #[must_use]
    pub fn with_database_to_come(self) -> Scope {
        Scope { database_to_come: true, ..self }
    }

    fn with(mut self, name: &str, value: &str) -> Scope {
        self.own.insert(name.into(), value.into());
        self
    }

    /// Returns the value of one of devrun's own names.
    pub fn own(&self, name: &str) -> Option<&str> {
        self.own.get(name).map(String::as_str)
    }

    /// Returns the number of the port `name`.
    pub fn port(&self, name: &str) -> Option<u16> {
        self.own(&format!("ports.{name}"))?.parse().ok()
    }

    /// Returns the value of `name` in the environment, if it is UTF-8.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(std::ffi::OsStr::new(name)).and_then(|value| value.to_str())
    }
}

impl Template {
    /// Returns a template that was written at `at`.
    pub fn new(text: impl Into<String>, at: &ConfigPosition) -> Template {
        Template { text: text.into(), at: at.clone() }
    }

    /// Checks the syntax and the names before any value is known. `ports` are the configured ports.
    pub fn check(&self, ports: &BTreeMap<String, u16>) -> Result<(), ConfigError> {
        let known = |name: &str| match (name.strip_prefix("ports."), name.strip_prefix("secret.")) {
            (Some(port), _) => ports.contains_key(port),
            (_, Some(secret)) => crate::config::names::is_variable_name(secret),
            (None, None) => OWN.contains(&name),
        };
        expand(self, &self.text, 0, &mut |reference| match reference.kind() {
            ReferenceKind::Own if !known(reference.name) => {
                let names = OWN.iter().filter(|own| !own.ends_with('.')).map(ToString::to_string);
                let all: Vec<_> = names.chain(ports.keys().map(|port| format!("ports.{port}"))).collect();
                Err(unknown(self, reference.name, &all))
            }
            ReferenceKind::Own if reference.is_operand && !is_number(reference.name) => {
                Err(no_number(self, reference.name))
            }
            // Returns `None`, so that `expand` checks the default even if it will not be used.
            ReferenceKind::Environment if matches!(reference.fallback, Some(Fallback::Default(_))) => {
                Ok(None)
            }
            ReferenceKind::Own => reference.formed(self, "").map(Some),
            ReferenceKind::Environment => Ok(Some(String::new())),
            ReferenceKind::Neither => Err(neither(self, reference.name)),
        })
        .map(|_| ())
    }

    /// Checks every `${…}` in a value in which only devrun's names in `own` and variables of the environment are allowed.
    pub fn check_with(&self, own: &[&str]) -> Result<(), ConfigError> {
        expand(self, &self.text, 0, &mut |reference| match reference.kind() {
            ReferenceKind::Own if !own.contains(&reference.name) => {
                let all: Vec<String> = own.iter().map(ToString::to_string).collect();
                Err(unknown(self, reference.name, &all))
            }
            ReferenceKind::Own => Ok(Some(String::new())),
            ReferenceKind::Environment => Ok(None),
            ReferenceKind::Neither => Err(neither(self, reference.name)),
        })
        .map(|_| ())
    }

    /// Returns the names that the template uses, devrun's and those of the environment, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        // `None` makes `expand` follow every default, so names in defaults count too.
        let _ = expand(self, &self.text, 0, &mut |reference| {
            names.push(reference.name.to_string());
            Ok(None)
        });
        names
    }

    /// Returns true if a name in the template is none of devrun's, or a variable without value and default.
    pub fn has_unknown_name(&self, scope: &Scope) -> bool {
        let mut is_unknown = false;
        let _ = expand(self, &self.text, 0, &mut |reference| {
            let name = reference.name;
            is_unknown |= match reference.kind() {
                ReferenceKind::Own => !OWN.contains(&name) && scope.own(name).is_none(),
                ReferenceKind::Environment => scope.variable(name).is_none() && reference.fallback.is_none(),
                ReferenceKind::Neither => true,
            };
            Ok(None)
        });
        is_unknown
    }

    /// Returns true if the value contains a part of the database's address.
    pub fn uses_database(&self) -> bool {
        self.names().iter().any(|name| name.starts_with("database."))
    }

    /// Returns true if the value contains a secret, regardless of the variable's name.
    pub fn holds_secret(&self, scope: &Scope) -> bool {
        let secret = |name: &String| {
            matches!(name.as_str(), "database.url" | DIRECT | PASSWORD) || name.starts_with("secret.")
        };
        self.uses_private(scope) || self.names().iter().any(secret)
    }

    /// Returns true if the template uses a variable that `scope` marks as secret.
    pub fn uses_private(&self, scope: &Scope) -> bool {
        !scope.private.is_empty() && self.names().iter().any(|name| scope.private.contains(name))
    }

    /// Returns true if the template has no value yet because the database's address is not known.
    pub fn is_to_come(&self, scope: &Scope) -> bool {
        let mut waits = false;
        let expanded = expand(self, &self.text, 0, &mut |reference| {
            waits |= reference.name.starts_with("database.") && scope.own(reference.name).is_none();
            Ok(Some(String::new()))
        });
        scope.database_to_come && expanded.is_ok() && waits
    }

    /// Returns the text with every `${…}` replaced by its value in `scope`. Fails on an unknown name, on a variable
    /// without value and default, and on a value that is too long.
    pub fn render(&self, scope: &Scope) -> Result<String, ConfigError> {
        expand(self, &self.text, 0, &mut |reference| match reference.kind() {
            ReferenceKind::Own => match scope.own(reference.name) {
                Some(value) => reference.checked(self, reference.formed(self, value)?).map(Some),
                None => Err(unknown(self, reference.name, &scope.own.keys().cloned().collect::<Vec<_>>())),
            },
            ReferenceKind::Environment => {
                let value =
                    scope.variable(reference.name).filter(|value| !(reference.colon && value.is_empty()));
                match (value, reference.fallback) {
                    (Some(value), _) => reference.checked(self, value.to_string()).map(Some),
                    (None, Some(Fallback::Default(_))) => Ok(None),
                    (None, Some(Fallback::Message(text))) => {
                        Err(missing(self, reference.name, Some(text).filter(|text| !text.is_empty())))
                    }
                    (None, None) => Err(missing(self, reference.name, None)),
                }
            }
            ReferenceKind::Neither => Err(neither(self, reference.name)),
        })
        .and_then(|value| scope.count(value).ok_or_else(|| too_long(self)))
    }
}

impl Scope {
    /// Returns `value`, unless the large values together exceed [`MAX_TOTAL`]: a few lines could otherwise produce
    /// gigabytes.
    fn count(&self, value: String) -> Option<String> {
        let counted = if value.len() < LARGE { 0 } else { value.len() };
        let before = self.large.fetch_add(counted, Ordering::Relaxed);
        (before + counted <= MAX_TOTAL).then_some(value)
    }
}

/// The text between `${` and `}`.
#[derive(Clone, Copy)]
struct Reference<'a> {
    name: &'a str,
    /// True when an empty value counts as unset.
    colon: bool,
    fallback: Option<Fallback<'a>>,
    /// The requested form of the database's URL.
    form: Option<&'a str>,
    /// True for an operand of an expression.
    is_operand: bool,
}

#[derive(Clone, Copy)]
enum Fallback<'a> {
    Default(&'a str),
    Message(&'a str),
}

enum ReferenceKind {
    Environment,
    Own,
    Neither,
}

impl<'a> Reference<'a> {
    fn plain(name: &'a str) -> Reference<'a> {
        Reference { name, colon: false, fallback: None, form: None, is_operand: false }
    }

    /// Returns `value`. Errors if it is the operand of an expression and no integer.
    fn checked(&self, template: &Template, value: String) -> Result<String, ConfigError> {
        if self.is_operand && value.trim().parse::<i64>().is_err() {
            return Err(no_number(template, self.name));
        }
        Ok(value)
    }

    /// Returns `value` in the requested form.
    fn formed(&self, template: &Template, value: &str) -> Result<String, ConfigError> {
        let Some(text) = self.form else { return Ok(value.into()) };
        let form = UrlForm::read(text).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            ConfigError::invalid(&template.at, format!("`{shown}` is not a valid form for a Postgres URL"))
                .with_fix("write a scheme, such as `${database.url:postgresql+asyncpg}`, or parameters, such as `${database.url?schema=public}`")
        })?;
        Ok(form.apply(value))
    }

    fn kind(&self) -> ReferenceKind {
        let mut chars = self.name.chars();
        match chars.next() {
            Some('A'..='Z' | '_') if chars.all(|c| matches!(c, 'A'..='Z' | '0'..='9' | '_')) => {
                ReferenceKind::Environment
            }
            // A fallback for one of devrun's own names would never apply: a name without a value is an error.
            Some('a'..='z')
                if self.fallback.is_none()
                    && chars.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) =>
            {
                ReferenceKind::Own
            }
            _ => ReferenceKind::Neither,
        }
    }
}

/// Replaces each reference by the result of `value`; `None` means the reference's default.
fn expand(
    template: &Template,
    text: &str,
    depth: usize,
    value: &mut dyn FnMut(Reference<'_>) -> Result<Option<String>, ConfigError>,
) -> Result<String, ConfigError> {
    if depth > MAX_DEPTH {
        return Err(ConfigError::invalid(&template.at, "nests defaults too deeply"));
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
            if let Some(expression) = Expression::read(&inside[..end]) {
                result.push_str(&computed(template, &inside[..end], &expression, value)?);
                rest = &inside[end + 1..];
                continue;
            }
            let reference = split(&inside[..end]);
            rest = &inside[end + 1..];
            match (value(reference)?, reference.fallback) {
                (Some(found), _) => {
                    let query = query_behind(&reference, rest);
                    result.push_str(&UrlForm { scheme: None, query: query.into() }.merged(&found));
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

/// Returns the result of an expression; nothing as long as an operand has no value.
fn computed(
    template: &Template,
    text: &str,
    expression: &Expression<'_>,
    value: &mut dyn FnMut(Reference<'_>) -> Result<Option<String>, ConfigError>,
) -> Result<String, ConfigError> {
    let mut operands = BTreeMap::new();
    let mut is_known = true;
    for name in expression.names() {
        let found = value(Reference { is_operand: true, ..Reference::plain(name) })?;
        match found.and_then(|found| found.trim().parse::<i64>().ok()) {
            Some(number) => drop(operands.insert(name, number)),
            None => is_known = false,
        }
    }
    if !is_known {
        return Ok(String::new());
    }
    let result = expression.compute(&operands).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        ConfigError::invalid(
            &template.at,
            format!("`${{{shown}}}` divides by zero, or its result is too large"),
        )
        .with_fix("change the expression")
    })?;
    Ok(result.to_string())
}

/// Returns true if this name of devrun's has an integer as its value.
fn is_number(name: &str) -> bool {
    matches!(name, "slot" | "database.port") || name.starts_with("ports.")
}

/// Returns the query that is written after a reference to the database's URL.
fn query_behind<'a>(reference: &Reference<'_>, after: &'a str) -> &'a str {
    match (reference.name, after.strip_prefix('?')) {
        ("database.url" | DIRECT, Some(query)) => {
            &query[..query.find(|c| !url_forms::is_query_char(c)).unwrap_or(query.len())]
        }
        _ => "",
    }
}

/// Returns the index of the `}` that closes a `${` just before `text`.
pub(super) fn closing(text: &str) -> Option<usize> {
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
    // Port names may contain a `-`, which is an operator after a variable's name.
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
        // Not a valid name: `Reference::kind` returns `Neither`, which the callers report.
        _ => return Reference::plain(inside),
    };
    Reference { name, colon, fallback: Some(fallback), form: None, is_operand: false }
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
    let near = crate::text::similar_names::nearest(name, &names)
        .map(|near| format!("; did you mean `${{{near}}}`?"));
    let what = if OWN.contains(&name) {
        "has no value yet at this place"
    } else {
        "is not a name that devrun knows"
    };
    ConfigError::invalid(&template.at, format!("`${{{name}}}` {what}{}", near.unwrap_or_default())).with_fix(
        format!("known here: {}; environment variables are written in upper case", names.join(", ")),
    )
}

fn neither(template: &Template, name: &str) -> ConfigError {
    let shown: String = name.chars().take(40).collect();
    ConfigError::invalid(
        &template.at,
        format!("`${{{shown}}}` is neither a variable nor a name that devrun knows"),
    )
    .with_fix(
        "variables are upper case (`${NAME}`, `${NAME:-default}`), devrun's names lower case (`${branch}`)",
    )
}

fn no_number(template: &Template, name: &str) -> ConfigError {
    ConfigError::invalid(&template.at, format!("`{name}` is not an integer, so it cannot be computed with"))
        .with_fix("use `slot`, `ports.NAME`, `database.port`, or a variable that holds an integer")
}

fn missing(template: &Template, name: &str, message: Option<&str>) -> ConfigError {
    ConfigError::Variable { at: template.at.clone(), name: name.into(), message: message.map(Into::into) }
}

#[cfg(test)]
mod tests;
