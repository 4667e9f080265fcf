//! What databases are called. Pure: text in, text out.
//!
//! A name must mean one branch only: Postgres cuts names at 63 bytes without an error, so two long branches would share
//! a database; and it must need no quoting in URLs and configuration files. Refuses to look whether a name is in use.

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

/// Longest part of a name that comes from the branch: with `-` and eight digits it stays under 63 bytes.
const LONGEST: usize = 52;
/// What devrun's own databases begin with; no branch can get such a name.
pub const RESERVED_PREFIX: &str = "_devrun";
/// Databases every server has.
const SYSTEM: [&str; 3] = ["postgres", "template0", "template1"];

/// The name for `branch` behind `prefix` (`dev-`).
pub fn name_for(prefix: &str, branch: &str) -> String {
    safe(&format!("{prefix}{branch}"))
}

/// The name for a worktree whose HEAD is on no branch. `path_hash` are eight hex digits of the hash of its path (more
/// are cut, anything else is hashed); no branch can get such a name.
pub fn detached(worktree_slug: &str, path_hash: &str) -> String {
    let hash = match path_hash.get(..8) {
        Some(digits) if is_hex(digits) => digits.to_string(),
        _ => digits_of(path_hash),
    };
    let slug = slugged(worktree_slug);
    let slug = cut(&slug, LONGEST - "dev-detached-".len());
    format!("dev-detached-{slug}-{hash}")
}

/// A database name that stands for `rendered` and for nothing else: at most 63 bytes of `[a-z0-9_-]`.
///
/// What is already safe stays as it is. Anything else is made safe and gets eight digits of the hash of its original
/// bytes; so does what merely looks as if it had such digits, and what the server or devrun needs for itself.
pub fn safe(rendered: &str) -> String {
    let slug = slugged(rendered);
    let plain = slug == rendered
        && !slug.is_empty()
        && slug.len() <= LONGEST
        && !looks_hashed(&slug)
        && !slug.starts_with(RESERVED_PREFIX)
        && !SYSTEM.contains(&slug.as_str());
    if plain {
        return slug;
    }
    let body = cut(slug.trim_start_matches('_'), LONGEST);
    let body = if body.is_empty() { "db" } else { body };
    format!("{body}-{}", digits_of(rendered))
}

/// Composed, lower case where ASCII knows case, and one `-` for every run of anything but `[a-z0-9_]`.
fn slugged(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    for c in text.nfc().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_alphanumeric() || c == '_' {
            slug.push(c);
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug
}

/// At most `limit` bytes of a slug, without a dash at the end.
fn cut(slug: &str, limit: usize) -> &str {
    slug[..slug.len().min(limit)].trim_end_matches('-')
}

fn looks_hashed(slug: &str) -> bool {
    slug.len() >= 9 && is_hex(&slug[slug.len() - 8..]) && slug.as_bytes()[slug.len() - 9] == b'-'
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn digits_of(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    format!("{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3])
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_branches_are_literal() {
        for name in ["dev-login", "dev-main", "dev-fix_42", "dev-a-b-c", "dev-detached-head"] {
            assert_eq!(safe(name), name);
        }
        assert_eq!(name_for("dev-", "login"), "dev-login");
    }

    #[test]
    fn what_cannot_be_literal_carries_its_hash() {
        assert_eq!(name_for("dev-", "feature/x"), format!("dev-feature-x-{}", digits_of("dev-feature/x")));
        assert!(safe("dev-100%").starts_with("dev-100-"));
        assert!(safe("dev-login-0123abcd").starts_with("dev-login-0123abcd-"));
        assert!(safe("").starts_with("db-"));
    }

    #[test]
    fn look_alikes_get_different_names() {
        let long = "x".repeat(80);
        let branches = [
            "Login",
            "login",
            "LOGIN",
            "a/b",
            "a-b",
            "a--b",
            "a b",
            "a_b",
            "é",
            "e\u{301}",
            "ünïcode",
            "",
            "-",
            "--",
            &long,
            &format!("{long}y"),
            &long[..79],
        ];
        let names: HashSet<String> = branches.iter().map(|branch| name_for("dev-", branch)).collect();
        assert_eq!(names.len(), branches.len());
    }

    #[test]
    fn nobody_gets_a_name_that_the_server_or_devrun_needs() {
        for taken in ["postgres", "template0", "template1", "_devrun", "_devrun-tmp-1", "_Devrun"] {
            let name = safe(taken);
            assert_ne!(name, taken.to_ascii_lowercase());
        }
        assert_eq!(safe("_other"), "_other");
    }

    #[test]
    fn a_branch_cannot_take_a_detached_worktrees_name() {
        let name = detached("My Tree/2", "0123abcdef");
        assert_eq!(name, "dev-detached-my-tree-2-0123abcd");
        assert_ne!(safe(&name), name);
        assert_ne!(detached("t", "/a"), detached("t", "/b"));
        assert!(detached(&"s".repeat(99), "0123abcd").len() <= 63);
    }

    fn branch() -> impl Strategy<Value = String> {
        prop_oneof!["[a-zA-Z/_.-]{0,12}", "[a-c/-]{40,70}", "\\PC{0,30}", "dev-[a-f0-9]{8}(-[0-9a-f]{8})?"]
    }

    proptest! {
        #[test]
        fn every_name_is_short_and_needs_no_quoting(text in branch()) {
            let name = safe(&text);
            prop_assert!(!name.is_empty() && name.len() <= 63);
            prop_assert!(name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')));
            prop_assert!(!name.starts_with(RESERVED_PREFIX));
        }

        #[test]
        fn a_name_that_was_literal_stays_so(text in branch()) {
            let name = safe(&text);
            if name == text {
                prop_assert_eq!(safe(&name), name);
            } else {
                prop_assert!(looks_hashed(&name));
            }
        }

        #[test]
        fn different_texts_have_different_names(texts in prop::collection::hash_set(branch(), 2..40)) {
            let mut seen = HashMap::new();
            for text in texts {
                if let Some(other) = seen.insert(safe(&text), text.clone()) {
                    prop_assert!(false, "{other:?} and {text:?} share a name");
                }
            }
        }
    }
}
