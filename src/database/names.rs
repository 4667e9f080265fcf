//! Builds database names. Pure: text in, text out.
//!
//! A name must belong to one branch only. Postgres cuts names at 63 bytes without an error, so two long branch names
//! could share a database. A name must also need no quoting in URLs and configuration files. This module does not check
//! whether a name is in use.

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use crate::text::hex;

/// The most bytes of a name that come from the branch. With `-` and eight digits the name stays under 63 bytes.
const LONGEST: usize = 52;
/// The prefix of devrun's own databases. No branch gets a name with this prefix.
pub const RESERVED_PREFIX: &str = "_devrun";
/// The beginning of the value of `${branch}` in a worktree with a detached HEAD.
const DETACHED_BRANCH: &str = "detached-";
/// Databases that every server has.
const SYSTEM: [&str; 3] = ["postgres", "template0", "template1"];

/// Returns the value of `${branch}` in a worktree on `branch`. A name that looks like a value of [`detached`] gets eight digits of its
/// hash, so that the branch never shares a database with such a worktree. `prepare` renders `database.branch` with it.
pub fn branch(branch: &str) -> String {
    let looks_detached = branch.starts_with(DETACHED_BRANCH) && looks_hashed(branch);
    if looks_detached { format!("{branch}-{}", digits_of(branch)) } else { branch.into() }
}

/// Returns the value of `${branch}` in a worktree with a detached HEAD. `path_hash` is the hash of the worktree's path in
/// hex digits, of which the first eight are used. [`branch`] never returns this value.
pub fn detached(worktree_slug: &str, path_hash: &str) -> String {
    format!("{DETACHED_BRANCH}{worktree_slug}-{path_hash:.8}")
}

/// Returns a database name that is unique to `rendered`: at most 63 bytes of `[a-z0-9_-]`.
///
/// A text that is already safe is returned unchanged. Any other text is made safe and gets eight hex digits of the hash
/// of its original bytes. The same happens to a text that already ends like such a hash, and to names that the server
/// or devrun reserves.
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

/// Returns `text` in Unicode form C, with ASCII letters in lower case and one `-` for every run of other characters
/// than `[a-z0-9_]`.
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

/// Returns at most `limit` bytes of `slug`, without a dash at the end.
fn cut(slug: &str, limit: usize) -> &str {
    slug[..slug.len().min(limit)].trim_end_matches('-')
}

/// Returns true if `text` ends with a dash and eight hex digits.
fn looks_hashed(text: &str) -> bool {
    let Some(dash) = text.len().checked_sub(9) else { return false };
    let (body, digits) = text.as_bytes().split_at(dash + 1);
    body[dash] == b'-' && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn digits_of(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..4])
}

/// Returns true if `name` contains the name of the branch database `branch`, as `test_dev-x_1` does.
pub(super) fn is_named_after(name: &str, branch: &str) -> bool {
    has_word(&name.replace('_', " "), &branch.replace('_', " "))
}

/// Returns true if `text` has `word`, and no character of a name before or after it.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let belongs = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$');
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(belongs) && !text[at + word.len()..].starts_with(belongs))
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
    }

    #[test]
    fn texts_that_cannot_be_literal_carry_their_hash() {
        assert_eq!(safe("dev-feature/x"), format!("dev-feature-x-{}", digits_of("dev-feature/x")));
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
        let names: HashSet<String> = branches.iter().map(|branch| safe(&format!("dev-{branch}"))).collect();
        assert_eq!(names.len(), branches.len());
    }

    #[test]
    fn names_that_the_server_or_devrun_needs_are_not_given_to_branches() {
        for taken in ["postgres", "template0", "template1", "_devrun", "_devrun-tmp-1", "_Devrun"] {
            let name = safe(taken);
            assert_ne!(name, taken.to_ascii_lowercase());
        }
        assert_eq!(safe("_other"), "_other");
    }

    #[test]
    fn a_branch_called_like_a_detached_worktree_has_its_own_database() {
        let own = detached("t", "0123abcdef");
        assert_eq!(own, "detached-t-0123abcd");
        assert_ne!(branch(&own), own);
        // The same holds for a branch that is called like the value of that branch.
        assert_ne!(branch(&branch(&own)), branch(&own));
        assert_ne!(safe(&format!("dev-{}", branch(&own))), safe(&format!("dev-{own}")));
        for plain in
            ["feature/x", "detached", "detached-head", "detached-\u{e9}0123abc", "x-detached-t-0123abcd"]
        {
            assert_eq!(branch(plain), plain);
        }
    }

    fn branches() -> impl Strategy<Value = String> {
        prop_oneof!["[a-zA-Z/_.-]{0,12}", "[a-c/-]{40,70}", "\\PC{0,30}", "dev-[a-f0-9]{8}(-[0-9a-f]{8})?"]
    }

    proptest! {
        #[test]
        fn every_name_is_short_and_needs_no_quoting(text in branches()) {
            let name = safe(&text);
            prop_assert!(!name.is_empty() && name.len() <= 63);
            prop_assert!(name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')));
            prop_assert!(!name.starts_with(RESERVED_PREFIX));
        }

        #[test]
        fn a_name_that_was_literal_stays_so(text in branches()) {
            let name = safe(&text);
            if name == text {
                prop_assert_eq!(safe(&name), name);
            } else {
                prop_assert!(looks_hashed(&name));
            }
        }

        #[test]
        fn different_texts_have_different_names(texts in prop::collection::hash_set(branches(), 2..40)) {
            let mut seen = HashMap::new();
            for text in texts {
                if let Some(other) = seen.insert(safe(&text), text.clone()) {
                    prop_assert!(false, "{other:?} and {text:?} share a name");
                }
            }
        }
    }
}
