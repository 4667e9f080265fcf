//! Reads pydantic settings classes in the form that the file defines them.

use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use tree_sitter::Node;

use super::code::{PythonCode, statements_of};
use super::refusals;
use crate::recognition::facts::Load;
use crate::recognition::facts::file::FileFacts;
use crate::recognition::facts::settings::{Class, ClassConfig, SettingsField};
use crate::recognition::facts::syntax::{children, preorder};

/// Types of lists.
const LISTS: &[&str] =
    &["list", "List", "set", "Set", "tuple", "Tuple", "Sequence", "frozenset", "FrozenSet"];

/// Adds classes and their env files to `facts`, and the places of default values to `defaults`.
pub(super) fn read(code: &PythonCode<'_>, facts: &mut FileFacts, defaults: &mut Vec<Range<usize>>) {
    for definition in code.of_kind("class_definition") {
        let Some(name) = definition.child_by_field_name("name") else { continue };
        let Some(body) = definition.child_by_field_name("body") else { continue };
        let mut class = Class { name: code.text(name).into(), ..Class::default() };
        let mut configuration = Configuration::default();
        for base in definition.child_by_field_name("superclasses").map(children).unwrap_or_default() {
            match base.kind() {
                "keyword_argument" => configuration.pair(code, base, "name"),
                _ => class.bases.extend(code.last_name(base)),
            }
        }
        if class.bases.is_empty() {
            continue;
        }
        for statement in statements_of(body) {
            configuration.statement(code, statement);
            if let Some(assignment) = assignment_of(statement)
                && let Some(field) = field(code, assignment, configuration.is_first_version())
            {
                class.fields.push(field);
                defaults.extend(assignment.child_by_field_name("right").map(|right| right.byte_range()));
            }
        }
        refusals::add(code, body, &mut class);
        class.config = configuration.config;
        facts.loads.extend(configuration.loads);
        facts.classes.push(class);
    }
}

fn assignment_of(statement: Node<'_>) -> Option<Node<'_>> {
    let inner = (statement.kind() == "expression_statement").then(|| statement.named_child(0)).flatten()?;
    (inner.kind() == "assignment").then_some(inner)
}

/// The configuration from `model_config = SettingsConfigDict(…)`, `class Config:` or the arguments of the class.
#[derive(Default)]
struct Configuration {
    config: ClassConfig,
    loads: Vec<Load>,
    second_version: bool,
}

impl Configuration {
    fn is_first_version(&self) -> bool {
        !self.second_version
    }

    fn statement(&mut self, code: &PythonCode<'_>, statement: Node<'_>) {
        if let Some(assignment) = assignment_of(statement) {
            let left = assignment.child_by_field_name("left").map(|left| code.text(left));
            let Some(value) = assignment.child_by_field_name("right") else { return };
            if left == Some("model_config") {
                self.second_version = true;
                let (pairs, key) = match value.kind() {
                    "call" => (value.child_by_field_name("arguments").map(children), "name"),
                    _ => (Some(children(value)), "key"),
                };
                for pair in pairs.unwrap_or_default() {
                    self.pair(code, pair, key);
                }
            }
        } else if statement.kind() == "class_definition"
            && statement.child_by_field_name("name").is_some_and(|name| code.text(name) == "Config")
            && let Some(body) = statement.child_by_field_name("body")
        {
            for inner in statements_of(body) {
                if let Some(assignment) = assignment_of(inner) {
                    let name = assignment.child_by_field_name("left").map(|left| code.text(left));
                    let value = assignment.child_by_field_name("right");
                    if let (Some(name), Some(value)) = (name, value) {
                        self.set(code, name, value);
                    }
                }
            }
        }
    }

    /// Reads `env_prefix="X_"` of a call, or `"env_prefix": "X_"` of a dictionary.
    fn pair(&mut self, code: &PythonCode<'_>, pair: Node<'_>, key: &str) {
        let Some(name) = pair.child_by_field_name(key) else { return };
        let name = code.string(name).unwrap_or_else(|| code.text(name).into());
        if let Some(value) = pair.child_by_field_name("value") {
            self.set(code, &name, value);
        }
    }

    fn set(&mut self, code: &PythonCode<'_>, name: &str, value: Node<'_>) {
        match name {
            "env_prefix" => self.config.prefix = code.string(value),
            "env_nested_delimiter" => self.config.nested_delimiter = code.string(value),
            "case_sensitive" => self.config.case_sensitive = Some(value.kind() == "true"),
            "env_file" => match value.kind() {
                "tuple" | "list" => {
                    self.loads.extend(children(value).into_iter().filter_map(|item| load_of(code, item)));
                }
                _ => self.loads.extend(load_of(code, value)),
            },
            _ => {}
        }
    }
}

/// Returns the env file that an expression names: a literal, or a path built from the location of the code.
pub(super) fn load_of(code: &PythonCode<'_>, value: Node<'_>) -> Option<Load> {
    let value = match value.kind() {
        "identifier" => super::constants::value_of(code, code.text(value)).unwrap_or(value),
        _ => value,
    };
    let at = code.spot(value);
    if let Some(file) = code.string(value) {
        return Some(Load { at, file, from_code: false });
    }
    let file = from_code(code, value, 12)?;
    Some(Load { at, file: file.to_str()?.into(), from_code: true })
}

/// Follows `Path(__file__).resolve().parent.parent / ".env"`, `str(…)` around it, and module constants in it.
fn from_code(code: &PythonCode<'_>, node: Node<'_>, depth: usize) -> Option<PathBuf> {
    let depth = depth.checked_sub(1)?;
    let field = |name: &str| node.child_by_field_name(name);
    match node.kind() {
        "identifier" if code.text(node) == "__file__" => Some(code.file.into()),
        "identifier" => from_code(code, super::constants::value_of(code, code.text(node))?, depth),
        "binary_operator" => {
            let right = code.string(field("right")?)?;
            Some(normalised(&from_code(code, field("left")?, depth)?.join(right)))
        }
        "attribute" if code.text(field("attribute")?) == "parent" => {
            from_code(code, field("object")?, depth)?.parent().map(Path::to_path_buf)
        }
        "subscript" => {
            let parents = field("value")?;
            let is_parents = parents.kind() == "attribute"
                && code.text(parents.child_by_field_name("attribute")?) == "parents";
            let count: usize = code.text(field("subscript")?).parse().ok()?;
            let path = from_code(code, parents.child_by_field_name("object").filter(|_| is_parents)?, depth)?;
            path.ancestors().nth(count + 1).map(Path::to_path_buf)
        }
        "call" => {
            let function = field("function")?;
            let arguments = code.arguments(node).positional;
            let name = code.last_name(function);
            match (name.as_deref(), arguments.as_slice()) {
                (Some("Path" | "str" | "abspath" | "realpath"), [inner]) => from_code(code, *inner, depth),
                (Some("dirname"), [inner]) => from_code(code, *inner, depth)?.parent().map(Path::to_path_buf),
                (Some("join"), [first, rest @ ..]) => {
                    let mut path = from_code(code, *first, depth)?;
                    for part in rest {
                        path.push(code.string(*part)?);
                    }
                    Some(normalised(&path))
                }
                // `.resolve()`, `.absolute()`.
                (_, []) if function.kind() == "attribute" => {
                    from_code(code, function.child_by_field_name("object")?, depth)
                }
                _ => None,
            }
        }
        "parenthesized_expression" => from_code(code, node.named_child(0)?, depth),
        _ => None,
    }
}

/// Returns the path without `.` and `..`.
fn normalised(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(result.pop()),
            other => result.push(other),
        }
    }
    result
}

