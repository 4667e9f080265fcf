//! Reads constants of a module: `_PLACEHOLDERS = {"changeme", "secret"}`.

use tree_sitter::Node;

use super::code::PythonCode;
use crate::recognition::facts::syntax::children;

/// Returns the texts of `node`: a literal, a collection of literals, or a constant of the module with such a value.
pub(super) fn texts(code: &PythonCode<'_>, node: Node<'_>) -> Vec<String> {
    match node.kind() {
        "identifier" => {
            let name = code.text(node);
            value_of(code, name).map(|value| direct(code, value)).unwrap_or_default()
        }
        _ => direct(code, node),
    }
}

fn direct(code: &PythonCode<'_>, node: Node<'_>) -> Vec<String> {
    match node.kind() {
        "list" | "set" | "tuple" => children(node).into_iter().filter_map(|item| code.string(item)).collect(),
        // `frozenset({…})`, `set([…])`.
        "call" => node
            .child_by_field_name("arguments")
            .map(children)
            .unwrap_or_default()
            .into_iter()
            .flat_map(|item| plain(code, item))
            .collect(),
        _ => code.string(node).into_iter().collect(),
    }
}

fn plain(code: &PythonCode<'_>, node: Node<'_>) -> Vec<String> {
    match node.kind() {
        "list" | "set" | "tuple" => children(node).into_iter().filter_map(|item| code.string(item)).collect(),
        _ => Vec::new(),
    }
}

/// Returns the value that the module assigns to `name` at its top level.
pub(super) fn value_of<'a>(code: &PythonCode<'a>, name: &str) -> Option<Node<'a>> {
    code.statements().into_iter().find_map(|statement| {
        let assignment = statement.named_child(0).filter(|child| child.kind() == "assignment")?;
        let left = assignment.child_by_field_name("left")?;
        (code.text(left) == name).then(|| assignment.child_by_field_name("right")).flatten()
    })
}
