//! Checks that only `database`, `testing` and the one file that reads the settings of providers name a concrete provider.

use std::path::Path;

use regex::Regex;

use crate::{sources, without_tests};

/// Chooses the provider, and lists the names of all providers.
const CHOOSES: &str = "database/providers.rs";
/// Reads the settings of the providers.
const READS: &str = "config/keys/providers.rs";

/// Returns the names in `NAMES` of [`CHOOSES`].
fn names() -> Vec<String> {
    let found = sources().into_iter().find(|(path, _)| path == Path::new(CHOOSES));
    let list = Regex::new(r"NAMES: \[&str; \d+\] = \[([^\]]+)\]").unwrap();
    let text = found.unwrap().1;
    let list = list.captures(&text).unwrap()[1].to_string();
    let name = Regex::new(r#""([a-z]+)""#).unwrap();
    name.captures_iter(&list).map(|name| name[1].to_string()).collect()
}

/// Returns the parts of `code` that name the provider `name`: its module, its types, or a comparison with its name.
fn mentions(code: &str, name: &str) -> Vec<String> {
    let (first, rest) = name.split_at(1);
    let capital = format!("{}{rest}", first.to_uppercase());
    let pattern = [
        format!(r"(database|providers)::{name}\b"),
        format!(r"database::\{{[^;]*\b{name}\b[^;]*;"),
        format!(r"\b{capital}(Provider|Request)\b"),
        format!(r"\bProvider(?:Choice)?::{capital}\b"),
        format!(r#"Named\("{name}"\)"#),
        format!(r#"[!=]= "{name}""#),
        format!(r#""{name}" (=>|\|)"#),
    ];
    let pattern = Regex::new(&pattern.join("|")).unwrap();
    pattern.find_iter(code).map(|found| found.as_str().to_string()).collect()
}

#[test]
fn only_the_database_module_names_a_provider() {
    let names = names();
    assert!(names.len() > 1, "{names:?}");
    let mut offences = Vec::new();
    for (path, text) in sources() {
        let is_test = path.iter().any(|part| part == "tests" || part == "tests.rs");
        // `testing` exports the client of Neon to the tests of that provider.
        if is_test
            || path.starts_with("database")
            || path == Path::new(READS)
            || path == Path::new("testing.rs")
        {
            continue;
        }
        let lines = without_tests(&text).lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.collect::<Vec<_>>().join("\n");
        for name in &names {
            let found = mentions(&code, name);
            offences.extend(found.into_iter().map(|text| format!("{}: {text}", path.display())));
        }
    }
    assert!(offences.is_empty(), "call the trait `database::Provider` instead: {offences:#?}");
}

#[test]
fn every_way_to_name_a_provider_is_found() {
    for code in [
        "use crate::database::neon::Neon;",
        "use crate::database::{\n    Branch,\n    neon::Neon,\n};",
        "use crate::database::{self, neon};",
        "let request: Option<NeonRequest> = None;",
        "provider == Provider::Neon",
        "if settled.provider != \"neon\" {",
        "match name { \"neon\" => 1, _ => 2 }",
    ] {
        assert_eq!(mentions(code, "neon").len(), 1, "{code}");
    }
    assert!(
        mentions("use crate::database::{Branch, Provider};\nlet key = \"NEON_API_KEY\";", "neon").is_empty()
    );
}
