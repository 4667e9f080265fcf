//! Decides whether a file's code runs in Node or in a browser, if that is certain.

use super::code::ScriptCode;
use crate::recognition::facts::syntax::children;

/// Prefixes of the names of files that only Node reads.
const SERVER_NAMES: &[&str] = &[
    "next.config.",
    "vite.config.",
    "nuxt.config.",
    "astro.config.",
    "svelte.config.",
    "rsbuild.config.",
    "webpack.config.",
    "vue.config.",
    "server.",
    "middleware.",
    "proxy.",
    "instrumentation.",
    "setupProxy.",
    "+server.",
];

/// Words that occur only in code for a browser.
const BROWSER_WORDS: &[&str] = &["window.", "document.", "localStorage", "useEffect(", "useState("];

/// Returns true for code that runs in Node, false for code for a browser, `None` if neither is certain.
pub(super) fn runs_on_server(code: &ScriptCode<'_>) -> Option<bool> {
    let name = code.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let has_folder = |wanted: &str| code.file.iter().any(|part| part == wanted);
    let path = code.file.to_string_lossy();
    let is_route = name.starts_with("route.") && has_folder("app");
    if SERVER_NAMES.iter().any(|start| name.starts_with(start))
        || is_route
        || name.contains(".server.")
        || path.contains("pages/api/")
        || path.contains("server/api/")
    {
        return Some(true);
    }
    match directive(code).as_deref() {
        Some("use server") => return Some(true),
        Some("use client") => return Some(false),
        _ => {}
    }
    if code.source.contains("server-only\"") || code.source.contains("server-only'") {
        return Some(true);
    }
    let in_browser = BROWSER_WORDS.iter().any(|word| code.source.contains(word))
        || code.source.contains("import.meta.env")
        || code.file.extension().is_some_and(|extension| extension == "vue" || extension == "svelte");
    in_browser.then_some(false)
}

/// Returns the directive at the start of the file, such as `use client`.
fn directive(code: &ScriptCode<'_>) -> Option<String> {
    let first = code.nodes.first().map(|top| children(*top)).unwrap_or_default();
    let first = first.into_iter().find(|node| node.kind() != "hash_bang_line")?;
    let text = first.named_child(0).filter(|_| first.kind() == "expression_statement")?;
    code.string(text)
}
