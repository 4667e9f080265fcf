//! Checks that a type name has one meaning in the whole crate, and that no file is named after a metaphor.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::{sources, without_tests};

/// Type names that may occur more than once, with the reason.
const ALLOWED: [(&str, &str); 0] = [];

/// Metaphors that a file in `src` must not be named after.
const METAPHORS: [&str; 35] = [
    "astray",
    "attend",
    "bed",
    "desk",
    "door",
    "draft",
    "elsewhere",
    "errand",
    "family",
    "fixed",
    "fresh",
    "gauge",
    "ground",
    "handover",
    "holder",
    "kit",
    "named",
    "others",
    "outlet",
    "place",
    "places",
    "same",
    "settle",
    "shown",
    "small",
    "stage",
    "stamp",
    "standing",
    "story",
    "strayed",
    "telling",
    "turn",
    "verdict",
    "way",
    "words",
];

/// Returns the names of the types that `code` declares. Leaves out the associated types of traits.
fn types(code: &str) -> Vec<String> {
    let declaration = r"(?m)^(?:\s*(?:pub(?:\([a-z: ]+\))? )?(?:struct|enum|trait|union)|(?:pub(?:\([a-z: ]+\))? )?type) ([A-Z]\w*)";
    let declaration = Regex::new(declaration).unwrap();
    declaration.captures_iter(code).map(|found| found[1].to_string()).collect()
}

#[test]
fn type_names_are_unique() {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in sources() {
        if path.iter().any(|part| part == "tests" || part == "tests.rs") {
            continue;
        }
        for name in types(without_tests(&text)) {
            files.entry(name).or_default().push(path.display().to_string());
        }
    }
    assert!(files.len() > 100, "the types were not found");
    let allowed: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    for name in &allowed {
        let count = files.get(*name).map_or(0, Vec::len);
        assert!(count > 1, "{name} is allowed to occur more than once, and occurs {count} times");
    }
    files.retain(|name, places| places.len() > 1 && !allowed.contains(name.as_str()));
    assert!(files.is_empty(), "one name, one meaning: {files:#?}");
}

#[test]
fn every_kind_of_type_is_found() {
    let code = "struct A;\npub enum B {}\npub(in crate::x) trait C {}\ntype D = u8;\nimpl A {\n    type E = u8;\n}\n";
    assert_eq!(types(code), ["A", "B", "C", "D"]);
}

#[test]
fn files_are_not_named_after_metaphors() {
    let named = |path: &std::path::Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    let offences: Vec<_> = sources()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| METAPHORS.contains(&named(path).as_str()))
        .collect();
    assert!(offences.is_empty(), "name these files after what they contain: {offences:?}");
}
