//! Constants of a module: `_PLACEHOLDERS = {"changeme", "secret"}`.

use tree_sitter::Node;

use super::code::Code;
use crate::recognition::facts::syntax::children;

/// The texts that `node` stands for: a literal, a collection of literals, or a module's constant that is one of these.
pub(super) fn texts(code: &Code<'_>, node: Node<'_>) -> Vec<String> {
    match node.kind() {
        "identifier" => {
            let name = code.text(node);
            value_of(code, name).map(|value| direct(code, value)).unwrap_or_default()
        }
        _ => direct(code, node),
    }
}

fn direct(code: &Code<'_>, node: Node<'_>) -> Vec<String> {
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

fn plain(code: &Code<'_>, node: Node<'_>) -> Vec<String> {
    match node.kind() {
        "list" | "set" | "tuple" => children(node).into_iter().filter_map(|item| code.string(item)).collect(),
        _ => Vec::new(),
    }
}

/// The value that the module's own level assigns to `name`.
pub(super) fn value_of<'a>(code: &Code<'a>, name: &str) -> Option<Node<'a>> {
    code.statements().into_iter().find_map(|statement| {
        let assignment = statement.named_child(0).filter(|child| child.kind() == "assignment")?;
        let left = assignment.child_by_field_name("left")?;
        (code.text(left) == name).then(|| assignment.child_by_field_name("right")).flatten()
    })
}
