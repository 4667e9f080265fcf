//! Finds loopback addresses and URLs of a Postgres in literals of Python code.

use std::ops::Range;

use tree_sitter::Node;

use super::code::PythonCode;
use crate::recognition::facts::address::loopbacks;
use crate::recognition::facts::file::FileFacts;
use crate::recognition::facts::syntax::{ancestors, within};
use crate::recognition::facts::{FixedAddress, FixedDatabase};
use crate::text::is_postgres_scheme;

/// Adds the addresses outside `defaults` to `facts`.
pub(super) fn read(code: &PythonCode<'_>, facts: &mut FileFacts, defaults: &[Range<usize>]) {
    for node in code.of_kind("string") {
        if within(&node.byte_range(), defaults) || is_documentation(code, node) {
            continue;
        }
        if is_postgres_address(&code.content(node)) && is_connected_to(code, node) {
            facts.databases.push(FixedDatabase { at: code.spot(node), port: None });
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

/// Returns true for docstrings, and for texts that are only shown to users.
fn is_documentation(code: &PythonCode<'_>, node: Node<'_>) -> bool {
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

/// Returns true if the literal is in a list of allowed origins: `allow_origins=[…]`, `origins = […]`,
/// `ALLOWED_HOSTS.append(…)`.
fn is_origin(code: &PythonCode<'_>, node: Node<'_>) -> bool {
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

/// Returns true for a whole URL with a host, or one without its scheme: `user:password@host:5432/name`.
fn is_postgres_address(text: &str) -> bool {
    let Some((scheme, place)) = text.split_once("://") else {
        let place = text.rsplit_once('@').map(|(_, place)| place).unwrap_or_default();
        let host = place.split_once(":5432/").map(|(host, _)| host).unwrap_or_default();
        return host.chars().all(|c| c.is_alphanumeric() || ".-_".contains(c)) && !host.is_empty();
    };
    is_postgres_scheme(scheme)
        && place.rsplit('@').next().is_some_and(|place| place.starts_with(char::is_alphanumeric))
        && !place.contains(char::is_whitespace)
}

/// Returns true when the code connects to the literal: a variable for a database's URL holds it, or a call that makes an engine or a
/// connection gets it. Examples in schemas and literals with computed parts do not count.
fn is_connected_to(code: &PythonCode<'_>, node: Node<'_>) -> bool {
    if code.string(node).is_none() {
        return false;
    }
    let named = ancestors(node, 3).find_map(|outer| match outer.kind() {
        "assignment" => outer.child_by_field_name("left"),
        "call" => outer.child_by_field_name("function"),
        "keyword_argument" => outer.child_by_field_name("name"),
        _ => None,
    });
    let returned = node.parent().is_some_and(|parent| parent.kind() == "return_statement");
    let function = || ancestors(node, 6).find(|outer| outer.kind() == "function_definition");
    let named =
        if returned { function().and_then(|function| function.child_by_field_name("name")) } else { named };
    let name = named.and_then(|named| code.dotted(named)).unwrap_or_default().to_ascii_lowercase();
    let name = name.rsplit('.').next().unwrap_or_default();
    let holds = ["url", "uri", "dsn", "conninfo", "conn_str", "connection_string"];
    let connects =
        ["create_engine", "create_async_engine", "connect", "create_pool", "database", "connectionpool"];
    name.split('_').any(|word| holds.contains(&word)) || holds.contains(&name) || connects.contains(&name)
}
