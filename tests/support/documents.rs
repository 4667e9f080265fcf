//! Finds the command lines of devrun in README.md and docs: in code blocks of shell lines or sessions, and between backticks.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// A command line in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// The page, relative to the top, and the line.
    pub(crate) place: String,
    /// The text, without a prompt and without a comment.
    pub(crate) text: String,
    /// True for a line of a code block. Between backticks, the text may be only the name of a verb.
    pub(crate) in_block: bool,
}

/// Returns name and text of README.md and of the pages in docs, without those in its subfolders.
pub(crate) fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.push(root.join("README.md"));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// Returns the command lines of a page that run devrun.
pub(crate) fn command_lines(name: &str, text: &str) -> Vec<CommandLine> {
    static PROMPT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^(?:[\w~/.-]*\$) ").unwrap());
    static CODE: LazyLock<Regex> = LazyLock::new(|| Regex::new("`([^`]*)`").unwrap());
    static COMMENT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\s+#\s.*$").unwrap());
    let mut found = Vec::new();
    let mut block: Option<String> = None;
    for (line, number) in text.lines().zip(1..) {
        let mut add = |text: &str, in_block: bool| {
            let text = COMMENT.replace(text.trim(), "").replace(r"\|", "|");
            if runs_devrun(&text) {
                found.push(CommandLine { place: format!("{name}:{number}"), text, in_block });
            }
        };
        if let Some(language) = line.trim_start().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(language.trim().to_string()) };
            continue;
        }
        match block.as_deref() {
            Some("sh" | "bash") => add(line, true),
            // The other lines of a session are output.
            Some("console") if PROMPT.is_match(line) => add(&PROMPT.replace(line, ""), true),
            Some(_) => {}
            None => CODE.captures_iter(line).for_each(|code| add(&code[1], false)),
        }
    }
    found
}

fn runs_devrun(text: &str) -> bool {
    let starts = |part: &str| part.split_whitespace().next() == Some("devrun");
    text.split(['|', '&', ';', '(']).any(|part| starts(part.trim()))
}

/// Returns the variants of a text that shows what may be left out: `logs [-f] [NAME…]` with and without the parts in brackets, and
/// each of `[NAME|PATH]`.
pub(crate) fn variants(text: &str) -> Vec<String> {
    static OPTIONAL: LazyLock<Regex> = LazyLock::new(|| Regex::new(r" ?\[([^\[\]]+)\]").unwrap());
    let text = text.replace(['…'], "").replace("...", "");
    let Some(found) = OPTIONAL.captures(&text) else { return vec![text] };
    let whole = found.get(0).unwrap();
    let (before, after) = (&text[..whole.start()], &text[whole.end()..]);
    let choices = found[1].split('|').map(|choice| format!("{before} {choice}{after}"));
    std::iter::once(format!("{before}{after}")).chain(choices).flat_map(|text| variants(&text)).collect()
}
