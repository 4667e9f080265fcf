//! Writes the JSON Schema of devrun.yaml from the descriptions of its keys.
//!
//! The schema accepts every file that the reader accepts. Where a rule needs several places of the file (a port that is not
//! defined, a circle), or more than a regular expression, it accepts more. Draft 7, because editors know that draft.

use nix::sys::signal::Signal;
use serde_json::{Map, Value, json};

use crate::config::key_types::{NameRule, TableForm, ValueForm};
use crate::config::keys::TOP;

/// The types of a single value in YAML. devrun reads numbers and booleans as the text that was written.
const SCALAR: [&str; 3] = ["string", "number", "boolean"];
/// A text with at least one character that is no blank.
const FILLED: &str = r"\S";
const VARIABLE: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
const VARIABLE_PATTERN: &str = r"^\s*[A-Za-z0-9_*]+\s*$";
/// No absolute path, and none that begins by leaving its folder.
const INNER_PATH: &str = r"^\s*(?!\.\.(/|\s*$))[^/\s]";

/// Returns the schema.
pub fn document() -> Value {
    let mut schema = Map::new();
    schema.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
    schema.insert("title".into(), json!("devrun.yaml"));
    schema.extend(table(&TOP));
    schema.insert("type".into(), json!("object"));
    schema.into()
}

/// Returns the keywords for a mapping with fixed keys.
fn table(form: &TableForm) -> Map<String, Value> {
    let property = |key: &crate::config::key_types::ConfigKey| {
        let mut schema = with_types(keywords(&key.form), &["null"]);
        let default =
            if key.default.is_empty() { String::new() } else { format!(" Default: {}.", key.default) };
        let about = format!("{}{default}", key.about);
        schema.insert("description".into(), json!(about));
        (key.name.to_string(), Value::Object(schema))
    };
    let mut schema = types(&["object"]);
    schema.insert("properties".into(), form.keys().map(property).collect::<Map<_, _>>().into());
    if form.has_extensions {
        schema.insert("patternProperties".into(), json!({ "^x-": {} }));
    }
    schema.insert("additionalProperties".into(), json!(false));
    let rules: Vec<Value> = form
        .exclusions
        .iter()
        .flat_map(|(key, others)| others.iter().map(|other| not_both(key, other)))
        .collect();
    if !rules.is_empty() {
        schema.insert("allOf".into(), rules.into());
    }
    schema
}

/// Excludes two keys that both have a value.
fn not_both(one: &str, other: &str) -> Value {
    let has_value = json!({ "not": { "enum": [null, {}] } });
    json!({ "not": { "type": "object", "required": [one, other], "properties": { one: has_value, other: has_value } } })
}

fn types(names: &[&str]) -> Map<String, Value> {
    [("type".to_string(), json!(names))].into_iter().collect()
}

/// Adds types to those that a schema allows. `enum` holds for every type, so it gets the null that the type allows.
fn with_types(mut schema: Map<String, Value>, added: &[&str]) -> Map<String, Value> {
    if let Some(Value::Array(known)) = schema.get_mut("type") {
        for name in added.iter().map(|name| json!(name)) {
            if !known.contains(&name) {
                known.push(name);
            }
        }
    }
    if let (Some(Value::Array(words)), true) = (schema.get_mut("enum"), added.contains(&"null"))
        && !words.contains(&Value::Null)
    {
        words.push(Value::Null);
    }
    schema
}

/// Returns the keywords for a text that matches `pattern`, or a value of one of the types `others`.
fn text(pattern: &str, others: &[&str]) -> Map<String, Value> {
    let mut schema = with_types(types(&["string"]), others);
    schema.insert("pattern".into(), json!(pattern));
    schema
}

/// Returns a pattern for `inner` between blanks.
fn trimmed(inner: &str) -> String {
    format!(r"^\s*({inner})\s*$")
}

