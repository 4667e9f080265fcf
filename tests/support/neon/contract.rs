//! Checks requests and answers against Neon's own description of its API, which is in Neon's npm package
//! `@neondatabase/api-client`.
//!
//! `scripts/tools --tests` downloads the description; it is never part of this project. Without it, nothing is checked.

mod schema;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;

use self::schema::Rules;

/// Pattern of the description's path, below the project.
const PACKAGE: &str = ".tools/neon-*/node_modules/@neondatabase/api-client/public-v2-for-users.gen.yaml";

/// One request and its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) method: &'a str,
    /// The path below the API's address.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    /// `Null` for a request without a body.
    pub(crate) body: &'a Value,
    pub(crate) status: u16,
    pub(crate) answer: &'a str,
}

/// The parsed description.
pub(crate) struct Contract {
    document: Value,
}

impl Contract {
    /// Returns the downloaded description, or `None` without one.
    pub(crate) fn fetched() -> Option<&'static Contract> {
        static FETCHED: LazyLock<Option<Contract>> = LazyLock::new(|| {
            let text = std::fs::read_to_string(place()?).unwrap();
            let document = serde_saphyr::from_str(&text).unwrap();
            Some(Contract { document })
        });
        FETCHED.as_ref()
    }

    /// Returns a line for each violation of the description in `exchange`.
    pub(crate) fn breaches(&self, exchange: &Exchange) -> Vec<String> {
        let Exchange { method, path, query, body, status, answer } = *exchange;
        let rules = Rules::of(&self.document);
        let mut found = Vec::new();
        match self.operation(method, path) {
            Some((shared, operation)) => {
                questions(&rules, [shared, operation], query, status, &mut found);
                asked(&rules, operation, body, &mut found);
                answered(&rules, operation, status, answer, &mut found);
            }
            None => found.push("there is no such call".into()),
        }
        found.into_iter().map(|breach| format!("{method} {path} -> {status}: {breach}")).collect()
    }

    /// Returns the entry of a path in the description, and that of this method.
    fn operation(&self, method: &str, path: &str) -> Option<(&Value, &Value)> {
        let parts: Vec<&str> = path.split('/').collect();
        let fits = |known: &str| {
            let known: Vec<&str> = known.split('/').collect();
            let same = |(known, part): (&&str, &&str)| known == part || known.starts_with('{');
            known.len() == parts.len() && known.iter().zip(&parts).all(same)
        };
        let paths = self.document["paths"].as_object().unwrap();
        let fitting = paths.iter().filter(|(known, _)| fits(known));
        // A path with fewer placeholders is the better match.
        let (_, item) = fitting.min_by_key(|(known, _)| known.matches('{').count())?;
        Some((item, item.get(method.to_ascii_lowercase())?))
    }
}

/// Returns the path of the downloaded description; of several, the last in alphabetical order.
fn place() -> Option<PathBuf> {
    let pattern = Path::new(env!("CARGO_MANIFEST_DIR")).join(PACKAGE);
    glob::glob(pattern.to_str().unwrap()).unwrap().flatten().last()
}

fn questions(rules: &Rules, levels: [&Value; 2], query: &str, status: u16, found: &mut Vec<String>) {
    let known = levels.into_iter().filter_map(|level| level["parameters"].as_array()).flatten();
    let known: Vec<&Value> = known.map(|known| rules.resolve(known)).filter(|k| k["in"] == "query").collect();
    let asked: Vec<(&str, String)> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| {
            (name, percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
        })
        .collect();
    for (name, text) in &asked {
        match known.iter().find(|known| known["name"] == *name) {
            Some(known) => {
                let schema = rules.resolve(&known["schema"]);
                let value = match schema["type"].as_str() {
                    Some("integer" | "number" | "boolean") => {
                        serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into())
                    }
                    _ => text.as_str().into(),
                };
                rules.check(schema, &value, &format!("?{name}"), found);
            }
            None => found.push(format!("unknown parameter ?{name}")),
        }
    }
    for known in known.into_iter().filter(|known| known["required"] == true && status < 400) {
        let name = known["name"].as_str().unwrap_or_default();
        if asked.iter().all(|(asked, _)| *asked != name) {
            found.push(format!("?{name} is missing"));
        }
    }
}

fn asked(rules: &Rules, operation: &Value, body: &Value, found: &mut Vec<String>) {
    match operation.get("requestBody").map(|wanted| rules.resolve(wanted)) {
        Some(wanted) if !body.is_null() => {
            rules.check(&wanted["content"]["application/json"]["schema"], body, "request", found);
        }
        Some(wanted) if wanted["required"] == true => found.push("the request has no body".into()),
        None if !body.is_null() => found.push("the request may not have a body".into()),
        Some(_) | None => {}
    }
}

fn answered(rules: &Rules, operation: &Value, status: u16, answer: &str, found: &mut Vec<String>) {
    let all = &operation["responses"];
    let Some(wanted) = all.get(status.to_string()).or_else(|| all.get("default")) else {
        return found.push("there is no such answer".into());
    };
    match rules.resolve(wanted).get("content") {
        Some(content) => match serde_json::from_str(answer) {
            Ok(value) => rules.check(&content["application/json"]["schema"], &value, "answer", found),
            Err(error) => found.push(format!("the answer is no JSON: {error}")),
        },
        None if !answer.is_empty() => found.push("the answer may not have a body".into()),
        None => {}
    }
}
