//! Loopback addresses in literals of Python code.

use std::ops::Range;

use tree_sitter::Node;

use super::code::Code;
use crate::recognition::facts::FixedAddress;
use crate::recognition::facts::address::loopbacks;
use crate::recognition::facts::file::FileFacts;
use crate::recognition::facts::syntax::{ancestors, within};

/// Adds the addresses outside `defaults` to `facts`.
pub(super) fn read(code: &Code<'_>, facts: &mut FileFacts, defaults: &[Range<usize>]) {
    for node in code.of_kind("string") {
        if within(&node.byte_range(), defaults) || is_documentation(code, node) {
            continue;
        }
        let origin = is_origin(code, node);
        for found in loopbacks(&code.content(node)) {
            facts.addresses.push(FixedAddress {
                at: code.spot(node),
                text: found.text,
                port: found.port,
                origin,
                server: Some(true),
            });
        }
    }
}

/// True for docstrings, and for texts that only people read.
fn is_documentation(code: &Code<'_>, node: Node<'_>) -> bool {
    let Some(parent) = node.parent() else { return true };
    let printed = || {
        let call = ancestors(node, 2).find(|outer| outer.kind() == "call");
        let function = call.and_then(|call| call.child_by_field_name("function"));
        let name = function.and_then(|function| code.dotted(function)).unwrap_or_default();
        let name = name.rsplit('.').next().unwrap_or_default();
        matches!(name, "print" | "debug" | "info" | "warning" | "error" | "echo")
    };
    parent.kind() == "expression_statement" || printed()
}

/// True when a list of allowed origins holds it: `allow_origins=[…]`, `origins = […]`, `ALLOWED_HOSTS.append(…)`.
fn is_origin(code: &Code<'_>, node: Node<'_>) -> bool {
    let named = ancestors(node, 6).find_map(|outer| match outer.kind() {
        "keyword_argument" => outer.child_by_field_name("name"),
        "assignment" | "augmented_assignment" => outer.child_by_field_name("left"),
        "call" => outer.child_by_field_name("function").filter(|name| name.kind() == "attribute"),
        "pair" => outer.child_by_field_name("key"),
        _ => None,
    });
    let name = named.map(|name| code.text(name).to_ascii_lowercase()).unwrap_or_default();
    name.contains("origin") || name.contains("cors") || name.contains("allowed_hosts")
}
