//! Builds the names of Neon branches. Pure: text in, text out.
//!
//! Names stay as the user knows them, including slashes and case, because `feature/x` and `feature-x` are two branches.
//! Only a name that is too long is shortened. It then ends with a hash, so it is always the same and unique.

use sha2::{Digest, Sha256};

use crate::text::hex;

/// Neon's limit is 256 characters. A limit in bytes is stricter.
const LONGEST: usize = 256;
/// The number of hash digits after a shortened name.
const DIGITS: usize = 12;

/// Returns a name that is unique to `rendered`.
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
    hex(&Sha256::digest(text.as_bytes())[..DIGITS / 2])
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
    fn long_texts_are_shortened_to_different_names() {
        let long = "x".repeat(300);
        assert_eq!(fit(&long), fit(&long));
        assert!(fit(&long).len() <= 256);
        assert_ne!(fit(&long), fit(&format!("{long}y")));
        // A branch whose own name equals another's shortened name gets a different name.
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
