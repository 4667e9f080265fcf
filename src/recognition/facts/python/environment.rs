//! Finds variables that Python code reads by name: `os.environ`, `os.getenv`, Starlette's `Config`, `decouple`,
//! `environs`, `django-environ`, and functions of the file that pass a name to one of them.

use std::collections::BTreeMap;
use std::ops::Range;

use tree_sitter::Node;

use super::code::{Arguments, PythonCode};
use crate::recognition::facts::file::FileFacts;
use crate::recognition::facts::syntax::{ancestors, children};
use crate::recognition::facts::{Load, ReadConstruct, VariableRead};

/// Functions of the standard library that return a default if a variable is missing.
const LENIENT: &[&str] = &["os.environ.get", "os.getenv", "os.environ.setdefault", "os.environ.pop"];

/// Classes of objects that read variables when they are called.
const CALLABLE: &[&str] = &[
    "starlette.config.Config",
    "decouple.Config",
    "decouple.AutoConfig",
    "environs.Env",
    "environs.FileAwareEnv",
    "environ.Env",
    "environ.FileAwareEnv",
];

/// Adds variables and env files to `facts`, and the places of default values to `defaults`.
pub(super) fn read(code: &PythonCode<'_>, facts: &mut FileFacts, defaults: &mut Vec<Range<usize>>) {
    let readers = Readers::of(code);
    for node in &code.nodes {
        match node.kind() {
            "subscript" => facts.reads.extend(subscript(code, *node)),
            "call" => {
                if let Some((read, default)) = readers.call(code, *node) {
                    facts.reads.push(read);
                    defaults.extend(default.map(|default| default.byte_range()));
                }
                facts.loads.extend(load(code, *node));
            }
            _ => {}
        }
    }
}

/// Returns the variable of `os.environ["NAME"]`, if the code reads it.
fn subscript(code: &PythonCode<'_>, node: Node<'_>) -> Option<VariableRead> {
    if code.resolved(node.child_by_field_name("value")?)? != "os.environ" {
        return None;
    }
    let name = code.string(node.child_by_field_name("subscript")?)?;
    let parent = node.parent()?;
    let written = parent.kind() == "delete_statement"
        || (matches!(parent.kind(), "assignment" | "augmented_assignment")
            && parent.child_by_field_name("left") == Some(node));
    let guarded = ancestors(node, 12).any(|outer| outer.kind() == "try_statement");
    (!written && is_name(&name)).then(|| VariableRead { required: !guarded, ..variable(code, node, name) })
}

fn variable(code: &PythonCode<'_>, node: Node<'_>, name: String) -> VariableRead {
    VariableRead {
        name,
        aliases: Vec::new(),
        at: code.spot(node),
        by: ReadConstruct::Python,
        required: false,
        default: None,
        min_length: None,
        refused: Vec::new(),
        list: false,
    }
}

fn is_name(name: &str) -> bool {
    crate::config::names::is_variable_name(name)
}

/// The names in this file that read a variable when called.
struct Readers {
    /// Objects of [`CALLABLE`] classes, and `decouple.config`.
    objects: Vec<String>,
    /// The file's own functions: the position of the name among their parameters, and the default.
    functions: BTreeMap<String, ReaderFunction>,
}

/// A function of the file that passes on the name of a variable.
#[derive(Clone, Copy)]
struct ReaderFunction {
    name: usize,
    default: Option<usize>,
    required: bool,
}

impl Readers {
    fn of(code: &PythonCode<'_>) -> Readers {
        let mut readers = Readers { objects: Vec::new(), functions: BTreeMap::new() };
        for assignment in code.of_kind("assignment") {
            let made = assignment.child_by_field_name("right").filter(|right| right.kind() == "call");
            let class = made.and_then(|call| code.resolved(call.child_by_field_name("function")?));
            if class.is_some_and(|class| CALLABLE.contains(&class.as_str())) {
                let left = assignment.child_by_field_name("left");
                readers.objects.extend(left.map(|left| code.text(left).to_string()));
            }
        }
        for function in code.of_kind("function_definition") {
            if let Some((name, own)) = own_reader(code, function) {
                readers.functions.insert(name, own);
            }
        }
        readers
    }

    /// Returns the variable that `call` reads, and the node of its default.
    fn call<'a>(&self, code: &PythonCode<'a>, call: Node<'a>) -> Option<(VariableRead, Option<Node<'a>>)> {
        let function = call.child_by_field_name("function")?;
        let resolved = code.resolved(function)?;
        let arguments = code.arguments(call);
        let first = arguments.positional.first().copied();
        let (name, default, required) = if LENIENT.contains(&resolved.as_str()) {
            let default = arguments.positional.get(1).copied().or(arguments.get("default"));
            (first.or(arguments.get("key"))?, default, false)
        } else if let Some(own) = self.functions.get(&resolved) {
            let default = own.default.and_then(|place| arguments.positional.get(place).copied());
            let default = default.or(arguments.get("default"));
            (*arguments.positional.get(own.name)?, default, own.required)
        } else if self.is_object(&resolved) {
            let default = arguments.get("default").or(arguments.positional.get(1).copied());
            // The second argument of `Config` and `environ.Env` may be the type.
            let default = default.filter(|default| default.kind() != "identifier" || arguments.computed);
            (first?, default, true)
        } else if is_imported_reader(&resolved) && first.is_some_and(|name| is_upper(code, name)) {
            let default = arguments.positional.get(1).copied().or(arguments.get("default"));
            (first?, default, false)
        } else {
            return None;
        };
        let name = code.string(name).filter(|name| is_name(name))?;
        let fallback = or_else(call);
        let given = default.filter(|default| default.kind() != "none");
        let literal = given.or(fallback);
        let read = VariableRead {
            required: required && default.is_none(),
            default: literal.and_then(|literal| code.literal(literal)),
            list: is_list(code, call, &resolved, &arguments),
            ..variable(code, call, name)
        };
        Some((read, literal))
    }

    fn is_object(&self, resolved: &str) -> bool {
        let object = resolved.split('.').next().unwrap_or(resolved);
        resolved == "decouple.config" || self.objects.iter().any(|name| name == object)
    }
}

