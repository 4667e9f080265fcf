//! Reads facts of a JavaScript or TypeScript file: variables, schemas of the environment, loopback addresses.
//!
//! Searches for a few words first, and parses the file only if it contains one of them.

mod code;
mod component;
mod environment;
mod literals;
mod runtime;
mod schemas;
#[cfg(test)]
mod tests;

use std::path::Path;

use memchr::memmem;

use super::file::FileFacts;
use super::syntax::{Grammar, parse};
use code::ScriptCode;

/// Words that a file with facts must contain.
const WORDS: &[&str] = &[
    "process.env",
    "process?.env",
    "import.meta.env",
    "Bun.env",
    "createEnv",
    "cleanEnv",
    "$env/",
    "astro:env",
    "runtimeConfig",
    "localhost",
    "127.0.0.1",
    "[::1]",
    "from \"process\"",
    "node:process",
];

/// Folders of tests.
const TESTS: &[&str] = &["__tests__", "__mocks__", "cypress", "e2e", "playwright", "test", "tests"];

/// Parts of the names of tests and of their configuration.
const TEST_NAMES: &[&str] =
    &[".test.", ".spec.", ".stories.", ".cy.", "playwright.config.", "vitest.config.", "jest."];

/// Returns the facts of `file` with the content `text`.
pub(super) fn read(file: &Path, text: &str) -> FileFacts {
    let mut facts = FileFacts::default();
    if is_left_out(file) || !WORDS.iter().any(|word| memmem::find(text.as_bytes(), word.as_bytes()).is_some())
    {
        return facts;
    }
    let extension = file.extension().unwrap_or_default();
    let typescript = ["ts", "mts", "cts"].iter().any(|plain| extension == *plain);
    let grammar = if typescript { Grammar::TypeScript } else { Grammar::Tsx };
    let scripts = component::scripts(file, text);
    let text = scripts.as_deref().unwrap_or(text);
    let Some(tree) = parse(grammar, text) else { return facts };
    let code = ScriptCode::new(file, text, &tree);
    // A literal that is the default of a variable is not a fixed address.
    let mut defaults = Vec::new();
    environment::read(&code, &mut facts, &mut defaults);
    schemas::read(&code, &mut facts, &mut defaults);
    literals::read(&code, &mut facts, &defaults);
    facts
}

/// Returns true for tests, declarations and minified files.
fn is_left_out(file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.ends_with(".d.ts")
        || name.ends_with(".min.js")
        || TEST_NAMES.iter().any(|part| name.contains(part))
        || file
            .parent()
            .is_some_and(|folder| folder.iter().any(|part| TESTS.iter().any(|test| part == *test)))
}
