//! Reads commands in the code blocks of documents, and tenant URLs anywhere in them.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use super::line::{add, below};
use super::shell::logical_lines;
use crate::recognition::facts::file::{FileFacts, spot};
use crate::recognition::facts::{Author, TenantUrl};

/// Languages of code blocks that may contain commands; "" stands for a block without a language.
const SHELLS: &[&str] = &["", "bash", "sh", "shell", "console", "zsh", "terminal", "shell-session", "text"];

/// Programs whose commands are also read in running text, between backticks.
const INLINE: &[&str] =
    &["uvicorn ", "fastapi ", "gunicorn ", "celery ", "arq ", "alembic ", "python -m uvicorn "];

static TENANT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"https?://([a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.localhost)(?::(\d{1,5}))?((?:[/?#][^\s"'`<>()\[\]{}|\\]*)?)"#)
        .ok()
});

/// Reads a README or another document in Markdown.
pub(in crate::recognition::facts) fn document(file: &Path, text: &str) -> FileFacts {
    let mut facts = FileFacts { tenants: tenants(file, text), ..FileFacts::default() };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut directory: Option<PathBuf> = None;
    // Inside a block, the fence that ends it and whether its lines are commands.
    let mut block: Option<(String, bool)> = None;
    for (row, line) in logical_lines(text) {
        let line = line.trim();
        let fence: String = line.chars().take_while(|c| matches!(c, '`' | '~')).collect();
        match &block {
            Some((end, _)) if fence.len() >= end.len() && line == fence => block = None,
            Some((_, true)) => {
                let command = line.trim_start_matches("$ ").trim_start_matches("> ").trim();
                let command = command.split(" # ").next().unwrap_or(command).trim();
                if command.is_empty() || command.starts_with('#') {
                    continue;
                }
                match command.strip_prefix("cd ").filter(|rest| !rest.contains("&&") && !rest.contains(';')) {
                    Some(change) => directory = below(directory.as_deref(), change),
                    None => {
                        add(&mut facts, command, &spot(file, row), &Author::Document, directory.as_deref());
                    }
                }
            }
            Some(_) => {}
            None if fence.len() >= 3 => {
                let language = line[fence.len()..].split([' ', '{', ',']).next().unwrap_or_default();
                block = Some((fence, SHELLS.contains(&language.to_ascii_lowercase().as_str())));
                directory = folder.map(Path::to_path_buf);
            }
            None => {
                for code in line.split('`').skip(1).step_by(2) {
                    if INLINE.iter().any(|program| code.starts_with(program)) {
                        add(&mut facts, code, &spot(file, row), &Author::Document, folder);
                    }
                }
            }
        }
    }
    facts
}

/// Returns the URLs of the form `http://NAME.localhost[:PORT]/path` in `text`.
pub(in crate::recognition::facts) fn tenants(file: &Path, text: &str) -> Vec<TenantUrl> {
    let Some(pattern) = TENANT.as_ref().filter(|_| text.contains(".localhost")) else { return Vec::new() };
    let mut found = Vec::new();
    for (row, line) in text.lines().enumerate() {
        for url in pattern.captures_iter(line).take(20) {
            let part = |index: usize| url.get(index).map_or("", |part| part.as_str());
            // A full stop or comma after a URL belongs to the sentence.
            let path = part(3).trim_end_matches(['.', ',', ';', ':', '!', '*', '_']);
            let whole = part(0);
            found.push(TenantUrl {
                at: spot(file, row),
                text: whole[..whole.len() - (part(3).len() - path.len())].into(),
                host: part(1).into(),
                port: part(2).parse().ok(),
                path: path.into(),
            });
        }
    }
    found
}
