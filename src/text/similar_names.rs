//! Finds the name that a misspelled one means. Pure.

/// The length of a word from which on a misspelling may have two errors.
const LONG: usize = 6;
/// The length of a word up to which only a swap of two letters is a misspelling: `API` and `APP` are different words.
const SHORT: usize = 3;

/// Returns the known name that is most similar to `name`, at most two errors away.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    nearest_within(2.min(name.len().saturating_sub(1)), name, known.iter().copied())
}

/// Returns the known name that is most similar to `name`, at most `errors` away. A swap of two letters is one error.
pub fn nearest_within<'a>(
    errors: usize,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let distances = known.into_iter().map(|known| (strsim::damerau_levenshtein(name, known), known));
    distances.min().filter(|(distance, _)| *distance <= errors).map(|(_, known)| known)
}

/// Returns true if `name` differs from `known` in one word, by one letter or two swapped ones, or in a long word by two. Names that
/// differ only in their underscores are alike too. `DB_HOST` and `DB_PORT` are not: the first letter of a word is rarely wrong.
pub fn is_misspelling(name: &str, known: &str) -> bool {
    if name == known {
        return false;
    }
    let plain = |name: &str| name.replace('_', "");
    if plain(name) == plain(known) {
        return true;
    }
    let (of_name, of_known) = (name.split('_'), known.split('_'));
    if of_name.clone().count() != of_known.clone().count() {
        return false;
    }
    let mut different = of_name.zip(of_known).filter(|(one, other)| one != other);
    matches!((different.next(), different.next()), (Some((one, other)), None) if is_alike(one, other))
}

fn is_alike(one: &str, other: &str) -> bool {
    let length = one.len().max(other.len());
    let errors = strsim::damerau_levenshtein(one, other);
    if length <= SHORT {
        let sorted = |word: &str| {
            let mut letters: Vec<char> = word.chars().collect();
            letters.sort_unstable();
            letters
        };
        return errors == 1 && sorted(one) == sorted(other);
    }
    one.chars().next() == other.chars().next() && errors <= if length >= LONG { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_word_is_a_misspelling_and_another_word_is_not() {
        for (name, known) in [
            ("PROT", "PORT"),
            ("DATABSE_URL", "DATABASE_URL"),
            ("DATABASEURL", "DATABASE_URL"),
            ("DATABASE_ULR", "DATABASE_URL"),
            ("API_KEYS", "API_KEY"),
            ("POSTGRESS_SERVRE", "POSTGRESS_SERVER"),
        ] {
            assert!(is_misspelling(name, known), "{name} {known}");
        }
        for (name, known) in [
            ("PORT", "PORT"),
            ("REDIS_HOST", "REDIS_PORT"),
            ("API_URL", "APP_URL"),
            ("POSTGRES_DB", "POSTGRES_DSN"),
            ("DB_PORT", "WEB_PORT"),
            ("STRIPE_KEY", "SECRET_KEY"),
            ("PORT", "BACKEND_PORT"),
            ("", "A"),
        ] {
            assert!(!is_misspelling(name, known), "{name} {known}");
        }
    }

    #[test]
    fn the_nearest_name_has_few_errors() {
        let known = ["processes", "ports", "port"];
        assert_eq!(nearest("prots", &known), Some("ports"));
        assert_eq!(nearest("proceses", &known), Some("processes"));
        assert_eq!(nearest("env", &known), None);
        assert_eq!(nearest("x", &["y"]), None, "every letter is wrong");
        assert_eq!(nearest_within(1, "u", ["up"]), Some("up"));
    }
}
