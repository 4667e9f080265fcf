//! Builds the short name of a worktree. Pure: always the same for the same folder, and a valid DNS label.
//!
//! It does not depend on the branch, so that switching branches does not change hosts, folders or logs.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::text::hex;

/// The maximum length in bytes. A DNS label may have 63.
const LONGEST: usize = 40;
/// The number of hash digits that make equal names different.
const MARK: usize = 6;

/// Returns the slug of the worktree at `path`: the folder's name in `[a-z0-9-]`. A part of the path's hash is appended
/// if the name had to be changed or is not `unique` in the repository.
pub fn slug(path: &Path, unique: bool) -> String {
    let name = path.file_name().map_or(&[][..], OsStrExt::as_bytes);
    let plain = clean(name);
    if unique && plain.as_bytes() == name && (1..=LONGEST).contains(&plain.len()) {
        return plain;
    }
    let mark = &hash(path)[..MARK];
    let kept = plain[..plain.len().min(LONGEST - MARK - 1)].trim_end_matches('-');
    if kept.is_empty() { format!("w-{mark}") } else { format!("{kept}-{mark}") }
}

/// Returns ASCII letters in lower case and digits. Every run of other bytes becomes one hyphen, without hyphens at the
/// ends.
fn clean(name: &[u8]) -> String {
    let mut plain = String::with_capacity(name.len());
    for byte in name {
        if byte.is_ascii_alphanumeric() {
            plain.push(char::from(byte.to_ascii_lowercase()));
        } else if !plain.is_empty() && !plain.ends_with('-') {
            plain.push('-');
        }
    }
    plain.truncate(plain.trim_end_matches('-').len());
    plain
}

/// Returns the sha256 of the path's bytes in lower-case hex.
pub fn hash(path: &Path) -> String {
    hex(Sha256::digest(path.as_os_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_clean_name_is_unchanged() {
        assert_eq!(slug(Path::new("/w/feature-26"), true), "feature-26");
    }

    #[test]
    fn a_changed_name_gets_a_hash() {
        for name in ["My App", "my_app", "Feature", "é", "-a", "a-", "a--b", ".hidden"] {
            let slug = slug(&Path::new("/w").join(name), true);
            assert_ne!(slug, name);
            assert_eq!(slug.rsplit('-').next().unwrap().len(), MARK, "{slug}");
        }
        assert!(slug(Path::new("/w/My App"), true).starts_with("my-app-"));
        assert!(slug(Path::new("/"), true).starts_with("w-"));
    }

    #[test]
    fn folders_of_the_same_name_get_different_slugs_if_needed() {
        let (one, two) = (slug(Path::new("/a/platform"), false), slug(Path::new("/b/platform"), false));
        assert_ne!(one, two);
        assert!(one.starts_with("platform-"));
    }

    proptest! {
        #[test]
        fn every_folder_gives_a_dns_label(name in prop::collection::vec(any::<u8>(), 0..90), unique: bool) {
            let path = Path::new("/w").join(OsStr::from_bytes(&name));
            let slug = slug(&path, unique);
            prop_assert!((1..=LONGEST).contains(&slug.len()), "{slug}");
            prop_assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            prop_assert!(!slug.starts_with('-') && !slug.ends_with('-') && !slug.contains("--"));
        }

        #[test]
        fn the_slug_of_a_slug_is_unchanged(name in "[a-z0-9]{1,12}(-[a-z0-9]{1,12}){0,2}") {
            let kept = slug(&Path::new("/w").join(&name), true);
            prop_assert_eq!(kept, name);
        }

        #[test]
        fn names_that_are_cleaned_to_the_same_text_get_different_slugs(a in "[a-zA-Z_ -]{1,12}", b in "[a-zA-Z_ -]{1,12}") {
            prop_assume!(a != b);
            prop_assert_ne!(slug(&Path::new("/w").join(a), true), slug(&Path::new("/w").join(b), true));
        }
    }
}
