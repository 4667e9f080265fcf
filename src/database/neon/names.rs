//! What a branch is called on Neon. Pure: text in, text out.
//!
//! Names stay as people know them, slashes and case included, because `feature/x` and `feature-x` are two branches. Only what
//! is too long is shortened, always to the same, with a hash.

use sha2::{Digest, Sha256};

/// Neon's limit is 256 characters; counted in bytes it holds either way.
const LONGEST: usize = 256;
/// Digits of the hash behind a shortened name.
const DIGITS: usize = 12;

/// A name that stands for `rendered` and for nothing else.
pub fn fit(rendered: &str) -> String {
    let shortest_cut = LONGEST - 4;
    let could_be_cut = rendered.len() >= shortest_cut && looks_cut(rendered);
    if rendered.len() <= LONGEST && !could_be_cut {
        return rendered.into();
    }
    let body = &rendered[..rendered.floor_char_boundary(LONGEST - DIGITS - 1)];
    format!("{body}-{}", digits_of(rendered))
}

fn looks_cut(name: &str) -> bool {
    let tail = name.as_bytes().rchunks(DIGITS + 1).next().unwrap_or_default();
    tail.split_first().is_some_and(|(dash, digits)| {
        *dash == b'-' && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn digits_of(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(DIGITS / 2).fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slashes_and_case_stay() {
        for name in ["dev-feature/x", "dev-Feature/X", "dev-feature-x", "dev-a.b", "dev-é"] {
            assert_eq!(fit(name), name);
        }
    }

    #[test]
    fn what_is_too_long_is_shortened_to_names_of_its_own() {
        let long = "x".repeat(300);
        assert_eq!(fit(&long), fit(&long));
        assert!(fit(&long).len() <= 256);
        assert_ne!(fit(&long), fit(&format!("{long}y")));
        // Somebody names a branch as another was shortened.
        assert_ne!(fit(&fit(&long)), fit(&long));
    }

    proptest! {
        #[test]
        fn different_texts_have_different_names(a in "[a-zé/-]{240,270}", b in "[a-zé/-]{240,270}") {
            prop_assume!(a != b);
            prop_assert_ne!(fit(&a), fit(&b));
            prop_assert!(fit(&a).len() <= 256);
        }
    }
}
