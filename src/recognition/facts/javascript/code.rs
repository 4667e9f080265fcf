//! One parsed JavaScript file, and what its literals mean.

use std::ops::Deref;
use std::path::Path;

use tree_sitter::{Node, Tree};

use crate::recognition::facts::syntax::{Parsed, children, unescape};
use crate::recognition::facts::{Read, Reader};

/// One parsed file.
pub(super) struct Code<'a> {
    parsed: Parsed<'a>,
}

impl<'a> Deref for Code<'a> {
    type Target = Parsed<'a>;

    fn deref(&self) -> &Parsed<'a> {
        &self.parsed
    }
}

impl<'a> Code<'a> {
    pub(super) fn new(file: &'a Path, source: &'a str, tree: &'a Tree) -> Code<'a> {
        Code { parsed: Parsed::new(file, source, tree) }
    }

    /// The text of a string, or of a template without computed parts.
    pub(super) fn string(&self, node: Node<'_>) -> Option<String> {
        let computed = || children(node).iter().any(|part| part.kind() == "template_substitution");
        match node.kind() {
            "string" => Some(self.content(node)),
            "template_string" if !computed() => Some(self.content(node)),
            _ => None,
        }
    }

    /// The text of a string or template; computed parts are left out.
    pub(super) fn content(&self, node: Node<'_>) -> String {
        let parts = children(node).into_iter();
        parts
            .filter(|part| matches!(part.kind(), "string_fragment" | "escape_sequence"))
            .map(|part| unescape(self.text(part)))
            .collect()
    }

    /// A literal as the environment would hold it.
    pub(super) fn literal(&self, node: Node<'_>) -> Option<String> {
        match node.kind() {
            "number" | "true" | "false" => Some(self.text(node).into()),
            "array" => {
                let items: Option<Vec<String>> =
                    children(node).into_iter().map(|item| self.string(item)).collect();
                serde_json::to_string(&items?).ok()
            }
            "parenthesized_expression" | "as_expression" | "satisfies_expression" => {
                let inner = node.named_child(0).filter(|inner| inner.kind() != node.kind())?;
                self.string(inner)
            }
            _ => self.string(node),
        }
    }

    /// The name of a property: `NAME`, `"NAME"`.
    pub(super) fn key(&self, node: Node<'_>) -> Option<String> {
        match node.kind() {
            "property_identifier" | "identifier" | "shorthand_property_identifier_pattern" => {
                Some(self.text(node).into())
            }
            _ => self.string(node),
        }
    }

    /// The pairs of an object literal: names and values.
    pub(super) fn pairs(&self, object: Node<'a>) -> Vec<(String, Node<'a>)> {
        let pairs = children(object).into_iter().filter(|child| child.kind() == "pair");
        pairs
            .filter_map(|pair| {
                Some((self.key(pair.child_by_field_name("key")?)?, pair.child_by_field_name("value")?))
            })
            .collect()
    }

    pub(super) fn variable(&self, node: Node<'_>, name: String, by: Reader) -> Read {
        Read {
            name,
            aliases: Vec::new(),
            at: self.spot(node),
            by,
            required: false,
            default: None,
            min_length: None,
            refused: Vec::new(),
            list: false,
        }
    }
}

/// True for a name that an environment can have and that code uses for variables.
pub(super) fn is_name(name: &str) -> bool {
    crate::config::values::is_variable_name(name)
}

/// The arguments of a call.
pub(super) fn arguments(call: Node<'_>) -> Vec<Node<'_>> {
    call.child_by_field_name("arguments").map(children).unwrap_or_default()
}
