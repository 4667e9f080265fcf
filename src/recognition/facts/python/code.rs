//! A parsed Python file, and methods that evaluate its names and literals.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;

use tree_sitter::{Node, Tree};

use crate::recognition::facts::Import;
use crate::recognition::facts::syntax::{Parsed, children, unescape};

/// Maximum depth to which a literal or a name is followed.
const DEPTH: usize = 16;

/// One parsed file.
pub(super) struct PythonCode<'a> {
    parsed: Parsed<'a>,
    pub(super) top: Node<'a>,
    pub(super) imports: Vec<Import>,
    /// Local names, with the dotted names that they were imported from.
    names: BTreeMap<String, String>,
}

impl<'a> Deref for PythonCode<'a> {
    type Target = Parsed<'a>;

    fn deref(&self) -> &Parsed<'a> {
        &self.parsed
    }
}

impl<'a> PythonCode<'a> {
    pub(super) fn new(file: &'a Path, source: &'a str, tree: &'a Tree) -> PythonCode<'a> {
        let top = tree.root_node();
        let mut code = PythonCode {
            parsed: Parsed::new(file, source, tree),
            top,
            imports: Vec::new(),
            names: BTreeMap::new(),
        };
        let statements: Vec<Node<'a>> =
            code.of_kind("import_statement").chain(code.of_kind("import_from_statement")).collect();
        for statement in statements {
            code.import(statement);
        }
        code.imports.sort_by_key(|import| import.line);
        code
    }

    fn import(&mut self, statement: Node<'a>) {
        let module = statement.child_by_field_name("module_name");
        let from = module.map(|module| self.text(module).to_string());
        let mut cursor = statement.walk();
        let mut names = Vec::new();
        for name in statement.children_by_field_name("name", &mut cursor) {
            let (full, local) = match name.kind() {
                "aliased_import" => (name.child_by_field_name("name"), name.child_by_field_name("alias")),
                _ => (Some(name), None),
            };
            let Some(full) = full.map(|full| self.text(full).to_string()) else { continue };
            let local = local.map_or_else(|| full.clone(), |local| self.text(local).to_string());
            if let Some(from) = &from {
                let dot = if from.ends_with('.') { "" } else { "." };
                self.names.insert(local, format!("{from}{dot}{full}"));
                names.push(full);
            } else {
                let line = self.spot(statement).line;
                self.imports.push(Import { module: full.clone(), names: Vec::new(), line });
                self.names.insert(local, full);
            }
        }
        if let Some(module) = from {
            if children(statement).iter().any(|child| child.kind() == "wildcard_import") {
                names.push("*".into());
            }
            self.imports.push(Import { module, names, line: self.spot(statement).line });
        }
    }

    /// Returns the text of `a.b.c`, as written; `None` for anything but names and attributes.
    pub(super) fn dotted(&self, node: Node<'_>) -> Option<String> {
        let mut parts = Vec::new();
        let mut node = node;
        for _ in 0..DEPTH {
            match node.kind() {
                "identifier" => {
                    parts.push(self.text(node));
                    parts.reverse();
                    return Some(parts.join("."));
                }
                "attribute" => {
                    parts.push(self.text(node.child_by_field_name("attribute")?));
                    node = node.child_by_field_name("object")?;
                }
                _ => return None,
            }
        }
        None
    }

    /// Returns the dotted name with its first part replaced by the name that it was imported from: `os.environ.get` for
    /// `environ.get`.
    pub(super) fn resolved(&self, node: Node<'_>) -> Option<String> {
        let dotted = self.dotted(node)?;
        let (first, rest) = match dotted.split_once('.') {
            Some((first, rest)) => (first, Some(rest)),
            None => (dotted.as_str(), None),
        };
        let first = self.names.get(first).map_or(first, String::as_str);
        Some(rest.map_or_else(|| first.to_string(), |rest| format!("{first}.{rest}")))
    }

    /// Returns the last part of the imported name: `FastAPI` for `fastapi.FastAPI` and for an alias of it.
    pub(super) fn last_name(&self, node: Node<'_>) -> Option<String> {
        let resolved = self.resolved(node)?;
        resolved.rsplit('.').next().map(str::to_string)
    }

    /// Returns true if `name` was imported in this file.
    pub(super) fn is_imported(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// Returns the text of a string literal without computed parts.
    pub(super) fn string(&self, node: Node<'_>) -> Option<String> {
        self.string_at(node, DEPTH)
    }

    fn string_at(&self, node: Node<'_>, depth: usize) -> Option<String> {
        let depth = depth.checked_sub(1)?;
        match node.kind() {
            "string" => {
                let parts = children(node);
                if parts.iter().any(|part| part.kind() == "interpolation") {
                    return None;
                }
                Some(self.content(node))
            }
            "concatenated_string" => {
                children(node).into_iter().map(|part| self.string_at(part, depth)).collect()
            }
            "parenthesized_expression" => match children(node).as_slice() {
                [inner] => self.string_at(*inner, depth),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the text of a string node, without computed parts.
    pub(super) fn content(&self, node: Node<'_>) -> String {
        let parts = children(node);
        let raw = parts.first().is_some_and(|start| self.text(*start).to_ascii_lowercase().contains('r'));
        let content = parts.into_iter().filter(|part| part.kind() == "string_content");
        content.map(|part| if raw { self.text(part).into() } else { unescape(self.text(part)) }).collect()
    }

    /// Returns a literal in the form that an environment variable has: text without quotes, numbers and booleans as
    /// written, lists as JSON.
    pub(super) fn literal(&self, node: Node<'_>) -> Option<String> {
        match node.kind() {
            "integer" | "float" | "true" | "false" => Some(self.text(node).into()),
            "list" | "set" | "tuple" => {
                let items: Option<Vec<String>> =
                    children(node).into_iter().map(|item| self.string(item)).collect();
                serde_json::to_string(&items?).ok()
            }
            _ => self.string(node),
        }
    }

    /// Returns the arguments of a call: positional ones, and keyword arguments with their names.
    pub(super) fn arguments(&self, call: Node<'a>) -> Arguments<'a> {
        let mut arguments = Arguments::default();
        let Some(list) = call.child_by_field_name("arguments") else { return arguments };
        for child in children(list) {
            match child.kind() {
                "keyword_argument" => {
                    let name = child.child_by_field_name("name").map(|name| self.text(name));
                    if let (Some(name), Some(value)) = (name, child.child_by_field_name("value")) {
                        arguments.named.push((name, value));
                    }
                }
                "dictionary_splat" | "list_splat" => arguments.computed = true,
                _ => arguments.positional.push(child),
            }
        }
        arguments
    }

    /// Returns the module's top-level statements, including those in `if`, `try` and `with`.
    pub(super) fn statements(&self) -> Vec<Node<'a>> {
        statements_of(self.top)
    }
}

/// The arguments of a call.
#[derive(Default)]
pub(super) struct Arguments<'a> {
    pub(super) positional: Vec<Node<'a>>,
    pub(super) named: Vec<(&'a str, Node<'a>)>,
    /// True when `*args` or `**kwargs` adds further arguments.
    pub(super) computed: bool,
}

impl<'a> Arguments<'a> {
    pub(super) fn get(&self, name: &str) -> Option<Node<'a>> {
        self.named.iter().find(|(named, _)| *named == name).map(|(_, value)| *value)
    }
}

/// Returns the statements of `block`, including those in `if`, `try` and `with`, but not those of functions and
/// classes.
pub(super) fn statements_of(block: Node<'_>) -> Vec<Node<'_>> {
    let mut open = vec![(block, 0)];
    let mut statements = Vec::new();
    while let Some((node, depth)) = open.pop() {
        match node.kind() {
            "module" | "block" | "if_statement" | "elif_clause" | "else_clause" | "try_statement"
            | "except_clause" | "finally_clause" | "with_statement"
                if depth < DEPTH =>
            {
                open.extend(children(node).into_iter().rev().map(|child| (child, depth + 1)));
            }
            _ => statements.push(node),
        }
    }
    statements
}