fn field(code: &PythonCode<'_>, assignment: Node<'_>, first_version: bool) -> Option<SettingsField> {
    let name = code.text(assignment.child_by_field_name("left").filter(|left| left.kind() == "identifier")?);
    let declared = assignment.child_by_field_name("type")?;
    let words: Vec<&str> = preorder(declared)
        .into_iter()
        .filter(|node| node.kind() == "identifier")
        .map(|node| code.text(node))
        .collect();
    if name.starts_with('_') || name == "model_config" || words.contains(&"ClassVar") {
        return None;
    }
    let value = assignment.child_by_field_name("right");
    let optional = words.contains(&"Optional") || preorder(declared).iter().any(|node| node.kind() == "none");
    let mut field = SettingsField {
        name: name.into(),
        at: code.spot(assignment),
        aliases: Vec::new(),
        required: value.is_none() && !(optional && first_version),
        default: value.and_then(|value| code.literal(value)),
        min_length: None,
        refused: Vec::new(),
        list: words.iter().any(|word| LISTS.contains(word)),
        types: Vec::new(),
    };
    let is_class = |word: &&&str| word.starts_with(|c: char| c.is_ascii_uppercase());
    field.types = words.iter().filter(is_class).map(|word| (*word).to_string()).collect();
    let in_type = preorder(declared).into_iter().filter(|node| node.kind() == "call");
    for call in in_type.chain(value.filter(|value| value.kind() == "call")) {
        constrain(code, call, &mut field, Some(call) == value);
    }
    Some(field)
}

/// Reads the minimum length and the names from `Field(…)`, `StringConstraints(…)` or `constr(…)`, and the default too if the call is
/// the value of the field.
fn constrain(code: &PythonCode<'_>, call: Node<'_>, field: &mut SettingsField, is_value: bool) {
    let function = call.child_by_field_name("function").and_then(|function| code.last_name(function));
    if !matches!(function.as_deref(), Some("Field" | "StringConstraints" | "constr")) {
        return;
    }
    let arguments = code.arguments(call);
    if let Some(length) = arguments.get("min_length") {
        field.min_length = code.text(length).parse().ok();
    }
    for key in ["validation_alias", "alias", "env"] {
        if let Some(names) = arguments.get(key).filter(|_| field.aliases.is_empty()) {
            field.aliases = names_of(code, names);
        }
    }
    if is_value {
        let default = arguments.get("default").or(arguments.positional.first().copied());
        let given = default.filter(|default| default.kind() != "ellipsis");
        let made = arguments.get("default_factory").is_some();
        field.required = given.is_none() && !made;
        field.default = given.and_then(|given| code.literal(given));
    }
}

/// Returns the names in `"A"`, `["A", "B"]` or `AliasChoices("A", "B")`.
fn names_of(code: &PythonCode<'_>, node: Node<'_>) -> Vec<String> {
    let inner = match node.kind() {
        "call" => node.child_by_field_name("arguments").map(children).unwrap_or_default(),
        "list" | "tuple" | "set" => children(node),
        _ => vec![node],
    };
    inner.into_iter().filter_map(|name| code.string(name)).collect()
}
