//! Writes devrun.yaml(5) from the descriptions of the keys, which the parser of the file uses too.

use roff::{Inline, Roff, bold, italic, roman};

use crate::config::error::SMALLEST;
use crate::config::key_types::{ConfigKey, NameRule, TableForm, ValueForm};
use crate::config::keys::TOP;

pub(super) fn text() -> String {
    let mut page = Roff::new();
    let title = ["devrun.yaml", "5", "", concat!("devrun ", env!("CARGO_PKG_VERSION")), "devrun"];
    page.control("TH", title);
    page.control("SH", ["NAME"]);
    page.text([roman("devrun.yaml - the stack of a repository, for devrun(1)")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "The file lies at the top of a worktree. devrun adds to it what it recognises in the repository, so that a file \
         needs only the differences. An unknown key is an error. Every key may be left out. A single value may stand \
         where a list is expected.",
    )]);
    page.control("PP", []);
    page.text([roman("The smallest file:")]);
    page.control("PP", []);
    page.control("nf", []);
    page.text([roman(SMALLEST.trim_end())]);
    page.control("fi", []);
    page.control("SH", ["VALUES"]);
    page.text([roman(
        "A value may contain environment variables (${NAME}, ${NAME:-default}) and values of devrun: ${branch}, ${slug}, \
         ${slot}, ${worktree}, ${ports.NAME}, ${database.url}, ${secret.NAME}. $$ is a dollar sign. Nothing is replaced \
         in commands and folders: a shell expands $PORT itself. Durations are a whole number and a unit: 250ms, 5s, 2m, \
         1h, 7d.",
    )]);
    section(&mut page, "", &TOP);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("devrun"), roman("(1), "), roman("devrun help configuration")]);
    page.to_roff()
}

/// Writes the keys of a table, then those of the tables inside it.
fn section(page: &mut Roff, path: &str, table: &TableForm) {
    let title = if path.is_empty() { "KEYS".to_string() } else { format!("KEYS OF {path}") };
    page.control("SH", [title.as_str()]);
    for key in table.keys() {
        page.control("TP", []);
        page.text([bold(key.name), roman(": "), italic(form_words(&key.form))]);
        page.text(description(key));
    }
    for key in table.keys() {
        let inner = if path.is_empty() { key.name.to_string() } else { format!("{path}.{}", key.name) };
        sections_of(page, &inner, &key.form);
    }
}

fn description(key: &ConfigKey) -> Vec<Inline> {
    let mut parts = vec![roman(key.about)];
    if !key.default.is_empty() {
        parts.extend([roman(" Default: "), bold(key.default), roman(".")]);
    }
    parts
}

fn sections_of(page: &mut Roff, path: &str, form: &ValueForm) {
    match form {
        ValueForm::Table(table) => section(page, path, table),
        ValueForm::Map(_, inner) => sections_of(page, &format!("{path}.NAME"), inner),
        ValueForm::List(inner) | ValueForm::Filled(inner) | ValueForm::OrNothing(inner) => {
            sections_of(page, path, inner);
        }
        ValueForm::AnyOf(forms) => forms.iter().for_each(|form| sections_of(page, path, form)),
        _ => {}
    }
}

/// Returns a form in a few words.
fn form_words(form: &ValueForm) -> String {
    match form {
        ValueForm::Text | ValueForm::Template => "text".into(),
        ValueForm::Word(words) => words.join(" | "),
        ValueForm::Flag => "true | false".into(),
        ValueForm::True => "true".into(),
        ValueForm::Number(least, most) => format!("number from {least} to {most}"),
        ValueForm::Duration | ValueForm::PositiveDuration => "duration".into(),
        ValueForm::Size => "size, such as 10MiB".into(),
        ValueForm::HttpStatus => "status | any".into(),
        ValueForm::HttpPath => "path of a URL".into(),
        ValueForm::Signal => "signal, such as TERM".into(),
        ValueForm::ComputeUnits => "number or range".into(),
        ValueForm::Variable => "name of a variable".into(),
        ValueForm::VariablePattern => "name of a variable, or a pattern".into(),
        ValueForm::UrlScheme => "scheme, such as postgresql+asyncpg".into(),
        ValueForm::Path => "path in the worktree".into(),
        ValueForm::Pattern => "pattern".into(),
        ValueForm::ShellLine => "command".into(),
        ValueForm::Command => "command: text for a shell, or a list".into(),
        ValueForm::List(inner) => format!("list of: {}", form_words(inner)),
        ValueForm::Filled(inner) | ValueForm::OrNothing(inner) => form_words(inner),
        ValueForm::Map(names, inner) => format!("map from {} to: {}", name_words(*names), form_words(inner)),
        ValueForm::AnyOf(forms) => forms.iter().map(form_words).collect::<Vec<_>>().join(", or "),
        ValueForm::Table(_) => "keys, see below".into(),
    }
}

fn name_words(names: NameRule) -> &'static str {
    match names {
        NameRule::Any | NameRule::Name => "names",
        NameRule::PortName => "names of ports",
        NameRule::PortNumber => "port numbers",
        NameRule::Variable => "variables",
        NameRule::Path => "files",
    }
}
