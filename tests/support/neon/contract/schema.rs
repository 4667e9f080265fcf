//! Checks values against schemas of `OpenAPI` 3.0. Supports the rules that Neon's description uses and panics at any other rule,
//! so that none is ignored silently.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use regex::Regex;
use serde_json::Value;

/// Rules that do not restrict values.
const REMARKS: [&str; 5] = ["default", "deprecated", "description", "example", "title"];
/// The formats of times (RFC 3339) and of operation ids (RFC 9562).
const TIME: &str = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$";
const UUID: &str = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";

/// The schemas of one description.
pub(super) struct Rules<'a> {
    document: &'a Value,
}

impl<'a> Rules<'a> {
    pub(super) fn of(document: &'a Value) -> Rules<'a> {
        Rules { document }
    }

    /// Returns the target of `$ref`, or `node` itself.
    pub(super) fn resolve(&self, mut node: &'a Value) -> &'a Value {
        while let Some(place) = node["$ref"].as_str() {
            let place = place.strip_prefix('#').unwrap();
            node = self.document.pointer(place).unwrap_or_else(|| panic!("nothing is at {place}"));
        }
        node
    }

    /// Adds the violations of `value` to `found`; `at` is the place of the value.
    pub(super) fn check(&self, schema: &'a Value, value: &Value, at: &str, found: &mut Vec<String>) {
        let schema = self.resolve(schema);
        if value.is_null() && schema["nullable"] == true {
            return;
        }
        let rules = schema.as_object().unwrap_or_else(|| panic!("{at}: no schema: {schema}"));
        for (rule, wanted) in rules {
            if self.parts(rule, wanted, value, at, found) || keeps(rule, wanted, value) {
                continue;
            }
            found.push(format!("{at}: {rule} {wanted} is not kept by {value}"));
        }
    }

    /// Checks the parts of `value`. Returns false if `rule` applies to `value` as a whole.
    fn parts(&self, rule: &str, wanted: &'a Value, value: &Value, at: &str, found: &mut Vec<String>) -> bool {
        match rule {
            "allOf" => {
                wanted.as_array().unwrap().iter().for_each(|schema| self.check(schema, value, at, found));
            }
            "properties" => {
                for (name, schema) in wanted.as_object().unwrap() {
                    if let Some(inner) = value.get(name) {
                        self.check(schema, inner, &format!("{at}.{name}"), found);
                    }
                }
            }
            // Neon's description uses this rule for maps only.
            "additionalProperties" if wanted.is_object() => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    self.check(wanted, inner, &format!("{at}.{name}"), found);
                }
            }
            "items" => {
                for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
                    self.check(wanted, inner, &format!("{at}[{index}]"), found);
                }
            }
            _ => return false,
        }
        true
    }
}

/// Returns true if `value` as a whole follows one rule. A rule for the content of another type, such as `minLength`, always holds.
fn keeps(rule: &str, wanted: &Value, value: &Value) -> bool {
    let bound = wanted.as_f64().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "lengths of names")]
    let long = |text: &str| text.chars().count() as f64;
    match rule {
        "type" => match wanted.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            other => panic!("unknown type {other}"),
        },
        "required" => {
            wanted.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some())
        }
        "enum" => wanted.as_array().unwrap().contains(value),
        "pattern" => value.as_str().is_none_or(|text| fits(wanted.as_str().unwrap(), text)),
        "minLength" => value.as_str().is_none_or(|text| long(text) >= bound),
        "maxLength" => value.as_str().is_none_or(|text| long(text) <= bound),
        "minimum" => value.as_f64().is_none_or(|number| number >= bound),
        "maximum" => value.as_f64().is_none_or(|number| number <= bound),
        "maxProperties" => value.as_object().is_none_or(|all| all.len() as u64 <= wanted.as_u64().unwrap()),
        "additionalProperties" => wanted == true,
        "format" => match wanted.as_str().unwrap() {
            "date-time" => value.as_str().is_none_or(|text| fits(TIME, text)),
            "uuid" => value.as_str().is_none_or(|text| fits(UUID, text)),
            "email" => value.as_str().is_none_or(|text| text.contains('@')),
            "int32" => value.as_i64().is_none_or(|number| i32::try_from(number).is_ok()),
            "int64" | "double" => true,
            other => panic!("unknown format {other}"),
        },
        "nullable" => true,
        _ if rule.starts_with("x-") || REMARKS.contains(&rule) => true,
        _ => panic!("unknown rule {rule}"),
    }
}

/// Returns true if `text` matches `pattern`, which is compiled once: without optimisation that takes milliseconds.
fn fits(pattern: &str, text: &str) -> bool {
    static COMPILED: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let regex = compiled.entry(pattern.into()).or_insert_with(|| Regex::new(pattern).unwrap());
    regex.is_match(text)
}
