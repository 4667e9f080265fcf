//! Counts constructions that make comments and documents hard to read. No folder may exceed its ceiling.

use std::path::{Path, PathBuf};

use regex::Regex;

/// The largest score of each folder: blocks with a hit, per 1,000 blocks. Lower a number when the score falls; never raise it.
const CEILINGS: [(&str, usize); 7] = [
    ("src", 5),
    ("tests", 5),
    ("docs", 5),
    ("scripts", 0),
    ("benches", 0),
    ("README.md", 0),
    ("CHANGELOG.md", 0),
];

/// Habits, each with the reason to avoid it.
const HABITS: [(&str, &str); 6] = [
    (
        "names a person where a process, a value or a program acts",
        r"(?i)\b(whoever|whatever|(some|any|every|no)body|he|him|his|himself)\b",
    ),
    (
        "begins a sentence without its noun",
        r"(^|[.:;!] )(Who|Whom|What|(Those|One|That) (who|that|which|whom))\b[^?]*$",
    ),
    (
        "uses a word that only this project uses so",
        r"(?i)\b(tell(s|ing)?|told|mend(s|ed|ing)?|anew|betrays?|forsaken|doomed|whence|lest)\b",
    ),
    (
        "hides the actor in a passive",
        r"(?i)\b(is|are|was|were|be|been) ((waited|looked|asked) (for|at)|gone for good|given up on)\b",
    ),
    (
        "says `of its own` where `own` or `another` is enough",
        r"(?i)\bof (ours|yours|theirs|(its|their|his|your) own)\b",
    ),
    ("uses an old phrase", r"(?i)\b(this|that|the) very\b|\b(to|can|could|cannot) be had\b|\bmeanwhile\b"),
];

/// A comment, a paragraph, a list item or a row of a table.
struct Block {
    /// Where it begins.
    line: usize,
    text: String,
}

/// Splits a file into blocks and leaves out fenced and inline code.
fn blocks(path: &Path, text: &str) -> Vec<Block> {
    let is_page = path.extension().is_some_and(|extension| extension == "md");
    let mark = if path.extension().is_some_and(|extension| extension == "rs") { "//" } else { "#" };
    let mut found: Vec<Block> = Vec::new();
    let (mut goes_on, mut fenced) = (false, false);
    for (index, line) in text.lines().map(str::trim).enumerate() {
        let words = if !is_page {
            let comment = line.strip_prefix(mark).filter(|rest| mark == "//" || !rest.starts_with('!'));
            comment.map(|rest| rest.trim_start_matches(['/', '!', '#']).trim())
        } else if line.starts_with("```") {
            fenced = !fenced;
            None
        } else {
            let begins = |c: char| c.is_ascii_digit() || ['*', '-', '|', '#'].contains(&c);
            goes_on &= !line.starts_with(begins);
            (!fenced && !line.is_empty()).then_some(line)
        };
        match (words, found.last_mut()) {
            (Some(words), Some(block)) if goes_on => block.text = format!("{} {words}", block.text),
            (Some(words), _) => found.push(Block { line: index + 1, text: words.into() }),
            (None, _) => {}
        }
        goes_on = words.is_some() && !(is_page && line.starts_with('#'));
    }
    let code = Regex::new("`[^`]*`").unwrap();
    for block in &mut found {
        block.text = code.replace_all(&block.text, "x").into_owned();
    }
    found
}

fn habits() -> Vec<(&'static str, Regex)> {
    HABITS.into_iter().map(|(reason, pattern)| (reason, Regex::new(pattern).unwrap())).collect()
}

/// Returns the files below `path`, or `path` itself, that contain comments or text.
fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path) else { return vec![path.into()] };
    let mut found: Vec<PathBuf> = entries.flatten().flat_map(|entry| files(&entry.path())).collect();
    let known = ["rs", "md", "sh"];
    found.retain(|file| {
        file.extension().is_none_or(|extension| known.iter().any(|known| extension == *known))
    });
    found.sort();
    found
}

/// Returns the score of a folder, and a line for each hit.
fn score(folder: &str) -> (usize, Vec<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let habits = habits();
    let (mut count, mut hits) = (0, Vec::new());
    for file in files(&root.join(folder)) {
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        for block in blocks(&file, &text) {
            count += 1;
            if let Some((reason, _)) = habits.iter().find(|(_, habit)| habit.is_match(&block.text)) {
                let place = file.strip_prefix(root).unwrap().display();
                hits.push(format!("{place}:{} {reason}: {}", block.line, block.text));
            }
        }
    }
    assert!(count > 0, "{folder} has no comments");
    ((1000 * hits.len()).div_ceil(count), hits)
}

#[test]
fn comments_and_documents_stay_readable() {
    for (folder, ceiling) in CEILINGS {
        let (score, hits) = score(folder);
        assert!(
            score <= ceiling,
            "{folder} has {score} of 1,000 blocks with a hard sentence, {ceiling} are allowed:\n{}",
            hits.join("\n")
        );
    }
}

#[test]
fn blocks_are_comments_paragraphs_and_items() {
    let texts = |name: &str, text: &str| -> Vec<String> {
        blocks(Path::new(name), text).into_iter().map(|block| block.text).collect()
    };
    let code = "/// Kills `a`\n/// and b.\nfn kill() {}\n    // Why.\n";
    assert_eq!(texts("a.rs", code), ["Kills x and b.", "Why."]);
    assert_eq!(texts("run", "#!/bin/sh\n# One.\nls\n"), ["One."]);
    let page = "# Title\nText\ngoes on.\n\n* one\n  more\n* two\n```\ncode\n```\n| a | b |\n";
    assert_eq!(texts("a.md", page), ["# Title", "Text goes on.", "* one more", "* two", "| a | b |"]);
}

#[test]
fn hard_sentences_are_found() {
    let count = |text: &str| habits().iter().filter(|(_, habit)| habit.is_match(text)).count();
    for hard in [
        "Kills whoever holds the port.",
        "Pure. What is left is killed.",
        "The end is told.",
        "A process that is waited for.",
        "A session of its own.",
        "A tool that cannot be had.",
    ] {
        assert_eq!(count(hard), 1, "{hard}");
    }
    for plain in ["What does it print?", "Kills the process that holds the port.", "Its own session."] {
        assert_eq!(count(plain), 0, "{plain}");
    }
}
