//! Checks the links between the documents: each leads to a file of the repository, and to a heading that exists there. Checks also
//! that the contents of the site list every page. Links to other sites are not checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// Folders with pages, and pages beside them.
const PLACES: [&str; 5] = ["README.md", "CHANGELOG.md", "docs", "docs/decisions", "tests/shapes"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// Returns the pages, relative to the top of the repository, with their lines outside code blocks.
fn pages() -> BTreeMap<PathBuf, Vec<String>> {
    let mut paths = Vec::new();
    for place in PLACES {
        let path = root().join(place);
        if path.is_dir() {
            paths.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            paths.push(path);
        }
    }
    let pages = paths.into_iter().filter(|path| is_page(path));
    pages
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.strip_prefix(root()).unwrap().to_path_buf(), prose(&text))
        })
        .collect()
}

fn prose(text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push(line.to_string());
        }
    }
    lines
}

/// Returns the names by which links find the headings of a page, as GitHub and mdBook make them.
fn anchors(lines: &[String]) -> BTreeSet<String> {
    static LINK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\[([^\]]*)\]\([^)]*\)").unwrap());
    let mut found: BTreeSet<String> = BTreeSet::new();
    for line in lines {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let heading = LINK.replace_all(heading.trim(), "$1").to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let name: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let again = (1..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone()).chain(again).find(|name| !found.contains(name));
        found.extend(free);
    }
    found
}

/// Returns the targets of the links in a line, outside inline code.
fn targets(line: &str) -> Vec<String> {
    static CODE: LazyLock<Regex> = LazyLock::new(|| Regex::new("`[^`]*`").unwrap());
    static TARGET: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\]\(([^()\s]*)(?:\s[^)]*)?\)").unwrap());
    let prose = CODE.replace_all(line, "code");
    TARGET.captures_iter(&prose).map(|found| found[1].to_string()).collect()
}

/// Joins a path of a link to the folder of its page.
fn resolved(page: &Path, link: &str) -> PathBuf {
    let mut path = page.parent().unwrap().to_path_buf();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    path
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let pages = pages();
    assert!(pages.len() > 20, "{} pages", pages.len());
    let headings: BTreeMap<&PathBuf, BTreeSet<String>> =
        pages.iter().map(|(page, lines)| (page, anchors(lines))).collect();
    let (mut broken, mut count) = (Vec::new(), 0);
    for (page, lines) in &pages {
        for target in lines.iter().flat_map(|line| targets(line)) {
            if ["https://", "http://", "mailto:"].iter().any(|scheme| target.starts_with(scheme)) {
                continue;
            }
            count += 1;
            let (file, anchor) =
                target.split_once('#').map_or((target.as_str(), None), |(f, a)| (f, Some(a)));
            let path = if file.is_empty() { page.clone() } else { resolved(page, file) };
            let has_heading = |anchor: &str| headings.get(&path).is_none_or(|names| names.contains(anchor));
            if !root().join(&path).exists() || !anchor.is_none_or(has_heading) {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(count > 100, "only {count} links");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_is_in_the_contents_of_the_site() {
    let contents = prose(&std::fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap());
    let listed: BTreeSet<String> = contents.iter().flat_map(|line| targets(line)).collect();
    let pages = pages();
    let pages = pages.keys().filter_map(|page| page.strip_prefix("docs").ok());
    let pages: BTreeSet<String> =
        pages.map(|page| page.to_string_lossy().into_owned()).filter(|page| page != "SUMMARY.md").collect();
    let beside = ["../README.md", "../CHANGELOG.md"].map(str::to_string);
    let missing: Vec<&String> = pages.iter().chain(&beside).filter(|page| !listed.contains(*page)).collect();
    assert!(missing.is_empty(), "not in docs/SUMMARY.md: {missing:?}");
}

#[test]
fn headings_get_the_names_that_links_use() {
    let lines = ["# `port` and `listen`", "## [Neon](neon.md)", "##  x", "## X", "#nothing"];
    let names = anchors(&lines.map(str::to_string));
    assert_eq!(names, ["neon", "port-and-listen", "x", "x-1"].map(str::to_string).into());
}
