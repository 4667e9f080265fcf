//! A parsed JavaScript file, and methods that evaluate its literals.

use std::ops::Deref;
use std::path::Path;

use tree_sitter::{Node, Tree};

use crate::recognition::facts::syntax::{Parsed, children, unescape};
use crate::recognition::facts::{ReadConstruct, VariableRead};

/// One parsed file.
pub(super) struct ScriptCode<'a> {
    parsed: Parsed<'a>,
}

impl<'a> Deref for ScriptCode<'a> {
    type Target = Parsed<'a>;

    fn deref(&self) -> &Parsed<'a> {
        &self.parsed
    }
}

impl<'a> ScriptCode<'a> {
    pub(super) fn new(file: &'a Path, source: &'a str, tree: &'a Tree) -> ScriptCode<'a> {
        ScriptCode { parsed: Parsed::new(file, source, tree) }
    }

    /// Returns the text of a string, or of a template without computed parts.
    pub(super) fn string(&self, node: Node<'_>) -> Option<String> {
        let computed = || children(node).iter().any(|part| part.kind() == "template_substitution");
        match node.kind() {
            "string" => Some(self.content(node)),
            "template_string" if !computed() => Some(self.content(node)),
            _ => None,
        }
    }

    /// Returns the text of a string or template, without computed parts.
    pub(super) fn content(&self, node: Node<'_>) -> String {
        let parts = children(node).into_iter();
        parts
            .filter(|part| matches!(part.kind(), "string_fragment" | "escape_sequence"))
            .map(|part| unescape(self.text(part)))
            .collect()
    }

    /// Returns a literal in the form that an environment variable has.
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

    /// Returns the name of a property: `NAME`, `"NAME"`.
    pub(super) fn key(&self, node: Node<'_>) -> Option<String> {
        match node.kind() {
            "property_identifier" | "identifier" | "shorthand_property_identifier_pattern" => {
                Some(self.text(node).into())
            }
            _ => self.string(node),
        }
    }

    /// Returns the pairs of an object literal: names and values.
    pub(super) fn pairs(&self, object: Node<'a>) -> Vec<(String, Node<'a>)> {
        let pairs = children(object).into_iter().filter(|child| child.kind() == "pair");
        pairs
            .filter_map(|pair| {
                Some((self.key(pair.child_by_field_name("key")?)?, pair.child_by_field_name("value")?))
            })
            .collect()
    }

    pub(super) fn variable(&self, node: Node<'_>, name: String, by: ReadConstruct) -> VariableRead {
        VariableRead {
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

/// Returns true for a name that code uses for environment variables.
pub(super) fn is_name(name: &str) -> bool {
    crate::config::names::is_variable_name(name)
}

/// Returns the arguments of a call.
pub(super) fn arguments(call: Node<'_>) -> Vec<Node<'_>> {
    call.child_by_field_name("arguments").map(children).unwrap_or_default()
}
