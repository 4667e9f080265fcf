//! Parses Python, JavaScript and TypeScript, and reads the syntax trees.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;

use tree_sitter::{Language, Node, Parser, Tree};

use super::FileLine;
use super::file::spot;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grammar {
    Python,
    /// JavaScript with or without JSX, and TypeScript with JSX.
    Tsx,
    /// TypeScript without JSX, in which `<T>x` is a type assertion.
    TypeScript,
}

impl Grammar {
    fn language(self) -> Language {
        match self {
            Grammar::Python => tree_sitter_python::LANGUAGE.into(),
            Grammar::Tsx => tree_sitter_typescript::LANGUAGE_TSX.into(),
            Grammar::TypeScript => tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
        }
    }
}

thread_local! {
    static PARSER: RefCell<Parser> = RefCell::new(Parser::new());
}

/// Parses `text`. Invalid text gives a tree with `ERROR` nodes.
pub(super) fn parse(grammar: Grammar, text: &str) -> Option<Tree> {
    PARSER.with_borrow_mut(|parser| {
        parser.set_language(&grammar.language()).ok()?;
        parser.parse(text, None)
    })
}

/// Returns `top` and all named nodes below it, parents before children. Does not recurse, so deeply nested text cannot
/// exhaust the stack.
pub(super) fn preorder(top: Node<'_>) -> Vec<Node<'_>> {
    let mut nodes = Vec::new();
    let mut cursor = top.walk();
    loop {
        if cursor.node().is_named() {
            nodes.push(cursor.node());
        }
        if cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return nodes;
            }
        }
    }
}

/// Returns the named children of `node`, without comments.
pub(super) fn children(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).filter(|child| child.kind() != "comment").collect()
}

/// Returns the text of `node`.
pub(super) fn text<'a>(node: Node<'_>, source: &'a str) -> &'a str {
    source.get(node.byte_range()).unwrap_or("")
}

/// Returns the nearest ancestors of `node`, innermost first, at most `count`.
pub(super) fn ancestors(node: Node<'_>, count: usize) -> impl Iterator<Item = Node<'_>> {
    std::iter::successors(node.parent(), Node::parent).take(count)
}

/// Returns true if `inner` is inside one of `ranges`.
pub(super) fn within(inner: &Range<usize>, ranges: &[Range<usize>]) -> bool {
    ranges.iter().any(|range| range.start <= inner.start && inner.end <= range.end)
}

/// Replaces the escapes that Python and JavaScript share, and keeps all others.
pub(super) fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.into();
    }
    let mut result = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            result.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => result.push('\n'),
            Some('r') => result.push('\r'),
            Some('t') => result.push('\t'),
            Some(c @ ('\\' | '\'' | '"' | '`' | '/' | '$')) => result.push(c),
            Some('\n') => {}
            Some(other) => result.extend(['\\', other]),
            None => result.push('\\'),
        }
    }
    result
}

/// One parsed file of any language.
pub(super) struct Parsed<'a> {
    pub(super) file: &'a Path,
    pub(super) source: &'a str,
    /// Every named node, parents before children.
    pub(super) nodes: Vec<Node<'a>>,
}

impl<'a> Parsed<'a> {
    pub(super) fn new(file: &'a Path, source: &'a str, tree: &'a Tree) -> Parsed<'a> {
        Parsed { file, source, nodes: preorder(tree.root_node()) }
    }

    pub(super) fn text(&self, node: Node<'_>) -> &'a str {
        text(node, self.source)
    }

    pub(super) fn spot(&self, node: Node<'_>) -> FileLine {
        spot(self.file, node.start_position().row)
    }

    pub(super) fn of_kind<'s>(&'s self, kind: &'s str) -> impl Iterator<Item = Node<'a>> + 's {
        self.nodes.iter().copied().filter(move |node| node.kind() == kind)
    }
}
