//! Finds variables that code reads by name: `process.env.X`, `import.meta.env.X`, destructuring, and imports of
//! `SvelteKit` and Astro.

use std::collections::BTreeMap;
use std::ops::Range;

use tree_sitter::Node;

use super::code::{ScriptCode, arguments, is_name};
use crate::recognition::facts::file::FileFacts;
use crate::recognition::facts::syntax::{ancestors, children};
use crate::recognition::facts::{ReadConstruct, VariableRead};

/// Variables that Vite itself sets.
const BUILT_IN: &[&str] = &["MODE", "BASE_URL", "PROD", "DEV", "SSR"];

/// Functions that throw when their first argument is empty.
const ASSERTIONS: &[&str] = &["invariant", "assert", "assert.ok", "tiny_invariant", "nonNullable"];

/// Adds variables to `facts`, and the places of default values to `defaults`.
pub(super) fn read(code: &ScriptCode<'_>, facts: &mut FileFacts, defaults: &mut Vec<Range<usize>>) {
    let names = names(code);
    let environment = |node: Node<'_>| -> Option<ReadConstruct> {
        let node = if node.kind() == "parenthesized_expression" { node.named_child(0)? } else { node };
        let node = if node.kind() == "as_expression" { node.named_child(0)? } else { node };
        environment_of(code.text(node)).or_else(|| names.get(code.text(node)).copied())
    };
    for node in &code.nodes {
        let (object, name) = match node.kind() {
            "member_expression" => (
                node.child_by_field_name("object"),
                node.child_by_field_name("property").map(|name| code.text(name).to_string()),
            ),
            "subscript_expression" => (
                node.child_by_field_name("object"),
                node.child_by_field_name("index").and_then(|index| code.string(index)),
            ),
            "variable_declarator" => {
                let value = node.child_by_field_name("value").and_then(environment);
                let pattern = node.child_by_field_name("name").filter(|name| name.kind() == "object_pattern");
                if let (Some(by), Some(pattern)) = (value, pattern) {
                    destructured(code, pattern, by, facts, defaults);
                }
                continue;
            }
            "import_statement" => {
                imported(code, *node, facts);
                continue;
            }
            _ => continue,
        };
        let (Some(object), Some(name)) = (object, name) else { continue };
        let Some(by) = environment(object) else { continue };
        if is_read(code, *node, &name, by) {
            let (read, default) = used(code, *node, name, by);
            facts.reads.push(read);
            defaults.extend(default.map(|default| default.byte_range()));
        }
    }
}

/// Returns the kind of environment if an expression is `process.env`, `Bun.env` or `import.meta.env`; `None` for any other
/// expression.
fn environment_of(text: &str) -> Option<ReadConstruct> {
    if text.len() > 64 {
        return None;
    }
    let text: String = text.chars().filter(|c| !c.is_whitespace() && *c != '?').collect();
    match text.strip_prefix("globalThis.").unwrap_or(&text) {
        "process.env" | "Bun.env" => Some(ReadConstruct::Node),
        "import.meta.env" => Some(ReadConstruct::ImportMeta),
        _ => None,
    }
}

/// Returns the local names of environments: `const env = process.env`, `import { env } from "$env/dynamic/private"`.
fn names(code: &ScriptCode<'_>) -> BTreeMap<String, ReadConstruct> {
    let mut names = BTreeMap::new();
    for declarator in code.of_kind("variable_declarator") {
        let name = declarator.child_by_field_name("name").filter(|name| name.kind() == "identifier");
        let value =
            declarator.child_by_field_name("value").and_then(|value| environment_of(code.text(value)));
        if let (Some(name), Some(by)) = (name, value) {
            names.insert(code.text(name).to_string(), by);
        }
    }
    for import in code.of_kind("import_statement") {
        let from =
            import.child_by_field_name("source").and_then(|from| code.string(from)).unwrap_or_default();
        if from == "process" || from == "node:process" {
            for name in specifiers(code, import).into_iter().filter(|(name, _)| name == "env") {
                names.insert(name.1, ReadConstruct::Node);
            }
        } else if let Some(kind) = from.strip_prefix("$env/dynamic/") {
            let by = if kind == "public" { ReadConstruct::ImportMeta } else { ReadConstruct::Node };
            for (_, local) in specifiers(code, import) {
                names.insert(local, by);
            }
        }
    }
    names
}

/// Returns the names in an import, each with its local name.
fn specifiers(code: &ScriptCode<'_>, import: Node<'_>) -> Vec<(String, String)> {
    let clause = children(import).into_iter().find(|child| child.kind() == "import_clause");
    let named =
        clause.and_then(|clause| children(clause).into_iter().find(|child| child.kind() == "named_imports"));
    let specifiers = named.map(children).unwrap_or_default();
    specifiers
        .into_iter()
        .filter_map(|specifier| {
            let name = code.text(specifier.child_by_field_name("name")?);
            let alias = specifier.child_by_field_name("alias").map_or(name, |alias| code.text(alias));
            Some((name.to_string(), alias.to_string()))
        })
        .collect()
}

/// Adds the variables of `import { X } from "$env/static/private"`. The build fails without them.
fn imported(code: &ScriptCode<'_>, import: Node<'_>, facts: &mut FileFacts) {
    let from = import.child_by_field_name("source").and_then(|from| code.string(from)).unwrap_or_default();
    let by = match from.as_str() {
        "$env/static/private" | "astro:env/server" => ReadConstruct::Node,
        "$env/static/public" | "astro:env/client" => ReadConstruct::ImportMeta,
        _ => return,
    };
    for (name, _) in specifiers(code, import).into_iter().filter(|(name, _)| is_name(name)) {
        facts.reads.push(VariableRead { required: true, ..code.variable(import, name, by) });
    }
}

