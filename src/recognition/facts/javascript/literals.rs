//! Finds loopback addresses in literals of JavaScript and TypeScript.

use std::ops::Range;

use tree_sitter::Node;

use super::code::ScriptCode;
use super::runtime;
use crate::recognition::facts::FixedAddress;
use crate::recognition::facts::address::loopbacks;
use crate::recognition::facts::file::FileFacts;
use crate::recognition::facts::syntax::{ancestors, within};

/// Adds the addresses outside `defaults` to `facts`.
pub(super) fn read(code: &ScriptCode<'_>, facts: &mut FileFacts, defaults: &[Range<usize>]) {
    let server = runtime::runs_on_server(code);
    for node in code.of_kind("string").chain(code.of_kind("template_string")) {
        if within(&node.byte_range(), defaults) || is_printed(code, node) {
            continue;
        }
        for found in loopbacks(&code.content(node)) {
            let origin = is_origin(code, node);
            let (at, text, port) = (code.spot(node), found.text, found.port);
            facts.addresses.push(FixedAddress { at, text, port, origin, server });
        }
    }
}

/// Returns true for an argument of `console.log` and similar functions.
fn is_printed(code: &ScriptCode<'_>, node: Node<'_>) -> bool {
    let call = ancestors(node, 2).find(|outer| outer.kind() == "call_expression");
    let function =
        call.and_then(|call| call.child_by_field_name("function")).map(|function| code.text(function));
    function.is_some_and(|function| function.starts_with("console.") || function.starts_with("logger."))
}

/// Returns true if the literal is in a list of allowed origins: `cors({ origin: […] })`, `allowedOrigins = […]`.
fn is_origin(code: &ScriptCode<'_>, node: Node<'_>) -> bool {
    let named = ancestors(node, 4).find_map(|outer| match outer.kind() {
        "pair" => outer.child_by_field_name("key"),
        "variable_declarator" => outer.child_by_field_name("name"),
        _ => None,
    });
    let name = named.map(|name| code.text(name).to_ascii_lowercase()).unwrap_or_default();
    name.contains("origin") || name.contains("cors")
}
