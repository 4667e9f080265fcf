//! Cases for `help`, one per behaviour.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

fn text(words: &[&str]) -> Result<String, Report> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_string()).collect();
    find(&words).map(|(_, text)| text)
}

#[test]
fn every_page_for_users_is_in_the_program() {
    /// Pages about the inside of devrun.
    const INSIDE: [&str; 4] = ["ARCHITECTURE", "benchmarks", "testing", "SUMMARY"];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: BTreeSet<String> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| !INSIDE.contains(&name.as_str()))
        .collect();
    let known: BTreeSet<String> =
        PAGES.iter().map(|page| page.name.to_string()).filter(|name| name != "example").collect();
    assert_eq!(files, known);
}

#[test]
fn a_verb_comes_before_the_page_of_the_same_name() {
    assert!(text(&["logs"]).unwrap().contains("Usage: devrun logs"));
    assert!(text(&["db", "reset"]).unwrap().contains("Usage: devrun db reset"));
    assert!(text(&["logs.md"]).unwrap().starts_with("# Lines and logs"));
    assert!(text(&["database"]).unwrap().starts_with("# Database"));
    assert!(text(&["exit", "codes"]).unwrap().starts_with("# Exit"));
}

#[test]
fn an_unknown_page_suggests_the_nearest() {
    let fix = |word: &str| text(&[word]).unwrap_err().fix.unwrap();
    assert_eq!(fix("databse"), "devrun help database");
    assert_eq!(fix("statsu"), "devrun help status");
    assert_eq!(fix("event"), "devrun help events");
    assert!(fix("xyzzy-plugh").contains("lists the pages"));
}

#[test]
fn a_line_for_a_page_fits_on_a_terminal() {
    for line in list().lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}