/// Adds the variables of `const { A, B: b, C = "c" } = process.env`.
fn destructured<'a>(
    code: &ScriptCode<'a>,
    pattern: Node<'a>,
    by: ReadConstruct,
    facts: &mut FileFacts,
    defaults: &mut Vec<Range<usize>>,
) {
    for part in children(pattern) {
        let (key, value) = match part.kind() {
            "shorthand_property_identifier_pattern" => (Some(part), None),
            "object_assignment_pattern" => {
                (part.child_by_field_name("left"), part.child_by_field_name("right"))
            }
            "pair_pattern" => {
                let value = part.child_by_field_name("value");
                let value = value.filter(|value| value.kind() == "assignment_pattern");
                (part.child_by_field_name("key"), value.and_then(|value| value.child_by_field_name("right")))
            }
            _ => continue,
        };
        let Some(name) = key.and_then(|key| code.key(key)).filter(|name| is_name(name)) else { continue };
        let default = value.and_then(|value| code.literal(value));
        defaults.extend(value.map(|value| value.byte_range()));
        facts.reads.push(VariableRead { default, ..code.variable(part, name, by) });
    }
}

/// Returns false for an assignment, for a variable that the tool itself sets, and for methods of the object.
fn is_read(code: &ScriptCode<'_>, node: Node<'_>, name: &str, by: ReadConstruct) -> bool {
    let parent = node.parent();
    let assigned = parent.is_some_and(|parent| {
        (parent.kind() == "assignment_expression" && parent.child_by_field_name("left") == Some(node))
            || (parent.kind() == "unary_expression" && code.text(parent).starts_with("delete "))
    });
    let called = parent.is_some_and(|parent| {
        parent.kind() == "call_expression" && parent.child_by_field_name("function") == Some(node)
    });
    let built_in = by == ReadConstruct::ImportMeta && BUILT_IN.contains(&name);
    is_name(name) && !assigned && !called && !built_in && name != "NODE_ENV"
}

/// Returns the variable at `node`, with the facts from the code around it, and the node of its default.
fn used<'a>(
    code: &ScriptCode<'a>,
    node: Node<'a>,
    name: String,
    by: ReadConstruct,
) -> (VariableRead, Option<Node<'a>>) {
    let mut read = code.variable(node, name, by);
    let mut default = None;
    let mut inner = node;
    for outer in ancestors(node, 12) {
        match outer.kind() {
            "non_null_expression" => read.required = true,
            "parenthesized_expression" | "as_expression" | "satisfies_expression" => {}
            "binary_expression" => {
                let operator = outer.child_by_field_name("operator").map(|operator| operator.kind());
                if !matches!(operator, Some("??" | "||")) {
                    break;
                }
                if outer.child_by_field_name("left") == Some(inner) && default.is_none() {
                    default =
                        outer.child_by_field_name("right").filter(|right| code.literal(*right).is_some());
                }
            }
            "ternary_expression" => {
                default =
                    outer.child_by_field_name("alternative").filter(|right| code.literal(*right).is_some());
                break;
            }
            "member_expression" => {
                read.list |=
                    outer.child_by_field_name("property").is_some_and(|name| code.text(name) == "split");
                break;
            }
            _ => break,
        }
        inner = outer;
    }
    read.required |= is_checked(code, node);
    read.required &= default.is_none();
    read.default = default.and_then(|default| code.literal(default));
    (read, default)
}

/// Returns true if the code checks the variable: `if (!process.env.X) throw …`, `invariant(process.env.X)`.
fn is_checked(code: &ScriptCode<'_>, node: Node<'_>) -> bool {
    ancestors(node, 6).any(|outer| match outer.kind() {
        "if_statement" => {
            let condition = outer.child_by_field_name("condition");
            let consequence = outer.child_by_field_name("consequence").map(|branch| code.text(branch));
            condition.is_some_and(|condition| holds_without(code, node, condition))
                && consequence.is_some_and(|text| text.contains("throw ") || text.contains("process.exit("))
        }
        "call_expression" => {
            let function = outer.child_by_field_name("function").map(|function| code.text(function));
            let first = arguments(outer).first().copied();
            function.is_some_and(|function| ASSERTIONS.contains(&function))
                && first.is_some_and(|first| first.byte_range().contains(&node.start_byte()))
        }
        _ => false,
    })
}

/// Returns true if `condition` is certainly true while the variable at `node` has no value.
fn holds_without(code: &ScriptCode<'_>, node: Node<'_>, condition: Node<'_>) -> bool {
    if !condition.byte_range().contains(&node.start_byte()) {
        return false;
    }
    let (mut inner, mut holds) = (node, false);
    for outer in ancestors(node, 12) {
        let operator = outer.child_by_field_name("operator").map(|operator| operator.kind());
        match (outer.kind(), operator) {
            ("unary_expression", Some("!")) => holds = !holds,
            // The other side decides.
            ("binary_expression", Some("&&")) if holds => return false,
            ("binary_expression", Some("||")) if !holds => return false,
            ("binary_expression", Some("&&" | "||"))
            | ("unary_expression", Some("typeof"))
            | ("parenthesized_expression" | "as_expression", _) => {}
            ("binary_expression", Some(operator @ ("==" | "===" | "!=" | "!=="))) => {
                let right = outer.child_by_field_name("right").map(|right| code.text(right));
                let nothing = ["undefined", "null", "''", "\"\"", "'undefined'", "\"undefined\""];
                if outer.child_by_field_name("left") != Some(inner)
                    || !right.is_some_and(|right| nothing.contains(&right))
                {
                    return false;
                }
                holds = operator.starts_with('=');
            }
            _ => return false,
        }
        if outer == condition {
            return holds;
        }
        inner = outer;
    }
    false
}
