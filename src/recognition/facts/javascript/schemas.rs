//! Finds variables in schemas of the environment: `createEnv` of t3-env, zod objects that parse `process.env`,
//! `cleanEnv` of envalid, and `runtimeConfig` of Nuxt.

use std::ops::Range;

use tree_sitter::Node;

use super::code::{ScriptCode, arguments, is_name};
use crate::recognition::facts::file::FileFacts;
use crate::recognition::facts::{ReadConstruct, VariableRead};

/// Maximum depth of chained calls and nested objects.
const DEPTH: usize = 24;

/// Adds variables to `facts`, and the places of default values to `defaults`.
pub(super) fn read(code: &ScriptCode<'_>, facts: &mut FileFacts, defaults: &mut Vec<Range<usize>>) {
    let parses = ["parse(process.env", "Parse(process.env", "parse(import.meta.env", "Parse(import.meta.env"];
    let parses = parses.iter().any(|call| code.source.contains(call));
    for call in code.of_kind("call_expression") {
        let function =
            call.child_by_field_name("function").map(|function| code.text(function)).unwrap_or_default();
        let given = arguments(call);
        match function {
            "createEnv" => {
                for (name, object) in given.first().map(|first| code.pairs(*first)).unwrap_or_default() {
                    if matches!(name.as_str(), "server" | "client" | "shared") {
                        fields(code, object, facts, defaults);
                    }
                }
            }
            "cleanEnv" | "envalid.cleanEnv" => {
                if let Some(object) = given.get(1) {
                    clean(code, *object, facts, defaults);
                }
            }
            "z.object" | "v.object" if parses => {
                if let Some(object) = given.first() {
                    fields(code, *object, facts, defaults);
                }
            }
            _ => {}
        }
    }
    let is_nuxt = code.file.file_stem().is_some_and(|stem| stem == "nuxt.config");
    for pair in code.of_kind("pair").filter(|_| is_nuxt) {
        let key = pair.child_by_field_name("key").and_then(|key| code.key(key));
        if let (Some("runtimeConfig"), Some(value)) = (key.as_deref(), pair.child_by_field_name("value")) {
            nuxt(code, value, "NUXT", DEPTH, facts, defaults);
        }
    }
}

/// Adds the variables of an object with fields such as `NAME: z.string().min(1).optional()`.
fn fields<'a>(
    code: &ScriptCode<'a>,
    object: Node<'a>,
    facts: &mut FileFacts,
    defaults: &mut Vec<Range<usize>>,
) {
    for (name, value) in code.pairs(object) {
        if !is_name(&name) || name.contains(|c: char| c.is_ascii_lowercase()) || name == "NODE_ENV" {
            continue;
        }
        let by = if name.starts_with("VITE_") { ReadConstruct::ImportMeta } else { ReadConstruct::Node };
        let mut read = VariableRead { required: true, ..code.variable(value, name, by) };
        chain(code, value, &mut read, defaults);
        facts.reads.push(read);
    }
}

/// Follows the calls of `z.string().url().default("…")`, the last one first.
fn chain<'a>(
    code: &ScriptCode<'a>,
    value: Node<'a>,
    read: &mut VariableRead,
    defaults: &mut Vec<Range<usize>>,
) {
    let mut node = value;
    for _ in 0..DEPTH {
        if node.kind() != "call_expression" {
            return;
        }
        let Some(function) = node.child_by_field_name("function") else { return };
        let method = function.child_by_field_name("property").map(|method| code.text(method));
        let first = arguments(node).first().copied();
        match method.unwrap_or_default() {
            "optional" | "nullish" | "catch" => read.required = false,
            "default" | "prefault" => {
                read.required = false;
                read.default = first.and_then(|first| code.literal(first));
                defaults.extend(first.map(|first| first.byte_range()));
            }
            "min" | "length" => read.min_length = first.and_then(|first| code.text(first).parse().ok()),
            "array" | "split" => read.list = true,
            "coerce" | "number" => read.min_length = None,
            _ => {}
        }
        match function.child_by_field_name("object") {
            Some(object) => node = object,
            None => return,
        }
    }
}

/// Adds the variables of envalid's fields such as `NAME: str({ default: "x" })`.
fn clean<'a>(
    code: &ScriptCode<'a>,
    object: Node<'a>,
    facts: &mut FileFacts,
    defaults: &mut Vec<Range<usize>>,
) {
    for (name, value) in code.pairs(object).into_iter().filter(|(name, _)| is_name(name)) {
        let options = arguments(value).first().map(|first| code.pairs(*first)).unwrap_or_default();
        let default = ["devDefault", "default"]
            .iter()
            .find_map(|key| options.iter().find(|(name, _)| name == key).map(|(_, value)| *value));
        defaults.extend(default.map(|default| default.byte_range()));
        facts.reads.push(VariableRead {
            required: default.is_none(),
            default: default.and_then(|default| code.literal(default)),
            ..code.variable(value, name, ReadConstruct::Node)
        });
    }
}

/// Adds the variables of `runtimeConfig`. Its keys give the names: `public.apiBase` is `NUXT_PUBLIC_API_BASE`.
/// <https://nuxt.com/docs/guide/going-further/runtime-config#environment-variables>
fn nuxt<'a>(
    code: &ScriptCode<'a>,
    object: Node<'a>,
    prefix: &str,
    depth: usize,
    facts: &mut FileFacts,
    defaults: &mut Vec<Range<usize>>,
) {
    let Some(depth) = depth.checked_sub(1) else { return };
    for (key, value) in code.pairs(object).into_iter().filter(|(key, _)| is_name(key)) {
        let name = format!("{prefix}_{}", upper_snake(&key));
        if value.kind() == "object" {
            nuxt(code, value, &name, depth, facts, defaults);
            continue;
        }
        let default = code.literal(value);
        if default.is_some() {
            defaults.push(value.byte_range());
        }
        facts.reads.push(VariableRead { default, ..code.variable(value, name, ReadConstruct::Node) });
    }
}

fn upper_snake(key: &str) -> String {
    let mut result = String::new();
    let mut after_lower = false;
    for c in key.chars() {
        if c.is_uppercase() && after_lower {
            result.push('_');
        }
        after_lower = !c.is_uppercase();
        result.extend(c.to_uppercase());
    }
    result
}