/// Returns the keywords for a form. Each keyword beside `type` restricts the values of one type only, so that one schema can
/// contain the keywords of several forms. Editors have better messages for one schema than for alternatives.
fn keywords(form: &ValueForm) -> Map<String, Value> {
    match form {
        ValueForm::Text => text(FILLED, &SCALAR),
        ValueForm::Template => types(&SCALAR),
        ValueForm::Word(words) => word(words),
        ValueForm::Flag => {
            let words: Vec<String> =
                ["true", "yes", "on", "false", "no", "off"].into_iter().map(in_either_case).collect();
            text(&trimmed(&words.join("|")), &["boolean"])
        }
        ValueForm::True => text(&trimmed(&["true", "yes", "on"].map(in_either_case).join("|")), &["boolean"])
            .into_iter()
            .chain([("not".to_string(), json!({ "enum": [false] }))])
            .collect(),
        ValueForm::Number(least, most) => {
            let mut schema = text(&trimmed(r"\+?[0-9]+"), &["integer"]);
            schema.insert("minimum".into(), json!(least));
            schema.insert("maximum".into(), json!(most));
            schema
        }
        ValueForm::Duration => text(&trimmed("[0-9]+(ms|s|m|h|d)"), &[]),
        ValueForm::PositiveDuration => text(&trimmed("0*[1-9][0-9]*(ms|s|m|h|d)"), &[]),
        ValueForm::Size => text(&trimmed(r"\+?0*[1-9][0-9]*\s*(MiB|GiB)"), &[]),
        ValueForm::HttpStatus => {
            let mut schema = text(&trimmed(r"any|\+?0*[1-5][0-9][0-9]"), &["integer"]);
            schema.insert("minimum".into(), json!(100));
            schema.insert("maximum".into(), json!(599));
            schema
        }
        ValueForm::HttpPath => text(r"^\s*/\S*\s*$", &[]),
        ValueForm::Signal => {
            let names =
                Signal::iterator().map(|signal| in_either_case(signal.as_str().trim_start_matches("SIG")));
            let names: Vec<String> = names.collect();
            text(&trimmed(&format!("({})?({})", in_either_case("SIG"), names.join("|"))), &[])
        }
        ValueForm::ComputeUnits => {
            let mut schema = text(&trimmed(r"[0-9.]+(-[0-9.]+)?"), &["number"]);
            schema.insert("minimum".into(), json!(0.25));
            schema
        }
        ValueForm::Variable => text(&trimmed("[A-Za-z_][A-Za-z0-9_]*"), &["boolean"]),
        ValueForm::VariablePattern => {
            let mut schema = text(VARIABLE_PATTERN, &["integer", "boolean"]);
            schema.insert("minimum".into(), json!(0));
            schema
        }
        ValueForm::UrlScheme => text(
            &trimmed(
                r"(postgres|postgresql)(\+[A-Za-z0-9_]+)?(\?[A-Za-z0-9_=&%.+:/~@-]*)?|\?[A-Za-z0-9_=&%.+:/~@-]*",
            ),
            &[],
        ),
        ValueForm::Path => text(INNER_PATH, &SCALAR),
        ValueForm::Pattern => text(r"^\s*[^/\s]", &SCALAR),
        ValueForm::ShellLine => {
            let mut schema = text(FILLED, &SCALAR);
            schema.insert("not".into(), json!({ "enum": [false, "false"] }));
            schema
        }
        ValueForm::Command => {
            let mut schema = with_types(text(FILLED, &SCALAR), &["array"]);
            schema.insert("minItems".into(), json!(1));
            schema.insert("items".into(), json!([{ "type": SCALAR, "minLength": 1 }]));
            schema.insert("additionalItems".into(), json!({ "type": SCALAR }));
            schema
        }
        ValueForm::List(item) => {
            let mut schema = keywords(item);
            let of_item = schema.clone();
            // `enum` would hold for the list too.
            if let Some(words) = schema.remove("enum") {
                schema.insert("pattern".into(), json!(pattern_of(&words)));
            }
            schema = with_types(schema, &["array", "null"]);
            schema.insert("items".into(), of_item.into());
            schema
        }
        ValueForm::Filled(inner) => {
            let mut schema = keywords(inner);
            schema.insert("minItems".into(), json!(1));
            schema.insert("minProperties".into(), json!(1));
            schema
        }
        ValueForm::Map(names, value) => map(*names, value),
        ValueForm::OrNothing(inner) => with_types(keywords(inner), &["null"]),
        ValueForm::AnyOf(forms) => forms.iter().map(keywords).reduce(merged).unwrap_or_default(),
        ValueForm::Table(form) => table(form),
    }
}

/// Returns the keywords for one of `words`. YAML reads some words as other values: `null`, `false`.
fn word(words: &[&str]) -> Map<String, Value> {
    let mut all: Vec<Value> = words.iter().map(|word| json!(word)).collect();
    let mut schema = types(&["string"]);
    for (word, value, name) in
        [("null", Value::Null, "null"), ("false", json!(false), "boolean"), ("true", json!(true), "boolean")]
    {
        if words.contains(&word) {
            all.push(value);
            schema = with_types(schema, &[name]);
        }
    }
    schema.insert("enum".into(), all.into());
    schema
}

fn pattern_of(words: &Value) -> String {
    let words: Vec<&str> = words.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    trimmed(&words.join("|"))
}

fn map(names: NameRule, value: &ValueForm) -> Map<String, Value> {
    let mut schema = types(&["object"]);
    let pattern = match names {
        NameRule::Any => None,
        NameRule::Name => Some("^[A-Za-z0-9_-]{1,40}$"),
        NameRule::PortName => Some("^[A-Za-z][A-Za-z0-9_-]{0,39}$"),
        NameRule::PortNumber => Some("^\\+?0*[1-9][0-9]{0,4}$"),
        NameRule::Variable => Some(VARIABLE),
        NameRule::Path => Some(INNER_PATH),
    };
    if let Some(pattern) = pattern {
        schema.insert("propertyNames".into(), json!({ "pattern": pattern }));
    }
    schema.insert("additionalProperties".into(), keywords(value).into());
    schema
}

/// Joins the schemas of two forms whose values have different types.
fn merged(mut one: Map<String, Value>, other: Map<String, Value>) -> Map<String, Value> {
    for (keyword, value) in other {
        match (keyword.as_str(), one.get_mut(&keyword), value) {
            ("type", Some(Value::Array(known)), Value::Array(added)) => {
                let added: Vec<Value> = added.into_iter().filter(|name| !known.contains(name)).collect();
                known.extend(added);
            }
            (_, _, value) => {
                one.insert(keyword, value);
            }
        }
    }
    one
}

/// Returns a pattern for `word` in upper and lower case, because the patterns of JSON Schema have no option for that.
fn in_either_case(word: &str) -> String {
    let either = |c: char| match (c.to_ascii_lowercase(), c.to_ascii_uppercase()) {
        (lower, upper) if lower == upper => c.to_string(),
        (lower, upper) => format!("[{lower}{upper}]"),
    };
    word.chars().map(either).collect()
}

#[cfg(test)]
pub mod tests;
