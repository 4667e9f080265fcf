//! Reads recipes of Makefiles and justfiles.

use std::collections::BTreeMap;
use std::path::Path;

use super::line::add;
use super::shell::logical_lines;
use crate::config::names::is_variable_name;
use crate::recognition::facts::file::{FileFacts, spot};
use crate::recognition::facts::{Author, GivenValue, Giver};

/// Reads a Makefile. Expands variables with plain text in its recipes.
pub(in crate::recognition::facts) fn makefile(file: &Path, text: &str) -> FileFacts {
    let mut facts = FileFacts::default();
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    let mut target = String::new();
    for (row, line) in logical_lines(text) {
        if let Some(recipe) = line.strip_prefix('\t') {
            let recipe = replaced(recipe.trim_start_matches(['@', '-', '+', ' ', '\t']), &variables);
            if !recipe.starts_with('#') {
                add(&mut facts, &recipe, &spot(file, row), &Author::Make(target.clone()), file.parent());
            }
            continue;
        }
        let line = line.trim();
        let (exported, plain) = match line.strip_prefix("export ") {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        if let Some((name, value)) = plain
            .split_once('=')
            .map(|(name, value)| (name.trim_end_matches([':', '?', '+']).trim(), value.trim()))
            && is_variable_name(name)
        {
            let value = replaced(value, &variables);
            if exported && !value.contains('$') {
                let (name, value) = (name.to_string(), value.clone());
                facts.values.push(GivenValue { name, value, at: spot(file, row), by: Giver::Script });
            }
            variables.insert(name.into(), value);
        } else if let Some((names, _)) = line.split_once(':').filter(|_| !line.starts_with('#')) {
            target = names.split_whitespace().next().unwrap_or_default().into();
        }
    }
    facts
}

/// Replaces `$(NAME)` and `${NAME}` by their values, and `$$` by the `$` that the shell gets. Limits the length of the
/// result, because values may contain each other.
fn replaced(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut text = text.to_string();
    for (name, value) in variables {
        if text.len() + value.len() > 4096 || !text.contains('$') {
            break;
        }
        text = text.replace(&format!("$({name})"), value).replace(&format!("${{{name}}}"), value);
        text.truncate(text.floor_char_boundary(4096));
    }
    text.replace("$$", "$")
}

/// Reads a justfile.
pub(in crate::recognition::facts) fn justfile(file: &Path, text: &str) -> FileFacts {
    let mut facts = FileFacts::default();
    let mut recipe: Option<String> = None;
    for (row, line) in logical_lines(text) {
        if line.starts_with([' ', '\t']) {
            let command = line.trim().trim_start_matches(['@', '-']);
            if let Some(recipe) = recipe.as_ref().filter(|_| !command.starts_with('#')) {
                add(&mut facts, command, &spot(file, row), &Author::Just(recipe.clone()), file.parent());
            }
        } else if let Some((head, _)) = line.split_once(':').filter(|(_, rest)| !rest.starts_with('=')) {
            let name = head.trim_start_matches('@').split_whitespace().next().unwrap_or_default();
            recipe = (!name.starts_with('#') && !line.starts_with('[')).then(|| name.into());
        }
    }
    facts
}