/// Returns true for a function of another module whose name says that it reads a variable: `get_env`, `utils.env_str`. Its body is
/// in another file, so its name is the only evidence, and a call is never proof that the variable is required.
fn is_imported_reader(resolved: &str) -> bool {
    let words: Vec<&str> = resolved.rsplit_once('.').map_or("", |(_, name)| name).split('_').collect();
    words.iter().any(|word| matches!(*word, "env" | "getenv" | "environ" | "envvar"))
        && !words.iter().any(|word| matches!(*word, "set" | "del" | "delete" | "unset" | "patch" | "write"))
}

/// Returns true for a string without lower-case letters, as the names of variables are written.
fn is_upper(code: &PythonCode<'_>, name: Node<'_>) -> bool {
    code.string(name).is_some_and(|name| !name.contains(|c: char| c.is_lowercase()))
}

/// Returns the right side of `os.getenv("X") or "default"`.
fn or_else(call: Node<'_>) -> Option<Node<'_>> {
    let parent = call.parent().filter(|parent| parent.kind() == "boolean_operator")?;
    let is_or = parent.child_by_field_name("operator")?.kind() == "or";
    (is_or && parent.child_by_field_name("left") == Some(call))
        .then(|| parent.child_by_field_name("right"))
        .flatten()
}

/// Returns true if the value is split into a list: `.split(",")`, `env.list(…)`, `cast=CommaSeparatedStrings`.
fn is_list(code: &PythonCode<'_>, call: Node<'_>, resolved: &str, arguments: &Arguments<'_>) -> bool {
    let split = ancestors(call, 3).any(|outer| {
        outer.kind() == "attribute"
            && outer.child_by_field_name("attribute").is_some_and(|name| code.text(name) == "split")
    });
    let cast = arguments.get("cast").map(|cast| code.text(cast)).unwrap_or_default();
    split
        || resolved.rsplit('.').next() == Some("list")
        || cast.starts_with("Csv")
        || cast.ends_with("CommaSeparatedStrings")
}

/// Returns a function with a parameter that is the name in `os.getenv(name)` or `os.environ[name]`.
fn own_reader(code: &PythonCode<'_>, function: Node<'_>) -> Option<(String, ReaderFunction)> {
    let parameters: Vec<(&str, bool)> = children(function.child_by_field_name("parameters")?)
        .into_iter()
        .filter_map(|parameter| {
            let name = match parameter.kind() {
                "identifier" => Some(parameter),
                "typed_parameter" => parameter.named_child(0),
                _ => parameter.child_by_field_name("name"),
            }?;
            Some((code.text(name), parameter.child_by_field_name("value").is_some()))
        })
        .filter(|(name, _)| !matches!(*name, "self" | "cls"))
        .collect();
    let body = function.child_by_field_name("body")?;
    let used = |node: Node<'_>| parameters.iter().position(|(name, _)| *name == code.text(node));
    let mut found = None;
    for node in crate::recognition::facts::syntax::preorder(body) {
        let key = match node.kind() {
            "subscript" if is_environ(code, node.child_by_field_name("value")) => {
                node.child_by_field_name("subscript").map(|key| (key, true))
            }
            "call" => {
                let resolved = node.child_by_field_name("function").and_then(|name| code.resolved(name));
                let lenient = resolved.is_some_and(|name| LENIENT.contains(&name.as_str()));
                let key = node.child_by_field_name("arguments").and_then(|list| list.named_child(0));
                key.filter(|_| lenient).map(|key| (key, false))
            }
            _ => None,
        };
        if let Some((name, strict)) = key.and_then(|(key, strict)| Some((used(key)?, strict))) {
            found = Some((name, strict));
            break;
        }
    }
    let (name, strict) = found?;
    let default = parameters.iter().enumerate().position(|(place, (_, has))| place != name && *has);
    let default = default.or_else(|| {
        parameters.iter().position(|(parameter, _)| matches!(*parameter, "default" | "fallback"))
    });
    // A function that raises fails without the variable.
    let raises = code.text(body).contains("raise ");
    let own = ReaderFunction { name, default, required: strict || raises };
    Some((code.text(function.child_by_field_name("name")?).to_string(), own))
}

fn is_environ(code: &PythonCode<'_>, node: Option<Node<'_>>) -> bool {
    node.and_then(|node| code.resolved(node)).is_some_and(|name| name == "os.environ")
}

/// Returns the env file of `load_dotenv(".env")` or `Config(".env")`.
fn load(code: &PythonCode<'_>, call: Node<'_>) -> Option<Load> {
    let function = code.resolved(call.child_by_field_name("function")?)?;
    let loads = match function.as_str() {
        "dotenv.load_dotenv" | "dotenv.main.load_dotenv" | "load_dotenv" => true,
        "starlette.config.Config" => false,
        _ => return None,
    };
    let list = call.child_by_field_name("arguments")?;
    let path = children(list).into_iter().find_map(|argument| match argument.kind() {
        "keyword_argument" => {
            let name = code.text(argument.child_by_field_name("name")?);
            matches!(name, "dotenv_path" | "env_file")
                .then(|| argument.child_by_field_name("value"))
                .flatten()
        }
        _ => Some(argument),
    });
    match path {
        Some(path) => super::settings::load_of(code, path),
        None if loads => Some(Load { at: code.spot(call), file: String::new(), from_code: false }),
        None => None,
    }
}
