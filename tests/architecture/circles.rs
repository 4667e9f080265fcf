//! Checks that the modules of a folder do not import each other in a circle.
//!
//! A module counts together with its submodules. Imports of a parent module do not count: it is the same unit. A name
//! that the parent re-exports counts as an import of the module that defines it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex::Regex;

use crate::{sources, without_tests};

type Module = Vec<String>;

/// The files of `src`, by module path, without tests and comments.
struct Tree {
    code: BTreeMap<Module, String>,
    /// The names that a module has through `use`, with their paths.
    names: BTreeMap<Module, BTreeMap<String, Module>>,
}

fn module(path: &Path) -> Module {
    path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect()
}

/// Returns the paths of a `use` tree such as `super::{a::B, c::{self, D as E}}`, each with the name that it gets.
fn expand(prefix: &str, tree: &str) -> Vec<(String, String)> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let (path, name) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name)));
        let path = format!("{prefix}{path}");
        let path = path.strip_suffix("::self").unwrap_or(&path).to_string();
        let name = name.unwrap_or_else(|| path.rsplit("::").next().unwrap()).trim().to_string();
        return vec![(path, name)];
    };
    let prefix = format!("{prefix}{}", &tree[..open]);
    let list = &tree[open + 1..tree.rfind('}').unwrap()];
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in list.char_indices().chain([(list.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !list[start..at].trim().is_empty() {
                    found.extend(expand(&prefix, &list[start..at]));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

impl Tree {
    fn read() -> Tree {
        let comment = Regex::new(r"(?m)//.*$").unwrap();
        let code: BTreeMap<Module, String> = sources()
            .into_iter()
            .filter(|(path, _)| !path.iter().any(|part| part == "tests" || part == "tests.rs"))
            .map(|(path, text)| (module(&path), comment.replace_all(without_tests(&text), "").into_owned()))
            .collect();
        let mut tree = Tree { code, names: BTreeMap::new() };
        for module in tree.code.keys().cloned().collect::<Vec<_>>() {
            let names =
                tree.uses(&module).into_iter().map(|(path, name)| (name, tree.absolute(&module, &path)));
            let names = names.collect();
            tree.names.insert(module, names);
        }
        tree
    }

    fn uses(&self, module: &Module) -> Vec<(String, String)> {
        let line = Regex::new(r"(?m)^\s*(?:pub(?:\([a-z: ]+\))? )?use ([^;]+);").unwrap();
        line.captures_iter(&self.code[module]).flat_map(|found| expand("", &found[1])).collect()
    }

    /// Returns `path`, as `module` writes it, from the root of the crate. Paths of other crates stay as they are.
    fn absolute(&self, module: &Module, path: &str) -> Module {
        let mut parts: Vec<String> = path.split("::").map(str::to_string).collect();
        let mut base = match parts[0].as_str() {
            "crate" => Module::new(),
            "self" | "super" => module.clone(),
            child => {
                let mut inner = module.clone();
                inner.push(child.to_string());
                return if self.code.contains_key(&inner) { [module.clone(), parts].concat() } else { parts };
            }
        };
        while let Some(part) = parts.first() {
            match part.as_str() {
                "super" => drop(base.pop()),
                "crate" | "self" => {}
                _ => break,
            }
            parts.remove(0);
        }
        [base, parts].concat()
    }

    /// Returns the module that defines the item at `path`.
    fn owner(&self, path: &Module) -> Option<Module> {
        let mut path = path.clone();
        for _ in 0..8 {
            let length = (1..=path.len()).rev().find(|length| self.code.contains_key(&path[..*length]))?;
            let owner = path[..length].to_vec();
            let Some(item) = path.get(length) else { return Some(owner) };
            match self.names[&owner].get(item) {
                Some(target) if *target != path => path = target.clone(),
                _ => return Some(owner),
            }
        }
        None
    }

    /// Returns the modules that `module` imports or names.
    fn imports(&self, module: &Module) -> BTreeSet<Module> {
        let inline = Regex::new(r"\b(?:crate|self|super|[a-z_]+)(?:::\w+)+").unwrap();
        let inline = inline.find_iter(&self.code[module]).map(|found| found.as_str().to_string());
        let paths = self.uses(module).into_iter().map(|(path, _)| path).chain(inline);
        paths.filter_map(|path| self.owner(&self.absolute(module, &path))).collect()
    }

    /// Returns, for each folder of modules, which of them import which.
    fn folders(&self) -> BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> {
        let mut folders: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for module in self.code.keys() {
            for other in self.imports(module) {
                let common = module.iter().zip(&other).take_while(|(a, b)| a == b).count();
                // `ROOMS` has the rules for the modules at the top.
                if common == 0 || common == module.len() || common == other.len() {
                    continue;
                }
                let edges = folders.entry(module[..common].to_vec()).or_default();
                edges.entry(module[common].clone()).or_default().insert(other[common].clone());
            }
        }
        folders
    }
}

/// Returns the modules of `edges` that reach themselves.
fn circular(edges: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let reaches_itself = |start: &&String| {
        let mut open: Vec<&String> = edges[*start].iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(next) = open.pop() {
            if next == *start {
                return true;
            }
            if seen.insert(next) {
                open.extend(edges.get(next).into_iter().flatten());
            }
        }
        false
    };
    edges.keys().filter(reaches_itself).cloned().collect()
}

#[test]
fn modules_of_a_folder_do_not_import_in_circles() {
    let mut offences = Vec::new();
    for (folder, edges) in Tree::read().folders() {
        let circle = circular(&edges);
        for from in &circle {
            for to in edges[from].intersection(&circle) {
                offences.push(format!("{}: {from} imports {to}", folder.join("::")));
            }
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn circles_and_use_trees_are_found() {
    let edges = [("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")];
    let edges = edges.map(|(from, to)| (from.to_string(), BTreeSet::from([to.to_string()])));
    assert_eq!(circular(&edges.into()), BTreeSet::from(["b".to_string(), "c".to_string()]));

    let paths = expand("", "super::{a::B, c::{self, D as E}}");
    let paths: Vec<(&str, &str)> = paths.iter().map(|(path, name)| (path.as_str(), name.as_str())).collect();
    assert_eq!(paths, [("super::a::B", "B"), ("super::c", "c"), ("super::c::D", "E")]);

    let tree = Tree::read();
    let owner = |path: &str| tree.owner(&tree.absolute(&vec!["os".to_string()], path)).unwrap().join("::");
    assert_eq!(owner("crate::error::Report"), "error");
    assert_eq!(owner("self::fs::replace"), "os::fs");
    // Re-exported by `supervisor::output`.
    assert_eq!(owner("crate::supervisor::output::Framer"), "supervisor::output::frame");
}
