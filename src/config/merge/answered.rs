//! Finds out which suggestions of recognition the user's file has answered. Pure.

use std::sync::Arc;

use crate::config::source::Source;
use crate::config::value_tree::{Node, Value};
use crate::config::yaml;
use crate::plan::Notice;

/// The keys whose entries a suggestion names.
const MERGED_KEYS: [&str; 2] = ["env", "processes"];

/// Returns true if `file` has every variable and process that the lines of the notice would add.
pub fn is_answered(notice: &Notice, file: &Node) -> bool {
    let Some(fix) = &notice.fix else { return false };
    let source: Arc<Source> = Source::new("suggestion", fix.clone());
    let Ok(lines) = yaml::parse(&source) else { return false };
    let wanted: Vec<(&str, &str)> =
        MERGED_KEYS.iter().flat_map(|key| names(&lines, key).into_iter().map(|name| (*key, name))).collect();
    !wanted.is_empty() && wanted.iter().all(|(key, name)| names(file, key).contains(name))
}

/// Returns the names below the top-level key `key`.
fn names<'a>(node: &'a Node, key: &str) -> Vec<&'a str> {
    let below = |node: &'a Node| match &node.value {
        Value::Map(entries) => entries.as_slice(),
        _ => &[],
    };
    let entry = below(node).iter().find(|entry| entry.name == key);
    entry.map_or(&[][..], |entry| below(&entry.value)).iter().map(|entry| entry.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestion_is_answered_by_the_keys_that_it_names() {
        let is = |fix: &str, file: &str| {
            let notice = Notice { text: String::new(), fix: Some(fix.into()) };
            is_answered(&notice, &yaml::parse(&Source::new("f", file)).unwrap())
        };
        let add = "ports: { backend: 8100 }\nprocesses:\n  backend: { run: COMMAND }\n";
        assert!(is(add, "processes: { backend: { run: app run } }"));
        assert!(!is(add, "processes: { frontend: { run: vite } }"));
        assert!(is("env: { NEXTAUTH_URL: http://x }", "env: { NEXTAUTH_URL: http://y, A: b }"));
        assert!(!is("env: { NEXTAUTH_URL: http://x }", "env: { A: b }"));
        assert!(!is("line 3: env: { A: b }", "env: { A: c }"));
        assert!(!is("# install redis-server", "env: { A: c }"));
    }
}
