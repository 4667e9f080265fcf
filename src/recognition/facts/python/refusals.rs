//! Finds values that the validators of a settings class, or code that guards the start, refuse: placeholders such as
//! `changethis`, and texts that are too short.

use tree_sitter::Node;

use super::code::PythonCode;
use super::constants::texts;
use crate::recognition::facts::file::FileFacts;
use crate::recognition::facts::settings::Class;
use crate::recognition::facts::syntax::{children, preorder};
use crate::recognition::facts::{ReadConstruct, VariableRead};

/// A method of the class.
#[derive(Default)]
struct Check {
    name: String,
    /// Its comparisons; empty if it does not raise.
    rules: Vec<Rule>,
    /// Fields that its decorator names.
    decorated: Vec<String>,
    /// Other methods that it calls, with the fields among their arguments.
    calls: Vec<(String, Vec<String>)>,
}

/// One comparison of a check.
struct Rule {
    /// The field that is compared; `None` for a parameter.
    field: Option<String>,
    refused: Vec<String>,
    min_length: Option<usize>,
}

/// Adds the values that the methods in `body` refuse to the fields of `class`.
pub(super) fn add(code: &PythonCode<'_>, body: Node<'_>, class: &mut Class) {
    let checks: Vec<Check> = children(body).into_iter().filter_map(|node| check(code, node, class)).collect();
    for check in &checks {
        let calls = checks.iter().flat_map(|caller| &caller.calls);
        let passed = calls.filter(|(name, _)| *name == check.name).flat_map(|(_, fields)| fields);
        let about: Vec<&String> = check.decorated.iter().chain(passed).collect();
        for field in &mut class.fields {
            let applies = |rule: &&Rule| match &rule.field {
                Some(name) => *name == field.name,
                None => about.contains(&&field.name),
            };
            for rule in check.rules.iter().filter(applies) {
                field.min_length = field.min_length.max(rule.min_length);
                for refused in &rule.refused {
                    if !field.refused.contains(refused) {
                        field.refused.push(refused.clone());
                    }
                }
            }
        }
    }
}

fn check(code: &PythonCode<'_>, node: Node<'_>, class: &Class) -> Option<Check> {
    let (decorators, function) = match node.kind() {
        "decorated_definition" => (
            children(node).into_iter().filter(|child| child.kind() == "decorator").collect(),
            node.child_by_field_name("definition")?,
        ),
        _ => (Vec::new(), node),
    };
    if function.kind() != "function_definition" {
        return None;
    }
    let is_field = |name: &String| class.fields.iter().any(|field| field.name == *name);
    let strings = |node: Node<'_>| -> Vec<String> {
        preorder(node)
            .into_iter()
            .filter_map(|node| code.string(node))
            .filter(|name| is_field(name))
            .collect()
    };
    let mut check = Check {
        name: code.text(function.child_by_field_name("name")?).into(),
        decorated: decorators.into_iter().flat_map(strings).collect(),
        ..Check::default()
    };
    let nodes = preorder(function.child_by_field_name("body")?);
    let raises = nodes.iter().any(|node| node.kind() == "raise_statement");
    for node in &nodes {
        match node.kind() {
            "comparison_operator" if raises => check.rules.extend(compare(code, *node, &own_field)),
            "call" => {
                let name = node.child_by_field_name("function").and_then(|name| code.last_name(name));
                let fields = preorder(*node).into_iter().filter_map(|inner| own_field(code, inner));
                check.calls.extend(name.map(|name| (name, fields.filter(is_field).collect())));
            }
            _ => {}
        }
    }
    Some(check)
}

/// Adds a reader for each secret of a settings object that code outside the class refuses, as in
/// `if len(settings.secret_key) < 32: raise …`.
pub(super) fn guards(code: &PythonCode<'_>, facts: &mut FileFacts) {
    for guard in code.of_kind("if_statement") {
        let raises = guard
            .child_by_field_name("consequence")
            .is_some_and(|block| preorder(block).iter().any(|node| node.kind() == "raise_statement"));
        let Some(condition) = guard.child_by_field_name("condition").filter(|_| raises) else { continue };
        for node in preorder(condition).into_iter().filter(|node| node.kind() == "comparison_operator") {
            let Some(Rule { field: Some(field), refused, min_length }) =
                compare(code, node, &field_of_settings)
            else {
                continue;
            };
            facts.reads.push(VariableRead {
                name: field.to_uppercase(),
                aliases: Vec::new(),
                at: code.spot(node),
                by: ReadConstruct::Settings,
                required: false,
                default: None,
                min_length,
                refused,
                list: false,
            });
        }
    }
}

/// Returns the name of the field that an expression reads.
type FieldLookup = dyn Fn(&PythonCode<'_>, Node<'_>) -> Option<String>;

/// Reads `value == "changethis"`, `value in {"a", "b"}` or `len(value) < 32`.
fn compare(code: &PythonCode<'_>, node: Node<'_>, field: &FieldLookup) -> Option<Rule> {
    let parts = children(node);
    let [left, right] = parts.as_slice() else { return None };
    let operator = code.source.get(left.end_byte()..right.start_byte())?.trim();
    // `self.X`, `self.X.get_secret_value()`, `len(self.X)`.
    let field = preorder(*left).into_iter().find_map(|inner| field(code, inner));
    // `self.ENVIRONMENT == "production"` is only a condition, so a field counts only if its name is that of a secret.
    if field.as_deref().is_some_and(|name| !is_secret(name)) {
        return None;
    }
    match operator {
        "==" | "in" => {
            let refused: Vec<String> =
                texts(code, *right).into_iter().filter(|text| !text.is_empty()).collect();
            (!refused.is_empty()).then_some(Rule { field, refused, min_length: None })
        }
        "<" if code.text(*left).starts_with("len(") => {
            let length = match right.kind() {
                "identifier" => code.text(super::constants::value_of(code, code.text(*right))?),
                _ => code.text(*right),
            };
            Some(Rule { field, refused: Vec::new(), min_length: Some(length.parse().ok()?) })
        }
        _ => None,
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["secret", "key", "password", "token", "salt"].iter().any(|word| name.contains(word))
}

/// Returns `NAME` of `settings.NAME`, `app_config.NAME`, `get_settings().NAME`.
fn field_of_settings(code: &PythonCode<'_>, node: Node<'_>) -> Option<String> {
    let object = (node.kind() == "attribute").then(|| node.child_by_field_name("object")).flatten()?;
    let object = match object.kind() {
        "call" => object.child_by_field_name("function")?,
        _ => object,
    };
    let name = code.dotted(object)?.to_ascii_lowercase();
    let name = name.rsplit('.').next()?;
    (name.contains("settings") || name.contains("config"))
        .then(|| node.child_by_field_name("attribute"))
        .flatten()
        .map(|name| code.text(name).into())
}

/// Returns `NAME` of `self.NAME`.
fn own_field(code: &PythonCode<'_>, node: Node<'_>) -> Option<String> {
    let object = (node.kind() == "attribute").then(|| node.child_by_field_name("object")).flatten()?;
    (code.text(object) == "self")
        .then(|| node.child_by_field_name("attribute"))
        .flatten()
        .map(|name| code.text(name).into())
}
